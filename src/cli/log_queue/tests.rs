//! Tests of the log's queue, with a sink that can be made to stand still.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

use super::super::log_backlog::{CAPACITY, LONGEST_LINE};
use super::*;

/// Keeps each write apart, and waits while a test holds the lock.
#[derive(Default)]
struct Writes(Mutex<Vec<String>>);

impl Writes {
    fn text(&self) -> String {
        self.0.lock().unwrap().concat()
    }
}

impl LineSink for Writes {
    fn put(&self, lines: Vec<u8>) {
        let text = String::from_utf8(lines).unwrap();
        self.0.lock().unwrap().push(text);
    }
}

/// A queue, its sink, and the duties that its thread attended to. A loss is also written.
fn queue() -> (LogQueue, Arc<Writes>, Receiver<u64>) {
    let sink = Arc::new(Writes::default());
    let (tell, told) = mpsc::channel();
    let lines = Arc::clone(&sink);
    let attend = move |duty: &Duty| {
        if let Duty::TellLost(lost) = duty {
            lines.put(format!("lost {lost}\n").into());
            let _ = tell.send(*lost);
        }
    };
    (LogQueue::start(sink.clone(), attend).unwrap(), sink, told)
}

/// Fills the queue, and loses some lines. The sink must stand still.
fn overfill(queue: &LogQueue) {
    for _ in 0..3 * CAPACITY {
        queue.put(b"line\n".to_vec());
    }
}

#[test]
fn lines_come_out_whole_and_in_order_before_a_flush_returns() {
    let (queue, sink, _) = queue();
    let line = |n: usize| n.to_string() + &"x".repeat(n) + "\n";

    (0..CAPACITY).for_each(|n| queue.put(line(n).into()));
    queue.flush();

    let writes = sink.0.lock().unwrap();
    assert_eq!(writes.concat(), (0..CAPACITY).map(line).collect::<String>());
    for write in &*writes {
        assert!(write.ends_with('\n') && write.len() <= LONGEST_LINE);
    }
}

#[test]
fn a_flush_waits_for_the_line_of_its_own_thread() {
    let (queue, sink, _) = queue();

    thread::scope(|scope| {
        for thread in 0..4 {
            let (queue, sink) = (&queue, &sink);
            scope.spawn(move || {
                for number in 0..200 {
                    let line = format!("{thread}.{number}.\n");
                    queue.put(line.clone().into());
                    queue.flush();
                    assert!(sink.text().contains(&line), "{line}");
                }
            });
        }
    });
}

#[test]
fn a_sink_that_stands_still_blocks_nobody_and_losses_are_told_once() {
    let (queue, sink, told) = queue();

    let stands_still = sink.0.lock().unwrap();
    overfill(&queue);
    assert_eq!(PATIENCE.get(), Duration::from_secs(1), "it has waited");
    queue.flush();
    assert!(told.try_recv().is_err(), "it tells when it goes on");

    drop(stands_still);
    queue.flush();

    let lost = told.try_recv().unwrap();
    assert!(told.try_recv().is_err());
    let written = sink.text().matches("line\n").count();
    assert!(written >= CAPACITY);
    assert_eq!(written as u64 + lost, 3 * CAPACITY as u64);
}

#[test]
fn a_loss_is_told_without_a_further_line() {
    let (queue, sink, told) = queue();

    let stands_still = sink.0.lock().unwrap();
    overfill(&queue);
    drop(stands_still);

    assert!(told.recv_timeout(Duration::from_secs(20)).is_ok());
}

#[test]
fn the_last_line_comes_behind_the_losses_and_nothing_comes_behind_it() {
    let (queue, sink, _) = queue();

    let stands_still = sink.0.lock().unwrap();
    overfill(&queue);
    drop(stands_still);
    queue.close(b"last\n".to_vec(), Duration::from_secs(20));
    queue.put(b"late\n".to_vec());
    queue.close(b"later\n".to_vec(), Duration::ZERO);
    queue.flush();

    let text = sink.text();
    let lines = text.strip_suffix("last\n").expect("it is the last one");
    let lost = lines.lines().filter_map(|line| line.strip_prefix("lost "));
    let lost: usize = lost.map(|number| number.parse::<usize>().unwrap()).sum();
    assert_eq!(lost + lines.matches("line\n").count(), 3 * CAPACITY);
    assert!(lost > 0);
}

#[test]
fn the_last_line_does_not_wait_long_for_those_before_it() {
    let (queue, sink, _) = queue();
    let patience = Duration::from_millis(50);

    let stands_still = sink.0.lock().unwrap();
    overfill(&queue);
    let started = Instant::now();
    queue.close(b"last\n".to_vec(), patience);
    let took = started.elapsed();
    assert!(
        took >= 2 * patience && took < Duration::from_secs(1),
        "{took:?}"
    );

    drop(stands_still);
    queue.flush();
    let text = sink.text();
    let (lines, rest) = text.split_once("lost ").unwrap();
    let (lost, last) = rest.split_once('\n').unwrap();
    let written = lines.lines().count();
    assert!(written <= LONGEST_LINE, "those in its hands");
    assert_eq!(written + lost.parse::<usize>().unwrap(), 3 * CAPACITY);
    assert_eq!(last, "last\n");
}

#[test]
fn the_thread_of_a_dropped_queue_writes_what_waits_and_ends() {
    let (queue, sink, told) = queue();

    queue.put(b"line\n".to_vec());
    drop(queue);

    let ended = told.recv_timeout(Duration::from_secs(20));
    assert_eq!(ended, Err(RecvTimeoutError::Disconnected));
    assert_eq!(sink.text(), "line\n");
}

#[test]
fn from_the_order_to_stop_on_a_line_waits_for_room() {
    let (queue, sink, _) = queue();
    queue.stop_dropping();

    overfill(&queue);
    assert!(!PATIENCE.get().is_zero(), "it has waited in spite of room");
    queue.flush();

    assert_eq!(sink.text(), "line\n".repeat(3 * CAPACITY));
}

#[test]
fn nobody_waits_for_room_when_the_sink_stands_still() {
    let (queue, sink, _) = queue();
    queue.stop_dropping();

    let stands_still = sink.0.lock().unwrap();
    let started = Instant::now();
    overfill(&queue);
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(!PATIENCE.get().is_zero(), "it has waited to the end");
    let started = Instant::now();
    overfill(&queue);
    assert!(started.elapsed() < STANDSTILL);
    drop(stands_still);
}

#[test]
fn a_flush_waits_until_the_losses_are_told() {
    let sink = Arc::new(Writes::default());
    let (tell, told) = mpsc::channel();
    let (go, may_go) = mpsc::channel();
    let attend = move |_: &Duty| {
        tell.send("begun").unwrap();
        may_go.recv().unwrap();
        tell.send("told").unwrap();
    };
    let queue = LogQueue::start(sink.clone(), attend).unwrap();
    let hears = |expected| {
        let heard = told.recv_timeout(Duration::from_secs(20));
        assert_eq!(heard, Ok(expected));
    };

    // More lines are lost while the first losses are told. So they come behind all lines.
    let stands_still = sink.0.lock().unwrap();
    overfill(&queue);
    drop(stands_still);
    hears("begun");
    overfill(&queue);
    go.send(()).unwrap();
    hears("told");
    hears("begun");

    thread::scope(|scope| {
        let flush = scope.spawn(|| queue.flush());
        thread::sleep(Duration::from_millis(50));
        assert!(!flush.is_finished());
        go.send(()).unwrap();
        hears("told");
        flush.join().unwrap();
    });
}

/// A sink that takes its time for each write.
struct Slow(Duration);

impl LineSink for Slow {
    fn put(&self, _: Vec<u8>) {
        thread::sleep(self.0);
    }
}

#[test]
fn a_thread_waits_for_a_slow_sink_for_a_second_in_all() {
    let sink = Arc::new(Slow(Duration::from_millis(10)));
    let queue = LogQueue::start(sink, |_| {}).unwrap();
    queue.stop_dropping();
    // One write each.
    let put = |count| (0..count).for_each(|_| queue.put(vec![b'x'; LONGEST_LINE]));

    let started = Instant::now();
    put(2 * CAPACITY);
    let took = started.elapsed();
    assert!(
        took > Duration::from_millis(900) && took < Duration::from_secs(3),
        "{took:?}"
    );

    // Another thread has a second of its own, or none at all.
    let took = thread::scope(|scope| {
        let waits = scope.spawn(|| {
            never_wait();
            let started = Instant::now();
            put(CAPACITY);
            started.elapsed()
        });
        waits.join().unwrap()
    });
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn the_end_comes_as_soon_as_the_last_line_is_written() {
    let sink = Arc::new(Slow(Duration::from_millis(20)));
    let queue = LogQueue::start(sink, |_| {}).unwrap();
    for _ in 0..CAPACITY {
        queue.put(vec![b'x'; LONGEST_LINE]);
    }

    // Those before it would take 20 s.
    let patience = Duration::from_secs(1);
    let started = Instant::now();
    queue.close(b"last\n".to_vec(), patience);
    let took = started.elapsed();
    assert!(took >= patience && took < 2 * patience, "{took:?}");
}
