//! A peer is not blamed for the time in which its server was frozen, as `docker pause` does it.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::process::{ServerProcess, eventually};
use crate::system::{Group, Stopped, assert_serves};

#[test]
fn a_message_whole_in_time_is_answered_by_a_frozen_server() {
    let options = ["--message-timeout=500ms", "--idle-timeout=500ms"];
    for (first, rest) in [("one\r\nhalf ", "two\r\n"), ("one\r\n", "half two\r\n")] {
        let server = ServerProcess::starts(&options);
        let frozen = Group::new("freezer");
        frozen.takes(server.id());
        let mut peer = server.client();
        peer.sends(first).expects("one\r\n");

        let since = Instant::now();
        frozen.set("freezer.state", "FROZEN");
        eventually("it is frozen", || frozen.get("freezer.state") == "FROZEN");
        peer.sends(rest);
        thread::sleep(Duration::from_millis(900).saturating_sub(since.elapsed()));
        frozen.set("freezer.state", "THAWED");

        peer.expects("half two\r\n");
        assert_serves(&server);
        drop(peer);
        let stopped = Stopped::orderly(server);
        assert_eq!(stopped.count("end-of-stream"), 2, "{}", stopped.log);
    }
}
