//! A terminator that changes in mid-stream, which is what asynchat was made for: a head that ends with
//! an empty line, then a body of as many bytes as the head says.
//!
//! First start it: `cargo run --example head_and_body`. Then send it a message:
//! `printf 'length: 5\r\n\r\nhello' | nc -N 127.0.0.1 7007`. It answers with the body in capitals.

use std::{env, mem};
use synchat::{Chat, Handler, HandlerResult, Server, Terminator};

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// The part of a message that is arriving, and its bytes so far.
enum Part {
    Head(Vec<u8>),
    Body(Vec<u8>),
}

impl Handler for Part {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        chat.set_terminator(END_OF_HEAD);
        Ok(())
    }

    fn collect_incoming_data(&mut self, data: &[u8], _: &mut Chat) -> HandlerResult {
        let (Self::Head(bytes) | Self::Body(bytes)) = self;
        bytes.extend_from_slice(data);
        Ok(())
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        let arrived = mem::replace(self, Self::Head(Vec::new()));

        match arrived {
            Self::Head(head) => {
                // The server's limit for a message also bounds this length. 0 is an empty body.
                let length: u16 = length(&head).ok_or("a head must be `length: NUMBER`")?;
                chat.set_terminator(Terminator::from(u64::from(length)));
                *self = Self::Body(Vec::new());
            }
            Self::Body(body) => {
                chat.set_terminator(END_OF_HEAD);
                chat.push(body.to_ascii_uppercase())?;
            }
        }
        Ok(())
    }
}

fn length(head: &[u8]) -> Option<u16> {
    let digits = head.strip_prefix(b"length: ")?;
    let is_number = digits.iter().all(u8::is_ascii_digit);

    let length = str::from_utf8(digits).ok()?.parse().ok()?;
    is_number.then_some(length)
}

fn main() -> Result<(), synchat::Error> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    let server = Server::bind(&address)?;
    println!("head and body on {}", server.local_addr());

    server.serve_forever(|_peer| Part::Head(Vec::new()))?;
    Ok(())
}
