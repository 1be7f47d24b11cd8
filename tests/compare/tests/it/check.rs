//! Tests of the check: a correct echo passes every row, and each mistake fails its own row.
//!
//! [`Echo`] is a small line echo, correct by default. Each test puts one mistake into it and names
//! exactly the rows that must fail. If a mistake shows in more rows, or in some only by chance, the
//! test names only its own row. Most of the time is spent waiting for answers that never come.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::support;

const LIMIT: usize = 65536;

/// All rows, in the order in which they are tried.
const ROWS: [&str; 15] = [
    "split-terminator",
    "one-byte-drip",
    "empty-line",
    "lone-cr-and-lf",
    "binary",
    "pipelined-1000",
    "exact-limit",
    "over-limit",
    "endless-line",
    "eof-without-tail",
    "eof-with-tail",
    "half-close-1mib",
    "many-at-once",
    "never-reads",
    "reset",
];

/// Finds the end of the first line in these bytes, and the length of its terminator. The number
/// says how many of the bytes were searched before.
type Find = fn(&[u8], usize) -> Option<(usize, usize)>;

/// A blocking line echo, with a place for each mistake.
#[derive(Clone, Copy)]
struct Echo {
    find: Find,
    /// Makes the answer to a line.
    answer: fn(&[u8]) -> Vec<u8>,
    /// The longest line that is answered.
    longest: usize,
    /// True if a longer line with a terminator is skipped, and the connection goes on.
    forgiving: bool,
    /// The longest beginning of a line that is stored, with a byte of its terminator.
    longest_held: usize,
    /// The most lines of one read that are answered.
    at_a_time: usize,
    /// Makes the last bytes that are sent at the end of the stream, from the tail.
    farewell: fn(&[u8]) -> Vec<u8>,
}

/// A correct echo.
const RIGHT: Echo = Echo {
    find: |bytes, searched| find(bytes, searched.saturating_sub(1)),
    answer: with_terminator,
    longest: LIMIT,
    forgiving: false,
    longest_held: LIMIT + 1,
    at_a_time: usize::MAX,
    farewell: |_| Vec::new(),
};

fn find(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let at = bytes[from..].windows(2).position(|pair| pair == b"\r\n")?;
    Some((from + at, 2))
}

fn with_terminator(line: &[u8]) -> Vec<u8> {
    [line, b"\r\n"].concat()
}

/// The error that ends a conversation.
struct TooLong;

impl Echo {
    /// Answers the lines that `bytes` complete. `partial` is the beginning of the next line.
    fn take(
        &self,
        partial: &mut Vec<u8>,
        bytes: &[u8],
        replies: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        let mut searched = partial.len();
        partial.extend(bytes);
        let (mut start, mut lines) = (0, 0);
        while let Some((length, terminator)) = (self.find)(&partial[start..], searched) {
            let line = &partial[start..start + length];
            let too_long = length > self.longest;
            if too_long && !self.forgiving {
                return Err(TooLong);
            }
            if !too_long && lines < self.at_a_time {
                replies.extend((self.answer)(line));
            }
            lines += 1;
            start += length + terminator;
            searched = 0;
        }
        partial.drain(..start);
        match partial.len() > self.longest_held {
            true => Err(TooLong),
            false => Ok(()),
        }
    }

    /// Echoes until the stream ends in any way.
    fn converse(&self, stream: TcpStream) -> Ended {
        self.converse_with(stream, &Mutex::new(Vec::new()), |stream, replies| {
            (&*stream).write_all(replies).is_ok()
        })
    }

    /// Does the same. Connections can share `partial`, and `send` sends the replies.
    fn converse_with(
        &self,
        mut stream: TcpStream,
        partial: &Mutex<Vec<u8>>,
        mut send: impl FnMut(&TcpStream, &[u8]) -> bool,
    ) -> Ended {
        stream.set_nodelay(true).expect("a socket");
        let mut buffer = vec![0; LIMIT];
        loop {
            // Never read past the byte after the limit. So a line at the limit is always stored
            // once with half of its terminator.
            let room = match partial.lock().unwrap().len() {
                held @ 1..=LIMIT => LIMIT + 1 - held,
                _ => LIMIT,
            };
            match stream.read(&mut buffer[..room]) {
                Ok(0) => {
                    let _ = stream.write_all(&(self.farewell)(&partial.lock().unwrap()));
                    return Ended::Eof;
                }
                Ok(count) => {
                    let mut replies = Vec::new();
                    let taken =
                        self.take(&mut partial.lock().unwrap(), &buffer[..count], &mut replies);
                    if !replies.is_empty() && !send(&stream, &replies) {
                        return Ended::Reset;
                    }
                    if taken.is_err() {
                        return Ended::TooLong;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Ended::Reset,
            }
        }
    }

    fn serve(self) -> SocketAddr {
        support::serve(move |stream| {
            self.converse(stream);
        })
    }
}

/// The end of a conversation.
#[derive(Clone, Copy, PartialEq)]
enum Ended {
    Eof,
    TooLong,
    Reset,
}

fn check(address: SocketAddr) -> Output {
    support::run(&["check", &address.to_string()])
}

/// Checks that exactly these rows fail, and that the program says so. Returns its output.
fn fails(address: SocketAddr, rows: &[&str]) -> String {
    let output = check(address);
    let text = support::text(&output);
    let failed: Vec<_> = ROWS
        .into_iter()
        .filter(|row| outcome(&text, row) == "FAIL")
        .collect();
    assert_eq!(failed, rows, "{text}");
    let passed = ROWS.len() - rows.len();
    assert!(text.contains(&format!("{passed} of 15 rows\n")), "{text}");
    assert_eq!(
        output.status.code(),
        Some(i32::from(!rows.is_empty())),
        "{text}"
    );
    text
}

/// Checks that this row fails, whatever the others do. Returns its line of the output.
fn fails_at_least(address: SocketAddr, row: &str) -> String {
    let output = check(address);
    let text = support::text(&output);
    assert_eq!(outcome(&text, row), "FAIL", "{text}");
    assert_eq!(output.status.code(), Some(1), "{text}");
    line_of(&text, row).to_owned()
}

fn outcome<'a>(text: &'a str, row: &str) -> &'a str {
    line_of(text, row).split(' ').next().unwrap_or_default()
}

fn line_of<'a>(text: &'a str, row: &str) -> &'a str {
    text.lines()
        .find(|line| {
            line.split([' ', ':'])
                .filter(|word| !word.is_empty())
                .nth(1)
                == Some(row)
        })
        .unwrap_or_else(|| panic!("no row {row} in\n{text}"))
}

#[test]
fn an_echo_that_is_right_passes_every_row() {
    let text = fails(RIGHT.serve(), &[]);
    let expected: String = ROWS.iter().map(|row| format!("pass  {row}\n")).collect();
    assert_eq!(text, expected + "15 of 15 rows\n");
}

#[test]
fn split_terminator_a_terminator_in_two_reads_is_missed() {
    let echo = Echo {
        // The mistake shows only in short lines, because other rows split long lines, too.
        find: |bytes, searched| match searched {
            0..10 => find(bytes, searched),
            _ => (RIGHT.find)(bytes, searched),
        },
        ..RIGHT
    };
    let text = fails(echo.serve(), &["split-terminator"]);
    assert!(
        text.contains("ab\\r\\n cut at 3: no answer within 2s"),
        "{text}"
    );
}

#[test]
fn one_byte_drip_a_short_line_in_many_reads_is_given_up() {
    let address = support::serve(|mut stream| {
        stream.set_nodelay(true).expect("a socket");
        let (mut partial, mut reads, mut buffer) = (Vec::new(), 0, vec![0; LIMIT]);
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let mut replies = Vec::new();
            if RIGHT
                .take(&mut partial, &buffer[..count], &mut replies)
                .is_err()
            {
                return;
            }
            reads = if replies.is_empty() { reads + 1 } else { 0 };
            if partial.len() < 100 && reads > 3 || stream.write_all(&replies).is_err() {
                return;
            }
        }
    });
    fails(address, &["one-byte-drip"]);
}

#[test]
fn empty_line_it_is_swallowed() {
    let echo = Echo {
        answer: |line| match line {
            b"" => Vec::new(),
            line => with_terminator(line),
        },
        ..RIGHT
    };
    let text = fails(echo.serve(), &["empty-line"]);
    assert!(
        text.contains("byte 1 of 12 differs: got 0x61, expected 0x0d"),
        "{text}"
    );
}

#[test]
fn empty_line_its_answer_comes_too_late() {
    let echo = Echo {
        answer: |line| {
            if line.is_empty() {
                thread::sleep(Duration::from_secs(3));
            }
            with_terminator(line)
        },
        ..RIGHT
    };
    let text = fails(echo.serve(), &["empty-line"]);
    assert!(text.contains("no answer within 2s"), "{text}");
}

#[test]
fn lone_cr_and_lf_a_line_feed_alone_ends_a_line() {
    let echo = Echo {
        find: |bytes, _| {
            let at = bytes.iter().position(|&byte| byte == b'\n')?;
            match bytes[..at].last() {
                Some(b'\r') => Some((at - 1, 2)),
                _ => Some((at, 1)),
            }
        },
        ..RIGHT
    };
    fails(echo.serve(), &["lone-cr-and-lf"]);
}

#[test]
fn lone_cr_and_lf_carriage_returns_before_the_terminator_are_dropped() {
    let echo = Echo {
        answer: |line| {
            let end = line.iter().rposition(|&byte| byte != b'\r');
            with_terminator(&line[..end.map_or(0, |end| end + 1)])
        },
        ..RIGHT
    };
    // The first row also splits a line of that kind.
    fails(echo.serve(), &["split-terminator", "lone-cr-and-lf"]);
}

#[test]
fn binary_lines_are_taken_for_text() {
    let echo = Echo {
        answer: |line| with_terminator(String::from_utf8_lossy(line).as_bytes()),
        ..RIGHT
    };
    let text = fails(echo.serve(), &["binary"]);
    assert!(text.contains("differs: got 0xef, expected 0x80"), "{text}");
}

#[test]
fn binary_one_byte_is_wrong() {
    let echo = Echo {
        answer: |line| {
            let wrong = |&byte: &u8| if byte == 0xff { 0xfe } else { byte };
            with_terminator(&line.iter().map(wrong).collect::<Vec<_>>())
        },
        ..RIGHT
    };
    let text = fails(echo.serve(), &["binary"]);
    assert!(
        text.contains("byte 254 of 510 differs: got 0xfe, expected 0xff"),
        "{text}"
    );
}

#[test]
fn pipelined_1000_lines_beyond_the_first_hundred_of_a_read_are_lost() {
    let echo = Echo {
        at_a_time: 100,
        ..RIGHT
    };
    fails(echo.serve(), &["pipelined-1000"]);
}

#[test]
fn pipelined_1000_the_server_closes_within_the_replies() {
    let address = support::serve(|stream| {
        RIGHT.converse_with(stream, &Mutex::default(), |mut stream, replies| {
            // No other row has as many lines of 32 bytes.
            let cut = replies.len() > 3 * 32 && replies[31..32] == *b"\n";
            let replies = if cut { &replies[..3 * 32] } else { replies };
            stream.write_all(replies).is_ok() && !cut
        });
    });
    let text = fails(address, &["pipelined-1000"]);
    assert!(text.contains("after 3 of 1000 lines: "), "{text}");
}

#[test]
fn pipelined_1000_replies_drip_for_longer_than_a_row_may_take() {
    let address = support::serve(|stream| {
        RIGHT.converse_with(stream, &Mutex::default(), |mut stream, replies| {
            let drips = replies.len() > 3 * 32 && replies[31..32] == *b"\n";
            let pieces = replies.chunks(if drips { 1 } else { replies.len() });
            pieces.into_iter().all(|piece| {
                thread::sleep(Duration::from_millis(if drips { 100 } else { 0 }));
                stream.write_all(piece).is_ok()
            })
        });
    });
    let text = fails(address, &["pipelined-1000"]);
    assert!(text.contains("not done within 5s"), "{text}");
}

#[test]
fn exact_limit_the_limit_is_a_byte_too_low() {
    let echo = Echo {
        longest: LIMIT - 1,
        ..RIGHT
    };
    fails(echo.serve(), &["exact-limit"]);
}

#[test]
fn exact_limit_half_of_a_terminator_counts() {
    let echo = Echo {
        longest_held: LIMIT,
        ..RIGHT
    };
    let text = fails(echo.serve(), &["exact-limit"]);
    assert!(text.contains("cut at 0: "), "{text}");
}

#[test]
fn over_limit_the_limit_is_a_byte_too_high() {
    let echo = Echo {
        longest: LIMIT + 1,
        longest_held: LIMIT + 2,
        ..RIGHT
    };
    let text = fails(echo.serve(), &["over-limit"]);
    assert!(text.contains("and more where the end was due"), "{text}");
}

#[test]
fn over_limit_the_line_is_left_out_and_the_connection_goes_on() {
    let echo = Echo {
        forgiving: true,
        longest_held: 2 * LIMIT,
        ..RIGHT
    };
    let text = fails(echo.serve(), &["over-limit"]);
    assert!(text.contains("still open after 2s"), "{text}");
}

#[test]
fn over_limit_nobody_is_served_after_it() {
    let dead = Arc::new(AtomicBool::new(false));
    let address = support::serve(move |stream| {
        if !dead.load(Ordering::SeqCst) {
            // The flag is set before the connection is closed, so before the client can notice.
            let kept = stream.try_clone();
            if RIGHT.converse(stream) == Ended::TooLong {
                dead.store(true, Ordering::SeqCst);
            }
            drop(kept);
        }
    });
    let line = fails_at_least(address, "over-limit");
    assert!(line.contains("another client: "), "{line}");
}

#[test]
fn endless_line_the_limit_is_looked_at_when_a_line_ends() {
    let echo = Echo {
        longest_held: usize::MAX,
        ..RIGHT
    };
    fails(echo.serve(), &["endless-line"]);
}

#[test]
fn eof_without_tail_the_server_adds_a_word() {
    let echo = Echo {
        farewell: |tail| match tail {
            b"" => b"bye\r\n".to_vec(),
            _ => Vec::new(),
        },
        ..RIGHT
    };
    // The row with the megabyte ends without a tail, too.
    fails(echo.serve(), &["eof-without-tail", "half-close-1mib"]);
}

#[test]
fn eof_without_tail_the_connection_stays_open() {
    let address = support::serve(|stream| {
        let kept = stream.try_clone();
        let total = Mutex::default();
        let mut sent = 0;
        RIGHT.converse_with(stream, &total, |mut stream, replies| {
            sent += replies.len();
            stream.write_all(replies).is_ok()
        });
        let tail = total.lock().unwrap().len();
        if sent == 5 && tail == 0 {
            thread::sleep(Duration::from_secs(10));
        }
        drop(kept);
    });
    let text = fails(address, &["eof-without-tail"]);
    assert!(text.contains("still open after 2s"), "{text}");
}

#[test]
fn eof_with_tail_the_tail_is_taken_for_a_line() {
    let echo = Echo {
        farewell: |tail| match tail {
            b"" => Vec::new(),
            tail => with_terminator(tail),
        },
        ..RIGHT
    };
    let text = fails(echo.serve(), &["eof-with-tail"]);
    assert!(
        text.contains("got \"def\\r\\n\" where the end was due"),
        "{text}"
    );
}

/// An echo whose replies go through a list of at most `most` replies to a thread that writes them.
fn with_a_list(most: usize) -> SocketAddr {
    support::serve(move |stream| {
        let (list, replies) = mpsc::sync_channel::<Vec<u8>>(most);
        let mut output = stream.try_clone().expect("a descriptor");
        let writer = thread::spawn(move || {
            while let Ok(reply) = replies.recv() {
                if output.write_all(&reply).is_err() {
                    break;
                }
            }
        });
        RIGHT.converse_with(stream, &Mutex::default(), |_, replies| {
            replies
                .split_inclusive(|&byte| byte == b'\n')
                .all(|line| list.send(line.to_vec()).is_ok())
        });
        drop(list);
        let _ = writer.join();
    })
}

#[test]
fn half_close_1mib_replies_on_a_list_are_written_to_the_end() {
    fails(with_a_list(1000), &[]);
}

#[test]
fn half_close_1mib_the_last_replies_are_dropped_at_the_clients_end() {
    let address = support::serve(|stream| {
        let (mut total, mut waiting) = (0, Vec::new());
        RIGHT.converse_with(stream, &Mutex::default(), |mut stream, replies| {
            total += replies.len();
            waiting.extend(replies);
            // No other row has exactly this many bytes.
            let now = total != 1 << 20;
            !now || stream.write_all(&std::mem::take(&mut waiting)).is_ok()
        });
    });
    let text = fails(address, &["half-close-1mib"]);
    assert!(text.contains(" of 256 lines: closed"), "{text}");
}

#[test]
fn never_reads_replies_go_onto_a_list_without_an_end() {
    let text = fails(with_a_list(100_000), &["never-reads"]);
    assert!(
        text.contains("read 64 MiB from a client that read no reply"),
        "{text}"
    );
}

#[test]
fn never_reads_everybody_waits_for_the_one_client() {
    let turn = Arc::new(Mutex::new(()));
    let address = support::serve(move |stream| {
        RIGHT.converse_with(stream, &Mutex::default(), |mut stream, replies| {
            let _turn = turn.lock().unwrap();
            stream.write_all(replies).is_ok()
        });
    });
    let text = fails(address, &["never-reads"]);
    assert!(text.contains("another client: "), "{text}");
}

#[test]
fn many_at_once_two_connections_share_a_buffer() {
    let (open, shared) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(Mutex::new(Vec::new())),
    );
    let address = support::serve(move |stream| {
        let own = Arc::default();
        let crowded = open.fetch_add(1, Ordering::SeqCst) >= 100;
        let partial = if crowded { &shared } else { &own };
        RIGHT.converse_with(stream, partial, |mut stream, replies| {
            stream.write_all(replies).is_ok()
        });
        open.fetch_sub(1, Ordering::SeqCst);
    });
    let text = fails(address, &["many-at-once"]);
    assert!(text.contains("of 200: "), "{text}");
}

#[test]
fn many_at_once_the_server_has_room_for_a_hundred() {
    let open = Arc::new(AtomicUsize::new(0));
    let address = support::serve(move |stream| {
        if open.fetch_add(1, Ordering::SeqCst) < 100 {
            RIGHT.converse(stream);
        }
        open.fetch_sub(1, Ordering::SeqCst);
    });
    let text = fails(address, &["many-at-once"]);
    assert!(text.contains(" of 200: "), "{text}");
}

#[test]
fn reset_nobody_is_served_after_it() {
    let dead = Arc::new(AtomicBool::new(false));
    let address = support::serve(move |stream| {
        if !dead.load(Ordering::SeqCst) && RIGHT.converse(stream) == Ended::Reset {
            dead.store(true, Ordering::SeqCst);
        }
    });
    fails(address, &["reset"]);
}

#[test]
fn a_server_that_closes_at_once_fails_every_row() {
    fails(support::serve(drop), &ROWS);
}

#[test]
fn a_server_that_sends_without_end_fails_every_row() {
    let address = support::serve(|mut stream| while stream.write_all(&[b'z'; 4096]).is_ok() {});
    fails(address, &ROWS);
}

#[test]
fn a_server_that_dies_midway_fails_the_rows_that_are_left() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        // The first connection only tries whether a server is there.
        for stream in listener.incoming().flatten().take(4) {
            RIGHT.converse(stream);
        }
    });
    let text = fails(address, &ROWS[3..]);
    assert!(text.contains("no connection: refused"), "{text}");
}

#[test]
fn where_nothing_listens_the_program_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let output = check(address);
    assert_eq!(
        support::text(&output),
        format!("compare: nothing listens at {address}\n")
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_is_no_address_is_named() {
    let output = support::run(&["check", "nowhere"]);
    let text = support::text(&output);
    assert!(
        text.starts_with("compare: nowhere is not an address: give HOST:PORT"),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(1));
}
