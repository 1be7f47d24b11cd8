//! Batches of output: that producers which are done count no more, and that one huge reply is not
//! paid for as long as its connection lives (O3, O4).

use synchat::{Chat, HandlerResult, Limits, SimpleProducer, converse};

use crate::support::hostile::{Call, Calls, Chunks};
use crate::support::process::{ServerProcess, eventually};
use crate::support::script::{Heard, Script};

#[test]
fn producers_that_are_done_do_not_count_in_the_bound() {
    // More of them than would fill the queue, were they there at once.
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
fn producers_that_were_discarded_do_not_count_in_the_bound() {
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
            // It was found already, and is told in spite of the discard.
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
fn one_huge_reply_is_not_kept_for_the_life_of_its_connection() {
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
    // A handler may keep the room of its longest message. The queue does not, too.
    eventually("no more than one copy of it is held", || {
        server.resident_kib() < (HUGE as u64 + HUGE as u64 / 2) / 1024
    });
    peer.sends("again\r\n").expects("again\r\n");
    server.client().sends("next\r\n").expects("next\r\n");
}
