//! Reads the environment variables of the options, and finds those that belong to no option.

use std::ffi::{OsStr, OsString};

use super::command::{Command, variable};
use super::nearest::nearest;
use super::settings::Settings;

/// Returns the value of a variable. An empty value counts as unset, so that a file of variables or
/// a container's manifest can leave one open.
pub(crate) fn value(
    environment: &impl Fn(&str) -> Option<OsString>,
    name: &str,
) -> Option<OsString> {
    environment(name).filter(|value| !value.is_empty())
}

/// Returns a warning for each variable that looks like an option but is none.
pub(crate) fn warnings(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<String> {
    let names = variables
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, _)| name);

    names.filter_map(|name| warning(&name)).collect()
}

fn warning(name: &OsStr) -> Option<String> {
    let name = name.to_string_lossy();
    // The case of a variable counts, so `synchat_grace` is a mistake, too.
    let upper = name.to_ascii_uppercase();
    let rest = upper.strip_prefix("SYNCHAT_")?;
    if is_option(&name) || is_made_by_an_engine(rest) {
        return None;
    }

    let options = Settings::OPTIONS.iter().map(|option| option.long);
    let typed = rest.replace('_', "-");
    let hint = match nearest(&typed, options.chain(["address"])) {
        Some(option) => format!("did you mean {}?", variable(option)),
        None => format!("{} --help lists them", Settings::NAME),
    };
    Some(format!("{name} is not the variable of an option; {hint}"))
}

fn is_option(name: &str) -> bool {
    let mut options = Settings::OPTIONS.iter().map(|option| option.long);
    name == variable("address") || options.any(|option| name == variable(option))
}

/// Returns true for variables that Kubernetes and Docker set without being asked.
///
/// For a service named `synchat` they are `SYNCHAT_SERVICE_HOST`, `SYNCHAT_SERVICE_PORT`,
/// `SYNCHAT_SERVICE_PORT_LINES`, `SYNCHAT_PORT`, `SYNCHAT_PORT_7007_TCP`,
/// `SYNCHAT_PORT_7007_TCP_ADDR` and more; for one named `synchat-lf`, `SYNCHAT_LF_PORT` and so on.
/// Docker's links add `SYNCHAT_NAME` and `SYNCHAT_ENV_…`. Nobody chose those names, so a warning
/// would be noise at every start.
fn is_made_by_an_engine(rest: &str) -> bool {
    let words: Vec<_> = rest.split('_').collect();

    words.contains(&"PORT")
        || words.windows(2).any(|pair| pair == ["SERVICE", "HOST"])
        || words.last() == Some(&"NAME")
        || words.contains(&"ENV")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings_of(name: &str) -> Vec<String> {
        warnings([(name.into(), "1".into())])
    }

    #[test]
    fn a_variable_of_no_option_is_named_with_the_nearest() {
        for (name, meant) in [
            ("SYNCHAT_MAX_MESAGE", "SYNCHAT_MAX_MESSAGE?"),
            ("SYNCHAT_ADRESS", "SYNCHAT_ADDRESS?"),
            ("SYNCHAT_MAX-MESSAGE", "SYNCHAT_MAX_MESSAGE?"),
            ("synchat_grace", "SYNCHAT_GRACE?"),
            ("SYNCHAT_FOO", "synchat --help lists them"),
            ("SYNCHAT_HELP", "synchat --help lists them"),
        ] {
            let warnings = warnings_of(name);
            assert_eq!(warnings.len(), 1, "{name}");
            let warning = &warnings[0];
            assert!(warning.starts_with(&format!("{name} is not ")), "{warning}");
            assert!(warning.ends_with(meant), "{warning}");
        }
    }

    #[test]
    fn variables_of_options_and_of_container_engines_are_no_mistakes() {
        for name in [
            "SYNCHAT_ADDRESS",
            "SYNCHAT_MAX_MESSAGE",
            "SYNCHAT_PORT",
            "SYNCHAT_PORT_7007_TCP",
            "SYNCHAT_PORT_7007_TCP_ADDR",
            "SYNCHAT_PORT_7007_TCP_PROTO",
            "SYNCHAT_SERVICE_HOST",
            "SYNCHAT_SERVICE_PORT",
            "SYNCHAT_SERVICE_PORT_LINES",
            "SYNCHAT_LF_SERVICE_HOST",
            "SYNCHAT_LF_PORT",
            "SYNCHAT_NAME",
            "SYNCHAT_ENV_PATH",
            "SYNCHAT",
            "PATH",
            "MY_SYNCHAT_FOO",
        ] {
            assert_eq!(warnings_of(name), [""; 0], "{name}");
        }
        assert_eq!(warnings([("SYNCHAT_FOO".into(), "".into())]), [""; 0]);
    }
}
