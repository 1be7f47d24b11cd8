//! Partings (E2, V2): the server closes refused peers, and peers that go on sending, in bounded
//! time and with few descriptors. It is slow enough that the last words arrive.

use std::thread;
use std::time::{Duration, Instant};

use synchat::{Chat, Handler, HandlerResult, Limits, ServerOptions};

use crate::server::{Serving, endings};
use crate::support::peer::Peer;
use crate::support::process::{ServerProcess, eventually};

/// The number of refused connections that stay open until they have read the reason.
const KEPT: usize = 16;

const FULL: &str = "error: too many connections, the limit is 1\r\n";

#[test]
fn refused_peers_hold_few_descriptors_and_not_for_long() {
    let server = ServerProcess::starts(&["--max-connections", "1"]);
    let mut served = server.client();
    served.sends("hello\r\n").expects("hello\r\n");
    let before = server.descriptors();

    // They neither close nor send, so only the server can end them.
    let (mut most, started) = (0, Instant::now());
    let mut refused: Vec<_> = (0..150)
        .map(|_| {
            let mut peer = server.client();
            peer.expects(FULL);
            most = most.max(server.descriptors());
            peer
        })
        .collect();
    let took = started.elapsed();
    assert!(
        (before + 1..=before + KEPT + 1).contains(&most),
        "{most} descriptors, {before} without them, in {took:?}"
    );

    eventually("the last of them are closed after a second", || {
        server.descriptors() == before
    });
    assert!(
        started.elapsed() < took + Duration::from_millis(2500),
        "after {:?}",
        started.elapsed()
    );

    refused.iter_mut().for_each(Peer::expects_eof);
    served.sends("still here\r\n").expects("still here\r\n");
    served.half_closes().expects_eof();
    server.client().sends("next\r\n").expects("next\r\n");
}

/// A handler that says goodbye at the first byte.
struct Brief;

impl Handler for Brief {
    fn collect_incoming_data(&mut self, _: &[u8], chat: &mut Chat) -> HandlerResult {
        chat.push("goodbye")?;
        chat.close_when_done();
        Ok(())
    }

    fn found_terminator(&mut self, _: &mut Chat) -> HandlerResult {
        Ok(())
    }
}

#[test]
fn a_peer_that_floods_a_closing_server_is_slowed_down() {
    let limits = Limits {
        linger_time: Duration::from_secs(1),
        linger_bytes: 1 << 20,
        ..Limits::default()
    };

    let options = ServerOptions::new().limits(limits);
    let server = options.bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let serving = Serving::starts(server, |_| Brief);
    let mut peer = serving.client();
    let mut flooding = peer.clone();
    let started = Instant::now();
    let flood = thread::spawn(move || {
        let bytes = vec![b'x'; 1 << 16];
        while flooding.tries_to_send(&bytes).is_ok() {}
        started.elapsed()
    });

    peer.expects("goodbye");

    // The server reads and drops the megabyte during the second that this may take.
    let lasted = flood.join().unwrap();
    let allowed = Duration::from_millis(600)..Duration::from_secs(4);
    assert!(allowed.contains(&lasted), "it was cut after {lasted:?}");

    serving.client().sends("x").expects("goodbye");
    assert_eq!(endings(&serving.stops(), "closed-by-handler"), 2);
}

#[test]
fn a_later_refusal_does_not_cut_an_earlier_one_short() {
    let server = ServerProcess::starts(&["--max-connections", "1"]);
    let mut served = server.client();
    served.sends("hello\r\n").expects("hello\r\n");

    let mut early = server.client();
    early.expects(FULL);
    // The line of the second says that the first one's refusal is over.
    for _ in 0..2 {
        server.client().expects(FULL);
    }

    // A socket that is closed answers with a reset, at which the next one fails.
    for _ in 0..3 {
        early.sends("still here\r\n");
    }
    served.sends("more\r\n").expects("more\r\n");
}
