//! Pictures that stand alone, decoded and encoded in JPEG.

use bytes::Bytes;
use ffmpeg_next::frame::Video;
use proto::frame::Frame;
use proto::track::{Codec, Track};

use super::decode::Decoder;
use crate::media::ffmpeg::encode::PictureEncoder;
use crate::media::ffmpeg::raw::Scaler;
use crate::media::library::MediaError;

/// A JPEG picture that RTP does not carry, as one of its size that it does. An error when it cannot be decoded.
pub fn still(picture: &Bytes) -> Result<Bytes, MediaError> {
    let payload = picture.clone();
    let frame = Frame { track: 0, pts: 0, dts: 0, duration: 0, keyframe: true, payload };
    self::picture(&Track::new(Codec::Jpeg, 0), &frame, u32::MAX)
}

/// A keyframe of a track in JPEG, not wider than that many pixels. An error when it cannot be decoded.
pub fn picture(track: &Track, frame: &Frame, width_max: u32) -> Result<Bytes, MediaError> {
    let broken = |what: &str| MediaError::Broken(format!("a picture {what}"));
    let mut decoder = Decoder::open(track)?;
    let mut decoded = decoder.push::<Video>(frame);
    decoded.extend(decoder.finish::<Video>());
    let decoded = decoded.first().ok_or_else(|| broken("cannot be decoded"))?;
    let (width, height) = fitted(decoded.width(), decoded.height(), width_max);
    let mut encoder = PictureEncoder::of_stills(width, height)?;
    let mut scaled = encoder.blank();
    let shape = (decoded.format(), decoded.width(), decoded.height());
    let wanted = (scaled.format(), scaled.width(), scaled.height());
    Scaler::new(shape, wanted)
        .and_then(|mut scaler| scaler.run(decoded, &mut scaled))
        .map_err(|error| MediaError::Broken(format!("a picture cannot be made anew: {error}")))?;
    let mut encoded = encoder.encode(&mut scaled)?;
    encoded.extend(encoder.finish()?);
    encoded
        .into_iter()
        .next()
        .map(|unit| unit.payload)
        .ok_or_else(|| broken("gives nothing when it is encoded"))
}

/// A size of the same shape that is not wider than that.
fn fitted(width: u32, height: u32, width_max: u32) -> (u32, u32) {
    if width <= width_max {
        return (width, height);
    }
    let lines = u64::from(height) * u64::from(width_max) / u64::from(width);
    (width_max, (lines as u32).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_that_is_larger_than_any_that_is_made_is_not_decoded() {
        let mut encoder = PictureEncoder::of_stills(64, 64).unwrap();
        let mut blank = encoder.blank();
        let mut units = encoder.encode(&mut blank).unwrap();
        units.extend(encoder.finish().unwrap());
        let right = units.remove(0).payload;
        still(&right).unwrap();
        // The size in the frame's header (ITU-T T.81 section B.2.2): lines, then samples a line.
        let header = right.windows(2).position(|two| two == [0xff, 0xc0]).unwrap();
        let mut huge = right.to_vec();
        huge[header + 5..header + 9].copy_from_slice(&[0x40, 0, 0x40, 0]);
        assert!(still(&huge.into()).is_err());
    }

    #[test]
    fn a_picture_keeps_its_shape_and_is_never_made_larger() {
        assert_eq!(fitted(1_920, 1_080, 480), (480, 270));
        assert_eq!(fitted(320, 240, 480), (320, 240));
        assert_eq!(fitted(10_000, 1, 480), (480, 1));
    }
}
