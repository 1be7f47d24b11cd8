//! Shortages of the system: the real program, started with few descriptors.

use std::time::{Duration, Instant};

use crate::support::process::{ServerProcess, synchat};

/// Starts a server that can hold some twenty connections. It believes that it can hold 32, because
/// it has inherited forty descriptors.
pub(crate) fn short_of_descriptors() -> ServerProcess {
    let binary = synchat().get_program().to_owned();
    let mut command = std::process::Command::new("bash");
    let script = r#"for n in {20..59}; do eval "exec $n</dev/null"; done
                    ulimit -n 64 && exec "$0" 127.0.0.1:0"#;
    command.args(["-c", script]).arg(binary);
    ServerProcess::starts_from(&mut command)
}

#[test]
fn without_descriptors_new_clients_wait_their_turn() {
    let mut server = short_of_descriptors();
    let mut clients: Vec<_> = (0..31).map(|_| server.client()).collect();
    clients[0].sends("hello\r\n").expects("hello\r\n");

    // Nobody leaves before the shortage. Otherwise those that wait could be gone before they are
    // accepted.
    server.logs("accept: failing");

    // One after the other leaves and makes room for one that waited.
    let mut slowest = Duration::ZERO;
    for served in 0..30 {
        drop(clients.remove(0));
        if served >= 20 {
            let started = Instant::now();
            clients[0].sends("next\r\n").expects("next\r\n");
            slowest = slowest.max(started.elapsed());
        }
    }

    drop(clients);
    server.client().sends("last\r\n").expects("last\r\n");

    let (_, log) = server.killed();
    assert!(
        !log.contains("accept: failing"),
        "an episode is logged once, but then:\n{log}"
    );
    assert!(
        slowest < Duration::from_secs(1),
        "a free descriptor was noticed after {slowest:?}"
    );
}
