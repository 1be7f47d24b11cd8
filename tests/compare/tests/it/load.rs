//! Tests of the load generator, against servers that are correct, slow, or broken in a known way.
//! Its report on each server must match the server's behaviour.
//!
//! Bounds are strict where a correct generator cannot miss them, as for a delay that the server
//! makes. They are generous where the load of the machine decides.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{compare, run, serve, text};

const MS: u64 = 1_000_000;

/// The output of the generator.
struct Said {
    success: bool,
    json: Value,
}

impl Said {
    fn of(output: &Output) -> Self {
        let json = serde_json::from_slice(&output.stdout);
        Self {
            success: output.status.success(),
            json: json.unwrap_or_else(|_| panic!("no JSON: {}", text(output))),
        }
    }

    fn number(&self, path: &str) -> f64 {
        let value = self.json.pointer(path).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("no {path} in {}", self.json))
    }

    fn count(&self, path: &str) -> u64 {
        let value = self.json.pointer(path).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("no {path} in {}", self.json))
    }

    fn done(&self) -> u64 {
        self.count("/load/done")
    }

    /// Returns the shortest latency.
    fn least(&self) -> u64 {
        self.count("/load/latency/quantiles/0/1")
    }

    /// Returns the counts of errors: wrong, closed, refused, unanswered.
    fn errors(&self) -> [u64; 4] {
        ["wrong", "closed", "refused", "unanswered"]
            .map(|name| self.count(&format!("/load/errors/{name}")))
    }

    fn is_clean(&self) {
        assert_eq!(self.errors(), [0; 4], "{}", self.json);
        assert!(self.success && self.done() > 0, "{}", self.json);
    }

    fn is_broken(&self, errors: [u64; 4]) {
        assert_eq!(self.errors(), errors, "{}", self.json);
        assert!(!self.success);
    }
}

/// Puts a short load with these options on a server that handles each connection with `behaviour`.
fn load(options: &str, behaviour: impl Fn(TcpStream) + Clone + Send + 'static) -> Said {
    load_on(&serve(behaviour).to_string(), options)
}

fn load_on(address: &str, options: &str) -> Said {
    let mut arguments = vec!["load", address, "--json"];
    if !options.contains("--seconds") {
        arguments.extend(["--seconds", "0.5"]);
    }
    if !options.contains("--warm-up") {
        arguments.extend(["--warm-up", "0.05"]);
    }
    arguments.extend(options.split_whitespace());
    Said::of(&run(&arguments))
}

/// Sends all bytes back.
fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// Passes each line and its number, from 1, to `answer`, which returns the reply. `None` ends the
/// connection. Replies are sent when no whole line is left to read.
fn lines(stream: TcpStream, mut answer: impl FnMut(u64, Vec<u8>) -> Option<Vec<u8>>) {
    let mut replies = Vec::new();
    let mut input = BufReader::new(&stream);
    for number in 1.. {
        let mut line = Vec::new();
        match input.read_until(b'\n', &mut line) {
            Ok(1..) => {}
            _ => return,
        }
        let answer = answer(number, line);
        replies.extend(answer.iter().flatten());
        if answer.is_none() || !input.buffer().contains(&b'\n') {
            let sent = (&stream).write_all(&replies);
            replies.clear();
            if sent.is_err() || answer.is_none() {
                return;
            }
        }
    }
}

#[test]
fn an_echo_is_without_fault_and_its_rate_is_what_was_done_in_the_time() {
    let said = load("--connections 5", echo);
    said.is_clean();
    let (done, seconds) = (said.done() as f64, said.number("/load/seconds"));
    assert!((seconds - 0.5).abs() < 1e-9, "{seconds}");
    assert!((said.number("/load/rate") - done / seconds).abs() < 1e-6 * done);
    assert_eq!(said.count("/load/latency/count"), said.done());
    assert!(said.least() > 0 && said.least() <= said.count("/load/latency/p50"));
    assert!(said.count("/generator/cpu") > 0 && said.number("/generator/busy") <= 1.0);
}

#[test]
fn lengths_may_be_mixed_from_nothing_to_the_limit() {
    load(
        "--connections 3 --depth 4 --length 0,1x3,5,32x8,65536",
        echo,
    )
    .is_clean();
}

#[test]
fn empty_lines_are_counted_too() {
    let said = load("--connections 1 --depth 3 --length 0", |stream| {
        // This sends replies too many. A comparison of bytes alone would not show that.
        lines(stream, |number, line| {
            Some(if number == 1 { line.repeat(4) } else { line })
        });
    });
    said.is_broken([1, 0, 0, 0]);
}

#[test]
fn replies_may_come_byte_by_byte() {
    let said = load("--connections 2 --depth 2 --length 20", |stream| {
        let _ = stream.set_nodelay(true);
        let mut byte = [0];
        while let Ok(1) = (&stream).read(&mut byte) {
            if (&stream).write_all(&byte).is_err() {
                return;
            }
        }
    });
    said.is_clean();
}

#[test]
fn more_may_be_in_flight_than_the_kernel_holds() {
    load(
        "--connections 2 --depth 200 --length 60000 --seconds 1",
        echo,
    )
    .is_clean();
}

#[test]
fn threads_share_the_connections() {
    let said = load("--connections 5 --threads 2 --idle 3", echo);
    said.is_clean();
    assert_eq!(said.count("/generator/threads"), 2);
}

#[test]
fn a_wrong_byte_is_seen() {
    let said = load("--connections 1 --seconds 10", |stream| {
        lines(stream, |number, mut line| {
            if number == 1000 {
                line[17] ^= 1;
            }
            Some(line)
        });
    });
    said.is_broken([1, 0, 0, 0]);
}

#[test]
fn each_connection_with_a_wrong_byte_counts_once() {
    let said = load("--connections 7 --depth 5 --seconds 10", |stream| {
        lines(stream, |_, mut line| {
            line[0] ^= 1;
            Some(line)
        });
    });
    said.is_broken([7, 0, 0, 0]);
    assert_eq!(said.done(), 0);
}

#[test]
fn a_lost_byte_is_seen() {
    let cut = |stream| {
        lines(stream, |number, mut line| {
            if number == 10 {
                line.pop();
            }
            Some(line)
        });
    };
    // The next line shows the loss. Without a next line, the cut line never ends.
    load("--connections 2 --depth 4 --seconds 10", cut).is_broken([2, 0, 0, 0]);
    load("--connections 2", cut).is_broken([0, 0, 0, 2]);
}

#[test]
fn a_lost_line_is_seen() {
    let said = load("--connections 1 --depth 2 --seconds 10", |stream| {
        lines(stream, |number, line| {
            Some(if number == 100 { Vec::new() } else { line })
        });
    });
    said.is_broken([1, 0, 0, 0]);
}

#[test]
fn swapped_replies_are_seen() {
    let said = load("--connections 1 --depth 8 --seconds 10", |stream| {
        let mut kept = Vec::new();
        lines(stream, |number, mut line| {
            match number {
                100 => std::mem::swap(&mut kept, &mut line),
                101 => line.append(&mut kept),
                _ => {}
            }
            Some(line)
        });
    });
    said.is_broken([1, 0, 0, 0]);
}

#[test]
fn a_reply_that_comes_twice_is_seen() {
    let twice = |stream| {
        lines(stream, |number, line| {
            Some(line.repeat(if number == 100 { 2 } else { 1 }))
        });
    };
    load("--connections 1 --seconds 10", twice).is_broken([1, 0, 0, 0]);
    load("--connections 1 --depth 8 --seconds 10", twice).is_broken([1, 0, 0, 0]);
}

#[test]
fn another_connections_reply_is_seen() {
    // Two connections get each other's replies, in the right order.
    let count = Arc::new(AtomicUsize::new(0));
    let slots = Arc::new(Mutex::new([Vec::new(), Vec::new()]));
    let (both, both_again) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let said = load("--connections 2", move |stream| {
        let own = count.fetch_add(1, Ordering::SeqCst);
        lines(stream, |_, line| {
            slots.lock().unwrap()[own] = line;
            both.wait();
            let line = slots.lock().unwrap()[1 - own].clone();
            both_again.wait();
            Some(line)
        });
    });
    said.is_broken([2, 0, 0, 0]);
    assert_eq!(said.done(), 0);
}

#[test]
fn a_server_that_closes_is_counted_and_ends_the_load_early() {
    let said = load("--connections 3 --warm-up 0 --seconds 20", |stream| {
        lines(stream, |number, line| (number <= 100).then_some(line));
    });
    said.is_broken([0, 3, 0, 0]);
    assert!(said.done() <= 300 && said.number("/load/seconds") < 15.0);
}

#[test]
fn a_server_that_resets_is_counted() {
    let said = load("--connections 2", |stream| {
        // Closing a socket with unread bytes resets the connection.
        let _ = (&stream).read(&mut [0; 5]);
    });
    said.is_broken([0, 2, 0, 0]);
    assert_eq!(said.done(), 0);
}

#[test]
fn a_server_that_never_answers_does_not_hold_the_generator() {
    let began = Instant::now();
    let said = load("--connections 3 --depth 2", |mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    said.is_broken([0, 0, 0, 6]);
    assert_eq!((said.done(), said.count("/load/latency/count")), (0, 0));
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_servers_delay_is_what_is_measured() {
    let said = load("--connections 4 --seconds 0.5", |stream| {
        lines(stream, |_, line| {
            thread::sleep(Duration::from_millis(20));
            Some(line)
        });
    });
    said.is_clean();
    assert!(said.least() >= 20 * MS, "{}", said.json);
    assert!((20 * MS..200 * MS).contains(&said.count("/load/latency/p50")));
    // Each connection has one line per 20 ms, and one that was begun before.
    assert!((12..=4 * 26).contains(&said.done()), "{}", said.json);
}

#[test]
fn each_of_the_lines_in_flight_has_its_own_latency() {
    let said = load("--connections 1 --depth 4", |stream| {
        lines(stream, |_, line| {
            thread::sleep(Duration::from_millis(5));
            Some(line)
        });
    });
    said.is_clean();
    // The replies to one read leave in one write, after four waits of 5 ms.
    assert!(said.count("/load/latency/p50") >= 20 * MS, "{}", said.json);
}

/// Answers at once, except for one pause of 300 ms, 400 ms after the first line.
fn stalls_once(stream: TcpStream) {
    let began = Instant::now();
    let mut stalled = false;
    lines(stream, |_, line| {
        if !stalled && began.elapsed() >= Duration::from_millis(400) {
            stalled = true;
            thread::sleep(Duration::from_millis(300));
        }
        Some(line)
    });
}

#[test]
fn the_closed_loop_hides_a_stall_in_one_line() {
    let said = load("--connections 1 --seconds 1", stalls_once);
    said.is_clean();
    assert!(said.count("/load/latency/max") >= 300 * MS);
    assert!(said.count("/load/latency/p90") < 100 * MS, "{}", said.json);
}

#[test]
fn the_open_loop_shows_a_stall_on_every_line_that_was_due_in_it() {
    let said = load("--connections 1 --seconds 1 --rate 1000", stalls_once);
    said.is_clean();
    assert!(said.count("/load/latency/max") >= 290 * MS);
    // Of 1000 lines, 300 are due during the stall. 100 of them are due at least 200 ms before its
    // end.
    assert!(said.count("/load/latency/p90") >= 190 * MS, "{}", said.json);
    let above = |limit: u64| {
        let quantiles = said.json.pointer("/load/latency/quantiles");
        let quantiles = quantiles.and_then(Value::as_array).unwrap();
        let at = quantiles
            .iter()
            .find(|point| point[1].as_u64().unwrap() >= limit);
        1.0 - at.unwrap()[0].as_f64().unwrap()
    };
    assert!(above(20 * MS) >= 0.22, "{}", above(20 * MS));
}

#[test]
fn the_open_loop_holds_its_rate() {
    let (tell, told) = mpsc::channel();
    let said = load("--connections 7 --seconds 1 --rate 2000", move |stream| {
        let mut count = 0_u64;
        lines(stream, |_, line| {
            count += 1;
            Some(line)
        });
        let _ = tell.send(count);
    });
    said.is_clean();
    assert_eq!(said.number("/load/intended_rate"), 2000.0);
    // Lines of the warm-up may be answered late, and the last lines may be answered after the end.
    let rate = said.number("/load/rate");
    assert!(rate > 1000.0 && rate <= 2101.0, "{}", said.json);
    // However slow the server and the machine are, this many lines are due, and each is sent once.
    assert!(
        said.count("/load/latency/count").abs_diff(2000) <= 1,
        "{}",
        said.json
    );
    let limit = Duration::from_secs(20);
    let sent: u64 = (0..7).map(|_| told.recv_timeout(limit).unwrap()).sum();
    assert!(sent.abs_diff(2100) <= 1, "{sent}");
}

#[test]
fn the_open_loop_with_threads_sends_each_line_once() {
    let said = load(
        "--connections 5 --threads 2 --seconds 0.5 --rate 1000",
        echo,
    );
    said.is_clean();
    assert!(
        said.count("/load/latency/count").abs_diff(500) <= 1,
        "{}",
        said.json
    );
}

#[test]
fn the_open_loop_counts_lines_that_are_never_answered_and_their_age() {
    let said = load(
        "--connections 2 --seconds 0.4 --warm-up 0 --rate 500",
        |stream| {
            let began = Instant::now();
            lines(stream, |_, line| {
                let answers = began.elapsed() < Duration::from_millis(200);
                Some(if answers { line } else { Vec::new() })
            });
        },
    );
    let [wrong, closed, refused, unanswered] = said.errors();
    assert_eq!((wrong, closed, refused), (0, 0, 0));
    assert!(unanswered >= 90, "{}", said.json);
    assert!(
        said.count("/load/latency/count").abs_diff(200) <= 1,
        "{}",
        said.json
    );
    assert!(
        said.count("/load/latency/p90") >= 2_000 * MS,
        "{}",
        said.json
    );
    assert!(!said.success);
}

#[test]
fn the_open_loop_counts_the_lines_of_a_connection_that_was_closed() {
    let first = Arc::new(AtomicUsize::new(0));
    let said = load(
        "--connections 2 --seconds 0.4 --warm-up 0 --rate 500",
        move |stream| {
            if first.fetch_add(1, Ordering::Relaxed) == 0 {
                lines(stream, |number, line| (number <= 10).then_some(line));
            } else {
                echo(stream);
            }
        },
    );
    let [wrong, closed, refused, unanswered] = said.errors();
    assert_eq!((wrong, closed, refused), (0, 1, 0), "{}", said.json);
    // Half of 200 lines, without the first ten.
    assert!(unanswered.abs_diff(90) <= 1, "{}", said.json);
    assert!(
        said.count("/load/latency/count").abs_diff(200) <= 1,
        "{}",
        said.json
    );
}

#[test]
fn lines_are_pipelined_as_deep_as_asked() {
    // This server answers only when it has sixty-four lines.
    let groups = |stream| {
        let mut group = Vec::new();
        lines(stream, |number, mut line| {
            group.append(&mut line);
            Some(if number % 64 == 0 {
                std::mem::take(&mut group)
            } else {
                Vec::new()
            })
        });
    };
    load("--connections 2 --depth 64", groups).is_clean();
    load("--connections 2 --depth 63", groups).is_broken([0, 0, 0, 126]);
}

#[test]
fn connects_count_connections_with_a_line_each() {
    let (accepted, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counts, ends) = (Arc::clone(&accepted), Arc::clone(&ended));
    let said = load("--connections 4 --connects --warm-up 0", move |stream| {
        counts.fetch_add(1, Ordering::SeqCst);
        let mut count = 0;
        lines(stream, |_, line| {
            count += 1;
            Some(line)
        });
        // The first connection only shows that there is a server, and does not count.
        if count == 1 {
            ends.fetch_add(1, Ordering::SeqCst);
        }
    });
    said.is_clean();
    let done = said.done();
    let (accepted, ended) = (
        accepted.load(Ordering::SeqCst),
        ended.load(Ordering::SeqCst),
    );
    // Connections that were answered after the end were begun before it.
    assert!(
        (done + 1..=done + 5).contains(&(accepted as u64)),
        "{accepted}: {}",
        said.json
    );
    assert!(
        ended as u64 >= done.saturating_sub(4),
        "{ended}: {}",
        said.json
    );
}

#[test]
fn connects_see_a_wrong_byte_and_an_early_end() {
    let said = load("--connections 2 --connects", |stream| {
        lines(stream, |_, mut line| {
            line[3] ^= 1;
            Some(line)
        });
    });
    let [wrong, ..] = said.errors();
    assert!(wrong >= 2 && said.done() == 0, "{}", said.json);
    let said = load("--connections 2 --connects", |stream| {
        lines(stream, |_, _| None);
    });
    let [_, closed, ..] = said.errors();
    assert!(closed >= 2 && said.done() == 0, "{}", said.json);
}

/// Starts an echo that accepts this many connections and then stops listening.
fn takes(connections: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for connection in listener.incoming().flatten().take(connections) {
            thread::spawn(move || echo(connection));
        }
    });
    address
}

#[test]
fn refused_connects_are_counted_and_not_hammered() {
    let said = load_on(
        &takes(20),
        "--connects --connections 2 --warm-up 0 --seconds 0.6",
    );
    let [wrong, closed, refused, unanswered] = said.errors();
    assert_eq!((wrong, unanswered), (0, 0), "{}", said.json);
    // The first connection showed that there is a server. Up to two were in the backlog at the end.
    let done = said.done();
    assert!((1..20).contains(&done) && closed <= 2, "{}", said.json);
    // Two connections try every 10 ms.
    assert!((1..=2 * 61).contains(&refused), "{}", said.json);
}

#[test]
fn connections_that_cannot_be_made_are_counted_and_the_others_used() {
    let said = load_on(&takes(50), "--connections 200");
    let [wrong, closed, refused, unanswered] = said.errors();
    assert_eq!((wrong, unanswered), (0, 0), "{}", said.json);
    // Some connections were in the backlog when the listener was closed.
    assert_eq!(closed + refused, 150, "{}", said.json);
    assert!(said.done() > 0 && !said.success);
}

#[test]
fn idle_connections_are_open_while_the_load_runs() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let said = load("--connections 1 --idle 200", move |stream| {
        let count = now.fetch_add(1, Ordering::SeqCst) + 1;
        most.fetch_max(count, Ordering::SeqCst);
        echo(stream);
        now.fetch_sub(1, Ordering::SeqCst);
    });
    said.is_clean();
    assert_eq!(seen.load(Ordering::SeqCst), 201);
}

#[test]
fn an_idle_connection_that_is_closed_is_counted() {
    let count = Arc::new(AtomicUsize::new(0));
    let said = load("--connections 1 --idle 20 --seconds 0.6", move |stream| {
        let silence = Duration::from_millis(100);
        let closes = count.fetch_add(1, Ordering::SeqCst) < 20;
        if closes {
            let _ = stream.set_read_timeout(Some(silence));
        }
        echo(stream);
    });
    said.is_broken([0, 20, 0, 0]);
    assert!(said.done() > 0);
}

#[test]
fn an_idle_connection_that_is_sent_something_is_wrong() {
    let said = load("--connections 1 --idle 3", |stream| {
        lines(stream, |_, mut line| {
            line.extend_from_slice(b"and more");
            Some(line)
        });
    });
    said.is_broken([4, 0, 0, 0]);
}

#[test]
fn where_nothing_listens_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    for options in [&["--idle", "3"][..], &["--connects"], &["--rate", "10"]] {
        let output = run(&[&["load", address.as_str()], options].concat());
        assert_eq!(output.status.code(), Some(1));
        let expected = format!("nothing listens at {address}: Connection refused");
        assert!(text(&output).contains(&expected), "{}", text(&output));
    }
}

#[test]
fn a_rate_that_nobody_can_send_is_an_error_or_ends_in_time() {
    let address = serve(echo).to_string();
    let output = run(&["load", &address, "--rate", "1e12"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("give a number from 0.01 to 100000000"));
    let said = load("--rate 1e7 --connections 2 --seconds 0.2", echo);
    assert!(said.count("/load/latency/count").abs_diff(2_000_000) <= 1);
}

#[test]
fn too_low_a_limit_is_an_error_that_names_it() {
    let address = serve(echo).to_string();
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -n 64; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_compare"),
        ])
        .args(["load", &address, "--connections", "50", "--idle", "10000"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = "10050 connections do not fit: the limit of open files is 64 (ulimit -n)";
    assert!(text(&output).contains(expected), "{}", text(&output));
}

#[test]
fn a_soft_limit_is_raised() {
    let address = serve(echo).to_string();
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -S -n 40; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_compare"),
        ])
        .args([
            "load",
            &address,
            "--connections",
            "60",
            "--seconds",
            "0.1",
            "--json",
        ])
        .output()
        .unwrap();
    Said::of(&output).is_clean();
}

#[test]
fn a_signal_ends_the_load_early_with_what_it_has() {
    for options in [&["--depth", "2"][..], &["--rate", "500"], &["--connects"]] {
        let (tell, told) = mpsc::channel();
        let address = serve(move |stream| {
            lines(stream, |number, line| {
                if number == 1 {
                    let _ = tell.send(());
                }
                Some(line)
            });
        });
        let child = compare()
            .args(["load", &address.to_string(), "--seconds", "60", "--json"])
            .args(["--warm-up", "0", "--connections", "2"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        told.recv_timeout(Duration::from_secs(20))
            .expect("the load begins");
        // Let it answer some more lines, so there is something to report.
        thread::sleep(Duration::from_millis(100));
        let said = interrupted(child);
        said.is_clean();
        let seconds = said.number("/load/seconds");
        assert!(seconds > 0.05 && seconds < 20.0, "{}", said.json);
    }
}

fn interrupted(child: Child) -> Said {
    let id = i32::try_from(child.id()).unwrap();
    let began = Instant::now();
    kill(Pid::from_raw(id), Signal::SIGINT).unwrap();
    let said = Said::of(&child.wait_with_output().unwrap());
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    said
}
