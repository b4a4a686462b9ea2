//! Elementary streams: what a file holds, and what lies in the RTP packets of a raw client, cut into the same
//! pieces. Written without a look at the server's own packetizers.

use std::fs;
use std::time::Duration;

use super::ffmpeg::{Listing, Scratch, words};
use super::run;
use crate::client::rtp::Packet;
use crate::corpus::{Audio, Recipe, Video};
use crate::server::scratch;

/// One access unit: its presentation time, in seconds for a file, and the pieces that must be the same.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unit {
    pub(crate) time: f64,
    pub(crate) pieces: Vec<Vec<u8>>,
}

/// The pictures of a file.
pub(crate) fn file_pictures(recipe: &Recipe, video: Video) -> Result<Vec<Unit>, String> {
    let filter = match video {
        Video::H264 => "-bsf:v h264_mp4toannexb",
        Video::H265 => "-bsf:v hevc_mp4toannexb",
        _ => "",
    };
    let packets = file_packets(recipe, &format!("-map 0:v:0 -c:v copy {filter}"))?;
    Ok(packets
        .into_iter()
        .map(|(time, bytes)| Unit { time, pieces: picture_pieces(video, &bytes) })
        .collect())
}

/// All NAL units of every picture of an H.264 file, in the order of decoding.
pub(crate) fn file_nal_units(recipe: &Recipe) -> Result<Vec<Unit>, String> {
    let packets = file_packets(recipe, "-map 0:v:0 -c:v copy -bsf:v h264_mp4toannexb")?;
    Ok(packets.into_iter().map(|(time, bytes)| Unit { time, pieces: nal_units(&bytes) }).collect())
}

/// The sound of a file: one piece a packet, or one piece in all where sound is only samples.
pub(crate) fn file_sound(recipe: &Recipe, audio: Audio) -> Result<Vec<Unit>, String> {
    let output = match audio {
        Audio::Aac => "-map 0:a:0 -c:a copy -bsf:a aac_adtstoasc",
        Audio::L16 => "-map 0:a:0 -c:a pcm_s16be",
        _ => "-map 0:a:0 -c:a copy",
    };
    let packets = file_packets(recipe, output)?;
    if audio.is_sampled() {
        let time = packets.first().map_or(0.0, |packet| packet.0);
        let bytes = packets.into_iter().flat_map(|packet| packet.1).collect();
        return Ok(vec![Unit { time, pieces: vec![bytes] }]);
    }
    Ok(packets.into_iter().map(|(time, bytes)| Unit { time, pieces: vec![bytes] }).collect())
}

/// Packets of one stream with their times.
pub(crate) fn file_packets(recipe: &Recipe, output: &str) -> Result<Vec<(f64, Vec<u8>)>, String> {
    let folder = Scratch(scratch("elementary"));
    let mut arguments = words("-nostdin -v error -y -i");
    arguments.push(recipe.path().to_str().expect("the path is ASCII").to_owned());
    arguments.extend(words(&format!("{output} -f data")));
    arguments.push(folder.file("data"));
    arguments.extend(words(&format!("{output} -f framemd5")));
    arguments.push(folder.file("list"));
    run("ffmpeg", &arguments, Duration::from_secs(30))?;
    let data = fs::read(folder.path().join("data")).map_err(|error| error.to_string())?;
    let list = Listing::parse(&fs::read_to_string(folder.path().join("list")).unwrap_or_default());
    let mut at = 0;
    let mut packets = Vec::new();
    for (time, size) in list.times.iter().zip(&list.sizes) {
        packets.push((*time, data[at..at + size].to_vec()));
        at += size;
    }
    assert_eq!(at, data.len(), "the list and the data of {} agree", recipe.name);
    Ok(packets)
}

/// The parts of an access unit that nobody may touch: slices, scan data, whole frames.
pub(crate) fn picture_pieces(video: Video, unit: &[u8]) -> Vec<Vec<u8>> {
    match video {
        Video::H264 => nal_units(unit).into_iter().filter(|nal| (1..=5).contains(&(nal[0] & 0x1f))).collect(),
        Video::H265 => nal_units(unit).into_iter().filter(|nal| nal[0] >> 1 & 0x3f < 32).collect(),
        Video::Mpeg4 => vec![behind_start_code(unit, 0xb6)],
        Video::Jpeg => vec![scan(unit)],
        Video::Vp8 | Video::Vp9 => vec![unit.to_vec()],
        Video::Av1 => frame_obus(unit),
    }
}

/// Frame headers, tile groups and frames of a temporal unit, their type in front of their bytes (AV1 section 5.3).
fn frame_obus(mut unit: &[u8]) -> Vec<Vec<u8>> {
    let mut obus = Vec::new();
    while let Some((header, rest)) = unit.split_first() {
        let kind = header >> 3 & 15;
        let mut rest = if header & 4 != 0 { &rest[1..] } else { rest };
        let mut size = rest.len();
        if header & 2 != 0 {
            let bytes = 1 + rest.iter().take_while(|byte| **byte & 0x80 != 0).count();
            size = (0..bytes).map(|at| usize::from(rest[at] & 0x7f) << (7 * at)).sum();
            rest = &rest[bytes..];
        }
        if matches!(kind, 3 | 4 | 6 | 7) {
            obus.push([&[kind], &rest[..size]].concat());
        }
        unit = &rest[size..];
    }
    obus
}

/// NAL units behind start codes, without trailing zeros.
fn nal_units(bytes: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<usize> =
        bytes.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let units = starts.iter().zip(ends).map(|(start, end)| bytes[start + 3..end].to_vec());
    units
        .map(|mut unit| {
            while unit.last() == Some(&0) {
                unit.pop();
            }
            unit
        })
        .filter(|unit| !unit.is_empty())
        .collect()
}

/// From the first start code of that kind to the end; everything where there is none.
fn behind_start_code(bytes: &[u8], kind: u8) -> Vec<u8> {
    let at = bytes.windows(4).position(|window| window == [0, 0, 1, kind]);
    bytes[at.unwrap_or(0)..].to_vec()
}

/// The pictures of a bare stream, in the pieces of [`picture_pieces`]: JPEG files or MPEG-4 VOPs behind each other.
pub(crate) fn stream_pictures(video: Video, bytes: &[u8]) -> Vec<Vec<u8>> {
    let begins: fn(&[u8]) -> bool = match video {
        Video::Jpeg => |window| window[..3] == [0xff, 0xd8, 0xff],
        _ => |window| window[..3] == [0, 0, 1] && matches!(window[3], 0xb0 | 0xb3 | 0xb6),
    };
    let starts: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, window)| begins(window)).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let pictures = starts.iter().zip(ends).map(|(start, end)| &bytes[*start..end]);
    let has_data = |picture: &&[u8]| video == Video::Jpeg || picture[3] == 0xb6;
    pictures.filter(has_data).flat_map(|picture| picture_pieces(video, picture)).collect()
}

/// The entropy-coded data of a JPEG file, without the end marker.
fn scan(file: &[u8]) -> Vec<u8> {
    let start = file.windows(2).position(|window| window == [0xff, 0xda]).expect("a JPEG has a scan");
    let size = usize::from(u16::from_be_bytes([file[start + 2], file[start + 3]]));
    without_end(&file[start + 2 + size..])
}

fn without_end(scan: &[u8]) -> Vec<u8> {
    let end = scan.windows(2).rposition(|window| window == [0xff, 0xd9]).unwrap_or(scan.len());
    scan[..end].to_vec()
}

/// The pieces in the packets of one picture.
pub(crate) fn received_picture(video: Video, packets: &[Packet]) -> Result<Vec<Vec<u8>>, String> {
    let payloads = packets.iter().map(|packet| &packet.payload[..]);
    match video {
        Video::H264 => {
            let nals = fragments(payloads, &H264_UNITS)?;
            Ok(nals.into_iter().filter(|nal| (1..=5).contains(&(nal[0] & 0x1f))).collect())
        }
        Video::H265 => {
            let nals = fragments(payloads, &H265_UNITS)?;
            Ok(nals.into_iter().filter(|nal| nal[0] >> 1 & 0x3f < 32).collect())
        }
        Video::Mpeg4 => Ok(vec![behind_start_code(&payloads.flatten().copied().collect::<Vec<u8>>(), 0xb6)]),
        Video::Jpeg => Ok(vec![jpeg(payloads)?]),
        Video::Vp8 => {
            Ok(vec![payloads.flat_map(|payload| &payload[vp8_descriptor(payload)..]).copied().collect()])
        }
        Video::Vp9 => {
            Ok(vec![payloads.flat_map(|payload| &payload[vp9_descriptor(payload)..]).copied().collect()])
        }
        Video::Av1 => Err("AV1 has a depacketizer of its own".into()),
    }
}

/// How a payload format for NAL units marks aggregation and fragments.
struct Units {
    header_bytes: usize,
    kind: fn(&[u8]) -> u8,
    aggregate: u8,
    fragment: u8,
    rebuild: fn(&[u8]) -> Vec<u8>,
}

/// RFC 6184 sections 5.7.1 and 5.8.
const H264_UNITS: Units = Units {
    header_bytes: 1,
    kind: |payload| payload[0] & 0x1f,
    aggregate: 24,
    fragment: 28,
    rebuild: |payload| vec![payload[0] & 0xe0 | payload[1] & 0x1f],
};

/// RFC 7798 sections 4.4.2 and 4.4.3.
const H265_UNITS: Units = Units {
    header_bytes: 2,
    kind: |payload| payload[0] >> 1 & 0x3f,
    aggregate: 48,
    fragment: 49,
    rebuild: |payload| vec![payload[0] & 0x81 | (payload[2] & 0x3f) << 1, payload[1]],
};

fn fragments<'a>(payloads: impl Iterator<Item = &'a [u8]>, units: &Units) -> Result<Vec<Vec<u8>>, String> {
    let mut nals: Vec<Vec<u8>> = Vec::new();
    let mut open = false;
    for payload in payloads {
        let kind = (units.kind)(payload);
        if kind == units.aggregate {
            let mut rest = &payload[units.header_bytes..];
            while rest.len() > 2 {
                let size = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                nals.push(rest.get(2..2 + size).ok_or("an aggregated unit is cut short")?.to_vec());
                rest = &rest[2 + size..];
            }
        } else if kind == units.fragment {
            let header = payload[units.header_bytes];
            let (start, end) = (header & 0x80 != 0, header & 0x40 != 0);
            if start == open || start && end {
                return Err(format!("a fragment out of place: header {header:02x}, unit open: {open}"));
            }
            if start {
                nals.push((units.rebuild)(payload));
            }
            let unit = nals.last_mut().ok_or("a fragment without a start")?;
            unit.extend_from_slice(&payload[units.header_bytes + 1..]);
            open = !end;
        } else {
            nals.push(payload.to_vec());
        }
    }
    if open { Err("a unit without its last fragment".into()) } else { Ok(nals) }
}

/// The scan data of one picture (RFC 2435 section 3.1), whose fragments must follow each other.
fn jpeg<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, String> {
    let mut scan = Vec::new();
    for payload in payloads {
        let offset = usize::from(payload[1]) << 16 | usize::from(payload[2]) << 8 | usize::from(payload[3]);
        if offset != scan.len() {
            return Err(format!("a fragment at {offset} follows {} bytes", scan.len()));
        }
        let mut start = if (64..128).contains(&payload[4]) { 12 } else { 8 };
        if payload[5] >= 128 && offset == 0 {
            start += 4 + usize::from(u16::from_be_bytes([payload[start + 2], payload[start + 3]]));
        }
        scan.extend_from_slice(&payload[start..]);
    }
    Ok(without_end(&scan))
}

/// Size of the payload descriptor (RFC 7741 section 4.2).
fn vp8_descriptor(payload: &[u8]) -> usize {
    if payload[0] & 0x80 == 0 {
        return 1;
    }
    let flags = payload[1];
    let mut size = 2;
    if flags & 0x80 != 0 {
        size += if payload[2] & 0x80 != 0 { 2 } else { 1 };
    }
    size + usize::from(flags & 0x40 != 0) + usize::from(flags & 0x30 != 0)
}

/// Size of the payload descriptor (RFC 9628 section 4.2), flexible mode and scalability structures excepted.
fn vp9_descriptor(payload: &[u8]) -> usize {
    let flags = payload[0];
    let mut size = 1;
    if flags & 0x80 != 0 {
        size += if payload[1] & 0x80 != 0 { 2 } else { 1 };
    }
    if flags & 0x20 != 0 {
        size += if flags & 0x10 != 0 { 1 } else { 2 };
    }
    if flags & 0x02 != 0 {
        size += scalability(&payload[size..]);
    }
    size
}

/// Size of a scalability structure.
fn scalability(bytes: &[u8]) -> usize {
    let layers = usize::from(bytes[0] >> 5) + 1;
    let mut size = 1 + if bytes[0] & 0x10 != 0 { 4 * layers } else { 0 };
    if bytes[0] & 0x08 != 0 {
        let pictures = bytes[size];
        size += 1;
        for _ in 0..pictures {
            size += 1 + usize::from(bytes[size] >> 2 & 3);
        }
    }
    size
}

/// Pieces of sound in packets, with the index of the packet in which each begins.
pub(crate) fn received_sound(audio: Audio, packets: &[Packet]) -> Result<Vec<(usize, Vec<u8>)>, String> {
    let mut pieces: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut missing = 0;
    for (index, packet) in packets.iter().enumerate() {
        let payload = &packet.payload[..];
        match audio {
            Audio::Aac => aac(index, payload, &mut missing, &mut pieces)?,
            Audio::Mp3 => {
                // RFC 2250 section 3.5: a fragment names the bytes of the frame that came before it.
                let offset = u16::from_be_bytes([payload[2], payload[3]]);
                if offset == 0 {
                    pieces.extend(mpeg_frames(&payload[4..]).into_iter().map(|frame| (index, frame)));
                } else {
                    let frame = &mut pieces.last_mut().ok_or("a fragment without its frame")?.1;
                    frame.extend_from_slice(&payload[4..]);
                }
            }
            _ => pieces.push((index, payload.to_vec())),
        }
    }
    if audio.is_sampled() {
        let bytes = pieces.into_iter().flat_map(|piece| piece.1).collect();
        return Ok(vec![(0, bytes)]);
    }
    Ok(pieces)
}

/// Access units of one payload in AAC-hbr (RFC 3640 section 3.3.6). A unit that does not fit comes in packets of one
/// fragment each, whose headers all name the size of the whole; `missing` counts what the last one still lacks.
fn aac(
    index: usize,
    payload: &[u8],
    missing: &mut usize,
    pieces: &mut Vec<(usize, Vec<u8>)>,
) -> Result<(), String> {
    let headers = usize::from(u16::from_be_bytes([payload[0], payload[1]])) / 16;
    let mut rest = &payload[2 + 2 * headers..];
    for header in 0..headers {
        let size = usize::from(u16::from_be_bytes([payload[2 + 2 * header], payload[3 + 2 * header]]) >> 3);
        if let (1.., Some((_, piece))) = (*missing, pieces.last_mut()) {
            piece.extend_from_slice(rest);
            *missing = missing.checked_sub(rest.len()).ok_or("a fragment is longer than its unit")?;
            return Ok(());
        }
        let part = size.min(rest.len());
        *missing = size - part;
        if *missing > 0 && headers > 1 {
            return Err("one of several access units is cut short".into());
        }
        pieces.push((index, rest[..part].to_vec()));
        rest = &rest[part..];
    }
    if rest.is_empty() { Ok(()) } else { Err(format!("{} bytes behind the access units", rest.len())) }
}

/// Splits whole MPEG audio frames that lie back to back; a last one may be cut short.
fn mpeg_frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while bytes.len() >= 4 {
        let size = mpeg_frame_bytes(bytes).min(bytes.len());
        frames.push(bytes[..size].to_vec());
        bytes = &bytes[size..];
    }
    frames
}

/// Size of a frame of layer III at MPEG-1 rates, which is what the corpus holds.
fn mpeg_frame_bytes(header: &[u8]) -> usize {
    const KBITS: [usize; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const RATES: [usize; 3] = [44_100, 48_000, 32_000];
    let (kbits, rate) = (usize::from(header[2] >> 4), usize::from(header[2] >> 2 & 3));
    assert!(
        kbits < 15 && rate < 3 && header[0] == 0xff,
        "a frame header of MPEG audio: {:02x?}",
        &header[..4]
    );
    144 * KBITS[kbits] * 1_000 / RATES[rate] + usize::from(header[2] >> 1 & 1)
}

#[test]
fn a_fragmented_and_an_aggregated_unit_come_out_whole() {
    let payloads: [&[u8]; 3] = [&[24, 0, 2, 0x67, 1, 0, 1, 0x68], &[0x7c, 0x85, 1, 2], &[0x7c, 0x45, 3]];
    let nals = fragments(payloads.into_iter(), &H264_UNITS).unwrap();
    assert_eq!(nals, [vec![0x67, 1], vec![0x68], vec![0x65, 1, 2, 3]]);
    assert!(fragments(payloads[..2].iter().copied(), &H264_UNITS).is_err());
}

#[test]
fn units_are_split_at_start_codes() {
    assert_eq!(nal_units(&[0, 0, 0, 1, 9, 1, 0, 0, 1, 5, 6, 0]), [vec![9, 1], vec![5, 6]]);
    assert_eq!(picture_pieces(Video::H264, &[0, 0, 1, 0x67, 1, 0, 0, 1, 0x65, 6]), [vec![0x65, 6]]);
}
