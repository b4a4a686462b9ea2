//! GStreamer as the judge: its depayloaders write what they get to files, which FFmpeg reads.

use std::fs;
use std::time::Duration;

use super::elementary::file_sound;
use super::ffmpeg::{Listing, Scratch, source, words};
use super::{Verdict, run, same};
use crate::client::viewer::Over;
use crate::corpus::{Audio, Recipe, SECONDS, Video};
use crate::server::scratch;

/// Plays `url` and compares with the file; GStreamer must end by itself.
///
/// Its jitter buffer guesses from the arrival of packets when the announced range will be over and ends there, on a
/// busy machine some packets early. So a verdict counts when three attempts agree that something is wrong.
pub(crate) fn judge(url: &str, over: Over, recipe: &'static Recipe) -> Verdict {
    attempt(url, over, recipe).or_else(|_| attempt(url, over, recipe)).or_else(|_| attempt(url, over, recipe))
}

fn attempt(url: &str, over: Over, recipe: &'static Recipe) -> Verdict {
    let folder = Scratch(scratch("gstreamer"));
    let mut arguments = words("-q rtspsrc name=s latency=200 drop-on-latency=false udp-buffer-size=4000000");
    arguments.push(format!("protocols={}", over.name()));
    arguments.push(format!("location={url}"));
    if let Some((video, _)) = recipe.video {
        arguments.extend(words("s. ! application/x-rtp,media=video ! queue max-size-buffers=0 !"));
        arguments.extend(words(pictures_branch(video)));
        arguments.push(format!("! filesink location={}", folder.file("video")));
    }
    if let Some((audio, _)) = recipe.audio {
        arguments.extend(words("s. ! application/x-rtp,media=audio ! queue max-size-buffers=0 !"));
        arguments.extend(words(sound_branch(audio)));
        arguments.push(format!("! filesink location={}", folder.file("audio")));
    }
    // Elements of one argument each, as gst-launch wants them.
    let arguments: Vec<String> = arguments.iter().flat_map(|word| words(word)).collect();
    run("gst-launch-1.0", &arguments, Duration::from_secs(u64::from(SECONDS) + 22))?;
    compare(&folder, recipe)
}

/// Whether GStreamer 1.22 can receive the file at all: it has no depayloader for AV1.
pub(crate) fn can(recipe: &Recipe) -> bool {
    !matches!(recipe.video, Some((Video::Av1, _)))
}

fn compare(folder: &Scratch, recipe: &'static Recipe) -> Verdict {
    let source = source(recipe);
    if let Some((video, _)) = recipe.video {
        let format = match video {
            Video::H264 => "h264",
            Video::H265 => "hevc",
            Video::Mpeg4 => "m4v",
            Video::Jpeg => "mjpeg",
            Video::Vp8 | Video::Vp9 | Video::Av1 => "matroska",
        };
        let played = listing(folder, &format!("-f {format}"), "video", "-map 0:v:0 -fps_mode passthrough")?;
        same("pictures", &source.pictures.sums, &played.sums)?;
    }
    let Some((audio, _)) = recipe.audio else { return Ok(()) };
    let mut wanted: Vec<u8> =
        file_sound(recipe, audio)?.into_iter().flat_map(|unit| unit.pieces.concat()).collect();
    if audio == Audio::G726Least {
        // The depayloader turns the codewords, of four bits here, to the other order.
        wanted.iter_mut().for_each(|byte| *byte = byte.rotate_left(4));
    }
    let played = fs::read(folder.path().join("audio")).unwrap_or_default();
    if played == wanted {
        return Ok(());
    }
    let at = wanted.iter().zip(&played).position(|(a, b)| a != b);
    Err(format!("sound differs from byte {at:?} on: {} bytes against {}", played.len(), wanted.len()))
}

fn listing(folder: &Scratch, format: &str, name: &str, output: &str) -> Result<Listing, String> {
    let mut arguments = words(&format!("-nostdin -v error -y -threads 1 -flags2 +skip_manual {format} -i"));
    arguments.push(folder.file(name));
    arguments.extend(words(&format!("{output} -f framemd5")));
    let list = folder.file(&format!("{name}.md5"));
    arguments.push(list.clone());
    run("ffmpeg", &arguments, Duration::from_secs(30))?;
    Ok(Listing::parse(&fs::read_to_string(list).unwrap_or_default()))
}

fn pictures_branch(video: Video) -> &'static str {
    match video {
        Video::H264 => "rtph264depay ! video/x-h264,stream-format=byte-stream,alignment=au",
        Video::H265 => "rtph265depay ! video/x-h265,stream-format=byte-stream,alignment=au",
        Video::Mpeg4 => "rtpmp4vdepay",
        Video::Jpeg => "rtpjpegdepay",
        Video::Vp8 => "rtpvp8depay ! matroskamux",
        Video::Vp9 => "rtpvp9depay ! vp9parse ! matroskamux",
        Video::Av1 => unreachable!("can() says no"),
    }
}

fn sound_branch(audio: Audio) -> &'static str {
    match audio {
        Audio::Aac => "rtpmp4gdepay",
        Audio::Opus => "rtpopusdepay",
        Audio::Alaw => "rtppcmadepay",
        Audio::Mulaw => "rtppcmudepay",
        Audio::G722 => "rtpg722depay",
        Audio::G726Most | Audio::G726Least => "rtpg726depay force-aal2=false",
        Audio::Mp3 => "rtpmpadepay",
        Audio::L16 => "rtpL16depay",
    }
}
