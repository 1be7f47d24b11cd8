//! The time limit of the tests themselves: it ends a run that hangs, and every test has one.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use synchat::Address;

use crate::house_rules::{read, rust_files, tests_in};
use crate::support::process::{ServerProcess, eventually, run_to_its_end};
use crate::support::time_limit;

/// Set in the run in which the test hangs.
const HANGS: &str = "TEST_HANGS";

const THIS_TEST: &str = "time_limits::a_test_that_hangs_ends_the_run_and_its_server";

/// Runs this program once more, with this test only, which hangs there.
#[test]
fn a_test_that_hangs_ends_the_run_and_its_server() {
    if env::var_os(HANGS).is_some() {
        hangs_with_a_server();
    }

    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", THIS_TEST, "--nocapture"]);
    let output = run_to_its_end(command.env(HANGS, "1"));
    let printed = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();

    // The run fails, and names the test that hangs, but not the one that has ended before.
    assert_eq!(output.status.code(), Some(101), "{printed}{complaint}");

    let expected = format!("time limit: {THIS_TEST} has not ended within 1s\n");
    assert!(complaint.contains(&expected), "{complaint}");
    assert_eq!(complaint.matches("time limit: ").count(), 1, "{complaint}");

    // Its server is gone.
    let address = printed
        .lines()
        .find_map(|line| line.split_once("serves on ")?.1.parse().ok());
    let Some(Address::Tcp(address)) = address else {
        panic!("no address: {printed}");
    };
    eventually("the server has ended", || {
        TcpStream::connect(address).is_err()
    });
}

fn hangs_with_a_server() -> ! {
    const LIMIT: Duration = Duration::from_secs(1);

    // The limit of a test that has ended does no harm.
    let earlier = thread::Builder::new()
        .name("time_limits::earlier".to_owned())
        .spawn(|| time_limit::begins_with(LIMIT));
    earlier.unwrap().join().unwrap();

    let server = ServerProcess::starts(&[]);
    println!("serves on {}", server.address());

    time_limit::begins_with(LIMIT);
    loop {
        thread::park();
    }
}

/// Returns the text of each function of a file. Its key is `function`, or `Type::function`.
fn functions(text: &str) -> BTreeMap<String, String> {
    let mut functions = BTreeMap::<String, String>::new();
    let (mut owner, mut name) = (String::new(), String::new());

    for line in text.lines() {
        // `impl<'a> Trait for Type<'a> {` begins the functions of `Type`.
        if line.starts_with("impl") {
            let header = line.trim_end_matches(" {");
            let type_name = header.rsplit(' ').next().unwrap_or_default();
            owner = type_name.split('<').next().unwrap_or_default().to_owned() + "::";
        } else if line.starts_with('}') {
            owner.clear();
        }

        // A deeper line belongs to the function around it.
        let depth = if owner.is_empty() { "" } else { "    " };
        let words = line.strip_prefix(depth).unwrap_or_default();
        let words = words.trim_start_matches("pub(crate) ");
        if let Some(definition) = words.strip_prefix("fn ") {
            let end = definition.find(['(', '<']).unwrap_or(definition.len());
            name = format!("{owner}{}", &definition[..end]);
        }
        let body = functions.entry(name.clone()).or_default();
        *body += &line.replace("Self::", &owner);
        body.push('\n');
    }

    functions
}

/// Returns whether this text calls this function.
fn calls(text: &str, function: &str) -> bool {
    let continues_a_name = |c: char| c.is_alphanumeric() || "_.:".contains(c);
    ["(", "::<"].iter().any(|end| {
        text.match_indices(&format!("{function}{end}"))
            .map(|(at, _)| &text[..at])
            .any(|before| !before.ends_with(continues_a_name) && !before.ends_with("fn "))
    })
}

/// Returns whether this function begins a time limit, by itself or through one that it calls.
fn begins_a_limit(
    name: &str,
    functions: &BTreeMap<String, String>,
    seen: &mut BTreeSet<String>,
) -> bool {
    let body = &functions[name];
    body.contains("time_limit::begins")
        || functions.keys().any(|other| {
            calls(body, other)
                && seen.insert(other.clone())
                && begins_a_limit(other, functions, seen)
        })
}

#[test]
fn a_test_without_a_time_limit_is_found() {
    time_limit::begins();
    let text = "\
fn limited() {
    time_limit::begins();
}

impl<'a> Served for Server<'a> {
    fn starts() -> Self {
        limited();
    }

    fn waits(&self) {}
}

fn by_a_function() {
    limited();
}

fn by_a_method() {
    fn within() {}
    Server::starts().waits();
}

fn without() {
    unlimited();
    other.limited();
    Client::starts();
}
";
    let functions = functions(text);
    let has_limit = |test| begins_a_limit(test, &functions, &mut BTreeSet::new());

    assert!(has_limit("by_a_function"));
    assert!(has_limit("by_a_method"));
    assert!(!has_limit("without"));
}

#[test]
fn every_test_has_a_time_limit() {
    let mut shared = BTreeMap::new();
    for file in rust_files("tests/it/support") {
        shared.extend(functions(&read(&file)));
    }

    // These are used by the tests of other files too.
    for file in ["it/server.rs", "it/shortage.rs", "heavy/system.rs"] {
        shared.extend(functions(&read(Path::new("tests").join(file))));
    }

    let mut without = Vec::new();
    for file in ["tests/it", "tests/heavy"].into_iter().flat_map(rust_files) {
        let text = read(&file);
        let mut known = shared.clone();
        known.extend(functions(&text));
        for test in tests_in(&text) {
            if !begins_a_limit(test, &known, &mut BTreeSet::new()) {
                without.push(format!("{}: {test}", file.display()));
            }
        }
    }

    assert!(
        without.is_empty(),
        "these tests have no time limit: call `time_limit::begins()` in each, or in a helper\n{}",
        without.join("\n")
    );
}
