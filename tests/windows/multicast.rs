//! Multicast: groups on loopback, and between machines.

use super::FULL;
use crate::matrix::Stream;
use crate::matrix::groups::comes_by_multicast;
use crate::multicast::{granted, members};

#[test]
fn a_file_comes_by_multicast_as_it_lies() {
    comes_by_multicast(FULL, Stream::File);
}

#[test]
fn what_is_published_comes_by_multicast_as_it_was() {
    comes_by_multicast(FULL, Stream::Live);
}

#[test]
fn what_a_proxy_pulls_comes_by_multicast_as_it_was() {
    comes_by_multicast(FULL, Stream::Proxy);
}

#[test]
fn groups_on_loopback_are_described_and_granted() {
    granted::a_description_names_the_groups_that_are_granted(FULL);
}

#[test]
fn sending_on_loopback_starts_with_the_first_member_and_stops_with_the_last() {
    members::sending_starts_with_the_first_member_and_stops_with_the_last(FULL);
}

#[test]
fn what_is_pulled_or_pushed_is_sent_on_loopback_as_well() {
    members::streams_that_are_pulled_or_pushed_are_sent_as_well(FULL);
}
