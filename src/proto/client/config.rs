//! What a client is to fetch, and how.

use std::time::Duration;

use super::credentials::Credentials;
use super::url::Url;
use crate::rtsp::headers::range::Range;
use crate::track::Kind;

/// How the packets travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transfer {
    /// In `$` frames on the RTSP connection.
    #[default]
    Tcp,
    /// In datagrams to ports of ours.
    Udp,
    /// In datagrams to a group.
    Multicast,
}

/// Which kinds of track are to be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// Pictures.
    pub video: bool,
    /// Sound.
    pub audio: bool,
    /// Metadata and the like.
    pub application: bool,
}

impl Kinds {
    /// All of them.
    pub const ALL: Kinds = Kinds { video: true, audio: true, application: true };

    /// None of them.
    pub const NONE: Kinds = Kinds { video: false, audio: false, application: false };

    /// Whether that kind is among them.
    pub fn has(self, kind: Kind) -> bool {
        match kind {
            Kind::Video => self.video,
            Kind::Audio => self.audio,
            Kind::Application => self.application,
        }
    }
}

/// What a client is to fetch, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// The presentation.
    pub url: Url,
    /// Who asks; None = whom the URL names.
    pub credentials: Option<Credentials>,
    /// How the packets travel.
    pub transfer: Transfer,
    /// Which kinds of track are set up to be received.
    pub kinds: Kinds,
    /// Whether the server is asked for a track that takes sound (ONVIF streaming specification section 5.3), which is
    /// set up then, whatever `kinds` says. Some devices hang when they are asked.
    pub backchannel: bool,
    /// Whether nothing is set up behind the description before [`Client::set_up`](super::Client::set_up).
    pub holds: bool,
    /// Which part to play; None = all of a recording, a live presentation from now on.
    pub range: Option<Range>,
    /// The value of `User-Agent`; empty = the header is left out.
    pub user_agent: String,
    /// How long the server may take to be connected to, and to answer.
    pub response_timeout: Duration,
    /// Unpredictable for others; the client's nonces are made of it.
    pub seed: u64,
}

impl Config {
    /// All tracks of a presentation over TCP.
    pub fn new(url: Url, seed: u64) -> Config {
        Config {
            url,
            credentials: None,
            transfer: Transfer::Tcp,
            kinds: Kinds::ALL,
            backchannel: false,
            holds: false,
            range: None,
            user_agent: String::new(),
            response_timeout: RESPONSE_TIMEOUT,
            seed,
        }
    }
}

/// A camera that wakes its encoder for DESCRIBE takes two or three seconds.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
