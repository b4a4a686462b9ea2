//! A raw client that plays: one session, its tracks, every packet kept.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::rtp::{Packet, Report, reports};
use super::sdp::{Description, Media};
use super::{Client, Message, Response};

/// How packets come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Udp,
    Tcp,
}

impl Over {
    /// The word that players use for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Over::Udp => "udp",
            Over::Tcp => "tcp",
        }
    }
}

/// Both ways.
pub(crate) const BOTH: [Over; 2] = [Over::Udp, Over::Tcp];

/// A track that was set up.
pub(crate) struct Track {
    pub(crate) media: Media,
    pub(crate) packets: Vec<Packet>,
    pub(crate) reports: Vec<(Instant, Report)>,
    /// The answer to SETUP.
    pub(crate) setup: Response,
    channel: u8,
    sockets: Option<Sockets>,
}

impl Track {
    /// Whether the server has said that the track has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.reports.iter().any(|(_, report)| matches!(report, Report::Bye { .. }))
    }

    /// Packets of each access unit: those that follow each other with one timestamp.
    pub(crate) fn units(&self) -> Vec<&[Packet]> {
        self.packets.chunk_by(|a, b| a.timestamp == b.timestamp).collect()
    }

    /// RTP timestamps of its access units.
    pub(crate) fn times(&self) -> Vec<u32> {
        self.units().iter().map(|unit| unit[0].timestamp).collect()
    }

    /// Sequence numbers that are missing or out of place.
    pub(crate) fn gaps(&self) -> Vec<(u16, u16)> {
        let pairs = self.packets.windows(2).map(|pair| (pair[0].sequence, pair[1].sequence));
        pairs.filter(|(a, b)| a.wrapping_add(1) != *b).collect()
    }

    /// The RTP and the RTCP socket.
    pub(crate) fn sockets(&self) -> (&UdpSocket, &UdpSocket) {
        let sockets = self.sockets.as_ref().expect("the track came over UDP");
        (&sockets.rtp, &sockets.rtcp)
    }

    /// The server's RTP and RTCP address.
    pub(crate) fn server_addresses(&self, ip: IpAddr) -> (SocketAddr, SocketAddr) {
        let ports = self.setup.transport("server_port").expect("the server names its ports");
        let (rtp, rtcp) = ports.split_once('-').expect("two ports");
        ((ip, rtp.parse().unwrap()).into(), (ip, rtcp.parse().unwrap()).into())
    }
}

/// A raw player.
pub(crate) struct Viewer {
    pub(crate) client: Client,
    /// The URL that was described.
    pub(crate) url: String,
    pub(crate) description: Description,
    pub(crate) tracks: Vec<Track>,
    over: Over,
    datagrams: Receiver<Datagram>,
    to_viewer: Sender<Datagram>,
}

struct Datagram {
    track: usize,
    rtcp: bool,
    bytes: Vec<u8>,
    at: Instant,
}

impl Viewer {
    /// Connects and DESCRIBEs.
    #[track_caller]
    pub(crate) fn describe(server: SocketAddr, url: &str, over: Over) -> Viewer {
        Viewer::describe_on(Client::connect(server), url, over)
    }

    /// DESCRIBEs on a connection.
    #[track_caller]
    pub(crate) fn describe_on(mut client: Client, url: &str, over: Over) -> Viewer {
        let response = client.request("DESCRIBE", url, &[("Accept", "application/sdp")]).expect(200);
        assert_eq!(response.header("Content-Type"), Some("application/sdp"));
        let base = response.header("Content-Base").unwrap_or(url).to_owned();
        let description = Description::parse(&response.text(), &base);
        let (to_viewer, datagrams) = channel();
        let url = url.to_owned();
        Viewer { client, url, description, tracks: Vec::new(), over, datagrams, to_viewer }
    }

    /// Connects, DESCRIBEs and SETs UP every track.
    #[track_caller]
    pub(crate) fn open(server: SocketAddr, url: &str, over: Over) -> Viewer {
        Viewer::describe(server, url, over).set_up()
    }

    /// SETs UP every track of the description.
    #[track_caller]
    pub(crate) fn set_up(mut self) -> Viewer {
        for index in 0..self.description.media.len() {
            self.setup(index);
        }
        self
    }

    /// SETs UP one track of the description.
    #[track_caller]
    pub(crate) fn setup(&mut self, index: usize) -> &mut Track {
        let media = self.description.media[index].clone();
        let channel = 2 * self.tracks.len() as u8;
        let (mut transport, mut sockets) = match self.over {
            Over::Tcp => (format!("RTP/AVP/TCP;unicast;interleaved={channel}-{}", channel + 1), None),
            Over::Udp => {
                let sockets = Sockets::bind(self.tracks.len(), &self.to_viewer);
                let port = sockets.rtp.local_addr().unwrap().port();
                (format!("RTP/AVP;unicast;client_port={port}-{}", port + 1), Some(sockets))
            }
        };
        let mut setup = self.client.request("SETUP", &media.control, &[("Transport", &transport)]);
        if setup.status == 461 && self.over == Over::Udp {
            // The system gave a pair that a session of an earlier viewer still holds: a player takes another.
            let others = Sockets::bind(self.tracks.len(), &self.to_viewer);
            let port = others.rtp.local_addr().unwrap().port();
            transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
            sockets = Some(others);
            setup = self.client.request("SETUP", &media.control, &[("Transport", &transport)]);
        }
        let setup = setup.expect(200);
        self.client.session = setup.session().map(str::to_owned);
        assert!(self.client.session.is_some(), "SETUP names a session: {setup:?}");
        let (packets, reports) = (Vec::new(), Vec::new());
        self.tracks.push(Track { media, packets, reports, setup, channel, sockets });
        self.tracks.last_mut().expect("a track was added")
    }

    /// Sends bytes to the RTP side of a track, if need be where a player would not.
    pub(crate) fn say(&mut self, track: usize, packet: &[u8]) {
        let track = &self.tracks[track];
        match &track.sockets {
            Some(sockets) => {
                let (to, _) = track.server_addresses(self.client.peer().ip());
                sockets.rtp.send_to(packet, to).unwrap();
            }
            None => {
                let [high, low] = (packet.len() as u16).to_be_bytes();
                self.client.send([&[b'$', track.channel, high, low], packet].concat());
            }
        }
    }

    /// PLAYs the presentation.
    #[track_caller]
    pub(crate) fn play(&mut self, headers: &[(&str, &str)]) -> Response {
        let url = self.description.control.clone();
        self.client.request("PLAY", &url, headers).expect(200)
    }

    #[track_caller]
    pub(crate) fn pause(&mut self) -> Response {
        let url = self.description.control.clone();
        self.client.request("PAUSE", &url, &[]).expect(200)
    }

    #[track_caller]
    pub(crate) fn teardown(&mut self) -> Response {
        let url = self.description.control.clone();
        self.client.request("TEARDOWN", &url, &[]).expect(200)
    }

    /// Receives for `time`.
    pub(crate) fn receive(&mut self, time: Duration) {
        self.receive_until(time, |_| false);
    }

    /// Receives until every track has ended, which must be within `patience`.
    #[track_caller]
    pub(crate) fn receive_all(&mut self, patience: Duration) {
        let ended = self.receive_until(patience, |viewer| viewer.tracks.iter().all(Track::has_ended));
        let counts: Vec<_> =
            self.tracks.iter().map(|track| (track.packets.len(), track.has_ended())).collect();
        assert!(ended, "no BYE for every track after {patience:?}; packets and ends: {counts:?}");
    }

    /// Pictures a second of the first track, by their times. Behind the past that a viewer begins with, each is as far from
    /// the next as any.
    pub(crate) fn rate_of_pictures(&mut self, patience: Duration) -> f64 {
        assert!(self.receive_until(patience, |viewer| viewer.tracks[0].times().len() > 60));
        let times = self.tracks[0].times();
        40.0 * 90_000.0 / f64::from(times[60].wrapping_sub(times[20]))
    }

    /// Receives until `done`; false when that was not so after `patience`.
    pub(crate) fn receive_until(&mut self, patience: Duration, done: impl Fn(&Viewer) -> bool) -> bool {
        let end = Instant::now() + patience;
        loop {
            while let Some((channel, data)) = self.client.frames.pop_front() {
                self.keep_frame(channel, &data);
            }
            while let Ok(datagram) = self.datagrams.try_recv() {
                self.keep(datagram);
            }
            if done(self) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.wait(left) {
                return done(self);
            }
        }
    }

    /// Waits for something to come; false at the end of the connection.
    fn wait(&mut self, patience: Duration) -> bool {
        match self.over {
            Over::Udp => {
                if let Ok(datagram) = self.datagrams.recv_timeout(patience.min(Duration::from_millis(50))) {
                    self.keep(datagram);
                }
            }
            Over::Tcp => match self.client.next(patience) {
                Some(Message::Frame { channel, data }) => self.keep_frame(channel, &data),
                Some(Message::Closed) => return false,
                _ => {}
            },
        }
        true
    }

    fn keep_frame(&mut self, channel: u8, data: &[u8]) {
        let track = self.tracks.iter().position(|track| track.channel == channel & !1);
        let track = track.unwrap_or_else(|| panic!("a packet on channel {channel}, which was not set up"));
        let bytes = data.to_vec();
        self.keep(Datagram { track, rtcp: channel & 1 == 1, bytes, at: Instant::now() });
    }

    fn keep(&mut self, Datagram { track, rtcp, bytes, at }: Datagram) {
        let track = &mut self.tracks[track];
        if rtcp {
            track.reports.extend(reports(&bytes).into_iter().map(|report| (at, report)));
        } else {
            track.packets.push(Packet::parse(&bytes, at));
        }
    }
}

/// A port pair whose datagrams are read by two threads.
struct Sockets {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    stop: Arc<AtomicBool>,
}

impl Sockets {
    fn bind(track: usize, to: &Sender<Datagram>) -> Sockets {
        let (rtp, rtcp) = port_pair();
        let stop = Arc::new(AtomicBool::new(false));
        // A 4K keyframe comes faster than a busy machine reads.
        set_socket_recv_buffer_size(&rtp, 4_000_000).unwrap();
        for (socket, is_rtcp) in [(&rtp, false), (&rtcp, true)] {
            let socket = socket.try_clone().unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let (to, stop) = (to.clone(), stop.clone());
            thread::spawn(move || {
                let mut buffer = vec![0; 65_536];
                while !stop.load(Ordering::Relaxed) {
                    let Ok((size, _)) = socket.recv_from(&mut buffer) else { continue };
                    let bytes = buffer[..size].to_vec();
                    if to.send(Datagram { track, rtcp: is_rtcp, bytes, at: Instant::now() }).is_err() {
                        return;
                    }
                }
            });
        }
        Sockets { rtp, rtcp, stop }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Two UDP sockets of loopback on an even port and the next.
pub(crate) fn port_pair() -> (UdpSocket, UdpSocket) {
    port_pair_at(Ipv4Addr::LOCALHOST.into())
}

/// Two UDP sockets at an address, on an even port and the next.
pub(crate) fn port_pair_at(ip: IpAddr) -> (UdpSocket, UdpSocket) {
    static LOCK: OnceLock<std::sync::Mutex<()>> = OnceLock::new();
    let _guard = LOCK.get_or_init(Default::default).lock();
    for _ in 0..1_000 {
        let Ok(rtp) = UdpSocket::bind((ip, 0)) else { continue };
        let port = rtp.local_addr().unwrap().port();
        if port % 2 == 0
            && let Ok(rtcp) = UdpSocket::bind((ip, port + 1))
        {
            return (rtp, rtcp);
        }
    }
    panic!("no free pair of UDP ports");
}
