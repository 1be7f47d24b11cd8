//! The client of a row. It sends bytes, and reports any answer that it did not expect.
//!
//! It makes blocking calls on one socket, without a thread. Each call has a timeout: [`STEP`] for
//! one wait, [`ROW`] for all waits of a row together. A server that sends a byte now and then
//! cannot hold the check up. The cost is one more system call for each read and write. On a machine
//! so busy that a server does not run for [`STEP`], a correct server fails.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// The timeout of one read or write. It is far above what a server needs on a busy machine.
pub const STEP: Duration = Duration::from_secs(2);

/// The timeout of a whole row.
pub const ROW: Duration = Duration::from_secs(5);

/// The most bytes of one write. A chunk that is not written whole within a wait counts as blocked:
/// a few bytes still fit into buffers that are nearly full.
pub const CHUNK: usize = 128 * 1024;

/// A server that ends a conversation may say why in this many bytes.
const COMPLAINT: usize = 256;

/// The server as seen by one row.
pub struct Server {
    address: SocketAddr,
    /// The deadline of the row.
    end: Instant,
}

impl Server {
    /// Starts the row's time.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            end: Instant::now() + ROW,
        }
    }

    pub fn connect(&self) -> Result<Client> {
        let stream = TcpStream::connect_timeout(&self.address, left(self.end, STEP)?)
            .map_err(|error| anyhow::anyhow!("no connection: {}", in_words(&error)))?;

        // A row that cuts its bytes in two needs them to leave in two packets.
        stream.set_nodelay(true)?;
        Ok(Client {
            stream,
            end: self.end,
        })
    }

    /// Checks that a new client still gets its line, whatever the row did to the server.
    pub fn serves_another(&self) -> Result<()> {
        self.connect()
            .and_then(|client| client.says(b"another"))
            .context("another client")
    }
}

/// One connection of a row.
pub struct Client {
    stream: TcpStream,
    end: Instant,
}

/// The result of a read.
enum Got {
    Bytes(usize),
    /// The server ended the stream.
    End,
    /// The server reset the connection.
    Reset,
    /// The server was silent for [`STEP`].
    Nothing,
}

impl Client {
    /// Sends all of `bytes`, in one write up to [`CHUNK`].
    pub fn sends(&self, bytes: &[u8]) -> Result<()> {
        let sent = self.sends_until_blocked(bytes, STEP)?;
        ensure!(
            sent == bytes.len(),
            "stopped reading after {sent} of {} bytes",
            bytes.len()
        );
        Ok(())
    }

    /// Sends without reading, until all is sent or a chunk does not fit within `patience`. Returns
    /// the number of bytes sent.
    pub fn sends_until_blocked(&self, bytes: &[u8], patience: Duration) -> Result<usize> {
        let mut sent = 0;
        for chunk in bytes.chunks(CHUNK) {
            let patience = left(self.end, patience)?;

            self.stream.set_write_timeout(Some(patience))?;
            let went = match (&self.stream).write(chunk) {
                Ok(count) => count,
                Err(error) if is_timeout(&error) => 0,
                Err(error) => bail!(
                    "{} after {sent} of {} bytes were sent",
                    in_words(&error),
                    bytes.len()
                ),
            };

            sent += went;

            // A blocking write is cut short by its timeout or by a signal. The signals that this
            // program handles end it anyway.
            if went < chunk.len() {
                break;
            }
        }
        Ok(sent)
    }

    /// Half-closes the connection: sends no more, and can still receive.
    pub fn ends_sending(&self) -> Result<()> {
        self.stream
            .shutdown(Shutdown::Write)
            .map_err(|error| anyhow::anyhow!("{} before all was answered", in_words(&error)))
    }

    /// Receives bytes and checks that they are these.
    pub fn expects(&self, expected: &[u8]) -> Result<()> {
        let mut received = 0;
        self.compares(expected, &mut received)
            .map_err(|error| match received {
                0 => error,
                _ => error.context(so_far(expected, received)),
            })
    }

    fn compares(&self, expected: &[u8], received: &mut usize) -> Result<()> {
        let mut buffer = vec![0; expected.len().min(64 * 1024)];
        while *received < expected.len() {
            let rest = &expected[*received..];
            let room = buffer.len().min(rest.len());
            let count = match self.receive(&mut buffer[..room])? {
                Got::Bytes(count) => count,
                Got::End => bail!("closed"),
                Got::Reset => bail!("reset"),
                Got::Nothing => bail!("no answer within {STEP:?}"),
            };

            let (got, wanted) = (&buffer[..count], &rest[..count]);
            if let Some(at) = (0..count).find(|&at| got[at] != wanted[at]) {
                bail!(
                    "byte {} of {} differs: got {:#04x}, expected {:#04x}",
                    *received + at + 1,
                    expected.len(),
                    got[at],
                    wanted[at]
                );
            }

            *received += count;
        }
        Ok(())
    }

    /// Sends a line and checks that it comes back. `line` has no terminator.
    ///
    /// At the end of a row it shows that no unexpected bytes came before.
    pub fn says(&self, line: &[u8]) -> Result<()> {
        let line = [line, b"\r\n"].concat();
        self.sends(&line)?;
        self.expects(&line)
    }

    /// Checks that the server ends the stream in order and sends no further byte.
    pub fn expects_eof(&self) -> Result<()> {
        let mut buffer = [0; 32];
        match self.receive(&mut buffer)? {
            Got::End => Ok(()),
            Got::Bytes(count) => bail!("got {} where the end was due", shown(&buffer[..count])),
            Got::Reset => bail!("reset where the end was due"),
            Got::Nothing => bail!("still open after {STEP:?}"),
        }
    }

    /// Checks that the server ends the connection in any way, with at most one short line before.
    pub fn expects_cut_off(&self) -> Result<()> {
        // Receive up to the end.
        let mut buffer = [0; COMPLAINT + 1];
        let mut received = 0;
        loop {
            match self.receive(&mut buffer[received..])? {
                Got::Bytes(count) => received += count,
                Got::End | Got::Reset => break,
                Got::Nothing => bail!("still open after {STEP:?}"),
            }
            ensure!(
                received <= COMPLAINT,
                "got {} and more where the end was due",
                shown(&buffer[..32])
            );
        }

        // One line may say why.
        let complaint = &buffer[..received];
        let ends = complaint.iter().filter(|&&byte| byte == b'\n').count();
        ensure!(
            ends <= 1,
            "got {ends} lines where the end was due: {}",
            shown(complaint)
        );
        Ok(())
    }

    /// Ends the connection with a reset. Bytes on their way in either direction are lost.
    pub fn resets(self) -> Result<()> {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<Got> {
        loop {
            self.stream.set_read_timeout(Some(left(self.end, STEP)?))?;
            return match (&self.stream).read(buffer) {
                Ok(0) => Ok(Got::End),
                Ok(count) => Ok(Got::Bytes(count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(Got::Reset),
                // The row's deadline may have cut the wait short.
                Err(error) if is_timeout(&error) => left(self.end, STEP).map(|_| Got::Nothing),
                Err(error) => Err(error.into()),
            };
        }
    }
}

/// Returns the time left until `end`, at most `patience`. Fails if none is left.
fn left(end: Instant, patience: Duration) -> Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    ensure!(!left.is_zero(), "not done within {ROW:?}");
    Ok(left.min(patience))
}

/// Says how much of an answer came: in lines if there are several, else in bytes.
fn so_far(expected: &[u8], received: usize) -> String {
    let lines = |bytes: &[u8]| bytes.windows(2).filter(|pair| pair == b"\r\n").count();
    match lines(expected) {
        0 | 1 => format!("after {received} of {} bytes", expected.len()),
        all => format!("after {} of {all} lines", lines(&expected[..received])),
    }
}

/// Escapes a server's bytes for a terminal.
fn shown(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

/// A socket's timeout shows as one or the other, depending on system and call.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "refused".to_owned(),
        ErrorKind::ConnectionReset => "reset".to_owned(),
        ErrorKind::BrokenPipe | ErrorKind::NotConnected => "closed".to_owned(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("timed out after {STEP:?}"),
        _ => error.to_string(),
    }
}
