//! The memory of the server for its clients: it forgets addresses that have left, and remembers
//! that it could not get a thread.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::process::ServerProcess;
use crate::system::{Injection, Stopped, Threads, Vitals, assert_serves, runs, tool};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/heavy/many_addresses.py");

/// Connects once from each of this many addresses of this machine, one after the other.
fn comes_from(server: &ServerProcess, first: u32, count: u32) {
    let port = server.address().as_socket_addr().expect("it is TCP").port();
    let mut python = tool("python3");
    python.args([SCRIPT, &port.to_string()]);
    python.args([first.to_string(), count.to_string()]);
    assert_eq!(runs(&mut python), format!("{count} served\n"));
}

#[test]
fn addresses_that_have_left_are_forgotten() {
    let server = ServerProcess::starts(&["--max-per-address", "2", "-q"]);
    comes_from(&server, 0, 2_000);
    let before = Vitals::of(&server).resident_kib;
    // To remember all of them would take two megabytes.
    for round in 1..=15 {
        comes_from(&server, round * 2_000, 2_000);
    }
    let grown = Vitals::of(&server).resident_kib.saturating_sub(before);
    assert!(grown < 1024, "{grown} KiB more");
    assert_serves(&server);
}

#[test]
fn without_threads_not_every_client_costs_an_attempt() {
    const CLIENTS: usize = 100;
    let server = ServerProcess::starts(&[]);
    let injection = Injection::into(&server, Threads::Main, "clone3,clone:error=EAGAIN");
    let started = Instant::now();
    let clients: Vec<_> = (0..CLIENTS).map(|_| server.client()).collect();
    while started.elapsed() < Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(50));
    }
    // Pauses of 5 ms, 10, 20, … 1000 are nine in two seconds.
    let tried = injection.ends();
    assert!((2..=12).contains(&tried), "it was tried {tried} times");
    drop(clients);
    assert_serves(&server);
    let stopped = Stopped::orderly(server);
    assert_eq!(stopped.lines_with("accept: failing"), 1, "{}", stopped.log);
}
