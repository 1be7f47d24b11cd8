//! The life of one connection on a server's thread: made, talked over, closed, logged, counted.
//!
//! A handler is foreign code that may panic wherever it is called, dropped, or its error printed;
//! so may the producers that it queued. Each such place is guarded on its own, so that whatever
//! panics, what comes behind it still happens, and only this connection ends.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::close_reason::CloseReason;
use crate::connection::{Connection, Summary};
use crate::deadlines::{Deadlines, TimedWriter};
use crate::handler::Handler;
use crate::limits::Limits;
use crate::net::Peer;
use crate::registry::Slot;

/// Runs a conversation to its end, and gives the connection's place back.
pub(crate) fn serve<H: Handler>(
    mut slot: Slot,
    peer: &Peer,
    make_handler: impl FnOnce(&Peer) -> H,
    limits: &Limits,
) -> Summary {
    let started = Instant::now();
    slot.begin();
    log::info!("conn_made: client_address={peer}");

    let socket = slot.stream().socket();
    let mut deadlines = Deadlines::new(socket, limits, Some(slot.stop_event()));
    let mut connection = Connection::new(socket, TimedWriter::new(socket, limits), limits);
    let mut handler = None;
    let reason = guarded(|| {
        connection.talk(handler.insert(make_handler(peer)), |scanner, traffic| {
            slot.traffic().publish(traffic);
            deadlines.fill(scanner)
        })
    });
    let reason = slot.judge(reason.unwrap_or_else(|panic| {
        let _ = guarded(|| connection.flush_what_is_left());
        CloseReason::HandlerPanic(panic)
    }));
    let traffic = connection.traffic;
    let closed = [
        guarded(|| {
            if let Some(handler) = &mut handler {
                handler.handle_close(&reason);
            }
        }),
        guarded(|| drop(handler)),
        guarded(|| drop(connection)),
    ];
    for panic in closed.into_iter().filter_map(Result::err) {
        log::warn!("a handler panicked while it was closed: client_address={peer} panic={panic:?}");
    }
    if reason.leaves_peer_talking() {
        slot.stream().finish(limits);
    }

    let shown = guarded(|| reason.to_string()).unwrap_or_else(|_| reason.name().to_owned());
    let seconds = started.elapsed().as_secs_f64();
    log::info!("conn_closed: client_address={peer} reason={shown} {traffic} duration={seconds:.6}");
    let summary = Summary { reason, traffic };
    slot.conclude(&summary);
    summary
}

/// Calls what may panic. The error is the panic's message.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let message = panic_message(&*panic);
        // What was thrown may itself panic when it is dropped. What that throws is not dropped.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            mem::forget(again);
        }
        message
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of an unknown kind")
        .to_owned()
}
