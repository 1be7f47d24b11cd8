//! A listening socket, and everything that its connections share.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::capacity::Room;
use super::config::{Config, Overload};
use super::door::Door;
use super::open_connections::Connection;
use super::place::Admitted;
use super::refusal::Refusal;
use super::registry::Registry;
use crate::conversation::guarded;
use crate::error::Error;
use crate::log_target::SERVER;
use crate::net::{Address, Listener, Peer, Stream};

/// A listening socket, and everything that its connections share.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) config: Config,
    pub(super) room: Room,
    pub(super) listener: Listener,
    pub(super) address: Address,
    pub(super) registry: Arc<Registry>,
}

impl Listening {
    pub(super) fn bind(config: Config, address: &Address) -> Result<Self, Error> {
        let room = Room::within_capacity(&config)?;

        Listener::bind(address, config.backlog, config.socket_mode)
            .and_then(|listener| Self::new(config, room, listener))
            .map_err(|source| Error::Bind {
                address: address.clone(),
                source,
            })
    }

    pub(super) fn take_over(config: Config, listener: OwnedFd) -> Result<Self, Error> {
        let room = Room::within_capacity(&config)?;

        Listener::take_over(listener, config.backlog)
            .and_then(|listener| Self::new(config, room, listener))
            .map_err(|source| Error::Bind {
                address: Address::Inherited,
                source,
            })
    }

    fn new(config: Config, room: Room, listener: Listener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        log::info!(target: SERVER, "bind: address={address}");
        match backlog_in_force(config.backlog) {
            backlog if backlog < config.backlog => log::info!(
                target: SERVER,
                "listen: backlog={backlog} asked={}, net.core.somaxconn allows no more",
                config.backlog
            ),
            backlog => log::info!(target: SERVER, "listen: backlog={backlog}"),
        }

        let registry = Arc::new(Registry::new()?);
        Ok(Self {
            config,
            room,
            listener,
            address,
            registry,
        })
    }

    pub(super) fn accept(&self, timeout: Duration) -> io::Result<Option<(Stream, Peer)>> {
        self.listener.accept(self.registry.stop_event(), timeout)
    }

    pub(super) fn accept_error(&self, source: io::Error) -> Error {
        Error::Accept {
            address: self.address.clone(),
            source,
        }
    }

    /// Gives this connection a place, if it can have one.
    pub(super) fn admit(
        &self,
        connection: Arc<Connection>,
        peer: &Peer,
    ) -> Result<Admitted, Refusal> {
        if !guarded(|| (self.config.verify_request)(peer)).unwrap_or(false) {
            return Err(Refusal::NotAllowed);
        }

        let admitted = Admitted::new(&self.registry, connection, peer, self.room);
        match admitted {
            // It has waited for a place, and now there will be none.
            Err(Refusal::Full { .. })
                if self.config.overload == Overload::Wait
                    && self.registry.stop_event().is_set() =>
            {
                Err(Refusal::Stopping)
            }
            result => result,
        }
    }

    pub(super) fn refuse(
        &self,
        door: &mut Door,
        connection: Arc<Connection>,
        peer: &Peer,
        refusal: Refusal,
    ) {
        door.refuse(connection, peer, refusal, &self.config, &self.registry);
    }
}

/// Returns the backlog that the kernel makes of this one. Only Linux tells.
fn backlog_in_force(asked: u32) -> u32 {
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn");
    let most: Option<u32> = most.ok().and_then(|text| text.trim().parse().ok());

    most.map_or(asked, |most| most.min(asked))
}
