//! How do RTP packets become the frames of one track again?
//!
//! One file a payload format. Packets are taken in the order of their sequence numbers; one that comes late counts as
//! lost. Memory is bounded by [`FRAME_BYTES_MAX`] and [`FRAMES_READY_MAX`].

pub(super) mod aac;
mod assembly;
pub(super) mod av1;
mod h264;
mod h265;
mod jpeg;
mod metadata;
mod mpeg4_visual;
pub(super) mod mpeg_audio;
mod plain;
pub(super) mod units;
pub(super) mod vp8;
pub(super) mod vp9;

use bytes::Bytes;
use thiserror::Error;

use self::assembly::Assembly;
use super::header::Header;
use crate::track::{Codec, Track};

/// The largest frame; a larger one is dropped and counts as lost.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// The most frames that wait for [`Depacketizer::poll_frame`]; the oldest is dropped for the next and counts as lost.
pub const FRAMES_READY_MAX: usize = 128;

/// A jump of sequence numbers that is a new beginning and not a late packet (MAX_MISORDER of RFC 3550 appendix A.1).
const MISORDER_MAX: u16 = 100;

/// One access unit as the packets brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepacketizedFrame {
    /// RTP timestamp.
    pub timestamp: u32,
    /// NAL units behind start codes of 4 bytes; a temporal unit of AV1 without its delimiter, each unit with its size;
    /// a whole JPEG file; else the codec's frame as it is.
    pub payload: Bytes,
    /// Whether decoding can begin here; always so for sound.
    pub keyframe: bool,
    /// Whether packets were lost since the frame before: this one is damaged, or others are missing in front of it.
    pub lost: bool,
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DepacketizeError {
    /// The bytes are no RTP packet.
    #[error("this is no RTP packet")]
    NotRtp,
    /// The packet is of another format.
    #[error("payload type {0} is not the track's")]
    PayloadType(u8),
    /// The packet comes twice, or after one that should follow it.
    #[error("packet {0} comes too late")]
    Late(u16),
    /// The payload breaks its format.
    #[error("the payload is malformed: {0}")]
    Malformed(&'static str),
    /// The payload uses a part of its format that is not read here.
    #[error("not read here: {0}")]
    Unsupported(&'static str),
    /// The frame is larger than [`FRAME_BYTES_MAX`].
    #[error("the frame is larger than {FRAME_BYTES_MAX} bytes")]
    FrameTooLarge,
}

/// Turns the packets of one track into frames.
pub struct Depacketizer {
    format: Box<dyn PayloadFormat + Send>,
    framing: FrameEnd,
    payload_type: u8,
    sequence: Option<u16>,
    out: Assembly,
}

/// One payload format with what it keeps between packets.
trait PayloadFormat {
    /// Takes one payload that is not empty.
    fn handle(&mut self, header: &Header, payload: &[u8], out: &mut Assembly)
    -> Result<(), DepacketizeError>;

    /// Takes the extension of a packet's header: its first 16 bits, and what it holds. Its payload follows.
    fn handle_extension(&mut self, _profile: u16, _extension: &[u8]) {}

    /// Drops what waits for a packet that does not come: one is missing, or the frame is at its end.
    fn abandon(&mut self, _out: &mut Assembly) {}
}

/// What ends a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FrameEnd {
    /// The marker, or another timestamp.
    Marker,
    /// What the payload says.
    Payload,
}

impl Depacketizer {
    /// A depacketizer for the packets of `track`. A format that is not known gives each payload as a frame.
    pub fn new(track: &Track) -> Depacketizer {
        let (format, framing): (Box<dyn PayloadFormat + Send>, _) = match &track.codec {
            Codec::H264 { .. } => (Box::new(h264::H264::default()), FrameEnd::Marker),
            Codec::H265 { .. } => (Box::new(h265::H265::default()), FrameEnd::Marker),
            Codec::Mpeg4Visual { .. } => (Box::new(mpeg4_visual::Mpeg4Visual), FrameEnd::Marker),
            Codec::Jpeg => (Box::new(jpeg::Jpeg::new(track.size)), FrameEnd::Marker),
            Codec::Vp8 => (Box::new(vp8::Vp8::default()), FrameEnd::Marker),
            Codec::Vp9 { .. } => (Box::new(vp9::Vp9::default()), FrameEnd::Marker),
            Codec::Av1 { .. } => (Box::new(av1::Av1::default()), FrameEnd::Marker),
            Codec::Aac { config, .. } => (Box::new(aac::Aac::new(config)), FrameEnd::Payload),
            Codec::MpegAudio => (Box::new(mpeg_audio::MpegAudio::default()), FrameEnd::Payload),
            Codec::Metadata => (Box::new(metadata::Metadata), FrameEnd::Marker),
            _ => (Box::new(plain::Plain), FrameEnd::Payload),
        };
        let out = Assembly::default();
        Depacketizer { format, framing, payload_type: track.payload_type, sequence: None, out }
    }

    /// From now on packets have this payload type, whatever the track says.
    pub fn expect(&mut self, payload_type: u8) {
        self.payload_type = payload_type;
    }

    /// Takes one RTP packet. After an error the packet is left out; the packets that follow can be given as before.
    pub fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DepacketizeError> {
        let (header, payload) = Header::parse(packet).ok_or(DepacketizeError::NotRtp)?;
        if header.payload_type != self.payload_type {
            return Err(DepacketizeError::PayloadType(header.payload_type));
        }
        let lost = self.advance(header.sequence)?;
        if lost {
            self.format.abandon(&mut self.out);
        }
        if self.framing == FrameEnd::Marker && self.out.is_of_other_time(header.timestamp) {
            self.finish_frame(lost);
        }
        self.out.start(header.timestamp, lost);
        if let Some((profile, extension)) = Header::extension(packet) {
            self.format.handle_extension(profile, extension);
        }
        let payload = &packet[payload];
        let result = match payload.is_empty() {
            true => Ok(()),
            false => self.format.handle(&header, payload, &mut self.out),
        };
        if result.is_err() {
            self.format.abandon(&mut self.out);
            self.out.mark_lost();
        }
        if self.framing == FrameEnd::Marker && header.marker {
            self.finish_frame(false);
        }
        result
    }

    /// The next complete frame, in the order of the packets; None until further packets complete one.
    pub fn poll_frame(&mut self) -> Option<DepacketizedFrame> {
        self.out.poll()
    }

    /// Ends the frame under way, when no further packets come: the last one may lack its marker.
    pub fn flush(&mut self) {
        self.finish_frame(false);
    }

    fn finish_frame(&mut self, lost: bool) {
        self.format.abandon(&mut self.out);
        if lost {
            self.out.mark_lost();
        }
        self.out.finish();
    }

    /// Whether packets are missing in front of this one. The error is that it comes late.
    fn advance(&mut self, sequence: u16) -> Result<bool, DepacketizeError> {
        let ahead = self.sequence.map_or(0, |expected| sequence.wrapping_sub(expected));
        if ahead.wrapping_neg() <= MISORDER_MAX && ahead != 0 {
            return Err(DepacketizeError::Late(sequence));
        }
        self.sequence = Some(sequence.wrapping_add(1));
        Ok(ahead != 0)
    }
}

/// Whether this RTP payload shows that decoding can begin with its frame, for a stream that is passed on as it comes.
/// Always so for sound and for formats that are not known.
pub fn is_keyframe_start(codec: &Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::H264 { .. } => h264::is_keyframe_start(payload),
        Codec::H265 { .. } => h265::is_keyframe_start(payload),
        Codec::Mpeg4Visual { .. } => mpeg4_visual::is_keyframe_start(payload),
        Codec::Jpeg => jpeg::is_frame_start(payload),
        Codec::Vp8 => vp8::is_keyframe_start(payload),
        Codec::Vp9 { .. } => vp9::is_keyframe_start(payload),
        Codec::Av1 { .. } => av1::is_keyframe_start(payload),
        _ => true,
    }
}

#[cfg(test)]
pub(super) mod tests;
