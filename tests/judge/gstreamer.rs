//! GStreamer as the judge: its depayloaders write what they get to files, which FFmpeg reads.

use std::fs;
use std::time::Duration;

use super::elementary::{file_pictures, file_sound, stream_pictures};
use super::ffmpeg::{Listing, Scratch, source, words};
use super::{Verdict, run, same};
use crate::client::viewer::Over;
use crate::corpus::{Audio, Recipe, SECONDS, Video};
use crate::server::scratch;

/// Plays `url` and compares with the file; GStreamer must end by itself.
///
/// rtspsrc 1.22 has a race of its own when two streams begin at once: the first packet of one reaches a pad that is not
/// linked, because the other is not there yet, and this stream is over for it. That run says nothing of the server.
pub(crate) fn judge(url: &str, over: Over, recipe: &'static Recipe) -> Verdict {
    judge_by(url, over.name(), recipe)
}

/// The same by some of GStreamer's protocols.
pub(crate) fn judge_by(url: &str, protocols: &str, recipe: &'static Recipe) -> Verdict {
    let mut verdict = Err(format!("GStreamer has lost its race {RUNS_MAX} times"));
    for _ in 0..RUNS_MAX {
        match play(url, protocols, recipe, Until::TheEnd) {
            Ok(Run::Whole(folder)) => match compare(&folder, recipe) {
                Ok(()) => return Ok(()),
                // On a busy machine its jitter buffer drops what came late. What the server loses, the raw client misses
                // as well.
                Err(problem) => verdict = Err(problem),
            },
            Ok(Run::LostRace) => {}
            // Losing the race may also leave it waiting for ever.
            Err(problem) => verdict = Err(problem),
        }
        println!("{} over {protocols}, once more: {verdict:?}", recipe.name);
    }
    verdict
}

/// Pictures and sound in the form in which they are compared.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// MD5s of decoded pictures, or the coded data of each where GStreamer's headers are not those of the file.
    pub(crate) pictures: Vec<Vec<u8>>,
    /// MD5s of packets of sound.
    pub(crate) packets: Vec<String>,
    /// Sound that is only samples, coded.
    pub(crate) samples: Vec<u8>,
}

/// What a file holds.
pub(crate) fn content(recipe: &'static Recipe) -> Result<Content, String> {
    let mut content = Content { packets: source(recipe).packets.sums.clone(), ..Content::default() };
    match recipe.video {
        Some((video, _)) if has_other_headers(video) => {
            let units = file_pictures(recipe, video)?;
            content.pictures = units.into_iter().flat_map(|unit| unit.pieces).collect();
        }
        Some(_) => content.pictures = as_bytes(source(recipe).pictures.sums.clone()),
        None => {}
    }
    match recipe.audio {
        Some((audio, _)) if audio.is_sampled() => {
            content.samples = file_sound(recipe, audio)?.swap_remove(0).pieces.swap_remove(0);
            // Its depayloader turns codewords to the order of AAL2.
            if audio == Audio::G726Least {
                content.samples.iter_mut().for_each(|byte| *byte = byte.rotate_left(4));
            }
        }
        _ => {}
    }
    Ok(content)
}

/// How much of a stream is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    TheEnd,
    /// Four fifths of the file, of something that has no end.
    FourFifths,
}

/// Plays `url` by some of GStreamer's protocols. None when GStreamer has lost its race.
pub(crate) fn played(
    url: &str,
    protocols: &str,
    recipe: &'static Recipe,
    until: Until,
) -> Result<Option<Content>, String> {
    let Run::Whole(folder) = play(url, protocols, recipe, until)? else { return Ok(None) };
    let mut content = Content::default();
    match recipe.video {
        Some((video, _)) if has_other_headers(video) => {
            let bytes = fs::read(folder.path().join("video")).map_err(|error| error.to_string())?;
            content.pictures = stream_pictures(video, &bytes);
        }
        Some((video, _)) => content.pictures = as_bytes(listed(&folder, video)?.sums),
        None => {}
    }
    match recipe.audio {
        Some((audio, _)) if audio.is_sampled() => {
            content.samples = fs::read(folder.path().join("audio")).map_err(|error| error.to_string())?;
        }
        Some((audio, _)) => content.packets = packets(&folder, audio)?.sums,
        None => {}
    }
    Ok(Some(content))
}

/// Whether a depayloader writes pictures that FFmpeg does not decode as it does the file's: JPEG's tables are made by
/// the rules of RFC 2435, and MPEG-4's configuration is told in the description alone.
fn has_other_headers(video: Video) -> bool {
    matches!(video, Video::Jpeg | Video::Mpeg4)
}

fn as_bytes(sums: Vec<String>) -> Vec<Vec<u8>> {
    sums.into_iter().map(String::into_bytes).collect()
}

/// How often GStreamer may lose its race; a busy machine lets it lose one of twenty.
pub(crate) const RUNS_MAX: usize = 4;

/// What it may stumble over when everything has come: rtspsrc asks for PAUSE and interrupts itself, or hears of a live stream's
/// that there is no such session any more, or asks behind the end of a tunnel, which ends with the stream.
const BEHIND_THE_END: [&str; 3] = ["gst_rtspsrc_pause", "(454)", "gst_rtspsrc_close"];

enum Run {
    /// What was played lies in this folder.
    Whole(Scratch),
    /// One of the streams has ended as it began.
    LostRace,
}

fn play(url: &str, protocols: &str, recipe: &'static Recipe, until: Until) -> Result<Run, String> {
    let part = |count: usize| match until {
        Until::TheEnd => String::new(),
        Until::FourFifths => format!("! identity eos-after={}", count * 4 / 5),
    };
    let folder = Scratch(scratch("gstreamer"));
    let log = folder.file("log");
    let mut arguments = words("GST_DEBUG=rtspsrc:5 GST_DEBUG_NO_COLOR=1");
    arguments.push(format!("GST_DEBUG_FILE={log}"));
    arguments.extend(words("gst-launch-1.0 -q rtspsrc name=s latency=200 drop-on-latency=false"));
    // Servers of tests show certificates that nobody vouches for.
    arguments.extend(words("udp-buffer-size=4000000 tls-validation-flags=0"));
    arguments.push(format!("protocols={protocols}"));
    arguments.push(format!("location={url}"));
    if let Some((video, _)) = recipe.video {
        arguments.extend(words("s. ! application/x-rtp,media=video ! queue max-size-buffers=0 !"));
        arguments.extend(words(pictures_branch(video)));
        arguments.push(part(source(recipe).pictures.sums.len()));
        arguments.push(format!("! filesink location={}", folder.file("video")));
    }
    if let Some((audio, _)) = recipe.audio {
        arguments.extend(words("s. ! application/x-rtp,media=audio ! queue max-size-buffers=0 !"));
        arguments.extend(words(sound_branch(audio)));
        arguments.push(part(source(recipe).packets.sums.len()));
        arguments.push(format!("! filesink location={}", folder.file("audio")));
    }
    // Elements of one argument each, as gst-launch wants them.
    let arguments: Vec<String> = arguments.iter().flat_map(|word| words(word)).collect();
    let ended = run("env", &arguments, Duration::from_secs(u64::from(SECONDS) + 25));
    let log = fs::read(log).map_err(|error| format!("no log: {error}"))?;
    let has = |text: &[u8]| log.windows(text.len()).any(|window| window == text);
    match ended {
        _ if has(b"got error from udpsrc") || has(b"reason not-linked") => Ok(Run::LostRace),
        Err(problem) if !BEHIND_THE_END.iter().any(|text| problem.contains(text)) => Err(problem),
        _ => Ok(Run::Whole(folder)),
    }
}

fn compare(folder: &Scratch, recipe: &'static Recipe) -> Verdict {
    let source = source(recipe);
    if let Some((video, _)) = recipe.video {
        let played = listed(folder, video)?;
        same("pictures", &source.pictures.sums, &played.sums)?;
    }
    let Some((audio, _)) = recipe.audio else { return Ok(()) };
    match audio {
        audio if audio.is_sampled() => samples(folder, recipe, audio, &source.samples),
        audio => same("packets of sound", &source.packets.sums, &packets(folder, audio)?.sums),
    }
}

/// The packets of sound that lie in a folder.
fn packets(folder: &Scratch, audio: Audio) -> Result<Listing, String> {
    let copy = "-map 0:a:0 -c:a copy";
    match audio {
        Audio::Aac => listing(folder, "-f aac", "audio", &format!("{copy} -bsf:a aac_adtstoasc")),
        Audio::Mp3 => listing(folder, "-f mp3", "audio", copy),
        _ => listing(folder, "-f matroska", "audio", copy),
    }
}

/// The pictures that lie in a folder.
fn listed(folder: &Scratch, video: Video) -> Result<Listing, String> {
    let format = match video {
        Video::H264 => "h264",
        Video::H265 => "hevc",
        Video::Mpeg4 => "m4v",
        Video::Jpeg => "mjpeg",
        Video::Vp8 | Video::Av1 => "matroska",
        Video::Vp9 => "rawvideo -pix_fmt yuv420p -s 320x176",
    };
    listing(folder, &format!("-f {format}"), "video", "-map 0:v:0 -fps_mode passthrough")
}

fn samples(folder: &Scratch, recipe: &Recipe, audio: Audio, source: &[u8]) -> Verdict {
    let channels = if recipe.audio.is_some_and(|(_, arguments)| arguments.contains("-ac 2")) { 2 } else { 1 };
    let format = match audio {
        Audio::Alaw => format!("-f alaw -ac {channels}"),
        Audio::Mulaw => format!("-f mulaw -ac {channels}"),
        Audio::G722 => "-f g722".into(),
        // The depayloader turns codewords to the order of AAL2.
        Audio::G726Most | Audio::G726Least => format!("-f g726 -code_size {}", code_size(recipe)),
        _ => format!("-f s16be -ac {channels}"),
    };
    let mut arguments = words(&format!("-nostdin -v error -y {format} -i"));
    arguments.push(folder.file("audio"));
    arguments.extend(words("-c:a pcm_s16le -f s16le"));
    arguments.push(folder.file("samples"));
    run("ffmpeg", &arguments, Duration::from_secs(20))?;
    let played = fs::read(folder.path().join("samples")).unwrap_or_default();
    if played == source {
        return Ok(());
    }
    let at = source.iter().zip(&played).position(|(a, b)| a != b);
    Err(format!("samples differ from byte {at:?} on: {} bytes against {}", played.len(), source.len()))
}

/// Bits a codeword.
fn code_size(recipe: &Recipe) -> u8 {
    let arguments = recipe.audio.map_or("", |(_, arguments)| arguments);
    [("16k", 2), ("24k", 3), ("40k", 5)]
        .into_iter()
        .find(|(rate, _)| arguments.contains(rate))
        .map_or(4, |p| p.1)
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
        // The depayloader does not say how large pictures are, without which nothing can be muxed.
        Video::Vp9 => "rtpvp9depay ! vp9dec",
        Video::Av1 => unreachable!("GStreamer 1.22 cannot receive it"),
    }
}

fn sound_branch(audio: Audio) -> &'static str {
    match audio {
        Audio::Aac => "rtpmp4gdepay ! aacparse ! audio/mpeg,stream-format=adts",
        Audio::Opus => "rtpopusdepay ! matroskamux",
        Audio::Alaw => "rtppcmadepay",
        Audio::Mulaw => "rtppcmudepay",
        Audio::G722 => "rtpg722depay",
        Audio::G726Most | Audio::G726Least => "rtpg726depay force-aal2=false",
        Audio::Mp3 => "rtpmpadepay",
        Audio::L16 => "rtpL16depay",
    }
}
