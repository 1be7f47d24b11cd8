//! One limit of the system, and the number of connections that it leaves room for.

use std::fmt;

/// A limit on something that each connection needs some of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SystemLimit {
    /// The name, and how the operator can see or raise it.
    pub(super) name: String,
    pub(super) unit: Unit,
    pub(super) value: u64,
    /// How much of it is used already, by this process or by others.
    pub(super) in_use: u64,
    /// How much of it is kept for things that are no connections.
    pub(super) reserve: u64,
    pub(super) per_connection: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Pieces,
    Bytes,
}

impl SystemLimit {
    /// Returns how many connections there is room for.
    pub(super) fn connections(&self) -> u64 {
        let free = self.value.saturating_sub(self.in_use);

        free.saturating_sub(self.reserve) / self.per_connection.max(1)
    }
}

/// Prints the name and the figures.
impl fmt::Display for SystemLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value, in_use) = (&self.name, self.value, self.in_use);
        match self.unit {
            Unit::Pieces => write!(f, "{name} of {value}, with {in_use} in use,"),
            Unit::Bytes => write!(
                f,
                "{name} of {} MiB, with {} MiB in use,",
                value >> 20,
                in_use.div_ceil(1 << 20)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_leaves_room_for_what_is_free_and_not_kept() {
        let mut limit = SystemLimit {
            name: "the number of seats".to_owned(),
            unit: Unit::Pieces,
            value: 100,
            in_use: 20,
            reserve: 10,
            per_connection: 4,
        };
        assert_eq!(limit.connections(), 17);
        assert_eq!(
            limit.to_string(),
            "the number of seats of 100, with 20 in use,"
        );

        limit.in_use = 95;
        assert_eq!(limit.connections(), 0);
        limit.in_use = 200;
        assert_eq!(limit.connections(), 0);
        limit.unit = Unit::Bytes;
        assert_eq!(
            limit.to_string(),
            "the number of seats of 0 MiB, with 1 MiB in use,"
        );
    }
}
