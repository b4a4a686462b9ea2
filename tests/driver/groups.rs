//! Multicast groups that a UDP socket receives.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use proto::io::{Membership, Op, Udp, UdpOptions};

use super::again;
use super::rig::{Make, Rig, pattern};

/// Two devices with two addresses each, which do not hear each other.
const TWO_DEVICES: &str = "ip link set lo up \
    && ip link add d0 type veth peer name d1 && ip link set d0 up && ip link set d1 up \
    && ip link add e0 type veth peer name e1 && ip link set e0 up && ip link set e1 up \
    && ip addr add 10.81.0.1/24 dev d0 && ip addr add 10.81.0.2/24 dev d0 \
    && ip addr add 10.82.0.1/24 dev e0 && ip route add 224.0.0.0/4 dev e0 \
    && ip addr add fd00:81::1/64 dev d0 nodad && ip addr add fd00:81::2/64 dev d0 nodad \
    && ip addr add fd00:82::1/64 dev e0 nodad";

fn options(interface: &str, source: Option<&str>, ingest: bool) -> UdpOptions {
    let membership = Membership {
        interface: Some(interface.parse().unwrap()),
        source: source.map(|source| source.parse().unwrap()),
    };
    UdpOptions { membership: Some(membership), ingest, ..UdpOptions::default() }
}

/// A socket that sends by the interface of an address, and its address.
fn sender(rig: &mut Rig, ip: &str) -> (Udp, SocketAddr) {
    rig.driver.bind(SocketAddr::new(ip.parse().unwrap(), 0), &UdpOptions::default()).unwrap()
}

pub fn a_group_is_received_side_by_side(make: Make<'_>) {
    let mut rigs = [Rig::new(make()), Rig::new(make())];
    // Both backends are tested at once, on one loopback device.
    let number = rigs[0].driver.name().len() as u8;
    let group = SocketAddr::from((Ipv4Addr::new(239, 255, 82, number), 0));
    let (one, address) = rigs[0].driver.bind(group, &options("127.0.0.1", None, false)).unwrap();
    assert_eq!(address.ip(), group.ip());
    let (same, _) = rigs[0].driver.bind(address, &options("127.0.0.1", None, true)).unwrap();
    let (other, _) = rigs[1].driver.bind(address, &options("127.0.0.1", None, true)).unwrap();
    let other_group = SocketAddr::from((Ipv4Addr::new(239, 255, 83, number), address.port()));
    let (apart, _) = rigs[0].driver.bind(other_group, &options("127.0.0.1", None, false)).unwrap();
    let (udp, from) = sender(&mut rigs[1], "127.0.0.1");
    let train = pattern(5 * 1_400 + 99, 7);
    let expected: Vec<_> = train.chunks(1_400).map(|packet| (from, packet.to_vec())).collect();
    rigs[1].send_to(udp, address, train, 1_400);
    // Past the group, to the same port.
    rigs[1].send_to(udp, SocketAddr::from(([127, 0, 0, 1], address.port())), pattern(10, 1), 10);
    rigs[1].until(|rig| (rig.datagrams(other) == expected).then_some(()));
    for udp in [one, same] {
        rigs[0].until(|rig| (rig.datagrams(udp) == expected).then_some(()));
    }
    rigs[0].idle();
    assert_eq!(rigs[0].datagrams(one).len(), expected.len());
    assert!(rigs[0].datagrams(apart).is_empty());
}

pub fn a_group_over_ipv6_is_received(make: Make<'_>) {
    if !again::in_own_network(TWO_DEVICES) {
        return;
    }
    // Of the link, for which the device must be known before the bind, and of the site.
    for group in ["[ff12::81]:0", "[ff15::81]:0"] {
        let mut rigs = [Rig::new(make()), Rig::new(make())];
        let group: SocketAddr = group.parse().unwrap();
        let (one, address) = rigs[0].driver.bind(group, &options("fd00:81::1", None, false)).unwrap();
        let (other, _) = rigs[1].driver.bind(address, &options("fd00:81::1", None, true)).unwrap();
        // A socket of the group sends to it by the same device.
        rigs[0].send_to(one, address, pattern(1_300, 1), 1_300);
        rigs[0].until(|rig| rig.datagrams(one).iter().find(|d| d.1 == pattern(1_300, 1)).cloned());
        rigs[1].until(|rig| rig.datagrams(other).iter().find(|d| d.1 == pattern(1_300, 1)).cloned());
    }
}

pub fn only_the_given_source_is_heard(make: Make<'_>) {
    if !again::in_own_network(TWO_DEVICES) {
        return;
    }
    let families = [("232.81.0.1:0", "10.81.0.1", "10.81.0.2"), ("[ff35::81]:0", "fd00:81::1", "fd00:81::2")];
    for (group, interface, source) in families {
        let mut rig = Rig::new(make());
        let group: SocketAddr = group.parse().unwrap();
        let (any, address) = rig.driver.bind(group, &options(interface, None, false)).unwrap();
        let (one, _) = rig.driver.bind(address, &options(interface, Some(source), false)).unwrap();
        let (wanted, from) = sender(&mut rig, source);
        let (unwanted, _) = sender(&mut rig, interface);
        let to = on_device(address, "d0");
        for round in 0..100 {
            rig.send_to(unwanted, to, pattern(700, round), 700);
            rig.turn(Duration::ZERO);
        }
        rig.send_to(wanted, to, pattern(700, 200), 700);
        rig.until(|rig| (rig.datagrams(any).len() == 101).then_some(()));
        rig.until(|rig| (!rig.datagrams(one).is_empty()).then_some(()));
        assert_eq!(rig.datagrams(one), [(from, pattern(700, 200))]);
    }
}

pub fn only_the_given_interface_is_heard(make: Make<'_>) {
    if !again::in_own_network(TWO_DEVICES) {
        return;
    }
    for (group, one, other) in
        [("239.81.0.1:0", "10.81.0.1", "10.82.0.1"), ("[ff12::82]:0", "fd00:81::1", "fd00:82::1")]
    {
        let mut rig = Rig::new(make());
        let group: SocketAddr = group.parse().unwrap();
        let (on_one, address) = rig.driver.bind(group, &options(one, None, false)).unwrap();
        let port = address.port();
        let again = SocketAddr::new(group.ip(), port);
        let (on_other, of_other) = rig.driver.bind(again, &options(other, None, false)).unwrap();
        rig.send_to(on_one, address, pattern(100, 1), 100);
        rig.send_to(on_other, of_other, pattern(100, 2), 100);
        for udp in [on_one, on_other] {
            rig.until(|rig| (!rig.datagrams(udp).is_empty()).then_some(()));
        }
        rig.idle();
        let heard = |udp| rig.datagrams(udp).into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>();
        assert_eq!((heard(on_one), heard(on_other)), (vec![pattern(100, 1)], vec![pattern(100, 2)]));
    }
}

pub fn multicast_over_ipv6_leaves_by_the_interface_of_the_bound_address(make: Make<'_>) {
    if !again::in_own_network(TWO_DEVICES) {
        return;
    }
    // Without a device in the address, of the link and of the site.
    for (group, source) in [
        ("[ff12::84]:0", "fd00:81::1"),
        ("[ff12::84]:0", "fd00:82::1"),
        ("[ff15::84]:0", "fd00:81::1"),
        ("[ff15::85]:0", "fd00:82::1"),
    ] {
        let mut rig = Rig::new(make());
        let group: SocketAddr = group.parse().unwrap();
        let (heard, address) = rig.driver.bind(group, &options(source, None, false)).unwrap();
        let (udp, from) = sender(&mut rig, source);
        rig.send_to(udp, SocketAddr::new(group.ip(), address.port()), pattern(100, 1), 100);
        rig.until(|rig| (!rig.datagrams(heard).is_empty()).then_some(()));
        assert_eq!(rig.datagrams(heard), [(from, pattern(100, 1))]);
    }
}

pub fn routing_chooses_the_interface(make: Make<'_>) {
    if !again::in_own_network(TWO_DEVICES) {
        return;
    }
    let mut rig = Rig::new(make());
    let options = UdpOptions { membership: Some(Membership::default()), ..UdpOptions::default() };
    let (udp, address) = rig.driver.bind("239.81.0.2:0".parse().unwrap(), &options).unwrap();
    let (sender, from) = sender(&mut rig, "10.82.0.1");
    rig.send_to(sender, address, pattern(100, 1), 100);
    rig.until(|rig| (rig.datagrams(udp) == [(from, pattern(100, 1))]).then_some(()));
}

pub fn a_closed_socket_has_left_its_group(make: Make<'_>) {
    if !again::in_own_network(TWO_DEVICES) {
        return;
    }
    let mut rig = Rig::new(make());
    let lists = [
        ("239.81.0.3:0", "10.81.0.1", None, "/proc/thread-self/net/igmp", "030051EF"),
        ("232.81.0.3:0", "10.81.0.1", Some("10.81.0.2"), "/proc/thread-self/net/igmp", "030051E8"),
        (
            "[ff15::83]:0",
            "fd00:81::1",
            None,
            "/proc/thread-self/net/igmp6",
            "ff150000000000000000000000000083",
        ),
    ];
    for (group, interface, source, list, name) in lists {
        let is_member = || fs::read_to_string(list).unwrap().contains(name);
        assert!(!is_member());
        let options = options(interface, source, false);
        let (udp, _) = rig.driver.bind(group.parse().unwrap(), &options).unwrap();
        rig.idle();
        assert!(is_member());
        rig.driver.submit(Op::CloseUdp(udp));
        rig.until(|_| (!is_member()).then_some(()));
    }
}

pub fn a_membership_that_does_not_fit_is_refused(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let v4: IpAddr = Ipv4Addr::LOCALHOST.into();
    let v6: IpAddr = Ipv6Addr::LOCALHOST.into();
    let of = |interface, source| Membership { interface, source };
    let cases = [
        ("127.0.0.1:0", of(None, None)),
        ("[::1]:0", of(None, None)),
        ("239.81.0.1:0", of(Some(v6), None)),
        ("239.81.0.1:0", of(None, Some(v6))),
        ("[ff15::81]:0", of(Some(v4), None)),
        ("[ff15::81]:0", of(None, Some(v4))),
    ];
    for (address, membership) in cases {
        let options = UdpOptions { membership: Some(membership), ..UdpOptions::default() };
        let refused = rig.driver.bind(address.parse().unwrap(), &options).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{address} {membership:?}");
    }
    // Documentation addresses (RFC 5737, RFC 3849): no interface has them.
    for (group, nobody) in [("239.81.0.1:0", "203.0.113.9"), ("[ff15::81]:0", "2001:db8::9")] {
        assert!(rig.driver.bind(group.parse().unwrap(), &options(nobody, None, false)).is_err());
    }
}

/// The address with a device where it needs one.
fn on_device(mut address: SocketAddr, device: &str) -> SocketAddr {
    if let SocketAddr::V6(address) = &mut address {
        address.set_scope_id(again::device_index(device));
    }
    address
}
