//! The cost of a connection and of a message in system calls.

use std::collections::BTreeMap;

use crate::support::process::ServerProcess;
use crate::system::{Injection, assert_serves};

const MANY: usize = 200;

/// Returns how many calls of these names there were, all together.
fn sum(calls: &BTreeMap<String, usize>, names: &[&str]) -> usize {
    names.iter().filter_map(|name| calls.get(*name)).sum()
}

#[test]
fn a_connection_costs_few_system_calls() {
    let mut server = ServerProcess::starts(&["--quiet"]);
    assert_serves(&server);

    let injection = Injection::of_nothing(&server);
    for _ in 0..MANY {
        let mut client = server.client();
        client.sends("hello\r\n").expects("hello\r\n");
        client.half_closes().expects_eof();
    }
    let calls = injection.calls();
    assert_serves(&server);
    assert!(server.counts().contains("end-of-stream"));

    // Those that every connection needs: it is waited for, accepted, given its mode and three options. It
    // reads a line and the end, writes, ends its output, looks for unsent output, and closes.
    let needed = [
        "poll",
        "accept4",
        "setsockopt",
        "recvfrom",
        "sendto",
        "shutdown",
        "ioctl",
        "close",
    ];
    let needed = sum(&calls, &needed);
    assert!((12 * MANY - 5..=13 * MANY).contains(&needed), "{calls:?}");
    // Its thread sleeps and is woken.
    assert!(sum(&calls, &["futex"]) <= 4 * MANY, "{calls:?}");
    // Nothing is started. (A debug build also looks at each descriptor that it closes,
    // with fcntl.)
    let others = sum(&calls, &["clone3", "mmap", "munmap"]);
    assert!(others <= MANY / 4, "{calls:?}");
}

#[test]
fn a_line_costs_a_read_and_a_write() {
    let server = ServerProcess::starts(&["--quiet"]);
    let mut client = server.client();
    client.sends("hello\r\n").expects("hello\r\n");

    let injection = Injection::of_nothing(&server);
    for _ in 0..MANY {
        client.sends("hello\r\n").expects("hello\r\n");
    }
    let mut calls = injection.calls();

    for name in ["recvfrom", "sendto"] {
        let times = calls.remove(name).unwrap_or_default();
        assert!((MANY..=MANY + 5).contains(&times), "{name}: {times}");
    }
    // It may yield in a trial, and the accept loop wakes once a second.
    calls.remove("sched_yield");
    assert!(calls.values().sum::<usize>() <= MANY / 10, "{calls:?}");
}
