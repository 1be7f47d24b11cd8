//! Arguments and environment to [`Settings`]: a flag beats the environment, the environment beats the default.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use synchat::{Address, Error, Terminator};

use super::help;
use super::options::{OPTIONS, Opt, Settings, variable};

/// What the process is to do.
#[derive(Debug)]
pub(crate) enum Invocation {
    Serve(Box<Settings>),
    /// Help, or the version.
    Print(String),
}

/// Parses the arguments, without the program's name. An error is one line that says what would have been right.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Invocation, String> {
    let mut settings = Settings::default();
    // Variables that no option has are left alone: container engines make some of their own, such as SYNCHAT_PORT.
    for option in OPTIONS {
        let name = option.variable();
        if let Some(value) = environment(&name) {
            let value = text(&value)?;
            (option.set)(&mut settings, value)
                .map_err(|form| format!("{name}={value}: not {form}"))?;
        }
    }
    let name = variable("address");
    if let Some(value) = environment(&name) {
        settings.address = address(text(&value)?).map_err(|error| format!("{name}: {error}"))?;
    }

    let mut arguments = arguments.into_iter();
    let mut options_are_over = false;
    let mut given_address = None;
    let mut times = HashMap::new();
    while let Some(argument) = arguments.next() {
        let argument = text(&argument)?;
        if argument == "--" && !options_are_over {
            options_are_over = true;
        } else if let Some(long) = argument.strip_prefix("--").filter(|_| !options_are_over) {
            let (long, attached) = long
                .split_once('=')
                .map_or((long, None), |(long, value)| (long, Some(value)));
            match (long, attached) {
                ("help", None) => return Ok(Invocation::Print(help::long())),
                ("version", None) => return Ok(Invocation::Print(help::version())),
                _ => {}
            }
            let option = OPTIONS.iter().find(|option| option.long == long);
            let option = option
                .ok_or_else(|| format!("--{long}: no such option; synchat --help lists them"))?;
            match (option.value, attached) {
                (None, None) => switch(option, &mut settings, &mut times)?,
                (None, Some(value)) => {
                    return Err(format!("--{long}={value}: --{long} takes no value"));
                }
                (Some(_), Some(value)) => set(option, &mut settings, value)?,
                (Some(metavar), None) => {
                    let value = arguments
                        .next()
                        .ok_or_else(|| format!("--{long}: it needs a value, {metavar}"))?;
                    set(option, &mut settings, text(&value)?)?;
                }
            }
        } else if let Some(letters) = argument.strip_prefix('-').filter(|_| !options_are_over) {
            if letters.is_empty() {
                return Err("-: no such option; synchat --help lists them".to_owned());
            }
            for letter in letters.chars() {
                match letter {
                    'h' => return Ok(Invocation::Print(help::short())),
                    'V' => return Ok(Invocation::Print(help::version())),
                    _ => {}
                }
                let option = OPTIONS.iter().find(|option| option.short == Some(letter));
                let option = option.ok_or_else(|| {
                    format!("-{letter}: no such option; synchat --help lists them")
                })?;
                switch(option, &mut settings, &mut times)?;
            }
        } else if let Some(first) = given_address.replace(argument.to_owned()) {
            return Err(format!(
                "{first:?} and {argument:?}: only one address can be served"
            ));
        }
    }
    if let Some(given) = given_address {
        settings.address = address(&given)?;
    }
    match settings.terminator {
        Terminator::Length(length) if length.get() > settings.limits.max_message => Err(format!(
            "--terminator length:{length}: longer than --max-message {}; raise that one",
            settings.limits.max_message
        )),
        _ => Ok(Invocation::Serve(Box::new(settings))),
    }
}

fn set(option: &Opt, settings: &mut Settings, value: &str) -> Result<(), String> {
    (option.set)(settings, value).map_err(|form| format!("--{} {value:?}: not {form}", option.long))
}

/// Counts a switch: the value that it is set to is how often it was given.
fn switch(
    option: &Opt,
    settings: &mut Settings,
    times: &mut HashMap<&'static str, usize>,
) -> Result<(), String> {
    let count = times.entry(option.long).or_default();
    *count += 1;
    set(option, settings, &count.to_string())
}

fn text(argument: &OsStr) -> Result<&str, String> {
    argument.to_str().ok_or_else(|| {
        format!("{argument:?}: not UTF-8, which all arguments and variables must be")
    })
}

fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|error: Error| {
        format!("{error}; it takes HOST:PORT, [V6]:PORT, unix:PATH or fd:0")
    })
}
