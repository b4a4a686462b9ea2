//! Pictures with a number in every packet, so that a viewer tells which ones have come.

use super::viewer::Viewer;

/// One packet of a picture, or of the sound beside it.
pub(crate) struct Part {
    /// 0 is the picture, 1 the sound.
    pub(crate) track: usize,
    pub(crate) marker: bool,
    pub(crate) timestamp: u32,
    pub(crate) payload: Vec<u8>,
}

/// A picture of three packets, a keyframe or one that depends on it, and the sound beside it.
pub(crate) fn picture(index: u32, is_keyframe: bool) -> [Part; 4] {
    let timestamp = 1_000u32.wrapping_add(3_600u32.wrapping_mul(index));
    let kind = if is_keyframe { 0x65 } else { 0x41 };
    let part = |part: u8, bits: u8| {
        let head = [0x60 | 28, bits | (kind & 0x1f)];
        let payload = [&head[..], &index.to_be_bytes(), &vec![part; 700]].concat();
        Part { track: 0, marker: part == 2, timestamp, payload }
    };
    let timestamp = 77u32.wrapping_add(320u32.wrapping_mul(index));
    let sound = Part { track: 1, marker: false, timestamp, payload: vec![index as u8; 320] };
    [part(0, 0x80), part(1, 0), part(2, 0x40), sound]
}

/// Numbers of the pictures that a viewer has, in the order in which they came.
pub(crate) fn pictures(viewer: &Viewer) -> Vec<u32> {
    let units = viewer.tracks[0].units();
    let number = |payload: &[u8]| u32::from_be_bytes(payload[2..6].try_into().unwrap());
    units.iter().map(|unit| number(&unit[0].payload)).collect()
}

/// Whether a viewer has so many pictures, the last one whole, and as many packets of sound.
pub(crate) fn has_pictures(count: usize) -> impl Fn(&Viewer) -> bool {
    move |viewer| {
        let is_whole = viewer.tracks[0].packets.last().is_some_and(|last| last.marker);
        is_whole && pictures(viewer).len() >= count && viewer.tracks[1].packets.len() >= count
    }
}
