//! Defines a table: rows of text with marks and notes. Each page lays it out in its own way.
//!
//! A note appears once in a table, however many cells refer to it.

use serde::Serialize;

use super::format;
use super::summary::Cell;
use crate::record::Errors;

/// A server that answers a smaller share of the lines that were due did not keep up. Its latencies
/// then come from a queue that grows until the measurement ends.
const KEPT_UP: f64 = 0.95;

#[derive(Debug, Default, Serialize)]
pub struct Table {
    /// The id of the element in the page.
    pub id: String,
    pub caption: String,
    pub head: Vec<Entry>,
    pub rows: Vec<Row>,
    /// Numbered from 1 in this order.
    pub notes: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub struct Row {
    /// True for synchat's row.
    pub own: bool,
    /// The first cell heads the row.
    pub cells: Vec<Entry>,
}

/// The content of a cell.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Entry {
    pub text: String,
    /// Small text below `text`.
    pub small: String,
    /// Letters that the legend explains.
    pub marks: String,
    /// Numbers of the table's notes.
    pub notes: Vec<usize>,
    /// The colour. Arrows, marks or words always say the same.
    pub tone: Tone,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tone {
    #[default]
    Plain,
    /// Words, not a figure.
    Words,
    Ahead,
    Behind,
    Bad,
}

impl Entry {
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    pub fn words(text: impl Into<String>) -> Self {
        Self {
            tone: Tone::Words,
            ..Self::new(text)
        }
    }

    pub fn with_small(mut self, small: impl Into<String>) -> Self {
        self.small = small.into();
        self
    }

    pub fn unknown() -> Self {
        Self::new(format::UNKNOWN)
    }
}

impl Table {
    pub fn new(id: impl Into<String>, caption: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            caption: caption.into(),
            ..Self::default()
        }
    }

    /// Adds a note, unless the table has it already. Returns its number.
    pub fn note(&mut self, text: String) -> usize {
        let known = self.notes.iter().position(|note| *note == text);
        1 + known.unwrap_or_else(|| {
            self.notes.push(text);
            self.notes.len() - 1
        })
    }

    /// Adds notes to `entry` about all that went wrong in `cell`.
    pub fn refer(&mut self, entry: &mut Entry, cell: &Cell) {
        let whole = cell.rounds.is_empty();
        let reasons = |kind: &str, reasons: &[(usize, String)]| -> Vec<String> {
            let text = |(round, why): &(usize, String)| match whole {
                true => why.clone(),
                false => format!("{kind} in round {}: {why}", round + 1),
            };
            reasons.iter().map(text).collect()
        };

        let mut texts = reasons("failed", &cell.failed);
        texts.extend(reasons("skipped", &cell.skipped));
        texts.extend(errors(cell));
        texts.extend(left_behind(cell));

        for text in texts {
            let note = self.note(text);
            if !entry.notes.contains(&note) {
                entry.notes.push(note);
            }
        }
    }
}

/// Counts the errors of all rounds, by kind.
fn errors(cell: &Cell) -> Option<String> {
    let sum =
        |of: fn(&Errors) -> u64| -> u64 { cell.rounds.values().map(|f| of(&f.load.errors)).sum() };
    let kinds = [
        (sum(|e| e.wrong), "connections with a wrong byte"),
        (sum(|e| e.closed), "connections closed by the server"),
        (sum(|e| e.refused), "connections that could not be made"),
        (sum(|e| e.unanswered), "lines without an answer"),
    ];

    let texts: Vec<String> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{what}: {}", format::grouped(*count as f64)))
        .collect();
    (!texts.is_empty()).then(|| format!("errors: {}", texts.join(", ")))
}

/// Says how much a server answered that did not keep up with the open loop.
fn left_behind(cell: &Cell) -> Option<String> {
    let intended = cell.stat(|figures| figures.load.intended_rate)?.median;
    let rate = cell.stat(|figures| Some(figures.load.rate))?.median;
    let (did, of) = (format::short(rate), format::short(intended));
    (rate < KEPT_UP * intended).then(|| format!("did not keep up: {did} of {of} lines a second"))
}
