//! The words of a command, without the types of its settings.
//!
//! Code that reads or prints only words takes a [`Manual`]. The compiler then makes it once, and not
//! once for each command.

use super::command::{Command, Print};

/// The words of a command.
pub(crate) struct Manual {
    pub(crate) name: &'static str,
    pub(crate) introduction: &'static str,
    pub(crate) addresses: &'static str,
    pub(crate) notes: fn() -> String,
    /// The options in the order of their table, and behind them those that print something.
    pub(crate) entries: Vec<Entry>,
}

/// The words of an option.
pub(crate) struct Entry {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    /// The name of its value, or `None` for a switch.
    pub(crate) value: Option<&'static str>,
    /// `None` for options that print something.
    pub(crate) default: Option<&'static str>,
    pub(crate) about: &'static str,
    pub(crate) details: &'static str,
    pub(crate) variable: Option<String>,
    pub(crate) print: Option<Print>,
}

impl Manual {
    pub(crate) fn of<C: Command>() -> Self {
        let options = C::OPTIONS.iter().map(|option| Entry {
            long: option.long,
            short: option.short,
            value: option.value,
            default: Some(option.default),
            about: option.about,
            details: option.details,
            variable: option.variable(),
            print: None,
        });

        Self {
            name: C::NAME,
            introduction: C::INTRODUCTION,
            addresses: C::ADDRESSES,
            notes: C::notes,
            entries: options.chain(C::PRINTS.iter().map(Entry::of)).collect(),
        }
    }
}

impl Entry {
    fn of(print: &Print) -> Self {
        let (long, short, about) = print.words();
        Self {
            long,
            short,
            value: None,
            default: None,
            about,
            details: "",
            variable: None,
            print: Some(*print),
        }
    }
}
