//! Output that does not fit in memory: each client gets a file, in chunks, through a producer.
//!
//! First start it with a file: `cargo run --example big_file -- Cargo.lock`. Then fetch the file:
//! `nc 127.0.0.1 7007 > copy`. (Another server must not use the port; or give an address as well.) A client that reads slowly costs one chunk of memory, however large the
//! file is.

use std::env;
use std::fs::File;
use std::path::PathBuf;
use synchat::{Chat, Handler, HandlerResult, ReadProducer, Server};

/// Sends a file and closes.
struct Sender {
    path: PathBuf,
}

impl Handler for Sender {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        // An error ends this conversation. With a logger installed, the log says why.
        let file = File::open(&self.path)
            .map_err(|error| format!("cannot open {}: {error}", self.path.display()))?;

        chat.push_with_producer(ReadProducer::new(file))?;
        chat.close_when_done();
        Ok(())
    }

    fn collect_incoming_data(&mut self, _: &[u8], _: &mut Chat) -> HandlerResult {
        Ok(())
    }

    fn found_terminator(&mut self, _: &mut Chat) -> HandlerResult {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let path = PathBuf::from(arguments.next().ok_or("usage: big_file FILE [ADDRESS]")?);
    let address = arguments.next().unwrap_or("127.0.0.1:7007".to_owned());

    let server = Server::bind(&address)?;
    println!("{} on {}", path.display(), server.local_addr());

    server.serve_forever(move |_peer| Sender { path: path.clone() })?;
    Ok(())
}
