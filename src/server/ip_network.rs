//! A range of IP addresses, as text `ADDRESS/BITS`. It says who can connect, and who counts as one
//! host.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The addresses that share their first bits (CIDR, RFC 4632). A single address is a network of one.
///
/// ```
/// use synchat::IpNetwork;
///
/// let network: IpNetwork = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse().unwrap()));
/// assert!(network.contains("::ffff:10.1.2.3".parse().unwrap())); // the same address
/// assert!("10.1.2.3/8".parse::<IpNetwork>().is_err()); // 10.0.0.0/8, or /32?
/// # Ok::<(), synchat::IpNetworkError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpNetwork {
    /// Its bits after the first `bits` are 0. It is never an IPv4-mapped IPv6 address.
    first: IpAddr,
    bits: u32,
}

impl IpNetwork {
    /// Returns true if the address is in this network. An IPv4-mapped IPv6 address is taken as the IPv4
    /// address.
    pub fn contains(&self, address: IpAddr) -> bool {
        first_bits(address.to_canonical(), self.bits) == Some(self.first)
    }

    /// Returns the network that one host presumably has: an IPv4 address, or the IPv6 /64 from which a
    /// host chooses its addresses (RFC 4291, section 2.5.1). All hosts of a link share `fe80::/64`, so
    /// there a host is one address in its zone.
    pub(super) fn of_host(address: SocketAddr) -> Self {
        let (address, bits) = match (address.ip().to_canonical(), address) {
            (IpAddr::V6(ip), SocketAddr::V6(address)) if ip.is_unicast_link_local() => {
                // The bits behind the first 10 are 0 (RFC 4291, section 2.5.6). BSD's kernels put the
                // zone there, too.
                let zone = u128::from(address.scope_id()) << 64;
                (Ipv6Addr::from_bits(ip.to_bits() | zone).into(), 128)
            }
            (ip @ IpAddr::V6(_), _) => (ip, 64),
            (ip @ IpAddr::V4(_), _) => (ip, 32),
        };

        Self {
            first: first_bits(address, bits).unwrap_or(address),
            bits,
        }
    }
}

/// Clears all bits of an address but the first. Returns `None` if it does not have as many.
fn first_bits(address: IpAddr, bits: u32) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let rest = 32_u32.checked_sub(bits)?;
            let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
            Some(IpAddr::V4((address.to_bits() & mask).into()))
        }
        IpAddr::V6(address) => {
            let rest = 128_u32.checked_sub(bits)?;
            let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
            Some(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask)))
        }
    }
}

/// The error of a text that is not an [`IpNetwork`]. It says which text, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpNetworkError {
    text: String,
    problem: String,
}

impl fmt::Display for IpNetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a network: {}", self.text, self.problem)
    }
}

impl Error for IpNetworkError {}

impl FromStr for IpNetwork {
    type Err = IpNetworkError;

    fn from_str(text: &str) -> Result<Self, IpNetworkError> {
        let bad = |problem: &str| IpNetworkError {
            text: text.to_owned(),
            problem: problem.to_owned(),
        };

        let (address, bits) = text
            .split_once('/')
            .map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address
            .parse()
            .map_err(|_| bad("an IP address, or ADDRESS/BITS as in 10.0.0.0/8, is"))?;

        let longest = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(longest), |bits| {
            let is_number = bits.bytes().all(|byte| byte.is_ascii_digit());
            bits.parse().ok().filter(|_| is_number)
        });

        let first = bits.and_then(|bits| Some((first_bits(address, bits)?, bits)));
        let (first, bits) = first.ok_or_else(|| bad(&format!("the bits are 0 to {longest}")))?;
        if first != address {
            return Err(bad(&format!("did you mean {first}/{bits}?")));
        }

        Ok(match first.to_canonical() {
            first @ IpAddr::V4(_) if longest == 128 && bits >= 96 => Self {
                first,
                bits: bits - 96,
            },
            _ => Self { first, bits },
        })
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses() {
        let cases = [
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("::/0", "1.2.3.4", false),
            ("::/0", "::ffff:1.2.3.4", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", false),
            ("192.168.1.128/25", "192.168.1.127", false),
            ("192.168.1.128/25", "192.168.1.200", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1/32", "127.0.0.1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1", "::1", true),
            ("::1/128", "::2", false),
        ];
        for (network, address, expected) in cases {
            let parsed: IpNetwork = network.parse().unwrap();
            let contained = parsed.contains(address.parse().unwrap());
            assert_eq!(contained, expected, "{network} {address}");
        }
    }

    #[test]
    fn a_network_prints_its_first_address_and_its_bits() {
        let cases = [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("127.0.0.1", "127.0.0.1/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ];
        for (text, printed) in cases {
            assert_eq!(text.parse::<IpNetwork>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn a_bad_network_says_why() {
        let cases = [
            ("", "IP address"),
            ("localhost", "IP address"),
            ("10.0.0.0/", "0 to 32"),
            ("10.0.0.0/33", "0 to 32"),
            ("10.0.0.0/+8", "0 to 32"),
            ("10.0.0.0/8/8", "0 to 32"),
            ("::/129", "0 to 128"),
            ("10.1.0.0/8", "did you mean 10.0.0.0/8?"),
            ("2001:db8::1/32", "did you mean 2001:db8::/32?"),
            ("10.0.0/8", "IP address"),
        ];
        for (text, problem) in cases {
            let error = text.parse::<IpNetwork>().expect_err(text).to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn hosts_of_one_ipv6_network_are_counted_as_one() {
        let of = |text: &str| {
            let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
            let mut address = SocketAddr::new(address.parse().unwrap(), 1);
            if let SocketAddr::V6(address) = &mut address {
                address.set_scope_id(zone.parse().unwrap());
            }
            IpNetwork::of_host(address)
        };
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_ne!(of("fe80::1"), of("fe80::2"));
        assert_eq!(of("fe80::1%2"), of("fe80::1%2"));
        assert_ne!(of("fe80::1%2"), of("fe80::1%3"));
        assert_ne!(of("fe80::1%2"), of("fe80::2%2"));
    }
}
