//! Framing: how a stream becomes messages (F1 to F8). Each test holds for every way in which reads
//! can cut the stream.
//!
//! The tests cite these promises:
//!
//! - F1: what a terminator is.
//! - F2: a message is its data, then `found_terminator`.
//! - F3: a terminator is found wherever reads split it. A false start of it is data, in order.
//! - F4: a terminator that is set in a callback governs the very next byte.
//! - F5: counts.
//! - F6: the work is linear. This is tested beside the matcher, and in `exhaustive`.
//! - F7: the end of the stream.
//! - F8: messages that are too long.

use std::io;
use std::num::NonZeroUsize;

use synchat::{Chat, HandlerResult, Limits, Terminator, TooLong, converse};

use crate::support::hostile::Chunks;
use crate::support::script::{Heard, Script};

/// A stream, and what a handler must hear, however the stream is cut.
struct Case<'a> {
    stream: &'a [u8],
    expected: &'a [Heard],
    limits: Limits,
}

/// Data behind a stream. It must not change what is heard before it.
const TRAILING: &[u8] = b"~~";

/// Runs the case whole, byte by byte, at every two-way split, and with buffers of a few bytes. Then
/// it does the same with trailing data. `script` makes the actions of each new conversation.
fn check<F: FnMut(&Heard, &mut Chat) -> HandlerResult>(case: &Case<'_>, script: impl Fn() -> F) {
    let run = |chunks: Vec<&[u8]>, input_buffer: usize, expected: &[Heard]| {
        let input_buffer = NonZeroUsize::new(input_buffer).unwrap();
        let limits = Limits {
            input_buffer,
            ..case.limits.clone()
        };
        let mut handler = Script::new(script());
        converse(
            Chunks::new(chunks.clone()),
            io::sink(),
            &mut handler,
            &limits,
        );
        assert_eq!(
            handler.heard[1..][..expected.len()],
            *expected,
            "{} as {chunks:?} with a buffer of {input_buffer}",
            case.stream.escape_ascii()
        );
    };

    let with_trailing = [case.stream, TRAILING].concat();
    let expected_with_trailing = with_trailing_data(case.expected);
    for (stream, expected) in [
        (case.stream, case.expected),
        (&with_trailing, &expected_with_trailing),
    ] {
        for capacity in [1, 2, 3, 5, 64 * 1024] {
            run(vec![stream], capacity, expected);
        }
        run(stream.chunks(1).collect(), 64 * 1024, expected);
        for split in 1..stream.len() {
            let (before, after) = stream.split_at(split);
            run(vec![before, after], 64 * 1024, expected);
        }
    }
}

/// Returns what is heard with trailing data: the same, and then that data before the end.
fn with_trailing_data(expected: &[Heard]) -> Vec<Heard> {
    let mut expected = expected.to_vec();
    expected.pop(); // the reason can be another one
    match expected.last_mut() {
        Some(Heard::Data(bytes)) => bytes.extend_from_slice(TRAILING),
        _ => expected.push(data(TRAILING)),
    }
    expected
}

/// Checks a stream under one terminator, which stays.
fn check_plain(terminator: impl Into<Terminator>, stream: &[u8], expected: &[Heard]) {
    let terminator = terminator.into();
    let case = Case {
        stream,
        expected,
        limits: Limits::default(),
    };
    check(&case, || {
        let terminator = terminator.clone();
        move |heard, chat| {
            if *heard == Heard::Connect {
                chat.set_terminator(terminator.clone());
            }
            Ok(())
        }
    });
}

fn data(bytes: impl AsRef<[u8]>) -> Heard {
    Heard::Data(bytes.as_ref().to_vec())
}

fn close(reason: &str) -> Heard {
    Heard::Close(reason.to_owned())
}

use Heard::{Connect, Found};

#[test]
fn f1_empty_bytes_are_no_terminator() {
    check_plain("", b"a\r\n", &[data("a\r\n"), close("end-of-stream")]);
    check_plain(Terminator::None, b"", &[close("end-of-stream")]);
}

#[test]
fn f9_a_count_of_0_is_an_empty_message() {
    check_plain(0, b"a\r\n", &[Found, data("a\r\n"), close("end-of-stream")]);
    check_plain(0, b"", &[Found, close("end-of-stream")]);
}

#[test]
fn f2_a_message_is_data_then_found_terminator() {
    let expected = [data("ab"), Found, data("c"), Found, close("end-of-stream")];
    check_plain(Terminator::CRLF, b"ab\r\nc\r\n", &expected);
}

#[test]
fn f2_an_empty_message_is_only_found_terminator() {
    check_plain(
        Terminator::CRLF,
        b"\r\n\r\na\r\n\r\n",
        &[
            Found,
            Found,
            data("a"),
            Found,
            Found,
            close("end-of-stream"),
        ],
    );
}

#[test]
fn f2_a_message_larger_than_the_buffer_comes_in_pieces() {
    let long = b"0123456789".repeat(20_000);
    let limits = Limits {
        max_message: 1 << 20,
        ..Limits::default()
    };

    let mut handler = Script::new(|heard: &Heard, chat: &mut Chat| {
        if *heard == Connect {
            chat.set_terminator("END");
        }
        Ok(())
    });

    let stream = [&long[..], b"END"].concat();
    converse(&*stream, io::sink(), &mut handler, &limits);
    assert!(handler.messages() == [long]);
}

#[test]
fn f3_a_false_start_does_not_hide_the_terminator() {
    check_plain("aab", b"aaab", &[data("a"), Found, close("end-of-stream")]);
    check_plain(
        Terminator::CRLF,
        b"\r\r\n",
        &[data("\r"), Found, close("end-of-stream")],
    );
    check_plain(
        "abab",
        b"aabaabab.abab",
        &[
            data("aaba"),
            Found,
            data("."),
            Found,
            close("end-of-stream"),
        ],
    );
    check_plain(
        "\r\n.\r\n",
        b"\r\n\r\n.\r\n",
        &[data("\r\n"), Found, close("end-of-stream")],
    );
}

#[test]
fn f3_a_self_overlapping_terminator_matches_leftmost() {
    check_plain(
        "aa",
        b"aaaaa",
        &[Found, Found, data("a"), close("mid-message unterminated=1")],
    );
}

#[test]
fn f3_a_terminator_is_matched_exactly() {
    let expected = [data("a\nb\rc\n\rd"), Found, close("end-of-stream")];
    check_plain(Terminator::CRLF, b"a\nb\rc\n\rd\r\n", &expected);
}

#[test]
fn f3_a_terminator_of_all_byte_values_is_found() {
    let needle: Vec<u8> = (0..=255).collect();
    let stream = [&needle[1..], &needle, &needle[..255], &needle].concat();
    let expected = [
        data(&needle[1..]),
        Found,
        data(&needle[..255]),
        Found,
        close("end-of-stream"),
    ];
    check_plain(needle, &stream, &expected);
}

#[test]
fn f4_a_new_terminator_governs_the_very_next_byte() {
    let case = Case {
        stream: b"3;abc2;de0;4;wxyz",
        expected: &[
            data("3"),
            Found,
            data("abc"),
            Found,
            data("2"),
            Found,
            data("de"),
            Found,
            data("0"),
            Found,
            Found,
            data("4"),
            Found,
            data("wxyz"),
            Found,
            close("end-of-stream"),
        ],
        limits: Limits::default(),
    };
    check(&case, || {
        // This is how a length-prefixed protocol works. A length of 0 is an empty body.
        let (mut digits, mut in_body) = (String::new(), false);
        move |heard, chat| {
            match heard {
                Connect => chat.set_terminator(";"),
                Heard::Data(bytes) if !in_body => digits += std::str::from_utf8(bytes)?,
                Found if in_body => {
                    in_body = false;
                    chat.set_terminator(";");
                }
                Found => {
                    in_body = true;
                    chat.set_terminator(std::mem::take(&mut digits).parse::<u64>()?);
                }
                _ => {}
            }
            Ok(())
        }
    });
}

#[test]
fn f4_held_back_bytes_meet_the_new_terminator() {
    // The first read delivers "." and holds "ab" back, as the beginning of "abc". Now "b" is the
    // terminator.
    for rest in [&b"c!"[..], b"x", b""] {
        let mut handler = Script::new(|heard: &Heard, chat: &mut Chat| {
            match heard {
                Connect => chat.set_terminator("abc"),
                Heard::Data(bytes) if bytes == b"." => chat.set_terminator("b"),
                _ => {}
            }
            Ok(())
        });
        converse(
            Chunks::new([b".ab", rest]),
            io::sink(),
            &mut handler,
            &Limits::default(),
        );
        assert_eq!(
            handler.heard[1..3],
            [data(".a"), Found],
            "before {}",
            rest.escape_ascii()
        );
        if !rest.is_empty() {
            assert_eq!(handler.heard[3], data(rest));
        }
    }
}

#[test]
fn f4_bytes_put_back_twice_keep_their_order() {
    // Each callback sets another terminator, and the rest of the input looks like its beginning.
    let mut next = ["bcdX", "cdY", "dZ", "e"].into_iter();
    let mut handler = Script::new(|heard: &Heard, chat: &mut Chat| {
        match heard {
            Connect => chat.set_terminator("abcdW"),
            Heard::Data(_) => next
                .next()
                .into_iter()
                .for_each(|terminator| chat.set_terminator(terminator)),
            _ => {}
        }
        Ok(())
    });

    converse(
        Chunks::new([&b".abcd"[..], b"e!"]),
        io::sink(),
        &mut handler,
        &Limits::default(),
    );
    assert_eq!(handler.heard[1..4], [data(".abcd"), Found, data("!")]);
}

#[test]
fn f4_a_replaced_terminators_bytes_become_data() {
    let case = Case {
        stream: b"a\r\nb;",
        expected: &[data("a\r\nb"), Found, close("end-of-stream")],
        limits: Limits::default(),
    };
    check(&case, || {
        move |heard, chat| {
            match heard {
                Connect => chat.set_terminator(Terminator::CRLF),
                Heard::Data(bytes) if bytes.contains(&b'a') => chat.set_terminator(";"),
                _ => {}
            }
            Ok(())
        }
    });
}

#[test]
fn f5_a_count_ignores_byte_values_and_holds_once() {
    check_plain(
        3,
        b"\r\nabc",
        &[data("\r\na"), Found, data("bc"), close("end-of-stream")],
    );
    check_plain(
        5,
        b"\r\nabc",
        &[data("\r\nabc"), Found, close("end-of-stream")],
    );
    check_plain(
        9,
        b"\r\nabc",
        &[data("\r\nabc"), close("mid-message unterminated=5")],
    );
}

#[test]
fn f5_partial_data_comes_with_the_remaining_count() {
    let mut seen = Vec::new();
    let mut handler = Script::new(|heard: &Heard, chat: &mut Chat| {
        match heard {
            Connect => chat.set_terminator(5),
            _ => seen.push((heard.clone(), chat.get_terminator().clone())),
        }
        Ok(())
    });

    let chunks = Chunks::new([&b"ab"[..], b"cd", b"ef"]);
    converse(chunks, io::sink(), &mut handler, &Limits::default());
    assert_eq!(
        seen,
        [
            (data("ab"), Terminator::from(3)),
            (data("cd"), Terminator::from(1)),
            (data("e"), Terminator::None),
            (Found, Terminator::None),
            (data("f"), Terminator::None),
        ]
    );
}

#[test]
fn f5_a_callbacks_terminator_beats_the_end_of_a_count() {
    let case = Case {
        stream: b"abcd;e",
        expected: &[
            data("abc"),
            Found,
            data("d"),
            Found,
            data("e"),
            close("mid-message unterminated=1"),
        ],
        limits: Limits::default(),
    };
    check(&case, || {
        let mut collected = 0;
        move |heard, chat| {
            match heard {
                Connect => chat.set_terminator(3),
                Heard::Data(bytes) => {
                    collected += bytes.len();
                    // This is the callback for the last byte of the count. Its found_terminator is
                    // still to come.
                    if collected == 3 {
                        chat.set_terminator(";");
                    }
                }
                _ => {}
            }
            Ok(())
        }
    });
}

#[test]
fn f5_an_announced_count_takes_no_memory() {
    let limits = Limits {
        max_message: u64::MAX,
        ..Limits::default()
    };

    let mut handler = Script::new(|heard: &Heard, chat: &mut Chat| {
        if *heard == Connect {
            chat.set_terminator(u64::MAX);
        }
        Ok(())
    });

    converse(&b"abc"[..], io::sink(), &mut handler, &limits);
    assert_eq!(
        handler.heard[1..],
        [data("abc"), close("mid-message unterminated=3")]
    );
}

#[test]
fn f7_bytes_held_back_at_the_end_are_data() {
    check_plain(
        Terminator::CRLF,
        b"a\r",
        &[data("a\r"), close("mid-message unterminated=2")],
    );
    check_plain(
        "aab",
        b"aa",
        &[data("aa"), close("mid-message unterminated=2")],
    );
    check_plain(
        "\r\n.\r\n",
        b"x\r\n.\r",
        &[data("x\r\n.\r"), close("mid-message unterminated=5")],
    );
}

#[test]
fn f7_an_end_between_messages_is_clean() {
    check_plain(Terminator::CRLF, b"", &[close("end-of-stream")]);
    check_plain(
        Terminator::CRLF,
        b"a\r\n",
        &[data("a"), Found, close("end-of-stream")],
    );
    check_plain(
        Terminator::None,
        b"abc",
        &[data("abc"), close("end-of-stream")],
    );
}

/// Checks CRLF lines under a limit of 4 bytes. It ignores the data of a message that did not end,
/// because how much of it is heard depends on the cuts.
fn check_limit(too_long: TooLong, stream: &[u8], expected: &[Heard]) {
    let limits = Limits {
        max_message: 4,
        too_long,
        ..Limits::default()
    };

    for split in 0..stream.len() {
        for chunks in [
            vec![&stream[..split], &stream[split..]],
            stream.chunks(split + 1).collect(),
        ] {
            let mut handler = Script::new(|heard: &Heard, chat: &mut Chat| {
                if *heard == Connect {
                    chat.set_terminator(Terminator::CRLF);
                }
                Ok(())
            });
            converse(
                Chunks::new(chunks.clone()),
                io::sink(),
                &mut handler,
                &limits,
            );
            let mut heard = handler.heard.split_off(1);
            while let Some(at) = heard.windows(2).position(|pair| {
                matches!(pair, [Heard::Data(_), Heard::TooLong(_) | Heard::Close(_)])
            }) {
                let Heard::Data(bytes) = heard.remove(at) else {
                    unreachable!()
                };
                assert!(
                    bytes.len() <= 4,
                    "{chunks:?}: more than the limit was collected"
                );
            }
            assert_eq!(heard, expected, "{chunks:?}");
        }
    }
}

#[test]
fn f8_at_the_limit_passes_and_above_it_closes() {
    check_limit(
        TooLong::Close,
        b"1234\r\n",
        &[data("1234"), Found, close("end-of-stream")],
    );

    let closed = close("message-too-long limit=4");
    check_limit(
        TooLong::Close,
        b"12345\r\n67\r\n",
        &[Heard::TooLong(4), closed.clone()],
    );
    check_limit(
        TooLong::Close,
        b"1\r\n123\r\r\r\n",
        &[data("1"), Found, Heard::TooLong(4), closed.clone()],
    );
    check_limit(TooLong::Close, b"1234567890", &[Heard::TooLong(4), closed]);
}

#[test]
fn f8_discard_reports_a_long_message_once_in_its_place() {
    check_limit(
        TooLong::Discard,
        b"1\r\n1234567890\r\n2\r\n12345\r\n1234\r\n",
        &[
            data("1"),
            Found,
            Heard::TooLong(4),
            data("2"),
            Found,
            Heard::TooLong(4),
            data("1234"),
            Found,
            close("end-of-stream"),
        ],
    );
    check_limit(
        TooLong::Discard,
        b"12345678",
        &[close("mid-message unterminated=8")],
    );
}

#[test]
fn f8_discard_spends_a_count_above_the_limit() {
    let limits = Limits {
        max_message: 4,
        too_long: TooLong::Discard,
        ..Limits::default()
    };

    let stream = b"123456789ab;cd;";
    for chunk in 1..stream.len() {
        let mut handler = Script::new(|heard: &Heard, chat: &mut Chat| {
            match heard {
                Connect => chat.set_terminator(9),
                Heard::TooLong(_) => {
                    assert_eq!(*chat.get_terminator(), Terminator::None);
                    chat.set_terminator(";");
                }
                _ => {}
            }
            Ok(())
        });
        let summary = converse(
            Chunks::new(stream.chunks(chunk)),
            io::sink(),
            &mut handler,
            &limits,
        );
        assert_eq!(handler.messages()[..], [b"ab", b"cd"], "chunks of {chunk}");
        assert_eq!((summary.traffic.messages, summary.traffic.too_long), (2, 1));
    }
}

#[test]
fn f8_without_a_terminator_there_is_no_limit() {
    let limits = Limits {
        max_message: 4,
        ..Limits::default()
    };
    let mut handler = Script::new(|_: &Heard, _: &mut Chat| Ok(()));
    converse(&b"0123456789"[..], io::sink(), &mut handler, &limits);
    assert_eq!(
        handler.heard[1..],
        [data("0123456789"), close("end-of-stream")]
    );
}

#[test]
fn f7_a_removed_terminator_leaves_nothing_unterminated() {
    let mut handler = Script::new(|heard: &Heard, chat: &mut Chat| {
        match heard {
            Connect => chat.set_terminator(Terminator::CRLF),
            _ => chat.set_terminator(Terminator::None),
        }
        Ok(())
    });
    converse(&b"abc"[..], io::sink(), &mut handler, &Limits::default());
    assert_eq!(handler.heard[1..], [data("abc"), close("end-of-stream")]);
}
