//! Everything that is parsed from a user's text: arguments, environment, addresses, terminators,
//! sizes.
//!
//! The input is made of fields with NUL between them, as the system keeps arguments. One that
//! begins with `SYNCHAT_` is an environment variable. The first is a value by itself, too.

#![no_main]

#[allow(
    dead_code,
    unused_imports,
    reason = "these files are the whole command line; here it is only parsed"
)]
#[path = "../../../src/cli/mod.rs"]
mod cli;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use synchat::{Address, Terminator};

use cli::Invocation;

fuzz_target!(|data: &[u8]| {
    let fields: Vec<&[u8]> = data.split(|byte| *byte == 0).collect();
    let is_variable = |field: &&&[u8]| field.starts_with(b"SYNCHAT_");
    let arguments = fields.iter().filter(|field| !is_variable(field)).copied();
    let variables: Vec<_> = fields.iter().filter(is_variable).copied().collect();
    parse(arguments, &variables);

    // To look at each field by itself would cost more than it finds.
    let field = fields[0];
    a_terminator_prints_as_the_command_line_takes_it(field);
    if let Ok(text) = str::from_utf8(field) {
        an_address_prints_as_it_can_be_read(text);
        a_unit_multiplies(text);
        for option in options() {
            a_value_is_the_same_wherever_it_stands(option, text);
        }
    }
});

/// What the command line makes of these, as text, if it accepts them as settings.
fn parse<'a>(arguments: impl IntoIterator<Item = &'a [u8]>, variables: &[&[u8]]) -> Option<String> {
    let owned = |bytes: &[u8]| -> OsString { OsStr::from_bytes(bytes).to_owned() };
    let environment = |name: &str| {
        let value = |field: &&[u8]| {
            let value = field.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(owned(value))
        };
        variables.iter().find_map(value)
    };
    match cli::parse(arguments.into_iter().map(owned), environment) {
        Ok(Invocation::Print(text)) => {
            assert!(!text.trim().is_empty());
            None
        }
        Ok(accepted) => Some(format!("{accepted:?}")),
        Err(error) => {
            let line = cli::one_line(error);
            assert!(!line.trim().is_empty() && !line.contains(char::is_control));
            None
        }
    }
}

/// All options that the help names, with their dashes.
fn options() -> &'static [String] {
    static OPTIONS: OnceLock<Vec<String>> = OnceLock::new();
    OPTIONS.get_or_init(|| {
        let Ok(Invocation::Print(help)) = cli::parse(["-h".into()], |_| None) else {
            panic!("-h prints no help");
        };
        let words = help.split_whitespace();
        let options: Vec<_> = words
            .filter(|word| word.starts_with("--"))
            .map(str::to_owned)
            .collect();
        assert!(options.iter().any(|option| option == "--terminator"));
        options
    })
}

fn a_value_is_the_same_wherever_it_stands(option: &str, value: &str) {
    let Some(attached) = parse([format!("{option}={value}").as_bytes()], &[]) else {
        return;
    };
    let detached = parse([option.as_bytes(), value.as_bytes()], &[]);
    assert_eq!(detached.as_ref(), Some(&attached));
    let name = option.trim_start_matches('-').replace('-', "_");
    let variable = format!("SYNCHAT_{}={value}", name.to_ascii_uppercase());
    let from_environment = parse([], &[variable.as_bytes()]);
    assert_eq!(from_environment, Some(attached));
}

fn a_terminator_prints_as_the_command_line_takes_it(bytes: &[u8]) {
    // Known gaps: quotes are printed with a backslash, which the command line does not take, and
    // bytes that spell another terminator are printed as they are.
    let names: [&[u8]; 4] = [b"crlf", b"lf", b"nul", b"none"];
    if names.contains(&bytes)
        || bytes.starts_with(b"length:")
        || bytes.contains(&b'\'')
        || bytes.contains(&b'"')
    {
        return;
    }
    let in_hex: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let printed = Terminator::from(bytes.to_vec()).to_string();
    let of = |text: &str| parse([format!("--terminator={text}").as_bytes()], &[]);
    let in_hex = if bytes.is_empty() { "none" } else { &in_hex };
    assert_eq!(of(&printed), of(in_hex), "{printed}");
}

fn a_unit_multiplies(text: &str) {
    let Ok(number) = text.parse::<u64>() else {
        return;
    };
    let of = |text: String| parse([format!("--max-message={text}").as_bytes()], &[]);
    for (unit, factor) in [("KiB", 1 << 10), ("MiB", 1 << 20)] {
        let bytes = number.checked_mul(factor);
        assert_eq!(
            of(format!("{number}{unit}")),
            bytes.and_then(|bytes| of(bytes.to_string()))
        );
    }
}

fn an_address_prints_as_it_can_be_read(text: &str) {
    match text.parse::<Address>() {
        Ok(address) => {
            if let Address::Host { name, .. } = &address {
                assert!(!name.is_empty() && !name.contains(['[', ']', ':', ' ', '\n']));
            }
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        Err(error) => {
            let line = error.to_string();
            assert!(
                !line.is_empty() && !line.contains(char::is_control),
                "{line:?}"
            );
        }
    }
}
