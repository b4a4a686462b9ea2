//! Where a sender's pictures come from: made here, or read from a file; each goes out with a stamp in front.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use proto::frame::Frame;
use proto::rtp::batch::{Batch, Numbering};
use proto::rtp::header::HEADER_BYTES;
use proto::rtp::packetize::Packetizer;
use proto::sdp::Description;
use proto::track::{Codec, Framing, Track};

use crate::annexb::{self, Unit};
use crate::clock;
use crate::picture::{self, PICTURE_BYTES_MAX, Painter};
use crate::stamp::Stamp;

/// What a sender sends.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// Bits a second, keyframes excepted; a file has its own.
    pub bits_per_s: f64,
    /// Pictures a second.
    pub pictures_per_s: f64,
    /// Seconds from keyframe to keyframe; a file has its own.
    pub group_s: f64,
    /// H.264 with start codes, played in a circle; None makes pictures.
    pub file: Option<PathBuf>,
}

impl Content {
    /// Made pictures, 30 a second with a keyframe every two seconds, that have this rate with their keyframes.
    pub fn of_rate(bits_per_s: f64) -> Content {
        let (pictures_per_s, group_s) = (30.0, 2.0);
        let others = pictures_per_s * group_s - 1.0;
        let other_bytes = (bits_per_s * group_s / 8.0 - PICTURE_BYTES_MAX as f64) / others;
        let bits_per_s = other_bytes.clamp(1.0, PICTURE_BYTES_MAX as f64) * 8.0 * pictures_per_s;
        Content { bits_per_s, pictures_per_s, group_s, file: None }
    }
}

/// The pictures of one stream.
pub struct Source {
    pictures: Pictures,
    packetizer: Packetizer,
    track: Track,
    pictures_per_s: f64,
    number: u32,
    clock: u32,
}

enum Pictures {
    Made(Painter),
    Read { units: Vec<Unit>, next: usize },
}

impl Source {
    /// Opens what the content names.
    pub fn new(content: &Content) -> io::Result<Source> {
        let (pictures, sets) = match &content.file {
            None => made(content)?,
            Some(path) => {
                let bytes = fs::read(path);
                let named = |error| io::Error::other(format!("{}: {error}", path.display()));
                read(&bytes.map_err(named)?).map_err(named)?
            }
        };
        let [sps, pps] = sets.map(|set| vec![Bytes::from(set)]);
        let track = Track::new(Codec::H264 { sps, pps, framing: Framing::Length(4) }, 0);
        let clock = clock::identity();
        // Any numbers will do: the server makes its own or passes these on.
        let numbering =
            Numbering { ssrc: clock, payload_type: track.payload_type, sequence: 0, timestamp: 0 };
        let packetizer = Packetizer::new(&track, 0, numbering, PACKET_BYTES);
        let pictures_per_s = content.pictures_per_s;
        Ok(Source { pictures, packetizer, track, pictures_per_s, number: 0, clock })
    }

    /// The packets of the next picture, with a stamp of this moment.
    pub fn next_batch(&mut self) -> Batch {
        let pts = self.due(self.number).as_nanos() as i64 * 9 / 100_000;
        let made;
        let (parts, is_keyframe) = match &mut self.pictures {
            Pictures::Made(painter) => {
                let picture = painter.paint();
                made = [picture.slice];
                (&made[..], picture.is_keyframe)
            }
            Pictures::Read { units, next } => {
                let unit = &units[*next];
                *next = (*next + 1) % units.len();
                (&unit.parts[..], unit.is_keyframe)
            }
        };
        let slice = parts.iter().position(|part| matches!(part[0] & 0x1f, 1..=5)).unwrap_or(0);
        // Where a picture is smaller than a packet the stamp is, too: it would be most of what is sent.
        let unit_bytes = if parts[slice].len() < PACKET_BYTES { 0 } else { PACKET_BYTES - HEADER_BYTES };
        let stamp = Stamp { clock: self.clock, sent_ns: clock::now_ns(), picture: self.number, is_keyframe };
        let stamp = stamp.to_unit(unit_bytes);
        let mut payload = Vec::with_capacity(parts.iter().map(Vec::len).sum::<usize>() + stamp.len() + 64);
        for part in parts[..slice].iter().chain([&stamp]).chain(&parts[slice..]) {
            payload.extend((part.len() as u32).to_be_bytes());
            payload.extend(part);
        }
        self.number += 1;
        let payload = Bytes::from(payload);
        let frame = Frame { track: 0, pts, dts: pts, duration: 0, keyframe: is_keyframe, payload };
        let batch = self.packetizer.packetize(&frame).expect("lengths were written just above");
        batch.expect("a picture has a slice")
    }

    /// When the picture of that number is due, from the first one on.
    pub fn due(&self, number: u32) -> Duration {
        Duration::from_secs_f64(f64::from(number) / self.pictures_per_s)
    }

    /// The number of the next picture.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The session description; the track's control URL is `trackID=0`.
    pub fn description(&self, address: IpAddr) -> String {
        let tracks = std::slice::from_ref(&self.track);
        let (name, duration) = ("loadtest", None);
        let description = Description {
            origin_id: 1,
            origin_version: 1,
            address,
            name,
            duration,
            recording: None,
            live: true,
            tracks,
            keys: &[],
            backchannel: &[],
            multicast: None,
        };
        description.write()
    }
}

fn made(content: &Content) -> io::Result<(Pictures, [Vec<u8>; 2])> {
    // The stamp is part of the rate, and so are the headers of the packets: 12 bytes of RTP, 2 of the fragment.
    let picture_bytes = content.bits_per_s / 8.0 / content.pictures_per_s;
    let slice_bytes =
        (picture_bytes as usize * (PACKET_BYTES - 14) / PACKET_BYTES).saturating_sub(PACKET_BYTES);
    if slice_bytes > PICTURE_BYTES_MAX {
        let most = (PICTURE_BYTES_MAX * 8) as f64 * content.pictures_per_s / 1e6;
        return Err(invalid(&format!("pictures that are made have at most {most:.0} Mbit/s at that rate")));
    }
    let group = (content.group_s * content.pictures_per_s).round().max(1.0) as u32;
    let sets = [picture::sequence_set(), picture::picture_set()];
    Ok((Pictures::Made(Painter::new(slice_bytes, group)), sets))
}

fn read(file: &[u8]) -> io::Result<(Pictures, [Vec<u8>; 2])> {
    let units = annexb::access_units(file);
    let set = |kind: u8| {
        let mut parts = units.iter().flat_map(|unit| &unit.parts);
        parts.find(|part| part[0] & 0x1f == kind).cloned()
    };
    let [Some(sps), Some(pps)] = [7, 8].map(set) else {
        return Err(invalid("no pictures with parameter sets: H.264 with start codes is wanted"));
    };
    Ok((Pictures::Read { units, next: 0 }, [sps, pps]))
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

/// Largest packet, RTP header included: as servers make them, so that they need not cut them again.
pub const PACKET_BYTES: usize = 1_400;

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: Content = Content { bits_per_s: 4e6, pictures_per_s: 30.0, group_s: 2.0, file: None };

    #[test]
    fn a_picture_is_one_train_of_its_size_with_a_stamp_in_its_first_packet() {
        let mut source = Source::new(&CONTENT).unwrap();
        let keyframe = source.next_batch();
        assert!(keyframe.meta().keyframe && keyframe.rtp().len() > 100_000);
        let mut bytes = 0;
        for number in 1..60 {
            let batch = source.next_batch();
            assert_eq!(batch.trains().len(), 1, "{:?}", batch.packets());
            let stamp = Stamp::find(batch.packet(&batch.packets()[0])).unwrap();
            assert_eq!((stamp.picture, stamp.is_keyframe), (number, false));
            bytes += batch.rtp().len();
        }
        let bits_per_s = bytes as f64 * 8.0 * 30.0 / 59.0;
        assert!((3.8e6..4.2e6).contains(&bits_per_s), "{bits_per_s}");
        assert_eq!(source.due(90), Duration::from_secs(3));
    }

    #[test]
    fn a_file_begins_again_at_its_end() {
        let file = b"\0\0\x01\x67\x42\xc0\x28x\0\0\x01\x68d\0\0\x01\x65\x88one\0\0\x01\x41\x9aP";
        let path = std::env::temp_dir().join(format!("loadtest-{}.264", std::process::id()));
        fs::write(&path, file).unwrap();
        let mut source = Source::new(&Content { file: Some(path.clone()), ..CONTENT }).unwrap();
        fs::remove_file(path).unwrap();
        let keyframes: Vec<_> = (0..4).map(|_| source.next_batch().meta().keyframe).collect();
        assert_eq!(keyframes, [true, false, true, false]);
        assert!(source.description([127, 0, 0, 1].into()).contains("sprop-parameter-sets="));
    }

    #[test]
    fn a_rate_holds_with_its_keyframes() {
        for wanted in [2e6, 4e6, 20e6] {
            let mut source = Source::new(&Content::of_rate(wanted)).unwrap();
            let bytes: usize = (0..120).map(|_| source.next_batch().rtp().len()).sum();
            let ratio = bytes as f64 * 8.0 / 4.0 / wanted;
            assert!((0.97..1.05).contains(&ratio), "{ratio} of {wanted}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(Source::new(&Content { bits_per_s: 1e9, ..CONTENT }).is_err());
        assert!(read(b"text").is_err());
    }
}
