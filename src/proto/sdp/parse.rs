//! A liberal reader of descriptions, for what cameras, servers and publishers really send.
//!
//! It minds no order and asks for no line but `m=`, ends lines at LF, takes apart attributes that stand on the line of
//! another, and puts together values that were broken over two lines.

use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

use super::format;
use crate::track::{Kind, Track};

/// The largest description that is read.
pub const SDP_BYTES_MAX: usize = 64 * 1024;

/// The most media of one description; more are an error.
pub const MEDIA_MAX: usize = 64;

/// The most payload types of one media; what is beyond is left out.
const FORMATS_MAX: usize = 16;

/// Why a description cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SdpError {
    /// It is larger than [`SDP_BYTES_MAX`].
    #[error("the description is larger than {SDP_BYTES_MAX} bytes")]
    TooLarge,
    /// It has more media than [`MEDIA_MAX`].
    #[error("the description has more than {MEDIA_MAX} media")]
    TooManyMedia,
    /// It has neither a version nor a media.
    #[error("this is no session description")]
    NotSdp,
}

/// What a description says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// The value of `s=`; empty when absent or `-`.
    pub name: String,
    /// The session's `a=control`; None when absent.
    pub control: Option<String>,
    /// Where a multicast session is sent, or the value of `c=` in any case; None when absent or not an address.
    pub address: Option<IpAddr>,
    /// How long it plays; None when live or unknown.
    pub duration: Option<Duration>,
    /// Whether its range begins at the present.
    pub live: bool,
    /// In the order of the `m=` lines.
    pub media: Vec<Media>,
}

/// One `m=` section.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// Its `a=control`; None when absent.
    pub control: Option<String>,
    /// What it carries.
    pub kind: Kind,
    /// The port, or zero for the receiver's choice.
    pub port: u16,
    /// The section's own `c=`; None when absent or not an address.
    pub address: Option<IpAddr>,
    /// Which way it flows, seen by the one who reads the description.
    pub direction: Direction,
    /// One a payload type, the preferred one first; empty when none can be read.
    pub formats: Vec<Track>,
}

/// Which way a media flows (RFC 8866 section 6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// `a=sendrecv`.
    SendAndReceive,
    /// `a=recvonly`, and what a description of a server means when it says nothing.
    #[default]
    Receive,
    /// `a=sendonly`: towards the one who offers the description, as ONVIF's backchannel is.
    Send,
    /// `a=inactive`.
    Inactive,
}

impl Session {
    /// The URL that controls a media: its `a=control`, relative to `base` (RFC 2326 section C.1.1); `base` itself when
    /// it has none. `base` is what Content-Base, Content-Location or the request named.
    pub fn control_url(&self, base: &str, media: &Media) -> String {
        join(base, media.control.as_deref())
    }

    /// The URL that controls all media together.
    pub fn aggregate_url(&self, base: &str) -> String {
        join(base, self.control.as_deref())
    }
}

impl Media {
    /// The format that is preferred; None when none can be read.
    pub fn track(&self) -> Option<&Track> {
        self.formats.first()
    }
}

/// Reads a description.
pub fn parse(text: &str) -> Result<Session, SdpError> {
    if text.len() > SDP_BYTES_MAX {
        return Err(SdpError::TooLarge);
    }
    let mut reader = Reader::default();
    for line in logical_lines(text) {
        reader.line(&line)?;
    }
    reader.finish()
}

/// Joins a control attribute to its base. Players append it to the base as it stands, also behind a query, and
/// servers rely on that.
fn join(base: &str, control: Option<&str>) -> String {
    match control {
        None | Some("" | "*") => base.to_owned(),
        Some(url) if url.contains("://") => url.to_owned(),
        // MediaMTX tells its tracks apart by a query.
        Some(query) if query.starts_with('?') => format!("{base}{query}"),
        Some(path) => format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/')),
    }
}

/// Lines as they were meant: a line that does not begin with a letter and `=` goes on with the one before, and an
/// attribute or media on the line of another stands for itself.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.split(['\r', '\n']).map(str::trim).filter(|line| has_content(line)) {
        let begins = line.as_bytes()[0].is_ascii_lowercase() && line.as_bytes().get(1) == Some(&b'=');
        match lines.last_mut() {
            Some(last) if !begins => {
                // Behind a lone payload type a value begins; elsewhere one goes on.
                if last.split(' ').next_back().is_some_and(|word| word.starts_with("a=fmtp:")) {
                    last.push(' ');
                }
                last.push_str(line);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.iter().flat_map(|line| unglued(line)).collect()
}

fn has_content(line: &str) -> bool {
    line.contains(|letter: char| letter.is_alphanumeric())
}

/// The parts of a line of attributes or media; free text, as of a name, stays whole.
fn unglued(line: &str) -> Vec<String> {
    if !line.starts_with("m=") && !line.starts_with("a=") {
        return vec![line.to_owned()];
    }
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, _) in line.match_indices([' ', '\t']) {
        let rest = &line[at + 1..];
        let is_parameter = line[..at].trim_end().ends_with(';');
        if (rest.starts_with("a=") || rest.starts_with("m=")) && !is_parameter {
            parts.push(line[start..at].trim().to_owned());
            start = at + 1;
        }
    }
    parts.push(line[start..].trim().to_owned());
    parts
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    has_version: bool,
    session: Session,
    direction: Direction,
    /// Every `a=fmtp`: some stand in another section than their payload type.
    fmtp: Vec<(u8, String)>,
    sections: Vec<Section>,
}

/// One `m=` section before its formats are put together.
struct Section {
    media: Media,
    payload_types: Vec<u8>,
    rtpmap: Vec<(u8, String)>,
    fmtp: Vec<(u8, String)>,
    size: Option<(u32, u32)>,
    framerate: Option<f64>,
    bitrate: Option<u64>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), SdpError> {
        let Some((letter, value)) = line.split_once('=') else { return Ok(()) };
        let value = value.trim();
        match letter {
            "v" => self.has_version = true,
            "s" if self.sections.is_empty() && value != "-" => self.session.name = value.to_owned(),
            "c" => *self.address() = read_address(value),
            "b" => self.bandwidth(value),
            "a" => self.attribute(value),
            "m" if self.sections.len() == MEDIA_MAX => return Err(SdpError::TooManyMedia),
            "m" => self.sections.push(Section::new(value, self.direction)),
            _ => {}
        }
        Ok(())
    }

    fn address(&mut self) -> &mut Option<IpAddr> {
        match self.sections.last_mut() {
            Some(section) => &mut section.media.address,
            None => &mut self.session.address,
        }
    }

    fn bandwidth(&mut self, value: &str) {
        let kbits = value.strip_prefix("AS:").and_then(|kbits| kbits.trim().parse::<u64>().ok());
        if let (Some(section), Some(kbits)) = (self.sections.last_mut(), kbits) {
            section.bitrate = kbits.checked_mul(1_000).filter(|&bits| bits > 0);
        }
    }

    fn attribute(&mut self, attribute: &str) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let value = value.trim();
        if let Some(direction) = Direction::from_name(name.trim()) {
            match self.sections.last_mut() {
                Some(section) => section.media.direction = direction,
                None => self.direction = direction,
            }
            return;
        }
        match name.trim() {
            "range" => self.range(value),
            "fmtp" => self.fmtp.extend(numbered(value)),
            "control" if self.sections.is_empty() => self.session.control = Some(value.to_owned()),
            _ => {}
        }
        if let Some(section) = self.sections.last_mut() {
            section.attribute(name.trim(), value);
        }
    }

    /// `npt=0-34.4`, `npt=now-`, `npt=00:00:00-00:00:34.4`; the session's wins, else the longest of the media.
    fn range(&mut self, value: &str) {
        let Some((start, end)) = value.strip_prefix("npt=").and_then(|range| range.split_once('-')) else {
            return;
        };
        if start.trim() == "now" {
            self.session.live = true;
            return;
        }
        let (Some(start), Some(end)) = (read_npt(start), read_npt(end)) else { return };
        let duration = Duration::try_from_secs_f64(end - start).ok();
        self.session.duration = self.session.duration.max(duration);
    }

    fn finish(self) -> Result<Session, SdpError> {
        if !self.has_version && self.sections.is_empty() {
            return Err(SdpError::NotSdp);
        }
        let fmtp = &self.fmtp;
        let media = self.sections.into_iter().map(|section| section.finish(fmtp)).collect();
        Ok(Session { media, ..self.session })
    }
}

impl Section {
    /// Reads `video 0 RTP/AVP 96 97`.
    fn new(value: &str, direction: Direction) -> Section {
        let mut words = value.split_ascii_whitespace();
        let kind = match words.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "video" => Kind::Video,
            "audio" => Kind::Audio,
            _ => Kind::Application,
        };
        let port = words.next().and_then(|port| port.split('/').next()?.parse().ok()).unwrap_or(0);
        let payload_types = words.skip(1).filter_map(read_payload_type).take(FORMATS_MAX).collect();
        let media = Media { control: None, kind, port, address: None, direction, formats: Vec::new() };
        let (rtpmap, fmtp) = (Vec::new(), Vec::new());
        Section { media, payload_types, rtpmap, fmtp, size: None, framerate: None, bitrate: None }
    }

    fn attribute(&mut self, name: &str, value: &str) {
        match name {
            "control" => self.media.control = Some(value.to_owned()),
            "rtpmap" => self.rtpmap.extend(numbered(value)),
            "fmtp" => self.fmtp.extend(numbered(value)),
            "framerate" | "x-framerate" => {
                self.framerate = value.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
            }
            "x-dimensions" => self.size = read_pair(value, ','),
            "framesize" => self.size = numbered(value).and_then(|(_, pair)| read_pair(&pair, '-')),
            _ => {}
        }
    }

    fn finish(mut self, elsewhere: &[(u8, String)]) -> Media {
        if self.payload_types.is_empty() {
            self.payload_types = self.rtpmap.iter().map(|(number, _)| *number).take(FORMATS_MAX).collect();
        }
        let formats = self.payload_types.iter().map(|&payload_type| self.format(payload_type, elsewhere));
        Media { formats: formats.collect(), ..self.media.clone() }
    }

    fn format(&self, payload_type: u8, elsewhere: &[(u8, String)]) -> Track {
        let find = |values: &[(u8, String)]| {
            values.iter().find(|(number, _)| *number == payload_type).map(|(_, value)| value.clone())
        };
        let rtpmap = find(&self.rtpmap).or_else(|| format::static_rtpmap(payload_type).map(str::to_owned));
        let fmtp = find(&self.fmtp).or_else(|| find(elsewhere));
        let (codec, clock_rate) = format::read(self.media.kind, &rtpmap.unwrap_or_default(), fmtp.as_deref());
        // A picture size or rate says nothing of sound.
        let is_video = self.media.kind == Kind::Video;
        Track {
            codec,
            payload_type,
            clock_rate,
            size: self.size.filter(|_| is_video),
            framerate: self.framerate.filter(|_| is_video),
            bitrate: self.bitrate,
        }
    }
}

impl Direction {
    fn from_name(name: &str) -> Option<Direction> {
        match name {
            "sendrecv" => Some(Direction::SendAndReceive),
            "recvonly" => Some(Direction::Receive),
            "sendonly" => Some(Direction::Send),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        }
    }
}

/// Reads `96 value`.
fn numbered(value: &str) -> Option<(u8, String)> {
    let (number, value) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    Some((read_payload_type(number)?, value.trim().to_owned()))
}

fn read_payload_type(word: &str) -> Option<u8> {
    word.trim().parse().ok().filter(|&number| number < 128)
}

fn read_pair(value: &str, separator: char) -> Option<(u32, u32)> {
    let (width, height) = value.split_once(separator)?;
    Some((width.trim().parse().ok()?, height.trim().parse().ok()?))
}

/// Reads `IN IP4 224.0.0.1/16`; None when it is a name.
fn read_address(value: &str) -> Option<IpAddr> {
    let address = value.split_ascii_whitespace().nth(2)?;
    address.split('/').next()?.parse().ok()
}

/// Seconds, or hours, minutes and seconds (RFC 2326 section 3.6).
fn read_npt(value: &str) -> Option<f64> {
    let seconds =
        value.trim().split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?));
    seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
}
