//! `Transport` (RFC 2326 section 12.39).

use std::fmt;
use std::str::FromStr;

use smallvec::SmallVec;

use crate::rtsp::message::Headers;

/// One way to carry a track's packets, as a client offers it or a server grants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// `RTP/AVP` and its kin.
    pub profile: Profile,
    /// What carries the packets.
    pub lower: Lower,
    /// One receiver or a group; None when the peer named neither. RFC 2326 then means multicast, clients mean
    /// [`Transport::effective_delivery`].
    pub delivery: Option<Delivery>,
    /// Where the packets go; None = to the peer's address.
    pub destination: Option<String>,
    /// Where the packets come from; None = from the address of the connection.
    pub source: Option<String>,
    /// The client's unicast ports.
    pub client_port: Option<Pair<u16>>,
    /// The server's unicast ports.
    pub server_port: Option<Pair<u16>>,
    /// The group's ports.
    pub port: Option<Pair<u16>>,
    /// Channels of `$` frames on the RTSP connection.
    pub interleaved: Option<Pair<u8>>,
    /// Hops that a multicast packet lives.
    pub ttl: Option<u8>,
    /// Count of multicast groups of a layered encoding.
    pub layers: Option<u8>,
    /// Synchronization source of the packets that the server sends.
    pub ssrc: Option<u32>,
    /// Which way the packets go; None = the server sends.
    pub mode: Option<Mode>,
    /// Whether a recording is to be appended.
    pub append: bool,
    /// Whether RTP and RTCP share the first port (RFC 7826 section C.1.6.4).
    pub rtcp_mux: bool,
}

/// RTP profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// `RTP/AVP` (RFC 3551).
    #[default]
    Avp,
    /// `RTP/AVPF`, with early feedback (RFC 4585).
    Avpf,
    /// `RTP/SAVP`, encrypted (RFC 3711).
    Savp,
    /// `RTP/SAVPF`, both (RFC 5124).
    Savpf,
}

impl Profile {
    /// Whether packets are SRTP.
    pub fn is_secure(self) -> bool {
        matches!(self, Profile::Savp | Profile::Savpf)
    }
}

/// Lower transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lower {
    /// Datagrams; the default.
    #[default]
    Udp,
    /// `$` frames on the RTSP connection.
    Tcp,
}

/// One receiver or many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// To one client.
    Unicast,
    /// To a group.
    Multicast,
}

/// Direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The server sends.
    Play,
    /// The client sends.
    Record,
}

/// Ports or channels for RTP and RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair<T> {
    /// For RTP.
    pub rtp: T,
    /// For RTCP; None when only one was given: the peer wants no RTCP.
    pub rtcp: Option<T>,
}

impl<T> Pair<T> {
    /// Both.
    pub fn new(rtp: T, rtcp: T) -> Pair<T> {
        Pair { rtp, rtcp: Some(rtcp) }
    }
}

/// The offers of one SETUP, best first.
pub type Transports = SmallVec<[Transport; 1]>;

impl Transport {
    /// The offers in all `Transport` headers, best first. Offers of protocols that are not RTP over UDP or TCP are
    /// left out, parameters that are unknown or cannot be read likewise, so that a client is refused (461) for what
    /// it asks and not for what it adds.
    pub fn parse_list(headers: &Headers) -> Transports {
        let offers = headers.get_all("Transport").flat_map(|value| super::split_unquoted(value, ','));
        offers.filter_map(Transport::parse).take(OFFERS_MAX).collect()
    }

    /// One offer or grant; None when its protocol is not RTP over UDP or TCP.
    pub fn parse(text: &str) -> Option<Transport> {
        let mut parameters = super::split_unquoted(text, ';').map(str::trim);
        let (profile, lower) = parse_protocol(parameters.next()?)?;
        let mut transport = Transport { profile, lower, ..Transport::default() };
        for parameter in parameters {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            transport.take_parameter(name.trim_end(), super::unquote(value));
        }
        Some(transport)
    }

    /// Where the packets go when neither word was given: RFC 2326 says multicast, but clients that name their ports
    /// or channels mean unicast, and those that name nothing at all do so too.
    pub fn effective_delivery(&self) -> Delivery {
        self.delivery.unwrap_or(if self.port.is_some() { Delivery::Multicast } else { Delivery::Unicast })
    }

    /// Takes one parameter over, unless it is unknown or cannot be read.
    fn take_parameter(&mut self, name: &str, value: &str) {
        match name.to_ascii_lowercase().as_str() {
            "unicast" => self.delivery = Some(Delivery::Unicast),
            "multicast" => self.delivery = Some(Delivery::Multicast),
            "destination" => replace(&mut self.destination, text(value)),
            "source" => replace(&mut self.source, text(value)),
            "client_port" => replace(&mut self.client_port, pair(value)),
            "server_port" => replace(&mut self.server_port, pair(value)),
            "port" => replace(&mut self.port, pair(value)),
            "interleaved" => replace(&mut self.interleaved, pair(value)),
            "ttl" => replace(&mut self.ttl, value.parse().ok()),
            "layers" => replace(&mut self.layers, value.parse().ok()),
            "ssrc" => replace(&mut self.ssrc, ssrc(value)),
            "mode" => replace(&mut self.mode, mode(value)),
            "append" => self.append = true,
            "rtcp-mux" => self.rtcp_mux = true,
            _ => {}
        }
    }
}

/// A grant as servers write it: the parameters that are there, in the order of most servers.
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.profile {
            Profile::Avp => "RTP/AVP",
            Profile::Avpf => "RTP/AVPF",
            Profile::Savp => "RTP/SAVP",
            Profile::Savpf => "RTP/SAVPF",
        })?;
        if self.lower == Lower::Tcp {
            f.write_str("/TCP")?;
        }
        match self.delivery {
            Some(Delivery::Unicast) => f.write_str(";unicast")?,
            Some(Delivery::Multicast) => f.write_str(";multicast")?,
            None => {}
        }
        put(f, "destination", self.destination.as_ref())?;
        put(f, "source", self.source.as_ref())?;
        put(f, "client_port", self.client_port)?;
        put(f, "server_port", self.server_port)?;
        put(f, "port", self.port)?;
        put(f, "interleaved", self.interleaved)?;
        put(f, "ttl", self.ttl)?;
        put(f, "layers", self.layers)?;
        put(f, "ssrc", self.ssrc.map(|ssrc| format!("{ssrc:08X}")))?;
        if self.rtcp_mux {
            f.write_str(";RTCP-mux")?;
        }
        if self.append {
            f.write_str(";append")?;
        }
        put(f, "mode", self.mode.map(|mode| if mode == Mode::Play { "\"PLAY\"" } else { "\"RECORD\"" }))
    }
}

impl<T: fmt::Display> fmt::Display for Pair<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rtcp {
            Some(rtcp) => write!(f, "{}-{rtcp}", self.rtp),
            None => write!(f, "{}", self.rtp),
        }
    }
}

fn put(f: &mut fmt::Formatter<'_>, name: &str, value: Option<impl fmt::Display>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, ";{name}={value}"))
}

fn parse_protocol(word: &str) -> Option<(Profile, Lower)> {
    let mut parts = word.trim().split('/');
    if !parts.next()?.eq_ignore_ascii_case("RTP") {
        return None;
    }
    let profile = match parts.next()?.to_ascii_uppercase().as_str() {
        "AVP" => Profile::Avp,
        "AVPF" => Profile::Avpf,
        "SAVP" => Profile::Savp,
        "SAVPF" => Profile::Savpf,
        _ => return None,
    };
    let lower = match parts.next() {
        None => Lower::Udp,
        Some(lower) if lower.eq_ignore_ascii_case("UDP") => Lower::Udp,
        Some(lower) if lower.eq_ignore_ascii_case("TCP") => Lower::Tcp,
        Some(_) => return None,
    };
    parts.next().is_none().then_some((profile, lower))
}

fn replace<T>(place: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *place = value;
    }
}

/// A value that cannot break the header it is repeated in.
fn text(value: &str) -> Option<String> {
    let plain =
        !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;".contains(&byte));
    plain.then(|| value.to_owned())
}

/// `a` or `a-b`.
fn pair<T: FromStr>(value: &str) -> Option<Pair<T>> {
    let number = |text: &str| text.trim().parse().ok();
    match value.split_once('-') {
        None => Some(Pair { rtp: number(value)?, rtcp: None }),
        Some((rtp, "")) => Some(Pair { rtp: number(rtp)?, rtcp: None }),
        Some((rtp, rtcp)) => Some(Pair { rtp: number(rtp)?, rtcp: Some(number(rtcp)?) }),
    }
}

/// Up to eight hexadecimal digits, with `0x` or without.
fn ssrc(value: &str) -> Option<u32> {
    let digits = value.trim_start_matches("0x").trim_start_matches("0X");
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

/// The first mode of a list; `receive` is what early QuickTime broadcasters say for RECORD.
fn mode(value: &str) -> Option<Mode> {
    value.split(',').find_map(|word| match word.trim().to_ascii_lowercase().as_str() {
        "play" => Some(Mode::Play),
        "record" | "receive" => Some(Mode::Record),
        _ => None,
    })
}

/// No client offers more than a handful; the rest of a longer list is not read.
const OFFERS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(value: &str) -> Transports {
        let mut headers = Headers::new();
        headers.push("transport", value);
        Transport::parse_list(&headers)
    }

    #[test]
    fn offers_of_known_players_are_read() {
        // FFmpeg over UDP and TCP.
        let got = list("RTP/AVP/UDP;unicast;client_port=22340-22341");
        assert_eq!((got.len(), got[0].client_port), (1, Some(Pair::new(22340, 22341))));
        assert_eq!((got[0].lower, got[0].delivery), (Lower::Udp, Some(Delivery::Unicast)));
        let got = list("RTP/AVP/TCP;unicast;interleaved=2-3;mode=record");
        assert_eq!((got[0].lower, got[0].interleaved), (Lower::Tcp, Some(Pair::new(2, 3))));
        assert_eq!(got[0].mode, Some(Mode::Record));
        // GStreamer offers all at once.
        let got = list(
            "RTP/AVPF;unicast;client_port=5000-5001,RTP/AVP;multicast,RTP/AVP/TCP;unicast;interleaved=0-1;mode=\"PLAY\"",
        );
        assert_eq!(got.len(), 3);
        assert_eq!((got[0].profile, got[1].delivery), (Profile::Avpf, Some(Delivery::Multicast)));
        assert_eq!(got[2].mode, Some(Mode::Play));
        // The example of RFC 2326 section 12.39, with a list inside quotes.
        let got = list(
            "RTP/AVP;multicast;ttl=127;mode=\"PLAY,RECORD\",RTP/AVP;unicast;client_port=3456-3457;mode=\"PLAY\"",
        );
        assert_eq!((got.len(), got[0].ttl, got[0].mode), (2, Some(127), Some(Mode::Play)));
    }

    #[test]
    fn one_number_means_no_rtcp() {
        let got = list("RTP/AVP;unicast;client_port=4588;interleaved=9-");
        assert_eq!(got[0].client_port, Some(Pair { rtp: 4588, rtcp: None }));
        assert_eq!(got[0].interleaved, Some(Pair { rtp: 9, rtcp: None }));
    }

    #[test]
    fn what_cannot_be_read_is_skipped() {
        let got = list(
            "rtp/avp/udp ; UNICAST; client_port = 1 - 2 ;client_port=x;ttl=256;ssrc=xyz;foo;bar=1;;mode=;destination=",
        );
        let expected = Transport {
            delivery: Some(Delivery::Unicast),
            client_port: Some(Pair::new(1, 2)),
            ..Transport::default()
        };
        assert_eq!(got.as_slice(), [expected]);
        assert!(list("RAW/RAW/UDP, RTP/AVP/SCTP, RTP, RTP/AVP/UDP/x, , x-real-rdt/udp").is_empty());
        assert!(list("").is_empty());
    }

    #[test]
    fn without_unicast_or_multicast_the_ports_tell() {
        assert_eq!(list("RTP/AVP;client_port=1-2")[0].effective_delivery(), Delivery::Unicast);
        assert_eq!(list("RTP/AVP/TCP")[0].effective_delivery(), Delivery::Unicast);
        assert_eq!(list("RTP/AVP;port=1-2")[0].effective_delivery(), Delivery::Multicast);
    }

    #[test]
    fn a_grant_is_written_as_servers_write_it() {
        let grant = Transport {
            delivery: Some(Delivery::Unicast),
            client_port: Some(Pair::new(5000, 5001)),
            server_port: Some(Pair::new(6970, 6971)),
            ssrc: Some(0xab),
            mode: Some(Mode::Play),
            ..Transport::default()
        };
        assert_eq!(
            grant.to_string(),
            "RTP/AVP;unicast;client_port=5000-5001;server_port=6970-6971;ssrc=000000AB;mode=\"PLAY\""
        );
    }

    fn any_pair<T: Arbitrary>() -> impl Strategy<Value = Option<Pair<T>>> {
        any::<Option<(T, Option<T>)>>().prop_map(|pair| pair.map(|(rtp, rtcp)| Pair { rtp, rtcp }))
    }

    prop_compose! {
        fn any_transport()(
            profile in prop::sample::select(vec![Profile::Avp, Profile::Avpf, Profile::Savp, Profile::Savpf]),
            lower in prop::sample::select(vec![Lower::Udp, Lower::Tcp]),
            delivery in prop::option::of(prop::sample::select(vec![Delivery::Unicast, Delivery::Multicast])),
            hosts in prop::array::uniform2(prop::option::of("[a-z0-9:.\\[\\]]{1,20}")),
            ports in prop::array::uniform3(any_pair::<u16>()),
            interleaved in any_pair::<u8>(),
            (ttl, layers, ssrc, append, rtcp_mux) in any::<(Option<u8>, Option<u8>, Option<u32>, bool, bool)>(),
            mode in prop::option::of(prop::sample::select(vec![Mode::Play, Mode::Record])),
        ) -> Transport {
            let [destination, source] = hosts;
            let [client_port, server_port, port] = ports;
            Transport {
                profile, lower, delivery, destination, source, client_port, server_port, port, interleaved, ttl,
                layers, ssrc, mode, append, rtcp_mux,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(transport in any_transport()) {
            prop_assert_eq!(Transport::parse(&transport.to_string()), Some(transport));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC*", tail in "[;=,\"a-z_0-9 -]{0,60}") {
            list(&text);
            list(&format!("RTP/AVP;{tail}"));
        }
    }
}
