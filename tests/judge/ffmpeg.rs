//! FFmpeg as the judge: decoded pictures as MD5s with their times, sound packet by packet or sample by sample.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::{Verdict, constant, run, same};
use crate::client::viewer::Over;
use crate::corpus::{Audio, Recipe, SECONDS, Video};
use crate::server::scratch;

/// What FFmpeg sees of a file or of a URL.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Decoded pictures.
    pub(crate) pictures: Listing,
    /// Packets of sound; empty where sound is only samples.
    pub(crate) packets: Listing,
    /// Decoded sound, 16 bits a sample; empty where sound comes in packets.
    pub(crate) samples: Vec<u8>,
}

/// One output of the `framemd5` muxer.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// MD5s, in order.
    pub(crate) sums: Vec<String>,
    /// Presentation times in seconds, in order.
    pub(crate) times: Vec<f64>,
    /// Sizes in bytes, in order.
    pub(crate) sizes: Vec<usize>,
}

/// Ticks of RTP's clock that a player may be off: both reports of its arithmetic round, and so do its sums.
const TICKS: f64 = 2.5;

/// Plays `url` and compares with the file; FFmpeg must end by itself.
pub(crate) fn judge(url: &str, over: Over, recipe: &'static Recipe) -> Verdict {
    judge_by(url, over.name(), recipe)
}

/// The same by a transport of FFmpeg's.
pub(crate) fn judge_by(url: &str, transport: &str, recipe: &'static Recipe) -> Verdict {
    // Times as they come: else FFmpeg counts from the first packet that it knows a time of, which need not be shown first.
    let input = ["-copyts", "-rtsp_transport", transport, "-buffer_size", "4000000", "-i", url];
    let patience = Duration::from_secs(u64::from(SECONDS) + 22);
    let played = match recipe.video {
        // A busy machine does not decode these in time, and FFmpeg does not read while it decodes.
        Some((video, _)) if recipe.is_large() => keep_and_see(&input, video, patience)?,
        _ => see(&input, recipe, patience)?,
    };
    compare(&source(recipe), &played, recipe)
}

/// Compares what was played with what the file holds.
pub(crate) fn compare(source: &Seen, played: &Seen, recipe: &Recipe) -> Verdict {
    same("pictures", &source.pictures.sums, &played.pictures.sums)?;
    same("packets of sound", &source.packets.sums, &played.packets.sums)?;
    if source.samples != played.samples {
        let at = source.samples.iter().zip(&played.samples).position(|(a, b)| a != b);
        let counts = format!("{} bytes against {}", played.samples.len(), source.samples.len());
        return Err(format!("samples of sound differ from byte {at:?} on: {counts}"));
    }
    let timed = |listing: &Listing, from: usize| listing.times.get(from..).unwrap_or_default().to_vec();
    let from = usize::from(recipe.video.is_some_and(|(video, _)| loses_first_time(video)));
    let (wanted, found) = (timed(&source.pictures, from), timed(&played.pictures, from));
    let pictures = constant("picture", &wanted, &found, TICKS / 90_000.0)?;
    let is_mp3 = matches!(recipe.audio, Some((Audio::Mp3, _)));
    let from = usize::from(is_mp3);
    let (wanted, found) = (timed(&source.packets, from), timed(&played.packets, from));
    let tolerance = TICKS / if is_mp3 { 90_000.0 } else { 44_100.0 };
    let sound = constant("packet", &wanted, &found, tolerance)?;
    let both = !source.pictures.sums.is_empty() && !source.packets.sums.is_empty();
    if both && (pictures - sound).abs() > 0.002 {
        return Err(format!("sound is moved by {sound:.6} s, pictures by {pictures:.6} s"));
    }
    Ok(())
}

/// Whether FFmpeg 5 gives the first packet from RTP no time: its parsers (`av_parser_parse2`) count bytes from the
/// packet's place in the file, which is -1 there, and so miss the first. MP3 is one of these, too.
pub(crate) fn loses_first_time(video: Video) -> bool {
    matches!(video, Video::H264 | Video::H265 | Video::Mpeg4)
}

/// What FFmpeg sees of the file itself.
pub(crate) fn source(recipe: &'static Recipe) -> Arc<Seen> {
    type Cache = Mutex<HashMap<&'static str, Arc<OnceLock<Arc<Seen>>>>>;
    static CACHE: OnceLock<Cache> = OnceLock::new();
    let cell = CACHE.get_or_init(Default::default).lock().unwrap().entry(recipe.name).or_default().clone();
    let path = recipe.path();
    let input = ["-i", path.to_str().expect("the path is ASCII")];
    cell.get_or_init(|| Arc::new(see(&input, recipe, Duration::from_secs(60)).unwrap())).clone()
}

/// Runs FFmpeg on an input.
pub(crate) fn see(input: &[&str], recipe: &Recipe, patience: Duration) -> Result<Seen, String> {
    let folder = Scratch(scratch("ffmpeg"));
    // Skipping of encoder delay is the container's wish, which RTP does not carry.
    let mut arguments = words("-nostdin -v error -y -threads 1 -noautorotate -flags2 +skip_manual");
    arguments.extend(input.iter().map(|word| word.to_string()));
    if recipe.video.is_some() {
        arguments.extend(words("-map 0:v:0 -fps_mode passthrough -enc_time_base 1:90000 -f framemd5"));
        arguments.push(folder.file("pictures"));
    }
    if let Some((audio, _)) = recipe.audio {
        arguments.extend(words(sound_output(audio)));
        arguments.push(folder.file(if audio.is_sampled() { "samples" } else { "packets" }));
    }
    run("ffmpeg", &arguments, patience)?;
    let listing = |name: &str| fs::read_to_string(folder.0.join(name)).map(|text| Listing::parse(&text));
    Ok(Seen {
        pictures: listing("pictures").unwrap_or_default(),
        packets: listing("packets").unwrap_or_default(),
        samples: fs::read(folder.0.join("samples")).unwrap_or_default(),
    })
}

/// Keeps the pictures of an input as they come and decodes them when it has ended.
pub(crate) fn keep_and_see(input: &[&str], video: Video, patience: Duration) -> Result<Seen, String> {
    let folder = Scratch(scratch("ffmpeg"));
    let format = match video {
        Video::H264 => "h264",
        Video::H265 => "hevc",
        Video::Jpeg => "mjpeg",
        _ => return Err(format!("{video:?} has no bare format")),
    };
    let mut arguments = words("-nostdin -v error -y");
    arguments.extend(input.iter().map(|word| word.to_string()));
    arguments.extend(words(&format!("-map 0:v:0 -c copy -f {format}")));
    arguments.push(folder.file("data"));
    arguments.extend(words("-map 0:v:0 -c copy -f framemd5"));
    arguments.push(folder.file("times"));
    run("ffmpeg", &arguments, patience)?;
    let mut arguments = words(&format!("-nostdin -v error -y -threads 1 -f {format} -i"));
    arguments.push(folder.file("data"));
    arguments.extend(words("-map 0:v:0 -fps_mode passthrough -f framemd5"));
    arguments.push(folder.file("sums"));
    run("ffmpeg", &arguments, Duration::from_secs(60))?;
    let listing = |name: &str| fs::read_to_string(folder.0.join(name)).map(|text| Listing::parse(&text));
    let mut pictures = listing("sums").map_err(|error| error.to_string())?;
    let mut times = listing("times").map_err(|error| error.to_string())?.times;
    // Pictures are shown in this order. One without a time counts as before all others, as FFmpeg writes it.
    times.sort_by(f64::total_cmp);
    pictures.times = times;
    Ok(Seen { pictures, ..Seen::default() })
}

/// A folder that goes with its owner.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("the path is ASCII").to_owned()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Listing {
    /// Reads the muxer's columns: stream, dts, pts, duration, size, sum.
    pub(crate) fn parse(text: &str) -> Listing {
        let mut listing = Listing::default();
        let mut tick = 0.0;
        for line in text.lines() {
            if let Some(base) = line.strip_prefix("#tb 0: ") {
                let (numerator, denominator) = base.split_once('/').expect("a time base is a fraction");
                tick = numerator.parse::<f64>().unwrap() / denominator.parse::<f64>().unwrap();
            }
            if line.starts_with('#') {
                continue;
            }
            let columns: Vec<_> = line.split(',').map(str::trim).collect();
            listing.times.push(columns[2].parse::<f64>().unwrap() * tick);
            listing.sizes.push(columns[4].parse().unwrap());
            listing.sums.push(columns[5].to_owned());
        }
        listing
    }
}

fn sound_output(audio: Audio) -> &'static str {
    match audio {
        Audio::Aac => "-map 0:a:0 -c:a copy -bsf:a aac_adtstoasc -f framemd5",
        Audio::Opus | Audio::Mp3 => "-map 0:a:0 -c:a copy -f framemd5",
        _ => "-map 0:a:0 -c:a pcm_s16le -f s16le",
    }
}

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
