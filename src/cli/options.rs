//! The server's options, in one table.

use log::LevelFilter;
use synchat::{Address, HANDLERS, Overload, ServerOptions, Terminator, TooLong};

use super::command::{Command, Opt, Print};
use super::option_notes::{ADDRESSES, INTRODUCTION, notes};
use super::settings::{LogTime, Settings};
use super::terminators::{FORMS, terminator};
use super::values::{choice, count, duration, mode, networks, readable, size};

/// A limit above this would limit nothing.
const LARGEST: u64 = 1 << 30;

pub(crate) const OPTIONS: &[Opt<Settings>] = &[
    Opt {
        long: "handler",
        short: None,
        value: Some("NAME"),
        default: "echo",
        about: "the protocol that the server speaks",
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
        about: "the bytes that end a message",
        details: FORMS,
        set: |settings, text| terminator(text).map(|terminator| settings.terminator = terminator),
    },
    Opt {
        long: "max-message",
        short: None,
        value: Some("BYTES"),
        default: "64KiB",
        about: "the longest message that a peer can send",
        details: "The terminator does not count. You can write sizes with a unit, as in 64k, 64KiB or 1M. k, M \
                  and G are powers of 1024. With --terminator none there are no messages, \
                  and so no limit.",
        set: |settings, text| {
            size(text, 1..=LARGEST).map(|bytes| settings.limits.max_message = bytes)
        },
    },
    Opt {
        long: "too-long",
        short: None,
        value: Some("close|discard"),
        default: "close",
        about: "close the connection after a longer message, or go on",
        details: "The peer gets a one-line error, if messages end with a byte string. With discard, the server drops the message up to its \
                  terminator and goes on with the next one.",
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
        about: "the most connections at a time",
        details: "If the system cannot hold the default number, the server lowers it and logs a warning. If it cannot \
                  hold the number that you ask for, the server does not start.",
        set: |settings, text| {
            count(text, 1..=1 << 20).map(|count| settings.max_connections = Some(count as usize))
        },
    },
    Opt {
        long: "overload",
        short: None,
        value: Some("refuse|wait"),
        default: "refuse",
        about: "refuse a further connection, or let it wait",
        details: "With refuse, the peer gets a one-line error and the connection is closed. With wait, it stays in the \
                  accept queue until another connection ends.",
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
        about: "the most connections of one address; 0 means no limit",
        details: "All addresses of an IPv6 /64 network count as one, but not link-local addresses. Connections to a Unix socket have no address and are \
                  not limited.",
        set: |settings, text| {
            count(text, 0..=1 << 20).map(|count| settings.max_per_address = count as usize)
        },
    },
    Opt {
        long: "allow",
        short: None,
        value: Some("NETWORK"),
        default: "all",
        about: "the networks that can connect, as in 10.0.0.0/8; repeatable",
        details: "You can also put several networks into one value, with commas between them. An IPv4-mapped IPv6 \
                  address counts as the IPv4 address. This does not limit a Unix socket: the permissions of its path \
                  do.",
        set: |settings, text| networks(text).map(|networks| settings.allow = networks),
    },
    Opt {
        long: "idle-timeout",
        short: None,
        value: Some("T"),
        default: "5m",
        about: "the longest silence of a peer between two messages",
        details: "Write times as in 500ms, 30s, 5m, 1h or 1d. 0 turns a timeout off, and the server logs a warning.",
        set: |settings, text| duration(text).map(|limit| settings.limits.idle_timeout = limit),
    },
    Opt {
        long: "message-timeout",
        short: None,
        value: Some("T"),
        default: "30s",
        about: "the longest time from the first byte of a message to its end",
        details: "Bytes that arrive in between do not extend it.",
        set: |settings, text| duration(text).map(|limit| settings.limits.message_timeout = limit),
    },
    Opt {
        long: "write-timeout",
        short: None,
        value: Some("T"),
        default: "30s",
        about: "the longest time for a peer to accept a batch of replies",
        details: "",
        set: |settings, text| duration(text).map(|limit| settings.limits.write_timeout = limit),
    },
    Opt {
        long: "grace",
        short: None,
        value: Some("T"),
        default: "8s",
        about: "the longest time for conversations to end after a stop",
        details: "The server answers what has arrived before the stop. After this time it ends the rest by force. \
                  Container engines kill a process after 10 s.",
        set: |settings, text| {
            duration(text).map(|grace| settings.grace = grace.unwrap_or_default())
        },
    },
    Opt {
        long: "report-interval",
        short: None,
        value: Some("T"),
        default: "0",
        about: "how often to log the report; 0 means never",
        details: "The report is a line with the counts of the server. It is also logged at SIGUSR1 and at the end.",
        set: |settings, text| duration(text).map(|interval| settings.report_interval = interval),
    },
    Opt {
        long: "backlog",
        short: None,
        value: Some("N"),
        default: "4096",
        about: "the most connections that wait to be accepted",
        details: "The kernel has a limit of its own. On Linux it is net.core.somaxconn.",
        set: |settings, text| {
            count(text, 1..=i32::MAX as u64).map(|backlog| settings.backlog = backlog as u32)
        },
    },
    Opt {
        long: "socket-mode",
        short: None,
        value: Some("MODE"),
        default: "umask",
        about: "the mode of a Unix socket's path, as in 0660",
        details: "To connect, a process needs the right to write. The path never has more rights. \
                  The default is the mode that the umask leaves. Only a path has a mode.",
        set: |settings, text| mode(text).map(|mode| settings.socket_mode = mode),
    },
    Opt {
        long: "stack-size",
        short: None,
        value: Some("BYTES"),
        default: "128KiB",
        about: "the stack of the thread of each connection",
        details: "At least 64KiB. A stack uses only the memory that it needs.",
        set: |settings, text| {
            size(text, ServerOptions::LEAST_STACK_SIZE as u64..=LARGEST)
                .map(|bytes| settings.stack_size = bytes as usize)
        },
    },
    Opt {
        long: "spare-threads",
        short: None,
        value: Some("N"),
        default: "64",
        about: "the most threads that wait for a next connection",
        details: "A thread that has ended its conversation waits for 5 s, because to start a thread is most of the cost of a connection. With 0, \
                  each connection has a new thread. Waiting threads need no room beside --max-connections.",
        set: |settings, text| {
            count(text, 0..=1 << 20).map(|count| settings.spare_threads = count as usize)
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
        about: "log only warnings and errors",
        details: "Reports are logged all the same. SYNCHAT_QUIET takes 0 or 1. If you give -q and -v, the last one counts.",
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
        details: "SIGHUP opens it again, for example after it was renamed. If it is a FIFO that nobody reads, the \
                  first lines wait for a reader.",
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
        about: "the time at the start of a log line",
        details: "epoch is seconds since 1970, as in the article. none fits a log that adds times itself, such as journald.",
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
    const PRINTS: &'static [Print] = &[Print::Help, Print::Version, Print::Config];
    const INTRODUCTION: &'static str = INTRODUCTION;
    const ADDRESSES: &'static str = ADDRESSES;

    fn notes() -> String {
        notes()
    }

    fn set_address(&mut self, address: Address) {
        self.address = address;
    }

    fn check(&self) -> Result<(), String> {
        match self.terminator {
            Terminator::Length(length) if length > self.limits.max_message => Err(format!(
                "--terminator length:{length}: longer than --max-message {}; raise that one",
                readable(self.limits.max_message)
            )),
            _ => self.check_socket_mode(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::{DEFAULT_ADDRESS, assert_page_has_a_row_for_each_option};
    use super::*;

    #[test]
    fn the_defaults_are_what_the_table_says() {
        let mut settings = Settings::default();
        let before = format!("{settings:?}");
        for option in OPTIONS
            .iter()
            .filter(|option| option.value.is_some())
            // These defaults are no values that you could type.
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
        assert_page_has_a_row_for_each_option::<Settings>(
            include_str!("../../README.md"),
            "\n## Options\n",
        );
    }
}
