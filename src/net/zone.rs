//! The zone of an IPv6 address: the network interface on which a link-local address is valid.

use std::fs;

/// Replaces the zone in `[fe80::1%eth0]` by its number, since `std` takes no names.
pub(super) fn with_zone_number(host: &str) -> Result<String, String> {
    let inside = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));

    match inside.and_then(|inside| inside.split_once('%')) {
        Some((address, zone)) if !is_number(zone) => {
            let number = interface_number(zone)?;
            Ok(format!("[{address}%{number}]"))
        }
        _ => Ok(host.to_owned()),
    }
}

/// Returns true for digits only. `parse` would take a sign, too.
fn is_number(zone: &str) -> bool {
    zone.bytes().all(|byte| byte.is_ascii_digit()) && zone.parse::<u32>().is_ok()
}

/// Returns the number of a network interface, from the list of those that have an IPv6 address.
fn interface_number(name: &str) -> Result<u32, String> {
    let list = fs::read_to_string("/proc/net/if_inet6")
        .map_err(|_| "a zone is a number here, as in [fe80::1%2]:7007".to_owned())?;

    // Each line: address, number in hexadecimal, length of the prefix, scope, flags, name.
    list.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| fields.len() == 6 && fields[5] == name)
        .and_then(|fields| u32::from_str_radix(fields[1], 16).ok())
        .ok_or_else(|| {
            format!(
                "no network interface {name:?} has IPv6, so it is no zone; \
                 ip -6 address lists those that have"
            )
        })
}
