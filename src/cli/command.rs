//! The program's two tasks, serving and pinging, each with a table of options.
//!
//! Parsing, the help and the names of the environment variables all come from these tables. A test
//! compares the README with them.

use std::fmt::Debug;

use synchat::Address;

/// A task, as its settings: it starts with the defaults, and each option changes one of them.
pub(crate) trait Command: Debug + Default + 'static {
    /// The words that you type to run it.
    const NAME: &'static str;
    const OPTIONS: &'static [Opt<Self>];
    /// The options that print something and do nothing else.
    const PRINTS: &'static [Print] = &[Print::Help, Print::Version];
    /// The part of the help before the options.
    const INTRODUCTION: &'static str;
    /// The forms of an address, with a space or a line end at the end. The help puts the default
    /// behind it.
    const ADDRESSES: &'static str;

    /// Returns the end of the long help.
    fn notes() -> String;

    /// Returns true if the option has an environment variable.
    fn has_variable(_long: &str) -> bool {
        true
    }

    fn set_address(&mut self, address: Address);

    /// Checks values that are valid one by one but may not fit together. An error is one line that
    /// says why.
    fn check(&self) -> Result<(), String>;
}

/// One option: `--long VALUE`, or a switch.
pub(crate) struct Opt<C> {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    /// The name of its value in the help, or `None` for a switch.
    pub(crate) value: Option<&'static str>,
    /// A text that the option would take. For a switch, its state if nobody sets it.
    pub(crate) default: &'static str,
    /// One line.
    pub(crate) about: &'static str,
    /// More, for the long help.
    pub(crate) details: &'static str,
    /// Puts the value into the settings. A switch gets the number of times that it was given. An
    /// error is the form of a valid value.
    pub(crate) set: fn(&mut C, &str) -> Result<(), String>,
}

impl<C: Command> Opt<C> {
    /// Returns the environment variable that sets the same, if there is one.
    pub(crate) fn variable(&self) -> Option<String> {
        C::has_variable(self.long).then(|| variable(self.long))
    }
}

/// An option that prints something. The process then ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Print {
    Help,
    Version,
    Config,
}

impl Print {
    /// Returns its name, its letter, and one line about it.
    pub(crate) fn words(self) -> (&'static str, Option<char>, &'static str) {
        match self {
            Self::Help => ("help", Some('h'), "print help; -h prints a short one"),
            Self::Version => ("version", Some('V'), "print the version"),
            Self::Config => (
                "print-config",
                None,
                "print all settings and their sources, as an env file",
            ),
        }
    }
}

/// Returns the environment variable of an option or of the address.
pub(crate) fn variable(long: &str) -> String {
    format!("SYNCHAT_{}", long.to_ascii_uppercase().replace('-', "_"))
}

/// The default of the address, as text.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:7007";

/// Compares the table in this section of a page with the options.
#[cfg(test)]
#[track_caller]
pub(crate) fn assert_page_has_a_row_for_each_option<C: Command>(page: &str, section: &str) {
    let (_, section) = page.split_once(section).expect("it has that section");
    let section = section.split("\n## ").next().unwrap_or_default();

    let rows: Vec<_> = section
        .lines()
        .filter(|line| line.starts_with("| `-"))
        .collect();

    for (option, row) in C::OPTIONS.iter().zip(&rows) {
        let value = option
            .value
            .map(|value| format!(" {}", value.replace('|', "\\|")))
            .unwrap_or_default();
        let short = option
            .short
            .map(|short| format!("-{short}, "))
            .unwrap_or_default();

        let (long, default, about) = (option.long, option.default, option.about);
        let expected = format!("| `{short}--{long}{value}` | `{default}` | {about}");
        assert!(row.starts_with(&expected), "{row}\nis not: {expected}");
    }
    assert_eq!(rows.len(), C::OPTIONS.len());
}
