//! Tests of the report, with raw files whose figures were chosen: its sentences, its gaps, and its
//! looks in a browser.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{Raw, but, figures, realistic, row};
use crate::support::{run, text};

/// The four files made from one raw file.
struct Report {
    folder: TempDir,
    html: String,
    markdown: String,
    json: Value,
    csv: String,
}

impl Report {
    fn of(raw: &Raw) -> Self {
        Self::of_text(&raw.text())
    }

    fn of_text(raw: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("raw.jsonl");
        fs::write(&path, raw).expect("the folder can be written");
        let out = folder.path().join("made").join("here");
        let output = run(&["report", as_str(&path), "--out", as_str(&out)]);
        assert!(output.status.success(), "{}", text(&output));
        let read = |name| fs::read_to_string(out.join(name)).expect(name);
        let report = Self {
            html: read("report.html"),
            markdown: read("report.md"),
            json: serde_json::from_str(&read("report.json")).expect("it is JSON"),
            csv: read("report.csv"),
            folder,
        };
        assert_eq!(
            fs::read_dir(&out).expect("a folder").count(),
            4,
            "no other file is left"
        );
        for page in [&report.html, &report.markdown, &report.csv] {
            for bad in ["NaN", "inf,", ">inf", "Infinity", "undefined"] {
                assert!(!page.contains(bad), "{bad} in {page}");
            }
        }
        report
    }

    /// Returns the sentences below a heading. Empty if the heading is missing.
    fn says(&self, about: &str) -> String {
        let head = format!("- **{about}**\n");
        let Some((_, rest)) = self.markdown.split_once(&head) else {
            return String::new();
        };
        let lines = rest.lines().take_while(|line| line.starts_with("  "));
        lines.map(str::trim).collect::<Vec<_>>().join(" ")
    }

    /// Returns the rows of all Markdown tables that begin with this cell.
    fn rows(&self, first: &str) -> Vec<&str> {
        let head = format!("| {first}");
        self.markdown
            .lines()
            .filter(|l| l.starts_with(&head))
            .collect()
    }

    fn cell(&self, workload: &str, server: &str) -> &Value {
        let mut cells = self.json["cells"].as_array().expect("an array").iter();
        cells
            .find(|cell| cell["workload"] == workload && cell["server"] == server)
            .expect("it was measured")
    }
}

fn as_str(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Makes a run with synchat and one event loop in one workload, with these rates.
fn two(synchat: &[f64], other: &[f64]) -> Raw {
    Raw::new(synchat.len())
        .workload("ping-pong-50", "ping-pong", 50, 0)
        .server("synchat", "threads")
        .server("epoll", "loop")
        .rates("synchat", "ping-pong-50", synchat)
        .rates("epoll", "ping-pong-50", other)
        .end()
}

/// Makes a run with four ping-pong workloads. The event loop always does 1,000, synchat the given
/// rates.
fn crowds(synchat: [&[f64]; 4]) -> Raw {
    let mut raw = Raw::new(3)
        .server("synchat", "threads")
        .server("epoll", "loop");
    for (connections, rates) in [1, 8, 50, 500].into_iter().zip(synchat) {
        let name = format!("ping-pong-{connections}");
        raw = raw
            .workload(&name, "ping-pong", connections, 0)
            .rates("synchat", &name, rates)
            .rates("epoll", &name, &[1000.0; 3]);
    }
    raw.end()
}

#[test]
fn a_ratio_is_formed_in_each_round_and_then_the_median_is_taken() {
    // The ratios of the rounds are 2.0, 0.5 and 1.1. The ratio of the medians is 1,100 / 1,000.
    let report = Report::of(&two(&[500.0, 2400.0, 1000.0], &[1000.0, 1200.0, 1100.0]));
    let ratio = &report.cell("ping-pong-50", "epoll")["ratio"];
    assert_eq!(
        *ratio,
        json!({"median": 1.1, "min": 0.5, "max": 2.0, "rounds": 3})
    );
    let row = report.rows("ping-pong-50")[0];
    assert!(row.contains("| 1.10<br>0.50–2.00 |"), "{row}");
    assert!(row.contains("| 1.00k/s<br>500–2.40k |"), "{row}");
}

#[test]
fn figures_of_a_line_and_of_a_connection_are_derived() {
    let crowd = but(
        figures(1000.0),
        "/server/resident",
        4_000_000 + 13 * 1024 * 1000,
    );
    let crowd = but(crowd, "/server/page_tables", 100_000 + 4096 * 1000);
    let crowd = but(crowd, "/server/threads", 1001);
    let raw = Raw::new(1)
        .workload("idle-950", "idle", 50, 950)
        .workload("idle-449", "idle", 50, 449)
        .server("synchat", "threads")
        .measured("synchat", "idle-950", 0, &crowd)
        .measured("synchat", "idle-449", 0, &crowd);
    let report = Report::of(&raw);
    let of = |name: &str| report.cell("idle-950", "synchat")["figures"][name]["median"].clone();
    assert_eq!(of("resident_per_connection"), 13.0 * 1024.0);
    assert_eq!(of("memory_per_connection"), (13.0 + 4.0 + 16.0) * 1024.0);
    assert_eq!(of("cpu_per_line_ns"), 1000.0);
    assert_eq!(of("context_switches_per_line"), 2.0);
    let few = &report.cell("idle-449", "synchat")["figures"];
    assert_eq!(few["memory_per_connection"], Value::Null);
    let said = report.says("Memory");
    assert!(
        said.contains("With 1,000 connections open, each costs synchat 33.0 KiB"),
        "{said}"
    );
}

#[test]
fn latency_is_what_counts_where_the_rate_is_given() {
    let mut raw = Raw::new(2)
        .workload("open-1k", "open", 50, 0)
        .server("synchat", "threads")
        .server("epoll", "loop");
    for (round, p99) in [250_000, 200_000].into_iter().enumerate() {
        let quick = but(figures(1000.0), "/load/latency/p99", p99);
        raw = raw
            .measured("synchat", "open-1k", round, &figures(1000.0))
            .measured("epoll", "open-1k", round, &quick);
    }
    let report = Report::of(&raw.end());
    assert_eq!(report.cell("open-1k", "epoll")["compared"], "p99");
    let row = report.rows("open-1k")[0];
    assert!(
        row.contains("| 0.45 ▲<br>0.40–0.50 |") && row.contains("lower is better"),
        "{row}"
    );
    let said = report.says("p99 latency at a fixed rate, from the time a line was due");
    assert!(
        said.contains("behind the best event-loop server: - in open-1k: 2.25 times epoll’s"),
        "{said}"
    );
}

#[test]
fn who_does_not_keep_up_with_the_open_loop_is_told_of() {
    let made = |rate: f64| {
        let sent = but(figures(rate), "/load/intended_rate", 20_000.0);
        let raw = Raw::new(1)
            .workload("open-20k", "open", 50, 0)
            .server("synchat", "threads")
            .measured("synchat", "open-20k", 0, &sent);
        Report::of(&raw.end()).markdown
    };
    assert!(made(15_000.0).contains("1. did not keep up: 15.0k of 20.0k lines a second"));
    assert!(!made(19_900.0).contains("did not keep up"));
}

#[test]
fn who_is_ahead_follows_from_the_figures() {
    let says = |synchat: &[f64]| {
        let raw = two(synchat, &vec![1000.0; synchat.len()]);
        Report::of(&raw).says("One line at a time")
    };
    let (ahead, level, behind) = (
        says(&[1200.0, 1300.0, 1100.0]),
        says(&[900.0, 1300.0, 1100.0]),
        says(&[900.0, 700.0, 800.0]),
    );
    let place = "- at 50 connections: 1.20 times epoll’s rate (1.10–1.30)";
    assert_eq!(
        ahead,
        format!("- synchat is ahead of the best event-loop server: {place}")
    );
    assert!(
        level.starts_with("- This run shows no clear difference: - at 50"),
        "{level}"
    );
    assert!(
        behind.starts_with("- synchat is behind the best event-loop server: - at 50"),
        "{behind}"
    );
    let raw = two(&[1200.0, 1300.0], &[1000.0, 1000.0]);
    assert!(
        Report::of(&raw)
            .says("Against each other server")
            .ends_with("ping-pong-50: ahead of epoll")
    );
    let once = Report::of(&two(&[1200.0], &[1000.0]));
    assert!(once.says("Read with care").contains("measured once"));
    assert!(
        once.says("One line at a time")
            .starts_with("- This run shows no clear difference"),
        "one round tells no difference from chance"
    );
    assert!(
        !Report::of(&two(&[1.0, 2.0], &[1.0, 2.0]))
            .markdown
            .contains("measured once")
    );
}

#[test]
fn the_knee_follows_from_the_figures() {
    let says = |rates: [f64; 4]| {
        let three = rates.map(|rate| [rate; 3]);
        let raw = crowds([&three[0], &three[1], &three[2], &three[3]]);
        Report::of(&raw).says("The knee")
    };
    let late = says([1000.0, 1100.0, 950.0, 700.0]);
    assert!(late.contains("between 50 and 500 connections"), "{late}");
    assert!(
        late.contains("At 50 connections it does 0.95 times"),
        "{late}"
    );
    let early = says([1000.0, 850.0, 800.0, 700.0]);
    assert!(early.contains("between 1 and 8 connections"), "{early}");
    let recovers = says([1000.0, 500.0, 950.0, 920.0]);
    assert!(
        recovers.contains("No knee up to 500 connections"),
        "{recovers}"
    );
    assert!(
        recovers.contains("This does not hold at 8 connections."),
        "{recovers}"
    );
    let always = says([800.0, 700.0, 600.0, 500.0]);
    assert!(
        always.contains("At every number of connections"),
        "{always}"
    );
    let never = says([1000.0, 1000.0, 1000.0, 1000.0]);
    assert!(never.contains("No knee up to 500 connections"), "{never}");
    assert!(!never.contains("does not hold"), "{never}");
    let unsure = crowds([&[1e3; 3], &[1e3; 3], &[1e3; 3], &[850.0, 800.0, 950.0]]);
    assert!(
        Report::of(&unsure)
            .says("The knee")
            .contains("may lie higher")
    );
    // The median is low, but the rounds disagree on which server is ahead.
    let wide = crowds([&[1e3; 3], &[1e3; 3], &[850.0, 800.0, 1050.0], &[700.0; 3]]);
    assert!(
        Report::of(&wide)
            .says("The knee")
            .contains("between 50 and 500 connections")
    );
    let wide_at_last = crowds([&[1e3; 3], &[1e3; 3], &[1e3; 3], &[850.0, 800.0, 1050.0]]);
    assert!(
        Report::of(&wide_at_last)
            .says("The knee")
            .contains("No knee up to 500 connections")
    );
    // Without an event-loop server there is no knee.
    let threads = two(&[1.0], &[1.0])
        .text()
        .replace("\"loop\"", "\"threads\"");
    assert_eq!(Report::of_text(&threads).says("The knee"), "");
}

#[test]
fn who_fails_the_check_or_has_errors_is_not_the_best() {
    let broken =
        json!({"check": [row("echoes a line", true, ""), row("keeps a lone CR", false, "gone")]});
    let raw = Raw::new(2)
        .workload("ping-pong-50", "ping-pong", 50, 0)
        .server("synchat", "threads")
        .server_with("broken", "loop", &broken)
        .server("wrong", "loop")
        .server("epoll", "loop")
        .rates("synchat", "ping-pong-50", &[1000.0, 1010.0])
        .rates("broken", "ping-pong-50", &[9000.0, 9000.0])
        .rates("epoll", "ping-pong-50", &[900.0, 900.0])
        .measured(
            "wrong",
            "ping-pong-50",
            0,
            &but(figures(8000.0), "/load/errors/wrong", 3),
        )
        .measured(
            "wrong",
            "ping-pong-50",
            1,
            &but(figures(8000.0), "/load/errors/closed", 4),
        );
    let report = Report::of(&raw.end());
    let said = report.says("One line at a time");
    assert!(said.contains("ahead") && said.contains("epoll"), "{said}");
    assert!(
        report
            .says("Read with care")
            .contains("errors with wrong in ping-pong-50")
    );
    let row = report.rows("ping-pong-50")[0];
    assert!(row.contains("| 7.96 **E** (1)"), "{row}");
    let note = "1. errors: connections with a wrong byte: 3, connections closed by the server: 4";
    assert!(report.markdown.contains(note), "{}", report.markdown);
    assert!(report.markdown.contains("broken<br>✗ 1/2"));
    assert!(report.rows("keeps a lone CR")[0].contains("✗ (1)"));
    assert!(report.markdown.contains("1. broken: gone"));
}

#[test]
fn the_generator_is_named_where_it_is_the_bound() {
    let raw = |busy: f64, reflected: f64| {
        Raw::new(1)
            .workload("pipelined-1", "pipelined", 1, 0)
            .server("synchat", "threads")
            .server_with("mirror", "reflector", &json!({"check": []}))
            .measured(
                "synchat",
                "pipelined-1",
                0,
                &but(figures(1000.0), "/generator/busy", busy),
            )
            .measured("mirror", "pipelined-1", 0, &figures(reflected))
            .end()
    };
    let bound = |busy, reflected| {
        let report = Report::of(&raw(busy, reflected));
        let bound = report.cell("pipelined-1", "synchat")["generator_bound"].clone();
        let marked = report.rows("pipelined-1")[0].contains("1.00k/s **G**");
        assert_eq!(marked, bound == true);
        bound
    };
    // A server that keeps the generator busy for a fifth of the time shows that it can do 5 times
    // as much.
    assert_eq!(bound(0.2, 1000.0), false);
    assert_eq!(bound(0.79, 1000.0), false);
    assert_eq!(bound(0.8, 1000.0), true);
    let report = Report::of(&raw(0.9, 1000.0));
    assert_eq!(report.json["ceilings"][0]["rate"]["median"], 5000.0);
    let row = report.rows("pipelined-1")[0];
    assert!(
        row.ends_with("| 5.00k/s<br>5.00 times synchat’s |"),
        "{row}"
    );
    assert!(
        report
            .says("Read with care")
            .contains("In 1 of 1 results the load generator was at or near its own limit")
    );
}

#[test]
fn measurements_that_others_disturbed_are_counted() {
    let mut raw = Raw::new(4)
        .workload("ping-pong-50", "ping-pong", 50, 0)
        .server("synchat", "threads");
    for (round, others) in [json!(0.14), json!(0.15), json!(0.5), json!(null)]
        .into_iter()
        .enumerate()
    {
        let figures = but(figures(1000.0), "/others", others);
        raw = raw.measured("synchat", "ping-pong-50", round, &figures);
    }
    let report = Report::of(&raw.end());
    let said = report.says("Read with care");
    assert!(
        said.contains("In 2 of 3 measurements other programs"),
        "{said}"
    );
    let others = &report.cell("ping-pong-50", "synchat")["figures"]["others"];
    assert_eq!(
        *others,
        json!({"median": 0.15, "min": 0.14, "max": 0.5, "rounds": 3})
    );

    let quiet = two(&[1000.0, 1000.0], &[1000.0, 1000.0]).text();
    let said = Report::of_text(&quiet).says("Read with care");
    assert!(!said.contains("other programs"), "{said}");
    // Older raw files do not have this figure.
    let old = quiet.replace("\"others\":0.02,", "");
    assert_ne!(old, quiet);
    let report = Report::of_text(&old);
    assert!(report.cell("ping-pong-50", "synchat")["figures"]["others"].is_null());
}

#[test]
fn what_is_missing_is_shown_with_its_reason() {
    let absent = json!({"absent": "node is not installed", "check": []});
    let raw = Raw::new(2)
        .workload("ping-pong-50", "ping-pong", 50, 0)
        .server("synchat", "threads")
        .server_with("node", "loop", &absent)
        .server("epoll", "loop")
        .server("poll", "loop")
        .server("select", "loop")
        .rates("synchat", "ping-pong-50", &[1000.0, 1000.0])
        .measured("epoll", "ping-pong-50", 0, &figures(2000.0))
        .failed("epoll", "ping-pong-50", 1, "ended with signal 11")
        .failed("poll", "ping-pong-50", 0, "did not listen within 5 s")
        .skipped(
            "select",
            "ping-pong-50",
            0,
            "takes no more than 1,024 descriptors",
        );
    let report = Report::of(&raw);
    let row = report.rows("ping-pong-50")[0];
    assert!(row.contains("| 2.00 (1)<br>"), "{row}");
    assert!(row.contains("1 of 2 rounds"), "{row}");
    assert!(row.contains("| failed (2) | skipped (3) |"), "{row}");
    for page in [&report.html, &report.markdown] {
        assert!(page.contains("failed in round 2: ended with signal 11"));
        assert!(page.contains("did not listen within 5 s"));
        assert!(page.contains("takes no more than 1,024 descriptors"));
        assert!(page.contains("Not measured: node (node is not installed)."));
        assert!(
            page.contains("The run ended early, after 6 of 8 measurements."),
            "{page}"
        );
    }
    assert_eq!(report.json["complete"], false);
    assert!(
        report
            .says("Read with care")
            .contains("2 measurements failed.")
    );
    let whole = Report::of(&two(&[1.0], &[1.0]));
    assert!(!whole.html.contains("ended early") && !whole.markdown.contains("ended early"));
}

#[test]
fn a_run_that_lacks_nearly_everything_is_reported() {
    let nothing = Report::of(&Raw::new(3));
    assert!(nothing.markdown.contains("Nothing was measured."));
    assert!(nothing.html.contains("There are no figures to draw."));
    let silent = but(
        but(figures(0.0), "/load/latency/count", 0),
        "/generator/busy",
        0.0,
    );
    let silent = but(but(silent, "/server", Value::Null), "/load/seconds", 0.0);
    let mut raw =
        Raw::new(2)
            .server("epoll", "unknown")
            .server_with("mirror", "reflector", &json!({}));
    for (name, kind) in [
        ("ping-pong-500", "ping-pong"),
        ("ping-pong-900", "ping-pong"),
        ("pipelined-9", "pipelined"),
        ("lengths-9", "lengths"),
        ("connects-9", "connects"),
        ("idle-9", "idle"),
        ("open-9", "open"),
    ] {
        raw = raw
            .workload(name, kind, 500, 900)
            .measured("epoll", name, 0, &silent)
            .measured("mirror", name, 1, &silent);
    }
    let without = Report::of(&raw);
    assert!(
        without
            .markdown
            .contains("No ratios, because synchat has no figures here")
    );
    assert!(without.rows("open-9")[0].contains(" – |"));
    assert!(!without.markdown.contains("skipped"));
    let raw = raw.server("synchat", "threads");
    Report::of(&raw);
    Report::of(&raw.measured("synchat", "open-9", 0, &silent));
    Report::of(&two(&[0.0, 0.0], &[0.0, 0.0]));
    let alone = Raw::new(1)
        .workload("ping-pong-50", "ping-pong", 50, 0)
        .server("synchat", "threads")
        .rates("synchat", "ping-pong-50", &[1000.0]);
    assert_eq!(Report::of(&alone).says("One line at a time"), "");
    let failed = two(&[], &[1.0]).failed("synchat", "ping-pong-50", 0, "no such file");
    let failed = Report::of(&failed);
    assert!(failed.rows("ping-pong-50")[0].contains("failed (1) | 1.00/s"));
}

#[test]
fn other_placements_are_compared_with_synchat_and_with_themselves() {
    let rates = [(1000.0, 2000.0), (1010.0, 2020.0)];
    let (own, others): (Vec<_>, Vec<_>) = rates.into_iter().unzip();
    let mut raw = two(&own, &others).with("variants", json!(["shared", "one-core"]));
    for (server, rate) in [("synchat", 500.0), ("epoll", 1800.0)] {
        let outcome = json!({"figures": figures(rate)});
        for round in 0..2 {
            raw.outcome(server, "ping-pong-50", "one-core", round, &outcome);
        }
    }
    let report = Report::of(&raw);
    let (_, section) = report
        .markdown
        .split_once("### server on one core")
        .expect("a section");
    let rows: Vec<&str> = section
        .lines()
        .filter(|l| l.starts_with("| ping-pong-50"))
        .collect();
    assert!(
        rows[0].contains("| 500/s<br>500–500 | 3.60 ▲<br>3.60–3.60 |"),
        "{rows:?}"
    );
    assert!(rows[1].contains("| 0.50 | 0.90 |"), "{rows:?}");
    assert!(
        !Report::of(&two(&[1.0], &[1.0]))
            .html
            .contains("Other placements")
    );
}

#[test]
fn texts_are_shown_as_they_are_and_never_as_markup() {
    let nasty = "<script>alert('x')</script>|*b*\n`c`";
    let about = json!({
        "title": nasty, "version": nasty, "source": nasty,
        "check": [row(nasty, false, nasty)],
    });
    let raw = Raw::new(1)
        .with("command", json!(nasty))
        .with("machine", json!([[nasty, nasty]]))
        .workload(nasty, "ping-pong", 1, 0)
        .workload("<i>open", "open", 1, 0)
        .server("synchat", "threads")
        .server_with("<script>epoll|", "loop", &about)
        .rates("synchat", nasty, &[10.0])
        .rates("<script>epoll|", "<i>open", &[10.0])
        .failed("<script>epoll|", nasty, 0, nasty);
    let report = Report::of(&raw);
    for page in [&report.html, &report.markdown] {
        assert!(!page.contains("<script") && !page.contains("<i>"), "{page}");
        assert!(page.contains("&lt;script&gt;"));
    }
    assert!(report.markdown.contains("&lt;script&gt;epoll\\|"));
    for table in report
        .markdown
        .split("\n\n")
        .filter(|part| part.starts_with("| "))
    {
        let cells = |line: &str| line.replace("\\|", "").matches('|').count();
        let mut lines = table.lines().take_while(|line| line.starts_with('|'));
        let head = cells(lines.next().expect("a head"));
        assert!(lines.all(|line| cells(line) == head), "{table}");
    }
}

#[test]
fn the_csv_has_a_row_for_each_measurement_and_a_field_for_each_column() {
    let report = Report::of(&realistic());
    let mut reader = csv::Reader::from_reader(report.csv.as_bytes());
    let head = reader.headers().expect("a head").clone();
    let rows: Vec<csv::StringRecord> = reader
        .records()
        .collect::<Result<_, _>>()
        .expect("even rows");
    let measured = report.json["measurements"].as_u64().expect("a number");
    assert_eq!(rows.len() as u64, measured);
    let at = |name: &str| head.iter().position(|field| field == name).expect(name);
    let failed = rows
        .iter()
        .find(|row| &row[at("outcome")] == "failed")
        .expect("one failed");
    assert!(failed[at("reason")].contains("filedescriptor out of range"));
    assert_eq!(&failed[at("rate")], "");
    let first = rows
        .iter()
        .find(|row| &row[at("outcome")] == "figures")
        .expect("one did not");
    assert_eq!(
        (&first[at("server")], &first[at("variant")]),
        ("synchat", "shared")
    );
    assert!(
        first[at("rate")]
            .parse::<f64>()
            .is_ok_and(|rate| rate > 1000.0)
    );
}

#[test]
fn a_raw_file_that_was_cut_is_reported_and_one_that_is_wrong_is_refused() {
    let whole = two(&[1000.0, 1000.0], &[2000.0, 2000.0]).text();
    let cut = &whole[..whole.len() - 10];
    assert!(
        Report::of_text(cut)
            .markdown
            .contains("ended early, after 4 of 4")
    );
    let refused = |raw: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("raw.jsonl");
        fs::write(&path, raw).expect("the folder can be written");
        let output = run(&["report", as_str(&path)]);
        assert!(!output.status.success());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        text(&output)
    };
    let newer = refused(&whole.replace("\"schema\":1", "\"schema\":99"));
    assert!(
        newer.contains("schema 99, but this program reads schema 1"),
        "{newer}"
    );
    let garbage = refused(&whole.replacen("\"record\":\"server\"", "garbage", 1));
    assert!(
        garbage.contains("raw.jsonl: line 2 is not a record"),
        "{garbage}"
    );
    assert!(refused("").contains("does not begin with the record of a run"));
    let headless: String = whole
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(refused(&headless).contains("does not begin with the record of a run"));
}

#[test]
fn each_server_is_named_and_each_picture_described() {
    let report = Report::of(&realistic());
    for id in [
        "throughput",
        "throughput-each",
        "cpu-ping-pong",
        "cpu-pipelined",
        "memory",
    ] {
        let figure = format!("<figure id=\"picture-{id}\">");
        let (_, rest) = report.html.split_once(&figure).expect(id);
        let (picture, _) = rest.split_once("</figure>").expect("it ends");
        assert!(
            picture.contains("<title ") && picture.contains("<desc "),
            "{id}"
        );
        let tag = picture.split_once("<svg").expect("a picture").1;
        let tag = tag.split_once('>').expect("a tag").0;
        assert!(tag.contains("viewBox") && !tag.contains("width="), "{tag}");
        if id != "throughput" {
            for server in ["synchat", "tokio-framed", "libevent", "java-virtual"] {
                let own = id == "throughput-each" && server == "synchat";
                assert!(own || picture.contains(server), "{server} in {id}");
            }
        }
    }
    assert!(!report.html.contains("<script"));
    for outside in ["src=", "@import", "url(", "http://", "https://"] {
        let page = report.html.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(outside), "{outside}");
    }
}

/// Opens the page in a browser with this width, and runs a script at its end. Returns the script's
/// value, which it leaves in the title.
fn title(report: &Report, width: u32, script: &str) -> String {
    let folder = report.folder.path();
    let probe = format!("<script>document.title = `(${{{script}}})`;</script></body>");
    let page = report.html.replace("</body>", &probe);
    assert_ne!(page, report.html);
    fs::write(folder.join("probe.html"), page).expect("the folder can be written");
    // A window cannot be narrower than 500, but a frame can.
    let frame = format!(
        "<body style=\"margin: 0\"><iframe src=\"probe.html\" \
         style=\"border: 0; width: {width}px; height: 800px\"></iframe><script>\
         onload = () => document.title = frames[0].document.title</script></body>"
    );
    fs::write(folder.join("frame.html"), frame).expect("the folder can be written");
    let profile = folder.join(format!("profile-{width}"));
    let output = Command::new("timeout")
        .args(["60", "chromium"])
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args([
            "--allow-file-access-from-files",
            "--timeout=20000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--window-size={},900", width.max(500)))
        .arg(format!("file://{}", folder.join("frame.html").display()))
        .output()
        .expect("the command timeout runs");
    let dom = String::from_utf8_lossy(&output.stdout);
    let title = dom
        .split_once("<title>(")
        .and_then(|(_, rest)| rest.split_once(")</title>"));
    let Some((title, _)) = title else {
        panic!(
            "no title; `make compare-deps` installs the package chromium if it is that: {}",
            text(&output)
        );
    };
    title.to_owned()
}

#[test]
fn the_page_fits_a_phone_and_a_desk() {
    let report = Report::of(&realistic());
    let script = "[document.documentElement.scrollWidth, innerWidth, \
        document.querySelector('#ratios .scroll').scrollWidth > innerWidth, \
        Math.min(...[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().height)) > 100, \
        performance.getEntriesByType('resource').length]";
    for width in [360, 390, 1280] {
        let seen = title(&report, width, script);
        let narrow = width < 1280;
        // The page is as wide as its window. The wide table scrolls on its own. Pictures are there.
        // Nothing is fetched.
        let inner = title(&report, width, "document.documentElement.clientWidth");
        assert!(
            seen.starts_with(&format!("{inner},{width},")),
            "{seen} at {width}"
        );
        assert!(!narrow || seen.contains(",true,true,"), "{seen}");
        assert!(seen.ends_with(",true,0"), "{seen}");
    }
}

#[test]
fn the_results_that_are_kept_are_what_their_raw_files_give() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let kept: Vec<_> = fs::read_dir(results)
        .expect("there are results")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(!kept.is_empty());
    for folder in kept {
        let raw = Command::new("gzip")
            .arg("-dc")
            .arg(folder.join("raw.jsonl.gz"))
            .output()
            .expect("gzip runs");
        assert!(raw.status.success(), "{}", text(&raw));
        let report = Report::of_text(&String::from_utf8(raw.stdout).expect("it is text"));
        for (name, made) in [
            ("report.md", &report.markdown),
            ("report.html", &report.html),
            ("report.csv", &report.csv),
        ] {
            let kept = fs::read_to_string(folder.join(name)).expect(name);
            assert!(
                kept == *made,
                "{} is not what its raw file gives",
                folder.join(name).display()
            );
        }
        let kept = fs::read_to_string(folder.join("report.json")).expect("report.json");
        let kept: Value = serde_json::from_str(&kept).expect("it is JSON");
        assert!(
            kept == report.json,
            "report.json is not what its raw file gives"
        );
    }
}
