//! AV1, which neither FFmpeg 5 nor GStreamer 1.22 can receive: the project's own depacketizer puts temporal units
//! together and FFmpeg decodes them.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use proto::rtp::depacketize::Depacketizer;
use proto::track::{Codec, Track as Description};

use super::ffmpeg::{Listing, Scratch, source, words};
use super::{Verdict, run, same};
use crate::client::rtp::Packet;
use crate::client::viewer::Track;
use crate::corpus::Recipe;
use crate::server::scratch;

/// The temporal units in the packets of a track, without their delimiters.
pub(crate) fn temporal_units(track: &Track) -> Result<Vec<Vec<u8>>, String> {
    let mut description = Description::new(Codec::Av1 { sequence_header: Bytes::new() }, 0);
    description.payload_type = track.media.payload_type;
    let mut depacketizer = Depacketizer::new(&description);
    let mut units = Vec::new();
    for (index, packet) in track.packets.iter().enumerate() {
        let taken = depacketizer.handle_packet(&bytes_of(packet));
        taken.map_err(|error| format!("packet {index}: {error}"))?;
        while let Some(frame) = depacketizer.poll_frame() {
            if frame.lost {
                return Err(format!("the depacketizer misses something before packet {index}"));
            }
            units.push(frame.payload.to_vec());
        }
    }
    Ok(units)
}

/// Checks that the units decode to the pictures of the file.
pub(crate) fn decodes(units: &[Vec<u8>], recipe: &'static Recipe) -> Verdict {
    let folder = Scratch(scratch("av1"));
    // A temporal delimiter in front of each: its type and its size, zero.
    let stream: Vec<u8> = units.iter().flat_map(|unit| [&[0x12, 0x00], &unit[..]].concat()).collect();
    fs::write(folder.file("pictures.obu"), stream).map_err(|error| error.to_string())?;
    let mut arguments = words("-nostdin -v error -y -f obu -i");
    arguments.push(folder.file("pictures.obu"));
    arguments.extend(words("-map 0:v:0 -fps_mode passthrough -f framemd5"));
    arguments.push(folder.file("list"));
    run("ffmpeg", &arguments, Duration::from_secs(30))?;
    let list = fs::read_to_string(folder.file("list")).map_err(|error| error.to_string())?;
    same("pictures", &source(recipe).pictures.sums, &Listing::parse(&list).sums)
}

/// A packet as it came, without what the raw client has taken off it.
fn bytes_of(packet: &Packet) -> Vec<u8> {
    let mut bytes = vec![0x80, u8::from(packet.marker) << 7 | packet.payload_type];
    bytes.extend(packet.sequence.to_be_bytes());
    bytes.extend(packet.timestamp.to_be_bytes());
    bytes.extend(packet.ssrc.to_be_bytes());
    bytes.extend(&packet.payload);
    bytes
}
