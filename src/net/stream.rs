//! A connected stream socket: TCP over IPv4 and IPv6, or a Unix socket.
//!
//! The same system calls read, write and shut down a stream socket of every family. So the descriptor
//! of a Unix stream is moved into a `TcpStream` once it is connected.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::address::Address;
use super::connecting::{connect_to_host, connect_to_path};
use super::sys;
use crate::conversation::{Limits, Parting};

/// A connected stream socket.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: TcpStream,
    /// It was shut down by force. Input that arrived before can still be read.
    is_aborted: AtomicBool,
}

impl Stream {
    /// Connects to the first address of a host that answers. The look-up of the host's name and each
    /// address get this time.
    pub(crate) fn connect(address: &Address, timeout: Duration) -> io::Result<Self> {
        match address {
            Address::Unix(path) => connect_to_path(path, timeout).map(Self::from),
            Address::Inherited => Err(io::Error::new(
                ErrorKind::InvalidInput,
                "a listening socket is not a peer",
            )),
            Address::Tcp(_) | Address::Host { .. } => {
                connect_to_host(address, timeout).map(Self::from)
            }
        }
    }

    /// Returns the socket, which can be read and written through a shared reference.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Makes every read and write end, also those that wait now. Unsent output is given up.
    pub(crate) fn abort(&self) {
        self.is_aborted.store(true, Ordering::Relaxed);
        self.give_up_output();
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Makes the close a reset, so the kernel does not keep unsent output.
    fn give_up_output(&self) {
        let _ = sys::reset_on_close(self.socket.as_fd());
    }

    /// Ends our output: the peer finds the end of the stream behind it. Call [`finish`](Self::finish)
    /// later, with the same parting.
    pub(crate) fn end_output(&self, parting: Parting) {
        match parting {
            Parting::Linger | Parting::Leave => drop(self.socket.shutdown(Shutdown::Write)),
            Parting::GiveUp => self.give_up_output(),
        }
    }

    /// Waits, if it must, until this socket can be closed without harm to our output.
    pub(crate) fn finish(&self, parting: Parting, limits: &Limits) {
        match parting {
            Parting::Linger => self.linger(limits),
            Parting::Leave => self.leave_output(limits),
            Parting::GiveUp => {}
        }
    }

    /// Returns true if the kernel holds output that the peer does not have yet. Only Linux tells.
    pub(crate) fn has_unsent(&self) -> bool {
        sys::has_unsent(self.socket.as_fd())
    }

    /// Leaves unsent output to the kernel, for a peer that may still read it, but not for longer than
    /// a write may take.
    fn leave_output(&self, limits: &Limits) {
        if let Some(timeout) = limits.write_timeout
            && self.has_unsent()
        {
            // A Unix socket has no such option. It needs none: the peer holds the output.
            let _ = sys::bound_unsent(self.socket.as_fd(), timeout);
        }
    }

    /// Reads and drops the peer's input until it ends its own output, within the limits.
    ///
    /// If a socket is closed with unread input, the kernel sends a reset. The peer's kernel may then
    /// drop our last reply before the peer has read it, and ours may drop output that it has not sent
    /// yet. A peer that sends much faster than it reads is slowed down, so that the limit of bytes
    /// lasts for the limit of time.
    ///
    /// A peer that has not read our output by then does not get it: it is given up.
    fn linger(&self, limits: &Limits) {
        if !self.drop_input_until_the_end(limits) && self.has_unsent() {
            self.give_up_output();
        }
    }

    /// Returns true if the peer has ended its output.
    // Inlined, its scratch space would be a page of stack for every connection, and most never get
    // here.
    #[inline(never)]
    fn drop_input_until_the_end(&self, limits: &Limits) -> bool {
        let started = Instant::now();
        let slowest = limits.linger_time.min(Duration::from_secs(2));
        let mut dropped = 0;
        let mut scratch = [0; 4096];

        while dropped < limits.linger_bytes && !self.is_aborted.load(Ordering::Relaxed) {
            let left = limits.linger_time.saturating_sub(started.elapsed());
            if left.is_zero() || self.socket.set_read_timeout(Some(left)).is_err() {
                return false;
            }

            match (&self.socket).read(&mut scratch) {
                Ok(0) => return true,
                Ok(length) => dropped += length as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }

            // Slow down a peer that is ahead of the pace.
            let pace = slowest.mul_f64((dropped as f64 / limits.linger_bytes as f64).min(1.0));
            let early = pace.saturating_sub(started.elapsed());
            thread::sleep(early.min(Duration::from_millis(50)));
        }
        false
    }

    /// Sends one line to a peer that is refused, and ends our output. It waits for nothing: a socket
    /// that was never written to has room for a line.
    pub(crate) fn dismiss(&self, line: &[u8]) {
        let _ = self.socket.set_nonblocking(true);
        let _ = (&self.socket).write(line);
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Drops input of a dismissed peer, up to 64 KiB. Returns true if the peer may send more.
    pub(crate) fn drop_input(&self) -> bool {
        let mut scratch = [0; 4096];

        for _ in 0..16 {
            match (&self.socket).read(&mut scratch) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        // Replies leave in batches already. Nagle's algorithm would wait for more, and delay them.
        let _ = stream.set_nodelay(true);
        Self {
            socket: stream,
            is_aborted: AtomicBool::new(false),
        }
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        // A Unix socket has no Nagle's algorithm.
        Self {
            socket: OwnedFd::from(stream).into(),
            is_aborted: AtomicBool::new(false),
        }
    }
}
