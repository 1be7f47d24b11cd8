//! The texts of the server's help around its options.

use synchat::HANDLERS;

/// The part before the options.
pub(super) const INTRODUCTION: &str = "\
A line echo server with one thread per connection: Python's asynchat, blocking.

Usage: synchat [OPTIONS] [ADDRESS]
       synchat ping [OPTIONS] [ADDRESS]     check that a server is up

Examples:
  synchat                                  echo lines on 127.0.0.1:7007
  synchat '[::]:7' --terminator lf         serve everyone, with lines that end in \\n
  synchat unix:/run/echo.sock -v           serve on a Unix socket, and log each callback
  synchat 127.0.0.1:0 --terminator none    echo bytes as they arrive, on any free port
";

/// The forms of an address.
pub(super) const ADDRESSES: &str = "HOST:PORT, [V6]:PORT, unix:PATH, unix:@NAME (abstract), or fd:0 for a listening socket\n\
         that the server inherits as standard input. ";

/// Returns the part behind the options.
pub(super) fn notes() -> String {
    let handlers = HANDLERS
        .iter()
        .map(|handler| format!("  {:<8} {}\n", handler.name, handler.about));
    format!(
        "Handlers:\n{}\n\
             A flag beats the environment. The environment beats the default. An empty variable\n\
             counts as unset.\n\n\
             Signals:\n  \
               SIGTERM, SIGINT  stop, and answer what has arrived; the second one ends at once\n                   \
                                with exit code 1, unless it comes within 250 ms\n  \
               SIGHUP           with --log-file open the file again, or else stop\n  \
               SIGUSR1          log the report\n\
             SIGINT and SIGHUP stay ignored if they were ignored at the start, as with nohup.\n\n\
             Exit codes: 0 done or drained, 1 failed at run time, 2 bad usage.\n",
        handlers.collect::<String>()
    )
}
