//! Streams that RTP does not carry as they are: what they become when they are made anew.

use bytes::Bytes;
use ffmpeg_next::codec::Id;
use proto::track::{Codec, Kind, Track};

use super::convert::{Converters, OfContainer};
use super::raw::{Input, Stream};
use super::tracks::described;
use crate::media::opener::Foreign;
use crate::media::transcode::Makes;

/// What becomes of tracks that RTP does not carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// They are made anew where they can be decoded.
    MadeAnew,
    /// They are left out.
    LeftOut,
}

/// What stream `index` is as track `number`, and what makes it anew; `first` is its first packet, `reason` why RTP does not
/// carry it. The error says also why it cannot be made anew.
pub fn made_anew(
    input: &Input,
    index: usize,
    stream: &Stream,
    first: &Bytes,
    number: u8,
    reason: String,
) -> Result<(Track, Foreign), String> {
    if stream.is_cover || stream.kind == Kind::Application {
        return Err(reason);
    }
    // Of pictures in JPEG some may be carried: they are looked at one by one.
    if stream.codec == Id::MJPEG {
        Converters.still()(first).map_err(|error| format!("{reason}; {error}"))?;
        let track = described(Track::new(Codec::Jpeg, number), stream);
        return Ok((track, Foreign { makes: Box::new(Converters), reason }));
    }
    let track = foreign_track(stream, number).map_err(|why| format!("{reason}; {why}"))?;
    let parameters = input.parameters(index).ok_or("it is not described")?;
    let makes = OfContainer::new(parameters).map_err(|error| format!("{reason}; {error}"))?;
    Ok((track, Foreign { makes: Box::new(makes), reason }))
}

fn foreign_track(stream: &Stream, number: u8) -> Result<Track, &'static str> {
    let name = stream.codec.name();
    let rtpmap = match stream.kind {
        Kind::Video if stream.size.is_some() => format!("{name}/90000"),
        Kind::Audio if stream.sample_rate > 0 && stream.channels > 0 => {
            format!("{name}/{}/{}", stream.sample_rate, stream.channels)
        }
        _ => return Err("its container does not tell enough to make it anew"),
    };
    let codec = Codec::Other { kind: stream.kind, rtpmap, fmtp: None };
    Ok(described(Track::new(codec, number), stream))
}
