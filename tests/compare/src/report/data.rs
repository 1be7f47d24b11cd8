//! Writes the report for other programs: `report.json` with the cells, and `report.csv` with one
//! row per measurement.
//!
//! Both hold plain numbers in the units of `record.rs`. An unknown figure is `null` in JSON and
//! empty in CSV.

use serde_json::{Map, Value, json};

use super::columns::COLUMNS;
use super::summary::{Cell, Figure, SYNCHAT, Stat, Summary, memory};
use crate::record::{Figures, Measurement, Outcome, Variant, Workload};

/// Increase this whenever a name or a meaning in either file changes.
const SCHEMA: u32 = 1;

pub fn json(summary: &Summary) -> anyhow::Result<String> {
    let cells = summary
        .cells()
        .filter_map(|(variant, workload, server, cell)| {
            Some(cell_json(
                summary,
                variant,
                summary.workload(workload)?,
                server,
                cell,
            ))
        });

    let report = json!({
        "schema": SCHEMA,
        "run": summary.run,
        "finished": summary.finished,
        "complete": summary.finished.is_some(),
        "measurements": summary.measurements.len(),
        "planned": summary.planned(),
        "ratios_to": SYNCHAT,
        "servers": summary.servers,
        "ceilings": ceilings(summary),
        "cells": cells.collect::<Vec<_>>(),
    });

    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

fn ceilings(summary: &Summary) -> Vec<Value> {
    let variants = &summary.run.variants;
    let all = variants.iter().flat_map(|variant| {
        summary
            .workloads(*variant)
            .into_iter()
            .filter_map(move |workload| {
                let rate = summary.ceiling(*variant, workload)?;
                Some(json!({"variant": variant, "workload": workload.name, "rate": rate}))
            })
    });

    all.collect()
}

fn cell_json(
    summary: &Summary,
    variant: Variant,
    workload: &Workload,
    server: &str,
    cell: &Cell,
) -> Value {
    let figure = Figure::of(workload.kind);
    let ratio = summary.ratio(workload, (variant, server), (variant, SYNCHAT), figure);

    let figures: Map<String, Value> = COLUMNS
        .iter()
        .map(|column| {
            let stat: Option<Stat> = cell.stat(|figures| (column.read)(workload, figures));
            (column.key.to_owned(), json!(stat))
        })
        .collect();

    let round = |(round, figures): (&usize, &Figures)| {
        let mut values = Map::from_iter([("round".to_owned(), json!(round))]);
        values.extend(COLUMNS.iter().map(|column| {
            let value = (column.read)(workload, figures);
            (column.key.to_owned(), json!(value))
        }));
        Value::Object(values)
    };

    let reasons = |reasons: &[(usize, String)]| -> Vec<Value> {
        let one = |(round, why): &(usize, String)| json!({"round": round, "why": why});
        reasons.iter().map(one).collect()
    };

    json!({
        "variant": variant,
        "workload": workload.name,
        "server": server,
        "compared": figure,
        "ratio": ratio,
        "generator_bound": summary.bound(variant, workload, server),
        "figures": figures,
        "rounds": cell.rounds.iter().map(round).collect::<Vec<_>>(),
        "failed": reasons(&cell.failed),
        "skipped": reasons(&cell.skipped),
    })
}

/// The columns of `report.csv` before the columns of `columns.rs`.
const ABOUT: [&str; 10] = [
    "server",
    "model",
    "workload",
    "kind",
    "connections",
    "idle",
    "variant",
    "round",
    "outcome",
    "reason",
];

/// The columns of `report.csv` behind the columns of `columns.rs`.
const BEHIND: [&str; 13] = [
    "seconds",
    "done",
    "intended_rate",
    "errors_wrong",
    "errors_closed",
    "errors_refused",
    "errors_unanswered",
    "server_cpu_ns",
    "virtual_size",
    "page_tables_per_connection",
    "kernel_stacks_per_connection",
    "generator_threads",
    "generator_cpu_ns",
];

pub fn csv(summary: &Summary) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let columns = COLUMNS.iter().map(|column| column.key);
    writer.write_record(ABOUT.into_iter().chain(columns).chain(BEHIND))?;

    for measurement in &summary.measurements {
        writer.write_record(row(summary, measurement))?;
    }

    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn row(summary: &Summary, measurement: &Measurement) -> Vec<String> {
    let workload = summary.workload(&measurement.workload);
    let (outcome, reason, figures) = match &measurement.outcome {
        Outcome::Figures(figures) => ("figures", "", Some(&**figures)),
        Outcome::Failed(why) => ("failed", why.as_str(), None),
        Outcome::Skipped(why) => ("skipped", why.as_str(), None),
    };
    let model = summary.server(&measurement.server).map(|s| s.model);

    // The columns before those of columns.rs, then those, then the rest.
    let mut row = vec![
        measurement.server.clone(),
        name(&json!(model)),
        measurement.workload.clone(),
        name(&json!(workload.map(|w| w.kind))),
        name(&json!(workload.map(|w| w.connections))),
        name(&json!(workload.map(|w| w.idle))),
        name(&json!(measurement.variant)),
        measurement.round.to_string(),
        outcome.to_owned(),
        reason.to_owned(),
    ];

    let both = workload.zip(figures);
    row.extend(COLUMNS.iter().map(|column| {
        let figure = both.and_then(|(workload, figures)| (column.read)(workload, figures));
        name(&json!(figure))
    }));

    row.extend(behind(workload, figures));
    row
}

fn behind(workload: Option<&Workload>, figures: Option<&Figures>) -> [String; 13] {
    let Some(f) = figures else {
        return [const { String::new() }; 13];
    };

    let memory = workload.and_then(|workload| memory(workload, f));
    let errors = f.load.errors;

    [
        json!(f.load.seconds),
        json!(f.load.done),
        json!(f.load.intended_rate),
        json!(errors.wrong),
        json!(errors.closed),
        json!(errors.refused),
        json!(errors.unanswered),
        json!(f.server.as_ref().map(|server| server.cpu)),
        json!(f.server.as_ref().map(|server| server.virtual_size)),
        json!(memory.map(|memory| memory.page_tables)),
        json!(memory.map(|memory| memory.kernel_stacks)),
        json!(f.generator.threads),
        json!(f.generator.cpu),
    ]
    .map(|value| name(&value))
}

/// Returns a value as text without quotes. `null` is empty.
fn name(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
