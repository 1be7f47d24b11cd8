//! A queue in front of the log's sink, so that a slow sink never blocks a thread that logs.
//!
//! A thread that logs puts its line into the queue and goes on. One thread takes the lines out and
//! writes them, several at a time and each whole. If the sink is too slow, for example a pipe that
//! nobody reads, the queue fills. Further lines are then dropped and counted, and a line says how
//! many as soon as the sink takes lines again.
//!
//! At the end of the process the last lines matter most. So from the order to stop on, a thread that
//! logs waits a little for room. The very last line has a place even if the queue is full.
//!
//! The cost of the queue is one wake-up of its thread for a line that comes alone. When the process
//! is killed or aborts, the lines in the queue are lost.

use std::cell::Cell;
use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::log_backlog::{Backlog, Duty, Stage, Work, cut};

/// The longest wait of a flush. It is enough for a slow reader, and short for an exit when nobody
/// reads.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// The rest of the thread after it has written all lines.
///
/// A line that comes meanwhile needs no wake-up. With a wake-up for each line, one connection would
/// run at half its speed under `-v`. The queue holds more than can be logged in that time.
const REST: Duration = Duration::from_micros(100);

/// A sink whose write takes longer than this stands still, and nobody waits for it.
const STANDSTILL: Duration = Duration::from_millis(250);

thread_local! {
    /// The time that this thread can still wait for room, in all, while the server stops.
    static PATIENCE: Cell<Duration> = const { Cell::new(Duration::from_secs(1)) };
}

/// From now on this thread never waits for room.
pub(super) fn never_wait() {
    PATIENCE.set(Duration::ZERO);
}

/// Takes log lines, whole and with their ends.
pub(super) trait LineSink: Send + Sync {
    fn put(&self, lines: Vec<u8>);

    /// Waits, for a bounded time, until all lines so far are written.
    fn flush(&self) {}
}

/// A sink that never blocks on the sink behind it.
pub(super) struct LogQueue(Arc<Shared>);

struct Shared {
    backlog: Mutex<Backlog>,
    /// There is work for the log's thread.
    work: Condvar,
    /// The log's thread has written something.
    progress: Condvar,
    /// The queue has room.
    room: Condvar,
}

impl LogQueue {
    /// Starts the thread that writes to this sink. The same thread attends to the other duties.
    pub(super) fn start(
        sink: Arc<dyn LineSink>,
        attend: impl Fn(&Duty) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            backlog: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
            room: Condvar::new(),
        });
        let queue = Self(Arc::clone(&shared));

        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || shared.write_lines(&*sink, attend))?;

        Ok(queue)
    }

    /// Has the log's thread open the file again. That cannot be lost, even if the queue is full.
    pub(super) fn reopen(&self) {
        let mut backlog = self.0.lock();
        backlog.reopen();
        self.0.wake(&mut backlog);
    }

    /// From now on lines are not dropped at once. A thread waits for room, for a second in all. If
    /// the sink stands still, it does not wait.
    pub(super) fn stop_dropping(&self) {
        let mut backlog = self.0.lock();
        if backlog.stage == Stage::Serving {
            backlog.stage = Stage::Stopping;
        }
    }

    /// Writes the last line, and drops every line that comes later.
    ///
    /// It waits for the lines before, for at most this time. Then those that still wait are dropped
    /// and counted, and it waits as long again for the last line.
    pub(super) fn close(&self, mut line: Vec<u8>, patience: Duration) {
        cut(&mut line);
        let mut backlog = self.0.lock();
        if backlog.stage >= Stage::Closed {
            return;
        }
        backlog.stage = Stage::Closed;
        backlog.add(line);
        self.0.wake(&mut backlog);
        self.0.room.notify_all();

        let mut backlog = self.0.wait_until_written(backlog, patience);
        backlog.keep_last();
        drop(self.0.wait_until_written(backlog, patience));
    }
}

impl LineSink for LogQueue {
    fn put(&self, mut line: Vec<u8>) {
        cut(&mut line);
        let mut backlog = self.0.lock();
        if backlog.is_full() && backlog.stage == Stage::Stopping {
            backlog = self.0.wait_for_room(backlog);
        }

        if backlog.stage >= Stage::Closed {
            return;
        }
        match backlog.is_full() {
            true => backlog.lose(1),
            false => backlog.add(line),
        }
        self.0.wake(&mut backlog);
    }

    fn flush(&self) {
        drop(self.0.wait_until_written(self.0.lock(), FLUSH_TIME));
    }
}

impl Drop for LogQueue {
    fn drop(&mut self) {
        let mut backlog = self.0.lock();
        backlog.stage = Stage::Gone;
        self.0.wake(&mut backlog);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the log's thread, if it waits.
    fn wake(&self, backlog: &mut Backlog) {
        if mem::take(&mut backlog.is_idle) {
            self.work.notify_one();
        }
    }

    /// Waits until all is written that is owed now, for at most this time.
    fn wait_until_written<'a>(
        &self,
        backlog: MutexGuard<'a, Backlog>,
        at_most: Duration,
    ) -> MutexGuard<'a, Backlog> {
        let (queued, owed) = (backlog.queued, backlog.owed);
        let is_behind = |backlog: &mut Backlog| backlog.written < queued || backlog.told < owed;

        let waited = self
            .progress
            .wait_timeout_while(backlog, at_most, is_behind);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until the queue has room, while the sink takes lines and this thread has patience.
    fn wait_for_room<'a>(
        &'a self,
        mut backlog: MutexGuard<'a, Backlog>,
    ) -> MutexGuard<'a, Backlog> {
        let (patience, started) = (PATIENCE.get(), Instant::now());

        loop {
            let stands_still = backlog
                .busy_since
                .is_some_and(|since| since.elapsed() > STANDSTILL);
            let left = patience.saturating_sub(started.elapsed());
            if !backlog.is_full()
                || backlog.stage >= Stage::Closed
                || stands_still
                || left.is_zero()
            {
                break;
            }
            backlog.waiting += 1;
            let waited = self.room.wait_timeout(backlog, left.min(STANDSTILL));
            backlog = waited.unwrap_or_else(PoisonError::into_inner).0;
            backlog.waiting -= 1;
        }

        PATIENCE.set(patience.saturating_sub(started.elapsed()));
        backlog
    }

    /// Writes lines as long as the queue exists.
    fn write_lines(&self, sink: &dyn LineSink, attend: impl Fn(&Duty)) {
        let mut has_rested = false;

        loop {
            let work = self.next(has_rested);
            has_rested = matches!(work, Work::Rest);
            match work {
                Work::Write(lines, count) => {
                    sink.put(lines);
                    self.has_written(count);
                }
                Work::Attend(duty) => {
                    attend(&duty);
                    self.has_attended(&duty);
                }
                Work::Rest => thread::sleep(REST),
                Work::End => return,
            }
        }
    }

    /// Takes what the log's thread does next, and waits for it if it has rested already.
    fn next(&self, has_rested: bool) -> Work {
        let mut backlog = self.lock();
        backlog.busy_since = None;

        loop {
            if let Some(work) = backlog.next() {
                backlog.busy_since = Some(Instant::now());
                return work;
            }
            if !has_rested {
                return Work::Rest;
            }
            backlog.is_idle = true;
            backlog = self
                .work
                .wait(backlog)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn has_written(&self, count: usize) {
        let mut backlog = self.lock();
        backlog.written += count as u64;
        self.progress.notify_all();
        for _ in 0..count.min(backlog.waiting) {
            self.room.notify_one();
        }
    }

    fn has_attended(&self, duty: &Duty) {
        if let Duty::TellLost(_) = duty {
            self.lock().told += 1;
            self.progress.notify_all();
        }
    }
}

#[cfg(test)]
mod tests;
