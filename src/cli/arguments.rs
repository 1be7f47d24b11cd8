//! Turns arguments and environment into the settings of a [`Command`].
//!
//! A flag beats the environment. The environment beats the default. The first pass reads only the
//! form of the arguments, so you get help even when some value is wrong. The second pass takes in
//! the values: first those of the environment, then those of the flags.

use std::ffi::{OsStr, OsString};

use synchat::{Address, AddressError};

use super::command::{Command, Opt, variable};
use super::help;
use super::ping_options::PingSettings;
use super::settings::Settings;

/// The task of this process.
#[derive(Debug)]
pub(crate) enum Invocation {
    Serve(Box<Settings>),
    Ping(PingSettings),
    /// Print this text: help, or the version.
    Print(String),
}

/// Parses the arguments, without the program's name. An error is one line that names a valid form.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Invocation, String> {
    let mut arguments = arguments.into_iter().peekable();
    match arguments.next_if(|first| first == "ping") {
        None => parse_for(arguments, environment, |settings| {
            Invocation::Serve(Box::new(settings))
        }),
        Some(_) => parse_for(arguments, environment, Invocation::Ping),
    }
}

fn parse_for<C: Command>(
    mut arguments: impl Iterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
    invocation: fn(C) -> Invocation,
) -> Result<Invocation, String> {
    let mut given = Given::<C>::new();
    let mut options_are_over = false;

    while let Some(argument) = arguments.next() {
        let argument = text(&argument)?;
        let options = argument.strip_prefix('-').filter(|_| !options_are_over);

        let printed = match options.map(|letters| (letters, letters.strip_prefix('-'))) {
            None => given.take_address(argument)?,
            Some((_, Some(""))) => {
                options_are_over = true;
                None
            }
            Some((_, Some(long))) => given.take_long(long, || arguments.next())?,
            Some((letters, None)) => given.take_letters(letters, || arguments.next())?,
        };
        if let Some(text) = printed {
            return Ok(Invocation::Print(text));
        }
    }

    let settings = given.over(from_environment(environment)?)?;
    settings.check()?;
    Ok(invocation(settings))
}

/// The arguments after the first pass. The methods that take one in return a text if the process
/// only prints that.
struct Given<C: Command> {
    /// In the order of the arguments. The value of a switch is the number of times that it was
    /// given so far.
    options: Vec<(&'static Opt<C>, String)>,
    address: Option<String>,
}

impl<C: Command> Given<C> {
    fn new() -> Self {
        Self {
            options: Vec::new(),
            address: None,
        }
    }

    fn take_address(&mut self, address: &str) -> Result<Option<String>, String> {
        match self.address.replace(address.to_owned()) {
            None => Ok(None),
            Some(first) => Err(format!(
                "{first:?} and {address:?}: you can give only one address"
            )),
        }
    }

    /// Takes `--name`, `--name=value` or `--name value`, without the dashes.
    fn take_long(
        &mut self,
        argument: &str,
        next: impl FnOnce() -> Option<OsString>,
    ) -> Result<Option<String>, String> {
        let (name, attached) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument, None),
        };

        let print = match name {
            "help" => Some(help::long::<C> as fn() -> String),
            "version" => Some(help::version as fn() -> String),
            _ => None,
        };
        let option = C::OPTIONS.iter().find(|option| option.long == name);

        let value = match (option, option.and_then(|option| option.value), attached) {
            (None, _, _) if print.is_none() => return Err(no_such::<C>(&format!("--{name}"))),
            (_, None, Some(value)) => {
                return Err(format!("--{name}={value}: --{name} takes no value"));
            }
            (_, Some(_), Some(value)) => value.to_owned(),
            (_, Some(metavar), None) => value_of(&format!("--{name}"), metavar, next())?,
            (Some(switch), None, None) => self.times(switch),
            (None, None, None) => String::new(),
        };

        if let Some(option) = option {
            self.add(option, value);
        }
        Ok(print.map(|print| print()))
    }

    /// Adds an option. A repeated list grows.
    fn add(&mut self, option: &'static Opt<C>, value: String) {
        let is_same = |(other, _): &&mut (&Opt<C>, String)| other.long == option.long;
        match self.options.iter_mut().find(is_same) {
            Some((_, list)) if option.long == "allow" => *list = format!("{list},{value}"),
            _ => self.options.push((option, value)),
        }
    }

    /// Takes `-v`, `-vv`, `-qv`, `-c4` or `-qc 4`, without the dash.
    fn take_letters(
        &mut self,
        letters: &str,
        next: impl FnOnce() -> Option<OsString>,
    ) -> Result<Option<String>, String> {
        if letters.is_empty() {
            return Err(no_such::<C>("-"));
        }

        let mut rest = letters.chars();
        while let Some(letter) = rest.next() {
            match letter {
                'h' => return Ok(Some(help::short::<C>())),
                'V' => return Ok(Some(help::version())),
                _ => {}
            }

            let option = C::OPTIONS
                .iter()
                .find(|option| option.short == Some(letter));
            let option = option.ok_or_else(|| no_such::<C>(&format!("-{letter}")))?;
            let Some(metavar) = option.value else {
                self.add(option, self.times(option));
                continue;
            };

            // The rest of the argument is the value, or the next argument is.
            let value = match rest.as_str() {
                "" => value_of(&format!("-{letter}"), metavar, next())?,
                attached => attached.to_owned(),
            };
            self.add(option, value);
            break;
        }
        Ok(None)
    }

    /// Returns the number of times that a switch was given, this time included. More than twice
    /// counts as twice.
    fn times(&self, switch: &Opt<C>) -> String {
        let before = self
            .options
            .iter()
            .filter(|(option, _)| option.long == switch.long);
        (before.count() + 1).min(2).to_string()
    }

    /// Puts the values into the settings that came from the environment.
    fn over(self, mut settings: C) -> Result<C, String> {
        for (option, value) in self.options {
            (option.set)(&mut settings, &value)
                .map_err(|form| format!("--{} {value:?}: not {form}", option.long))?;
        }

        if let Some(given) = self.address {
            settings.set_address(address(&given)?);
        }
        Ok(settings)
    }
}

/// Returns the defaults with the values of the environment in them. Ignores variables that belong
/// to no option: container engines set some of their own, such as `SYNCHAT_PORT`.
fn from_environment<C: Command>(
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<C, String> {
    let mut settings = C::default();
    let with_name = |name: &str, problem: String| format!("{name}: {problem}");

    for option in C::OPTIONS {
        let Some(name) = option.variable() else {
            continue;
        };
        if let Some(value) = environment(&name) {
            let value = text(&value).map_err(|problem| with_name(&name, problem))?;
            (option.set)(&mut settings, value)
                .map_err(|form| with_name(&name, format!("{value:?}: not {form}")))?;
        }
    }

    let name = variable("address");
    if let Some(value) = environment(&name) {
        let value = text(&value).map_err(|problem| with_name(&name, problem))?;
        settings.set_address(address(value).map_err(|problem| with_name(&name, problem))?);
    }
    Ok(settings)
}

/// Returns the argument behind an option that needs a value.
fn value_of(option: &str, metavar: &str, next: Option<OsString>) -> Result<String, String> {
    let value = next.ok_or_else(|| format!("{option}: it needs a value, {metavar}"))?;
    text(&value).map(str::to_owned)
}

fn text(argument: &OsStr) -> Result<&str, String> {
    argument
        .to_str()
        .ok_or_else(|| format!("{argument:?}: arguments and variables must be UTF-8"))
}

fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|error: AddressError| {
        format!("{error}; it takes HOST:PORT, [V6]:PORT, unix:PATH or fd:0")
    })
}

fn no_such<C: Command>(option: &str) -> String {
    format!("{option}: no such option; {} --help lists them", C::NAME)
}
