//! Checks that this machine allows enough connections. One clear error before the load is better
//! than a thousand puzzling ones during it.
//!
//! It raises the limit of open files if it may. Other open files, and ports used by other programs,
//! are counted only roughly. Close to a limit, a few connections may still be refused.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::connection::SOURCES;

/// The descriptors of each generator thread besides its connections.
const OF_A_THREAD: usize = 4;
/// Some more descriptors, to be safe.
const TO_SPARE: usize = 16;

/// Makes room for this many connections.
pub fn make(connections: usize, threads: usize, server: SocketAddr) -> anyhow::Result<()> {
    files(connections, threads)?;
    ports(connections, server)
}

fn files(connections: usize, threads: usize) -> anyhow::Result<()> {
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let needed = connections + open + threads * OF_A_THREAD + TO_SPARE;
    let needed = u64::try_from(needed)?;

    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit of open files")?;
    if needed > hard {
        bail!(
            "{connections} connections do not fit: the limit of open files is {hard} (ulimit -n)"
        );
    }

    if needed > soft {
        setrlimit(Resource::RLIMIT_NOFILE, needed, hard)
            .context("cannot raise the limit of open files")?;
    }

    Ok(())
}

/// Returns the most connections that a server on this machine can have, from all source addresses.
pub fn ports_on_loopback() -> anyhow::Result<u64> {
    Ok(ports_of_an_address()? * u64::from(SOURCES))
}

fn ports_of_an_address() -> anyhow::Result<u64> {
    let path = "/proc/sys/net/ipv4/ip_local_port_range";
    let range = fs::read_to_string(path).context(path)?;
    let mut edges = range.split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(first)), Some(Ok(last))) = (edges.next(), edges.next()) else {
        bail!("{path} does not hold a range: {range}");
    };
    Ok((last + 1).saturating_sub(first))
}

fn ports(connections: usize, server: SocketAddr) -> anyhow::Result<()> {
    let ports = match server {
        SocketAddr::V4(server) if server.ip().is_loopback() => ports_on_loopback()?,
        _ => ports_of_an_address()?,
    };

    if connections as u64 > ports {
        bail!(
            "{connections} connections do not fit: there are only {ports} local ports \
             (net.ipv4.ip_local_port_range)"
        );
    }
    Ok(())
}
