//! A line protocol: a calculator.
//!
//! First start it: `cargo run --example calculator`. Then talk to it: `nc -C 127.0.0.1 7007`, and type
//! `1 + 2`. An error is an answer like any other: the conversation goes on.

use std::{env, mem};
use synchat::{Chat, Handler, HandlerResult, Server, Terminator};

/// Keeps the pieces of a line until the line is complete.
#[derive(Default)]
struct Calculator {
    line: Vec<u8>,
}

impl Handler for Calculator {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        chat.set_terminator(Terminator::CRLF);
        Ok(())
    }

    fn collect_incoming_data(&mut self, data: &[u8], _: &mut Chat) -> HandlerResult {
        self.line.extend_from_slice(data);
        Ok(())
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        let line = mem::take(&mut self.line);
        let answer = calculate(&line).unwrap_or("? write NUMBER + NUMBER".to_owned());

        chat.push(answer + "\r\n")?;
        Ok(())
    }
}

/// Returns nothing for a line that it does not understand, or a result that is too large.
fn calculate(line: &[u8]) -> Option<String> {
    let words: Vec<_> = str::from_utf8(line).ok()?.split_whitespace().collect();
    let [left, operator, right] = words[..] else {
        return None;
    };

    let (left, right): (i64, i64) = (left.parse().ok()?, right.parse().ok()?);
    let result = match operator {
        "+" => left.checked_add(right)?,
        "-" => left.checked_sub(right)?,
        "*" => left.checked_mul(right)?,
        "/" => left.checked_div(right)?,
        _ => return None,
    };
    Some(result.to_string())
}

fn main() -> Result<(), synchat::Error> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    let server = Server::bind(&address)?;
    println!("a calculator on {}", server.local_addr());

    server.serve_forever(|_peer| Calculator::default())?;
    Ok(())
}
