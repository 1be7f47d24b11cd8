//! Arguments and environment to the settings of a [`Command`]: a flag beats the environment, the
//! environment beats the default.
//!
//! First the arguments are read for their form, so that help is available whatever else is wrong;
//! then values are taken in, the environment's before the flags'.

use std::ffi::{OsStr, OsString};

use synchat::{Address, AddressError};

use super::command::{Command, Opt, variable};
use super::help;
use super::ping_options::PingSettings;
use super::settings::Settings;

/// What the process is to do.
#[derive(Debug)]
pub(crate) enum Invocation {
    Serve(Box<Settings>),
    Ping(PingSettings),
    /// Help, or the version.
    Print(String),
}

/// Parses the arguments, without the program's name. An error is one line that says what would have
/// been right.
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

/// The arguments, by form. What takes them in returns a text if that is all that is wanted.
struct Given<C: Command> {
    /// In order. A switch has the number of times that it was given up to there.
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
                "{first:?} and {address:?}: only one address can be given"
            )),
        }
    }

    /// Takes `--name`, `--name=value` or `--name value`, without its dashes.
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

    /// Notes an option. A list goes on where it was given before.
    fn add(&mut self, option: &'static Opt<C>, value: String) {
        let is_same = |(other, _): &&mut (&Opt<C>, String)| other.long == option.long;
        match self.options.iter_mut().find(is_same) {
            Some((_, list)) if option.long == "allow" => *list = format!("{list},{value}"),
            _ => self.options.push((option, value)),
        }
    }

    /// Takes `-v`, `-vv`, `-qv`, `-c4`, `-qc 4`, without the dash.
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
            let value = match rest.as_str() {
                "" => value_of(&format!("-{letter}"), metavar, next())?,
                attached => attached.to_owned(),
            };
            self.add(option, value);
            break;
        }
        Ok(None)
    }

    /// How often a switch was given, with this time; more than twice is twice.
    fn times(&self, switch: &Opt<C>) -> String {
        let before = self
            .options
            .iter()
            .filter(|(option, _)| option.long == switch.long);
        (before.count() + 1).min(2).to_string()
    }

    /// Takes the values in, over those of the environment.
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

/// The defaults, and over them what the environment says. Variables that no option has are left
/// alone: container engines make some of their own, such as `SYNCHAT_PORT`.
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

/// The argument behind an option that needs a value.
fn value_of(option: &str, metavar: &str, next: Option<OsString>) -> Result<String, String> {
    let value = next.ok_or_else(|| format!("{option}: it needs a value, {metavar}"))?;
    text(&value).map(str::to_owned)
}

fn text(argument: &OsStr) -> Result<&str, String> {
    argument.to_str().ok_or_else(|| {
        format!("{argument:?}: not UTF-8, which all arguments and variables must be")
    })
}

fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|error: AddressError| {
        format!("{error}; it takes HOST:PORT, [V6]:PORT, unix:PATH or fd:0")
    })
}

fn no_such<C: Command>(option: &str) -> String {
    format!("{option}: no such option; {} --help lists them", C::NAME)
}
