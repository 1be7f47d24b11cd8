//! The results of the pings: a line for each on standard output, and a summary.

use std::io::{self, ErrorKind, Write};
use std::mem;
use std::time::Duration;

use super::logging::one_line;

/// The results of all pings so far.
pub(crate) struct Tally {
    /// The beginning of an echo's line.
    from: String,
    quiet: bool,
    /// The time of each echo that came back right, in their order.
    times: Vec<Duration>,
    lost: usize,
    /// The first failure to print. Nothing is printed after it.
    printed: io::Result<()>,
    is_over: bool,
}

impl Tally {
    pub(crate) fn new(from: String, quiet: bool) -> Self {
        Self {
            from,
            quiet,
            times: Vec::new(),
            lost: 0,
            printed: Ok(()),
            is_over: false,
        }
    }

    /// Notes the time of an echo, or why it was lost. Returns whether printing still works.
    pub(crate) fn add(&mut self, number: u64, outcome: Result<Duration, String>) -> bool {
        let line = match &outcome {
            Ok(time) => format!(
                "{}: seq={number} time={} ms",
                self.from,
                Milliseconds(*time)
            ),
            Err(why) => format!("seq={number}: {why}"),
        };

        match outcome {
            Ok(time) => self.times.push(time),
            Err(_) => self.lost += 1,
        }

        if !self.quiet {
            self.print(line);
        }

        self.printed.is_ok()
    }

    /// Prints the summary, once. Returns whether at least one echo came and all came back right.
    ///
    /// An interrupt before the first echo is a failure, since nothing shows that the server is up.
    pub(crate) fn finish(&mut self) -> Result<bool, String> {
        if !mem::replace(&mut self.is_over, true) {
            self.summary().into_iter().for_each(|line| self.print(line));
        }

        match &self.printed {
            // The reader has seen enough, as with `| head`.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(format!("cannot write to standard output: {error}"))
            }
            _ => Ok(self.lost == 0 && !self.times.is_empty()),
        }
    }

    fn summary(&self) -> Vec<String> {
        let (received, lost) = (self.times.len(), self.lost);
        let sent = received + lost;
        let percent = (lost as f64 * 1000.0 / sent.max(1) as f64).round() / 10.0;
        let mut lines = vec![format!(
            "{sent} sent, {received} received, {lost} lost ({percent}%)"
        )];

        let mut times = self.times.clone();
        times.sort_unstable();
        if let (Some(&min), Some(&max)) = (times.first(), times.last()) {
            let [median, p99] = [50, 99].map(|percent| Milliseconds(percentile(&times, percent)));
            let [min, max] = [min, max].map(Milliseconds);
            lines.push(format!("min={min} median={median} p99={p99} max={max} ms"));
        }

        lines
    }

    fn print(&mut self, line: String) {
        if self.printed.is_ok() {
            self.printed = io::stdout().write_all((one_line(line) + "\n").as_bytes());
        }
    }
}

/// Returns the nearest rank: the smallest of these sorted times that this many per cent do not
/// exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted[rank.saturating_sub(1)]
}

struct Milliseconds(Duration);

impl std::fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3}", self.0.as_secs_f64() * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(milliseconds: impl IntoIterator<Item = u64>, lost: usize) -> Tally {
        let mut tally = Tally::new(String::new(), true);
        tally.times = milliseconds
            .into_iter()
            .map(Duration::from_millis)
            .collect();
        tally.lost = lost;

        tally
    }

    #[test]
    fn percentiles_are_the_nearest_ranks() {
        // The figures are those of https://en.wikipedia.org/wiki/Percentile#The_nearest-rank_method
        let list = [15, 20, 35, 40, 50].map(Duration::from_millis);
        for (percent, expected) in [(5, 15), (30, 20), (40, 20), (50, 35), (100, 50)] {
            let expected = Duration::from_millis(expected);
            assert_eq!(percentile(&list, percent), expected, "{percent}");
        }
        let hundred: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&hundred, 99), Duration::from_millis(99));
        assert_eq!(percentile(&hundred[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&hundred[..2], 50), Duration::from_millis(1));
        assert_eq!(percentile(&hundred[..2], 99), Duration::from_millis(2));
    }

    #[test]
    fn the_summary_has_times_only_if_an_echo_came() {
        assert_eq!(tally([], 0).summary(), ["0 sent, 0 received, 0 lost (0%)"]);
        assert_eq!(
            tally([], 2).summary(),
            ["2 sent, 0 received, 2 lost (100%)"]
        );
        assert_eq!(
            tally([7, 3], 1).summary(),
            [
                "3 sent, 2 received, 1 lost (33.3%)",
                "min=3.000 median=3.000 p99=7.000 max=7.000 ms"
            ]
        );
        assert_eq!(
            tally(1..=1000, 0).summary()[1],
            "min=1.000 median=500.000 p99=990.000 max=1000.000 ms"
        );
        let time = Duration::from_nanos(45_400);
        assert_eq!(Milliseconds(time).to_string(), "0.045");
    }
}
