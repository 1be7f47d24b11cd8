//! The results of the pings: a line for each on standard output, and a summary.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::mem;
use std::os::fd::AsFd;
use std::time::Duration;

use super::log_output::write_all;
use super::one_line;

/// The reason why a line has no echo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loss {
    /// There was no connection, so the line was never sent.
    NotSent(String),
    /// The server refused the connection in these words.
    Refused(String),
    /// The line was sent, and its echo was wrong, late or missing.
    Lost(String),
}

/// The state of the server, after all pings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// At least one echo came, and all came back right.
    Good,
    /// The server lives, but it refused each connection that has no echo.
    Refused(String),
    /// Something else went wrong.
    Bad(String),
}

/// The results of all pings so far.
pub(crate) struct Tally {
    /// The beginning of an echo's line.
    from: String,
    quiet: bool,
    /// The time of each echo that came back right, in their order.
    times: Vec<Duration>,
    /// The number of lines that were sent.
    sent: usize,
    /// The number of lines that were sent and have no echo.
    lost: usize,
    /// The number of lines that could not be sent.
    not_sent: usize,
    /// The last loss that was not a refusal, or else the last refusal.
    worst: Option<Loss>,
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
            sent: 0,
            lost: 0,
            not_sent: 0,
            worst: None,
            printed: Ok(()),
            is_over: false,
        }
    }

    /// Returns true if only the summary is printed.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Notes that a line was sent.
    pub(crate) fn sent(&mut self) {
        self.sent += 1;
    }

    /// Notes the time of an echo, or why it was lost. Returns true if printing still works.
    pub(crate) fn add(&mut self, number: u64, outcome: Result<Duration, Loss>) -> bool {
        let line = match &outcome {
            Ok(time) => format!(
                "{}: seq={number} time={} ms",
                self.from,
                Milliseconds(*time)
            ),
            Err(loss) => format!("seq={number}: {loss}"),
        };

        match outcome {
            Ok(time) => self.times.push(time),
            Err(loss) => self.lose(loss),
        }

        if !self.quiet {
            self.print(line);
        }

        self.printed.is_ok()
    }

    fn lose(&mut self, loss: Loss) {
        match loss {
            Loss::NotSent(_) => self.not_sent += 1,
            Loss::Refused(_) | Loss::Lost(_) => self.lost += 1,
        }

        let is_refusal = |loss: &Loss| matches!(loss, Loss::Refused(_));
        if self.worst.as_ref().is_none_or(is_refusal) || !is_refusal(&loss) {
            self.worst = Some(loss);
        }
    }

    /// Prints the summary, once.
    pub(crate) fn finish(&mut self) -> Result<Verdict, String> {
        if !mem::replace(&mut self.is_over, true) {
            self.summary().into_iter().for_each(|line| self.print(line));
        }

        match &self.printed {
            // The reader has seen enough, as with `| head`.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(format!("cannot write to standard output: {error}"))
            }
            _ => Ok(self.verdict()),
        }
    }

    fn verdict(&self) -> Verdict {
        match &self.worst {
            Some(refusal @ Loss::Refused(_)) => Verdict::Refused(refusal.to_string()),
            Some(loss) => Verdict::Bad(loss.to_string()),
            None if self.times.is_empty() => {
                // Nothing shows that the server is up.
                Verdict::Bad("interrupted before an echo came".to_owned())
            }
            None => Verdict::Good,
        }
    }

    fn summary(&self) -> Vec<String> {
        let (sent, received, lost) = (self.sent, self.times.len(), self.lost);
        let percent = (lost as f64 * 1000.0 / sent.max(1) as f64).round() / 10.0;
        let not_sent = match self.not_sent {
            0 => String::new(),
            count => format!(", {count} not sent"),
        };
        let mut lines = vec![format!(
            "{sent} sent, {received} received, {lost} lost ({percent}%){not_sent}"
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
            let line = one_line(line) + "\n";
            self.printed = standard_output()
                .and_then(|mut output| write_all(&mut output, &mut line.as_bytes()));
        }
    }
}

/// Returns standard output without the buffer of `std`, which cannot wait where the output is
/// non-blocking.
fn standard_output() -> io::Result<File> {
    let descriptor = io::stdout().as_fd().try_clone_to_owned()?;
    Ok(descriptor.into())
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(words) => write!(f, "refused: {words}"),
            Self::NotSent(why) | Self::Lost(why) => f.write_str(why),
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

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        tally.sent = tally.times.len() + lost;

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
    fn one_loss_that_is_no_refusal_makes_the_verdict_bad() {
        let refused = || Loss::Refused("too busy".to_owned());
        let lost = || Loss::Lost("no echo within 1s".to_owned());
        let not_sent = || Loss::NotSent("no route".to_owned());
        let verdict = |losses: &[Loss]| {
            let mut tally = tally([1], 0);
            losses.iter().for_each(|loss| tally.lose(loss.clone()));
            tally.verdict()
        };

        assert_eq!(verdict(&[]), Verdict::Good);
        let told = "refused: too busy".to_owned();
        assert_eq!(verdict(&[refused(), refused()]), Verdict::Refused(told));
        let told = Verdict::Bad("no echo within 1s".to_owned());
        assert_eq!(verdict(&[refused(), lost(), refused()]), told);
        let told = Verdict::Bad("no route".to_owned());
        assert_eq!(verdict(&[lost(), not_sent()]), told);
    }

    #[test]
    fn a_line_that_was_not_sent_is_not_counted_as_sent() {
        let mut tally = tally([], 0);
        tally.lose(Loss::NotSent(String::new()));
        assert_eq!(
            tally.summary(),
            ["0 sent, 0 received, 0 lost (0%), 1 not sent"]
        );
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
