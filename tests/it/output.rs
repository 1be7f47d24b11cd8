//! Output: order, batches and bounds, and what can go wrong in a producer or a writer (O1 to O5).
//!
//! The tests cite these promises:
//!
//! - O1: wire order is push order.
//! - O2: a producer is asked only at the head of the queue.
//! - O3: replies to one read leave in one write, before the next read.
//! - O4: the queue is bounded.
//! - O5: closing and discarding.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use synchat::{
    Chat, HandlerResult, IterProducer, Limits, Producer, PushAfterClose, ReadProducer,
    SimpleProducer, Summary, Terminator, converse,
};

use crate::support::hostile::{Call, Calls, Chunks, Reluctant};
use crate::support::script::{Heard, Script};

/// Runs a conversation of messages that end with `;`. Calls `act` for each whole one, with its
/// number from 0.
fn talk(
    input: impl Read,
    output: impl io::Write,
    mut act: impl FnMut(usize, &mut Chat) -> HandlerResult,
) -> Summary {
    let mut number = 0;
    let mut handler = Script::new(|heard: &Heard, chat: &mut Chat| match heard {
        Heard::Connect => {
            chat.set_terminator(";");
            Ok(())
        }
        Heard::Found => {
            number += 1;
            act(number - 1, chat)
        }
        _ => Ok(()),
    });

    let summary = converse(input, output, &mut handler, &Limits::default());
    assert_eq!(
        handler.heard.last(),
        Some(&Heard::Close(summary.reason.to_string()))
    );

    summary
}

/// A producer of one chunk that notes when it is asked.
struct Asked(Calls, Option<&'static [u8]>);

impl Producer for Asked {
    fn more(&mut self) -> io::Result<&[u8]> {
        let _ = Read::read(&mut self.0.reader(io::empty()), &mut []);
        Ok(self.1.take().unwrap_or_default())
    }
}

/// A producer that fails, or panics, after one chunk.
struct Failing {
    asked: usize,
    panics: bool,
}

impl Producer for Failing {
    fn more(&mut self) -> io::Result<&[u8]> {
        self.asked += 1;
        match self.asked {
            1 => Ok(b"<half>"),
            _ if self.panics => panic!("the producer panics"),
            _ => Err(io::Error::other("the disk is gone")),
        }
    }
}

#[test]
fn o1_wire_order_is_push_order() {
    let mut output = Vec::new();
    let summary = talk(&b";;;"[..], &mut output, |number, chat| {
        chat.push(format!("<{number}"))?;
        chat.push_with_producer(SimpleProducer::new("abcdef", 4))?;
        chat.push_with_producer(SimpleProducer::new("", 4))?;
        chat.push("-")?;
        chat.push(b"-")?;
        chat.push_with_producer(ReadProducer::new(&b"from a reader"[..]))?;
        chat.push_with_producer(IterProducer::new(vec![
            b"x".to_vec(),
            Vec::new(),
            b"yz".to_vec(),
        ]))?;
        chat.push(vec![b'>'])?;
        if number == 1 {
            chat.close_when_done();
        }
        Ok(())
    });
    assert_eq!(
        output,
        b"<0abcdef--from a readerxyz><1abcdef--from a readerxyz>"
    );
    assert_eq!(summary.reason.name(), "closed-by-handler");
    assert_eq!(summary.traffic.bytes_out, output.len() as u64);
}

#[test]
fn o1_an_appended_buffer_is_sent_in_its_place_and_left_empty() {
    // Each round begins with an empty queue, and with another buffer: larger, smaller, empty.
    let sizes = [1, 5000, 10, 0, 5000, 5001];
    let rounds = sizes.map(|_| &b";"[..]);
    let (mut output, mut expected) = (Vec::new(), Vec::new());
    let mut buffer = Vec::new();
    talk(Chunks::new(rounds), &mut output, |number, chat| {
        let filled = vec![b'a' + number as u8; sizes[number]];
        for _ in 0..3 {
            buffer.extend_from_slice(&filled);
            chat.append(&mut buffer)?;
            assert!(buffer.is_empty());
            chat.push("|")?;
            expected.extend([&filled[..], b"|"].concat());
        }
        chat.push_with_producer(SimpleProducer::new("made", 4))?;
        buffer.extend_from_slice(&filled);
        chat.append(&mut buffer)?;
        assert!(buffer.is_empty());
        expected.extend([b"made", &filled[..]].concat());
        Ok(())
    });
    assert!(output == expected, "{}", output.escape_ascii());
}

#[test]
fn an_append_after_the_close_leaves_the_buffer_as_it_was() {
    talk(&b";"[..], io::sink(), |_, chat| {
        chat.close_when_done();
        let mut buffer = b"late".to_vec();
        assert_eq!(chat.append(&mut buffer), Err(PushAfterClose));
        assert_eq!(buffer, b"late");
        Ok(())
    });
}

#[test]
fn o2_a_producer_is_asked_only_at_the_head_of_the_queue() {
    let calls = Calls::default();
    talk(&b";"[..], calls.writer(), |_, chat| {
        chat.push("before")?;
        chat.push_with_producer(Asked(calls.clone(), Some(b"chunk")))?;
        chat.push("between")?;
        chat.push_with_producer(Asked(calls.clone(), None))?;
        Ok(chat.push("after")?)
    });

    // A producer notes that it was asked as a read of no bytes.
    let (asked, write) = (Call::Read(0), |text: &str| Call::Write(text.into()));
    let expected = [
        write("before"),
        asked.clone(),
        write("chunk"),
        asked.clone(),
        write("between"),
        asked,
        write("after"),
    ];
    assert_eq!(calls.noted(), expected);
}

#[test]
fn o2_a_huge_producer_costs_one_chunk_of_memory() {
    struct Counted(u64);
    impl io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert!(
                bytes.len() <= 64 * 1024,
                "{} bytes in one write",
                bytes.len()
            );
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const HUGE: u64 = 1 << 30;
    let mut output = Counted(0);
    talk(&b";"[..], &mut output, |_, chat| {
        Ok(chat.push_with_producer(ReadProducer::new(io::repeat(b'x').take(HUGE)))?)
    });
    assert_eq!(output.0, HUGE);
}

#[test]
fn o2_nothing_follows_a_failed_producer() {
    let mut output = Vec::new();
    let summary = talk(&b";;"[..], &mut output, |number, chat| {
        chat.push(format!("<{number}>"))?;
        chat.push_with_producer(Failing {
            asked: 0,
            panics: false,
        })?;
        Ok(chat.push("never sent")?)
    });
    assert_eq!(output, b"<0><half>");
    assert_eq!(
        summary.traffic.bytes_out, 9,
        "what was written before the failure counts"
    );
    assert_eq!(
        summary.reason.to_string(),
        r#"handler-error error="the disk is gone""#
    );
}

#[test]
fn o3_replies_to_one_read_leave_in_one_write() {
    let calls = Calls::default();
    let reads = Chunks::new([&b"a;b;c;d"[..], b";", b"e;f"]);
    talk(calls.reader(reads), calls.writer(), |number, chat| {
        Ok(chat.push(format!("{number}."))?)
    });
    let write = |text: &str| Call::Write(text.into());
    let expected = [
        Call::Read(7),
        write("0.1.2."),
        Call::Read(1),
        write("3."),
        Call::Read(3),
        write("4."),
        Call::Read(0),
    ];
    assert_eq!(calls.noted(), expected);
}

#[test]
fn o3_half_a_terminator_does_not_hold_a_reply_back() {
    let calls = Calls::default();
    let mut handler = Script::new(|heard: &Heard, chat: &mut Chat| match heard {
        Heard::Connect => {
            chat.set_terminator(Terminator::CRLF);
            Ok(())
        }
        Heard::Found => Ok(chat.push("reply")?),
        _ => Ok(()),
    });

    let reads = Chunks::new([&b"a\r\n\r"[..], b"\n"]);
    converse(
        calls.reader(reads),
        calls.writer(),
        &mut handler,
        &Limits::default(),
    );

    let reply = Call::Write(b"reply".to_vec());
    assert_eq!(
        calls.noted(),
        [
            Call::Read(4),
            reply.clone(),
            Call::Read(1),
            reply,
            Call::Read(0)
        ]
    );
}

#[test]
fn o3_the_last_callbacks_output_is_sent() {
    // The held-back \r is delivered when the stream has ended, so this push comes after the last
    // read.
    let mut output = Vec::new();
    let mut handler = Script::new(|heard: &Heard, chat: &mut Chat| match heard {
        Heard::Connect => {
            chat.set_terminator(Terminator::CRLF);
            Ok(())
        }
        Heard::Data(bytes) => Ok(chat.push(bytes)?),
        _ => Ok(()),
    });
    converse(&b"a\r"[..], &mut output, &mut handler, &Limits::default());
    assert_eq!(output, b"a\r");
}

#[test]
fn o4_a_queue_past_its_bound_is_drained() {
    let calls = Calls::default();
    let limits = Limits {
        max_queued: 90,
        ..Limits::default()
    };

    let mut handler = Script::new(|heard: &Heard, chat: &mut Chat| match heard {
        Heard::Connect => {
            chat.set_terminator(";");
            Ok(())
        }
        Heard::Found => Ok(chat.push([b'x'; 30])?),
        _ => Ok(()),
    });

    converse(&b";".repeat(10)[..], calls.writer(), &mut handler, &limits);
    let writes: Vec<_> = calls.writes().iter().map(Vec::len).collect();
    assert_eq!(writes, [120, 120, 60]);
}

#[test]
fn o4_producers_count_toward_the_bound() {
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Counted {
        fn new() -> Self {
            MOST.fetch_max(ALIVE.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            Self
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Ordering::Relaxed);
        }
    }

    impl Producer for Counted {
        fn more(&mut self) -> io::Result<&[u8]> {
            Ok(&[])
        }
    }

    talk(&b";".repeat(10_000)[..], io::sink(), |_, chat| {
        Ok(chat.push_with_producer(Counted::new())?)
    });
    assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
    assert!(
        MOST.load(Ordering::Relaxed) <= 129,
        "{MOST:?} producers were queued at once"
    );
}

#[test]
fn o5_close_when_done_sends_the_queue_and_refuses_more() {
    let mut output = Vec::new();
    let late = Arc::new(Mutex::new(Vec::new()));
    let summary = talk(&b";;;;"[..], &mut output, |number, chat| {
        chat.push(format!("<{number}>"))?;
        if number == 1 {
            chat.close_when_done();
            let results = [
                chat.push("late"),
                chat.push_with_producer(SimpleProducer::new("late", 1)),
            ];
            late.lock().unwrap().extend(results);
        }
        Ok(())
    });
    assert_eq!(
        output, b"<0><1>",
        "input behind the close was parsed, or late output was sent"
    );
    assert_eq!(*late.lock().unwrap(), [Err(PushAfterClose); 2]);
    assert_eq!(
        (summary.reason.name(), summary.traffic.messages),
        ("closed-by-handler", 2)
    );
}

#[test]
fn o5_close_when_done_at_the_start_reads_nothing() {
    let calls = Calls::default();
    let mut handler = Script::new(|heard: &Heard, chat: &mut Chat| {
        assert_eq!(*heard, Heard::Connect);
        chat.push("busy")?;
        chat.close_when_done();
        Ok(())
    });

    converse(
        calls.reader(&b"hello;"[..]),
        calls.writer(),
        &mut handler,
        &Limits::default(),
    );
    assert_eq!(calls.noted(), [Call::Write(b"busy".to_vec())]);
}

#[test]
fn o5_discard_buffers_drops_output_and_unread_input() {
    let mut output = Vec::new();
    let chunks = Chunks::new([&b"a;b;c"[..], b"d;e;"]);
    let summary = talk(chunks, &mut output, |number, chat| {
        chat.push(format!("<{number}>"))?;
        chat.push_with_producer(SimpleProducer::new("dropped", 2))?;
        if number == 0 {
            chat.discard_buffers();
            chat.push("pushed after that;")?;
        }
        Ok(())
    });
    assert_eq!(output, b"pushed after that;<1>dropped<2>dropped");
    assert_eq!(
        (summary.reason.name(), summary.traffic.messages),
        ("end-of-stream", 3)
    );
}

#[test]
fn o5_discard_buffers_keeps_a_pending_close() {
    let mut output = Vec::new();
    let summary = talk(&b"a;b;"[..], &mut output, |_, chat| {
        chat.push("dropped")?;
        chat.close_when_done();
        chat.discard_buffers();
        Ok(())
    });
    assert_eq!(output, b"");
    assert_eq!(
        (summary.reason.name(), summary.traffic.messages),
        ("closed-by-handler", 1)
    );
}

#[test]
fn a_reluctant_writer_gets_everything() {
    let mut output = Reluctant::default();
    let reply = b"0123456789".repeat(1000);
    talk(&b";;"[..], &mut output, |_, chat| {
        chat.push(&reply)?;
        Ok(chat.push_with_producer(SimpleProducer::new("abcdefg", 5))?)
    });
    assert!(output.taken == [&reply[..], b"abcdefg"].concat().repeat(2));
}

#[test]
fn a_write_to_a_gone_peer_ends_the_conversation() {
    for fails_after in [0, 3, 50] {
        let mut output = Reluctant {
            fails_after: Some(fails_after),
            ..Reluctant::default()
        };
        let summary = talk(
            &b";;"[..],
            &mut output,
            |_, chat| Ok(chat.push([b'x'; 60])?),
        );
        assert_eq!(summary.reason.name(), "reset-by-peer");
        assert!(output.taken.len() <= fails_after);
    }
}

#[test]
fn replies_before_a_failed_read_are_sent() {
    let mut output = Vec::new();
    let input = Chunks::new([&b"a;b;c"[..]]).then_fails(io::ErrorKind::ConnectionReset);
    let summary = talk(input, &mut output, |number, chat| {
        Ok(chat.push(format!("<{number}>"))?)
    });
    assert_eq!(
        (output.as_slice(), summary.reason.name()),
        (&b"<0><1>"[..], "reset-by-peer")
    );

    let input = Chunks::new([]).then_fails(io::ErrorKind::HostUnreachable);
    assert_eq!(
        talk(input, io::sink(), |_, _| Ok(())).reason.name(),
        "transport-error"
    );
}

#[test]
fn replies_before_a_handler_error_are_sent() {
    let mut output = Vec::new();
    let summary = talk(&b";;;"[..], &mut output, |number, chat| {
        chat.push(format!("<{number}>"))?;
        if number == 1 {
            Err("no such command".into())
        } else {
            Ok(())
        }
    });
    assert_eq!(output, b"<0><1>");
    assert_eq!(
        summary.reason.to_string(),
        r#"handler-error error="no such command""#
    );
}

#[test]
#[should_panic(expected = "the producer panics")]
fn without_a_server_a_panic_reaches_the_caller() {
    talk(&b";"[..], io::sink(), |_, chat| {
        Ok(chat.push_with_producer(Failing {
            asked: 0,
            panics: true,
        })?)
    });
}

#[test]
fn nothing_follows_a_failed_write() {
    // Its end would pass, and the peer would take a reply with a hole for a complete one.
    let mut output = Reluctant {
        fails_after: Some(4),
        ..Reluctant::default()
    };
    let summary = talk(&b";"[..], &mut output, |_, chat| {
        chat.push("abcdef")?;
        Ok(chat.push_with_producer(SimpleProducer::new("z", 1))?)
    });
    assert_eq!(output.taken, b"abc");
    assert_eq!(summary.reason.name(), "reset-by-peer");
}

/// A writer that takes nothing.
fn gone() -> Reluctant {
    Reluctant {
        fails_after: Some(0),
        ..Reluctant::default()
    }
}

#[test]
fn an_end_is_orderly_only_if_the_last_reply_was_sent() {
    let summary = talk(&b";"[..], gone(), |_, chat| {
        chat.push("bye")?;
        chat.close_when_done();
        Ok(())
    });
    assert_eq!(summary.reason.name(), "reset-by-peer");
}

#[test]
fn a_failed_write_does_not_hide_the_error_of_a_handler() {
    let summary = talk(&b";"[..], gone(), |_, chat| {
        chat.push("bye")?;
        Err("no such command".into())
    });
    assert_eq!(summary.reason.name(), "handler-error");
}

#[test]
fn a_push_after_the_close_says_why_it_failed() {
    let summary = talk(&b";"[..], io::sink(), |_, chat| {
        chat.close_when_done();
        Ok(chat.push("late")?)
    });
    let reason = summary.reason.to_string();
    assert!(reason.contains("push after close_when_done"), "{reason}");
}
