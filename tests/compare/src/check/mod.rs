//! The check: what an echo of lines has to get right, from outside, before its speed counts.
//!
//! A server that does less than the others is faster than they are, so each has to pass the same
//! rows first. A row has connections of its own and a few seconds; rows go one after the other, the
//! rough ones last, so that one mistake shows as one row wherever it can. The price: a server that
//! answers nothing at all takes half a minute to be found out.
//!
//! What nobody can see from outside is how the bytes of one write were read. Where a cut matters,
//! the row makes the server show that it has read what comes before it, or else pauses a little.

mod client;

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::record::Row;
use client::{CHUNK, Client, STEP, Server};

/// The longest line that a server has to take, without its terminator.
pub const LIMIT: usize = 64 * 1024;

/// So many connections are open at once in the row that has the most.
pub const MOST_CONNECTIONS: usize = 200;

/// Of the lines that are sent by the megabyte.
const LONG_LINE: usize = 4096;

/// What a server may take of a client that never reads. Above all that the kernel's buffers hold
/// between the two, and little beside a machine's memory.
const TOO_MUCH: usize = 64 << 20;

/// Asks one thing of the server. An error says what was seen instead.
type Asks = fn(&Server) -> Result<()>;

/// The rows in their order, by their fixed names.
const ROWS: [(&str, Asks); 15] = [
    ("split-terminator", split_terminator),
    ("one-byte-drip", one_byte_drip),
    ("empty-line", empty_line),
    ("lone-cr-and-lf", lone_cr_and_lf),
    ("binary", binary),
    ("pipelined-1000", pipelined_1000),
    ("exact-limit", exact_limit),
    ("over-limit", over_limit),
    ("endless-line", endless_line),
    ("eof-without-tail", eof_without_tail),
    ("eof-with-tail", eof_with_tail),
    ("half-close-1mib", half_close_1mib),
    ("many-at-once", many_at_once),
    ("never-reads", never_reads),
    ("reset", reset),
];

/// Tries every row on the server at `address`; `progress` hears of each as it is done. A row that
/// fails does not keep the others from being tried; `stop`, once it is set, does.
pub fn check(address: SocketAddr, stop: &AtomicBool, progress: &mut dyn FnMut(&Row)) -> Vec<Row> {
    ROWS.iter()
        .take_while(|_| !stop.load(Ordering::Relaxed))
        .map(|(name, asks)| {
            let outcome = asks(&Server::new(address));
            let row = Row {
                name: (*name).to_owned(),
                passed: outcome.is_ok(),
                seen: outcome.map_or_else(|error| format!("{error:#}"), |()| String::new()),
            };
            progress(&row);
            row
        })
        .collect()
}

/// Whether a connection can be made at all.
///
/// # Errors
///
/// Where it cannot, so that a wrong address is not taken for a server that fails every row.
pub fn listens(address: SocketAddr) -> Result<()> {
    match TcpStream::connect_timeout(&address, STEP) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            bail!("nothing listens at {address}")
        }
        Err(error) => Err(error).with_context(|| format!("{address} cannot be reached")),
    }
}

/// A line comes back whole wherever two reads part it, between `\r` and `\n`, too. A server that
/// searches each read on its own is fast, and wrong as soon as the network is slow.
fn split_terminator(server: &Server) -> Result<()> {
    let client = server.connect()?;
    // One line at a time: a terminator that is missed between two lines is echoed all the same.
    for line in [&b"ab\r\n"[..], b"c\r\r\n"] {
        for cut in 1..line.len() {
            // The reply to the line ahead is the sign that the first part has been read.
            client.sends(&[b"ahead\r\n", &line[..cut]].concat())?;
            client.expects(b"ahead\r\n")?;
            client.sends(&line[cut..])?;
            client
                .expects(line)
                .with_context(|| format!("{} cut at {cut}", line.escape_ascii()))?;
        }
    }
    client.says(b"last")
}

/// Lines come back whole where every byte comes alone: a server may not count on whole lines in a
/// read, however many reads a line takes.
fn one_byte_drip(server: &Server) -> Result<()> {
    let lines = numbered(64, 16);
    let client = server.connect()?;
    for byte in lines.chunks(1) {
        client.sends(byte)?;
        // So that most of them are read alone.
        thread::sleep(Duration::from_micros(300));
    }
    client.expects(&lines)?;
    client.says(b"last")
}

/// An empty line is a line: to drop it saves a reply.
fn empty_line(server: &Server) -> Result<()> {
    let lines = b"\r\na\r\n\r\n\r\nb\r\n";
    let client = server.connect()?;
    client.sends(lines)?;
    client.expects(lines)?;
    client.says(b"last")
}

/// A `\r` or a `\n` alone is data: to search for one byte is less work than for two.
fn lone_cr_and_lf(server: &Server) -> Result<()> {
    let lines = b"a\rb\nc\r\r\n\n\r\n\r\r\n\n\r\r\nd\r\n";
    let client = server.connect()?;
    client.sends(lines)?;
    client.expects(lines)?;
    client.says(b"last")
}

/// Every other byte is data, too, in any order: no text, no encoding, no end at a zero.
fn binary(server: &Server) -> Result<()> {
    let values = (0..=u8::MAX).filter(|byte| !b"\r\n".contains(byte));
    let mut line: Vec<u8> = values.clone().chain(values.rev()).collect();
    line.extend(b"\r\n");
    let client = server.connect()?;
    client.sends(&line)?;
    client.expects(&line)?;
    client.says(b"last")
}

/// A thousand lines in one write: all come back, in order. The pipelined loads count on it.
fn pipelined_1000(server: &Server) -> Result<()> {
    let lines = numbered(1000 * 32, 32);
    let client = server.connect()?;
    client.sends(&lines)?;
    client.expects(&lines)?;
    client.says(b"last")
}

/// A line exactly at the limit comes back, wherever it is cut: the limit is the same for all, and
/// the terminator is not a part of it.
fn exact_limit(server: &Server) -> Result<()> {
    let mut line = vec![b'x'; LIMIT];
    line.extend(b"\r\n");
    let client = server.connect()?;
    for cut in [0, LIMIT, LIMIT + 1] {
        client.sends(&line[..cut])?;
        // No sign shows that this much was read. Where it was not, the row asks a little less.
        thread::sleep(Duration::from_millis(5));
        client.sends(&line[cut..])?;
        client
            .expects(&line)
            .with_context(|| format!("cut at {cut}"))?;
    }
    client.says(b"last")
}

/// A byte more, and the server ends the connection without an echo; others are still served. A
/// server without a limit can be made to use any memory, and saves a comparison.
fn over_limit(server: &Server) -> Result<()> {
    let mut line = vec![b'x'; LIMIT + 1];
    line.extend(b"\r\n");
    let client = server.connect()?;
    // That it cannot all be sent is no mistake: the server may have ended the connection already.
    let _ = client.sends(&line);
    client.expects_cut_off()?;
    server.serves_another()
}

/// The limit holds for a line whose terminator never comes: that is the one that fills the memory.
fn endless_line(server: &Server) -> Result<()> {
    let client = server.connect()?;
    let _ = client.sends(&vec![b'x'; 16 * LIMIT]);
    client.expects_cut_off()?;
    server.serves_another()
}

/// A client that says that it is done gets its replies, then the end: each line is owed one.
fn eof_without_tail(server: &Server) -> Result<()> {
    let client = server.connect()?;
    client.sends(b"abc\r\n")?;
    client.ends_sending()?;
    client.expects(b"abc\r\n")?;
    client.expects_eof()
}

/// What follows the last terminator is no line, and no byte of it comes back. Many a library hands
/// it out as a line, and the server has to look.
fn eof_with_tail(server: &Server) -> Result<()> {
    for tail in ["def", "def\r", "\r"] {
        let client = server.connect()?;
        client.sends(&[b"abc\r\n", tail.as_bytes()].concat())?;
        client.ends_sending()?;
        client
            .expects(b"abc\r\n")
            .and_then(|()| client.expects_eof())
            .with_context(|| format!("tail {tail:?}"))?;
    }
    Ok(())
}

/// The same with a megabyte of replies, none of them read before the client was done: the server
/// may not take the client's end for its own.
fn half_close_1mib(server: &Server) -> Result<()> {
    let lines = numbered(1 << 20, LONG_LINE);
    let client = server.connect()?;
    let (mut sent, mut answered) = (0, 0);
    loop {
        let count = client.sends_until_blocked(&lines[sent..], Duration::from_millis(100))?;
        sent += count;
        if sent == lines.len() {
            break;
        }
        // The server may stop reading while its replies are not read: then those are due first.
        let whole = sent - sent % LONG_LINE;
        ensure!(
            whole > answered,
            "reads no more after {sent} of {} bytes, with all of them answered",
            lines.len()
        );
        client.expects(&lines[answered..whole])?;
        answered = whole;
    }
    client.ends_sending()?;
    client.expects(&lines[answered..])?;
    client.expects_eof()
}

/// Two hundred connections at once, each with a line in two parts: each gets its own back.
fn many_at_once(server: &Server) -> Result<()> {
    const MANY: usize = MOST_CONNECTIONS;
    let at = |number: usize| format!("client {} of {MANY}", number + 1);
    let mut clients = Vec::new();
    for number in 0..MANY {
        // Served before the next one comes: how many may wait to be accepted is no question here.
        let client = server.connect().with_context(|| at(number))?;
        client.says(b"first").with_context(|| at(number))?;
        clients.push(client);
    }
    let each = |step: &dyn Fn(&Client, &[u8]) -> Result<()>| {
        clients.iter().enumerate().try_for_each(|(number, client)| {
            let line = format!("the line of client {number:03}\r\n");
            step(client, line.as_bytes()).with_context(|| at(number))
        })
    };
    each(&|client, line| client.sends(&line[..line.len() / 2]))?;
    each(&|client, line| client.sends(&line[line.len() / 2..]))?;
    each(&|client, line| client.expects(line))?;
    each(&|client, _| client.sends(b"last\r\n"))?;
    each(&|client, _| client.expects(b"last\r\n"))
}

/// A client that only writes is read no further once its replies are in the way, and nobody else
/// waits for it; when it does read, all is there. Flow control costs time, and a server that puts
/// every reply on a list saves that until its memory is gone.
fn never_reads(server: &Server) -> Result<()> {
    let block = numbered(1 << 20, LONG_LINE);
    let client = server.connect()?;
    let (mut sent, mut blocked) = (0, 0);
    // Twice, with another client served in between: a server that only waits for its turn on a
    // busy machine reads on.
    while blocked < 2 {
        let rest = &block[sent % block.len()..];
        let count = client
            .sends_until_blocked(rest, Duration::from_millis(150))
            .with_context(|| format!("after {sent} bytes, none of the replies read"))?;
        sent += count;
        ensure!(
            sent < TOO_MUCH,
            "read {} MiB while none of its replies was read",
            sent >> 20
        );
        if count < rest.len() {
            blocked = if count < CHUNK { blocked + 1 } else { 1 };
            server.serves_another()?;
        }
    }

    let whole = sent - sent % LONG_LINE;
    for from in (0..whole).step_by(block.len()) {
        client
            .expects(&block[..block.len().min(whole - from)])
            .with_context(|| format!("of {sent} bytes, after {from}"))?;
    }
    // The line that the last write cut is ended here.
    let cut = &block[whole % block.len()..][..LONG_LINE];
    client.sends(&cut[sent - whole..])?;
    client.expects(cut)?;
    client.says(b"last")
}

/// Clients that reset their connection, at once or within a line and with replies on their way, are
/// no reason to end: the loads do so, too, where they are cut short.
fn reset(server: &Server) -> Result<()> {
    const TIMES: usize = 20;
    let mut lines = numbered(64 * 1024, 64);
    lines.extend(b"and half a line");
    for _ in 0..TIMES {
        server.connect()?.resets()?;
        let client = server.connect()?;
        client.says(b"first")?;
        client.sends(&lines)?;
        client.resets()?;
    }
    // The server may come to know of a reset a little later than the next client comes.
    (0..TIMES).try_for_each(|_| server.serves_another())
}

/// Lines of `length` bytes each, terminator included, no two the same; `size` bytes in all.
fn numbered(size: usize, length: usize) -> Vec<u8> {
    let digits = length - 2;
    (0..size / length)
        .flat_map(|number| format!("{number:0digits$}\r\n").into_bytes())
        .collect()
}
