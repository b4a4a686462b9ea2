//! OPTIONS and DESCRIBE: what the server can do, and what it has.

use std::net::IpAddr;

use super::config::Kinds;
use super::event::{Carrier, Event, Failure, PacketKind};
use super::machine::{Client, State};
use super::request::Step;
use super::url::for_request;
use crate::rtsp::headers::require::{self, BACKCHANNEL};
use crate::rtsp::message::{Headers, Method, Request, Response};
use crate::rtsp::status::Status;
use crate::rtsp::uri::Scheme;
use crate::sdp::{self, Direction, Media, Session};

/// What is fetched, as far as the client must remember it.
#[derive(Debug, Default)]
pub(super) struct Presentation {
    /// The URL that controls all tracks together.
    pub(super) aggregate: String,
    /// Whether it has a track that takes sound, which was asked for.
    pub(super) has_backchannel: bool,
    /// Whether it has no beginning to play from.
    pub(super) is_live: bool,
    /// Those that are wanted.
    pub(super) tracks: Vec<Track>,
}

/// One track that is wanted.
#[derive(Debug)]
pub(super) struct Track {
    /// Index among the media of the description.
    pub(super) media: usize,
    pub(super) url: String,
    /// The group and port that the description names; the port may be zero.
    pub(super) group: Option<(IpAddr, u16)>,
    pub(super) progress: Progress,
}

/// How far a track is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Waiting,
    Ready(Carrier),
    Refused,
}

impl Client {
    /// Whatever the server answers: some refuse OPTIONS and know the rest.
    pub(super) fn handle_options(&mut self, response: &Response) {
        let mut methods = require::tags(&response.headers, "Public").peekable();
        if response.status.is_success() && methods.peek().is_some() {
            self.keep_alive.set_offer(methods.any(|method| method.eq_ignore_ascii_case("GET_PARAMETER")));
        }
        self.describe();
    }

    fn describe(&mut self) {
        let request =
            Request::new(Method::Describe, self.url.request_uri()).header("Accept", "application/sdp");
        let request = if self.asks_backchannel { request.header("Require", BACKCHANNEL) } else { request };
        self.ask(Step::Describe, request);
    }

    /// The request with the backchannel's tag where the presentation has one.
    pub(super) fn with_tag(&self, request: Request) -> Request {
        if self.presentation.has_backchannel { request.header("Require", BACKCHANNEL) } else { request }
    }

    pub(super) fn handle_described(&mut self, request: &Request, response: &Response) {
        let has_more_to_ask = self.config.kinds != Kinds::NONE;
        if response.status == Status::OPTION_NOT_SUPPORTED && self.asks_backchannel && has_more_to_ask {
            self.asks_backchannel = false;
            return self.describe();
        }
        if !response.status.is_success() {
            return self.refused(Method::Describe, response.status);
        }
        let session = match sdp::parse(&String::from_utf8_lossy(&response.body)) {
            Ok(session) => session,
            Err(error) => return self.fail(error.into()),
        };
        let wanted = self.wanted(&session);
        if wanted.is_empty() {
            return self.fail(Failure::NoTrack);
        }
        let base = self.base(&request.uri, &response.headers);
        self.presentation = Presentation::new(&session, &base, &wanted);
        self.emit(Event::Described { session: Box::new(session), wanted });
        match self.config.holds {
            true => self.state = State::Held,
            false => self.setup_next(),
        }
    }

    /// The media that are set up, by their index.
    fn wanted(&self, session: &Session) -> Vec<usize> {
        let is_wanted = |media: &Media| {
            let is_open = media.direction != Direction::Inactive && !media.formats.is_empty();
            let is_asked = match is_backchannel(session, media) {
                true => self.asks_backchannel,
                false => self.config.kinds.has(media.kind),
            };
            is_open && is_asked
        };
        let media = session.media.iter().enumerate();
        media.filter(|(_, media)| is_wanted(media)).map(|(index, _)| index).collect()
    }

    /// What control attributes are relative to (RFC 2326 section C.1.1): what the server names, where that is an RTSP
    /// URL or a path, else what was asked for.
    fn base(&self, asked: &str, headers: &Headers) -> String {
        let named = ["Content-Base", "Content-Location"].into_iter().filter_map(|name| headers.get(name));
        let Some(named) = named.map(str::trim).find(|named| !named.is_empty()) else {
            return asked.to_owned();
        };
        match named.split_once("://") {
            Some((scheme, _)) if Scheme::from_name(scheme).is_some() => for_request(named),
            None if named.starts_with('/') => {
                self.url.resolve(named).map_or(asked.to_owned(), |url| url.request_uri())
            }
            _ => asked.to_owned(),
        }
    }
}

impl Presentation {
    fn new(session: &Session, base: &str, wanted: &[usize]) -> Presentation {
        let track = |&index: &usize| {
            let media = &session.media[index];
            Track {
                media: index,
                url: for_request(&session.control_url(base, media)),
                group: media.address.or(session.address).map(|address| (address, media.port)),
                progress: Progress::Waiting,
            }
        };
        Presentation {
            has_backchannel: wanted.iter().any(|&index| is_backchannel(session, &session.media[index])),
            aggregate: for_request(&session.aggregate_url(base)),
            is_live: session.live || session.duration.is_none_or(|duration| duration.is_zero()),
            tracks: wanted.iter().map(track).collect(),
        }
    }

    /// Whose packets come on a channel, and of which kind; None when it is no track's.
    pub(super) fn channel(&self, channel: u8) -> Option<(usize, PacketKind)> {
        self.tracks.iter().find_map(|track| match track.progress {
            Progress::Ready(Carrier::Interleaved(channels)) => {
                Some((track.media, PacketKind::of(channels, channel)?))
            }
            _ => None,
        })
    }

    /// Whether any track is set up.
    pub(super) fn is_ready(&self) -> bool {
        self.tracks.iter().any(|track| matches!(track.progress, Progress::Ready(_)))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let tracks = self.tracks.iter().map(|track| size_of::<Track>() + track.url.len());
        self.aggregate.len() + tracks.sum::<usize>()
    }
}

/// ONVIF marks what the client sends with `sendonly`. Servers that mark all they have so speak of themselves.
fn is_backchannel(session: &Session, media: &Media) -> bool {
    media.direction == Direction::Send && session.media.iter().any(|other| other.direction != Direction::Send)
}
