//! Keeps a flood of equal events out of the log.

use std::time::{Duration, Instant};

/// Lets one log line per second through, and counts the others.
#[derive(Debug, Default)]
pub(super) struct RateLimitedLog {
    last: Option<Instant>,
    held_back: u64,
}

impl RateLimitedLog {
    const PAUSE: Duration = Duration::from_secs(1);

    /// Calls `log` with the number of lines that were held back before, or holds this line back.
    pub(super) fn log(&mut self, now: Instant, log: impl FnOnce(u64)) {
        let is_early = |last| now.duration_since(last) < Self::PAUSE;
        if self.last.is_some_and(is_early) {
            self.held_back += 1;
            return;
        }

        self.last = Some(now);
        log(std::mem::take(&mut self.held_back));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_line_is_logged_once_a_second() {
        let (mut limited, start) = (RateLimitedLog::default(), Instant::now());
        let mut logged = Vec::new();

        for tenths in 0..25 {
            let now = start + Duration::from_millis(100 * tenths);
            limited.log(now, |held_back| logged.push((tenths, held_back)));
        }

        assert_eq!(logged, [(0, 0), (10, 9), (20, 9)]);
    }
}
