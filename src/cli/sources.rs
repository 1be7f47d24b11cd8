//! Remembers where each setting comes from, and prints the settings as an env file.

use std::fmt::{self, Write};

use super::command::{Command, DEFAULT_ADDRESS, Opt, variable};

/// The source of a setting that somebody has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Flag,
    Environment,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
        })
    }
}

/// The settings that somebody has set, one entry each.
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    /// An option, without its dashes, or `address`.
    name: &'static str,
    text: String,
    source: Source,
    is_default: bool,
}

impl Sources {
    pub(crate) fn note<C: Command>(&mut self, option: &Opt<C>, text: &str, source: Source) {
        let is_off = option.value.is_none() && text == "0";
        self.put(Entry {
            name: option.long,
            text: text.to_owned(),
            source,
            is_default: is_off || is_default(option, text),
        });

        // Both set the level of the log, and the last one counts.
        match option.long {
            "verbose" => self.0.retain(|entry| entry.name != "quiet"),
            "quiet" if !is_off => self.0.retain(|entry| entry.name != "verbose"),
            _ => {}
        }
    }

    pub(crate) fn note_address(&mut self, text: &str, source: Source) {
        self.put(Entry {
            name: "address",
            text: text.to_owned(),
            source,
            is_default: text == DEFAULT_ADDRESS,
        });
    }

    fn put(&mut self, entry: Entry) {
        self.0.retain(|other| other.name != entry.name);
        self.0.push(entry);
    }

    /// Returns a line for each setting that is not the default, with its source.
    pub(crate) fn changes(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .filter(|entry| !entry.is_default)
            .map(|entry| {
                let (name, text, source) = (entry.name, &entry.text, entry.source);
                format!("setting: {name}={text} source={source}")
            })
    }

    /// Returns all settings as an env file.
    ///
    /// A comment above each group names the source. systemd, podman and docker take no comment
    /// behind a value.
    pub(crate) fn as_env_file<C: Command>(&self) -> String {
        let mut text = format!(
            "# The settings of synchat {}. A shell or systemd can read this text as an env file.\n",
            env!("CARGO_PKG_VERSION")
        );

        for source in [Source::Flag, Source::Environment] {
            let entries: Vec<_> = self
                .0
                .iter()
                .filter(|entry| entry.source == source)
                .collect();
            if !entries.is_empty() {
                let _ = writeln!(text, "\n# source: {source}");
            }
            for Entry {
                name, text: value, ..
            } in entries
            {
                let _ = writeln!(text, "{}={}", variable(name), quoted(value));
            }
        }

        text + "\n# source: default\n" + &self.defaults::<C>()
    }

    fn defaults<C: Command>(&self) -> String {
        let mut text = String::new();

        if self.is_unset("address") {
            let _ = writeln!(text, "{}={DEFAULT_ADDRESS}", variable("address"));
        }
        for option in C::OPTIONS
            .iter()
            .filter(|option| self.is_unset(option.long))
        {
            text += &default_line(option);
        }
        text
    }

    fn is_unset(&self, name: &str) -> bool {
        self.0.iter().all(|entry| entry.name != name)
    }
}

/// Returns `VARIABLE=DEFAULT`, or a comment if the default is no value that an option takes.
fn default_line<C: Command>(option: &Opt<C>) -> String {
    let Some(name) = option.variable() else {
        return String::new();
    };

    match option.value {
        None => format!("{name}=0\n"),
        Some(_) if is_default(option, option.default) => {
            format!("{name}={}\n", quoted(option.default))
        }
        // Such as standard error, or as many as the system can hold.
        Some(_) => format!("# {name}: {}\n", option.default),
    }
}

/// Returns true if this value changes nothing.
fn is_default<C: Command>(option: &Opt<C>, text: &str) -> bool {
    let mut settings = C::default();
    let before = format!("{settings:?}");

    let set = (option.set)(&mut settings, text);
    set.is_ok() && format!("{settings:?}") == before
}

/// Quotes a value for a shell and for systemd if it needs that.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:,[]@%+=".contains(c);
    if value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_quoted_only_if_a_shell_would_change_it() {
        for (value, expected) in [
            ("[fe80::1%2]:7007", "[fe80::1%2]:7007"),
            ("64KiB", "64KiB"),
            (r"\r\n", r"'\r\n'"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("#", "'#'"),
        ] {
            assert_eq!(quoted(value), expected);
        }
    }
}
