//! The `synchat` command. It turns arguments into settings, runs a server with them, and turns its
//! end into an exit code.

mod cli;

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

use cli::{Invocation, ServiceManager, Settings, Sources, Supervisor};
use synchat::{Limits, Server, ServerOptions, Signals};

/// The exit code for bad usage, by convention.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let invocation = cli::parse(env::args_os().skip(1), |name| env::var_os(name));

    match invocation {
        Ok(Invocation::Print(text)) => print(&text),
        Ok(Invocation::PrintConfig(text)) => {
            for warning in cli::environment_warnings(env::vars_os()) {
                complain(&warning, 0);
            }
            print(&text)
        }
        Ok(Invocation::Serve(settings, sources)) => {
            if let Err(message) = cli::check_activation(&settings.address, |name| env::var_os(name))
            {
                return complain(&message, BAD_USAGE);
            }

            match serve(*settings, &sources) {
                Ok(()) => ExitCode::SUCCESS,
                Err(message) => {
                    // The error comes after the log lines. Without one the last line was waited for.
                    log::logger().flush();
                    complain(&message, 1)
                }
            }
        }
        Ok(Invocation::Ping(settings)) => match cli::ping(&settings) {
            Ok(code) => ExitCode::from(code),
            Err(message) => complain(&message, 1),
        },
        Err(message) => complain(&message, BAD_USAGE),
    }
}

/// Prints a text on standard output.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        // A reader that leaves has seen enough, such as `head`.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("cannot write to standard output: {error}"), 1)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Prints one line on standard error, which may be closed.
fn complain(message: &dyn Display, code: u8) -> ExitCode {
    cli::complain(message);
    ExitCode::from(code)
}

fn serve(settings: Settings, sources: &Sources) -> Result<(), String> {
    // From here on a signal cannot interrupt anything half done. No other thread runs yet, so none
    // keeps a signal blocked.
    let signals = Signals::catch().map_err(|error| format!("cannot catch signals: {error}"))?;
    cli::start_logging(&settings.logging)?;
    let manager = ServiceManager::find(|name| env::var_os(name));
    let supervisor = Supervisor::start(signals, &settings, manager)?;

    for warning in cli::environment_warnings(env::vars_os()) {
        log::warn!(target: cli::LOG_TARGET, "environment: {warning}");
    }
    for change in sources.changes() {
        log::debug!(target: cli::LOG_TARGET, "{change}");
    }
    warn_of_timeouts_that_are_off(&settings.limits);

    let server = server_options(&settings)
        .bind(&settings.address)
        .map_err(|error| cli::advise(&error))?;
    log::info!(
        target: cli::LOG_TARGET,
        "memory: at_most={}MiB max_connections={}; the kernel's socket buffers come on top",
        server.memory().div_ceil(1 << 20),
        server.max_connections()
    );

    // From here on clients are answered and a stop lets the server answer them.
    if supervisor.serves(server.handle()) {
        greet(&server, &settings);
    }

    let (make, terminator) = (settings.handler.make, settings.terminator);
    let report = server
        .serve_forever(move |_| make(&terminator))
        .map_err(|error| cli::advise(&error))?;
    supervisor.logs_last(&report);

    Ok(())
}

/// Prints where the server listens.
fn greet(server: &Server, settings: &Settings) {
    let greeting = cli::greeting(
        server.local_addr(),
        settings.handler.name,
        &settings.terminator,
    );
    let greeting = cli::one_line(greeting) + "\n";

    // A separate thread prints it, so the server starts even if nobody reads standard output.
    let print = move || io::stdout().write_all(greeting.as_bytes());
    let _ = thread::Builder::new()
        .name("greeting".to_owned())
        // The C library keeps the stack and gives it to a later thread.
        .stack_size(ServerOptions::LEAST_STACK_SIZE)
        .spawn(print);
}

fn server_options(settings: &Settings) -> ServerOptions {
    let mut options = ServerOptions::new()
        .overload(settings.overload)
        .max_per_address(settings.max_per_address)
        .request_queue_size(settings.backlog)
        .stack_size(settings.stack_size)
        .spare_threads(settings.spare_threads)
        .grace(settings.grace)
        .limits(settings.limits.clone());

    if let Some(connections) = settings.max_connections {
        options = options.max_connections(connections);
    }
    if let Some(mode) = settings.socket_mode {
        options = options.socket_mode(mode);
    }
    if !settings.allow.is_empty() {
        let allow = settings.allow.clone();
        options = options.verify_request(move |peer| {
            peer.ip()
                .is_none_or(|ip| allow.iter().any(|network| network.contains(ip)))
        });
    }

    let terminator = settings.terminator.clone();
    options.refusal_line(move |refusal| {
        let line = terminator.frame(format!("error: {refusal}"));
        line.unwrap_or_default()
    })
}

fn warn_of_timeouts_that_are_off(limits: &Limits) {
    let timeouts = [
        ("--idle-timeout", limits.idle_timeout, "a silent peer"),
        ("--message-timeout", limits.message_timeout, "a slow peer"),
        (
            "--write-timeout",
            limits.write_timeout,
            "a peer that does not read",
        ),
    ];

    for (option, _, peer) in timeouts.iter().filter(|(_, limit, _)| limit.is_none()) {
        log::warn!(
            target: cli::LOG_TARGET,
            "{option} is off: {peer} can hold its connection for ever"
        );
    }
}
