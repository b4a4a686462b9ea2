//! A JPEG picture that RTP does not carry, decoded and encoded as one that it does.

use bytes::Bytes;
use ffmpeg_next::frame::Video;
use proto::frame::Frame;
use proto::track::{Codec, Track};

use super::decode::Decoder;
use crate::media::ffmpeg::encode::PictureEncoder;
use crate::media::ffmpeg::raw::Scaler;
use crate::media::library::MediaError;

/// The picture, of its size. An error when it cannot be decoded.
pub fn still(picture: &Bytes) -> Result<Bytes, MediaError> {
    let broken = |what: &str| MediaError::Broken(format!("a JPEG picture {what}"));
    let mut decoder = Decoder::open(&Track::new(Codec::Jpeg, 0))?;
    let payload = picture.clone();
    let frame = Frame { track: 0, pts: 0, dts: 0, duration: 0, keyframe: true, payload };
    let mut decoded = decoder.push::<Video>(&frame);
    decoded.extend(decoder.finish::<Video>());
    let decoded = decoded.first().ok_or_else(|| broken("cannot be decoded"))?;
    let mut encoder = PictureEncoder::of_stills(decoded.width(), decoded.height())?;
    let mut scaled = encoder.blank();
    let shape = (decoded.format(), decoded.width(), decoded.height());
    let wanted = (scaled.format(), scaled.width(), scaled.height());
    Scaler::new(shape, wanted)
        .and_then(|mut scaler| scaler.run(decoded, &mut scaled))
        .map_err(|error| MediaError::Broken(format!("a JPEG picture cannot be made anew: {error}")))?;
    let mut encoded = encoder.encode(&mut scaled)?;
    encoded.extend(encoder.finish()?);
    encoded
        .into_iter()
        .next()
        .map(|unit| unit.payload)
        .ok_or_else(|| broken("gives nothing when it is encoded"))
}
