//! How pictures come from cameras: the four characters of V4L2, and what they mean here.

use crate::media::capture::Pixels;
use crate::media::format::VideoCodec;

/// How a camera's pictures are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Not at all.
    Pixels(Pixels),
    /// Each a JPEG file.
    Jpeg,
    /// H.264 behind start codes.
    H264,
}

/// What is understood, by the code of V4L2 (linux/videodev2.h); the first are preferred where nothing else tells two
/// apart: those nearest to what encoders take.
pub const CODINGS: [([u8; 4], Coding); 16] = [
    (*b"YU12", Coding::Pixels(Pixels::Yuv420p)),
    (*b"NV12", Coding::Pixels(Pixels::Nv12)),
    (*b"NV21", Coding::Pixels(Pixels::Nv21)),
    (*b"YUYV", Coding::Pixels(Pixels::Yuyv422)),
    (*b"UYVY", Coding::Pixels(Pixels::Uyvy422)),
    (*b"YVYU", Coding::Pixels(Pixels::Yvyu422)),
    (*b"XR24", Coding::Pixels(Pixels::Bgr0)),
    (*b"AR24", Coding::Pixels(Pixels::Bgr0)),
    (*b"BGR4", Coding::Pixels(Pixels::Bgr0)),
    (*b"BGR3", Coding::Pixels(Pixels::Bgr24)),
    (*b"RGB3", Coding::Pixels(Pixels::Rgb24)),
    (*b"MJPG", Coding::Jpeg),
    (*b"JPEG", Coding::Jpeg),
    (*b"H264", Coding::H264),
    // Last: its colours are lost.
    (*b"GREY", Coding::Pixels(Pixels::Gray8)),
    (*b"Y800", Coding::Pixels(Pixels::Gray8)),
];

impl Coding {
    /// What a code means; None when it is not understood.
    pub fn of(code: [u8; 4]) -> Option<Coding> {
        CODINGS.into_iter().find(|(known, _)| *known == code).map(|(_, coding)| coding)
    }

    /// The codec of pictures that are coded.
    pub fn codec(self) -> Option<VideoCodec> {
        match self {
            Coding::Pixels(_) => None,
            Coding::Jpeg => Some(VideoCodec::Jpeg),
            Coding::H264 => Some(VideoCodec::H264),
        }
    }

    /// The work that making them anew begins with: the decoder's, and the loss of what it cannot bring back.
    pub fn cost(self) -> u8 {
        match self {
            Coding::Pixels(Pixels::Gray8) => 3,
            Coding::Pixels(_) => 0,
            Coding::Jpeg => 1,
            Coding::H264 => 2,
        }
    }
}

/// A plane of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plane {
    /// Bytes of a line that hold pixels.
    line: usize,
    /// Bytes from a line's begin to the next one's.
    stride: usize,
    lines: usize,
}

/// A picture's lines without the gaps that a driver leaves behind each, which is `stride` bytes long with it. None when the
/// picture is not whole.
pub fn tightened(pixels: Pixels, width: u32, height: u32, stride: u32, bytes: &[u8]) -> Option<Vec<u8>> {
    let planes = planes(pixels, width as usize, height as usize, stride as usize);
    let size: usize = planes.iter().map(|plane| plane.line * plane.lines).sum();
    let mut tight = Vec::with_capacity(size);
    let mut rest = bytes;
    for plane in planes {
        for _ in 0..plane.lines {
            tight.extend_from_slice(rest.get(..plane.line)?);
            // Nothing need be behind the last line.
            rest = rest.get(plane.stride..).unwrap_or_default();
        }
    }
    Some(tight)
}

fn planes(pixels: Pixels, width: usize, height: usize, stride: usize) -> Vec<Plane> {
    let plane = |line: usize, stride: usize, lines| Plane { line, stride: stride.max(line), lines };
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    match pixels {
        Pixels::Bgr0 | Pixels::Rgb0 => vec![plane(width * 4, stride, height)],
        Pixels::Bgr24 | Pixels::Rgb24 => vec![plane(width * 3, stride, height)],
        Pixels::Yuyv422 | Pixels::Uyvy422 | Pixels::Yvyu422 => vec![plane(half_width * 4, stride, height)],
        Pixels::Gray8 => vec![plane(width, stride, height)],
        Pixels::Nv12 | Pixels::Nv21 => {
            vec![plane(width, stride, height), plane(half_width * 2, stride, half_height)]
        }
        Pixels::Yuv420p => {
            let colour = plane(half_width, stride / 2, half_height);
            vec![plane(width, stride, height), colour, colour]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_behind_lines_are_left_out_of_every_plane() {
        // Two by two pixels, four bytes from line to line.
        let bytes = [1, 2, 0, 0, 3, 4, 0, 0, 5, 0, 6, 0];
        assert_eq!(tightened(Pixels::Yuv420p, 2, 2, 4, &bytes).unwrap(), [1, 2, 3, 4, 5, 6]);
        let bytes = [1, 2, 0, 0, 3, 4, 0, 0, 5, 6];
        assert_eq!(tightened(Pixels::Nv12, 2, 2, 4, &bytes).unwrap(), [1, 2, 3, 4, 5, 6]);
        let bytes = [1, 2, 3, 4, 9, 9, 5, 6, 7, 8];
        assert_eq!(tightened(Pixels::Yuyv422, 2, 2, 6, &bytes).unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
        // A driver that does not tell has no gaps.
        assert_eq!(tightened(Pixels::Gray8, 2, 2, 0, &[1, 2, 3, 4]).unwrap(), [1, 2, 3, 4]);
        assert_eq!(tightened(Pixels::Rgb24, 2, 2, 0, &[0; 11]), None);
    }

    #[test]
    fn codes_are_known_by_what_they_mean() {
        assert_eq!(Coding::of(*b"MJPG"), Some(Coding::Jpeg));
        assert_eq!(Coding::of(*b"YUYV"), Some(Coding::Pixels(Pixels::Yuyv422)));
        assert_eq!(Coding::of(*b"pRAA"), None);
    }
}
