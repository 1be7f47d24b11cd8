//! The texts that the program prints, made from the tables of options.

use std::fmt::Write;

use synchat::{Address, Terminator};

use super::command::{Command, DEFAULT_ADDRESS, Opt, variable};

/// The text of `-V`.
pub(crate) fn version() -> String {
    format!("synchat {}\n", env!("CARGO_PKG_VERSION"))
}

/// The text of `-h`: one line for each option.
pub(crate) fn short<C: Command>() -> String {
    let mut text = usage::<C>();

    for option in C::OPTIONS {
        let _ = writeln!(
            text,
            "{:<34} {} [{}]",
            signature(option),
            option.about,
            option.default
        );
    }

    text + "  -h, --help                       print this help; --help prints more\n  -V, --version                    print the version\n"
}

/// The text of `--help`: everything about each option.
pub(crate) fn long<C: Command>() -> String {
    let mut text = usage::<C>();

    for option in C::OPTIONS {
        let _ = writeln!(text, "{}\n          {}", signature(option), option.about);
        if !option.details.is_empty() {
            let _ = writeln!(text, "{}", indented(option.details));
        }

        let environment = option
            .variable()
            .map(|name| format!("; environment: {name}"))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "          [default: {}{environment}]\n",
            option.default
        );
    }

    text += "  -h, --help\n          print this help; -h prints a shorter one\n\n  -V, --version\n          print the version\n\n";
    text + &C::notes()
}

fn usage<C: Command>() -> String {
    format!(
        "{}\nADDRESS is {}[default: {DEFAULT_ADDRESS}; environment: {}]\n\nOptions:\n",
        C::INTRODUCTION,
        C::ADDRESSES,
        variable("address")
    )
}

/// Returns `  -v, --verbose`, or `      --long VALUE`.
fn signature<C>(option: &Opt<C>) -> String {
    let short = option
        .short
        .map_or("    ".to_owned(), |short| format!("-{short}, "));
    let value = option
        .value
        .map(|value| format!(" {value}"))
        .unwrap_or_default();

    format!("  {short}--{}{value}", option.long)
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
                ip => ip.to_string(),
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
