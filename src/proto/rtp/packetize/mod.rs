//! How do the frames of one track become RTP packets?
//!
//! One file a payload format. A frame becomes one [`Batch`]: one buffer, every payload byte copied once.

mod aac;
pub(super) mod av1;
pub(super) mod h264;
pub(super) mod h265;
pub mod jpeg;
mod metadata;
mod mpeg4_visual;
mod mpeg_audio;
mod opus;
pub(super) mod raw_audio;
pub(super) mod units;
mod vp8;
mod vp9;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::batch::{Batch, BatchWriter, Meta, Numbering};
use super::header::HEADER_BYTES;
use crate::frame::Frame;
use crate::time::MediaTime;
use crate::track::{Codec, Framing, Track};

/// The largest RTP packet unless the configuration says otherwise, header included: leaves room for IPv6 and UDP
/// headers and a tunnel's within an Ethernet frame of 1500 bytes.
pub const MTU_BYTES_DEFAULT: usize = 1_400;

/// The smallest budget a packetizer works with; the tables of a JPEG picture must stand in one packet.
pub const MTU_BYTES_MIN: usize = 256;

/// The largest budget: the payload of a UDP datagram.
pub const MTU_BYTES_MAX: usize = 65_507;

/// Why a frame cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PacketizeError {
    /// The source's bytes are not what its codec says.
    #[error("the frame is malformed: {0}")]
    Malformed(&'static str),
    /// RTP's payload format has no way to say this.
    #[error("RTP cannot carry this: {0}")]
    Unsupported(&'static str),
}

impl PacketizeError {
    const UNIT_SIZE: PacketizeError = PacketizeError::Malformed("a NAL unit is longer than its frame");
}

/// Turns frames of one track into batches. One per track and source.
pub struct Packetizer {
    format: Format,
    track_index: u8,
    clock_rate: u32,
    numbering: Numbering,
    room: Room,
}

/// How much one packet takes.
#[derive(Clone, Copy)]
struct Room {
    /// Bytes behind the RTP header.
    payload_max: usize,
}

/// One payload format with what it keeps between frames.
enum Format {
    H264(h264::H264),
    H265(h265::H265),
    Mpeg4Visual { config: Bytes },
    Jpeg,
    Vp8,
    Vp9,
    Av1 { sequence_header: Bytes },
    Aac,
    Opus,
    MpegAudio,
    Metadata,
    Raw(raw_audio::RawAudio),
    Unsupported(&'static str),
}

impl Packetizer {
    /// A packetizer for `track`. `numbering.timestamp` is the RTP timestamp of content time zero; `mtu_bytes` is the
    /// largest RTP packet, header included, and is kept within [`MTU_BYTES_MIN`] and [`MTU_BYTES_MAX`].
    pub fn new(track: &Track, track_index: u8, numbering: Numbering, mtu_bytes: usize) -> Packetizer {
        let payload_max = mtu_bytes.clamp(MTU_BYTES_MIN, MTU_BYTES_MAX) - HEADER_BYTES;
        let room = Room { payload_max };
        let format = match carries(&track.codec) {
            Ok(()) => Format::new(&track.codec),
            Err(reason) => Format::Unsupported(reason),
        };
        Packetizer { format, track_index, clock_rate: track.clock_rate, numbering, room }
    }

    /// Makes the packets of one frame. None when nothing of the frame is sent, such as a lone access unit delimiter.
    ///
    /// The frame's times are ticks of the RTP clock. After an error the frame is left out and the numbering is as before.
    pub fn packetize(&mut self, frame: &Frame) -> Result<Option<Batch>, PacketizeError> {
        self.packetize_on(&mut BytesMut::new(), frame)
    }

    /// Like [`Packetizer::packetize`], with bytes at the front of `stock` while enough are left of it: frames that are
    /// dropped together are one allocation then.
    pub fn packetize_on(
        &mut self,
        stock: &mut BytesMut,
        frame: &Frame,
    ) -> Result<Option<Batch>, PacketizeError> {
        if frame.payload.is_empty() {
            return Ok(None);
        }
        let timestamp = self.numbering.timestamp.wrapping_add(frame.pts as u32);
        let numbering = Numbering { timestamp, ..self.numbering };
        let mut writer = BatchWriter::new_on(stock, numbering, self.size_hint(frame));
        if let Err(error) = self.format.write(frame, self.room, &mut writer) {
            writer.abandon_on(stock);
            return Err(error);
        }
        self.numbering.sequence = writer.numbering().sequence;
        let meta = Meta {
            track: self.track_index,
            keyframe: frame.keyframe,
            dts: MediaTime::from_ticks(frame.dts, self.clock_rate),
            pts: MediaTime::from_ticks(frame.pts, self.clock_rate),
        };
        Ok(writer.finish_on(stock, meta))
    }

    /// Continues with another sequence number.
    pub fn set_sequence(&mut self, sequence: u16) {
        self.numbering.sequence = sequence;
    }

    /// Sets the RTP timestamp of content time zero.
    pub fn set_timestamp(&mut self, timestamp: u32) {
        self.numbering.timestamp = timestamp;
    }

    /// The next packet's sequence number and the RTP timestamp of content time zero.
    pub fn numbering(&self) -> Numbering {
        self.numbering
    }

    /// Bytes that the batch will not exceed in ordinary cases, so that its buffer never grows.
    pub fn size_hint(&self, frame: &Frame) -> usize {
        let packets = frame.payload.len() / self.format.fragment_bytes(self.room) + 4;
        let extra_bytes = if frame.keyframe { self.format.extra_bytes() } else { 0 };
        frame.payload.len() + packets * (HEADER_BYTES + OVERHEAD_BYTES) + extra_bytes
    }
}

/// Bytes that a payload format adds to most packets: a JPEG header of 8 bytes and one of 4 for restart markers.
const OVERHEAD_BYTES: usize = 12;

/// The most channels of raw sound; a sample of all of them must stand in the smallest packet.
const CHANNELS_MAX: u8 = 64;

const NO_PACKETIZER: &str = "there is no packetizer for this format";

/// Whether RTP can carry this codec in this form at all; the reason if not.
pub fn carries(codec: &Codec) -> Result<(), &'static str> {
    match codec {
        Codec::G711 { channels, .. } | Codec::G722 { channels } | Codec::L16 { channels, .. }
            if !(1..=CHANNELS_MAX).contains(channels) =>
        {
            Err("raw sound has 1 to 64 channels")
        }
        Codec::G726 { bits, .. } if !(2..=5).contains(bits) => Err("G.726 has 2 to 5 bits a sample"),
        Codec::H264 { framing: Framing::Length(0 | 5..), .. }
        | Codec::H265 { framing: Framing::Length(0 | 5..), .. } => {
            Err("lengths of NAL units have 1 to 4 bytes")
        }
        Codec::Other { .. } => Err(NO_PACKETIZER),
        _ => Ok(()),
    }
}

impl Format {
    fn new(codec: &Codec) -> Format {
        if let Some(raw) = raw_audio::RawAudio::new(codec) {
            return Format::Raw(raw);
        }
        match codec {
            Codec::H264 { sps, pps, framing } => Format::H264(h264::H264::new(sps, pps, *framing)),
            Codec::H265 { vps, sps, pps, framing } => Format::H265(h265::H265::new(vps, sps, pps, *framing)),
            Codec::Mpeg4Visual { config } => Format::Mpeg4Visual { config: config.clone() },
            Codec::Jpeg => Format::Jpeg,
            Codec::Vp8 => Format::Vp8,
            Codec::Vp9 { .. } => Format::Vp9,
            Codec::Av1 { sequence_header } => Format::Av1 { sequence_header: sequence_header.clone() },
            Codec::Aac { .. } => Format::Aac,
            Codec::Opus { .. } => Format::Opus,
            Codec::MpegAudio => Format::MpegAudio,
            Codec::Metadata => Format::Metadata,
            _ => Format::Unsupported(NO_PACKETIZER),
        }
    }

    fn write(&mut self, frame: &Frame, room: Room, writer: &mut BatchWriter) -> Result<(), PacketizeError> {
        match self {
            Format::H264(h264) => return h264.write(frame, room, writer),
            Format::H265(h265) => return h265.write(frame, room, writer),
            Format::Jpeg => return jpeg::write(&frame.payload, room, writer),
            Format::Av1 { sequence_header } => return av1::write(frame, sequence_header, room, writer),
            Format::Aac => return aac::write(&frame.payload, room, writer),
            Format::Opus => return opus::write(&frame.payload, writer),
            Format::MpegAudio => return mpeg_audio::write(&frame.payload, room, writer),
            Format::Raw(raw) => return raw.write(&frame.payload, room, writer),
            Format::Unsupported(reason) => return Err(PacketizeError::Unsupported(reason)),
            Format::Mpeg4Visual { config } => mpeg4_visual::write(frame, config, room, writer),
            Format::Metadata => metadata::write(&frame.payload, room, writer),
            Format::Vp8 => vp8::write(&frame.payload, room, writer),
            Format::Vp9 => vp9::write(frame, room, writer),
        }
        Ok(())
    }

    /// Bytes that may stand in front of a keyframe beside its own.
    fn extra_bytes(&self) -> usize {
        match self {
            Format::H264(h264) => h264.set_bytes(),
            Format::H265(h265) => h265.set_bytes(),
            Format::Mpeg4Visual { config } => config.len(),
            Format::Av1 { sequence_header } => sequence_header.len(),
            _ => 0,
        }
    }

    /// Bytes of one packet's payload that come from the frame.
    fn fragment_bytes(&self, room: Room) -> usize {
        match self {
            Format::Raw(raw) => raw.packet_bytes(room),
            _ => room.payload_max - OVERHEAD_BYTES,
        }
    }
}

/// The sets that are units at all and fit the size of an aggregated one: they may come from another server's words.
fn usable_sets(sets: &[Bytes], header_bytes: usize) -> Vec<Bytes> {
    let usable = sets.iter().filter(|set| (header_bytes..=usize::from(u16::MAX)).contains(&set.len()));
    usable.cloned().collect()
}

/// Puts the units of one kind in place of the sets in force, where they differ. A set must not keep its frame in
/// memory, so it is copied; sets change next to never.
fn replace_sets(sets: &mut Vec<Bytes>, units: &[&[u8]], is_kind: impl Fn(&[u8]) -> bool) {
    let found = || units.iter().copied().filter(|unit| is_kind(unit));
    if !found().eq(sets.iter().map(|set| &set[..])) {
        *sets = found().map(Bytes::copy_from_slice).collect();
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::rtp::header::Header;
    use crate::track::{BitOrder, Law};

    pub(super) fn packetizer(codec: Codec, mtu_bytes: usize) -> Packetizer {
        let numbering = Numbering { ssrc: 1, payload_type: 96, sequence: 65_530, timestamp: 1_000 };
        Packetizer::new(&Track::new(codec, 0), 0, numbering, mtu_bytes)
    }

    pub(super) fn video(payload: &[u8], keyframe: bool) -> Frame {
        let payload = Bytes::copy_from_slice(payload);
        Frame { track: 0, pts: 3_000, dts: 0, duration: 3_000, keyframe, payload }
    }

    pub(super) fn payloads(batch: &Batch) -> Vec<Vec<u8>> {
        let parse = |packet| {
            let packet = batch.packet(packet);
            packet[Header::parse(packet).unwrap().1].to_vec()
        };
        batch.packets().iter().map(parse).collect()
    }

    #[test]
    fn timestamps_count_from_the_base_and_sequence_numbers_run_on() {
        let codec = Codec::Aac { config: Bytes::new(), sample_rate: 48_000, channels: 2 };
        let mut packetizer = packetizer(codec, 1_400);
        for _ in 0..10 {
            let batch = packetizer.packetize(&video(&[1; 100], true)).unwrap().unwrap();
            assert_eq!(batch.timestamp(), 4_000);
            assert_eq!(batch.meta().pts, MediaTime::from_ticks(3_000, 48_000));
        }
        assert_eq!(packetizer.numbering().sequence, 4);
        assert_eq!(packetizer.numbering().timestamp, 1_000);
    }

    #[test]
    fn a_format_without_packetizer_is_unsupported() {
        let codec = Codec::Other { kind: crate::track::Kind::Application, rtpmap: "x/1".into(), fmtp: None };
        assert!(matches!(
            packetizer(codec, 1_400).packetize(&video(&[1], true)),
            Err(PacketizeError::Unsupported(_))
        ));
    }

    fn codecs(bytes: Bytes, length_bytes: u8) -> Vec<Codec> {
        let (set, config) = (vec![bytes.clone()], bytes.clone());
        let framing = if length_bytes == 0 { Framing::AnnexB } else { Framing::Length(length_bytes) };
        vec![
            Codec::H264 { sps: set.clone(), pps: set.clone(), framing },
            Codec::H265 { vps: set.clone(), sps: set.clone(), pps: set, framing },
            Codec::Mpeg4Visual { config: config.clone() },
            Codec::Jpeg,
            Codec::Vp8,
            Codec::Vp9 { profile: length_bytes },
            Codec::Av1 { sequence_header: bytes },
            Codec::Aac { config, sample_rate: 0, channels: length_bytes },
            Codec::Opus { channels: length_bytes },
            Codec::MpegAudio,
            Codec::Metadata,
            Codec::G711 { law: Law::A, sample_rate: 0, channels: length_bytes },
            Codec::G726 { bits: length_bytes, order: BitOrder::LeastFirst },
            Codec::L16 { sample_rate: u32::MAX, channels: length_bytes },
        ]
    }

    proptest! {
        /// Frames and parameters come from files and servers that may lie.
        #[test]
        fn any_frame_and_any_parameters_are_taken_without_panic(
            bytes in vec(prop_oneof![Just(0u8), Just(1u8), any::<u8>()], 0..2_000),
            parameters in vec(any::<u8>(), 0..600),
            length_bytes in 0u8..7, keyframe: bool, mtu_bytes in 0usize..2_000,
        ) {
            for codec in codecs(Bytes::from(parameters), length_bytes) {
                let mut frame = video(&bytes, keyframe);
                frame.pts = i64::MIN;
                let is_whole = matches!(codec, Codec::Opus { .. });
                if let Ok(Some(batch)) = packetizer(codec, mtu_bytes).packetize(&frame) {
                    let packet_max = mtu_bytes.max(MTU_BYTES_MIN);
                    prop_assert!(is_whole || batch.packets().iter().all(|packet| usize::from(packet.size) <= packet_max));
                }
            }
        }
    }
}
