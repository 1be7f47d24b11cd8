//! The counts of each generator thread, and their sum, the sample.
//!
//! Latencies go into a histogram with three significant digits, up to a minute. It has about 200
//! kB, of which a steady load uses little.

use hdrhistogram::Histogram;

use super::clock;
use super::connection::Fault;
use crate::record::{Errors, GeneratorUse, Latency, Sample};

/// Longer latencies are counted as this one.
const LONGEST: u64 = 60_000_000_000;

/// The times of the load, the same for all threads.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// The beginning of the load.
    pub start: u64,
    /// The beginning of the measured time.
    pub begin: u64,
    /// The end of the measured time and of the load.
    pub end: u64,
}

impl Schedule {
    pub fn measures(&self, time: u64) -> bool {
        (self.begin..self.end).contains(&time)
    }
}

/// The counts of one thread.
pub struct Tally {
    pub schedule: Schedule,
    pub done: u64,
    /// The number of answered lines, also outside the measured time.
    pub total: u64,
    pub latencies: Histogram<u64>,
    pub errors: Errors,
    /// The end of the load for this thread. It is early if the load was stopped, or if all
    /// connections were given up.
    pub over: u64,
    /// The time that the thread had used at the edges of the measured time.
    at_begin: Option<Used>,
    at_end: Option<Used>,
}

impl Tally {
    pub fn new() -> Self {
        Self {
            schedule: Schedule {
                start: 0,
                begin: u64::MAX,
                end: u64::MAX,
            },
            done: 0,
            total: 0,
            latencies: Histogram::new_with_max(LONGEST, 3).expect("the digits are few"),
            errors: Errors::default(),
            over: u64::MAX,
            at_begin: None,
            at_end: None,
        }
    }

    /// Counts answered lines if `now` is within the measured time.
    pub fn done(&mut self, now: u64, lines: usize) {
        if self.schedule.measures(now) {
            self.done += lines as u64;
        }
    }

    pub fn took(&mut self, nanoseconds: u64, lines: usize) {
        self.latencies
            .saturating_record_n(nanoseconds, lines as u64);
    }

    pub fn fault(&mut self, fault: &Fault) {
        match fault {
            Fault::Wrong => self.errors.wrong += 1,
            Fault::Closed => self.errors.closed += 1,
            Fault::Refused(_) => self.errors.refused += 1,
        }
    }

    /// Notes the time used when an edge of the measured time has passed. Returns the next edge.
    pub fn watch(&mut self, now: u64) -> u64 {
        if now < self.schedule.begin {
            return self.schedule.begin;
        }

        if self.at_begin.is_none() {
            self.at_begin = Some(Used::now());
        }

        if now < self.schedule.end {
            return self.schedule.end;
        }

        if self.at_end.is_none() {
            self.at_end = Some(Used::now());
        }

        u64::MAX
    }

    /// Ends the load for this thread.
    pub fn end(&mut self, now: u64) {
        self.over = now.clamp(self.schedule.begin, self.schedule.end);
        let used = Used::now();
        self.at_begin.get_or_insert(used);
        self.at_end.get_or_insert(used);
    }

    fn used(&self) -> Used {
        match (self.at_begin, self.at_end) {
            (Some(begin), Some(end)) => Used {
                processor: end.processor - begin.processor,
                waiting: end.waiting - begin.waiting,
            },
            _ => Used::default(),
        }
    }
}

/// The time that a thread has used, in nanoseconds.
#[derive(Clone, Copy, Default)]
struct Used {
    processor: u64,
    /// The time for which it was ready to run but had no processor.
    waiting: u64,
}

impl Used {
    fn now() -> Self {
        Self {
            processor: clock::processor_time(),
            waiting: clock::waiting_time(),
        }
    }
}

/// Adds up the counts of all threads.
pub fn merge(tallies: &[Tally], schedule: Schedule) -> (Sample, GeneratorUse) {
    let over = tallies.iter().map(|tally| tally.over).max();
    let over = over.unwrap_or(schedule.begin).min(schedule.end);
    let nanoseconds = over.saturating_sub(schedule.begin);
    let mut sample = Sample {
        seconds: nanoseconds as f64 / 1e9,
        ..Sample::default()
    };

    // Counts and latencies.
    let mut latencies = Tally::new().latencies;
    for tally in tallies {
        sample.done += tally.done;
        sample.total += tally.total;
        sample.errors.wrong += tally.errors.wrong;
        sample.errors.closed += tally.errors.closed;
        sample.errors.refused += tally.errors.refused;
        sample.errors.unanswered += tally.errors.unanswered;
        latencies
            .add(&tally.latencies)
            .expect("histograms of one size");
    }
    sample.rate = share(sample.done, nanoseconds) * 1e9;
    sample.latency = latency(&latencies);

    // The busiest thread shows if the generator was the limit.
    let used = || tallies.iter().map(Tally::used);
    let busiest = used()
        .max_by_key(|used| used.processor + used.waiting)
        .unwrap_or_default();
    let generator = GeneratorUse {
        threads: tallies.len(),
        cpu: used().map(|used| used.processor).sum(),
        busy: share(busiest.processor, nanoseconds),
        starved: share(busiest.waiting, nanoseconds),
    };

    (sample, generator)
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

fn latency(latencies: &Histogram<u64>) -> Latency {
    if latencies.is_empty() {
        return Latency::default();
    }

    let at = |quantile| latencies.value_at_quantile(quantile);
    Latency {
        count: latencies.len(),
        mean: latencies.mean(),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p99_9: at(0.999),
        max: latencies.max(),
        quantiles: quantiles(latencies),
    }
}

/// Returns the curve from the shortest to the longest latency, with ten points for each further
/// nine (90 %, 99 %, …), as long as there are latencies beyond them.
fn quantiles(latencies: &Histogram<u64>) -> Vec<(f64, u64)> {
    let mut points = vec![(0.0, latencies.min())];

    for tenth in 1..60 {
        let beyond = 10_f64.powf(-f64::from(tenth) / 10.0);
        if beyond * (latencies.len() as f64) < 1.0 {
            break;
        }
        points.push((1.0 - beyond, latencies.value_at_quantile(1.0 - beyond)));
    }

    points.push((1.0, latencies.max()));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule {
        start: 0,
        begin: 1_000,
        end: 2_001_000,
    };

    fn tally(latencies: impl Iterator<Item = u64>) -> Tally {
        let mut tally = Tally::new();
        tally.schedule = SCHEDULE;
        for latency in latencies {
            tally.done(1_500, 1);
            tally.took(latency, 1);
        }
        tally.end(3_000_000);
        tally
    }

    #[test]
    fn only_what_is_done_within_the_measured_time_counts() {
        let mut tally = tally(std::iter::empty());
        for time in [999, 1_000, 2_000_999, 2_001_000] {
            tally.done(time, 3);
        }
        assert_eq!(tally.done, 6);
    }

    #[test]
    fn threads_add_up() {
        let tallies = [tally(1..=5_000), tally(5_001..=10_000)];
        let (sample, generator) = merge(&tallies, SCHEDULE);
        assert_eq!((sample.done, sample.latency.count), (10_000, 10_000));
        assert_eq!(sample.seconds, 0.002);
        assert_eq!(sample.rate, 5_000_000.0);
        assert_eq!(generator.threads, 2);
        let close = |value: u64, expected: u64| value.abs_diff(expected) * 500 <= expected;
        let latency = &sample.latency;
        assert!(
            close(latency.p50, 5_000) && close(latency.p99, 9_900),
            "{latency:?}"
        );
        assert!(
            close(latency.p99_9, 9_990) && close(latency.max, 10_000),
            "{latency:?}"
        );
    }

    #[test]
    fn quantiles_go_from_the_least_to_the_longest_and_never_back() {
        let (sample, _) = merge(&[tally(10..=100_000)], SCHEDULE);
        let points = sample.latency.quantiles;
        assert!((30..80).contains(&points.len()), "{}", points.len());
        assert_eq!(points[0], (0.0, 10));
        assert_eq!(points[points.len() - 1], (1.0, sample.latency.max));
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
    }

    #[test]
    fn nothing_measured_is_no_division_by_nothing() {
        let schedule = Schedule {
            end: SCHEDULE.begin,
            ..SCHEDULE
        };
        let (sample, generator) = merge(&[], schedule);
        assert_eq!((sample.rate, generator.busy), (0.0, 0.0));
        assert!(sample.latency.quantiles.is_empty());
    }
}
