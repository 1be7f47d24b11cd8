//! Makes `report.html`, `.md`, `.json` and `.csv` from a raw file.
//!
//! | file | idea |
//! |---|---|
//! | `summary.rs` | records folded into cells; medians, ranges, ratios |
//! | `columns.rs` | the figures of one measurement, by name |
//! | `format.rs` | figures as text |
//! | `words.rs` | the figures in sentences |
//! | `how.rs` | how they were measured |
//! | `table.rs` | a table: rows, marks, notes |
//! | `tables.rs` | the figures in tables |
//! | `pictures/` | the figures in pictures |
//! | `pages.rs` | sentences, tables and pictures, put into the two pages |
//! | `data.rs` | the two files for other programs |
//!
//! The report depends only on the records. It reads no clock, no machine and no settings, so a raw
//! file from another machine gives the same report here.

mod columns;
mod data;
mod format;
mod how;
mod pages;
mod pictures;
mod summary;
mod table;
mod tables;
mod words;

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::record::Record;
pub use summary::Stat;
use summary::Summary;

/// Writes the four files into `folder`, each whole or not at all.
pub fn write(records: &[Record], folder: &Path) -> anyhow::Result<()> {
    let summary = Summary::new(records).context("there is no run to report")?;
    let page = pages::Page::new(&summary)?;
    let files = [
        ("report.html", page.html()?),
        ("report.md", page.markdown()?),
        ("report.json", data::json(&summary)?),
        ("report.csv", data::csv(&summary)?),
    ];

    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for (name, text) in files {
        replace(&folder.join(name), &text)
            .with_context(|| folder.join(name).display().to_string())?;
    }
    Ok(())
}

/// Replaces a file at once. A reader sees the old file or the new one, never half of either.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let unfinished = path.with_extension(format!("{}.new", std::process::id()));
    let done = fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, path));
    if done.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    Ok(done?)
}
