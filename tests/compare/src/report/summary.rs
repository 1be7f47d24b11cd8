//! Folds the records into cells, one for each server, workload and variant. Tables, pictures and
//! sentences are made of these cells.
//!
//! A ratio is computed within each round, from two servers measured at most minutes apart. Only
//! then is the median taken over the rounds. A machine that slows down slows both servers, so their
//! ratio stays. The cost is that a round in which either server failed gives no ratio. A ratio may
//! therefore rest on fewer rounds than the figures it compares, and [`Stat`] says on how many.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::record::{
    Figures, Kind, Measurement, Model, Outcome, Record, Run, Server, Variant, Workload,
};

/// The server that the others are compared with.
pub const SYNCHAT: &str = "synchat";

/// A generator that is busy for this share of the time or more is taken to limit the result.
pub const BOUND: f64 = 0.8;

/// A measurement counts as disturbed if others used this share of the processors' time or more. In
/// the results of 2026-11-25 the median over the rounds is 0 to 9 %, which is interrupts.
pub const DISTURBED: f64 = 0.15;

/// With fewer connections, the server's basic memory hides the memory that each connection needs.
pub const CROWD: usize = 500;

/// The size of one thread's kernel stack, which no counter of the process shows.
const KERNEL_STACK: f64 = 16.0 * 1024.0;

/// Median and range over the rounds. There is at least one figure, and all are finite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stat {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub rounds: usize,
}

impl Stat {
    /// Returns `None` if there is no figure. Figures that are not finite are left out.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().filter(|f| f.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);

        let (min, max) = (*sorted.first()?, *sorted.last()?);

        let half = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[half - 1], sorted[half])
        } else {
            sorted[half]
        };

        Some(Self {
            median,
            min,
            max,
            rounds: sorted.len(),
        })
    }

    /// Returns true if this run cannot tell the ratio from 1. Then there was only one round, or the
    /// rounds disagree, or the difference is too small to print.
    pub fn straddles_one(&self) -> bool {
        self.rounds < 2 || self.min <= 1.0 && self.max >= 1.0 || (self.median - 1.0).abs() < 0.005
    }
}

/// A figure by which servers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    Rate,
    P99,
    CpuPerLine,
    MemoryPerConnection,
}

impl Figure {
    /// Returns the figure that a kind of workload is about.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Idle | Kind::Open => Self::P99,
            Kind::PingPong | Kind::Pipelined | Kind::Lengths | Kind::Connects => Self::Rate,
        }
    }

    pub fn less_is_better(self) -> bool {
        self != Self::Rate
    }

    pub fn read(self, workload: &Workload, figures: &Figures) -> Option<f64> {
        match self {
            Self::Rate => Some(figures.load.rate),
            Self::P99 => latency(figures, figures.load.latency.p99),
            Self::CpuPerLine => cpu_per_line(figures),
            Self::MemoryPerConnection => memory(workload, figures).map(|memory| memory.total()),
        }
    }
}

/// Returns a latency, or `None` if no line was answered.
pub fn latency(figures: &Figures, nanoseconds: u64) -> Option<f64> {
    (figures.load.latency.count > 0).then_some(nanoseconds as f64)
}

/// Returns the server's processor time per line, or per connection, in nanoseconds.
pub fn cpu_per_line(figures: &Figures) -> Option<f64> {
    each(figures.server.as_ref()?.cpu, figures.load.done)
}

/// Returns the context switches per line, over the whole life of the process.
pub fn switches_per_line(figures: &Figures) -> Option<f64> {
    each(
        figures.server.as_ref()?.context_switches,
        figures.load.total,
    )
}

fn each(of_all: u64, lines: u64) -> Option<f64> {
    (lines > 0).then(|| of_all as f64 / lines as f64)
}

/// Bytes per open connection. Sockets are left out: they belong to the kernel and cost the same
/// for all servers.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub resident: f64,
    pub page_tables: f64,
    pub kernel_stacks: f64,
}

impl Memory {
    pub fn total(&self) -> f64 {
        self.resident + self.page_tables + self.kernel_stacks
    }
}

pub fn memory(workload: &Workload, figures: &Figures) -> Option<Memory> {
    let open = workload.connections + workload.idle;
    let server = figures.server.as_ref()?;
    let each = |after: u64, before: u64| (after as f64 - before as f64) / open as f64;
    let errors = &figures.load.errors;
    // Memory divided by connections that were not open would be wrong.
    let all_open = errors.closed == 0 && errors.refused == 0 && errors.wrong == 0;

    (open >= CROWD && all_open && workload.kind != Kind::Connects).then(|| Memory {
        resident: each(server.resident, server.resident_before),
        page_tables: each(server.page_tables, server.page_tables_before),
        kernel_stacks: each(server.threads, server.threads_before) * KERNEL_STACK,
    })
}

/// Returns the rate at which the generator's busiest thread would be busy all the time.
fn capacity(figures: &Figures) -> Option<f64> {
    Some(figures.load.done as f64 / (figures.generator.busy * figures.load.seconds))
}

/// One server under one workload in one variant.
#[derive(Debug, Default)]
pub struct Cell {
    pub rounds: BTreeMap<usize, Figures>,
    /// The round and the reason of each failure.
    pub failed: Vec<(usize, String)>,
    pub skipped: Vec<(usize, String)>,
}

impl Cell {
    pub fn stat(&self, figure: impl Fn(&Figures) -> Option<f64>) -> Option<Stat> {
        Stat::of(self.rounds.values().filter_map(figure))
    }

    /// Returns true if a ratio covers every round that was tried, and no round had an error.
    pub fn agrees(&self, ratio: Stat) -> bool {
        self.errors() == 0 && ratio.rounds == self.rounds.len() + self.failed.len()
    }

    pub fn errors(&self) -> u64 {
        let errors = self.rounds.values().map(|f| f.load.errors.total());
        errors.sum()
    }
}

/// All data that the reports are made of.
pub struct Summary {
    pub run: Run,
    /// The end of the run; `None` if the run ended early.
    pub finished: Option<String>,
    /// The servers in the order of the run, with [`SYNCHAT`] first.
    pub servers: Vec<Server>,
    pub measurements: Vec<Measurement>,
    cells: BTreeMap<(Variant, String, String), Cell>,
}

impl Summary {
    /// Returns `None` if the first record is not a run.
    pub fn new(records: &[Record]) -> Option<Self> {
        let Some(Record::Run(run)) = records.first() else {
            return None;
        };
        let mut summary = Self {
            run: run.clone(),
            finished: None,
            servers: Vec::new(),
            measurements: Vec::new(),
            cells: BTreeMap::new(),
        };

        for record in &records[1..] {
            match record {
                Record::Run(_) => {}
                Record::Server(server) => summary.add_server(server.clone()),
                Record::Measurement(measurement) => summary.add(measurement),
                Record::End { finished } => summary.finished = Some(finished.clone()),
            }
        }

        summary.servers.sort_by_key(|server| server.name != SYNCHAT);
        Some(summary)
    }

    fn add_server(&mut self, server: Server) {
        if self.server(&server.name).is_none() {
            self.servers.push(server);
        }
    }

    fn add(&mut self, measurement: &Measurement) {
        let Measurement {
            server,
            workload,
            variant,
            round,
            outcome,
        } = measurement;
        self.measurements.push(measurement.clone());

        let key = (*variant, workload.clone(), server.clone());
        let cell = self.cells.entry(key).or_default();
        match outcome {
            Outcome::Figures(figures) => {
                cell.rounds.insert(*round, (**figures).clone());
            }
            Outcome::Failed(why) => cell.failed.push((*round, why.clone())),
            Outcome::Skipped(why) => cell.skipped.push((*round, why.clone())),
        }
    }

    pub fn server(&self, name: &str) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// Returns the servers that do the same work as synchat and are available here.
    pub fn others(&self) -> impl Iterator<Item = &Server> {
        self.peers().filter(|server| server.name != SYNCHAT)
    }

    /// Returns synchat and those others. The reflector is not among them.
    pub fn peers(&self) -> impl Iterator<Item = &Server> {
        self.present()
            .filter(|server| server.model != Model::Reflector)
    }

    /// Returns all servers that are available here.
    pub fn present(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| server.absent.is_none())
    }

    pub fn cell(&self, variant: Variant, workload: &str, server: &str) -> Option<&Cell> {
        let key = (variant, workload.to_owned(), server.to_owned());
        self.cells.get(&key)
    }

    pub fn cells(&self) -> impl Iterator<Item = (Variant, &str, &str, &Cell)> {
        self.cells
            .iter()
            .map(|((variant, workload, server), cell)| (*variant, &**workload, &**server, cell))
    }

    pub fn workload(&self, name: &str) -> Option<&Workload> {
        self.run.workloads.iter().find(|w| w.name == name)
    }

    /// Returns the workloads that were measured in `variant`, in the order of the run.
    pub fn workloads(&self, variant: Variant) -> Vec<&Workload> {
        let measured = |w: &&Workload| {
            self.cells()
                .any(|(v, name, ..)| v == variant && name == w.name)
        };
        self.run.workloads.iter().filter(measured).collect()
    }

    /// Returns the placement that most of the report is about. The others have one section.
    pub fn main_variant(&self) -> Variant {
        let measured = |variant: &Variant| self.cells().any(|(v, ..)| v == *variant);
        let mut variants = std::iter::once(Variant::Shared).chain(self.run.variants.clone());
        variants.find(measured).unwrap_or(Variant::Shared)
    }

    pub fn stat(
        &self,
        variant: Variant,
        workload: &Workload,
        server: &str,
        figure: Figure,
    ) -> Option<Stat> {
        self.cell(variant, &workload.name, server)?
            .stat(|figures| figure.read(workload, figures))
    }

    /// Returns the ratio of `server` to `base`, computed in each round. The two may be of different
    /// variants.
    pub fn ratio(
        &self,
        workload: &Workload,
        server: (Variant, &str),
        base: (Variant, &str),
        figure: Figure,
    ) -> Option<Stat> {
        let above = self.cell(server.0, &workload.name, server.1)?;
        let below = self.cell(base.0, &workload.name, base.1)?;
        Stat::of(above.rounds.iter().filter_map(|(round, figures)| {
            let below = figure.read(workload, below.rounds.get(round)?)?;
            Some(figure.read(workload, figures)? / below)
        }))
    }

    /// Returns the highest rate that the generator can reach in this workload. The server that
    /// costs the generator least shows it. There is none in the open loop, where the rate is fixed.
    pub fn ceiling(&self, variant: Variant, workload: &Workload) -> Option<Stat> {
        if workload.kind == Kind::Open {
            return None;
        }

        let of_each = self.present().filter_map(|server| {
            self.cell(variant, &workload.name, &server.name)?
                .stat(capacity)
        });
        of_each.max_by(|a, b| a.median.total_cmp(&b.median))
    }

    /// Returns true if the generator limited this server's result: the generator's busiest thread
    /// ran for [`BOUND`] of the time or more.
    pub fn bound(&self, variant: Variant, workload: &Workload, server: &str) -> bool {
        self.cell(variant, &workload.name, server)
            .and_then(|cell| cell.stat(|figures| Some(figures.generator.busy)))
            .is_some_and(|busy| busy.median >= BOUND)
    }

    /// Returns the number of measurements in the whole run, as far as its records tell. Outside the
    /// main variant, only workloads that were begun are known to be part of the plan.
    pub fn planned(&self) -> usize {
        let main = self.main_variant();
        let beside = self.cells.keys().filter(|(variant, ..)| *variant != main);
        let all = self.run.workloads.len() * self.present().count() + beside.count();
        (all * self.run.rounds).max(self.measurements.len())
    }
}

/// Returns the rows of the check that a server passed, as in `12/14`, and true if it passed all.
/// Returns `None` for a server without rows.
pub fn passed(server: &Server) -> Option<(String, bool)> {
    let (passed, all) = (
        server.check.iter().filter(|row| row.passed).count(),
        server.check.len(),
    );
    (all > 0).then(|| (format!("{passed}/{all}"), passed == all))
}

#[cfg(test)]
mod tests {
    use super::Stat;

    #[test]
    fn a_stat_is_of_what_is_finite() {
        let stat = |figures: &[f64]| Stat::of(figures.iter().copied());
        assert_eq!(stat(&[]), None);
        assert_eq!(stat(&[f64::NAN, f64::INFINITY]), None);
        let odd = stat(&[3.0, f64::NAN, 1.0, 2.5]).expect("three figures");
        assert_eq!(
            (odd.median, odd.min, odd.max, odd.rounds),
            (2.5, 1.0, 3.0, 3)
        );
        assert_eq!(stat(&[4.0, 1.0, 2.0, 3.0]).expect("four").median, 2.5);
    }

    #[test]
    fn a_range_with_one_in_it_shows_no_difference() {
        let straddles =
            |figures: &[f64]| Stat::of(figures.iter().copied()).map(|s| s.straddles_one());
        assert_eq!(straddles(&[0.9, 1.1]), Some(true));
        assert_eq!(straddles(&[1.01, 1.2]), Some(false));
        assert_eq!(straddles(&[0.8, 0.99]), Some(false));
    }
}
