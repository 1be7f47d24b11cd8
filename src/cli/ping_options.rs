//! The options of `synchat ping` in one table, and its settings.

use std::time::Duration;

use synchat::{Address, Terminator};

use super::command::{Command, Opt};
use super::terminators::{FORMS, terminator};
use super::values::{TIME, count, duration, readable, size};

/// The settings of `synchat ping`.
#[derive(Debug, Clone)]
pub(crate) struct PingSettings {
    pub(crate) address: Address,
    pub(crate) count: u64,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) terminator: Terminator,
    pub(crate) quiet: bool,
    /// A refusal is as good as an echo.
    pub(crate) alive: bool,
    /// `None` means the default, or the number of bytes with `--terminator length:N`.
    size: Option<u64>,
}

const DEFAULT_SIZE: u64 = 32;
/// A line stays in memory, and must pass within a timeout.
const LARGEST: u64 = 16 << 20;

const OPTIONS: &[Opt<PingSettings>] = &[
    Opt {
        long: "count",
        short: Some('c'),
        value: Some("N"),
        default: "4",
        about: "the number of lines to send",
        details: "",
        set: |settings, text| count(text, 1..=1_000_000).map(|count| settings.count = count),
    },
    Opt {
        long: "interval",
        short: Some('i'),
        value: Some("T"),
        default: "1s",
        about: "the pause before the next line; 0 means none",
        details: "Write times as in 500ms, 30s, 5m, 1h or 1d.",
        set: |settings, text| {
            duration(text).map(|interval| settings.interval = interval.unwrap_or_default())
        },
    },
    Opt {
        long: "timeout",
        short: Some('W'),
        value: Some("T"),
        default: "1s",
        about: "how long to wait for the connection and for each echo",
        details: "If a host has several addresses, this is the time for each, and for the look-up of \
                  its name. An echo that is not complete by then is \
                  lost. If a part of it arrived, ping can need twice the time to notice.",
        set: |settings, text| match duration(text) {
            Ok(Some(timeout)) => {
                settings.timeout = timeout;
                Ok(())
            }
            _ => Err(TIME.to_owned()),
        },
    },
    Opt {
        long: "size",
        short: Some('s'),
        value: Some("BYTES"),
        default: "32",
        about: "the length of a line, with its terminator",
        details: "At most 16MiB. With --terminator length:N it is N.",
        set: |settings, text| size(text, 1..=LARGEST).map(|bytes| settings.size = Some(bytes)),
    },
    Opt {
        long: "terminator",
        short: None,
        value: Some("T"),
        default: "crlf",
        about: "the bytes that end a line, as the server has them",
        details: FORMS,
        set: |settings, text| terminator(text).map(|terminator| settings.terminator = terminator),
    },
    Opt {
        long: "quiet",
        short: Some('q'),
        value: None,
        default: "off",
        about: "print only the summary",
        details: "If a line has no echo, one line on standard error says why.",
        set: |settings, _| {
            settings.quiet = true;
            Ok(())
        },
    },
    Opt {
        long: "alive",
        short: None,
        value: None,
        default: "off",
        about: "take a refusal as a sign of life: exit with 0, not with 3",
        details: "For health checks: a server that is full must not be ended for it.",
        set: |settings, _| {
            settings.alive = true;
            Ok(())
        },
    },
];

impl PingSettings {
    /// Returns the length of a line in bytes, with its terminator.
    pub(crate) fn line_size(&self) -> u64 {
        self.size.unwrap_or(match self.terminator {
            Terminator::Length(length) => length,
            Terminator::Bytes(_) | Terminator::None => DEFAULT_SIZE,
        })
    }
}

impl Command for PingSettings {
    const NAME: &'static str = "synchat ping";
    const OPTIONS: &'static [Opt<Self>] = OPTIONS;
    const INTRODUCTION: &'static str = "\
Sends lines to a line echo server and times the echoes.

Usage: synchat ping [OPTIONS] [ADDRESS]

Examples:
  synchat ping                             send four lines to 127.0.0.1:7007, one a second
  synchat ping -qc1 unix:/run/echo.sock    check that this server is up
  synchat ping -i0 -c10000 -s60KiB         send long lines, each after the last echo
";
    const ADDRESSES: &'static str = "HOST:PORT, [V6]:PORT, unix:PATH or unix:@NAME.\n";

    fn notes() -> String {
        "A flag beats the environment. The environment beats the default. ping reads the address\n\
         and the terminator from the server's variables. So in the server's environment synchat\n\
         ping needs no arguments. The other options have no variables.\n\
         SIGINT and SIGTERM end it. It then prints the summary so far.\n\
         Exit codes: 0 all echoes came back right, 1 one did not, 2 bad usage, 3 the server\n\
         answered, but only to refuse the connection.\n"
            .to_owned()
    }

    /// Only the terminator: other options of the server have these names and mean something else.
    fn has_variable(long: &str) -> bool {
        long == "terminator"
    }

    fn set_address(&mut self, address: Address) {
        self.address = address;
    }

    fn check(&self) -> Result<(), String> {
        let size = self.line_size();
        match &self.terminator {
            _ if self.address == Address::Inherited => Err(
                "fd:0 is for a server to listen on; ping takes HOST:PORT, [V6]:PORT or unix:PATH"
                    .to_owned(),
            ),
            Terminator::Bytes(end) if size <= end.len() as u64 => Err(format!(
                "--size {size}: a line has at least {} bytes, and its terminator is {} of them",
                end.len() + 1,
                end.len()
            )),
            Terminator::Length(length) if size != *length => Err(format!(
                "--size {size}: with --terminator length:{length} it is {length}"
            )),
            Terminator::Length(length) if *length > LARGEST => Err(format!(
                "--terminator length:{length}: ping sends at most {} at a time",
                readable(LARGEST)
            )),
            _ => Ok(()),
        }
    }
}

impl Default for PingSettings {
    fn default() -> Self {
        Self {
            address: Address::Tcp(([127, 0, 0, 1], 7007).into()),
            count: 4,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            terminator: Terminator::CRLF,
            quiet: false,
            alive: false,
            size: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::{DEFAULT_ADDRESS, assert_page_has_a_row_for_each_option};
    use super::*;

    #[test]
    fn the_defaults_are_what_the_table_says() {
        let (mut settings, before) = (PingSettings::default(), PingSettings::default());
        for option in OPTIONS.iter().filter(|option| option.value.is_some()) {
            let set = (option.set)(&mut settings, option.default);
            assert_eq!(set, Ok(()), "--{}", option.long);
        }
        assert_eq!(settings.size.take(), Some(before.line_size()));
        assert_eq!(format!("{settings:?}"), format!("{before:?}"));
        assert_eq!(settings.address, DEFAULT_ADDRESS.parse().unwrap());
    }

    #[test]
    fn the_readme_has_a_row_for_each_option_with_its_default() {
        assert_page_has_a_row_for_each_option::<PingSettings>(
            include_str!("../../tests/deploy/README.md"),
            "\n## Is it up?\n",
        );
    }
}
