//! The counterparts of the tests in Python 3.11's `Lib/test/test_asynchat.py`, under their names.
//!
//! There an `async_chat` client talks to a plain echo thread. The thread reads up to `QUIT\n` and
//! sends everything back in chunks of one to three bytes. Here our own client talks to such a
//! thread.
//!
//! Some tests have no counterpart. `TestAsynchat_WithPoll` and `test_blockingioerror` are about an
//! event loop. The types do not allow `test_disallow_negative_terminator`, nor the `push` of a
//! number or of text without an encoding.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use synchat::{Chat, HandlerResult, Limits, SimpleProducer, Terminator, connect};

use crate::support::script::{Heard, Script};
use crate::support::time_limit;

const SERVER_QUIT: &[u8] = b"QUIT\n";

/// Serves one client. It collects up to the quit message, sends what came before it in chunks, and
/// returns that.
fn start_echo_server(chunk_size: usize) -> (synchat::Address, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    let server = thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        connection.set_nodelay(true).unwrap();
        let mut buffer = Vec::new();
        let mut byte = [0];
        while !buffer.ends_with(SERVER_QUIT) && connection.read(&mut byte).unwrap() > 0 {
            buffer.push(byte[0]);
        }
        buffer.truncate(buffer.len() - SERVER_QUIT.len());
        // The client can close before everything is sent.
        let _ = buffer
            .chunks(chunk_size)
            .try_for_each(|chunk| connection.write_all(chunk));
        buffer
    });

    (address, server)
}

/// The result of an `echo_client`: its messages, and the data behind the last terminator.
type Contents = (Vec<Vec<u8>>, Vec<u8>);

/// Talks to a new echo server, beginning with `push`.
fn echo_client(
    terminator: impl Into<Terminator>,
    server_chunk: usize,
    push: impl Fn(&mut Chat) -> HandlerResult,
) -> Contents {
    let terminator = terminator.into();
    let (address, server) = start_echo_server(server_chunk);
    let client = Script::new(|heard: &Heard, chat: &mut Chat| match heard {
        Heard::Connect => {
            chat.set_terminator(terminator.clone());
            push(chat)
        }
        _ => Ok(()),
    });

    let (client, _) = connect(&address, client, &Limits::default()).unwrap();
    server.join().unwrap();
    let rest = match &client.heard[..] {
        [.., Heard::Data(rest), Heard::Close(_)] => rest.clone(),
        _ => Vec::new(),
    };

    (client.messages(), rest)
}

fn line_terminator_check(terminator: &'static str, server_chunk: usize) {
    let (contents, _) = echo_client(terminator, server_chunk, |chat| {
        chat.push("hello ")?;
        chat.push(format!("world{terminator}"))?;
        chat.push(format!("I'm not dead yet!{terminator}"))?;
        Ok(chat.push(SERVER_QUIT)?)
    });
    assert_eq!(contents, [&b"hello world"[..], b"I'm not dead yet!"]);
}

#[test]
fn test_line_terminator1() {
    (1..=3).for_each(|server_chunk| line_terminator_check("\n", server_chunk));
}

#[test]
fn test_line_terminator2() {
    (1..=3).for_each(|server_chunk| line_terminator_check("\r\n", server_chunk));
}

#[test]
fn test_line_terminator3() {
    (1..=3).for_each(|server_chunk| line_terminator_check("qqq", server_chunk));
}

fn numeric_terminator_check(length: u64) {
    let data = b"hello world, I'm not dead yet!\n";
    let (contents, _) = echo_client(length, 1, |chat| {
        chat.push(data)?;
        Ok(chat.push(SERVER_QUIT)?)
    });
    assert_eq!(contents, [&data[..length as usize]]);
}

#[test]
fn test_numeric_terminator1() {
    numeric_terminator_check(1);
}

#[test]
fn test_numeric_terminator2() {
    numeric_terminator_check(6);
}

#[test]
fn test_none_terminator() {
    let data = b"hello world, I'm not dead yet!\n";
    let (contents, buffer) = echo_client(Terminator::None, 1, |chat| {
        chat.push(data)?;
        Ok(chat.push(SERVER_QUIT)?)
    });
    assert_eq!((contents, buffer), (Vec::new(), data.to_vec()));
}

#[test]
fn test_simple_producer() {
    let (contents, _) = echo_client("\n", 1, |chat| {
        let data = [b"hello world\nI'm not dead yet!\n", SERVER_QUIT].concat();
        Ok(chat.push_with_producer(SimpleProducer::new(data, 8))?)
    });
    assert_eq!(contents, [&b"hello world"[..], b"I'm not dead yet!"]);
}

#[test]
fn test_string_producer() {
    // In Python a byte string is itself a producer. Here it is one chunk of a simple producer.
    let (contents, _) = echo_client("\n", 1, |chat| {
        let data = [b"hello world\nI'm not dead yet!\n", SERVER_QUIT].concat();
        Ok(chat.push_with_producer(SimpleProducer::new(data, usize::MAX))?)
    });
    assert_eq!(contents, [&b"hello world"[..], b"I'm not dead yet!"]);
}

#[test]
fn test_empty_line() {
    let (contents, _) = echo_client("\n", 1, |chat| {
        chat.push("hello world\n\nI'm not dead yet!\n")?;
        Ok(chat.push(SERVER_QUIT)?)
    });
    assert_eq!(contents, [&b"hello world"[..], b"", b"I'm not dead yet!"]);
}

#[test]
fn test_close_when_done() {
    let (address, server) = start_echo_server(1);
    let client = Script::new(|heard: &Heard, chat: &mut Chat| {
        if *heard == Heard::Connect {
            chat.set_terminator("\n");
            chat.push("hello world\nI'm not dead yet!\n")?;
            chat.push(SERVER_QUIT)?;
            chat.close_when_done();
        }
        Ok(())
    });

    let (client, summary) = connect(&address, client, &Limits::default()).unwrap();
    assert_eq!(client.messages(), Vec::<Vec<u8>>::new());
    assert_eq!(summary.reason.name(), "closed-by-handler");

    // Python's test knows only that the server received something. Here the server has received
    // everything.
    assert_eq!(server.join().unwrap(), b"hello world\nI'm not dead yet!\n");
}

#[test]
fn test_push() {
    let (contents, _) = echo_client("\n", 1, |chat| {
        chat.push(b"bytes\n")?; // bytes
        chat.push(Vec::from("bytes\n"))?; // bytearray
        chat.push(&b"many bytes\n"[5..])?; // memoryview
        chat.push("bytes\n")?; // str, of which the encoding is known here
        Ok(chat.push(SERVER_QUIT)?)
    });
    assert_eq!(contents, [b"bytes"; 4]);
}

#[test]
fn test_find_prefix_at_end() {
    time_limit::begins();
    // In Python this is a helper function: it tells how much of the terminator ends the data. Here
    // the scanner holds exactly that much back.
    let mut scanner = synchat::Scanner::new(&b"qwerty\r"[..]);
    scanner.set_terminator(&Terminator::CRLF);
    scanner.fill().unwrap();
    assert_eq!(scanner.next_event(), Some(synchat::Event::Data(b"qwerty")));
    assert_eq!(scanner.next_event(), None);

    let mut scanner = synchat::Scanner::new(&b"qwertydkjf"[..]);
    scanner.set_terminator(&Terminator::CRLF);
    scanner.fill().unwrap();
    assert_eq!(
        scanner.next_event(),
        Some(synchat::Event::Data(b"qwertydkjf"))
    );
}
