//! The records folded into cells, one for each server, workload and variant: what tables, pictures
//! and words are made of.
//!
//! A ratio is formed within each round, of two servers that were measured minutes apart at most,
//! and only then is the median taken over the rounds: a machine that slows down slows both. What
//! this costs: a round in which either failed tells nothing, so a ratio may rest on fewer rounds
//! than the figures that it compares, and [`Stat`] says on how many.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::record::{
    Figures, Kind, Measurement, Model, Outcome, Record, Run, Server, Variant, Workload,
};

/// The server that the others are compared with.
pub const SYNCHAT: &str = "synchat";

/// From this share of its time on the generator and not the server is taken to be what ended the
/// growth.
pub const BOUND: f64 = 0.8;

/// From this share of the processors' time on others are taken to have disturbed a measurement. In
/// the results of 2026-11-25 the median over the rounds is 0 to 9 %: interrupts.
pub const DISTURBED: f64 = 0.15;

/// With fewer connections the memory that each takes drowns in what the server takes anyway.
pub const CROWD: usize = 500;

/// The kernel's stack of one thread, which no counter of the process shows.
const KERNEL_STACK: f64 = 16.0 * 1024.0;

/// Median and range over the rounds; of finite figures, and of at least one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stat {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub rounds: usize,
}

impl Stat {
    /// None where there is no figure. What is not finite is none.
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

    /// Whether this run cannot tell the ratio from 1: there was one round, or some said more and
    /// some less, or the difference is too small to print.
    pub fn straddles_one(&self) -> bool {
        self.rounds < 2 || self.min <= 1.0 && self.max >= 1.0 || (self.median - 1.0).abs() < 0.005
    }
}

/// A figure of one measurement, by which servers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    Rate,
    P99,
    CpuPerLine,
    MemoryPerConnection,
}

impl Figure {
    /// What a workload is about.
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

/// Unknown where no line was answered.
pub fn latency(figures: &Figures, nanoseconds: u64) -> Option<f64> {
    (figures.load.latency.count > 0).then_some(nanoseconds as f64)
}

/// Nanoseconds of the server's processor time for each line, or connection, that it served.
pub fn cpu_per_line(figures: &Figures) -> Option<f64> {
    each(figures.server.as_ref()?.cpu, figures.load.done)
}

/// Context switches for each line of the process's whole life.
pub fn switches_per_line(figures: &Figures) -> Option<f64> {
    each(
        figures.server.as_ref()?.context_switches,
        figures.load.total,
    )
}

fn each(of_all: u64, lines: u64) -> Option<f64> {
    (lines > 0).then(|| of_all as f64 / lines as f64)
}

/// Bytes for each open connection. Sockets are left out, since they are the kernel's, and the same
/// for all.
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
    let all_open = errors.closed == 0 && errors.refused == 0 && errors.wrong == 0;
    (open >= CROWD && all_open && workload.kind != Kind::Connects).then(|| Memory {
        resident: each(server.resident, server.resident_before),
        page_tables: each(server.page_tables, server.page_tables_before),
        kernel_stacks: each(server.threads, server.threads_before) * KERNEL_STACK,
    })
}

/// The rate at which the generator's busiest thread would run all the time.
fn capacity(figures: &Figures) -> Option<f64> {
    Some(figures.load.done as f64 / (figures.generator.busy * figures.load.seconds))
}

/// One server under one workload in one variant.
#[derive(Debug, Default)]
pub struct Cell {
    pub rounds: BTreeMap<usize, Figures>,
    /// Round and reason.
    pub failed: Vec<(usize, String)>,
    pub skipped: Vec<(usize, String)>,
}

impl Cell {
    pub fn stat(&self, figure: impl Fn(&Figures) -> Option<f64>) -> Option<Stat> {
        Stat::of(self.rounds.values().filter_map(figure))
    }

    /// Whether a ratio is of every round that was tried, without an error in any.
    pub fn agrees(&self, ratio: Stat) -> bool {
        self.errors() == 0 && ratio.rounds == self.rounds.len() + self.failed.len()
    }

    pub fn errors(&self) -> u64 {
        let errors = self.rounds.values().map(|f| f.load.errors.total());
        errors.sum()
    }
}

/// All that the reports are made of.
pub struct Summary {
    pub run: Run,
    /// None where the run was ended early.
    pub finished: Option<String>,
    /// In their order, with [`SYNCHAT`] first.
    pub servers: Vec<Server>,
    pub measurements: Vec<Measurement>,
    cells: BTreeMap<(Variant, String, String), Cell>,
}

impl Summary {
    /// None where the first record is not a run.
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

    /// The others that do the same work, and can be here.
    pub fn others(&self) -> impl Iterator<Item = &Server> {
        self.peers().filter(|server| server.name != SYNCHAT)
    }

    /// All that do the same work, and can be here: no reflector.
    pub fn peers(&self) -> impl Iterator<Item = &Server> {
        self.present()
            .filter(|server| server.model != Model::Reflector)
    }

    /// All that can be here.
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

    /// Those that have a measurement in `variant`, in their order.
    pub fn workloads(&self, variant: Variant) -> Vec<&Workload> {
        let measured = |w: &&Workload| {
            self.cells()
                .any(|(v, name, ..)| v == variant && name == w.name)
        };
        self.run.workloads.iter().filter(measured).collect()
    }

    /// The placement that the report is about, where others are a section of it.
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

    /// `server` to `base`, round by round. Each may be of a variant of its own.
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

    /// The most that the generator can do under this workload, as the server shows that asks the
    /// least of it; none in the open loop, where the rate is given.
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

    /// Whether the generator was what bounded this server's result: it came within a fifth of what
    /// the generator, as this server keeps it busy, can do at most.
    pub fn bound(&self, variant: Variant, workload: &Workload, server: &str) -> bool {
        self.cell(variant, &workload.name, server)
            .and_then(|cell| cell.stat(|figures| Some(figures.generator.busy)))
            .is_some_and(|busy| busy.median >= BOUND)
    }

    /// How many measurements the whole run is of, as far as its records tell: in the variants other
    /// than the main one only what was begun is known to be in the plan.
    pub fn planned(&self) -> usize {
        let main = self.main_variant();
        let beside = self.cells.keys().filter(|(variant, ..)| *variant != main);
        let all = self.run.workloads.len() * self.present().count() + beside.count();
        (all * self.run.rounds).max(self.measurements.len())
    }
}

/// `12/14`, and whether it is all of them. None for a server that has no rows.
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
