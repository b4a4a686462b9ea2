//! Encoders beside the processor: which there are, and whether they work.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use ffmpeg_next::codec::encoder;

use super::encode::{PictureEncoder, PictureSettings};
use crate::media::capture::camera;
use crate::media::format::VideoCodec;
use crate::media::hardware::{Hardware, Wanted};
use crate::media::library::MediaError;

static CHOSEN: OnceLock<Option<Hardware>> = OnceLock::new();

/// Whether what was chosen has failed: the processor does it from then on.
static HAS_FAILED: AtomicBool = AtomicBool::new(false);

/// What an encoder is tried with.
const TRIAL: PictureSettings = PictureSettings {
    codec: VideoCodec::H264,
    width: 320,
    height: 240,
    thousandths: 25_000,
    gop: 25,
    bitrate: 500_000,
};

/// Chooses for as long as the program runs. An error when what is wanted does not work.
pub fn choose(wanted: Wanted) -> Result<Option<Hardware>, String> {
    let chosen = match wanted {
        Wanted::Off => None,
        Wanted::Auto => Hardware::ALL.into_iter().find(|kind| works(*kind).is_ok()),
        Wanted::Only(kind) => {
            works(kind)?;
            Some(kind)
        }
    };
    Ok(*CHOSEN.get_or_init(|| chosen))
}

/// What was chosen, and the name of its encoder of a codec.
pub fn encoder_of_pictures(codec: VideoCodec) -> Option<(Hardware, &'static str)> {
    let kind = (*CHOSEN.get()?).filter(|_| !HAS_FAILED.load(Ordering::Relaxed))?;
    Some((kind, name(kind, codec)?))
}

/// What was chosen does not work after all.
pub fn give_up(error: &MediaError) {
    if !HAS_FAILED.swap(true, Ordering::Relaxed) {
        tracing::warn!(%error, "pictures are encoded by the processor from now on: what does beside it has failed");
    }
}

fn works(kind: Hardware) -> Result<(), String> {
    let name = name(kind, TRIAL.codec).unwrap_or_default();
    if encoder::find_by_name(name).is_none() {
        return Err(format!("this FFmpeg has no {name}"));
    }
    if kind == Hardware::V4l2m2m {
        camera::coder()?;
    }
    let tried = PictureEncoder::of_hardware(TRIAL, kind, name).and_then(PictureEncoder::try_out);
    tried.map(|_| ()).map_err(|error| error.to_string())
}

/// FFmpeg's name of an encoder. JPEG has to have the tables of RFC 2435 section 5, which the processor's has.
fn name(kind: Hardware, codec: VideoCodec) -> Option<&'static str> {
    Some(match (kind, codec) {
        (Hardware::Vaapi, VideoCodec::H264) => "h264_vaapi",
        (Hardware::Vaapi, VideoCodec::H265) => "hevc_vaapi",
        (Hardware::Nvenc, VideoCodec::H264) => "h264_nvenc",
        (Hardware::Nvenc, VideoCodec::H265) => "hevc_nvenc",
        (Hardware::Qsv, VideoCodec::H264) => "h264_qsv",
        (Hardware::Qsv, VideoCodec::H265) => "hevc_qsv",
        (Hardware::V4l2m2m, VideoCodec::H264) => "h264_v4l2m2m",
        (Hardware::V4l2m2m, VideoCodec::H265) => "hevc_v4l2m2m",
        (_, VideoCodec::Mpeg4 | VideoCodec::Jpeg) => return None,
    })
}
