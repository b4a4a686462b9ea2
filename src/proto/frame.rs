//! One access unit on its way from a source to the packetizer.

use bytes::Bytes;

/// One access unit of one track: a coded picture, or one or more coded audio frames.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Index of the track in its presentation.
    pub track: u8,
    /// When it is shown, in ticks of the track's RTP clock.
    pub pts: i64,
    /// When it is decoded, in ticks of the track's RTP clock; frames of one track come in this order.
    pub dts: i64,
    /// How long it is shown, in ticks of the track's RTP clock; zero when unknown.
    pub duration: u32,
    /// Whether decoding can begin here.
    pub keyframe: bool,
    /// The coded bytes as the codec's [`Framing`](crate::track::Framing) has them.
    pub payload: Bytes,
}
