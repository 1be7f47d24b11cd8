//! A peer is not blamed for the time in which its server was frozen, as `docker pause` does it.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::process::{ServerProcess, eventually};
use crate::system::{Group, Stopped, assert_serves};

/// A group whose processes stand still, until this is dropped: not even their end comes before.
struct Frozen<'a>(&'a Group);

impl<'a> Frozen<'a> {
    fn is(group: &'a Group) -> Self {
        let frozen = Self(group);
        group.set("freezer.state", "FROZEN");
        eventually("it is frozen", || group.get("freezer.state") == "FROZEN");
        frozen
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.set("freezer.state", "THAWED");
    }
}

#[test]
fn a_message_whole_in_time_is_answered_by_a_frozen_server() {
    let options = ["--message-timeout=500ms", "--idle-timeout=500ms"];
    let half = ("one\r\nhalf ", "two\r\n");
    // More than once: its thread may be in `read` or in `poll` when it is frozen.
    for (first, rest) in [half, half, half, ("one\r\n", "half two\r\n")] {
        let group = Group::new("freezer");
        let server = ServerProcess::starts(&options);
        group.takes(server.id());
        let mut peer = server.client();
        peer.sends(first).expects("one\r\n");

        let since = Instant::now();
        let frozen = Frozen::is(&group);
        peer.sends(rest);
        thread::sleep(Duration::from_millis(900).saturating_sub(since.elapsed()));
        drop(frozen);

        peer.expects("half two\r\n");
        assert_serves(&server);
        drop(peer);
        let stopped = Stopped::orderly(server);
        assert_eq!(stopped.count("end-of-stream"), 2, "{}", stopped.log);
    }
}
