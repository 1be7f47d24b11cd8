//! A queue between those who log and the place that is logged to, so that it holds nobody up.
//!
//! Who logs puts a line into the queue and goes on; one thread takes lines out and writes them, as
//! many as wait together, and each whole. Where that is too slow (a pipe that nobody reads) the
//! queue fills, and what comes then is dropped and counted; the count is told as soon as lines can
//! be written again. It costs a wake-up of the thread for a line that comes alone, and the last
//! lines of a process that is killed or aborts: what is in the queue then is lost.

use std::fs::File;
use std::io::{self, Stderr, Write};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How many lines wait at most. With [`LONGEST_LINE`] it bounds the memory to 4 MiB; and it is some
/// milliseconds of the busiest log, for which the thread may have to wait for a processor.
const CAPACITY: usize = 1024;

/// The most bytes of a line, its end included, and of a write. A pipe takes so many in one piece
/// (`PIPE_BUF` of Linux), so lines do not mix with another process's; the crate's own are far
/// shorter.
const LONGEST_LINE: usize = 4096;

/// How long a flush waits: enough for a reader that is slow, and little for an exit where nobody
/// reads.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// How long the thread rests when it has written all. Lines that come meanwhile need no wake-up;
/// with one for each, a connection alone would be at half its speed under `-v`. The queue holds
/// more than can be logged in that time.
const REST: Duration = Duration::from_micros(100);

/// What takes log lines, whole and with their ends.
pub(super) trait LineSink: Send + Sync {
    fn put(&self, lines: Vec<u8>);

    /// Waits, for a bounded time, until what has been put is written.
    fn flush(&self) {}
}

/// In one write, by the thread that calls. What cannot be written is lost: the disk is full.
impl LineSink for File {
    fn put(&self, lines: Vec<u8>) {
        let mut file = self;
        let _ = file.write_all(&lines);
    }
}

/// In one write, by the thread that calls. What cannot be written is lost: its reader has gone.
impl LineSink for Stderr {
    fn put(&self, lines: Vec<u8>) {
        let _ = self.lock().write_all(&lines);
    }
}

/// Never waits for the sink behind it.
pub(super) struct LogQueue {
    lines: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

/// Numbers of lines.
#[derive(Default)]
struct Counts {
    queued: AtomicU64,
    /// Dropped for want of room, and not yet told of. Of what the sink loses nothing is known.
    lost: AtomicU64,
    /// Taken out of the queue and given to the sink.
    written: Mutex<u64>,
    progress: Condvar,
}

impl Counts {
    fn written(&self) -> MutexGuard<'_, u64> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogQueue {
    /// Starts the thread, which writes to this sink and tells, itself, how many lines were lost.
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
            // The thread may have emptied the queue meanwhile and wait for a line, this loss
            // untold: an empty one wakes it. Where that has no room either it does not wait.
            self.offer(Vec::new());
        }
    }

    fn flush(&self) {
        let queued = self.counts.queued.load(Ordering::Relaxed);
        let is_behind = |written: &mut u64| *written < queued;
        let written = self.counts.written();
        let progress = &self.counts.progress;
        // Late or not, and whatever a panic has poisoned, the caller goes on.
        let _ = progress.wait_timeout_while(written, FLUSH_TIME, is_behind);
    }
}

/// The thread's life: as long as there is a queue.
fn write_lines(
    queued: &Receiver<Vec<u8>>,
    sink: &dyn LineSink,
    counts: &Counts,
    tell_lost: impl Fn(u64),
) {
    while let Ok(first) = queued.recv() {
        // At most a full queue at a time, so that losses are told of where it never runs empty.
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

/// Writes lines, each whole, in as few writes as hold them, and returns their number.
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

/// Bounds a line's memory. One that was too long says how long it was.
fn cut(line: &mut Vec<u8>) {
    if line.len() > LONGEST_LINE {
        let mark = format!("... {} bytes in all\n", line.len() - 1);
        let end = char_boundary(line, LONGEST_LINE - mark.len());
        line.truncate(end);
        line.extend_from_slice(mark.as_bytes());
    }
    line.shrink_to(LONGEST_LINE);
}

/// The last place that is not within a character, up to this one.
fn char_boundary(text: &[u8], limit: usize) -> usize {
    let continues = |at: usize| text[at] & 0b1100_0000 == 0b1000_0000;
    (0..=limit).rev().find(|at| !continues(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps each write apart, and waits while a test has hold of them.
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
    fn a_sink_that_stands_still_holds_nobody_up_and_what_is_lost_is_told_once() {
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
    fn a_line_of_the_greatest_length_passes_and_a_longer_one_is_cut_between_characters() {
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
