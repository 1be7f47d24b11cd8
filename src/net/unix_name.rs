//! The name of a Unix socket: a path or, on Linux, an abstract name.
//!
//! An abstract name is no file: it has no mode, and it ends with its socket. It is written with an `@`
//! at its start, as `ss`, systemd and most other programs do. So `./@name` is a path.

use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Returns true if this is an abstract name.
pub(super) fn is_abstract(name: &Path) -> bool {
    abstract_name(name).is_some()
}

pub(super) fn bind(name: &Path) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&to_address(name)?)
}

pub(super) fn connect(name: &Path) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&to_address(name)?)
}

fn to_address(name: &Path) -> io::Result<SocketAddr> {
    match abstract_name(name) {
        #[cfg(target_os = "linux")]
        Some(name) => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(name),
    }
}

/// Returns the name of a socket, if it has one.
pub(super) fn of_address(address: &SocketAddr) -> Option<PathBuf> {
    #[cfg(target_os = "linux")]
    if let Some(name) = address.as_abstract_name() {
        let name = [b"@", name].concat();
        return Some(std::ffi::OsString::from_vec(name).into());
    }

    address.as_pathname().map(PathBuf::from)
}

/// Returns an abstract name without its `@`.
fn abstract_name(name: &Path) -> Option<&[u8]> {
    let name = name.as_os_str().as_encoded_bytes();
    name.strip_prefix(b"@")
        .filter(|_| cfg!(target_os = "linux"))
}
