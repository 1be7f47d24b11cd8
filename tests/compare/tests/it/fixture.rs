//! Invented raw files for the tests of the report. Their figures were chosen, so they are known.
//! The lines are written as JSON, so the tests also check the program's file format.

use serde_json::{Value, json};

/// Builds a raw file.
pub struct Raw {
    run: Value,
    lines: Vec<Value>,
}

impl Raw {
    /// Begins a run with this many rounds, without workloads and servers.
    pub fn new(rounds: usize) -> Self {
        let run = json!({
            "record": "run", "schema": 1, "started": "2026-11-22T10:00:00Z",
            "command": "compare run --quick", "commit": "0123abc", "machine": [["processor", "two cores"]],
            "rounds": rounds, "seconds": 2.0, "warm_up": 0.2, "warm_up_each": 0.0002, "threads": 1,
            "workloads": [], "variants": ["shared"],
        });
        Self {
            run,
            lines: Vec::new(),
        }
    }

    /// Changes a value of the first record.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.run[name] = value;
        self
    }

    pub fn workload(mut self, name: &str, kind: &str, connections: usize, idle: usize) -> Self {
        let workload = json!({
            "name": name, "what": format!("{connections} connections"), "kind": kind,
            "connections": connections, "idle": idle,
        });
        let all = self.run["workloads"].as_array_mut().expect("an array");
        all.push(workload);
        self
    }

    /// Adds a server that is available and passed both rows.
    pub fn server(self, name: &str, model: &str) -> Self {
        self.server_with(name, model, &json!({}))
    }

    /// Adds a server with some other fields.
    pub fn server_with(mut self, name: &str, model: &str, other: &Value) -> Self {
        let mut server = json!({
            "record": "server", "name": name, "title": format!("the {name}"), "model": model,
            "version": "1.0", "source": format!("peers/{name}.rs"),
            "start": format!("{name} ADDRESS"), "absent": null,
            "check": [row("echoes a line", true, ""), row("keeps a lone CR", true, "")],
        });
        for (field, value) in other.as_object().expect("an object") {
            server[field] = value.clone();
        }
        self.lines.push(server);
        self
    }

    pub fn measured(mut self, server: &str, workload: &str, round: usize, figures: &Value) -> Self {
        self.outcome(
            server,
            workload,
            "shared",
            round,
            &json!({"figures": figures}),
        );
        self
    }

    /// Adds one measurement per round. They differ only in their rates.
    pub fn rates(mut self, server: &str, workload: &str, rates: &[f64]) -> Self {
        for (round, rate) in rates.iter().enumerate() {
            self = self.measured(server, workload, round, &figures(*rate));
        }
        self
    }

    pub fn outcome(
        &mut self,
        server: &str,
        workload: &str,
        variant: &str,
        round: usize,
        outcome: &Value,
    ) {
        self.lines.push(json!({
            "record": "measurement", "server": server, "workload": workload, "variant": variant,
            "round": round, "outcome": outcome,
        }));
    }

    pub fn failed(mut self, server: &str, workload: &str, round: usize, why: &str) -> Self {
        self.outcome(server, workload, "shared", round, &json!({"failed": why}));
        self
    }

    pub fn skipped(mut self, server: &str, workload: &str, round: usize, why: &str) -> Self {
        self.outcome(server, workload, "shared", round, &json!({"skipped": why}));
        self
    }

    pub fn end(mut self) -> Self {
        let end = json!({"record": "end", "finished": "2026-11-22T10:30:00Z"});
        self.lines.push(end);
        self
    }

    pub fn text(&self) -> String {
        let all = std::iter::once(&self.run).chain(&self.lines);
        all.map(|line| format!("{line}\n")).collect()
    }
}

pub fn row(name: &str, passed: bool, seen: &str) -> Value {
    json!({"name": name, "passed": passed, "seen": seen})
}

/// Returns the figures of a measurement of two seconds: 20 % of the generator's time, 1 µs of the
/// server's time per line, a p99 of 0.5 ms, no errors.
pub fn figures(rate: f64) -> Value {
    let done = rate * 2.0;
    json!({
        "load": {
            "seconds": 2.0, "done": done as u64, "total": done as u64, "rate": rate, "intended_rate": null,
            "latency": {
                "count": done as u64, "mean": 120e3, "p50": 100_000, "p90": 200_000,
                "p99": 500_000, "p99_9": 900_000, "max": 2_000_000,
                "quantiles": [[0.5, 100_000], [0.9, 200_000], [0.99, 500_000], [0.999, 900_000]],
            },
            "errors": {"wrong": 0, "closed": 0, "refused": 0, "unanswered": 0},
        },
        "server": {
            "cpu": (done * 1000.0) as u64, "context_switches": (done * 2.0) as u64,
            "system_calls_per_line": 2.0, "threads": 1, "threads_before": 1,
            "resident": 4_000_000, "resident_before": 4_000_000,
            "page_tables": 100_000, "page_tables_before": 100_000, "virtual_size": 9_000_000,
        },
        "generator": {"threads": 1, "cpu": 400_000_000, "busy": 0.2, "starved": 0.1},
        "others": 0.02,
    })
}

/// Returns the same figures with one value changed, as in `"/generator/busy"`.
pub fn but(mut figures: Value, pointer: &str, value: impl Into<Value>) -> Value {
    *figures.pointer_mut(pointer).expect("it has that value") = value.into();
    figures
}

/// Makes a realistic run: 16 servers and the reflector, 13 workloads, 5 rounds, one absent server,
/// some failed results, and two variants besides the main one.
pub fn realistic() -> Raw {
    let mut raw = Raw::new(5)
        .with("variants", json!(["shared", "batch", "one-core"]))
        .with("command", json!("compare run --rounds 5 --seconds 2"))
        .with(
            "commit",
            json!("7e50061f3c0de0123456789abcdef01234567890-dirty"),
        )
        .with("machine", machine())
        .with("workloads", workloads());
    for (place, (name, model, title, ..)) in SERVERS.iter().enumerate() {
        let mut check: Vec<Value> = (1..=14)
            .map(|number| row(&format!("{number}. {}", ROWS[number - 1]), true, ""))
            .collect();
        if place == 12 {
            let seen = "got 16 bytes b\"abc\\ndef\\r\\nxyz\\r\\n\" where 10 were due, then the end";
            check[2] = row(&format!("3. {}", ROWS[2]), false, seen);
            check[9] = row(
                &format!("10. {}", ROWS[9]),
                false,
                "memory grew by 412 MiB in 3 s",
            );
        }
        let absent =
            (*name == "erlang").then_some("erl is not installed: apt-get install erlang-base");
        let rows = if *model == "reflector" || absent.is_some() {
            Vec::new()
        } else {
            check
        };
        let about = json!({
            "title": title, "check": rows, "absent": absent,
            "version": format!("{name} 1.{place}.0, rustc 1.95.0"),
        });
        raw = raw.server_with(name, model, &about);
    }
    let mut chance = Chance(7);
    for round in 0..5 {
        for (variant, speed) in [("shared", 1.0), ("batch", 1.15), ("one-core", 0.6)] {
            for workload in workloads().as_array().expect("an array") {
                let name = workload["name"].as_str().expect("a name");
                if variant != "shared"
                    && !["ping-pong-50", "ping-pong-500", "pipelined-50"].contains(&name)
                {
                    continue;
                }
                for server in SERVERS.iter().filter(|server| server.0 != "erlang") {
                    let outcome = likely(server, workload, speed, &mut chance);
                    raw.outcome(server.0, name, variant, round, &outcome);
                }
            }
        }
    }
    raw.end()
}

/// Name, model, title, rate at 50 connections, the share of that rate at 5,000 connections, the
/// cost of a pipelined line in ns, resident bytes per connection.
type Server = (&'static str, &'static str, &'static str, f64, f64, f64, f64);

const SERVERS: [Server; 17] = [
    (
        "synchat",
        "threads",
        "synchat, a thread for each connection",
        113e3,
        0.45,
        140.0,
        13e3,
    ),
    (
        "c-threads",
        "threads",
        "C, a thread for each connection",
        71e3,
        0.6,
        230.0,
        9.5e3,
    ),
    (
        "naive",
        "threads",
        "Rust, read_until on a thread each",
        69e3,
        0.55,
        4100.0,
        82e3,
    ),
    (
        "tokio",
        "loops",
        "tokio, multi-threaded",
        114e3,
        0.85,
        180.0,
        3.1e3,
    ),
    (
        "tokio-framed",
        "loops",
        "tokio, Framed with LinesCodec",
        110e3,
        0.7,
        3400.0,
        9.9e3,
    ),
    (
        "smol",
        "loops",
        "smol, one executor on two threads",
        104e3,
        0.8,
        210.0,
        3.4e3,
    ),
    (
        "mio",
        "loop",
        "mio, one thread tuned by hand",
        130e3,
        0.82,
        120.0,
        0.9e3,
    ),
    (
        "compio",
        "loops",
        "compio, io_uring",
        121e3,
        0.9,
        200.0,
        5.2e3,
    ),
    (
        "net-io",
        "threads",
        "the net-io crate",
        66e3,
        0.5,
        900.0,
        17e3,
    ),
    (
        "go",
        "loops",
        "Go, a goroutine for each connection",
        98e3,
        0.78,
        260.0,
        7.5e3,
    ),
    ("node", "loop", "Node.js, net", 61e3, 0.7, 2100.0, 8.8e3),
    (
        "java-virtual",
        "loops",
        "Java, virtual threads",
        84e3,
        0.75,
        450.0,
        11e3,
    ),
    (
        "asynchat",
        "loop",
        "Python 3.11, asynchat",
        93e3,
        0.5,
        9000.0,
        6.3e3,
    ),
    (
        "asyncio",
        "loop",
        "Python, asyncio streams",
        28e3,
        0.6,
        21000.0,
        14e3,
    ),
    (
        "libevent",
        "loop",
        "C, libevent bufferevents",
        109e3,
        0.8,
        310.0,
        1.4e3,
    ),
    ("erlang", "loops", "Erlang, gen_tcp", 70e3, 0.7, 800.0, 12e3),
    (
        "reflector",
        "reflector",
        "returns bytes as they are",
        150e3,
        0.9,
        60.0,
        0.5e3,
    ),
];

const ROWS: [&str; 14] = [
    "a line comes back",
    "an empty line comes back",
    "a lone LF is data",
    "a lone CR is data",
    "a line split over packets",
    "a line of 65,536 bytes",
    "a longer one is disconnected",
    "many lines in one packet",
    "replies to one read leave in one write",
    "a client that never reads",
    "half-close, all replies",
    "an unterminated tail is not echoed",
    "a reset does not matter",
    "1,000 connections at once",
];

fn machine() -> Value {
    json!([
        ["processor", "AMD EPYC 7B13, 2 cores"],
        ["kernel", "Linux 6.18.0"],
        ["memory", "8 GiB"],
        ["descriptors", "1048576"],
        ["rustc", "1.95.0"],
        ["vm.max_map_count", "65530"],
    ])
}

fn workloads() -> Value {
    let one = |name: &str, what: &str, kind: &str, connections: usize, idle: usize| json!({"name": name, "what": what, "kind": kind, "connections": connections, "idle": idle});
    let ping = |count: usize| {
        let what = format!("{count} connections, one 32-byte line at a time each");
        one(&format!("ping-pong-{count}"), &what, "ping-pong", count, 0)
    };
    json!([
        ping(1),
        ping(8),
        ping(50),
        ping(200),
        ping(500),
        ping(2000),
        ping(5000),
        one(
            "pipelined-1",
            "1 connection, 256 lines of 32 bytes in flight",
            "pipelined",
            1,
            0
        ),
        one(
            "pipelined-50",
            "50 connections, 64 lines of 32 bytes in flight each",
            "pipelined",
            50,
            0
        ),
        one(
            "mixed-50",
            "50 connections, 16 to 60,000 bytes mixed",
            "lengths",
            50,
            0
        ),
        one(
            "connects-8",
            "8 at a time: connect, one line, close",
            "connects",
            8,
            0
        ),
        one(
            "idle-2000",
            "50 active among 2,000 silent",
            "idle",
            50,
            2000
        ),
        one(
            "open-20k",
            "20,000 lines a second on 50 connections",
            "open",
            50,
            0
        ),
    ])
}

/// Makes a likely outcome of such a server in this workload.
fn likely(server: &Server, workload: &Value, speed: f64, chance: &mut Chance) -> Value {
    let (name, model, _, usual, left, line, memory) = *server;
    let kind = workload["kind"].as_str().expect("a kind");
    let connections = workload["connections"].as_u64().expect("a number") as f64;
    let open = connections + workload["idle"].as_u64().expect("a number") as f64;
    if name == "asynchat" && connections > 1000.0 {
        return json!({"failed": "ended with status 1: ValueError: filedescriptor out of range in select()"});
    }
    if name == "node" && kind == "connects" {
        return json!({"skipped": "the ports of this machine do not last: 28,232 of them"});
    }
    let wobble = 1.0 + (chance.next() - 0.5) * 0.08;
    let crowd = ((connections / 50.0).ln() / 100f64.ln()).max(0.0);
    let few = (connections / 9.0).min(1.0);
    let rate = speed
        * wobble
        * match kind {
            "ping-pong" | "idle" => usual * few * (1.0 - crowd * (1.0 - left)),
            "pipelined" => 1e9 / line * few.max(0.4),
            "lengths" => 30e3 * usual / 113e3,
            "connects" => 16e3 * usual / 113e3,
            _ => 20e3,
        };
    let cpu = if kind == "pipelined" {
        line
    } else {
        1e9 / usual * 1.1
    };
    let slow = 113e3 / usual * wobble * (1.0 + crowd * 3.0);
    let base = if kind == "open" {
        60e3
    } else {
        connections / rate * 1e9
    };
    let time = |factor: f64| (base * slow * factor) as u64;
    let threads = if model == "threads" {
        open as u64 + 2
    } else {
        2
    };
    let busy = if kind == "pipelined" {
        0.55 + 60.0 / line
    } else {
        0.5 * rate / 113e3
    };
    let mut all = figures(rate);
    all["load"]["latency"] = json!({
        "count": (rate * 2.0) as u64, "mean": base, "p50": time(0.9), "p90": time(1.6),
        "p99": time(4.0 * wobble), "p99_9": time(11.0 * wobble), "max": time(40.0),
        "quantiles": [],
    });
    all["load"]["intended_rate"] = if kind == "open" {
        json!(20e3)
    } else {
        json!(null)
    };
    all["server"] = json!({
        "cpu": (rate * 2.0 * cpu) as u64, "context_switches": (rate * 2.1) as u64,
        "system_calls_per_line": 2.01, "threads": threads, "threads_before": 2,
        "resident": 3_000_000 + (open * memory) as u64, "resident_before": 3_000_000,
        "page_tables": 90_000 + if model == "threads" { (open * 4096.0) as u64 } else { 9000 },
        "page_tables_before": 90_000, "virtual_size": 40_000_000 + (open * 131_072.0) as u64,
    });
    all["generator"]["busy"] = json!(busy.min(0.99));
    if name == "asyncio" && connections >= 5000.0 {
        all["load"]["errors"]["unanswered"] = json!(17);
    }
    json!({"figures": all})
}

/// Makes pseudo-random numbers from 0 to 1, the same in each run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 40) as f64 / (1u64 << 24) as f64
    }
}
