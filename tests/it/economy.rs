//! The cost of a message in a running conversation: one write for all replies to one read, and no
//! allocation.
//!
//! The tests count. The allocator below counts for each thread separately, and the reader looks at
//! the count in each read. So they count what the loop does from one read to the next.

#![allow(unsafe_code, reason = "an allocator cannot be written without it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, Read};

use synchat::{Chat, Echo, Handler, HandlerResult, Limits, Terminator, converse};

use crate::support::hostile::{Call, Calls};
use crate::support::time_limit;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local!(static ALLOCATIONS: Cell<u64> = const { Cell::new(0) });

// SAFETY: all is left to the system's allocator; counting touches a plain thread-local number and
// does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Reads the same bytes this many times, all at once where the buffer is large enough, and notes the
/// number of allocations at each read.
struct Repeated<'a> {
    bytes: &'a [u8],
    /// How many of them were read in this turn.
    read: usize,
    left: usize,
    allocations: &'a mut Vec<u64>,
}

impl Read for Repeated<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.allocations.push(ALLOCATIONS.get());
        if self.left == 0 {
            return Ok(0);
        }
        let length = (&self.bytes[self.read..]).read(buffer)?;
        self.read += length;
        if self.read == self.bytes.len() {
            (self.read, self.left) = (0, self.left - 1);
        }
        Ok(length)
    }
}

/// Runs a conversation of a thousand equal reads, and checks that none allocates from the tenth on.
fn check_no_allocations(mut handler: impl Handler, bytes: &[u8]) {
    time_limit::begins();
    let mut allocations = Vec::with_capacity(2000);
    let reader = Repeated {
        bytes,
        read: 0,
        left: 1000,
        allocations: &mut allocations,
    };

    let summary = converse(reader, io::sink(), &mut handler, &Limits::default());
    assert_eq!(
        summary.traffic.bytes_in,
        1000 * bytes.len() as u64,
        "{}",
        summary.reason
    );
    assert!(summary.traffic.bytes_out > 0, "nothing was answered");
    assert!(allocations[0] > 0, "the allocator does not count");
    assert_eq!(
        allocations.get(10),
        allocations.last(),
        "in {}",
        bytes.escape_ascii()
    );
}

#[test]
fn a_steady_echo_allocates_nothing() {
    check_no_allocations(Echo::new(Terminator::CRLF), b"hello\r\n");
    check_no_allocations(
        Echo::new(Terminator::CRLF),
        &b"hello\r\n\r\nworld\r\n".repeat(100),
    );
    check_no_allocations(Echo::new(Terminator::CRLF), b"split\r\nover re");
    check_no_allocations(Echo::new(5), b"hello");
    check_no_allocations(Echo::new(Terminator::None), b"hello");
}

/// Reads a length, a colon, the bytes and a comma. Answers each message with a dot.
#[derive(Default)]
struct Netstrings {
    length: u64,
    in_body: bool,
}

impl Handler for Netstrings {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        chat.set_terminator(":");
        Ok(())
    }

    fn collect_incoming_data(&mut self, data: &[u8], _: &mut Chat) -> HandlerResult {
        if !self.in_body {
            self.length = data.iter().fold(self.length, |length, digit| {
                length * 10 + u64::from(digit - b'0')
            });
        }
        Ok(())
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        self.in_body = !self.in_body;
        if self.in_body {
            chat.set_terminator(std::mem::take(&mut self.length) + 1);
            return Ok(());
        }
        chat.set_terminator(":");
        Ok(chat.push(".")?)
    }
}

#[test]
fn changing_the_terminator_allocates_nothing() {
    check_no_allocations(Netstrings::default(), b"5:hello,");
    check_no_allocations(
        Netstrings::default(),
        &b"5:hello,0:,12:hello, world,".repeat(20),
    );
}

#[test]
fn each_read_is_answered_with_one_write() {
    time_limit::begins();
    let lines = b"hello\r\n".repeat(9000); // no more than one read, and less than the queue's bound
    let calls = Calls::default();
    let mut allocations = Vec::new();
    let reader = Repeated {
        bytes: &lines,
        read: 0,
        left: 50,
        allocations: &mut allocations,
    };

    converse(
        calls.reader(reader),
        calls.writer(),
        &mut Echo::new(Terminator::CRLF),
        &Limits::default(),
    );
    // The first turn takes three reads, because the buffer is small at first.
    let noted = calls.noted();
    let (growing, full) = noted.split_at(6);
    for calls in growing.chunks(2) {
        assert!(matches!(calls, [Call::Read(_), Call::Write(_)]));
    }
    let (reply, read) = (Call::Write(lines.clone()), Call::Read(lines.len()));
    let mut expected: Vec<_> = [read, reply].into_iter().cycle().take(98).collect();
    expected.push(Call::Read(0));
    assert!(full == expected);
    assert_eq!(calls.writes().concat(), lines.repeat(50));
}
