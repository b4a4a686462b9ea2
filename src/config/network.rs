//! Ranges of addresses, as `<allow>` and `<deny>` name them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// Any address of the range.
    address: IpAddr,
    /// How many bits they share.
    prefix: u8,
}

impl AddressRange {
    /// How many bits its addresses share when this is one of them: the more, the narrower the range. None when it is
    /// not. An IPv4 address that stands in an IPv6 one is the IPv4 address.
    pub fn match_bits(&self, address: IpAddr) -> Option<u8> {
        let is_inside = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                shared(u128::from(own.to_bits()) << 96, u128::from(other.to_bits()) << 96)
                    >= self.prefix.into()
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                shared(own.to_bits(), other.to_bits()) >= self.prefix.into()
            }
            _ => false,
        };
        is_inside.then_some(self.prefix)
    }
}

/// An address, or one with `/` and the number of bits that count. An error means that it is neither.
impl FromStr for AddressRange {
    type Err = ();

    fn from_str(text: &str) -> Result<AddressRange, ()> {
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address = address.parse::<IpAddr>().map_err(|_| ())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(bits) => super::values::number(bits, 0, longest).ok_or(())?,
        };
        // A range of mapped addresses is one of IPv4.
        let mapped = longest == 128 && address.to_canonical().is_ipv4() && prefix >= 96;
        let prefix = if mapped { prefix - 96 } else { prefix };
        Ok(AddressRange { address: if mapped { address.to_canonical() } else { address }, prefix })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = if self.address.is_ipv4() { 32 } else { 128 };
        match self.prefix == longest {
            true => write!(f, "{}", self.address),
            false => write!(f, "{}/{}", self.address, self.prefix),
        }
    }
}

/// How many bits two numbers have in common before the first that differs.
fn shared(a: u128, b: u128) -> u32 {
    (a ^ b).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(range: &str, address: &str) -> Option<u8> {
        range.parse::<AddressRange>().unwrap().match_bits(address.parse().unwrap())
    }

    #[test]
    fn ranges_of_both_versions_hold_their_addresses_and_no_others() {
        assert_eq!(bits("192.0.2.0/24", "192.0.2.255"), Some(24));
        assert_eq!(bits("192.0.2.0/24", "192.0.3.0"), None);
        assert_eq!(bits("192.0.2.77/25", "192.0.2.1"), Some(25));
        assert_eq!(bits("192.0.2.1", "192.0.2.1"), Some(32));
        assert_eq!(bits("192.0.2.1", "192.0.2.2"), None);
        assert_eq!(bits("0.0.0.0/0", "203.0.113.9"), Some(0));
        assert_eq!(bits("0.0.0.0/0", "2001:db8::1"), None);
        assert_eq!(bits("2001:db8::/33", "2001:db8:7fff::1"), Some(33));
        assert_eq!(bits("2001:db8::/33", "2001:db8:8000::1"), None);
        assert_eq!(bits("::/0", "2001:db8::1"), Some(0));
        assert_eq!(bits("::1", "::1"), Some(128));
    }

    #[test]
    fn a_mapped_address_is_one_of_ipv4() {
        assert_eq!(bits("192.0.2.0/24", "::ffff:192.0.2.9"), Some(24));
        assert_eq!(bits("::ffff:192.0.2.0/120", "192.0.2.9"), Some(24));
        assert_eq!(bits("::/0", "::ffff:192.0.2.9"), None);
    }

    #[test]
    fn what_is_read_is_shown_alike() {
        for text in ["192.0.2.1", "192.0.2.0/24", "2001:db8::/32", "::1", "0.0.0.0/0"] {
            assert_eq!(text.parse::<AddressRange>().unwrap().to_string(), text);
        }
        for wrong in
            ["", "/", "192.0.2.0/33", "::/129", "192.0.2/24", "192.0.2.0/", "192.0.2.0/+1", "host", "*"]
        {
            assert_eq!(wrong.parse::<AddressRange>(), Err(()), "{wrong}");
        }
    }
}
