//! Makes the tables: ratios, each workload, changes between placements, the check, the servers and
//! the machine.
//!
//! No cell is left empty. A cell without a figure says why.

use super::columns::COLUMNS;
use super::format;
use super::summary::{Cell, Figure, SYNCHAT, Stat, Summary, passed};
use super::table::{Entry, Row, Table, Tone};
use crate::record::{Kind, Model, Server, Variant, Workload};

/// Heads a column or row with the server's name and the rows of the check that it passed.
fn server_head(server: &Server) -> Entry {
    let mut entry = Entry::new(&server.name);
    if let Some((count, all)) = passed(server) {
        entry.small = if all { count } else { format!("✗ {count}") };
    }
    entry
}

fn workload_head(workload: &Workload) -> Entry {
    let figure = match Figure::of(workload.kind) {
        Figure::P99 => "; p99 latency, lower is better",
        _ => "",
    };
    Entry::words(&workload.name).with_small(format!("{}{figure}", workload.what))
}

fn range(stat: Stat, show: impl Fn(f64) -> String) -> String {
    if stat.rounds < 2 {
        return String::new();
    }
    let (low, high) = (show(stat.min), show(stat.max));
    format!("{low}–{high}")
}

/// Shows a figure by which servers are compared, with its unit.
fn absolute(figure: Figure, value: f64) -> String {
    match figure {
        Figure::P99 | Figure::CpuPerLine => format::time(value),
        Figure::MemoryPerConnection => format::size(value),
        Figure::Rate => format!("{}/s", format::short(value)),
    }
}

/// Compares all servers with synchat: workloads down, servers across.
pub fn ratios(summary: &Summary, variant: Variant, id: &str) -> Table {
    let based = summary
        .cells()
        .any(|(v, _, server, cell)| v == variant && server == SYNCHAT && !cell.rounds.is_empty());
    let caption = if based {
        "Ratio to synchat: 2.00 means twice synchat’s figure"
    } else {
        "No ratios, because synchat has no figures here. Each cell is the server’s own figure"
    };

    let mut table = Table::new(id, caption);
    let own = summary.present().find(|server| server.name == SYNCHAT);

    // The head of the table.
    table.head.push(Entry::words("workload"));
    table.head.extend(own.map(server_head));
    table.head.extend(summary.others().map(server_head));

    let workloads = summary.workloads(variant);
    let ceiling = workloads
        .iter()
        .any(|workload| summary.ceiling(variant, workload).is_some());
    if ceiling {
        table.head.push(Entry::new("generator’s ceiling"));
    }

    // A row for each workload.
    for workload in workloads {
        let mut cells = vec![workload_head(workload)];
        if let Some(own) = own {
            cells.push(own_cell(summary, variant, workload, own, &mut table));
        }
        for server in summary.others() {
            cells.push(ratio_cell(summary, variant, workload, server, &mut table));
        }
        if ceiling {
            cells.push(ceiling_cell(summary, variant, workload));
        }

        table.rows.push(Row { own: false, cells });
    }
    table
}

/// Fills a cell that has no figure at all with the reason.
fn no_figure(cell: Option<&Cell>, table: &mut Table) -> Entry {
    let Some(cell) = cell else {
        return Entry::unknown();
    };

    let mut entry = if !cell.failed.is_empty() {
        Entry {
            tone: Tone::Bad,
            ..Entry::new("failed")
        }
    } else if !cell.skipped.is_empty() {
        Entry::new("skipped")
    } else {
        Entry::unknown()
    };

    table.refer(&mut entry, cell);
    entry
}

fn marks(summary: &Summary, variant: Variant, workload: &Workload, server: &Server) -> String {
    let mut marks = String::new();
    if summary.bound(variant, workload, &server.name) {
        marks.push('G');
    }

    let cell = summary.cell(variant, &workload.name, &server.name);
    if cell.is_some_and(|cell| cell.errors() > 0) {
        marks.push('E');
    }
    marks
}

/// Shows the server's own figure. In synchat's column it is the base of the ratios.
fn own_cell(
    summary: &Summary,
    variant: Variant,
    workload: &Workload,
    server: &Server,
    table: &mut Table,
) -> Entry {
    let figure = Figure::of(workload.kind);
    let cell = summary.cell(variant, &workload.name, &server.name);
    let stat = summary.stat(variant, workload, &server.name, figure);
    let (Some(cell), Some(stat)) = (cell, stat) else {
        return no_figure(cell, table);
    };

    let mut entry = Entry::new(absolute(figure, stat.median)).with_small(range(stat, |value| {
        absolute(figure, value).replace("/s", "")
    }));
    entry.marks = marks(summary, variant, workload, server);
    table.refer(&mut entry, cell);
    entry
}

fn ratio_cell(
    summary: &Summary,
    variant: Variant,
    workload: &Workload,
    server: &Server,
    table: &mut Table,
) -> Entry {
    let figure = Figure::of(workload.kind);
    let base = (variant, SYNCHAT);
    let ratio = summary.ratio(workload, (variant, &server.name), base, figure);
    let cell = summary.cell(variant, &workload.name, &server.name);
    let (Some(cell), Some(ratio)) = (cell, ratio) else {
        return own_cell(summary, variant, workload, server, table);
    };

    let mut entry = match cell.agrees(ratio) {
        true => ratio_entry(ratio, figure),
        // No arrow: the server may be ahead because of the failure itself.
        false => Entry::new(format::number(ratio.median)).with_small(range(ratio, format::number)),
    };

    // Say so if the ratio rests on fewer rounds than were tried.
    let tried = cell.rounds.len() + cell.failed.len();
    if ratio.rounds < tried {
        let range = std::mem::take(&mut entry.small);
        let comma = if range.is_empty() { "" } else { ", " };
        entry.small = format!("{range}{comma}{} of {tried} rounds", ratio.rounds);
    }

    entry.marks = marks(summary, variant, workload, server);
    table.refer(&mut entry, cell);
    entry
}

/// Shows a ratio, with an arrow where all rounds agree on which server is ahead.
fn ratio_entry(ratio: Stat, figure: Figure) -> Entry {
    let more = ratio.median > 1.0;
    let (arrow, tone) = match ratio.straddles_one() {
        true => ("", Tone::Plain),
        false if more == figure.less_is_better() => (" ▼", Tone::Behind),
        false => (" ▲", Tone::Ahead),
    };

    Entry {
        tone,
        ..Entry::new(format::number(ratio.median) + arrow).with_small(range(ratio, format::number))
    }
}

fn ceiling_cell(summary: &Summary, variant: Variant, workload: &Workload) -> Entry {
    let Some(ceiling) = summary.ceiling(variant, workload) else {
        return Entry::unknown();
    };

    let rate = Entry::new(absolute(Figure::Rate, ceiling.median));
    let own = summary.stat(variant, workload, SYNCHAT, Figure::Rate);
    match own {
        Some(own) if own.median > 0.0 => {
            let times = format::number(ceiling.median / own.median);
            rate.with_small(format!("{times} times synchat’s"))
        }
        _ => rate,
    }
}

/// Lists all figures of all servers in one workload, the best server first.
pub fn workload(summary: &Summary, variant: Variant, workload: &Workload) -> Table {
    let per = if workload.kind == Kind::Connects {
        " Here a line means a connection."
    } else {
        ""
    };

    let caption = format!("{}: {}.{per}", workload.name, workload.what);
    let mut table = Table::new(format!("workload-{}", slug(&workload.name)), caption);

    // The best server comes first, the reflector last.
    let mut servers: Vec<&Server> = summary.present().collect();
    let figure = Figure::of(workload.kind);
    let rank = |server: &Server| match summary.stat(variant, workload, &server.name, figure) {
        Some(stat) if figure.less_is_better() => stat.median,
        Some(stat) => -stat.median,
        None => f64::INFINITY,
    };
    let peer = |server: &Server| server.model != Model::Reflector;
    servers.sort_by(|a, b| {
        let peers_first = peer(b).cmp(&peer(a));
        peers_first.then(rank(a).total_cmp(&rank(b)))
    });

    // A column appears only if some server has its figure.
    let cells: Vec<Option<&Cell>> = servers
        .iter()
        .map(|server| summary.cell(variant, &workload.name, &server.name))
        .collect();

    let known = |read: fn(&Workload, &crate::record::Figures) -> Option<f64>| {
        let mut all = cells.iter().flatten();
        all.any(|cell| cell.stat(|f| read(workload, f)).is_some())
    };
    let columns: Vec<_> = COLUMNS.iter().filter(|column| known(column.read)).collect();

    table.head.push(Entry::words("server"));
    table.head.extend(
        columns
            .iter()
            .map(|column| Entry::new(format!("{}{}", column.title, column.unit.suffix()))),
    );

    for (server, cell) in servers.iter().zip(&cells) {
        let mut head = server_head(server);
        head.marks = marks(summary, variant, workload, server);
        if server.model == Model::Reflector {
            head.small = "not a peer: returns bytes unread".to_owned();
            head.marks.clear();
        }
        if let Some(cell) = cell
            && !cell.rounds.is_empty()
        {
            table.refer(&mut head, cell);
        }

        let mut row = vec![head];
        row.extend(columns.iter().map(|column| {
            let stat = cell.and_then(|cell| cell.stat(|f| (column.read)(workload, f)));
            stat.map_or_else(Entry::unknown, |stat| {
                let entry = Entry::new(column.unit.show(stat.median));
                match column.key {
                    "errors" => Entry::new(format::grouped(cell.map_or(0, Cell::errors) as f64)),
                    "rate" | "p99_ns" => {
                        entry.with_small(range(stat, |value| column.unit.show(value)))
                    }
                    _ => entry,
                }
            })
        }));

        // A server without any figure says why in its first column.
        if let Some(cell) = cell
            && cell.rounds.is_empty()
            && row.len() > 1
        {
            row[1] = no_figure(Some(cell), &mut table);
        }

        table.rows.push(Row {
            own: server.name == SYNCHAT,
            cells: row,
        });
    }
    table
}

/// Compares each server with itself: its figure in `variant` divided by that in the main variant.
pub fn changes(summary: &Summary, variant: Variant, id: &str) -> Table {
    let main = summary.main_variant();
    let caption = format!(
        "How each server changes: its median here divided by its median in “{}”, measured earlier",
        variant_name(main)
    );
    let mut table = Table::new(id, caption);
    let servers: Vec<&Server> = summary.peers().collect();
    table.head.push(Entry::words("workload"));
    table.head.extend(servers.iter().map(|s| server_head(s)));

    for workload in summary.workloads(variant) {
        let figure = Figure::of(workload.kind);
        let mut cells = vec![workload_head(workload)];

        cells.extend(servers.iter().map(|server| {
            let name = server.name.as_str();
            let median = |variant| {
                summary
                    .stat(variant, workload, name, figure)
                    .map(|s| s.median)
            };

            match (median(variant), median(main)) {
                (Some(here), Some(there)) if there > 0.0 => {
                    Entry::new(format::number(here / there))
                }
                _ => Entry::unknown(),
            }
        }));

        table.rows.push(Row { own: false, cells });
    }
    table
}

/// Shows the results of the check: its rows down, servers across.
pub fn check(summary: &Summary) -> Table {
    let mut table = Table::new("check-rows", "Results of the check: ✓ passed, ✗ failed");

    let servers: Vec<&Server> = summary
        .servers
        .iter()
        .filter(|server| !server.check.is_empty())
        .collect();

    table.head.push(Entry::words("row"));
    table.head.extend(servers.iter().map(|s| server_head(s)));

    // Rows keep the order in which they were first seen.
    let mut names: Vec<&str> = Vec::new();
    for row in servers.iter().flat_map(|server| &server.check) {
        if !names.contains(&row.name.as_str()) {
            names.push(&row.name);
        }
    }

    for name in names {
        let mut cells = vec![Entry::words(name)];
        for server in &servers {
            let row = server.check.iter().find(|row| row.name == name);
            cells.push(match row {
                None => Entry::unknown(),
                Some(row) if row.passed => Entry::new("✓"),
                Some(row) => Entry {
                    tone: Tone::Bad,
                    notes: vec![table.note(format!("{}: {}", server.name, row.seen))],
                    ..Entry::new("✗")
                },
            });
        }
        table.rows.push(Row { own: false, cells });
    }
    table
}

pub fn servers(summary: &Summary) -> Table {
    let mut table = Table::new("servers-table", "The servers");
    let titles = [
        "name",
        "what it is",
        "how it waits",
        "versions",
        "source",
        "started as",
        "check",
    ];
    table.head = titles.map(Entry::words).to_vec();

    for server in &summary.servers {
        let check = match (&server.absent, passed(server)) {
            (Some(why), _) => format!("not measured: {why}"),
            (None, Some((count, true))) => format!("{count} rows"),
            (None, Some((count, false))) => format!("✗ only {count} rows"),
            (None, None) => "not checked".to_owned(),
        };

        let texts = [
            server.name.as_str(),
            &server.title,
            model(server.model),
            &server.version,
            &server.source,
            &server.start,
            &check,
        ];

        table.rows.push(Row {
            own: server.name == SYNCHAT,
            cells: texts.map(Entry::words).to_vec(),
        });
    }
    table
}

pub fn machine(summary: &Summary) -> Table {
    let mut table = Table::new("machine-table", "The machine");
    table.head = ["property", "value"].map(Entry::words).to_vec();

    let pairs = summary.run.machine.iter();
    table.rows = pairs
        .map(|(name, value)| Row {
            own: false,
            cells: vec![Entry::words(name), Entry::words(value)],
        })
        .collect();
    table
}

pub fn model(model: Model) -> &'static str {
    match model {
        Model::Threads => "a thread for each connection",
        Model::Loop => "one event loop",
        Model::Loops => "several event loops",
        Model::Unknown => "unknown",
        Model::Reflector => "not a peer: shows the generator’s limit",
    }
}

pub fn variant_name(variant: Variant) -> &'static str {
    match variant {
        Variant::Shared => "all cores shared",
        Variant::Batch => "server under chrt -b 0",
        Variant::OneCore => "server on one core",
    }
}

pub fn variant_what(variant: Variant) -> &'static str {
    match variant {
        Variant::Shared => "the server and the generator run on all cores, scheduled by the kernel",
        Variant::Batch => {
            "all cores are shared, and the server runs in the kernel’s batch class (chrt -b 0)"
        }
        Variant::OneCore => "the server runs on the first core, the generator on the others",
    }
}

/// Makes a name fit to be part of an id.
fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    name.chars().map(plain).collect()
}
