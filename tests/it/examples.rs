//! The examples: each is started as a reader would start it, and does what its first lines say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use synchat::Address;

use crate::support::peer::Peer;
use crate::support::process::Running;
use crate::support::time_limit;

/// The folder of the built examples. `cargo test --test it` does not build them, so this does.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--locked", "--quiet", "--examples"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the examples do not build");

        let binary = Path::new(env!("CARGO_BIN_EXE_synchat"));
        binary.with_file_name("examples")
    })
}

/// Starts an example on a free port, and returns its address.
fn starts(name: &str, arguments: &[&str]) -> (Running, Address) {
    time_limit::begins();
    let child = Command::new(built().join(name))
        .args(arguments)
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example starts");

    let running = Running::from(child);
    let line = running.prints();
    let (_, address) = line.trim_end().rsplit_once(" on ").expect("it says where");
    (running, address.parse().unwrap())
}

#[test]
fn the_calculator_answers_each_line() {
    let (_running, address) = starts("calculator", &[]);
    let mut client = Peer::connects(&address);
    client.sends("1 + 2\r\n").expects("3\r\n");
    client
        .sends("6 * 7\r\n9 / 0\r\nhello\r\n8 - 9\r\n")
        .expects("42\r\n? write NUMBER + NUMBER\r\n? write NUMBER + NUMBER\r\n-1\r\n");
    client.sends("9223372036854775807 + 1\r\n");
    client.expects("? write NUMBER + NUMBER\r\n");
    client.sends("1 + 1").half_closes().expects_eof();
}

#[test]
fn a_head_says_how_long_its_body_is() {
    let (_running, address) = starts("head_and_body", &[]);
    let mut client = Peer::connects(&address);
    client
        .sends("length: 5\r\n\r\nhellolength: 4\r\n\r\n\r\n\r\n")
        .expects("HELLO\r\n\r\n");
    client.sends("length: 2\r\n\r").sends("\nok").expects("OK");
    client
        .sends("length: 0\r\n\r\nlength: 1\r\n\r\na")
        .expects("A");

    for bad in ["length: -0", "length: +1", "length: 65536", "width: 1", ""] {
        let mut client = Peer::connects(&address);
        client.sends(format!("{bad}\r\n\r\n")).expects_eof();
    }
    client.sends("length: 1\r\n\r\nx").expects("X");
}

#[test]
fn a_big_file_arrives_as_it_is() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/traces.txt");
    let (_running, address) = starts("big_file", &[file.to_str().unwrap()]);
    for _ in 0..2 {
        let mut client = Peer::connects(&address);
        assert!(client.reads_to_the_end() == fs::read(&file).unwrap());
    }
}

#[test]
fn a_missing_file_ends_only_its_conversation() {
    let (_running, address) = starts("big_file", &["/no/such/file"]);
    for _ in 0..2 {
        Peer::connects(&address).expects_eof();
    }
}
