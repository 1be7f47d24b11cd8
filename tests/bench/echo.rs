//! Echo throughput over real sockets: `cargo bench --bench echo [-- NAME=ADDRESS …]`.
//!
//! Measures this crate's server, which it starts, and any others that are running already, on the
//! same work: lines per second, closed loop, every byte of every reply checked. One thread drives
//! all connections in waves: it writes a batch of lines to each, then reads the batch back from
//! each, so that the load costs as little as it can beside two cores' worth of server. Servers take
//! turns within a round; reported are medians over the rounds, and ratios of them.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is asked of a server: so many connections, each a batch of so many lines at a time, of so
/// many bytes.
struct Work {
    name: &'static str,
    connections: usize,
    batch: usize,
    line: usize,
}

const WORK: &[Work] = &[
    Work {
        name: "ping-pong, 1 connection",
        connections: 1,
        batch: 1,
        line: 32,
    },
    Work {
        name: "ping-pong, 8 connections",
        connections: 8,
        batch: 1,
        line: 32,
    },
    Work {
        name: "ping-pong, 50 connections",
        connections: 50,
        batch: 1,
        line: 32,
    },
    Work {
        name: "ping-pong, 500 connections",
        connections: 500,
        batch: 1,
        line: 32,
    },
    Work {
        name: "256 pipelined, 1 connection",
        connections: 1,
        batch: 256,
        line: 32,
    },
    Work {
        name: "64 pipelined, 50 connections",
        connections: 50,
        batch: 64,
        line: 32,
    },
    Work {
        name: "60 kB lines, 1 connection",
        connections: 1,
        batch: 1,
        line: 60_000,
    },
    Work {
        name: "60 kB lines, 50 connections",
        connections: 50,
        batch: 1,
        line: 60_000,
    },
];

/// One measurement's length. Waves are counted until it is over.
const DURATION: Duration = Duration::from_millis(400);
const ROUNDS: usize = 9;

fn main() -> io::Result<()> {
    let others = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let (server, address) = Server::start()?;
    let mut servers = vec![("synchat".to_owned(), address)];
    servers.extend(others.map(|argument| match argument.split_once('=') {
        Some((name, address)) => (name.to_owned(), address.to_owned()),
        None => (argument.clone(), argument),
    }));
    println!(
        "Lines per second: medians of {ROUNDS} rounds of {DURATION:?}, servers in turn; in brackets the median ratio of synchat's to it."
    );
    for work in WORK {
        let mut rates = vec![Vec::new(); servers.len()];
        for _ in 0..ROUNDS {
            for ((_, address), rates) in servers.iter().zip(&mut rates) {
                rates.push(work.measure(address)?);
            }
        }
        print!("{:<30}", work.name);
        for ((name, _), theirs) in servers.iter().zip(&rates) {
            let ratios = rates[0]
                .iter()
                .zip(theirs)
                .map(|(ours, theirs)| ours / theirs)
                .collect();
            print!(
                "  {name} {:>9.0} [{:.2}]",
                median(theirs.clone()),
                median(ratios)
            );
        }
        println!();
    }
    drop(server);
    Ok(())
}

impl Work {
    /// Lines per second.
    fn measure(&self, address: &str) -> io::Result<f64> {
        let message: Vec<u8> = (0..self.line)
            .map(|at| b'a' + (at % 26) as u8)
            .chain(*b"\r\n")
            .collect();
        let batch = message.repeat(self.batch);
        let mut reply = vec![0; batch.len()];
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            let connection = TcpStream::connect(address)?;
            connection.set_nodelay(true)?;
            connection.set_read_timeout(Some(Duration::from_secs(10)))?;
            connections.push(connection);
        }
        let mut wave = || {
            connections
                .iter_mut()
                .try_for_each(|connection| connection.write_all(&batch))?;
            connections.iter_mut().try_for_each(|connection| {
                connection.read_exact(&mut reply)?;
                assert!(reply == batch, "{address} echoed something else");
                Ok::<_, io::Error>(())
            })
        };
        wave()?;
        let (started, mut waves) = (Instant::now(), 0);
        while started.elapsed() < DURATION {
            wave()?;
            waves += 1;
        }
        Ok((waves * self.connections * self.batch) as f64 / started.elapsed().as_secs_f64())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// This crate's server, for as long as the value lives.
struct Server(Child);

impl Server {
    fn start() -> io::Result<(Self, String)> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_synchat"))
            .args(["127.0.0.1:0", "--log-file", "/dev/null"])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut greeting = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut greeting)?;
        let address = greeting
            .split([' ', ';'])
            .find(|word| word.starts_with("127."))
            .expect("it says where it listens");
        Ok((Self(child), address.to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
