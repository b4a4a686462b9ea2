//! Which addresses may connect at all.

use std::net::IpAddr;

use crate::config::AddressRange;

/// The lists of the configuration. The narrowest range that holds an address decides, and of two alike the one that
/// denies: so `deny` may cut a piece out of `allow`, and `allow` one out of `deny`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visitors {
    /// Who may; empty means everybody.
    pub allow: Vec<AddressRange>,
    /// Who may not.
    pub deny: Vec<AddressRange>,
}

impl Visitors {
    /// Whether an address may connect.
    pub fn admits(&self, address: IpAddr) -> bool {
        if self.allow.is_empty() && self.deny.is_empty() {
            return true;
        }
        let narrowest =
            |list: &[AddressRange]| list.iter().filter_map(|range| range.match_bits(address)).max();
        match (narrowest(&self.allow), narrowest(&self.deny)) {
            (Some(allowed), Some(denied)) => allowed > denied,
            (allowed, None) => allowed.is_some() || self.allow.is_empty(),
            (None, Some(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(allow: &[&str], deny: &[&str], address: &str) -> bool {
        let ranges = |list: &[&str]| list.iter().map(|range| range.parse().unwrap()).collect();
        Visitors { allow: ranges(allow), deny: ranges(deny) }.admits(address.parse().unwrap())
    }

    #[test]
    fn the_narrowest_range_decides() {
        assert!(admits(&[], &[], "192.0.2.1"));
        assert!(!admits(&[], &["192.0.2.0/24"], "192.0.2.1") && admits(&[], &["192.0.2.0/24"], "192.0.3.1"));
        assert!(admits(&["192.0.2.0/24"], &[], "192.0.2.1") && !admits(&["192.0.2.0/24"], &[], "::1"));
        let (allow, deny) = (&["192.0.2.0/24", "192.0.2.9"][..], &["192.0.2.8/29", "0.0.0.0/0"][..]);
        assert!(admits(allow, deny, "192.0.2.1") && admits(allow, deny, "192.0.2.9"));
        assert!(!admits(allow, deny, "192.0.2.10") && !admits(allow, deny, "203.0.113.1"));
        assert!(!admits(&["::1"], &["::1"], "::1"));
    }
}
