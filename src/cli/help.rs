//! The texts that the program prints, made from the tables of options.

use std::fmt::Write;
use std::net::SocketAddr;

use synchat::{Address, Terminator};

use super::command::{DEFAULT_ADDRESS, variable};
use super::manual::{Entry, Manual};

/// The text of `-V`.
pub(crate) fn version() -> String {
    format!("synchat {}\n", env!("CARGO_PKG_VERSION"))
}

/// The text of `-h`: one line for each option.
pub(crate) fn short(manual: &Manual) -> String {
    let mut text = usage(manual);

    for entry in &manual.entries {
        let default = entry.default.map(|default| format!(" [{default}]"));
        let _ = writeln!(
            text,
            "{:<34} {}{}",
            signature(entry),
            entry.about,
            default.unwrap_or_default()
        );
    }
    text
}

/// The text of `--help`: everything about each option.
pub(crate) fn long(manual: &Manual) -> String {
    let mut text = usage(manual);

    for entry in &manual.entries {
        let _ = writeln!(text, "{}\n          {}", signature(entry), entry.about);
        if !entry.details.is_empty() {
            let _ = writeln!(text, "{}", indented(entry.details));
        }
        if let Some(default) = default(entry) {
            let _ = writeln!(text, "          {default}");
        }
        text.push('\n');
    }
    text + &(manual.notes)()
}

/// Returns `[default: 8s; environment: SYNCHAT_GRACE]`, or nothing for an option without a default.
pub(crate) fn default(entry: &Entry) -> Option<String> {
    let environment = entry
        .variable
        .as_ref()
        .map(|name| format!("; environment: {name}"))
        .unwrap_or_default();

    entry
        .default
        .map(|default| format!("[default: {default}{environment}]"))
}

fn usage(manual: &Manual) -> String {
    format!(
        "{}\nADDRESS is {}[default: {DEFAULT_ADDRESS}; environment: {}]\n\nOptions:\n",
        manual.introduction,
        manual.addresses,
        variable("address")
    )
}

/// Returns `  -v, --verbose`, or `      --long VALUE`.
fn signature(entry: &Entry) -> String {
    let short = entry
        .short
        .map_or("    ".to_owned(), |short| format!("-{short}, "));
    let value = entry
        .value
        .map(|value| format!(" {value}"))
        .unwrap_or_default();

    format!("  {short}--{}{value}", entry.long)
}

/// Breaks a text into lines that fit a terminal.
fn indented(text: &str) -> String {
    let (indent, width) = ("          ", 92);
    let mut lines = vec![indent.to_owned()];

    for word in text.split(' ') {
        let line = lines.last().map_or(0, String::len);
        if line + word.len() >= width {
            lines.push(indent.to_owned());
        }

        if let Some(line) = lines.last_mut() {
            line.push_str(if line.len() > indent.len() { " " } else { "" });
            line.push_str(word);
        }
    }
    lines.join("\n")
}

/// Returns the zone of an IPv6 address, as in `%2`, if it has one.
fn zone(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(address) if address.scope_id() != 0 => format!("%{}", address.scope_id()),
        _ => String::new(),
    }
}

/// Returns the line that a server prints when it listens: its address, and a client to try.
pub(crate) fn greeting(address: &Address, handler: &str, terminator: &Terminator) -> String {
    // With -C, nc ends each typed line with CR LF.
    let crlf = *terminator == Terminator::CRLF;

    let client = match address {
        Address::Unix(path) => {
            let path = path.display().to_string().replace('\'', r"'\''");
            format!("nc {} '{path}'", if crlf { "-CU" } else { "-U" })
        }
        Address::Tcp(address) => {
            let host = match address.ip() {
                ip if ip.is_unspecified() => "localhost".to_owned(),
                ip => ip.to_string() + &zone(*address),
            };
            format!(
                "nc {}{host} {}",
                if crlf { "-C " } else { "" },
                address.port()
            )
        }
        Address::Host { name, port } => format!("nc {name} {port}"),
        Address::Inherited => "a client".to_owned(),
    };

    format!("synchat: serving {handler} on {address}; try: {client}")
}
