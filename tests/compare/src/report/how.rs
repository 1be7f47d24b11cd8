//! Tells how the figures were measured, in paragraphs for both pages. They follow from the run at
//! hand.

use super::format;
use super::summary::BOUND;
use super::tables;
use crate::record::{Run, Variant};
use crate::syscalls::MOST_TRACED;

pub fn paragraphs(run: &Run, main: Variant) -> Vec<String> {
    let rounds = match run.rounds {
        1 => "There is one round".to_owned(),
        many => format!("There are {} rounds", format::count(many)),
    };
    let threads = match run.threads {
        1 => "one thread".to_owned(),
        many => format!("{} threads", format::count(many)),
    };
    let bound = format::grouped(BOUND * 100.0);

    vec![
        format!(
            "{rounds}. In each round, every workload visits all servers, one right after the \
             other. Each round begins with another server, and every second round goes backwards. \
             A ratio is computed within a round, and the report shows the median of the rounds. \
             The open loop follows when all these rounds are done, in rounds of its own. Its rate \
             is half of what the slowest correct server did before, with an upper limit that the \
             generator can send with ease. The other placements come last."
        ),
        format!(
            "Each measurement has its own server process, whose environment is four variables. It \
             lasts {} s, and three times as long in the open loop. Before it come {} s of load, and \
             {} ms more for each connection. All traffic is TCP on this one machine. Placement: {}.",
            format::plain(&format::number(run.seconds)),
            format::plain(&format::number(run.warm_up)),
            format::plain(&format::number(run.warm_up_each * 1e3)),
            tables::variant_what(main),
        ),
        format!(
            "One load generator, with {threads}, measures all servers. In a closed loop each \
             connection has a fixed number of lines in flight. It sends the next line when an \
             answer comes, so a slow server is also asked less. In an open loop, lines are sent at \
             a fixed rate, answered or not. A latency counts from the time at which its line was \
             due, so a server that stalls cannot hide the stall. Every byte that comes back is \
             compared with the expected byte. Each connection is served once before the load begins."
        ),
        format!(
            "The server and the generator share the same cores. What one uses, the other lacks, so \
             a rate belongs to the pair. If the generator’s busiest thread ran {bound} % of the \
             measured time or more, the report assumes that the generator limited the result, and \
             marks it with G. In the open loop a busy generator may be late itself, and its delay is \
             part of every latency. Differences smaller than the reflector’s own latency mean \
             little there."
        ),
        format!(
            "Processor time is the kernel’s count for the server’s process within the measured \
             time. Context switches are counted over all threads, from the start of the process to \
             its end, and divided by all lines that it served. System calls come from two runs \
             under strace: the difference in calls is divided by the difference in lines. Only \
             workloads of up to {MOST_TRACED} connections are traced, and the open loop is not. A \
             traced server is slow. An event loop may then find more lines at once and make fewer \
             calls, and a server that adapts may behave differently. “Other programs” is the \
             processor time that was not idle and that neither the server nor the generator used. \
             It holds interrupts (a few hundredths), other programs, and the host of a virtual \
             machine."
        ),
        "All Rust programs are built with link-time optimisation and one codegen unit, the C \
         program with -O2. Each peer is one file. Most peers in Rust share the code that finds \
         lines, so they differ only in their input and output. tokio’s Framed and Python’s streams \
         are used as most people use them."
            .to_owned(),
    ]
}
