//! A queue in front of the log's sink, so that a slow sink never blocks a thread that logs.
//!
//! A thread that logs puts its line into the queue and goes on. One thread takes the lines out and
//! writes them, several at a time and each whole. If the sink is too slow, for example a pipe that
//! nobody reads, the queue fills. Further lines are then dropped and counted, and a line says how
//! many as soon as the sink takes lines again.
//!
//! The cost of the queue is one wake-up of its thread for a line that comes alone. When the process
//! is killed or aborts, the lines in the queue are lost.

use std::fs::File;
use std::io::{self, Stderr, Write};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The most lines that can wait.
///
/// With [`LONGEST_LINE`] it bounds the memory to 4 MiB. The busiest log fills it in some
/// milliseconds. That is as long as the log's thread can have to wait for a processor.
const CAPACITY: usize = 1024;

/// The most bytes of a line, with its end, and of a write.
///
/// A pipe takes that many in one piece (`PIPE_BUF` of Linux), so lines do not mix with those of
/// another process. The crate's own lines are far shorter.
const LONGEST_LINE: usize = 4096;

/// The longest wait of a flush. It is enough for a slow reader, and short for an exit when nobody
/// reads.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// The rest of the thread after it has written all lines.
///
/// A line that comes meanwhile needs no wake-up. With a wake-up for each line, one connection would
/// run at half its speed under `-v`. The queue holds more than can be logged in that time.
const REST: Duration = Duration::from_micros(100);

/// Takes log lines, whole and with their ends.
pub(super) trait LineSink: Send + Sync {
    fn put(&self, lines: Vec<u8>);

    /// Waits, for a bounded time, until all lines so far are written.
    fn flush(&self) {}
}

/// Writes in one call, on the calling thread. A line is lost if the disk is full.
impl LineSink for File {
    fn put(&self, lines: Vec<u8>) {
        let mut file = self;
        let _ = file.write_all(&lines);
    }
}

/// Writes in one call, on the calling thread. A line is lost if its reader has gone.
impl LineSink for Stderr {
    fn put(&self, lines: Vec<u8>) {
        let _ = self.lock().write_all(&lines);
    }
}

/// A sink that never waits for the sink behind it.
pub(super) struct LogQueue {
    lines: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

/// Numbers of lines.
#[derive(Default)]
struct Counts {
    queued: AtomicU64,
    /// Lines that were dropped for want of room and not yet told. Losses in the sink are not counted.
    lost: AtomicU64,
    /// Lines that were taken out of the queue and given to the sink.
    written: Mutex<u64>,
    progress: Condvar,
}

impl Counts {
    fn written(&self) -> MutexGuard<'_, u64> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogQueue {
    /// Starts the thread that writes to this sink. The same thread tells how many lines were lost.
    pub(super) fn start(
        sink: Arc<dyn LineSink>,
        tell_lost: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (lines, queued) = mpsc::sync_channel(CAPACITY);
        let counts = Arc::new(Counts::default());
        let queue = Self {
            lines,
            counts: Arc::clone(&counts),
        };

        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&queued, &*sink, &counts, tell_lost))?;

        Ok(queue)
    }

    /// Queues a line if there is room for it.
    fn offer(&self, line: Vec<u8>) -> bool {
        let has_room = self.lines.try_send(line).is_ok();
        if has_room {
            self.counts.queued.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }
}

impl LineSink for LogQueue {
    fn put(&self, mut line: Vec<u8>) {
        cut(&mut line);
        if !self.offer(line) {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            // The thread can have emptied the queue meanwhile and wait for a line, with this loss
            // untold. An empty line wakes it. If even that has no room, the thread is not waiting.
            self.offer(Vec::new());
        }
    }

    fn flush(&self) {
        let queued = self.counts.queued.load(Ordering::Relaxed);
        let is_behind = |written: &mut u64| *written < queued;
        let written = self.counts.written();
        let progress = &self.counts.progress;

        // The caller goes on in any case: after a timeout, and after a panic in another thread.
        let _ = progress.wait_timeout_while(written, FLUSH_TIME, is_behind);
    }
}

/// Writes lines as long as the queue exists.
fn write_lines(
    queued: &Receiver<Vec<u8>>,
    sink: &dyn LineSink,
    counts: &Counts,
    tell_lost: impl Fn(u64),
) {
    while let Ok(first) = queued.recv() {
        // At most a full queue at a time, so losses are told even if the queue never runs empty.
        let written = write_together(first, queued.try_iter().take(CAPACITY - 1), sink);

        match counts.lost.swap(0, Ordering::Relaxed) {
            0 => {}
            lost => tell_lost(lost),
        }

        *counts.written() += written as u64;
        counts.progress.notify_all();

        if written < CAPACITY {
            thread::sleep(REST);
        }
    }
}

/// Writes lines, each whole, in as few writes as possible. Returns their number.
fn write_together(
    mut lines: Vec<u8>,
    rest: impl Iterator<Item = Vec<u8>>,
    sink: &dyn LineSink,
) -> usize {
    let mut count = 1;

    for line in rest {
        if lines.len() + line.len() > LONGEST_LINE {
            sink.put(mem::replace(&mut lines, line));
        } else {
            lines.extend_from_slice(&line);
        }
        count += 1;
    }

    sink.put(lines);
    count
}

/// Bounds a line's memory. A line that is cut says how long it was.
fn cut(line: &mut Vec<u8>) {
    if line.len() > LONGEST_LINE {
        let mark = format!("... {} bytes in all\n", line.len() - 1);
        let end = char_boundary(line, LONGEST_LINE - mark.len());
        line.truncate(end);
        line.extend_from_slice(mark.as_bytes());
    }
    line.shrink_to(LONGEST_LINE);
}

/// Returns the last place up to this one that is not inside a character.
fn char_boundary(text: &[u8], limit: usize) -> usize {
    let continues = |at: usize| text[at] & 0b1100_0000 == 0b1000_0000;
    (0..=limit).rev().find(|at| !continues(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps each write apart, and waits while a test holds the lock.
    #[derive(Default)]
    struct Writes(Mutex<Vec<String>>);

    impl LineSink for Writes {
        fn put(&self, lines: Vec<u8>) {
            let text = String::from_utf8(lines).unwrap();
            self.0.lock().unwrap().push(text);
        }
    }

    #[test]
    fn lines_come_out_whole_and_in_order_before_a_flush_returns() {
        let sink = Arc::new(Writes::default());
        let queue = LogQueue::start(sink.clone(), |_| {}).unwrap();
        let line = |n: usize| n.to_string() + &"x".repeat(n) + "\n";

        (0..CAPACITY).for_each(|n| queue.put(line(n).into()));
        queue.flush();

        let writes = sink.0.lock().unwrap();
        assert_eq!(writes.concat(), (0..CAPACITY).map(line).collect::<String>());
        for write in &*writes {
            assert!(write.ends_with('\n') && write.len() <= LONGEST_LINE);
        }
    }

    #[test]
    fn a_sink_that_stands_still_blocks_nobody_and_losses_are_told_once() {
        let sink = Arc::new(Writes::default());
        let (tell, told) = mpsc::channel();
        let queue = LogQueue::start(sink.clone(), move |lost| tell.send(lost).unwrap()).unwrap();

        let stands_still = sink.0.lock().unwrap();
        for _ in 0..3 * CAPACITY {
            queue.put(b"line\n".to_vec());
        }
        queue.flush();
        assert!(told.try_recv().is_err(), "it tells when it goes on");

        drop(stands_still);
        queue.flush();

        let lost = told.try_recv().unwrap();
        assert!(told.try_recv().is_err());
        let written = sink.0.lock().unwrap().concat().lines().count();
        assert!(written >= CAPACITY);
        assert_eq!(written as u64 + lost, 3 * CAPACITY as u64);
    }

    #[test]
    fn a_longest_line_passes_and_a_longer_one_is_cut_between_characters() {
        for filler in ["x", "é", "€", "🦀"] {
            for shift in 0..filler.len() {
                let text = "x".repeat(shift) + &filler.repeat(LONGEST_LINE);
                let mut line = (text.clone() + "\n").into_bytes();
                cut(&mut line);
                assert!(line.len() <= LONGEST_LINE && line.capacity() <= LONGEST_LINE);
                assert!(line.len() > LONGEST_LINE - filler.len());
                let line = String::from_utf8(line).unwrap();
                let mark = format!("... {} bytes in all\n", text.len());
                assert!(text.starts_with(line.strip_suffix(&mark).unwrap()));
            }
        }
        let longest = ("x".repeat(LONGEST_LINE - 1) + "\n").into_bytes();
        let mut line = longest.clone();
        cut(&mut line);
        assert_eq!(line, longest);
    }
}
