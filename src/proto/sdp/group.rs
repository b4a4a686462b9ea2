//! Where the tracks of a multicast presentation are sent (RFC 8866 section 5.7, RFC 4570).

use std::fmt;
use std::net::IpAddr;

/// The group and the port pair of one track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The group's address.
    pub address: IpAddr,
    /// Even port of media; reports have the one above.
    pub port: u16,
}

/// How a presentation is sent to groups.
#[derive(Clone, Copy, Debug)]
pub struct Multicast<'a> {
    /// One for each track, in their order.
    pub groups: &'a [Group],
    /// Hops that its packets live.
    pub ttl: u8,
    /// The address that its packets come from.
    pub source: IpAddr,
}

impl Group {
    /// Whether the group is joined for one source alone (RFC 4607 section 1: 232/8 and ff3x::/32).
    pub fn is_source_specific(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => address.octets()[0] == 232,
            IpAddr::V6(address) => address.segments()[0] & 0xfff0 == 0xff30 && address.segments()[1] == 0,
        }
    }

    /// Writes the line that says where packets go. Groups of IPv6 have no time to live there: their address tells how
    /// far they reach.
    pub(super) fn write_connection(&self, out: &mut impl fmt::Write, ttl: u8) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(out, "c=IN IP4 {address}/{ttl}\r\n"),
            IpAddr::V6(address) => write!(out, "c=IN IP6 {address}\r\n"),
        }
    }

    /// Writes the line that names the only source, where the group has but one.
    pub(super) fn write_source_filter(&self, out: &mut impl fmt::Write, source: IpAddr) -> fmt::Result {
        if !self.is_source_specific() {
            return Ok(());
        }
        let family = if self.address.is_ipv4() { "IP4" } else { "IP6" };
        write!(out, "a=source-filter: incl IN {family} {} {source}\r\n", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_source_specific(address: &str) -> bool {
        Group { address: address.parse().unwrap(), port: 5_000 }.is_source_specific()
    }

    #[test]
    fn groups_of_one_source_have_ranges_of_their_own() {
        for address in ["232.0.0.1", "232.255.255.255", "ff35::1", "ff3e::8000:1"] {
            assert!(is_source_specific(address), "{address}");
        }
        // The third is made from a unicast prefix (RFC 3306) of its network.
        for address in ["239.232.0.1", "231.0.0.1", "ff3e:40:2001:db8::1", "ff15::1", "ff05::1"] {
            assert!(!is_source_specific(address), "{address}");
        }
    }
}
