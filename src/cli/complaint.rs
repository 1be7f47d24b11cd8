//! A complaint: one line on standard error.

use std::fmt::Display;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::log_output::write_all;
use super::one_line;

/// The longest wait for standard error.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes one line to standard error.
///
/// It can be closed, or a pipe that nobody reads, and the process must still be able to end. So a
/// separate thread writes the line, and this thread waits for it for a second.
pub(crate) fn complain(message: &dyn Display) {
    let line: Arc<[u8]> = (one_line(format!("synchat: {message}")) + "\n")
        .as_bytes()
        .into();
    let (done, is_done) = mpsc::channel();

    let for_thread = Arc::clone(&line);
    let write = move || {
        let _ = write_all(&mut io::stderr(), &mut &*for_thread);
        let _ = done.send(());
    };
    let thread = thread::Builder::new().name("complaint".to_owned());
    match thread.spawn(write) {
        Ok(_) => drop(is_done.recv_timeout(PATIENCE)),
        Err(_) => drop(write_all(&mut io::stderr(), &mut &*line)),
    }
}
