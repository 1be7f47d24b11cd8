//! The `synchat` command: arguments to settings, settings to a server, its end to an exit code.

mod cli;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use cli::{Invocation, Settings};
use synchat::{Error, ServerOptions};

/// What a process that was asked for something impossible exits with, by convention.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let invocation = cli::parse(env::args_os().skip(1), |name| env::var_os(name));
    match invocation {
        Ok(Invocation::Print(text)) => match io::stdout().write_all(text.as_bytes()) {
            // As with `| head`: the reader has seen enough.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                complain(&format!("cannot write to standard output: {error}"), 1)
            }
            _ => ExitCode::SUCCESS,
        },
        Ok(Invocation::Serve(settings)) => match serve(*settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => complain(&message, 1),
        },
        Err(message) => complain(&message, BAD_USAGE),
    }
}

/// One line on standard error, which may be closed.
fn complain(message: &dyn std::fmt::Display, code: u8) -> ExitCode {
    let line = cli::one_line(format!("synchat: {message}")) + "\n";
    let _ = io::stderr().write_all(line.as_bytes());
    ExitCode::from(code)
}

fn serve(settings: Settings) -> Result<(), String> {
    cli::start_logging(&settings.logging)?;
    let server = ServerOptions::new()
        .request_queue_size(settings.backlog)
        .stack_size(settings.stack_size)
        .limits(settings.limits)
        .bind(&settings.address)
        .map_err(|error| advise(&error))?;
    let greeting = cli::greeting(
        server.local_addr(),
        settings.handler.name,
        &settings.terminator,
    );
    let _ = io::stdout().write_all((cli::one_line(greeting) + "\n").as_bytes());
    let (make, terminator) = (settings.handler.make, settings.terminator);
    let report = server
        .serve_forever(move |_| make(&terminator))
        .map_err(|error| advise(&error))?;
    log::info!("report: {report}");
    Ok(())
}

/// The error, and what to do about it.
fn advise(error: &Error) -> String {
    let kind = match error {
        Error::Bind { source, .. } => source.kind(),
        _ => io::ErrorKind::Other,
    };
    let advice = match kind {
        io::ErrorKind::AddrInUse => {
            "; stop what listens there, or choose another address (port 0 is any free port)"
        }
        io::ErrorKind::AlreadyExists => "; choose another path, or move that file away",
        io::ErrorKind::PermissionDenied => {
            "; choose a port from 1024 up, or a path that may be written"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; choose an address of this machine, such as 127.0.0.1 or 0.0.0.0"
        }
        io::ErrorKind::NotFound => "; make its directory first",
        _ => "",
    };
    format!("{error}{advice}")
}
