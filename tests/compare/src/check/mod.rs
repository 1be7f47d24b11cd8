//! Checks from outside that a server is a correct line echo, before its speed counts.
//!
//! A server that does less work than the others is faster, so all servers are checked by the same
//! rows first. Each row has its own connections and a few seconds. Rows run one after the other,
//! the rough ones last, so one mistake shows as one failed row wherever possible. The cost is that
//! a server that never answers takes half a minute.
//!
//! From outside nobody can see how a server reads the bytes of one write. Where a cut matters, the
//! row waits for a sign that the server has read the first part, or else pauses a little.

mod client;

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::record::Row;
use client::{CHUNK, Client, STEP, Server};

/// The longest line that a server must accept, without its terminator.
pub const LIMIT: usize = 64 * 1024;

/// The most connections that a row has open at once.
pub const MOST_CONNECTIONS: usize = 200;

/// The length of the lines that are sent by the megabyte.
const LONG_LINE: usize = 4096;

/// A server must not read this much from a client that never reads. It is more than the kernel's
/// buffers hold, and little compared with a machine's memory.
const TOO_MUCH: usize = 64 << 20;

/// Tries one thing. An error says what was seen instead.
type Asks = fn(&Server) -> Result<()>;

/// The rows in their order, with their fixed names.
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

/// Tries every row on the server at `address`, and passes each result to `progress`. After a failed
/// row it goes on. Once `stop` is set, it ends.
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

/// Checks that a connection can be made at all.
///
/// # Errors
///
/// Returns an error if it cannot. Otherwise a wrong address would look like a server that fails
/// every row.
pub fn listens(address: SocketAddr) -> Result<()> {
    match TcpStream::connect_timeout(&address, STEP) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            bail!("nothing listens at {address}")
        }
        Err(error) => Err(error).with_context(|| format!("cannot reach {address}")),
    }
}

/// A line comes back whole wherever it is split between two reads, even between `\r` and `\n`. A
/// server that searches each read separately is fast, but wrong on a slow network.
fn split_terminator(server: &Server) -> Result<()> {
    let client = server.connect()?;

    // One line at a time: a terminator missed between two lines would be echoed anyway.
    for line in [&b"ab\r\n"[..], b"c\r\r\n"] {
        for cut in 1..line.len() {
            // The reply to the line "ahead" shows that the first part has been read.
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

/// Lines come back whole if every byte arrives alone. A server must not expect a whole line in one
/// read.
fn one_byte_drip(server: &Server) -> Result<()> {
    let lines = numbered(64, 16);
    let client = server.connect()?;

    for byte in lines.chunks(1) {
        client.sends(byte)?;
        // With a pause, the server reads most bytes alone.
        thread::sleep(Duration::from_micros(300));
    }

    client.expects(&lines)?;
    client.says(b"last")
}

/// An empty line is a line. A server that drops it saves a reply.
fn empty_line(server: &Server) -> Result<()> {
    let lines = b"\r\na\r\n\r\n\r\nb\r\n";
    let client = server.connect()?;
    client.sends(lines)?;
    client.expects(lines)?;
    client.says(b"last")
}

/// A single `\r` or `\n` is data. Searching for one byte would be less work than for two.
fn lone_cr_and_lf(server: &Server) -> Result<()> {
    let lines = b"a\rb\nc\r\r\n\n\r\n\r\r\n\n\r\r\nd\r\n";
    let client = server.connect()?;
    client.sends(lines)?;
    client.expects(lines)?;
    client.says(b"last")
}

/// Every other byte is data, too, in any order. Lines are not text, have no encoding, and do not
/// end at a zero byte.
fn binary(server: &Server) -> Result<()> {
    let values = (0..=u8::MAX).filter(|byte| !b"\r\n".contains(byte));
    let mut line: Vec<u8> = values.clone().chain(values.rev()).collect();
    line.extend(b"\r\n");

    let client = server.connect()?;
    client.sends(&line)?;
    client.expects(&line)?;
    client.says(b"last")
}

/// A thousand lines in one write all come back, in order. The pipelined workloads rely on it.
fn pipelined_1000(server: &Server) -> Result<()> {
    let lines = numbered(1000 * 32, 32);
    let client = server.connect()?;
    client.sends(&lines)?;
    client.expects(&lines)?;
    client.says(b"last")
}

/// A line exactly at the limit comes back, wherever it is cut. The limit is the same for all
/// servers, and does not include the terminator.
fn exact_limit(server: &Server) -> Result<()> {
    let mut line = vec![b'x'; LIMIT];
    line.extend(b"\r\n");

    let client = server.connect()?;
    for cut in [0, LIMIT, LIMIT + 1] {
        client.sends(&line[..cut])?;
        // No sign shows that the server has read this much. If it has not, the row only tests less.
        thread::sleep(Duration::from_millis(5));
        client.sends(&line[cut..])?;
        client
            .expects(&line)
            .with_context(|| format!("cut at {cut}"))?;
    }

    client.says(b"last")
}

/// A line one byte longer ends the connection without an echo, and other clients are still served.
/// A server without a limit saves a comparison, but a client can fill its memory.
fn over_limit(server: &Server) -> Result<()> {
    let mut line = vec![b'x'; LIMIT + 1];
    line.extend(b"\r\n");

    let client = server.connect()?;
    // The server may end the connection before all is sent, so a failed write is no mistake.
    let _ = client.sends(&line);
    client.expects_cut_off()?;
    server.serves_another()
}

/// The limit also holds for a line whose terminator never comes. That line would fill the memory.
fn endless_line(server: &Server) -> Result<()> {
    let client = server.connect()?;
    let _ = client.sends(&vec![b'x'; 16 * LIMIT]);
    client.expects_cut_off()?;
    server.serves_another()
}

/// A client that half-closes gets all its replies, then the end of the stream.
fn eof_without_tail(server: &Server) -> Result<()> {
    let client = server.connect()?;
    client.sends(b"abc\r\n")?;
    client.ends_sending()?;
    client.expects(b"abc\r\n")?;
    client.expects_eof()
}

/// Bytes after the last terminator are not a line, and must not come back. Many libraries return
/// them as a line, so the server must look.
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

/// Sends a megabyte of lines, half-closes, and only then reads the replies. The server must not
/// stop because the client has finished sending.
fn half_close_1mib(server: &Server) -> Result<()> {
    let lines = numbered(1 << 20, LONG_LINE);
    let client = server.connect()?;
    let (mut sent, mut answered) = (0, 0);

    // Send everything, and read as little as possible.
    loop {
        let count = client.sends_until_blocked(&lines[sent..], Duration::from_millis(100))?;
        sent += count;
        if sent == lines.len() {
            break;
        }

        // The server may stop reading until its replies are read. Then read those first.
        let whole = sent - sent % LONG_LINE;
        ensure!(
            whole > answered,
            "stopped reading after {sent} of {} bytes, although it had answered all of them",
            lines.len()
        );
        client.expects(&lines[answered..whole])?;
        answered = whole;
    }

    // Half-close, and read the rest.
    client.ends_sending()?;
    client.expects(&lines[answered..])?;
    client.expects_eof()
}

/// Two hundred connections at once each send a line in two parts, and each gets its own line back.
fn many_at_once(server: &Server) -> Result<()> {
    const MANY: usize = MOST_CONNECTIONS;
    let at = |number: usize| format!("client {} of {MANY}", number + 1);
    let mut clients = Vec::new();
    for number in 0..MANY {
        // Each client is served before the next one connects, so the backlog does not matter here.
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

/// A server stops reading from a client that does not read its replies. Meanwhile it serves others.
/// When the client reads, all replies are there. Flow control costs time; a server that queues
/// every reply saves that time until its memory is gone.
fn never_reads(server: &Server) -> Result<()> {
    let block = numbered(1 << 20, LONG_LINE);
    let client = server.connect()?;
    let (mut sent, mut blocked) = (0, 0);

    // The client must block twice, with another client served in between. A server that was only
    // delayed on a busy machine goes on reading.
    while blocked < 2 {
        let rest = &block[sent % block.len()..];
        let count = client
            .sends_until_blocked(rest, Duration::from_millis(150))
            .with_context(|| format!("after {sent} bytes, with no reply read"))?;
        sent += count;

        ensure!(
            sent < TOO_MUCH,
            "read {} MiB from a client that read no reply",
            sent >> 20
        );

        if count < rest.len() {
            blocked = if count < CHUNK { blocked + 1 } else { 1 };
            server.serves_another()?;
        }
    }

    // Now the client reads. All replies must be there.
    let whole = sent - sent % LONG_LINE;
    for from in (0..whole).step_by(block.len()) {
        client
            .expects(&block[..block.len().min(whole - from)])
            .with_context(|| format!("of {sent} bytes, after {from}"))?;
    }

    // Complete the line that the last write cut.
    let cut = &block[whole % block.len()..][..LONG_LINE];
    client.sends(&cut[sent - whole..])?;
    client.expects(cut)?;
    client.says(b"last")
}

/// A server survives clients that reset their connection, at once or within a line with replies on
/// their way. The load generator does the same when it is cut short.
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

    // The server may notice a reset only after the next client has connected.
    (0..TIMES).try_for_each(|_| server.serves_another())
}

/// Returns `size` bytes of lines, all different. Each has `length` bytes with its terminator.
fn numbered(size: usize, length: usize) -> Vec<u8> {
    let digits = length - 2;
    (0..size / length)
        .flat_map(|number| format!("{number:0digits$}\r\n").into_bytes())
        .collect()
}
