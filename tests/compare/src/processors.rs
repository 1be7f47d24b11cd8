//! Measures the use of the processors by the server, by this program, and by nobody. The rest is
//! the use by others.
//!
//! A rate means something only if the server and the generator had the machine to themselves. A
//! list of processes cannot show that: it misses short-lived programs, and the host of a virtual
//! machine.

use std::fs;

use crate::load::clock;
use crate::process::Process;

/// The unit of the times in `/proc/stat`, in nanoseconds.
const TICK: u64 = 10_000_000;

/// Times up to a moment, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// The clock's time, the same for each processor.
    wall: u64,
    pub server: u64,
    own: u64,
    /// `None` if the kernel does not say.
    idle: Option<Idle>,
}

/// The idle time of all processors together.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Idle {
    processors: u64,
    time: u64,
}

impl Spent {
    pub fn now(server: &Process) -> Self {
        Self {
            wall: clock::now(),
            server: server.cpu(),
            own: clock::program_time(),
            idle: fs::read_to_string("/proc/stat")
                .ok()
                .and_then(|text| Idle::of(&text)),
        }
    }

    /// Returns the share of the processors' time that others used since `earlier`, from 0 to 1.
    pub fn others_since(&self, earlier: &Self) -> Option<f64> {
        let (idle, idle_then) = (self.idle?, earlier.idle?);
        let all = (self.wall - earlier.wall) * idle.processors;

        // A server that has ended shows no time any more.
        let known = self.server.saturating_sub(earlier.server)
            + (self.own - earlier.own)
            + idle.time.saturating_sub(idle_then.time);

        (all > 0).then(|| (1.0 - known as f64 / all as f64).max(0.0))
    }
}

impl Idle {
    /// Reads the text of `/proc/stat`: one line for all processors, then one for each.
    fn of(text: &str) -> Option<Self> {
        let lines = || text.lines().take_while(|line| line.starts_with("cpu"));
        // The fields behind the name are user, nice, system, idle and iowait. Iowait is idle, too.
        let mut numbers = lines().next()?.split_whitespace().skip(4);
        let mut ticks = || numbers.next()?.parse::<u64>().ok();
        Some(Self {
            time: (ticks()? + ticks()?) * TICK,
            processors: lines().skip(1).count() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_else_had_is_the_share_of_others() {
        let text = "cpu  10 0 20 100 5 0 3 1 0 0\ncpu0 5 0 10 50 2 0 1 1 0 0\n\
                    cpu1 5 0 10 50 3 0 2 0 0 0\nintr 1 2\n";
        let idle = Idle::of(text).expect("it has the times");
        assert_eq!((idle.processors, idle.time), (2, 1_050_000_000));
        for bad in ["", "cpu  10 0\n", "cpu  1 2 3 x 5\n"] {
            assert_eq!(Idle::of(bad), None);
        }

        let spent = |wall, server, own, idle_time| Spent {
            wall,
            server,
            own,
            idle: Some(Idle {
                processors: 2,
                time: idle_time,
            }),
        };
        let begin = spent(1000, 500, 50, 7000);
        let others = |end: Spent| end.others_since(&begin).expect("all is known");
        assert_eq!(others(spent(2000, 1000, 550, 7500)), 0.25);
        assert_eq!(others(spent(2000, 1000, 550, 9000)), 0.0, "never below");
        assert_eq!(others(spent(2000, 0, 50, 7000)), 1.0, "the server is gone");
        assert_eq!(begin.others_since(&begin), None, "no time went by");
        let silent = Spent {
            idle: None,
            ..begin
        };
        assert_eq!(silent.others_since(&begin), None);
    }
}
