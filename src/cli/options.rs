//! The server's options, in one table.

use log::LevelFilter;
use synchat::{Address, HANDLERS, Overload, ServerOptions, Terminator, TooLong};

use super::command::{Command, Opt};
use super::settings::{LogTime, Settings};
use super::values::{choice, count, duration, networks, size, terminator};

/// Past this a limit bounds nothing.
const LARGEST: u64 = 1 << 30;

pub(crate) const OPTIONS: &[Opt<Settings>] = &[
    Opt {
        long: "handler",
        short: None,
        value: Some("NAME"),
        default: "echo",
        about: "the protocol to speak",
        details: "",
        set: |settings, text| {
            let choices: Vec<_> = HANDLERS
                .iter()
                .map(|handler| (handler.name, handler))
                .collect();
            choice(text, &choices).map(|handler| settings.handler = handler)
        },
    },
    Opt {
        long: "terminator",
        short: None,
        value: Some("T"),
        default: "crlf",
        about: "what ends a message",
        details: "crlf, lf, nul, none, length:N for N bytes, or the bytes themselves, with the escapes \
                  \\r \\n \\t \\0 \\\\ \\xHH. With none, bytes are handed on as they arrive.",
        set: |settings, text| terminator(text).map(|terminator| settings.terminator = terminator),
    },
    Opt {
        long: "max-message",
        short: None,
        value: Some("BYTES"),
        default: "64KiB",
        about: "the longest message",
        details: "Its terminator is not counted. Sizes take KiB and MiB. Without a terminator it does not apply.",
        set: |settings, text| {
            size(text, 1..=LARGEST).map(|bytes| settings.limits.max_message = bytes)
        },
    },
    Opt {
        long: "too-long",
        short: None,
        value: Some("close|discard"),
        default: "close",
        about: "what happens at a longer one",
        details: "The peer is told in either case. close: the connection is closed. discard: the message is dropped up \
                  to its terminator, and the connection goes on.",
        set: |settings, text| {
            choice(
                text,
                &[("close", TooLong::Close), ("discard", TooLong::Discard)],
            )
            .map(|policy| settings.limits.too_long = policy)
        },
    },
    Opt {
        long: "max-connections",
        short: None,
        value: Some("N"),
        default: "1024",
        about: "connections that may be open at once",
        details: "Where the system cannot hold as many as the default, it is lowered, with a warning; where it cannot \
                  hold as many as are asked for, the server does not start.",
        set: |settings, text| {
            count(text, 1..=1 << 20).map(|count| settings.max_connections = Some(count as usize))
        },
    },
    Opt {
        long: "overload",
        short: None,
        value: Some("refuse|wait"),
        default: "refuse",
        about: "what happens at one more",
        details: "refuse: it is told so, and closed. wait: it waits to be accepted until one has ended.",
        set: |settings, text| {
            choice(
                text,
                &[("refuse", Overload::Refuse), ("wait", Overload::Wait)],
            )
            .map(|overload| settings.overload = overload)
        },
    },
    Opt {
        long: "max-per-address",
        short: None,
        value: Some("N"),
        default: "0",
        about: "connections that one address may have; 0 is no limit",
        details: "The addresses of one IPv6 /64 network count as one. Unix sockets have none, and are not limited.",
        set: |settings, text| {
            count(text, 0..=1 << 20).map(|count| settings.max_per_address = count as usize)
        },
    },
    Opt {
        long: "allow",
        short: None,
        value: Some("NETWORK"),
        default: "all",
        about: "who may connect, as in 10.0.0.0/8; can be repeated",
        details: "In one value, with commas between them, too. An IPv4-mapped IPv6 address is taken as the IPv4 \
                  address. Who may connect to a Unix socket is for its path's permissions to say.",
        set: |settings, text| networks(text).map(|networks| settings.allow = networks),
    },
    Opt {
        long: "idle-timeout",
        short: None,
        value: Some("T"),
        default: "5m",
        about: "how long a peer may be silent between messages",
        details: "Times are 500ms, 30s, 5m. 0 turns a timeout off, with a warning.",
        set: |settings, text| duration(text).map(|limit| settings.limits.idle_timeout = limit),
    },
    Opt {
        long: "message-timeout",
        short: None,
        value: Some("T"),
        default: "30s",
        about: "how long a message may take, from its first byte",
        details: "Bytes that arrive do not prolong it.",
        set: |settings, text| duration(text).map(|limit| settings.limits.message_timeout = limit),
    },
    Opt {
        long: "write-timeout",
        short: None,
        value: Some("T"),
        default: "30s",
        about: "how long a peer may take to accept a batch of replies",
        details: "",
        set: |settings, text| duration(text).map(|limit| settings.limits.write_timeout = limit),
    },
    Opt {
        long: "grace",
        short: None,
        value: Some("T"),
        default: "8s",
        about: "how long conversations may take to end, when the server is stopped",
        details: "What has arrived by then is answered. After that time they are ended by force; container engines kill \
                  after 10 s.",
        set: |settings, text| {
            duration(text).map(|grace| settings.grace = grace.unwrap_or_default())
        },
    },
    Opt {
        long: "stats-interval",
        short: None,
        value: Some("T"),
        default: "0",
        about: "how often to log the counts; 0 is never",
        details: "They are also logged at SIGUSR1, and at the end.",
        set: |settings, text| duration(text).map(|interval| settings.stats_interval = interval),
    },
    Opt {
        long: "backlog",
        short: None,
        value: Some("N"),
        default: "4096",
        about: "connections that may wait to be accepted",
        details: "The kernel caps it, on Linux with net.core.somaxconn.",
        set: |settings, text| {
            count(text, 1..=i32::MAX as u64).map(|backlog| settings.backlog = backlog as u32)
        },
    },
    Opt {
        long: "stack-size",
        short: None,
        value: Some("BYTES"),
        default: "128KiB",
        about: "stack of each connection's thread",
        details: "At least 64KiB. Memory is taken up only as far as it is used.",
        set: |settings, text| {
            size(text, ServerOptions::LEAST_STACK_SIZE as u64..=LARGEST)
                .map(|bytes| settings.stack_size = bytes as usize)
        },
    },
    Opt {
        long: "verbose",
        short: Some('v'),
        value: None,
        default: "off",
        about: "log each callback (-v), each read and write (-vv)",
        details: "SYNCHAT_VERBOSE takes 0, 1 or 2.",
        set: |settings, text| {
            count(text, 0..=2).map(|times| {
                settings.logging.level = match times {
                    0 => LevelFilter::Info,
                    1 => LevelFilter::Debug,
                    _ => LevelFilter::Trace,
                }
            })
        },
    },
    Opt {
        long: "quiet",
        short: Some('q'),
        value: None,
        default: "off",
        about: "log warnings and errors alone",
        details: "SYNCHAT_QUIET takes 0 or 1. Of -q and -v the last one counts.",
        set: |settings, text| {
            count(text, 0..=2).map(|times| {
                if times > 0 {
                    settings.logging.level = LevelFilter::Warn;
                }
            })
        },
    },
    Opt {
        long: "log-file",
        short: None,
        value: Some("PATH"),
        default: "standard error",
        about: "append the log to this file",
        details: "",
        set: |settings, text| match text {
            "" => Err("the path of a file".to_owned()),
            path => {
                settings.logging.file = Some(path.into());
                Ok(())
            }
        },
    },
    Opt {
        long: "log-time",
        short: None,
        value: Some("epoch|rfc3339|none"),
        default: "epoch",
        about: "how log lines begin",
        details: "epoch: seconds since 1970, as in the article. none: for a log that stamps lines itself, as journald does.",
        set: |settings, text| {
            choice(
                text,
                &[
                    ("epoch", LogTime::Epoch),
                    ("rfc3339", LogTime::Rfc3339),
                    ("none", LogTime::None),
                ],
            )
            .map(|time| settings.logging.time = time)
        },
    },
];

impl Command for Settings {
    const NAME: &'static str = "synchat";
    const OPTIONS: &'static [Opt<Self>] = OPTIONS;
    const INTRODUCTION: &'static str = "\
A line echo server, a thread per connection: Python's asynchat, blocking.

Usage: synchat [OPTIONS] [ADDRESS]
       synchat ping [OPTIONS] [ADDRESS]     ask a server whether it is up

Examples:
  synchat                                  echo lines on 127.0.0.1:7007
  synchat '[::]:7' --terminator lf         to the world, lines that end in \\n
  synchat unix:/run/echo.sock -v           on a Unix socket, every callback logged
  synchat 127.0.0.1:0 --terminator none    bytes as they come, on any free port
";
    const ADDRESSES: &'static str = "HOST:PORT, [V6]:PORT, unix:PATH, or fd:0 for a listening socket inherited as\n\
         standard input. ";

    fn notes() -> String {
        let handlers = HANDLERS
            .iter()
            .map(|handler| format!("  {:<8} {}\n", handler.name, handler.about));
        format!(
            "Handlers:\n{}\n\
             A flag beats the environment, and the environment beats the default.\n\
             Exit codes: 0 done or drained, 1 failed at run time, 2 bad usage.\n",
            handlers.collect::<String>()
        )
    }

    fn set_address(&mut self, address: Address) {
        self.address = address;
    }

    fn check(&self) -> Result<(), String> {
        match self.terminator {
            Terminator::Length(length) if length.get() > self.limits.max_message => Err(format!(
                "--terminator length:{length}: longer than --max-message {}; raise that one",
                self.limits.max_message
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::{DEFAULT_ADDRESS, assert_readme_has_a_row_for_each_option};
    use super::*;

    #[test]
    fn the_defaults_are_what_the_table_says() {
        let mut settings = Settings::default();
        let before = format!("{settings:?}");
        for option in OPTIONS
            .iter()
            .filter(|option| option.value.is_some())
            // Their defaults are no values: standard error, and as many as the system can hold.
            .filter(|option| !["log-file", "max-connections"].contains(&option.long))
        {
            assert_eq!(
                (option.set)(&mut settings, option.default),
                Ok(()),
                "--{}",
                option.long
            );
        }
        assert_eq!(format!("{settings:?}"), before);
        assert_eq!(settings.address, DEFAULT_ADDRESS.parse().unwrap());
    }

    #[test]
    fn the_readme_has_a_row_for_each_option_with_its_default() {
        assert_readme_has_a_row_for_each_option::<Settings>("\n## Options\n");
    }
}
