//! How it was measured, in paragraphs that are true of the run at hand: for both pages.

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
            "{rounds}. In each, every workload visits all servers, one right after the other, from \
             another server on in each round and backwards in every other one. When all rounds are \
             done the open loop follows, in rounds of its own, since its rate is half of what the \
             slowest server did that is right, with a bound that leaves the generator time to spare; \
             last come the other placements. A ratio is formed within a round, and the median of \
             those is shown."
        ),
        format!(
            "Each measurement has a server process of its own, with an environment of four variables, and \
             lasts {} s, three times as long in the open loop; before it there are {} s of load, and {} ms \
             more for each connection. All goes over TCP on this one machine. Placement: {}.",
            format::plain(&format::number(run.seconds)),
            format::plain(&format::number(run.warm_up)),
            format::plain(&format::number(run.warm_up_each * 1e3)),
            tables::variant_what(main),
        ),
        format!(
            "The generator is one program for all, with {threads}. In a closed loop each connection \
             has a fixed number of lines in flight and sends the next one when an answer comes, so a \
             slow server is also asked less. In an open loop lines are sent at a fixed rate whatever \
             was answered, and a latency counts from the time at which its line was due, so that a \
             server that stalls cannot hide it. Every byte that comes back is compared with the one \
             expected. A connection is served once before the load begins."
        ),
        format!(
            "Server and generator share what cores there are: what one takes, the other lacks, and \
             a rate is that of the pair. The generator itself is taken to be the bound where its \
             busiest thread ran {bound} % of the measured time or more, so that the rate is {bound} % or \
             more of what it could do; such results are marked with G. In the open loop, where \
             the rate is given, a busy generator may be late itself, and its delay is part of every \
             latency: differences below the reflector’s own figure mean little there."
        ),
        format!(
            "Processor time is the kernel’s count for the server’s process within the measured time. \
             Context switches are those of all its threads from its start to its end, divided by all \
             lines that it served. System calls come from two runs under strace, the difference in \
             calls divided by the difference in lines, for workloads of up to {MOST_TRACED} connections, the \
             open loop aside; a traced server is slow, so that a loop may find more lines at once and \
             take fewer calls, and one that adapts may do something else. What neither server nor \
             generator had of the processors’ time, and was not idle, is said to be that of others: \
             of interrupts, some hundredths, of programs beside, and of a virtual machine’s host."
        ),
        "All Rust programs are built with link-time optimisation in one unit, C with -O2. The peers \
         are one file each, and those in Rust share how lines are found, so that they differ in \
         their input and output; tokio’s Framed and Python’s streams are used as people use them."
            .to_owned(),
    ]
}
