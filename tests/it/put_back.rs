//! Bytes that are put back to be scanned again, and bytes that are dropped (F4, F8, O5). A
//! terminator changes while the beginning of the former one is held back, or `discard_buffers` is
//! called at such a moment.

use std::io;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use synchat::{Chat, Event, HandlerResult, Limits, Scanner, Terminator, converse};

use crate::support::hostile::Chunks;
use crate::support::script::{Heard, Script};
use crate::support::time_limit;

use Heard::{Connect, Found};

/// Runs a conversation over these reads, and returns what was heard after `Connect`.
fn hears(
    reads: &[&'static str],
    limits: &Limits,
    act: impl FnMut(&Heard, &mut Chat) -> HandlerResult,
) -> Vec<Heard> {
    let mut handler = Script::new(act);
    let reads = Chunks::new(reads.iter().map(|read| read.as_bytes()));
    converse(reads, io::sink(), &mut handler, limits);
    handler.heard.remove(0);
    handler.heard
}

fn data(text: &str) -> Heard {
    Heard::Data(text.into())
}

fn close(reason: &str) -> Heard {
    Heard::Close(reason.to_owned())
}

/// The two orders of two requests in one callback. Both must mean the same.
const ORDERS: [bool; 2] = [false, true];

/// Sets a terminator and discards, in either order.
fn sets_and_discards(chat: &mut Chat, terminator: &'static str, discards_first: bool) {
    if discards_first {
        chat.discard_buffers();
    }
    chat.set_terminator(terminator);
    if !discards_first {
        chat.discard_buffers();
    }
}

#[test]
fn bytes_put_back_twice_are_delivered_once() {
    // `axab` is held back, then put back. `x` is found in it, and put back before it is delivered.
    let heard = hears(&["qaxab", "c?"], &Limits::default(), |heard, chat| {
        match heard {
            Connect => chat.set_terminator("axabz"),
            Heard::Data(bytes) if bytes == b"q" => chat.set_terminator("x"),
            Heard::Data(bytes) if bytes == b"a" => chat.set_terminator("?"),
            _ => {}
        }
        Ok(())
    });
    assert_eq!(heard, [data("qaxabc"), Found, close("end-of-stream")]);
}

/// Returns all byte strings of `a` and `b` of this length.
fn strings(length: u32) -> impl Iterator<Item = Vec<u8>> {
    let byte = |number: u32, place: u32| if number >> place & 1 == 0 { b'a' } else { b'b' };
    (0..1 << length).map(move |number| (0..length).map(|place| byte(number, place)).collect())
}

/// Reads a stream in which each piece of data changes the terminator to the other one. Returns what
/// it heard, put together.
fn told_under_changes(stream: &[u8], capacity: usize, terminators: [&[u8]; 2]) -> Vec<u8> {
    let capacity = NonZeroUsize::new(capacity).unwrap();
    let mut scanner = Scanner::with_capacity(capacity, u64::MAX, stream);
    let mut current = 0;
    let change = |scanner: &mut Scanner<&[u8]>, to: usize| {
        scanner.set_terminator(&Terminator::from(terminators[to].to_vec()));
    };
    change(&mut scanner, current);
    let mut told = Vec::new();
    loop {
        match scanner.next_event() {
            Some(Event::Data(bytes)) => {
                told.extend_from_slice(bytes);
                current = 1 - current;
                change(&mut scanner, current);
            }
            Some(Event::Terminator) => told.extend_from_slice(terminators[current]),
            Some(Event::Eof { .. }) => return told,
            Some(event) => panic!("there is no limit, but {event:?}"),
            None => drop(scanner.fill().unwrap()),
        }
        assert!(told.len() <= stream.len(), "{}", told.escape_ascii());
    }
}

#[test]
fn changing_terminators_deliver_each_byte_once_in_order() {
    time_limit::begins();
    let started = Instant::now();
    let needles: Vec<_> = (1..=4).flat_map(strings).collect();
    let streams: Vec<_> = strings(8).collect();
    for first in &needles {
        for second in &needles {
            for stream in &streams {
                for capacity in [3, 8] {
                    let told = told_under_changes(stream, capacity, [first, second]);
                    assert_eq!(
                        told.escape_ascii().to_string(),
                        stream.escape_ascii().to_string(),
                        "with {} and {}, {capacity} at a time",
                        first.escape_ascii(),
                        second.escape_ascii()
                    );
                }
            }
        }
        assert!(started.elapsed() < Duration::from_secs(60), "it hangs");
    }
}

#[test]
fn a_discard_drops_what_was_put_back() {
    for discards_first in ORDERS {
        let heard = hears(&["a;;", "b!"], &Limits::default(), |heard, chat| {
            match heard {
                Connect => chat.set_terminator(";;;"),
                Heard::Data(bytes) if bytes == b"a" => {
                    sets_and_discards(chat, "!", discards_first);
                }
                _ => {}
            }
            Ok(())
        });
        let expected = [data("ab"), Found, close("end-of-stream")];
        assert_eq!(heard, expected, "discards first: {discards_first}");
    }
}

#[test]
fn a_later_discard_drops_what_was_put_back_earlier() {
    let heard = hears(&["a;;", "b;"], &Limits::default(), |heard, chat| {
        match heard {
            Connect => chat.set_terminator(";;;"),
            Heard::Data(bytes) if bytes == b"a" => chat.set_terminator(";"),
            // One of the two bytes that were put back is left.
            Found => chat.discard_buffers(),
            _ => {}
        }
        Ok(())
    });
    let expected = [data("a"), Found, data("b"), Found, close("end-of-stream")];
    assert_eq!(heard, expected);
}

#[test]
fn a_new_terminator_and_a_discard_leave_no_old_end() {
    for discards_first in ORDERS {
        for terminator in [";", "!"] {
            let reads: &[&str] = if terminator == ";" {
                &["a;b", "c;"]
            } else {
                &["a;b", "c!"]
            };
            let heard = hears(reads, &Limits::default(), |heard, chat| {
                match heard {
                    Connect => chat.set_terminator(";"),
                    Heard::Data(bytes) if bytes == b"a" => {
                        sets_and_discards(chat, terminator, discards_first);
                    }
                    _ => {}
                }
                Ok(())
            });
            let expected = [data("ac"), Found, close("end-of-stream")];
            assert_eq!(heard, expected, "discards first: {discards_first}");
        }
    }
}

#[test]
fn after_a_discard_the_whole_limit_applies_again() {
    let limits = Limits {
        max_message: 4,
        ..Limits::default()
    };

    let heard = hears(&["abc", "defg;", "hijkl"], &limits, |heard, chat| {
        match heard {
            Connect => chat.set_terminator(";"),
            Heard::Data(bytes) if bytes == b"abc" => chat.discard_buffers(),
            _ => {}
        }
        Ok(())
    });

    let expected = [
        data("abcdefg"),
        Found,
        Heard::TooLong(4),
        close("message-too-long limit=4"),
    ];
    assert_eq!(heard, expected);
}
