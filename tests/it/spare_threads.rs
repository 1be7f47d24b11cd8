//! Threads that wait for the next connection: how many, for how long, and what they remember.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use synchat::{Address, Chat, Handler, HandlerResult, ServerOptions, Terminator};

use crate::support::peer::Peer;
use crate::support::process::{ServerProcess, eventually};

fn greets(peer: &mut Peer) {
    peer.sends("hello\r\n").expects("hello\r\n");
}

/// Has some conversations, one after the other. Returns the numbers of their threads in the log.
fn threads_of_conversations(options: &[&str], conversations: usize) -> BTreeSet<String> {
    let mut server = ServerProcess::starts(options);

    let one = |_| {
        let mut client = server.client();
        greets(&mut client);
        client.half_closes().expects_eof();
        let line = server.logs(" conn_closed: ");
        let number = line.split_whitespace().nth(2);
        number
            .expect("a line has the number of a thread")
            .to_owned()
    };
    (0..conversations).map(one).collect()
}

#[test]
fn a_spare_thread_serves_the_next_connection() {
    assert_eq!(
        threads_of_conversations(&["--spare-threads=1"], 10).len(),
        1
    );
}

#[test]
fn without_spare_threads_each_connection_has_a_new_one() {
    assert_eq!(
        threads_of_conversations(&["--spare-threads=0"], 10).len(),
        10
    );
}

#[test]
fn no_more_threads_wait_than_was_asked_for_and_none_for_long() {
    let server = ServerProcess::starts(&["--spare-threads=3"]);
    let mut clients: Vec<_> = (0..10).map(|_| server.client()).collect();
    clients.iter_mut().for_each(greets);
    assert_eq!(server.connection_threads().len(), 10);

    let left = Instant::now();
    drop(clients);
    eventually("three threads are left", || {
        server.connection_threads().len() == 3
    });
    eventually("none is left", || server.connection_threads().is_empty());
    assert!(left.elapsed() >= Duration::from_secs(4));
    greets(&mut server.client());
}

#[test]
fn spare_threads_need_no_place_beside_the_most_connections() {
    let server = ServerProcess::starts(&["--max-connections=3", "--overload=wait"]);

    let clients: Vec<_> = (0..6)
        .map(|_| {
            let address = server.address().clone();
            thread::spawn(move || (0..200).for_each(|_| greets(&mut Peer::connects(&address))))
        })
        .collect();
    let mut most = 0;
    while !clients.iter().all(thread::JoinHandle::is_finished) {
        most = most.max(server.connection_threads().len());
    }

    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
    assert!((1..=3).contains(&most), "{most} threads");
}

#[test]
fn a_stopped_server_does_not_wait_for_its_spare_threads() {
    let server = ServerProcess::starts(&[]);
    let mut clients: Vec<_> = (0..10).map(|_| server.client()).collect();
    clients.iter_mut().for_each(greets);
    drop(clients);
    assert_eq!(server.connection_threads().len(), 10);

    let stopped = Instant::now();
    server.signal("TERM");
    assert!(server.ends().status.success());
    assert!(stopped.elapsed() < Duration::from_secs(3));
}

/// Panics at the message `panic`, and tells what is left of former conversations.
struct Fresh {
    collected: Vec<u8>,
    names: Arc<Mutex<BTreeSet<Option<String>>>>,
}

impl Handler for Fresh {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        assert!(!thread::panicking() && *chat.get_terminator() == Terminator::None);
        let name = thread::current().name().map(str::to_owned);
        self.names.lock().unwrap().insert(name);
        chat.set_terminator(Terminator::CRLF);
        Ok(())
    }

    fn collect_incoming_data(&mut self, data: &[u8], _: &mut Chat) -> HandlerResult {
        self.collected.extend_from_slice(data);
        Ok(())
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        assert!(self.collected != b"panic", "asked for");
        chat.push([&self.collected[..], b"\r\n"].concat())?;
        Ok(())
    }
}

#[test]
fn a_conversation_finds_nothing_of_those_before_it() {
    let names = Arc::new(Mutex::new(BTreeSet::new()));
    let server = ServerOptions::new()
        .spare_threads(1)
        .bind(&"127.0.0.1:0".parse().unwrap())
        .unwrap();
    let (address, handle): (Address, _) = (server.local_addr().clone(), server.handle());
    let shared = Arc::clone(&names);
    let serving = thread::spawn(move || {
        server.serve_forever(move |_| Fresh {
            collected: Vec::new(),
            names: Arc::clone(&shared),
        })
    });

    for round in 0..20 {
        let mut peer = Peer::connects(&address);
        match round % 4 {
            0 => peer.sends("panic\r\n").expects_eof(),
            1 => drop(peer.sends("left over")),
            2 => drop(peer.sends("not read\r\nhalf")),
            _ => greets(&mut peer),
        }
    }

    handle.stop();
    let report = serving.join().unwrap().unwrap();
    let of = |reason| {
        report
            .endings()
            .find(|(name, _)| *name == reason)
            .unwrap()
            .1
    };
    assert_eq!((report.accepted, of("handler-panic")), (20, 5), "{report}");
    assert_eq!(
        *names.lock().unwrap(),
        [Some("connection".to_owned())].into()
    );
    // The closure went with the server, though a thread was spare.
    assert_eq!(Arc::strong_count(&names), 1);
}
