//! AV1, which neither FFmpeg 5 nor GStreamer 1.22 can receive: put together by the project's own depacketizer, judged
//! by its bytes and by FFmpeg's decoder.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use proto::rtp::depacketize::Depacketizer;
use proto::track::{Codec, Track};

use super::ffmpeg::{Listing, Scratch, source, words};
use super::{Verdict, run, same};
use crate::client::rtp::Packet;
use crate::corpus::Recipe;
use crate::server::scratch;

/// Temporal units with the RTP timestamp of each.
pub(crate) fn temporal_units(packets: &[Packet]) -> Result<Vec<(u32, Vec<u8>)>, String> {
    let Some(first) = packets.first() else { return Ok(Vec::new()) };
    let track = Track {
        codec: Codec::Av1 { sequence_header: Bytes::new() },
        payload_type: first.payload_type,
        clock_rate: 90_000,
        size: None,
        framerate: None,
        bitrate: None,
    };
    let mut depacketizer = Depacketizer::new(&track);
    let mut units = Vec::new();
    for packet in packets {
        depacketizer.handle_packet(&packet.to_bytes()).map_err(|error| error.to_string())?;
        while let Some(frame) = depacketizer.poll_frame() {
            if frame.lost {
                return Err("the depacketizer says that packets are lost".into());
            }
            units.push((frame.timestamp, frame.payload.to_vec()));
        }
    }
    Ok(units)
}

/// The units of a temporal unit that hold pictures: frames, their headers and tile groups, without their sizes.
pub(crate) fn picture_units(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut units = Vec::new();
    while let Some(&header) = bytes.first() {
        let (kind, has_extension, has_size) = (header >> 3 & 0x0f, header & 4 != 0, header & 2 != 0);
        let mut start = 1 + usize::from(has_extension);
        let size = if has_size { leb128(bytes, &mut start) } else { bytes.len() - start };
        let end = (start + size).min(bytes.len());
        // Frame header, tile group, frame (AV1 specification, section 6.2.2).
        if [3, 4, 6].contains(&kind) {
            units.push(bytes[start..end].to_vec());
        }
        bytes = &bytes[end..];
    }
    units
}

/// Decodes what was received and compares with the file's pictures.
pub(crate) fn decoded(units: &[(u32, Vec<u8>)], recipe: &'static Recipe) -> Verdict {
    let folder = Scratch(scratch("av1"));
    // A delimiter before each temporal unit is what makes a stream of them a file.
    let stream: Vec<u8> = units.iter().flat_map(|(_, unit)| [&[0x12, 0][..], unit].concat()).collect();
    fs::write(folder.path().join("stream"), stream).map_err(|error| error.to_string())?;
    let mut arguments = words("-nostdin -v error -y -f obu -i");
    arguments.push(folder.file("stream"));
    arguments.extend(words("-map 0:v:0 -fps_mode passthrough -f framemd5"));
    arguments.push(folder.file("list"));
    run("ffmpeg", &arguments, Duration::from_secs(30))?;
    let played = Listing::parse(&fs::read_to_string(folder.path().join("list")).unwrap_or_default());
    same("pictures", &source(recipe).pictures.sums, &played.sums)
}

fn leb128(bytes: &[u8], at: &mut usize) -> usize {
    let mut value = 0;
    for shift in (0..56).step_by(7) {
        let Some(&byte) = bytes.get(*at) else { break };
        *at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

#[test]
fn frames_are_found_among_other_units() {
    let unit = [0x12, 0, 0x0a, 2, 1, 2, 0x32, 3, 7, 8, 9, 0x30, 5];
    assert_eq!(picture_units(&unit), [vec![7, 8, 9], vec![5]]);
}
