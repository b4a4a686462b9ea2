//! What the stream of a screen leaves: its latest picture.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use pipewire::spa::buffer::{ChunkFlags, Data};
use pipewire::spa::param::video::VideoInfoRaw;
use pipewire::spa::pod::Pod;

use super::formats;
use super::running::Taker;
use crate::media::capture::{Pixels, Shape};

/// The latest picture of a screen, and what it is; None before the first.
#[derive(Clone, Debug, Default)]
pub(super) struct Latest(Arc<Mutex<Option<(Shape, Bytes)>>>);

impl Latest {
    /// The picture.
    pub(super) fn picture(&self) -> Option<(Shape, Bytes)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, shape: Shape, picture: Bytes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((shape, picture));
    }
}

/// What sees, on PipeWire's thread.
pub(super) struct Eye {
    latest: Latest,
    /// What comes; None before the format is agreed on.
    shape: Option<Shape>,
}

impl Eye {
    /// Puts what it sees there.
    pub(super) fn new(latest: Latest) -> Eye {
        Eye { latest, shape: None }
    }
}

impl Taker for Eye {
    /// Again whenever the size of the screen has changed.
    fn agree(&mut self, format: &Pod) -> Result<(), String> {
        let mut pictures = VideoInfoRaw::new();
        let pixels = pictures.parse(format).ok().and_then(|_| formats::pixels(pictures.format()));
        let size = pictures.size();
        let pixels = pixels.filter(|_| size.width > 1 && size.height > 1);
        let pixels =
            pixels.ok_or_else(|| format!("PipeWire gives pictures that are not known: {pictures:?}"))?;
        self.shape = Some(Shape { pixels, width: size.width, height: size.height });
        Ok(())
    }

    fn take(&mut self, data: &mut [Data]) -> Result<(), String> {
        let (Some(shape), Some(data)) = (self.shape, data.first_mut()) else { return Ok(()) };
        let chunk = data.chunk();
        // Some portals send the pointer alone with no picture.
        if chunk.size() == 0 || chunk.flags().contains(ChunkFlags::CORRUPTED) {
            return Ok(());
        }
        let (offset, stride) = (chunk.offset() as usize, chunk.stride());
        let kind = data.type_();
        let bytes = data.data();
        let bytes = bytes.ok_or_else(|| format!("pictures cannot be read: they lie in {kind:?}"))?;
        // What does not fit is of another size than was agreed on, and the next one will do.
        if let Some((shape, picture)) = packed(bytes.get(offset..).unwrap_or_default(), stride, shape) {
            self.latest.put(shape, picture);
        }
        Ok(())
    }
}

/// A picture line behind line without a gap, its sides made even; None where there is less than a picture.
fn packed(bytes: &[u8], stride: i32, shape: Shape) -> Option<(Shape, Bytes)> {
    // Sides that are odd cannot be encoded, and one line more is not missed.
    let even = Shape { width: shape.width & !1, height: shape.height & !1, ..shape };
    let line = even.width as usize * bytes_of(shape.pixels)?;
    let stride = match stride {
        0 => shape.width as usize * bytes_of(shape.pixels)?,
        stride => usize::try_from(stride).ok().filter(|stride| *stride >= line)?,
    };
    let lines = even.height as usize;
    let bytes = bytes.get(..stride * lines.checked_sub(1)? + line)?;
    if stride == line {
        return Some((even, Bytes::copy_from_slice(bytes)));
    }
    let mut picture = BytesMut::with_capacity(line * lines);
    for row in bytes.chunks(stride) {
        picture.extend_from_slice(&row[..line]);
    }
    Some((even, picture.freeze()))
}

/// Bytes of one pixel; None where pixels lie in planes.
fn bytes_of(pixels: Pixels) -> Option<usize> {
    match pixels {
        Pixels::Bgr0 | Pixels::Rgb0 => Some(4),
        Pixels::Bgr24 | Pixels::Rgb24 => Some(3),
        Pixels::Yuyv422 | Pixels::Uyvy422 | Pixels::Yvyu422 => Some(2),
        Pixels::Gray8 => Some(1),
        Pixels::Nv12 | Pixels::Nv21 | Pixels::Yuv420p => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: Shape = Shape { pixels: Pixels::Rgb24, width: 3, height: 3 };

    #[test]
    fn lines_are_packed_and_sides_are_even() {
        // Three lines of three pixels, with three bytes behind each.
        let bytes: Vec<u8> = (0..36).collect();
        let (shape, picture) = packed(&bytes, 12, ODD).unwrap();
        assert_eq!((shape.width, shape.height), (2, 2));
        assert_eq!(&picture[..], [0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 16, 17]);
        // Without a stride there is no gap.
        let (_, picture) = packed(&bytes, 0, ODD).unwrap();
        assert_eq!(&picture[..], [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14]);
        let even = Shape { width: 4, height: 2, ..ODD };
        assert_eq!(&packed(&bytes, 12, even).unwrap().1[..], &bytes[..24]);
    }

    #[test]
    fn what_is_less_than_a_picture_is_none() {
        let bytes = [0; 36];
        for (size, stride) in [(17, 12), (36, 5), (36, -12), (36, i32::MAX), (0, 12)] {
            assert_eq!(packed(&bytes[..size], stride, ODD), None, "{size} {stride}");
        }
        assert_eq!(packed(&bytes, 12, Shape { height: 1, ..ODD }), None);
    }
}
