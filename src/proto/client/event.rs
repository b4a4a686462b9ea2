//! What a client tells its driver.

use std::net::IpAddr;

use bytes::Bytes;
use thiserror::Error;

use super::config::Transfer;
use super::credentials::AuthError;
use super::mjpeg::MjpegError;
use super::scheme::Scheme;
use super::url::Url;
use crate::rtsp::headers::range::Range;
use crate::rtsp::headers::transport::Pair;
use crate::rtsp::message::Method;
use crate::rtsp::parse::ParseError;
use crate::rtsp::status::Status;
use crate::sdp::{SdpError, Session};

/// What happened, or what is needed. A track is named by its index among the media of the description.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// Close the connection, if there is one, and open another; then call `handle_connected`. What `poll_transmit` has
    /// given before belongs to the old one.
    Connect(Endpoint),
    /// The server has described the presentation. After a new connection it comes again, and may say something else.
    Described {
        /// The description.
        session: Box<Session>,
        /// The media that will be set up.
        wanted: Vec<usize>,
    },
    /// A pair of UDP ports is needed: answer with `handle_ports`.
    PortsWanted {
        /// For which media.
        media: usize,
    },
    /// A track is set up; packets may come.
    TrackReady {
        /// Which media.
        media: usize,
        /// Its URL.
        url: String,
        /// What carries its packets.
        carrier: Carrier,
        /// Synchronization source of its packets; None when the server does not say.
        ssrc: Option<u32>,
    },
    /// The server refuses one track; the others go on.
    TrackRefused {
        /// Which media.
        media: usize,
        /// What it answered.
        status: Status,
    },
    /// The server does not offer this way: go on with another by `set_transfer`, or end.
    TransferRefused {
        /// Which way it was.
        tried: Transfer,
    },
    /// The server plays.
    Playing {
        /// What is played; None when the server does not say.
        range: Option<Range>,
        /// What the server says of the tracks' first packets.
        starts: Vec<Start>,
    },
    /// A packet has come on the RTSP connection. It shares memory with its neighbours: who keeps it for long copies it.
    Packet {
        /// Of which media.
        media: usize,
        /// What it is.
        kind: PacketKind,
        /// The packet.
        payload: Bytes,
    },
    /// The session was torn down as asked: close the connection. The last event.
    Ended,
    /// It did not work, or works no longer: close the connection. The last event.
    Failed(Failure),
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Which protocol is spoken there, and whether with TLS.
    pub scheme: Scheme,
    /// Name or address, an IPv6 address without its brackets and with its zone.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// Of the server that a URL names.
    pub(super) fn of(url: &Url) -> Endpoint {
        Endpoint { scheme: url.scheme, host: url.host.clone(), port: url.effective_port() }
    }
}

/// What carries the packets of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// `$` frames with these channels.
    Interleaved(Pair<u8>),
    /// Datagrams to the ports that the driver gave.
    Unicast {
        /// The server's ports; None when it does not say.
        server_port: Option<Pair<u16>>,
        /// Where the packets come from, if not from the address of the connection.
        source: Option<IpAddr>,
    },
    /// Datagrams to a group.
    Group {
        /// The group.
        address: IpAddr,
        /// Its ports.
        port: Pair<u16>,
        /// The only sender, for joining; None when any.
        source: Option<IpAddr>,
    },
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// Media.
    Rtp,
    /// A report.
    Rtcp,
}

/// What the server says of a track's first packet (RFC 2326 section 12.33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Which media.
    pub media: usize,
    /// Its sequence number; None when not said.
    pub seq: Option<u16>,
    /// The RTP timestamp of the range's first moment; None when not said.
    pub rtptime: Option<u32>,
}

/// Why there is no stream.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// No connection came about in time.
    #[error("the server cannot be connected to in time")]
    ConnectTimeout,
    /// A request was not answered in time.
    #[error("the server does not answer {0}")]
    ResponseTimeout(Method),
    /// The connection has ended.
    #[error("the server has closed the connection")]
    Closed,
    /// A 401 that cannot be answered.
    #[error("{0}")]
    Unauthorized(#[from] AuthError),
    /// A request was refused.
    #[error("the server answers {method} with {status}")]
    Refused {
        /// Which.
        method: Method,
        /// The answer.
        status: Status,
    },
    /// The session is over on the server's side.
    #[error("the server has ended the session")]
    SessionLost,
    /// The description cannot be read.
    #[error("{0}")]
    Description(#[from] SdpError),
    /// The description has no track that is wanted.
    #[error("the server describes no track that is wanted")]
    NoTrack,
    /// A redirect leads nowhere.
    #[error("the server redirects to no URL of its protocol")]
    Redirect,
    /// One redirect after the other.
    #[error("the server redirects more than {REDIRECTS_MAX} times")]
    TooManyRedirects,
    /// What comes is no RTSP.
    #[error("{0}")]
    Protocol(#[from] ParseError),
    /// What comes is another protocol.
    #[error("the server speaks HTTP, not RTSP")]
    Http,
    /// The server sends requests and does not read the answers.
    #[error("the server does not read what is sent")]
    Flooded,
    /// It played, and nothing has come for too long.
    #[error("the server sends nothing any more")]
    Silent,
    /// What comes is no Motion JPEG.
    #[error("{0}")]
    Mjpeg(#[from] MjpegError),
}

/// How many redirects in a row are followed.
pub(super) const REDIRECTS_MAX: u32 = 5;
