//! The texts that the program prints, made from the table of options.

use std::fmt::Write;

use synchat::{Address, HANDLERS, Terminator};

use super::options::{DEFAULT_ADDRESS, OPTIONS, Opt, variable};

const EXAMPLES: &str = "\
Examples:
  synchat                                  echo lines on 127.0.0.1:7007
  synchat '[::]:7' --terminator lf         to the world, lines that end in \\n
  synchat unix:/run/echo.sock -v           on a Unix socket, every callback logged
  synchat 127.0.0.1:0 --terminator none    bytes as they come, on any free port
";

/// `-V`
pub(crate) fn version() -> String {
    format!("synchat {}\n", env!("CARGO_PKG_VERSION"))
}

/// `-h`: a line for each option.
pub(crate) fn short() -> String {
    let mut text = usage();
    for option in OPTIONS {
        let _ = writeln!(
            text,
            "{:<34} {} [{}]",
            signature(option),
            option.about,
            option.default
        );
    }
    text + "  -h, --help                       this help, or more of it\n  -V, --version                    the version\n"
}

/// `--help`: all there is to say.
pub(crate) fn long() -> String {
    let mut text = usage();
    for option in OPTIONS {
        let _ = writeln!(text, "{}\n          {}", signature(option), option.about);
        if !option.details.is_empty() {
            let _ = writeln!(text, "{}", indented(option.details));
        }
        let _ = writeln!(
            text,
            "          [default: {}; environment: {}]\n",
            option.default,
            option.variable()
        );
    }
    text += "  -h, --help\n          this help; -h is a shorter one\n\n  -V, --version\n          the version\n\nHandlers:\n";
    for handler in HANDLERS {
        let _ = writeln!(text, "  {:<8} {}", handler.name, handler.about);
    }
    text += "\nA flag beats the environment, and the environment beats the default.\n";
    text += "Exit codes: 0 done or drained, 1 failed at run time, 2 bad usage.\n";
    text
}

fn usage() -> String {
    format!(
        "A line echo server, a thread per connection: Python's asynchat, blocking.\n\n\
         Usage: synchat [OPTIONS] [ADDRESS]\n\n{EXAMPLES}\n\
         ADDRESS is HOST:PORT, [V6]:PORT, unix:PATH, or fd:0 for a listening socket inherited as\n\
         standard input. [default: {DEFAULT_ADDRESS}; environment: {}]\n\nOptions:\n",
        variable("address")
    )
}

fn signature(option: &Opt) -> String {
    let short = option
        .short
        .map_or("    ".to_owned(), |short| format!("-{short}, "));
    let value = option
        .value
        .map(|value| format!(" {value}"))
        .unwrap_or_default();
    format!("  {short}--{}{value}", option.long)
}

/// Breaks a text into lines of a terminal's width.
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

/// What is said when the server listens: where, and how to try it.
pub(crate) fn greeting(address: &Address, handler: &str, terminator: &Terminator) -> String {
    // So that a line that is typed ends as the server wants it.
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
