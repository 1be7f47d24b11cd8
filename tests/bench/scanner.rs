//! How fast bytes become events, and an echo, in memory: `cargo bench --bench scanner`.
//!
//! The reader hands out one block of 64 KiB again and again, which stays in the processor's cache,
//! as what the kernel has just copied does. Its copy into the read buffer is part of the figures.
//! Reported is the median of the rounds, with the best, in bytes received per second.

use std::io::{self, Read};
use std::time::Instant;

use synchat::{Echo, Event, Limits, Scanner, Terminator, converse};

const BYTES: usize = 1 << 29;
const ROUNDS: usize = 9;

/// Reads a block over and over, up to a number of bytes.
struct Cycle<'a> {
    block: &'a [u8],
    at: usize,
    left: usize,
}

impl Read for Cycle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.left).min(self.block.len() - self.at);
        buffer[..length].copy_from_slice(&self.block[self.at..self.at + length]);
        self.at = (self.at + length) % self.block.len();
        self.left -= length;
        Ok(length)
    }
}

fn cycle(block: &[u8]) -> Cycle<'_> {
    Cycle {
        block,
        at: 0,
        left: BYTES,
    }
}

fn scan(block: &[u8]) -> u64 {
    let mut scanner = Scanner::new(cycle(block));
    scanner.set_terminator(&Terminator::CRLF);
    let mut messages = 0;
    loop {
        match scanner.next_event() {
            Some(Event::Terminator) => messages += 1,
            Some(Event::Eof { .. }) => return messages,
            Some(_) => {}
            None => drop(scanner.fill().expect("memory can be read")),
        }
    }
}

fn echo(block: &[u8]) -> u64 {
    let (mut echo, limits) = (Echo::new(Terminator::CRLF), Limits::default());
    converse(cycle(block), io::sink(), &mut echo, &limits)
        .traffic
        .messages
}

fn main() {
    for (name, work) in [("scanner", scan as fn(&[u8]) -> u64), ("echo", echo)] {
        for length in [0, 8, 30, 254, 4094, 59_998] {
            let line: Vec<u8> = (0..length)
                .map(|at| b'a' + (at % 26) as u8)
                .chain(*b"\r\n")
                .collect();
            let block = line.repeat((1 << 16) / line.len());
            let mut rates = Vec::new();
            for _ in 0..ROUNDS {
                let started = Instant::now();
                assert!(
                    work(&block) >= (BYTES / line.len() - 1) as u64,
                    "messages were lost"
                );
                rates.push(BYTES as f64 / started.elapsed().as_secs_f64() / 1e9);
            }
            rates.sort_by(f64::total_cmp);
            let (best, median) = (rates[ROUNDS - 1], rates[ROUNDS / 2]);
            let nanoseconds = line.len() as f64 / median;
            println!(
                "{name:<8} {:>6}-byte lines: {median:6.2} GB/s (best {best:.2}), {nanoseconds:8.1} ns a line",
                line.len()
            );
        }
    }
}
