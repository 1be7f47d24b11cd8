//! The life of one connection on its thread: made, talked over, closed, logged, counted.
//!
//! A handler is foreign code. It can panic whenever it is called or dropped, or when its error is
//! printed. So can the producers that it has queued. Each such call is guarded by itself: everything
//! after it still happens, and only this conversation ends.

use std::io::Read;
use std::mem;
use std::time::{Duration, Instant};

use super::place::Admitted;
use super::report::Ending;
use super::yielding::Turns;
use crate::conversation::{
    CloseReason, Conversation, FillScanner, Handler, Limits, LiveTraffic, Summary, Traffic, guarded,
};
use crate::framing::Scanner;
use crate::log_target::SESSION;
use crate::net::{Deadlines, Peer, TimedWriter};

/// Runs a conversation to its end. The caller then gives the connection's place back.
pub(super) fn serve<H: Handler>(
    admitted: &mut Admitted,
    peer: &Peer,
    make_handler: impl FnOnce(&Peer) -> H,
    limits: &Limits,
) -> Summary {
    let started = Instant::now();
    admitted.begin();
    log::info!(target: SESSION, "conn_made: client_address={peer}");

    let summary = converse(admitted, peer, make_handler, limits);
    let parting = summary.reason.parting();
    admitted.connection().stream.finish(parting, limits);

    log_end(peer, &summary, started.elapsed());
    admitted.end(Ending::from(&summary));
    summary
}

/// Talks, and closes the handler.
#[inline(never)]
fn converse<H: Handler>(
    admitted: &Admitted,
    peer: &Peer,
    make_handler: impl FnOnce(&Peer) -> H,
    limits: &Limits,
) -> Summary {
    let stream = &admitted.connection().stream;
    let filler = Publishing {
        deadlines: Deadlines::new(stream.socket(), limits, Some(admitted.stop_event())),
        traffic: &admitted.connection().traffic,
        turns: Turns::new(admitted.yielding()),
        bytes_out: 0,
    };
    let writer = TimedWriter::new(stream.socket(), limits);
    let mut conversation = Conversation::new(stream.socket(), writer, filler, limits);

    // Talk.
    let mut handler = None;
    let talked = guarded(|| conversation.talk(handler.insert(make_handler(peer))));
    let reason = talked.unwrap_or_else(|panic| {
        let _ = guarded(|| conversation.flush_after_panic());
        CloseReason::HandlerPanic(panic)
    });
    let reason = as_forced(reason, admitted.is_forced());

    // The peer finds our end of the stream at once, however long the handler takes to close.
    admitted.announce_end();
    stream.end_output(reason.parting());

    // Close. Each step can panic, and the other still happens. If a producer that is left panics when it
    // is dropped, its queue catches that.
    let closed = [
        guarded(|| {
            if let Some(handler) = &mut handler {
                handler.handle_close(&reason);
            }
        }),
        guarded(|| handler = None),
    ];
    for panic in closed.into_iter().filter_map(Result::err) {
        log_panic(peer, &panic);
    }

    let traffic = conversation.traffic;
    Summary { reason, traffic }
}

// What these two need would be on the stack of every open connection, if they were part of the others.

#[inline(never)]
fn log_panic(peer: &Peer, panic: &str) {
    log::warn!(
        target: SESSION,
        "a handler panicked while it was closed: client_address={peer} panic={panic:?}"
    );
}

#[inline(never)]
fn log_end(peer: &Peer, Summary { reason, traffic }: &Summary, duration: Duration) {
    let shown = guarded(|| reason.to_string()).unwrap_or_else(|_| reason.name().to_owned());
    let seconds = duration.as_secs_f64();
    log::info!(
        target: SESSION,
        "conn_closed: client_address={peer} reason={shown} {traffic} duration={seconds:.6}"
    );
}

/// Returns `Forced` if the server's own shutdown of the socket caused this end. Otherwise returns the
/// reason.
fn as_forced(reason: CloseReason, is_forced: bool) -> CloseReason {
    use CloseReason::{EndOfStream, Forced, MidMessage, ResetByPeer, TransportError};

    match reason {
        EndOfStream | MidMessage { .. } | ResetByPeer | TransportError(_) if is_forced => Forced,
        reason => reason,
    }
}

/// Publishes the traffic before each read. After a reply, lets others run.
struct Publishing<'a> {
    deadlines: Deadlines<'a>,
    traffic: &'a LiveTraffic,
    turns: Turns<'a>,
    /// The output at the last read.
    bytes_out: u64,
}

impl<R: Read> FillScanner<R> for Publishing<'_> {
    fn fill(&mut self, scanner: &mut Scanner<R>, traffic: &Traffic) -> Result<usize, CloseReason> {
        self.traffic.publish(traffic);
        if mem::replace(&mut self.bytes_out, traffic.bytes_out) < traffic.bytes_out {
            self.turns.after_reply(traffic.messages);
        }
        self.deadlines.fill(scanner, traffic)
    }
}
