//! Refuses sockets from systemd that the server would not use.

use std::ffi::OsString;
use std::process;

use synchat::Address;

/// Returns an error if systemd passed sockets to this process and the address is not `fd:0`.
///
/// systemd would go on listening on those sockets, and clients would wait there for ever. synchat
/// takes a socket only as standard input, since `std` can adopt no other descriptor safely.
pub(crate) fn check(
    address: &Address,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<(), String> {
    let number = |name| environment(name)?.to_str()?.parse::<u32>().ok();
    // A parent can leave the variables to its children. They are for the process with this id.
    let is_for_us = number("LISTEN_PID") == Some(process::id());

    match number("LISTEN_FDS") {
        Some(sockets @ 1..) if is_for_us && *address != Address::Inherited => Err(format!(
            "LISTEN_FDS={sockets}, but the address is {address}: to serve on the socket from \
             systemd, pass it as standard input (StandardInput=socket, or systemd-socket-activate \
             --inetd) and use the address fd:0"
        )),
        _ => Ok(()),
    }
}
