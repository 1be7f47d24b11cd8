//! The manual page, made from the texts of the help.

use std::fmt::Write;

use super::command::{DEFAULT_ADDRESS, variable};
use super::help::default;
use super::manual::{Entry, Manual};
use super::ping_options::PingSettings;
use super::settings::Settings;

/// Returns `synchat.1`, in the macros of man(7).
pub(crate) fn man_page() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let (serve, ping) = (Manual::of::<Settings>(), Manual::of::<PingSettings>());
    let [about, usage, examples] = parts(&serve);
    let [ping_about, ping_usage, ping_examples] = parts(&ping);

    let mut text = format!(
        ".\\\" Made by synchat --generate man.\n\
         .TH SYNCHAT 1 \"\" \"synchat {version}\" \"User Commands\"\n\
         .SH NAME\nsynchat \\- line echo server with one thread per connection\n"
    );

    let _ = write!(text, ".SH SYNOPSIS\n{}", as_it_is(usage));
    let _ = write!(text, ".SH DESCRIPTION\n{}.PP\n", plain(about));
    let _ = write!(
        text,
        "ADDRESS is {}\nThe default is {}. The variable {} sets it, too.\n",
        escaped(&serve.addresses.replace('\n', " ")),
        escaped(DEFAULT_ADDRESS),
        variable("address")
    );
    let _ = write!(text, ".SH OPTIONS\n{}", options(&serve));
    let _ = write!(text, ".SH NOTES\n{}", as_it_is(&(serve.notes)()));

    let _ = write!(text, ".SH SYNCHAT PING\n{}", as_it_is(ping_usage));
    let _ = write!(text, ".PP\n{}{}", plain(ping_about), options(&ping));
    let _ = write!(text, ".PP\n{}", as_it_is(&(ping.notes)()));

    let examples = [examples, ping_examples].map(as_it_is).concat();
    let _ = write!(text, ".SH EXAMPLES\n{examples}");
    text
}

/// Returns the parts of the introduction: what it is, how to use it, and examples, without their
/// titles.
fn parts(manual: &Manual) -> [&'static str; 3] {
    let mut parts = manual.introduction.split("\n\n");
    let mut next = |title| parts.next().unwrap_or_default().trim_start_matches(title);
    [next(""), next("Usage: "), next("Examples:\n")]
}

fn options(manual: &Manual) -> String {
    let mut text = String::new();

    for entry in &manual.entries {
        text += &tag(entry);
        let _ = writeln!(text, "{}.", capital(&escaped(entry.about)));
        if !entry.details.is_empty() {
            text += &plain(entry.details);
        }
        if let Some(default) = default(entry) {
            let _ = writeln!(text, ".br\n{}", escaped(&default));
        }
    }
    text
}

/// Returns the head of an entry.
fn tag(entry: &Entry) -> String {
    let short = entry.short.map(|short| format!("\\fB\\-{short}\\fR, "));
    let value = entry
        .value
        .map(|value| format!(" \\fI{}\\fR", escaped(value)));

    format!(
        ".TP\n{}\\fB\\-\\-{}\\fR{}\n",
        short.unwrap_or_default(),
        escaped(entry.long),
        value.unwrap_or_default()
    )
}

/// Returns a paragraph that roff fills.
fn plain(text: &str) -> String {
    let lines = text.lines().map(|line| escaped(line.trim()) + "\n");
    lines.collect()
}

/// Returns lines that roff leaves as they are.
fn as_it_is(text: &str) -> String {
    // In the help, further lines of the usage stand below the first one, behind its title.
    let indent = " ".repeat("Usage: ".len());
    let lines = text.trim_end().lines();
    let lines = lines.map(|line| escaped(line.strip_prefix(&indent).unwrap_or(line)) + "\n");
    format!(".nf\n{}.fi\n", lines.collect::<String>())
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Protects the characters that have a meaning in roff.
fn escaped(line: &str) -> String {
    let line = line
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq");
    // A period at the start of a line begins a macro.
    match line.strip_prefix('.') {
        Some(rest) => format!("\\&.{rest}"),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_a_text_is_taken_for_roff() {
        assert_eq!(escaped(r"\r --x"), r"\er \-\-x");
        assert_eq!(escaped(".TH"), r"\&.TH");
        assert_eq!(escaped("'x'"), r"\(aqx\(aq");
    }

    #[test]
    fn the_page_has_each_option_of_both_commands() {
        let page = man_page();
        for manual in [Manual::of::<Settings>(), Manual::of::<PingSettings>()] {
            for entry in &manual.entries {
                let tag = tag(entry);
                assert!(page.contains(&tag), "no {tag}");
            }
        }
        assert!(
            page.lines()
                .all(|line| !line.starts_with(' ') || line.trim() != "")
        );
    }
}
