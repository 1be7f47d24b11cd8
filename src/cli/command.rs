//! What the program can be asked to do, each with a table of options: from it come parsing, help
//! and the environment's names, and the README is checked by it.

use synchat::Address;

/// One thing to do, as its settings: from the defaults, over which the options are taken in.
pub(crate) trait Command: Default + 'static {
    /// What is typed to get it.
    const NAME: &'static str;
    const OPTIONS: &'static [Opt<Self>];
    /// What stands in the help before the options.
    const INTRODUCTION: &'static str;
    /// What an address can be, and a space or line end, behind which its default stands.
    const ADDRESSES: &'static str;

    /// What stands at the end of the long help.
    fn notes() -> String;

    /// Whether the option has an environment variable.
    fn has_variable(_long: &str) -> bool {
        true
    }

    fn set_address(&mut self, address: Address);

    /// Looks at values that are good, each by itself: an error is a line that says why they are
    /// not good together.
    fn check(&self) -> Result<(), String>;
}

/// One option: `--long VALUE`, or a switch.
pub(crate) struct Opt<C> {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    /// What its value is called in the help; `None` for a switch.
    pub(crate) value: Option<&'static str>,
    /// As text that the option would take; for a switch, what it is without.
    pub(crate) default: &'static str,
    /// One line.
    pub(crate) about: &'static str,
    /// What more there is to say, for the long help.
    pub(crate) details: &'static str,
    /// Takes the value into the settings; a switch gets the number of times that it was given. An
    /// error is the form that would have been right.
    pub(crate) set: fn(&mut C, &str) -> Result<(), String>,
}

impl<C: Command> Opt<C> {
    /// The environment variable that sets the same.
    pub(crate) fn variable(&self) -> Option<String> {
        C::has_variable(self.long).then(|| variable(self.long))
    }
}

/// The environment variable of an option or of the address.
pub(crate) fn variable(long: &str) -> String {
    format!("SYNCHAT_{}", long.to_ascii_uppercase().replace('-', "_"))
}

/// The address's default, as text.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:7007";

/// Holds the table of this section of the README against the options.
#[cfg(test)]
#[track_caller]
pub(crate) fn assert_readme_has_a_row_for_each_option<C: Command>(section: &str) {
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once(section).expect("it has that section");
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
