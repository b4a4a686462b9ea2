//! GStreamer as the judge: its depayloaders write what they get to files, which FFmpeg reads.

use std::fs;
use std::time::Duration;

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
    let mut verdict = Err(format!("GStreamer has lost its race {RUNS_MAX} times"));
    for _ in 0..RUNS_MAX {
        match play(url, over, recipe) {
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
        println!("{} over {}, once more: {verdict:?}", recipe.name, over.name());
    }
    verdict
}

/// Plays `url` to its end; MD5s of the pictures that came. None when GStreamer has lost its race.
pub(crate) fn pictures(
    url: &str,
    over: Over,
    recipe: &'static Recipe,
) -> Result<Option<Vec<String>>, String> {
    let (video, _) = recipe.video.ok_or("there are no pictures")?;
    match play(url, over, recipe)? {
        Run::Whole(folder) => Ok(Some(listed(&folder, video)?.sums)),
        Run::LostRace => Ok(None),
    }
}

/// How often GStreamer may lose its race; a busy machine lets it lose one of twenty.
pub(crate) const RUNS_MAX: usize = 4;

enum Run {
    /// What was played lies in this folder.
    Whole(Scratch),
    /// One of the streams has ended as it began.
    LostRace,
}

fn play(url: &str, over: Over, recipe: &'static Recipe) -> Result<Run, String> {
    let folder = Scratch(scratch("gstreamer"));
    let log = folder.file("log");
    let mut arguments = words("GST_DEBUG=rtspsrc:5 GST_DEBUG_NO_COLOR=1");
    arguments.push(format!("GST_DEBUG_FILE={log}"));
    arguments.extend(words("gst-launch-1.0 -q rtspsrc name=s latency=200 drop-on-latency=false"));
    arguments.extend(words("udp-buffer-size=4000000"));
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
    let ended = run("env", &arguments, Duration::from_secs(u64::from(SECONDS) + 25));
    let log = fs::read(log).map_err(|error| format!("no log: {error}"))?;
    let has = |text: &[u8]| log.windows(text.len()).any(|window| window == text);
    match ended {
        _ if has(b"got error from udpsrc") || has(b"reason not-linked") => Ok(Run::LostRace),
        // Behind the end of the stream rtspsrc asks for PAUSE and interrupts itself, or hears of a live stream's that
        // there is no such session any more.
        Err(problem) if !["gst_rtspsrc_pause", "(454)"].iter().any(|text| problem.contains(text)) => {
            Err(problem)
        }
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
        Audio::Aac => {
            let copy = "-map 0:a:0 -c:a copy -bsf:a aac_adtstoasc";
            same("packets of sound", &source.packets.sums, &listing(folder, "-f aac", "audio", copy)?.sums)
        }
        Audio::Opus => {
            let copy = "-map 0:a:0 -c:a copy";
            same(
                "packets of sound",
                &source.packets.sums,
                &listing(folder, "-f matroska", "audio", copy)?.sums,
            )
        }
        Audio::Mp3 => {
            let copy = "-map 0:a:0 -c:a copy";
            same("packets of sound", &source.packets.sums, &listing(folder, "-f mp3", "audio", copy)?.sums)
        }
        _ => samples(folder, recipe, audio, &source.samples),
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
