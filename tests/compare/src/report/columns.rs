//! Names the figures of one measurement. They are the columns of each workload's table, and have
//! the same names in `report.json` and `report.csv`.

use super::format;
use super::summary::{cpu_per_line, latency, memory, switches_per_line};
use crate::record::{Figures, Workload};

/// The unit of a figure. It decides how a table shows the figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    PerSecond,
    /// Shown as microseconds.
    Nanoseconds,
    Count,
    /// Shown as KiB.
    Bytes,
    /// Shown in percent.
    Share,
}

impl Unit {
    pub fn show(self, figure: f64) -> String {
        match self {
            Self::PerSecond => format::short(figure),
            Self::Nanoseconds => format::number(figure / 1e3),
            Self::Count if figure.fract() == 0.0 => format::grouped(figure),
            Self::Count => format::number(figure),
            Self::Bytes => format::number(figure / 1024.0),
            Self::Share => format::number(figure * 100.0),
        }
    }

    /// Returns the text behind a column's title.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::PerSecond => ", per\u{a0}s",
            Self::Nanoseconds => ", µs",
            Self::Count => "",
            Self::Bytes => ", KiB",
            Self::Share => ", %",
        }
    }
}

pub struct Column {
    /// The name in JSON and CSV.
    pub key: &'static str,
    pub title: &'static str,
    pub unit: Unit,
    pub read: fn(&Workload, &Figures) -> Option<f64>,
}

const fn column(
    key: &'static str,
    title: &'static str,
    unit: Unit,
    read: fn(&Workload, &Figures) -> Option<f64>,
) -> Column {
    Column {
        key,
        title,
        unit,
        read,
    }
}

pub const COLUMNS: [Column; 16] = [
    column("rate", "rate", Unit::PerSecond, |_, f| Some(f.load.rate)),
    column("p50_ns", "p50", Unit::Nanoseconds, |_, f| {
        latency(f, f.load.latency.p50)
    }),
    column("p90_ns", "p90", Unit::Nanoseconds, |_, f| {
        latency(f, f.load.latency.p90)
    }),
    column("p99_ns", "p99", Unit::Nanoseconds, |_, f| {
        latency(f, f.load.latency.p99)
    }),
    column("p99_9_ns", "p99.9", Unit::Nanoseconds, |_, f| {
        latency(f, f.load.latency.p99_9)
    }),
    column("max_ns", "max", Unit::Nanoseconds, |_, f| {
        latency(f, f.load.latency.max)
    }),
    column("errors", "errors", Unit::Count, |_, f| {
        Some(f.load.errors.total() as f64)
    }),
    column(
        "cpu_per_line_ns",
        "server CPU per line",
        Unit::Nanoseconds,
        |_, f| cpu_per_line(f),
    ),
    column(
        "system_calls_per_line",
        "system calls per line",
        Unit::Count,
        |_, f| f.server.as_ref()?.system_calls_per_line,
    ),
    column(
        "context_switches_per_line",
        "switches per line",
        Unit::Count,
        |_, f| switches_per_line(f),
    ),
    column("threads", "threads", Unit::Count, |_, f| {
        Some(f.server.as_ref()?.threads as f64)
    }),
    column(
        "resident_per_connection",
        "resident per connection",
        Unit::Bytes,
        |w, f| Some(memory(w, f)?.resident),
    ),
    column(
        "memory_per_connection",
        "with page tables and stacks",
        Unit::Bytes,
        |w, f| Some(memory(w, f)?.total()),
    ),
    column("generator_busy", "generator busy", Unit::Share, |_, f| {
        Some(f.generator.busy)
    }),
    column(
        "generator_starved",
        "generator without a core",
        Unit::Share,
        |_, f| Some(f.generator.starved),
    ),
    column("others", "other programs", Unit::Share, |_, f| f.others),
];
