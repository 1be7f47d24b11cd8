//! Completion scripts for bash, zsh and fish, made from the tables of options.

use std::fmt::Write;

use synchat::HANDLERS;

use super::manual::{Entry, Manual};
use super::ping_options::PingSettings;
use super::settings::Settings;
use super::terminators::{KEYWORDS, PREFIXES};

/// The values that a script can offer.
enum Value {
    /// The option is a switch.
    None,
    Words(Vec<String>),
    File,
    /// Only you know the value.
    Yours,
}

fn value(entry: &Entry) -> Value {
    let words = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
    match (entry.long, entry.value) {
        (_, None) => Value::None,
        (_, Some("PATH")) => Value::File,
        ("handler", _) => Value::Words(words(HANDLERS.iter().map(|h| h.name).collect())),
        ("terminator", _) => {
            let prefixes = PREFIXES.iter().map(|word| format!("{word}:"));
            Value::Words(
                words(KEYWORDS.to_vec())
                    .into_iter()
                    .chain(prefixes)
                    .collect(),
            )
        }
        (_, Some(metavar)) if metavar.contains('|') => {
            Value::Words(words(metavar.split('|').collect()))
        }
        _ => Value::Yours,
    }
}

/// Returns `-l` if there is a letter, and `--long`.
fn flags(entry: &Entry) -> Vec<String> {
    let short = entry.short.map(|short| format!("-{short}"));
    short
        .into_iter()
        .chain([format!("--{}", entry.long)])
        .collect()
}

pub(crate) fn bash() -> String {
    let mut text = "\
# Completes the options of synchat and their values in bash.
_synchat() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words
    # bash splits --name=value at the =.
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi

    if [[ ${COMP_WORDS[1]} == ping && $COMP_CWORD -gt 1 ]]; then
"
    .to_owned();
    text += &bash_cases(&Manual::of::<PingSettings>());
    text += "    else\n";
    text += &bash_cases(&Manual::of::<Settings>());

    text + "    fi
    if [[ $COMP_CWORD == 1 ]]; then
        words+=' ping'
    fi

    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))
    # The value goes on behind a colon.
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *: ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _synchat synchat
"
}

fn bash_cases(manual: &Manual) -> String {
    let mut text = "        case $before in\n".to_owned();
    let mut yours = Vec::new();
    let mut all = Vec::new();

    for entry in &manual.entries {
        let flags = flags(entry);
        let pattern = flags.join(" | ");
        match value(entry) {
            Value::Words(words) => {
                let _ = writeln!(text, "        {pattern}) words='{}' ;;", words.join(" "));
            }
            Value::File => {
                text += &format!(
                    "        {pattern})\n            compopt -o filenames 2>/dev/null\n            \
                     local IFS=$'\\n'\n            COMPREPLY=($(compgen -f -- \"$word\"))\n            \
                     return\n            ;;\n"
                );
            }
            Value::Yours => yours.push(pattern),
            Value::None => {}
        }
        all.extend(flags);
    }

    if !yours.is_empty() {
        let _ = writeln!(text, "        {}) return ;;", yours.join(" | "));
    }
    let _ = writeln!(text, "        *) words='{}' ;;", all.join(" "));
    text + "        esac\n"
}

pub(crate) fn zsh() -> String {
    format!(
        "\
#compdef synchat
# Completes the options of synchat and their values in zsh.

local -a serve ping
serve=(
{})
ping=(
{})

if [[ $words[2] == ping ]] && (( CURRENT > 2 )); then
    shift words
    (( CURRENT-- ))
    _arguments -s $ping ':address: '
elif (( CURRENT == 2 )); then
    _arguments -s $serve '1: :(ping)'
else
    _arguments -s $serve ':address: '
fi
",
        zsh_specs(&Manual::of::<Settings>()),
        zsh_specs(&Manual::of::<PingSettings>())
    )
}

fn zsh_specs(manual: &Manual) -> String {
    let mut text = String::new();

    for entry in &manual.entries {
        let about = escaped(entry.about, &['[', ']', ':', '\\']).replace('\'', r"'\''");
        let value = value(entry);
        let action = match &value {
            Value::None => String::new(),
            Value::Words(words) => {
                let words: Vec<_> = words.iter().map(|word| escaped(word, &[':'])).collect();
                format!(":value:({})", words.join(" "))
            }
            Value::File => ":file:_files".to_owned(),
            Value::Yours => ":value: ".to_owned(),
        };

        for flag in flags(entry) {
            // A value can stand behind `--name=` or `-n`, or in the next word.
            let attached = match value {
                Value::None => "",
                _ if flag.starts_with("--") => "=",
                _ => "+",
            };
            let _ = writeln!(text, "    '*{flag}{attached}[{about}]{action}'");
        }
    }
    text
}

pub(crate) fn fish() -> String {
    let mut text = "# Completes the options of synchat and their values in fish.\n\
                    complete -c synchat -f\n\
                    complete -c synchat -n __fish_is_first_arg -a ping -d 'check that a server is up'\n"
        .to_owned();
    let of_ping = "__fish_seen_subcommand_from ping";

    text += &fish_lines(&Manual::of::<Settings>(), &format!("not {of_ping}"));
    text + &fish_lines(&Manual::of::<PingSettings>(), of_ping)
}

fn fish_lines(manual: &Manual, condition: &str) -> String {
    let mut text = String::new();

    for entry in &manual.entries {
        let short = entry.short.map(|short| format!(" -s {short}"));
        let value = match value(entry) {
            Value::None => String::new(),
            Value::Words(words) => format!(" -x -a '{}'", words.join(" ")),
            Value::File => " -r -F".to_owned(),
            Value::Yours => " -x".to_owned(),
        };

        let _ = writeln!(
            text,
            "complete -c synchat -n '{condition}' -l {}{}{value} -d '{}'",
            entry.long,
            short.unwrap_or_default(),
            escaped(entry.about, &['\'', '\\'])
        );
    }
    text
}

/// Puts a backslash before each of these characters.
fn escaped(text: &str, special: &[char]) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if special.contains(&c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
