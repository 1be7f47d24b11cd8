//! What the tests share: the program, and servers made of a closure.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

/// The program, to be given arguments.
pub fn compare() -> Command {
    Command::new(env!("CARGO_BIN_EXE_compare"))
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    compare()
        .args(arguments)
        .output()
        .expect("the program runs")
}

/// Both streams of a program that ended, to be looked into and shown.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A server on a port of its own until the test's process ends: each connection is given to `serve`
/// in a thread.
pub fn serve(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(connection));
        }
    });
    address
}
