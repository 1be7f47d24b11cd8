//! The lines that wait for the log's thread, and the thread's next piece of work.
//!
//! Nothing here waits or writes: [`LogQueue`](super::log_queue::LogQueue) does that.

use std::collections::VecDeque;
use std::mem;
use std::time::Instant;

/// The most lines that can wait.
///
/// With [`LONGEST_LINE`] it bounds the memory to 4 MiB. The busiest log fills it in some
/// milliseconds. That is as long as the log's thread can have to wait for a processor.
pub(super) const CAPACITY: usize = 1024;

/// The most bytes of a line, with its end, and of a write.
///
/// A pipe takes that many in one piece (`PIPE_BUF` of Linux), so lines do not mix with those of
/// another process. The crate's own lines are far shorter.
pub(super) const LONGEST_LINE: usize = 4096;

/// The lines that wait, and the counts of those that do not any more.
///
/// - `queued - written` is the number of lines in `lines` and in the hands of the log's thread.
/// - `owed` is greater than `told` while a loss is not yet told.
#[derive(Default)]
pub(super) struct Backlog {
    pub(super) lines: VecDeque<Vec<u8>>,
    pub(super) queued: u64,
    pub(super) written: u64,
    /// Lines that were dropped for want of room since that was last told.
    lost: u64,
    pub(super) owed: u64,
    pub(super) told: u64,
    /// Lines written since a loss was last told.
    since_told: usize,
    /// The file must be opened again once this many lines have left `lines`.
    reopen_after: Option<u64>,
    pub(super) stage: Stage,
    /// The log's thread waits for work.
    pub(super) is_idle: bool,
    /// The log's thread has been writing since then.
    pub(super) busy_since: Option<Instant>,
    /// The number of threads that wait for room.
    pub(super) waiting: usize,
}

/// The stage of the queue's life, in order.
#[derive(Default, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Stage {
    /// A line without room is dropped.
    #[default]
    Serving,
    /// A line without room waits a little.
    Stopping,
    /// The last line is in the queue, and no line comes after it.
    Closed,
    /// The queue was dropped, so its thread ends.
    Gone,
}

/// The work of the log's thread beside writing lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// Say that this many lines are lost.
    TellLost(u64),
    /// Open the file again.
    Reopen,
}

/// The next work of the log's thread.
pub(super) enum Work {
    /// Write these lines, of this number.
    Write(Vec<u8>, usize),
    Attend(Duty),
    Rest,
    End,
}

impl Backlog {
    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= CAPACITY
    }

    pub(super) fn add(&mut self, line: Vec<u8>) {
        self.lines.push_back(line);
        self.queued += 1;
    }

    pub(super) fn lose(&mut self, count: u64) {
        if self.lost == 0 && count > 0 {
            self.owed += 1;
        }
        self.lost += count;
    }

    /// Has the file opened again, after the lines that wait now.
    pub(super) fn reopen(&mut self) {
        self.reopen_after = Some(self.queued);
    }

    /// Drops all lines but the last, and counts them as lost.
    pub(super) fn keep_last(&mut self) {
        let Some(last) = self.lines.pop_back() else {
            return;
        };

        let dropped = self.lines.len() as u64;
        self.lines.clear();
        self.lines.push_back(last);
        self.written += dropped;
        self.lose(dropped);
    }

    /// Takes what the log's thread does next; `None` if there is nothing.
    pub(super) fn next(&mut self) -> Option<Work> {
        // Lines that were logged before the request belong into the old file.
        let left_already = self.queued - self.lines.len() as u64;
        let to_reopen = self
            .reopen_after
            .map(|after| after.saturating_sub(left_already));
        if to_reopen == Some(0) {
            self.reopen_after = None;
            return Some(Work::Attend(Duty::Reopen));
        }

        // Losses are told before the last line, and now and then if the queue never runs empty.
        let last = usize::from(self.stage == Stage::Closed && self.lost > 0);
        let is_behind = self.lines.len() > last && self.since_told < CAPACITY;
        if self.lost > 0 && !is_behind {
            self.since_told = 0;
            return Some(Work::Attend(Duty::TellLost(mem::take(&mut self.lost))));
        }

        let lines_before = self.lines.len() - last;
        let lines_before = to_reopen.map_or(lines_before, |lines| lines_before.min(lines as usize));
        if let Some(mut lines) = self.lines.pop_front() {
            let mut count = 1;
            while count < lines_before
                && let Some(line) = self.lines.front()
                && lines.len() + line.len() <= LONGEST_LINE
            {
                lines.extend_from_slice(line);
                self.lines.pop_front();
                count += 1;
            }
            self.since_told += count;
            return Some(Work::Write(lines, count));
        }

        (self.stage == Stage::Gone).then_some(Work::End)
    }
}

/// Bounds a line's memory. A line that is cut says how long it was.
pub(super) fn cut(line: &mut Vec<u8>) {
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

    #[test]
    fn losses_are_told_even_if_the_queue_never_runs_empty() {
        let mut backlog = Backlog::default();
        backlog.lose(7);

        for written in 0..=CAPACITY {
            backlog.add(vec![b'x'; LONGEST_LINE]);
            match backlog.next() {
                Some(Work::Attend(duty)) => {
                    assert_eq!((duty, written), (Duty::TellLost(7), CAPACITY));
                    // The next ones are not told with each write.
                    backlog.lose(1);
                    assert!(matches!(backlog.next(), Some(Work::Write(_, 1))));
                    return;
                }
                Some(Work::Write(_, 1)) => {}
                _ => panic!("there is a line"),
            }
            backlog.add(vec![b'x'; LONGEST_LINE]);
        }
        panic!("they are never told");
    }

    #[test]
    fn the_file_is_opened_again_behind_the_lines_that_waited() {
        let mut backlog = Backlog::default();
        backlog.add(b"old\n".to_vec());
        backlog.reopen();
        backlog.add(b"new\n".to_vec());

        assert!(matches!(backlog.next(), Some(Work::Write(lines, 1)) if lines == b"old\n"));
        let duty = backlog.next();
        assert!(matches!(duty, Some(Work::Attend(Duty::Reopen))));
        assert!(matches!(backlog.next(), Some(Work::Write(lines, 1)) if lines == b"new\n"));
        assert!(backlog.next().is_none());
    }

    #[test]
    fn short_lines_share_a_write_that_is_as_long_as_a_longest_line() {
        let mut backlog = Backlog::default();
        (0..65).for_each(|_| backlog.add(vec![b'x'; LONGEST_LINE / 64]));

        assert!(
            matches!(backlog.next(), Some(Work::Write(lines, 64)) if lines.len() == LONGEST_LINE)
        );
        assert!(matches!(backlog.next(), Some(Work::Write(_, 1))));
    }

    #[test]
    fn without_a_loss_the_last_line_shares_a_write() {
        let mut backlog = Backlog {
            stage: Stage::Closed,
            ..Backlog::default()
        };
        assert!(backlog.next().is_none());

        backlog.add(b"one\n".to_vec());
        backlog.add(b"last\n".to_vec());
        assert!(matches!(backlog.next(), Some(Work::Write(_, 2))));
    }

    #[test]
    fn all_lines_but_the_last_can_be_dropped() {
        let mut backlog = Backlog::default();
        (0..3).for_each(|number| backlog.add(vec![number]));
        backlog.stage = Stage::Closed;
        backlog.keep_last();

        // One of them is still to be written, and one loss to be told.
        assert_eq!((backlog.queued, backlog.written), (3, 2));
        assert_eq!((backlog.owed, backlog.told), (1, 0));
        assert!(matches!(
            backlog.next(),
            Some(Work::Attend(Duty::TellLost(2)))
        ));

        // The only line is no loss.
        backlog.keep_last();
        assert_eq!((backlog.owed, backlog.written), (1, 2));
        assert!(matches!(backlog.next(), Some(Work::Write(last, 1)) if last == [2]));
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
