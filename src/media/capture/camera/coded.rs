//! Pictures that a camera has coded, as frames of a track.

use bytes::{Bytes, BytesMut};
use proto::rtp::parameter_sets::{Contents, learn_from};
use proto::track::{Codec, Framing, Track};

use crate::media::format::VideoCodec;

/// The pictures of one coded mode.
pub struct Coded {
    track: Track,
    /// Whether the track is described, and a keyframe has come.
    has_begun: bool,
    /// Units that came without a picture, for the one that follows.
    waiting: BytesMut,
}

/// A picture that is handed on.
pub struct Picture {
    /// Whether decoding can begin with it.
    pub keyframe: bool,
    /// The bytes.
    pub payload: Bytes,
}

/// Bytes of units that wait for their picture; beyond them they are no parameter sets.
const WAITING_MAX: usize = 64 * 1024;

impl Coded {
    /// Pictures of a codec and a size, at a rate in thousandths where it is known. None for a codec that cameras do not have.
    pub fn new(codec: VideoCodec, size: (u32, u32), thousandths: Option<u32>) -> Option<Coded> {
        let codec = match codec {
            VideoCodec::Jpeg => Codec::Jpeg,
            VideoCodec::H264 => Codec::H264 { sps: Vec::new(), pps: Vec::new(), framing: Framing::AnnexB },
            VideoCodec::H265 | VideoCodec::Mpeg4 => return None,
        };
        let mut track = Track::new(codec, 0);
        track.size = Some(size);
        track.framerate = thousandths.map(|thousandths| f64::from(thousandths) / 1_000.0);
        Some(Coded { track, has_begun: false, waiting: BytesMut::new() })
    }

    /// The track, as it is described with the first picture.
    pub fn track(&self) -> &Track {
        &self.track
    }

    /// Takes what the camera gave; None while nothing can be made of it.
    pub fn take(&mut self, bytes: &[u8]) -> Option<Picture> {
        if self.track.codec == Codec::Jpeg {
            let is_whole = bytes.starts_with(&JPEG_BEGIN);
            return is_whole.then(|| Picture { keyframe: true, payload: Bytes::copy_from_slice(bytes) });
        }
        let contents = Contents::of_h264(bytes);
        let is_plain = self.waiting.is_empty();
        if self.waiting.len() + bytes.len() > WAITING_MAX && !contents.picture {
            self.waiting.clear();
            return None;
        }
        self.waiting.extend_from_slice(bytes);
        if !contents.picture {
            return None;
        }
        let payload = self.waiting.split().freeze();
        let keyframe = contents.keyframe || !is_plain && Contents::of_h264(&payload).keyframe;
        let is_described = learn_from(&mut self.track.codec, &payload);
        self.has_begun |= is_described && keyframe;
        self.has_begun.then_some(Picture { keyframe, payload })
    }
}

/// What every JPEG file begins with (ITU-T T.81 table B.1: SOI, and the first byte of a marker).
const JPEG_BEGIN: [u8; 3] = [0xff, 0xd8, 0xff];

#[cfg(test)]
mod tests {
    use super::*;

    fn units(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect()
    }

    const SPS: &[u8] = &[0x67, 66, 1];
    const PPS: &[u8] = &[0x68, 7];
    const KEY: &[u8] = &[0x65, 1];
    const OTHER: &[u8] = &[0x41, 1];

    fn h264() -> Coded {
        Coded::new(VideoCodec::H264, (640, 480), Some(29_970)).unwrap()
    }

    #[test]
    fn a_stream_begins_with_the_first_keyframe_that_tells_how_to_decode_it() {
        let mut coded = h264();
        assert!(coded.take(&units(&[OTHER])).is_none());
        assert!(coded.take(&units(&[KEY])).is_none());
        let whole = units(&[SPS, PPS, KEY]);
        let picture = coded.take(&whole).unwrap();
        assert!(picture.keyframe);
        assert_eq!(&picture.payload[..], &whole[..]);
        let Codec::H264 { sps, pps, .. } = &coded.track().codec else { unreachable!() };
        assert_eq!((&sps[0][..], &pps[0][..]), (SPS, PPS));
        assert_eq!((coded.track().size, coded.track().framerate), (Some((640, 480)), Some(29.97)));
        let next = coded.take(&units(&[OTHER])).unwrap();
        assert_eq!((next.keyframe, &next.payload[..]), (false, &units(&[OTHER])[..]));
        assert!(coded.take(&units(&[KEY])).unwrap().keyframe);
    }

    #[test]
    fn parameter_sets_that_come_alone_go_with_the_picture_behind_them() {
        let mut coded = h264();
        assert!(coded.take(&units(&[SPS])).is_none());
        assert!(coded.take(&units(&[PPS])).is_none());
        let picture = coded.take(&units(&[KEY])).unwrap();
        assert_eq!(&picture.payload[..], &units(&[SPS, PPS, KEY])[..]);
        assert!(coded.take(&units(&[OTHER])).is_some());
        assert!(coded.take(&vec![6; WAITING_MAX]).is_none());
        assert!(coded.take(&[6]).is_none());
        assert!(coded.take(&units(&[OTHER])).is_some());
    }

    #[test]
    fn what_is_no_jpeg_file_is_left_out() {
        let mut coded = Coded::new(VideoCodec::Jpeg, (640, 480), None).unwrap();
        assert!(coded.take(&[]).is_none());
        assert!(coded.take(&[0xff, 0xd8]).is_none());
        let picture = coded.take(&[0xff, 0xd8, 0xff, 0xdb]).unwrap();
        assert_eq!((picture.keyframe, picture.payload.len()), (true, 4));
        assert!(Coded::new(VideoCodec::H265, (640, 480), None).is_none());
    }
}
