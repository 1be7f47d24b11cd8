//! Shortages of the system: the real program, when it has fewer descriptors than it could know of.
#![cfg_attr(
    target_os = "linux",
    allow(
        unsafe_code,
        reason = "only a system call lowers a limit of another process"
    )
)]

use std::time::{Duration, Instant};

use crate::support::process::ServerProcess;

/// Starts a server that can hold some twenty connections. It believes that it can hold hundreds,
/// because its limit is lowered later.
#[cfg(target_os = "linux")]
pub(crate) fn short_of_descriptors() -> ServerProcess {
    use std::ffi::{c_int, c_uint, c_ulong};
    use std::ptr;

    unsafe extern "C" {
        fn prlimit(
            process: c_int,
            resource: c_uint,
            new: *const [c_ulong; 2],
            old: *mut [c_ulong; 2],
        ) -> c_int;
    }
    const RLIMIT_NOFILE: c_uint = 7;

    let server = ServerProcess::starts(&[]);
    let process = c_int::try_from(server.id()).expect("the number of a process");
    let limit = server.descriptors() as c_ulong + 17;

    // SAFETY: it reads the two numbers, soft and hard, and the null pointer asks for no old ones.
    let result = unsafe { prlimit(process, RLIMIT_NOFILE, &[limit; 2], ptr::null_mut()) };
    assert_eq!(result, 0, "its limit cannot be lowered");

    server
}

/// Starts a server that can hold some twenty connections. It believes that it can hold hundreds,
/// because limits are not known on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn short_of_descriptors() -> ServerProcess {
    let mut command = std::process::Command::new("sh");
    let script = r#"ulimit -n 30 && exec "$0" 127.0.0.1:0"#;
    command.args(["-c", script]);
    command.arg(crate::support::process::synchat().get_program());
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
