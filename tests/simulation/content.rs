//! What every unit of a computed presentation is, worked out anew from its numbers: what the server sends is held
//! against this.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use proto::frame::Frame;
use proto::track::Kind;
use ringcaster::media::memory::{Presentation, index_of};

/// Samples of one unit of sound.
const SOUND_SAMPLES: i64 = 1024;

/// A presentation, and how often it is played.
#[derive(Clone, Debug)]
pub struct Content {
    pub presentation: Presentation,
    /// A live source has no last unit.
    pub is_live: bool,
}

/// One access unit; times in ticks of its track's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    pub pts: i64,
    pub dts: i64,
    pub keyframe: bool,
}

impl Content {
    pub fn track_count(&self) -> u8 {
        u8::from(self.presentation.has_pictures) + u8::from(self.presentation.has_sound)
    }

    pub fn kind(&self, track: u8) -> Kind {
        if track == 0 && self.presentation.has_pictures { Kind::Video } else { Kind::Audio }
    }

    pub fn rate(&self, track: u8) -> i64 {
        if self.kind(track) == Kind::Video { 90_000 } else { 48_000 }
    }

    /// How many units a track has.
    pub fn unit_count(&self, track: u8) -> u64 {
        let Presentation { duration, framerate, .. } = &self.presentation;
        let nanos = duration.as_nanos() as u64;
        match self.kind(track) {
            _ if self.is_live => u64::MAX,
            Kind::Video => nanos * u64::from(*framerate) / 1_000_000_000,
            _ => nanos * 48_000 / SOUND_SAMPLES as u64 / 1_000_000_000,
        }
    }

    /// What unit number `index` of a track in decoding order is.
    pub fn unit(&self, track: u8, index: u64) -> Unit {
        if self.kind(track) == Kind::Audio {
            let pts = index as i64 * SOUND_SAMPLES;
            return Unit { pts, dts: pts, keyframe: true };
        }
        let gop = u64::from(self.presentation.gop_frames);
        let ticks = 90_000 / i64::from(self.presentation.framerate);
        let (start, place) = (index - index % gop, index % gop);
        let count = gop.min(self.unit_count(track) - start);
        let dts = index as i64 * ticks;
        let keyframe = place == 0;
        if !self.presentation.has_b_frames {
            return Unit { pts: dts, dts, keyframe };
        }
        // Decoded I P b P b P: each pair in the order P, b is shown b, P.
        let shown = match place {
            0 => 0,
            odd if odd % 2 == 1 => {
                if odd + 1 < count {
                    odd + 1
                } else {
                    odd
                }
            }
            even => even - 1,
        };
        Unit { pts: (start + shown) as i64 * ticks, dts: dts - ticks, keyframe }
    }

    /// Decoding time of a unit, in nanoseconds.
    pub fn dts_nanos(&self, track: u8, index: u64) -> i64 {
        nanos(self.unit(track, index).dts, self.rate(track))
    }

    /// Where the content ends: the end of the unit that is shown last, in nanoseconds.
    pub fn end_nanos(&self) -> i64 {
        let ends = (0..self.track_count()).map(|track| match self.kind(track) {
            Kind::Video => {
                let ticks = 90_000 / i64::from(self.presentation.framerate);
                nanos(self.unit_count(track) as i64 * ticks, 90_000)
            }
            _ => nanos(self.unit_count(track) as i64 * SOUND_SAMPLES, 48_000),
        });
        ends.max().unwrap_or(0)
    }

    /// Number of the keyframe of track 0 that playing from a time begins with.
    pub fn keyframe_at(&self, nanos: i64) -> u64 {
        let last = self.unit_count(0).saturating_sub(1);
        let ticks = (nanos.max(0) * 9 + 50_000) / 100_000;
        let picture = (ticks as u64 / (90_000 / u64::from(self.presentation.framerate))).min(last);
        picture - picture % u64::from(self.presentation.gop_frames)
    }

    /// A frame of a live source.
    pub fn frame(&self, track: u8, index: u64) -> Frame {
        let unit = self.unit(track, index);
        let (size, kind) = match self.kind(track) {
            Kind::Video if unit.keyframe => (self.presentation.keyframe_bytes, 0x65),
            Kind::Video => (self.presentation.frame_bytes, 0x41),
            _ => (200, 0x21),
        };
        let mut payload = BytesMut::with_capacity(size + 4);
        if self.kind(track) == Kind::Video {
            payload.put_u32(size as u32);
        }
        payload.put_u8(kind);
        for shift in [28, 21, 14, 7, 0] {
            payload.put_u8(0x80 | (index >> shift & 0x7f) as u8);
        }
        payload.put_bytes(0x55, size - 6);
        Frame {
            track,
            pts: unit.pts,
            dts: unit.dts,
            duration: 0,
            keyframe: unit.keyframe,
            payload: payload.freeze(),
        }
    }
}

/// Ticks of a clock as nanoseconds.
pub fn nanos(ticks: i64, rate: i64) -> i64 {
    (i128::from(ticks) * 1_000_000_000 / i128::from(rate)) as i64
}

/// The number of the unit that begins in an RTP packet's payload; None in the middle of a unit.
pub fn unit_begun(kind: Kind, payload: &[u8]) -> Option<u64> {
    if kind == Kind::Audio {
        // RFC 3640: bits of headers, one header of size and index, the unit.
        assert_eq!(payload.get(..2), Some(&[0, 16][..]), "one access unit in a packet");
        return index_of(payload.get(4..)?);
    }
    match payload.first()? & 0x1f {
        // RFC 6184: several units; parameter sets stand before the picture.
        24 => {
            let mut rest = &payload[1..];
            while rest.len() > 2 {
                let size = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                let unit = &rest[2..2 + size];
                if matches!(unit[0] & 0x1f, 1..=5) {
                    return index_of(unit);
                }
                rest = &rest[2 + size..];
            }
            None
        }
        28 if payload[1] & 0x80 != 0 => index_of(&payload[1..]),
        1..=5 => index_of(payload),
        _ => None,
    }
}

/// Bytes of a track that could be anything.
pub fn noise(size: usize) -> Bytes {
    Bytes::from((0..size).map(|place| (place * 151 % 253) as u8).collect::<Vec<_>>())
}

#[test]
fn units_are_numbered_as_the_library_numbers_them() {
    use ringcaster::media::library::{Answer, Library, Wanted};
    use std::sync::{Arc, Mutex};

    for has_b_frames in [false, true] {
        let presentation =
            Presentation { has_b_frames, duration: Duration::from_millis(5_930), ..Default::default() };
        let content = Content { presentation: presentation.clone(), is_live: false };
        let library = ringcaster::media::memory::MemoryLibrary::new(1_400);
        library.add("film", presentation);
        let answers = Arc::new(Mutex::new(Vec::new()));
        let kept = answers.clone();
        let reply: ringcaster::media::library::ReplyTo =
            Arc::new(move |answer| kept.lock().unwrap().push(answer));
        library.describe("/film", &[], 1, &reply);
        let Some(Answer::Described(_, Ok(info))) = answers.lock().unwrap().pop() else { panic!("described") };
        let mut wanted = Wanted::Seek(proto::time::MediaTime::ZERO);
        let mut counts = [0, 0];
        loop {
            library.segment(&info, wanted, 2, &reply);
            let Some(Answer::Segment(_, Ok(segment))) = answers.lock().unwrap().pop() else {
                panic!("a segment")
            };
            for entry in &segment.entries {
                let meta = entry.batch.meta();
                let packet = entry.batch.packet(&entry.batch.packets()[0]);
                let index = unit_begun(content.kind(meta.track), &packet[12..])
                    .or_else(|| {
                        unit_begun(
                            content.kind(meta.track),
                            &entry.batch.packet(&entry.batch.packets()[1])[12..],
                        )
                    })
                    .unwrap();
                let unit = content.unit(meta.track, index);
                assert_eq!(index, counts[usize::from(meta.track)]);
                counts[usize::from(meta.track)] += 1;
                let rate = content.rate(meta.track);
                assert_eq!((meta.pts.0, meta.dts.0), (nanos(unit.pts, rate), nanos(unit.dts, rate)));
                assert_eq!(meta.keyframe, unit.keyframe);
            }
            let Some(next) = segment.next else {
                assert_eq!(segment.end.0, content.end_nanos());
                break;
            };
            wanted = Wanted::At(next);
        }
        assert_eq!(counts, [content.unit_count(0), content.unit_count(1)]);
    }
}
