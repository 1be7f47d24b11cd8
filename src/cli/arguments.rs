//! Turns arguments and environment into the settings of a [`Command`].
//!
//! A flag beats the environment. The environment beats the default. The first pass reads only the
//! form of the arguments, so you get help even when some value is wrong. The second pass takes in
//! the values: first those of the environment, then those of the flags.

use std::ffi::{OsStr, OsString};

use synchat::{Address, AddressError};

use super::command::{Command, Print, variable};
use super::completions;
use super::environment;
use super::help;
use super::man_page;
use super::manual::{Entry, Manual};
use super::nearest::nearest;
use super::ping_options::PingSettings;
use super::settings::Settings;
use super::sources::{Source, Sources};
use super::values::choice;

/// The task of this process.
#[derive(Debug)]
pub(crate) enum Invocation {
    Serve(Box<Settings>, Sources),
    Ping(PingSettings),
    /// Print this text: help, or the version.
    Print(String),
    /// Print this text: the settings.
    PrintConfig(String),
}

/// Parses the arguments, without the program's name. An error is one line that names a valid form.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Invocation, String> {
    let mut arguments = arguments.into_iter().peekable();
    if arguments.next_if(|first| first == "--generate").is_some() {
        return generate(arguments.next()).map(Invocation::Print);
    }

    match arguments.next_if(|first| first == "ping") {
        None => parse_for(arguments, environment, |settings, sources| {
            Invocation::Serve(Box::new(settings), sources)
        }),
        Some(_) => parse_for(arguments, environment, |settings, _| {
            Invocation::Ping(settings)
        }),
    }
}

/// Returns a file for `make install`. The help does not list this option.
fn generate(kind: Option<OsString>) -> Result<String, String> {
    let kinds = [
        ("man", man_page::man_page as fn() -> String),
        ("bash", completions::bash),
        ("zsh", completions::zsh),
        ("fish", completions::fish),
    ];
    let kind = kind.unwrap_or_default();

    choice(text(&kind)?, &kinds)
        .map(|generate| generate())
        .map_err(|form| format!("--generate {kind:?}: not {form}"))
}

fn parse_for<C: Command>(
    arguments: impl Iterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
    invocation: fn(C, Sources) -> Invocation,
) -> Result<Invocation, String> {
    let given = match first_pass(arguments.collect(), Manual::of::<C>())? {
        FirstPass::Prints(text) => return Ok(Invocation::Print(text)),
        FirstPass::Given(given) => given,
    };

    let prints_config = given.prints_config;
    let (settings, sources) = given.over::<C>(from_environment(environment)?)?;
    settings.check()?;
    if prints_config {
        return Ok(Invocation::PrintConfig(sources.as_env_file::<C>()));
    }
    Ok(invocation(settings, sources))
}

enum FirstPass {
    Given(Given),
    /// The process only prints this text.
    Prints(String),
}

/// Reads the form of the arguments.
fn first_pass(arguments: Vec<OsString>, manual: Manual) -> Result<FirstPass, String> {
    let mut arguments = arguments.into_iter();
    let mut given = Given::new(manual);
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
            return Ok(FirstPass::Prints(text));
        }
    }
    Ok(FirstPass::Given(given))
}

/// The arguments after the first pass. The methods that take one in return a text if the process
/// only prints that.
struct Given {
    manual: Manual,
    /// In the order of the arguments, each by its place in the table of options. The value of a
    /// switch is the number of times that it was given so far.
    options: Vec<(usize, String)>,
    address: Option<String>,
    prints_config: bool,
}

impl Given {
    fn new(manual: Manual) -> Self {
        Self {
            manual,
            options: Vec::new(),
            address: None,
            prints_config: false,
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

        let place = self.find(|entry| entry.long == name);
        let place = place.ok_or_else(|| no_such(&self.manual, &format!("--{name}"), name))?;
        let entry = &self.manual.entries[place];

        let value = match (entry.value, attached) {
            (None, Some(value)) => {
                return Err(format!("--{name}={value}: --{name} takes no value"));
            }
            (None, None) => self.times(place),
            (Some(_), Some(value)) => value.to_owned(),
            (Some(metavar), None) => value_of(&format!("--{name}"), metavar, next())?,
        };
        Ok(self.add(place, value, help::long))
    }

    /// Takes `-v`, `-vv`, `-qv`, `-c4` or `-qc 4`, without the dash.
    fn take_letters(
        &mut self,
        letters: &str,
        next: impl FnOnce() -> Option<OsString>,
    ) -> Result<Option<String>, String> {
        if letters.is_empty() {
            return Err(no_such(&self.manual, "-", ""));
        }

        let mut rest = letters.chars();
        while let Some(letter) = rest.next() {
            let place = self.find(|entry| entry.short == Some(letter));
            let place =
                place.ok_or_else(|| no_such(&self.manual, &format!("-{letter}"), letters))?;

            // The rest of the argument is the value, or the next argument is.
            let value = match (self.manual.entries[place].value, rest.as_str()) {
                (None, _) => self.times(place),
                (Some(metavar), "") => {
                    let value = value_of(&format!("-{letter}"), metavar, next())?;
                    return Ok(self.add(place, value, help::short));
                }
                (Some(_), attached) => {
                    return Ok(self.add(place, attached.to_owned(), help::short));
                }
            };
            if let Some(text) = self.add(place, value, help::short) {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    fn find(&self, is_it: impl Fn(&Entry) -> bool) -> Option<usize> {
        self.manual.entries.iter().position(is_it)
    }

    /// Adds an option, or returns the text that it prints. A repeated list grows.
    fn add(&mut self, place: usize, value: String, help: fn(&Manual) -> String) -> Option<String> {
        let entry = &self.manual.entries[place];
        match entry.print {
            Some(Print::Help) => return Some(help(&self.manual)),
            Some(Print::Version) => return Some(help::version()),
            // It shows all settings, so all arguments and variables must be read first.
            Some(Print::Config) => self.prints_config = true,

            None => match self.options.iter_mut().find(|(other, _)| *other == place) {
                Some((_, list)) if entry.long == "allow" => *list = format!("{list},{value}"),
                _ => self.options.push((place, value)),
            },
        }
        None
    }

    /// Returns the number of times that a switch was given, this time included. More than twice
    /// counts as twice.
    fn times(&self, place: usize) -> String {
        let before = self.options.iter().filter(|(other, _)| *other == place);
        (before.count() + 1).min(2).to_string()
    }

    /// Puts the values into the settings that came from the environment.
    fn over<C: Command>(
        self,
        (mut settings, mut sources): (C, Sources),
    ) -> Result<(C, Sources), String> {
        for (place, value) in self.options {
            let option = &C::OPTIONS[place];
            (option.set)(&mut settings, &value)
                .map_err(|form| format!("--{} {value:?}: not {form}", option.long))?;
            sources.note(option, &value, Source::Flag);
        }

        if let Some(given) = self.address {
            settings.set_address(address(&given)?);
            sources.note_address(&given, Source::Flag);
        }
        Ok((settings, sources))
    }
}

/// Returns the defaults with the values of the environment in them.
fn from_environment<C: Command>(
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<(C, Sources), String> {
    let (mut settings, mut sources) = (C::default(), Sources::default());
    let with_name = |name: &str, problem: String| format!("{name}: {problem}");

    for option in C::OPTIONS {
        let Some(name) = option.variable() else {
            continue;
        };
        if let Some(value) = environment::value(&environment, &name) {
            let value = text(&value).map_err(|problem| with_name(&name, problem))?;
            (option.set)(&mut settings, value)
                .map_err(|form| with_name(&name, format!("{value:?}: not {form}")))?;
            sources.note(option, value, Source::Environment);
        }
    }

    let name = variable("address");
    if let Some(value) = environment::value(&environment, &name) {
        let value = text(&value).map_err(|problem| with_name(&name, problem))?;
        settings.set_address(address(value).map_err(|problem| with_name(&name, problem))?);
        sources.note_address(value, Source::Environment);
    }
    Ok((settings, sources))
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
        // Some programs take these words without dashes.
        let hint = match nearest(text, ["ping", "help", "version"]) {
            Some("ping") => "; did you mean synchat ping?".to_owned(),
            Some(word) => format!("; did you mean --{word}?"),
            None => String::new(),
        };
        format!("{error}; it takes HOST:PORT, [V6]:PORT, unix:PATH or fd:0{hint}")
    })
}

/// Returns the error for an unknown option. `name` is the text to which the nearest option is
/// found: also `backlog` for `-backlog 9`, of which only `-b` is the unknown option.
fn no_such(manual: &Manual, option: &str, name: &str) -> String {
    let options = manual.entries.iter().map(|entry| entry.long);
    let hint =
        nearest(name, options).map_or(String::new(), |meant| format!(" did you mean --{meant}?"));

    format!(
        "{option}: no such option;{hint} {} --help lists them",
        manual.name
    )
}
