//! A raw client that listens to groups: one session, its tracks, every packet kept.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use socket2::{Domain, Socket, Type};

use crate::client::rtp::{Packet, Report, reports};
use crate::client::sdp::{Description, Media};
use crate::client::{Client, Response};

/// Many seconds of what tests send.
const RECEIVE_BYTES: usize = 8_000_000;

/// A group with its port pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

impl Group {
    /// What an answer to SETUP grants.
    #[track_caller]
    pub(crate) fn granted(setup: &Response) -> Group {
        let header = setup.header("Transport").unwrap_or_default();
        assert!(header.split(';').any(|word| word == "multicast"), "{header}");
        let address = setup.transport("destination").and_then(|text| text.parse().ok());
        let port = setup.transport("port").and_then(|ports| ports.split_once('-'));
        let (rtp, rtcp): (u16, u16) =
            port.map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).expect("ports");
        assert_eq!(rtp + 1, rtcp, "{header}");
        Group { address: address.unwrap_or_else(|| panic!("no group in {header}")), port: rtp }
    }
}

/// Two sockets that have joined a group, and what they have heard.
pub(crate) struct Ears {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    group: Group,
    pub(crate) packets: Vec<Packet>,
    pub(crate) reports: Vec<(Instant, Report)>,
    /// Where packets came from.
    pub(crate) source: Option<SocketAddr>,
    /// Where reports came from.
    pub(crate) reporter: Option<SocketAddr>,
}

impl Ears {
    /// Joins by the interface that has an address.
    pub(crate) fn join(group: Group, interface: IpAddr) -> Ears {
        let socket = |port| {
            let place = SocketAddr::new(group.address, port);
            let socket = Socket::new(Domain::for_address(place), Type::DGRAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            // What comes while somebody else is listened to must not be lost; beyond the system's bound only for root.
            if set_socket_recv_buffer_size_force(&socket, RECEIVE_BYTES).is_err() {
                set_socket_recv_buffer_size(&socket, RECEIVE_BYTES).unwrap();
            }
            socket.set_nonblocking(true).unwrap();
            let place = match (group.address, interface) {
                (IpAddr::V4(address), IpAddr::V4(interface)) => {
                    socket.join_multicast_v4(&address, &interface).unwrap();
                    socket.set_multicast_if_v4(&interface).unwrap();
                    place
                }
                (IpAddr::V6(address), _) => {
                    let index = index_of(interface);
                    socket.join_multicast_v6(&address, index).unwrap();
                    socket.set_multicast_if_v6(index).unwrap();
                    SocketAddrV6::new(address, port, 0, index).into()
                }
                families => panic!("{families:?}"),
            };
            socket.bind(&place.into()).unwrap();
            UdpSocket::from(socket)
        };
        let (rtp, rtcp) = (socket(group.port), socket(group.port + 1));
        let (packets, reports) = (Vec::new(), Vec::new());
        Ears { rtp, rtcp, group, packets, reports, source: None, reporter: None }
    }

    /// Takes what has come; whether anything has.
    pub(crate) fn hear(&mut self) -> bool {
        let mut buffer = vec![0; 65_536];
        let mut has_come = false;
        while let Ok((size, from)) = self.rtp.recv_from(&mut buffer) {
            self.packets.push(Packet::parse(&buffer[..size], Instant::now()));
            (self.source, has_come) = (Some(from), true);
        }
        while let Ok((size, from)) = self.rtcp.recv_from(&mut buffer) {
            // What receivers say comes back to them. It does not begin as a sender's report does.
            if buffer[1] != 200 {
                continue;
            }
            let heard = reports(&buffer[..size]);
            self.reporter = Some(from);
            self.reports.extend(heard.into_iter().map(|report| (Instant::now(), report)));
            has_come = true;
        }
        has_come
    }

    /// Listens for so long.
    pub(crate) fn listen(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if !self.hear() {
                thread::sleep(Duration::from_millis(2));
            }
        }
    }

    /// Forgets what was heard, and what waits to be.
    pub(crate) fn forget(&mut self) {
        self.hear();
        self.packets.clear();
        self.reports.clear();
    }

    /// Reports to all of the group.
    pub(crate) fn report(&self, bytes: &[u8]) {
        self.rtcp.send_to(bytes, (self.group.address, self.group.port + 1)).unwrap();
    }

    /// Reports to one address alone.
    pub(crate) fn report_to(&self, bytes: &[u8], to: SocketAddr) {
        let socket = UdpSocket::bind((self.rtcp_ip(to), 0)).unwrap();
        socket.send_to(bytes, to).unwrap();
    }

    fn rtcp_ip(&self, to: SocketAddr) -> IpAddr {
        // Whatever address leads there.
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() }
    }

    /// Sequence numbers that are missing or out of place.
    pub(crate) fn gaps(&self) -> Vec<(u16, u16)> {
        let pairs = self.packets.windows(2).map(|pair| (pair[0].sequence, pair[1].sequence));
        pairs.filter(|(a, b)| a.wrapping_add(1) != *b).collect()
    }

    /// Whether the sender has said that it ends.
    pub(crate) fn has_bye(&self) -> bool {
        self.reports.iter().any(|(_, report)| matches!(report, Report::Bye { .. }))
    }
}

/// A track that was set up.
pub(crate) struct Track {
    pub(crate) media: Media,
    pub(crate) setup: Response,
    pub(crate) group: Group,
    pub(crate) ears: Ears,
}

/// A raw player.
pub(crate) struct Listener {
    pub(crate) client: Client,
    pub(crate) description: Description,
    pub(crate) tracks: Vec<Track>,
}

impl Listener {
    /// Connects, DESCRIBEs and SETs UP every track.
    #[track_caller]
    pub(crate) fn open(server: SocketAddr, url: &str) -> Listener {
        let mut listener = Listener::describe(server, url);
        for index in 0..listener.description.media.len() {
            listener.setup(index);
        }
        listener
    }

    /// The same, and PLAYs.
    #[track_caller]
    pub(crate) fn play_of(server: SocketAddr, url: &str) -> Listener {
        let mut listener = Listener::open(server, url);
        listener.play(&[]).expect(200);
        listener
    }

    /// Connects and DESCRIBEs.
    #[track_caller]
    pub(crate) fn describe(server: SocketAddr, url: &str) -> Listener {
        let mut client = Client::connect(server);
        let response = client.request("DESCRIBE", url, &[]).expect(200);
        let base = response.header("Content-Base").unwrap_or(url).to_owned();
        let description = Description::parse(&response.text(), &base);
        Listener { client, description, tracks: Vec::new() }
    }

    /// SETs UP one track.
    #[track_caller]
    pub(crate) fn setup(&mut self, index: usize) {
        let media = self.description.media[index].clone();
        let setup =
            self.client.request("SETUP", &media.control, &[("Transport", "RTP/AVP;multicast")]).expect(200);
        self.client.session = setup.session().map(str::to_owned);
        let group = Group::granted(&setup);
        let ears = Ears::join(group, self.client.local().ip());
        self.tracks.push(Track { media, setup, group, ears });
    }

    pub(crate) fn play(&mut self, headers: &[(&str, &str)]) -> Response {
        self.ask("PLAY", headers)
    }

    pub(crate) fn ask(&mut self, method: &str, headers: &[(&str, &str)]) -> Response {
        let url = self.description.control.clone();
        self.client.request(method, &url, headers)
    }

    /// Listens until `done`; false when that was not so after `patience`.
    pub(crate) fn until(&mut self, patience: Duration, done: impl Fn(&Listener) -> bool) -> bool {
        let end = Instant::now() + patience;
        loop {
            let has_come = self.tracks.iter_mut().fold(false, |come, track| track.ears.hear() | come);
            if done(self) {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            if !has_come {
                thread::sleep(Duration::from_millis(2));
            }
        }
    }

    /// Listens until so many more packets have come of a track.
    #[track_caller]
    pub(crate) fn hear(&mut self, track: usize, count: usize) {
        let before = self.tracks[track].ears.packets.len();
        let has_come = self.until(Duration::from_secs(20), |listener| {
            listener.tracks[track].ears.packets.len() >= before + count
        });
        let heard = self.tracks[track].ears.packets.len() - before;
        assert!(has_come, "{heard} packets of {count}");
    }
}

/// Number of the interface that has an address.
fn index_of(interface: IpAddr) -> u32 {
    let IpAddr::V6(ip) = interface else { return 0 };
    let text: String = ip.octets().iter().map(|byte| format!("{byte:02x}")).collect();
    let addresses = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
    let line = addresses.lines().find(|line| line.starts_with(&text)).expect("an interface has the address");
    u32::from_str_radix(line.split(' ').nth(1).unwrap(), 16).unwrap()
}
