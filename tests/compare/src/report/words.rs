//! Says in sentences which server is ahead, where the knee lies and what a connection costs.
//!
//! Every sentence is computed from the figures. synchat is the only server it knows by name. A
//! sentence whose figures are missing is left out. Where the rounds disagree, the sentence says
//! that the run shows no difference. The cost is a plain style that repeats itself.

use std::cmp::Ordering;

use serde::Serialize;

use super::format;
use super::summary::{DISTURBED, Figure, SYNCHAT, Stat, Summary, memory, passed};
use crate::record::{Kind, Measurement, Model, Outcome, Server, Variant, Workload};

/// Below this share of the best event loop's rate, synchat is past its knee, unless it was ahead in
/// some round.
const KNEE: f64 = 0.9;

#[derive(Debug, Serialize)]
pub struct Statement {
    pub about: &'static str,
    pub parts: Vec<Part>,
}

/// A sentence. With `items`, it is the beginning of a sentence that holds for each of them.
#[derive(Debug, Serialize)]
pub struct Part {
    pub text: String,
    pub items: Vec<String>,
}

impl From<String> for Part {
    fn from(text: String) -> Self {
        let items = Vec::new();
        Self { text, items }
    }
}

pub fn statements(summary: &Summary) -> Vec<Statement> {
    let words = Words {
        summary,
        variant: summary.main_variant(),
    };

    let mut all = Vec::new();
    let mut say = |about, parts: Vec<Part>| {
        if !parts.is_empty() {
            all.push(Statement { about, parts });
        }
    };

    let rates = |kinds: &[Kind]| words.standings(kinds, Figure::Rate);
    say("One line at a time", rates(&[Kind::PingPong]));
    say(
        "The knee",
        words.knee().into_iter().map(Part::from).collect(),
    );
    say("Many lines in flight", rates(&[Kind::Pipelined]));
    say("Long and mixed lines", rates(&[Kind::Lengths]));
    say("Connecting", rates(&[Kind::Connects]));

    let waits = |kind| words.standings(&[kind], Figure::P99);
    say("p99 latency, one line at a time", waits(Kind::PingPong));
    say(
        "p99 latency at a fixed rate, from the time a line was due",
        waits(Kind::Open),
    );
    say(
        "p99 latency of one connection beside many silent ones",
        waits(Kind::Idle),
    );

    say("Against each other server", words.field());
    say(
        "Processor time",
        words.cpu().into_iter().map(Part::from).collect(),
    );
    say(
        "Memory",
        words.memory().into_iter().map(Part::from).collect(),
    );
    say(
        "Read with care",
        words.cautions().into_iter().map(Part::from).collect(),
    );
    all
}

struct Words<'a> {
    summary: &'a Summary,
    variant: Variant,
}

/// Compares synchat with one other server in one workload.
struct Versus<'a> {
    workload: &'a Workload,
    other: &'a Server,
    /// synchat's figure divided by the other's.
    ratio: Stat,
    /// `Greater` where synchat is ahead, `Equal` where this run shows no clear difference.
    order: Ordering,
    /// True if the generator limited one of the two results.
    bound: bool,
    /// The number of rounds of the run.
    measured: usize,
}

impl<'a> Words<'a> {
    /// Compares synchat with the best other server. Candidates are `allowed`, passed every row of
    /// the check, had no errors, and were measured in a round with synchat.
    fn versus(
        &self,
        workload: &'a Workload,
        figure: Figure,
        allowed: impl Fn(&Server) -> bool,
    ) -> Option<Versus<'a>> {
        let stat = |server: &str| {
            let cell = self.summary.cell(self.variant, &workload.name, server)?;
            let stat = self.summary.stat(self.variant, workload, server, figure)?;
            (cell.errors() == 0 && stat.median > 0.0).then_some(stat.median)
        };
        // Without a figure of its own, synchat has nothing to compare.
        stat(SYNCHAT)?;
        let ratio = |server: &str| {
            let (own, other) = ((self.variant, SYNCHAT), (self.variant, server));
            self.summary.ratio(workload, own, other, figure)
        };

        // Take the best candidate. The first one wins a tie.
        let right = |server: &&Server| passed(server).is_none_or(|(_, all)| all);
        let candidates = self.summary.others().filter(right).filter(|s| allowed(s));
        let (_, other, ratio) = candidates
            .filter_map(|server| Some((stat(&server.name)?, server, ratio(&server.name)?)))
            .reduce(|best, next| {
                let better = (next.0 < best.0) == figure.less_is_better();
                if better && next.0 != best.0 {
                    next
                } else {
                    best
                }
            })?;

        let bound = |server: &str| self.summary.bound(self.variant, workload, server);
        Some(Versus {
            workload,
            other,
            ratio,
            order: order(ratio, figure),
            bound: bound(SYNCHAT) || bound(&other.name),
            measured: self.summary.run.rounds,
        })
    }

    fn workloads(&self, kinds: &[Kind]) -> Vec<&'a Workload> {
        let of_kind = |w: &&Workload| kinds.contains(&w.kind);
        let mut workloads = self.summary.workloads(self.variant);
        workloads.retain(of_kind);
        workloads.sort_by_key(|w| w.connections + w.idle);
        workloads
    }

    /// Says where synchat is ahead of the best event-loop server, where behind, and where neither.
    fn standings(&self, kinds: &[Kind], figure: Figure) -> Vec<Part> {
        let of_kind = self.workloads(kinds);
        let all: Vec<Versus<'_>> = of_kind
            .into_iter()
            .filter_map(|workload| self.versus(workload, figure, loops))
            .collect();

        let standing = |order, beginning: &str| {
            let items: Vec<String> = all
                .iter()
                .filter(|versus| versus.order == order)
                .map(|versus| versus.item(figure, kinds))
                .collect();
            let text = format!("{beginning}:");
            (!items.is_empty()).then_some(Part { text, items })
        };

        let orders = [
            (
                Ordering::Greater,
                "synchat is ahead of the best event-loop server",
            ),
            (Ordering::Equal, "This run shows no clear difference"),
            (
                Ordering::Less,
                "synchat is behind the best event-loop server",
            ),
        ];

        orders
            .into_iter()
            .filter_map(|(order, beginning)| standing(order, beginning))
            .collect()
    }

    /// Names, for each workload, the servers that synchat beats in every round, and those that beat
    /// it in every round.
    fn field(&self) -> Vec<Part> {
        let item = |workload: &&'a Workload| {
            let figure = Figure::of(workload.kind);
            let whom = |wanted: Ordering| {
                let others = self.summary.others().filter(|server| {
                    let (own, other) = ((self.variant, SYNCHAT), (self.variant, &*server.name));
                    let ratio = self.summary.ratio(workload, own, other, figure);
                    let cell = self
                        .summary
                        .cell(self.variant, &workload.name, &server.name);
                    cell.zip(ratio).is_some_and(|(cell, ratio)| {
                        cell.agrees(ratio) && order(ratio, figure) == wanted
                    })
                });
                let names: Vec<String> = others.map(|server| server.name.clone()).collect();
                (!names.is_empty()).then(|| format::list(&names))
            };

            let ahead = whom(Ordering::Greater).map(|names| format!("ahead of {names}"));
            let behind = whom(Ordering::Less).map(|names| format!("behind {names}"));
            let both: Vec<String> = [ahead, behind].into_iter().flatten().collect();
            (!both.is_empty()).then(|| format!("{}: {}", workload.name, both.join("; ")))
        };

        let workloads = self.summary.workloads(self.variant);
        let items: Vec<String> = workloads.iter().filter_map(item).collect();
        let text = "In every round synchat is:".to_owned();
        if items.is_empty() {
            Vec::new()
        } else {
            vec![Part { text, items }]
        }
    }

    /// Says from how many connections on synchat stays past its knee.
    fn knee(&self) -> Option<String> {
        let all: Vec<Versus<'_>> = self
            .workloads(&[Kind::PingPong])
            .into_iter()
            .filter_map(|workload| self.versus(workload, Figure::Rate, loops))
            .collect();
        let last = all.last()?;

        // The knee is at the first workload from which on all are past it.
        let is_past = |v: &&Versus<'_>| v.ratio.median < KNEE && v.ratio.max < 1.0;
        let first = all.len() - all.iter().rev().take_while(is_past).count();

        let at = |versus: &Versus<'_>| {
            let count = connections(versus.workload);
            format!("at {count} it does {}", versus.times(" rate"))
        };

        // No knee was found.
        let Some(knee) = all.get(first) else {
            let past = all.iter().rfind(is_past);
            let once = past.map_or_else(String::new, |versus| {
                let count = connections(versus.workload);
                format!(" This does not hold at {count}.")
            });
            return (all.len() > 1).then(|| {
                format!(
                    "No knee up to {}, the most that were measured. There synchat reaches 90 % or \
                     more of the best event-loop server’s rate, or was ahead in a round.{once} {}.",
                    connections(last.workload),
                    sentence(&at(last)),
                )
            });
        };

        // A knee was found, with or without a workload before it.
        let here = connections(knee.workload);
        let doubt = if knee.ratio.max >= KNEE {
            " At least one round reached 90 % there, so the knee may lie higher."
        } else {
            ""
        };
        Some(match first.checked_sub(1).map(|before| &all[before]) {
            None => format!(
                "At every number of connections that was measured, from {here} on, synchat \
                 reaches less than 90 % of the best event-loop server’s rate. It was ahead in no \
                 round. {}.{doubt}",
                sentence(&at(knee))
            ),
            Some(before) => format!(
                "The knee lies between {} and {here}. From {here} on, synchat reaches less than \
                 90 % of the best event-loop server’s rate and was ahead in no round. {}. \
                 {}.{doubt}",
                format::count(before.workload.connections),
                sentence(&at(before)),
                sentence(&at(knee)),
            ),
        })
    }

    /// Says how much processor time a line costs synchat, and which server spends least.
    fn cpu(&self) -> Vec<String> {
        let chosen = [
            usual(self.workloads(&[Kind::PingPong])),
            usual(self.workloads(&[Kind::Pipelined])),
        ];

        let figure = Figure::CpuPerLine;
        let one = |workload: &'a Workload| {
            let own = self.summary.stat(self.variant, workload, SYNCHAT, figure)?;
            let versus = self.versus(workload, figure, |_| true)?;

            let standing = match versus.order {
                Ordering::Greater => "No other server spends less",
                Ordering::Equal => "This run shows no clear difference from the lowest cost",
                Ordering::Less => "Another server spends less",
            };

            Some(format!(
                "In {} synchat spends {} of processor time per line. {standing}. synchat’s cost is \
                 {}.",
                workload.name,
                format::time(own.median),
                versus.times(""),
            ))
        };

        chosen.into_iter().flatten().filter_map(one).collect()
    }

    /// Says how much memory a connection costs synchat, and the leanest event-loop server.
    fn memory(&self) -> Option<String> {
        let figure = Figure::MemoryPerConnection;
        let kinds = [
            Kind::PingPong,
            Kind::Pipelined,
            Kind::Lengths,
            Kind::Idle,
            Kind::Open,
        ];

        let mut crowds = self.workloads(&kinds).into_iter().rev();
        crowds.find_map(|workload| {
            let total = self.summary.stat(self.variant, workload, SYNCHAT, figure)?;
            let cell = self.summary.cell(self.variant, &workload.name, SYNCHAT)?;
            let resident = cell.stat(|f| Some(memory(workload, f)?.resident))?;

            let own = format!(
                "With {} open, each costs synchat {}. Of that, {} is resident memory, the rest \
                 page tables and kernel stacks.",
                connections(workload),
                format::size(total.median),
                format::size(resident.median),
            );

            Some(match self.versus(workload, figure, loops) {
                None => own,
                Some(versus) => {
                    let name = &versus.other.name;
                    let other = self.summary.stat(self.variant, workload, name, figure)?;
                    let standing = match versus.order {
                        Ordering::Equal => " This run shows no clear difference.",
                        _ => "",
                    };
                    format!(
                        "{own} The leanest event-loop server, {name}, needs {}.{standing} \
                         synchat’s cost is {}.",
                        format::size(other.median),
                        versus.times(""),
                    )
                }
            })
        })
    }

    /// Warns of figures that a reader could mistake for results.
    fn cautions(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let cells = || self.summary.cells().filter(|(v, ..)| *v == self.variant);

        // Too few rounds.
        if cells().all(|(.., cell)| cell.rounds.len() < 2) && cells().count() > 0 {
            texts.push("Everything was measured once, so any difference may be chance.".to_owned());
        }

        // Wrong or missing answers.
        if let Some(own) = self.summary.server(SYNCHAT)
            && let Some((count, false)) = passed(own)
        {
            texts.push(format!("synchat passed only {count} rows of the check."));
        }
        let wrong = cells().filter(|(.., cell)| cell.errors() > 0);
        let wrong: Vec<String> = wrong.map(|(_, w, s, _)| format!("{s} in {w}")).collect();
        if !wrong.is_empty() {
            texts.push(format!(
                "There were errors with {}.",
                format::list(&some(wrong))
            ));
        }

        let here = |m: &&Measurement| m.variant == self.variant;
        let failed = self.summary.measurements.iter().filter(here);
        let failed = failed
            .filter(|m| matches!(m.outcome, Outcome::Failed(_)))
            .count();
        if failed > 0 {
            texts.push(format!("{} failed.", measurements(failed)));
        }

        // Other programs, or the host, on the same processors.
        let others = cells().flat_map(|(.., cell)| cell.rounds.values());
        let others: Vec<f64> = others.filter_map(|figures| figures.others).collect();
        let disturbed = others.iter().filter(|others| **others >= DISTURBED).count();
        if disturbed > 0 {
            texts.push(format!(
                "In {disturbed} of {} measurements other programs, or the host of this machine, \
                 used {} % of the processors’ time or more.",
                format::count(others.len()),
                format::grouped(DISTURBED * 100.0),
            ));
        }

        // A generator at its limit.
        let peer = |name: &str| {
            let server = self.summary.server(name);
            server.is_none_or(|server| server.model != Model::Reflector)
        };

        let is_bound = |workload: &str, server: &str| {
            let workload = self.summary.workload(workload);
            workload.is_some_and(|workload| self.summary.bound(self.variant, workload, server))
        };
        let bound = cells().filter(|(_, w, s, _)| peer(s) && is_bound(w, s));
        let bound = bound.count();
        if bound > 0 {
            texts.push(format!(
                "In {bound} of {} results the load generator was at or near its own limit (marked \
                 G). Those servers may differ more than their figures show.",
                cells()
                    .filter(|(_, _, s, cell)| peer(s) && !cell.rounds.is_empty())
                    .count(),
            ));
        }
        texts
    }
}

impl Versus<'_> {
    /// Returns `1.21 times tokio’s rate (1.18–1.25)`.
    fn times(&self, of: &str) -> String {
        let ratio = self.ratio;
        let range = if ratio.rounds > 1 {
            let (low, high) = (format::number(ratio.min), format::number(ratio.max));
            format!(" ({low}–{high})")
        } else {
            String::new()
        };

        let times = format::number(ratio.median);

        let rounds = if ratio.rounds < self.measured {
            format!(" in {} of {} rounds", ratio.rounds, self.measured)
        } else {
            String::new()
        };
        format!("{times} times {}’s{of}{range}{rounds}", self.other.name)
    }

    fn item(&self, figure: Figure, kinds: &[Kind]) -> String {
        let place = match kinds {
            [Kind::PingPong] => format!("at {}", connections(self.workload)),
            _ => format!("in {}", self.workload.name),
        };
        let of = match figure {
            Figure::Rate => " rate",
            Figure::P99 => " time",
            Figure::CpuPerLine | Figure::MemoryPerConnection => "",
        };

        let bound = if self.bound {
            "; limited by the generator"
        } else {
            ""
        };

        format!("{place}: {}{bound}", self.times(of))
    }
}

fn loops(server: &Server) -> bool {
    matches!(server.model, Model::Loop | Model::Loops)
}

/// Tells from a ratio of synchat to another server which one is ahead.
fn order(ratio: Stat, figure: Figure) -> Ordering {
    if ratio.straddles_one() {
        Ordering::Equal
    } else if (ratio.median > 1.0) == figure.less_is_better() {
        Ordering::Less
    } else {
        Ordering::Greater
    }
}

/// Returns the workload whose number of connections is nearest to 50, in proportion.
pub fn usual(workloads: Vec<&Workload>) -> Option<&Workload> {
    let distance = |w: &&Workload| (w.connections.max(1) as f64 / 50.0).ln().abs();
    let nearest = |a: &&Workload, b: &&Workload| distance(a).total_cmp(&distance(b));
    workloads.into_iter().min_by(nearest)
}

/// Keeps the first few items and says how many more there are.
fn some(mut items: Vec<String>) -> Vec<String> {
    const FEW: usize = 5;
    if items.len() > FEW + 1 {
        let more = items.len() - FEW;

        items.truncate(FEW);
        items.push(format!("{more} more"));
    }
    items
}

fn connections(workload: &Workload) -> String {
    match workload.connections + workload.idle {
        1 => "1 connection".to_owned(),
        many => format!("{} connections", format::count(many)),
    }
}

fn measurements(count: usize) -> String {
    match count {
        1 => "One measurement".to_owned(),
        many => format!("{} measurements", format::count(many)),
    }
}

/// Returns the text with an upper-case first letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}
