//! Shared by the tests: the program, and servers made from a closure.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

/// Returns the program, ready for arguments.
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

/// Returns the output and the error output of a program that has ended.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Starts a server on its own port, which runs until the test's process ends. A thread passes each
/// connection to `serve`.
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
