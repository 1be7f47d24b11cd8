//! Draws the pictures, as SVG that scales with the page. Lines show rates over connections and
//! latencies over percentiles. Bars show the cost of a line and of a connection.
//!
//! A dozen lines in one picture are a tangle. So the picture names only synchat, with a thick line,
//! and the best server of each kind. The others are grey, and each has a small picture of its own
//! beside synchat's line. Shapes and names tell lines apart as well as colours do, so a grey print
//! loses nothing. The colours are those of Okabe and Ito, which colour-blind people can tell apart.
//!
//! | file | idea |
//! |---|---|
//! | `canvas.rs` | the canvas of all pictures |
//! | `lines.rs` | lines: all in one picture, and one picture each |
//! | `bars.rs` | bars |

mod bars;
mod canvas;
mod lines;

use serde::Serialize;

use super::format;
use super::summary::{Figure, Memory, Summary, latency, memory};
use super::words::usual;
use crate::record::{Kind, Server, Variant, Workload};
use bars::{Bar, bars};
use canvas::{BLUE, Drawing, INK, SKY, YELLOW};
use lines::{Axes, Line, collect, decades, even_ticks, pair, spread};

/// A picture and its description.
#[derive(Debug, Serialize)]
pub struct Picture {
    pub id: String,
    pub title: String,
    /// Tells what to look for. A screen reader reads it aloud.
    pub about: String,
    pub svg: Drawing,
}

pub fn all(summary: &Summary) -> anyhow::Result<Vec<Picture>> {
    let variant = summary.main_variant();
    let mut pictures = Vec::new();
    throughput(summary, variant, &mut pictures)?;

    for workload in summary.workloads(variant) {
        if workload.kind == Kind::Open {
            percentiles(summary, variant, workload, &mut pictures)?;
        }
    }

    for kind in [Kind::PingPong, Kind::Pipelined] {
        let mut workloads = summary.workloads(variant);
        workloads.retain(|workload| workload.kind == kind);
        if let Some(workload) = usual(workloads) {
            pictures.extend(processor_time(summary, variant, workload)?);
        }
    }

    pictures.extend(memories(summary, variant)?);
    Ok(pictures)
}

fn throughput(
    summary: &Summary,
    variant: Variant,
    pictures: &mut Vec<Picture>,
) -> anyhow::Result<()> {
    let mut workloads = summary.workloads(variant);
    workloads.retain(|workload| workload.kind == Kind::PingPong);
    workloads.sort_by_key(|workload| workload.connections);

    // The line of each server.
    let along = |workload: &Workload| (workload.connections.max(1) as f64).log10();
    let rate = |workload: &&Workload, server: &str| {
        let rate = summary.stat(variant, workload, server, Figure::Rate)?;
        Some((along(workload), rate.median))
    };

    let line = |server| {
        collect(
            server,
            workloads.iter().filter_map(|w| rate(w, &server.name)),
        )
    };
    let lines: Vec<Line<'_>> = summary.peers().filter_map(line).collect();
    if workloads.len() < 2 || lines.is_empty() {
        return Ok(());
    }

    // The axes end above the highest line.
    let top = lines
        .iter()
        .flat_map(|line| &line.points)
        .map(|p| p.1)
        .fold(1.0, f64::max);
    let axes = Axes {
        x: workloads
            .iter()
            .map(|workload| (along(workload), format::round(workload.connections as f64)))
            .collect(),
        y: even_ticks(top),
        x_range: spread(workloads.iter().map(|workload| along(workload))),
        y_range: (0.0, top * 1.05),
        x_title: "connections, one line at a time on each",
        y_title: "lines per second",
    };

    // The generator's ceiling, as far as it fits into the picture.
    let ceiling: Vec<(f64, f64)> = workloads
        .iter()
        .filter_map(|w| Some((along(w), summary.ceiling(variant, w)?.median)))
        .filter(|(_, rate)| *rate <= axes.y_range.1)
        .collect();

    let score = |line: &Line<'_>| line.points.iter().map(|point| point.1).sum::<f64>();
    let words = if ceiling.is_empty() {
        ""
    } else {
        " The dashed line is the highest rate that the generator can reach."
    };

    pair(
        pictures,
        ("throughput", "Lines per second over connections".to_owned()),
        &format!("Medians of the rounds. Higher is better.{words}"),
        &axes,
        &lines,
        &ceiling,
        score,
    )
}

fn percentiles(
    summary: &Summary,
    variant: Variant,
    workload: &Workload,
    pictures: &mut Vec<Picture>,
) -> anyhow::Result<()> {
    let quantiles = [0.5, 0.9, 0.99, 0.999];
    let along = |quantile: f64| -(1.0 - quantile).log10();

    let line = |server: &'_ Server| -> Vec<(f64, f64)> {
        let Some(cell) = summary.cell(variant, &workload.name, &server.name) else {
            return Vec::new();
        };
        let at = |index: usize| {
            let time = cell.stat(|f| {
                let l = &f.load.latency;
                latency(f, [l.p50, l.p90, l.p99, l.p99_9][index])
            })?;
            Some((along(quantiles[index]), time.median.max(1.0).log10()))
        };
        (0..quantiles.len()).filter_map(at).collect()
    };

    let lines: Vec<Line<'_>> = summary
        .peers()
        .filter_map(|server| collect(server, line(server)))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }

    let heights = || {
        lines
            .iter()
            .flat_map(|line| &line.points)
            .map(|point| point.1)
    };
    let y_range = spread(heights());
    let axes = Axes {
        x: quantiles
            .iter()
            .map(|quantile| {
                (
                    along(*quantile),
                    format!(
                        "{} %",
                        format!("{:.1}", quantile * 100.0).trim_end_matches(".0")
                    ),
                )
            })
            .collect(),
        y: decades(y_range),
        x_range: spread(quantiles.map(along)),
        y_range,
        x_title: "of the lines are answered within",
        y_title: "latency from the time a line was due",
    };

    let score = |line: &Line<'_>| -line.points.iter().map(|point| point.1).sum::<f64>();
    let title = format!("Latency: {}", workload.what);
    let id = format!("latency-{}", pictures.len());
    let about = "Medians of the rounds. Lower is better. Both axes are logarithmic.";
    pair(pictures, (&id, title), about, &axes, &lines, &[], score)
}

fn processor_time(
    summary: &Summary,
    variant: Variant,
    workload: &Workload,
) -> anyhow::Result<Option<Picture>> {
    let cost = |server: &Server| {
        let figure = Figure::CpuPerLine;
        let stat = summary.stat(variant, workload, &server.name, figure)?;
        Some((server.name.clone(), vec![stat.median]))
    };

    let rows: Vec<Bar> = summary.peers().filter_map(cost).collect();

    Ok(
        bars(rows, &[("processor time", INK)], format::time)?.map(|svg| Picture {
            id: format!(
                "cpu-{}",
                if workload.kind == Kind::PingPong {
                    "ping-pong"
                } else {
                    "pipelined"
                }
            ),
            title: format!("Processor time per line: {}", workload.what),
            about: "User and system time of the server’s process. Lower is better.".to_owned(),
            svg,
        }),
    )
}

fn memories(summary: &Summary, variant: Variant) -> anyhow::Result<Option<Picture>> {
    let mut workloads = summary.workloads(variant);
    workloads.sort_by_key(|workload| workload.connections + workload.idle);

    for workload in workloads.into_iter().rev() {
        let part = |server: &Server, of: fn(&Memory) -> f64| {
            let cell = summary.cell(variant, &workload.name, &server.name)?;
            Some(cell.stat(|f| memory(workload, f).map(|m| of(&m)))?.median)
        };
        let row = |server: &Server| {
            let parts = [
                part(server, |m| m.resident)?,
                part(server, |m| m.page_tables)?,
                part(server, |m| m.kernel_stacks)?,
            ];
            Some((server.name.clone(), parts.to_vec()))
        };

        let rows: Vec<Bar> = summary.peers().filter_map(row).collect();
        let parts = [
            ("resident", BLUE),
            ("page tables", YELLOW),
            ("kernel stacks", SKY),
        ];

        if let Some(svg) = bars(rows, &parts, format::size)? {
            let open = format::count(workload.connections + workload.idle);
            return Ok(Some(Picture {
                id: "memory".to_owned(),
                title: format!("Memory per connection, with {open} open"),
                about: format!(
                    "The growth of the server’s memory since before the first connection, in {}, \
                     divided by the connections. Lower is better. Sockets are left out: they cost \
                     the kernel the same for all servers.",
                    workload.name
                ),
                svg,
            }));
        }
    }

    Ok(None)
}
