//! Batches of output (O3, O4). Finished producers no longer count, and a huge reply does not keep
//! its memory while its connection lives.

use synchat::{Chat, HandlerResult, Limits, SimpleProducer, converse};

use crate::support::hostile::{Call, Calls, Chunks};
use crate::support::process::{ServerProcess, eventually};
use crate::support::script::{Heard, Script};

#[test]
fn finished_producers_do_not_count_toward_the_bound() {
    // More producers than would fill the queue if they were there at once.
    const PRODUCERS: usize = 200;
    let calls = Calls::default();
    let mut act = |heard: &Heard, chat: &mut Chat| -> HandlerResult {
        match heard {
            Heard::Connect => chat.set_terminator(";"),
            Heard::Data(bytes) if bytes == b"p" => {
                chat.push_with_producer(SimpleProducer::new("produced", 512))?;
            }
            Heard::Data(_) => chat.push("pushed.")?,
            _ => {}
        }
        Ok(())
    };

    let reads = Chunks::new([&b"p;"[..]; PRODUCERS].into_iter().chain([&b"x;x;x;"[..]]));
    converse(
        calls.reader(reads),
        calls.writer(),
        &mut Script::new(&mut act),
        &Limits::default(),
    );

    let writes = calls.writes();
    assert_eq!(writes.len(), PRODUCERS + 1, "three replies, one write");
    assert_eq!(writes.last().unwrap(), b"pushed.pushed.pushed.");
    assert_eq!(calls.noted().last(), Some(&Call::Read(0)));
}

#[test]
fn discarded_producers_do_not_count_toward_the_bound() {
    let mut act = |heard: &Heard, chat: &mut Chat| -> HandlerResult {
        match heard {
            Heard::Connect => chat.set_terminator(";"),
            Heard::Data(_) => {
                for _ in 0..200 {
                    chat.push_with_producer(SimpleProducer::new("", 1))?;
                }
                chat.discard_buffers();
                chat.push("kept.")?;
            }
            // The terminator was already found, so this callback comes in spite of the discard.
            Heard::Found => chat.push("found.")?,
            _ => {}
        }
        Ok(())
    };

    let calls = Calls::default();
    let reads = Chunks::new([&b"x;"[..]]);
    converse(
        reads,
        calls.writer(),
        &mut Script::new(&mut act),
        &Limits::default(),
    );
    assert_eq!(calls.writes(), [b"kept.found."]);
}

#[test]
fn one_huge_reply_does_not_keep_its_memory() {
    const HUGE: usize = 16 << 20;
    let server = ServerProcess::starts(&["--max-message", "16MiB"]);
    let mut peer = server.client();
    peer.sends("hello\r\n").expects("hello\r\n");
    let line = [&vec![b'x'; HUGE][..], b"\r\n"].concat();
    let mut sender = peer.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.sends(&line));
        peer.expects(&line);
    });

    peer.sends("small\r\n").expects("small\r\n");
    // A handler can keep the room of its longest message, but the queue must not keep another.
    eventually("no more than one copy of it is held", || {
        server.resident_kib() < (HUGE as u64 + HUGE as u64 / 2) / 1024
    });
    peer.sends("again\r\n").expects("again\r\n");
    server.client().sends("next\r\n").expects("next\r\n");
}
