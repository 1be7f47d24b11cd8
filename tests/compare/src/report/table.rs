//! What a table is: rows of text with marks and notes, which both pages lay out their own way.
//!
//! A note is written once in a table however many cells refer to it.

use serde::Serialize;

use super::format;
use super::summary::Cell;
use crate::record::Errors;

/// With a smaller share of the lines that were due, a server did not keep up: its latencies are
/// then those of a queue that grows for as long as the measurement lasts.
const KEPT_UP: f64 = 0.95;

#[derive(Debug, Default, Serialize)]
pub struct Table {
    /// Of the element in the page.
    pub id: String,
    pub caption: String,
    pub head: Vec<Entry>,
    pub rows: Vec<Row>,
    /// Numbered from 1 in this order.
    pub notes: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub struct Row {
    /// The row of synchat.
    pub own: bool,
    /// The first heads the row.
    pub cells: Vec<Entry>,
}

/// The content of a cell.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Entry {
    pub text: String,
    /// Beneath it.
    pub small: String,
    /// Letters that the legend explains.
    pub marks: String,
    /// Numbers of the table's notes.
    pub notes: Vec<usize>,
    /// How it is coloured; never the only way in which it is told.
    pub tone: Tone,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tone {
    #[default]
    Plain,
    /// Text to be read, not a figure.
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

    /// The number of the note that says so.
    pub fn note(&mut self, text: String) -> usize {
        let known = self.notes.iter().position(|note| *note == text);
        1 + known.unwrap_or_else(|| {
            self.notes.push(text);
            self.notes.len() - 1
        })
    }

    /// Says in `entry` what went wrong beside its figures.
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

/// What the errors of all rounds were.
fn errors(cell: &Cell) -> Option<String> {
    let sum =
        |of: fn(&Errors) -> u64| -> u64 { cell.rounds.values().map(|f| of(&f.load.errors)).sum() };
    let kinds = [
        (sum(|e| e.wrong), "connections got a wrong byte"),
        (sum(|e| e.closed), "connections ended by the server"),
        (sum(|e| e.refused), "connections not made"),
        (sum(|e| e.unanswered), "lines not answered"),
    ];
    let texts: Vec<String> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{what}: {}", format::grouped(*count as f64)))
        .collect();
    (!texts.is_empty()).then(|| format!("errors: {}", texts.join(", ")))
}

/// In the open loop: what was sent, where the server did not keep up with it.
fn left_behind(cell: &Cell) -> Option<String> {
    let intended = cell.stat(|figures| figures.load.intended_rate)?.median;
    let rate = cell.stat(|figures| Some(figures.load.rate))?.median;
    let (did, of) = (format::short(rate), format::short(intended));
    (rate < KEPT_UP * intended).then(|| format!("did not keep up: {did} of {of} lines a second"))
}
