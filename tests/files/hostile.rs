//! Ways to spoil a file.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Bytes without any order, the same at every run.
pub(crate) fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 11) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Takes away every permission.
pub(crate) fn forbid(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
}

/// Gives its owner every permission.
pub(crate) fn allow(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

/// Appends what a file lacks of `whole`, as a program that records it does.
pub(crate) fn append_up_to(path: &Path, whole: &[u8]) {
    let mut file = fs::File::options().append(true).open(path).unwrap();
    let size = file.metadata().unwrap().len() as usize;
    file.write_all(&whole[size.min(whole.len())..]).unwrap();
}

/// An AVI without its index.
pub(crate) fn without_index(avi: &[u8]) -> Vec<u8> {
    let at = find(avi, b"idx1").next().expect("an AVI has an index");
    avi[..at].to_vec()
}

/// A WAV file that gives its samples this many bytes.
pub(crate) fn with_data_size(wav: &[u8], size: u32) -> Vec<u8> {
    let mut bytes = wav.to_vec();
    let at = find(wav, b"data").next().expect("a WAV file has samples") + 4;
    bytes[at..at + 4].copy_from_slice(&size.to_le_bytes());
    bytes[4..8].copy_from_slice(&size.saturating_add(36).to_le_bytes());
    bytes
}

/// Boxes of an MP4 that tell how long it is, and how far behind a box's name its duration stands, for version 0
/// (ISO/IEC 14496-12 sections 8.2.2, 8.3.2 and 8.4.2).
pub(crate) const HEADERS: &[(&[u8; 4], usize)] = &[(b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)];

/// The box that tells which part of a track is shown (ISO/IEC 14496-12 section 8.6.6).
pub(crate) const EDITS: &[(&[u8; 4], usize)] = &[(b"elst", 12)];

/// An MP4 some of whose boxes give this duration, in their own units.
pub(crate) fn with_durations(mp4: &[u8], boxes: &[(&[u8; 4], usize)], duration: u32) -> Vec<u8> {
    let mut bytes = mp4.to_vec();
    for (name, distance) in boxes {
        for at in find(mp4, name) {
            bytes[at + distance..at + distance + 4].copy_from_slice(&duration.to_be_bytes());
        }
    }
    bytes
}

/// An MP4 with other sample sizes (ISO/IEC 14496-12 section 8.7.3).
pub(crate) fn with_sample_sizes(mp4: &[u8], change: impl Fn(u32) -> u32) -> Vec<u8> {
    let mut bytes = mp4.to_vec();
    let word = |at: usize| u32::from_be_bytes([mp4[at], mp4[at + 1], mp4[at + 2], mp4[at + 3]]);
    for at in find(mp4, b"stsz") {
        if word(at + 8) != 0 {
            bytes[at + 8..at + 12].copy_from_slice(&change(word(at + 8)).to_be_bytes());
            continue;
        }
        for entry in (0..word(at + 12) as usize).map(|number| at + 16 + 4 * number) {
            bytes[entry..entry + 4].copy_from_slice(&change(word(entry)).to_be_bytes());
        }
    }
    bytes
}

fn find<'a>(bytes: &'a [u8], name: &'a [u8; 4]) -> impl Iterator<Item = usize> + 'a {
    bytes.windows(4).enumerate().filter(move |(_, window)| *window == name).map(|(at, _)| at)
}
