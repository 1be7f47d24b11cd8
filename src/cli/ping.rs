//! `synchat ping`: a client that sends a line, waits for its echo, pauses, and sends the next line.
//!
//! It is a [`Handler`], so it is also an example of a client.
//!
//! After a lost echo the client opens a new connection. A late echo can then not be taken for the
//! next one. One thread sends the lines. Another thread waits for signals, since the first one can
//! be blocked in a connect or a read.
//!
//! The library's deadline for a message begins with its first byte. So an echo that stops half-way
//! can take up to twice the timeout to be noticed.

use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use synchat::{Chat, Handler, HandlerResult, Limits, Signal, Signals, Terminator, connect};

use super::advice::advise;
use super::awaited_echo::{Awaited, distinct_line};
use super::complain;
use super::ping_options::PingSettings;
use super::supervisor::ONE_REQUEST;
use super::tally::{Loss, Tally, Verdict};

/// The server answered, but refused the connection.
const REFUSED: u8 = 3;

/// Sends all lines, and returns the exit code: 0 if every echo came back right, 3 if the server only
/// refused (0 with `--alive`), or else 1. An error is one line.
pub(crate) fn ping(settings: &PingSettings) -> Result<u8, String> {
    let signals = Signals::catch().map_err(|error| format!("cannot catch signals: {error}"))?;

    let (size, address) = (settings.line_size(), &settings.address);
    let tally = Tally::new(format!("{size} bytes from {address}"), settings.quiet);
    let tally = Arc::new(Mutex::new(tally));
    end_at_a_signal(signals, tally.clone(), settings.clone())?;

    let limits = limits(settings);
    let mut pings = Pings {
        settings,
        tally: &tally,
        number: 1,
        awaited: None,
    };

    let mut goes_on = true;
    while goes_on {
        let loss = match connect(address, Client(&mut pings), &limits) {
            Ok((_, summary)) => {
                let awaited = pings.awaited.take();
                awaited.map(|echo| echo.loss(&summary.reason, settings.timeout))
            }
            Err(error) => Some(Loss::NotSent(advise(&error))),
        };
        // Without a loss the connection ended after the last echo.
        goes_on = loss.is_some_and(|why| pings.note_outcome(Err(why)));
    }

    finish(&tally, settings)
}

/// Prints the summary, and says on standard error why the server is not well, if standard output does
/// not say it. Returns the exit code.
fn finish(tally: &Mutex<Tally>, settings: &PingSettings) -> Result<u8, String> {
    let address = &settings.address;
    let mut tally = lock(tally);
    let verdict = tally.finish()?;
    let is_quiet = tally.is_quiet();
    drop(tally);

    match verdict {
        Verdict::Good => Ok(0),
        Verdict::Refused(why) => {
            complain(&format!("ping {address}: {why}"));
            Ok(if settings.alive { 0 } else { REFUSED })
        }
        Verdict::Bad(why) => {
            if is_quiet {
                complain(&format!("ping {address}: {why}"));
            }
            Ok(1)
        }
    }
}

/// Ends the process with the summary at the first signal.
///
/// A second signal ends it without the summary, since perhaps nobody reads standard output. GNU
/// `timeout` sends two signals for one, so the second one must come some time later.
fn end_at_a_signal(
    mut signals: Signals,
    tally: Arc<Mutex<Tally>>,
    settings: PingSettings,
) -> Result<(), String> {
    const SELDOM: Duration = Duration::from_secs(3600);

    let is_stop = |signal| matches!(signal, Some(Signal::Stop | Signal::Hangup));
    let end = move || match finish(&tally, &settings) {
        Ok(code) => process::exit(code.into()),
        Err(message) => {
            complain(&message);
            process::exit(1)
        }
    };
    let spawn = |name: &str| thread::Builder::new().name(name.to_owned());

    let watch = move || {
        while !is_stop(signals.wait(SELDOM)) {}
        let first = Instant::now();
        if spawn("end").spawn(end).is_ok() {
            while !is_stop(signals.wait(SELDOM)) || first.elapsed() < ONE_REQUEST {}
        }
        process::exit(1)
    };

    spawn("signals")
        .spawn(watch)
        .map(drop)
        .map_err(|error| format!("cannot start a thread: {error}"))
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Allows a reply of any length, since it is counted and compared but not kept. The timeout ends it.
fn limits(settings: &PingSettings) -> Limits {
    Limits {
        max_message: u64::MAX,
        idle_timeout: Some(settings.timeout),
        message_timeout: Some(settings.timeout),
        write_timeout: Some(settings.timeout),
        connect_timeout: settings.timeout,
        // The server has already read all that we sent.
        linger_time: Duration::ZERO,
        ..Limits::default()
    }
}

/// The pings of one run, over any number of connections.
struct Pings<'a> {
    settings: &'a PingSettings,
    tally: &'a Mutex<Tally>,
    /// The number of the line that was sent, or comes next. The first is 1.
    number: u64,
    awaited: Option<Awaited>,
}

impl Pings<'_> {
    /// Notes the outcome of a line. Returns true if there is another line, after the pause before it.
    fn note_outcome(&mut self, outcome: Result<Duration, Loss>) -> bool {
        let is_printed = lock(self.tally).add(self.number, outcome);
        self.number += 1;

        let goes_on = is_printed && self.number <= self.settings.count;
        if goes_on {
            thread::sleep(self.settings.interval);
        }

        goes_on
    }

    fn send(&mut self, chat: &mut Chat) -> HandlerResult {
        let (size, terminator) = (self.settings.line_size(), &self.settings.terminator);
        let end = match terminator {
            Terminator::Bytes(end) => &**end,
            // The echo is then known by its length.
            Terminator::Length(_) | Terminator::None => {
                chat.set_terminator(size);
                &[]
            }
        };

        let mut line = distinct_line(self.number, size as usize - end.len(), end);
        line.extend_from_slice(end);

        let since = Instant::now();
        chat.push(&line)?;
        lock(self.tally).sent();

        line.truncate(line.len() - end.len());
        self.awaited = Some(Awaited::new(line, since));
        Ok(())
    }
}

/// One connection's side of the pings.
struct Client<'a, 'b>(&'a mut Pings<'b>);

impl Handler for Client<'_, '_> {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        chat.set_terminator(self.0.settings.terminator.clone());
        self.0.send(chat)
    }

    fn collect_incoming_data(&mut self, data: &[u8], chat: &mut Chat) -> HandlerResult {
        if let Some(echo) = &mut self.0.awaited {
            echo.take(data);
            if echo.is_hopeless() || echo.age() > self.0.settings.timeout {
                chat.close_when_done();
            }
        }
        Ok(())
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        let timeout = self.0.settings.timeout;
        let Some(echo) = &mut self.0.awaited else {
            return Ok(());
        };

        let time = echo.age();
        if !echo.is_right() || time > timeout {
            chat.close_when_done();
            return Ok(());
        }

        self.0.awaited = None;
        if self.0.note_outcome(Ok(time)) {
            self.0.send(chat)
        } else {
            chat.close_when_done();
            Ok(())
        }
    }
}
