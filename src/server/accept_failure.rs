//! The meaning of a failed `accept`.

use std::io::{self, ErrorKind};

/// A failed `accept`, by what the accept loop must do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AcceptFailure {
    /// Only this connection failed. The next one may be fine.
    Transient,
    /// The system is short of descriptors, memory or threads. Waiting helps.
    Shortage,
    /// The listening socket has failed for good.
    Fatal,
}

impl AcceptFailure {
    /// Linux's number of "protocol error", which has no `ErrorKind`.
    const EPROTO: i32 = 71;

    /// Returns the kind of a failure. An unknown one counts as a shortage: to wait can neither spin
    /// nor end the server.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionAborted | ErrorKind::Interrupted => Self::Transient,
            _ if error.raw_os_error() == Some(Self::EPROTO) => Self::Transient,
            // From the system, it means that the socket does not listen. `std` also makes such an error
            // itself, where a connection was reset in the queue.
            ErrorKind::InvalidInput if error.raw_os_error().is_some() => Self::Fatal,
            ErrorKind::InvalidInput => Self::Transient,
            _ => Self::Shortage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shortage_is_waited_out() {
        let failure = |number| AcceptFailure::of(&io::Error::from_raw_os_error(number));
        let (emfile, enfile, enobufs, enomem) = (24, 23, 105, 12);
        assert!(
            [emfile, enfile, enobufs, enomem]
                .map(failure)
                .iter()
                .all(|kind| *kind == AcceptFailure::Shortage)
        );
        let (econnaborted, eintr, einval) = (103, 4, 22);
        assert!(
            [econnaborted, eintr, AcceptFailure::EPROTO]
                .map(failure)
                .iter()
                .all(|kind| *kind == AcceptFailure::Transient)
        );
        assert_eq!(failure(einval), AcceptFailure::Fatal);
        let made_by_std = io::Error::from(ErrorKind::InvalidInput);
        assert_eq!(AcceptFailure::of(&made_by_std), AcceptFailure::Transient);
    }
}
