//! Puts sentences, tables and pictures into two pages. `report.html` needs no other file.
//! `report.md` is the same without the pictures.
//!
//! Every value is escaped for its page as it enters. Only the pictures enter unchanged, because
//! they are escaped where they are drawn.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, Error, Output, State};
use serde::Serialize;

use super::format;
use super::how;
use super::pictures::{self, Picture};
use super::summary::{BOUND, CROWD, Summary};
use super::table::Table;
use super::tables;
use super::words::{self, Statement};
use crate::record::{Run, Variant};

const HTML: &str = include_str!("../../templates/report.html");
const MARKDOWN: &str = include_str!("../../templates/report.md");

/// The content of both pages.
#[derive(Serialize)]
pub struct Page<'a> {
    run: &'a Run,
    finished: Option<&'a str>,
    measured: String,
    planned: String,
    /// The names of all compared servers except synchat.
    others: String,
    placement: &'static str,
    bound: String,
    crowd: usize,
    how: Vec<String>,
    /// All rounds agree by chance once in so many cases.
    odds: String,
    absent: Vec<Absent>,
    statements: Vec<Statement>,
    ratios: Table,
    pictures: Vec<Picture>,
    workloads: Vec<Table>,
    check: Table,
    variants: Vec<VariantSection>,
    machine: Table,
    servers: Table,
}

#[derive(Serialize)]
struct Absent {
    name: String,
    why: String,
}

#[derive(Serialize)]
struct VariantSection {
    name: &'static str,
    what: &'static str,
    tables: Vec<Table>,
}

impl<'a> Page<'a> {
    pub fn new(summary: &'a Summary) -> anyhow::Result<Self> {
        let main = summary.main_variant();
        let others: Vec<String> = summary.others().map(|server| server.name.clone()).collect();
        let absent = summary.servers.iter().filter_map(|server| {
            let why = server.absent.clone()?;
            let name = server.name.clone();
            Some(Absent { name, why })
        });

        let more = if summary.run.variants.len() > 1 {
            "at least "
        } else {
            ""
        };

        Ok(Self {
            run: &summary.run,
            finished: summary.finished.as_deref(),
            measured: format::count(summary.measurements.len()),
            planned: format!("{more}{}", format::count(summary.planned())),
            others: format::list(&others),
            placement: tables::variant_name(main),
            bound: format::grouped(BOUND * 100.0),
            crowd: CROWD,
            how: how::paragraphs(&summary.run, main),
            odds: format::grouped(2_f64.powf(summary.run.rounds as f64 - 1.0)),
            absent: absent.collect(),
            statements: words::statements(summary),
            ratios: tables::ratios(summary, main, "ratios-table"),
            pictures: pictures::all(summary)?,
            workloads: summary
                .workloads(main)
                .into_iter()
                .map(|workload| tables::workload(summary, main, workload))
                .collect(),
            check: tables::check(summary),
            variants: variants(summary, main),
            machine: tables::machine(summary),
            servers: tables::servers(summary),
        })
    }

    pub fn html(&self) -> anyhow::Result<String> {
        self.render("report.html", HTML)
    }

    pub fn markdown(&self) -> anyhow::Result<String> {
        self.render("report.md", MARKDOWN)
    }

    fn render(&self, name: &str, source: &str) -> anyhow::Result<String> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|name| match name {
            "report.html" => AutoEscape::Html,
            _ => AutoEscape::Custom("markdown".into()),
        });
        environment.set_formatter(escape);

        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        environment.set_syntax(syntax.keep_trailing_newline(true).build()?);

        environment.add_template(name, source)?;
        let page = environment.get_template(name)?;
        Ok(page.render(Value::from(Serde(self)))?)
    }
}

/// Makes a section for each variant except the main one. It compares each server with synchat, and
/// with itself in the main variant.
fn variants(summary: &Summary, main: Variant) -> Vec<VariantSection> {
    let beside = summary.run.variants.iter().filter(|v| **v != main);
    let measured = beside.filter(|variant| !summary.workloads(**variant).is_empty());

    let section = |(place, variant): (usize, &Variant)| VariantSection {
        name: tables::variant_name(*variant),
        what: tables::variant_what(*variant),
        tables: vec![
            tables::ratios(summary, *variant, &format!("variant-{place}-ratios")),
            tables::changes(summary, *variant, &format!("variant-{place}-changes")),
        ],
    };

    measured.enumerate().map(section).collect()
}

fn escape(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match state.auto_escape() {
        AutoEscape::Custom(_) if value.is_safe() => Ok(out.write_str(&value.to_string())?),
        AutoEscape::Custom(_) => Ok(out.write_str(&markdown(&value.to_string()))?),
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// Escapes text so that Markdown shows it unchanged, in a table and outside.
fn markdown(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '#' | '~' => escaped.extend(['\\', letter]),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    #[test]
    fn markdown_shows_what_it_was_given() {
        assert_eq!(
            super::markdown("a|b\n<script> & `c`"),
            "a\\|b &lt;script&gt; &amp; \\`c\\`"
        );
    }
}
