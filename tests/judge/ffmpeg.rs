//! FFmpeg as the judge: decoded pictures as MD5s with their times, sound packet by packet or sample by sample.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::{Verdict, constant, run, same};
use crate::client::viewer::Over;
use crate::corpus::{Audio, Recipe, SECONDS};
use crate::server::scratch;

/// What FFmpeg sees of a file or of a URL.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Decoded pictures.
    pub(crate) pictures: Listing,
    /// Packets of sound; empty where sound is only samples.
    pub(crate) packets: Listing,
    /// What it wrote to standard error.
    pub(crate) warnings: String,
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

/// Ticks of RTP's clock that a player may be off: its own arithmetic with sender reports rounds.
const TICKS: f64 = 2.0;

/// Plays `url` and compares with the file; FFmpeg must end by itself.
pub(crate) fn judge(url: &str, over: Over, recipe: &'static Recipe) -> Verdict {
    let mut input = words("-thread_queue_size 100000 -buffer_size 4000000 -rtsp_transport");
    // FFmpeg stops at BYE without a look at what waits in its sockets: a thread of its own for reading keeps those
    // empty, however slow the decoder is.
    input.extend([over.name(), "-i", url].map(str::to_owned));
    let played = see(&input, recipe, Duration::from_secs(u64::from(SECONDS) + 22))?;
    compare(&source(recipe), &played, recipe)
        .map_err(|problem| format!("{problem}{}", said(&played.warnings)))
}

/// The end of what FFmpeg said, for a message.
fn said(warnings: &str) -> String {
    match warnings.lines().last() {
        Some(last) => format!(" (ffmpeg: {last})"),
        None => String::new(),
    }
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
    // FFmpeg 5.1 loses the time of the first unit behind RTP where it parses units itself, whatever the server.
    let times = |listing: &Listing| listing.times.get(1..).unwrap_or_default().to_vec();
    let pictures = constant("picture", &times(&source.pictures), &times(&played.pictures), TICKS / 90_000.0)?;
    let tolerance = TICKS / if matches!(recipe.audio, Some((Audio::Mp3, _))) { 90_000.0 } else { 44_100.0 };
    let sound = constant("packet", &times(&source.packets), &times(&played.packets), tolerance)?;
    let both = !source.pictures.sums.is_empty() && !source.packets.sums.is_empty();
    if both && (pictures - sound).abs() > 0.002 {
        return Err(format!("sound is moved by {sound:.6} s, pictures by {pictures:.6} s"));
    }
    Ok(())
}

/// What FFmpeg sees of the file itself.
pub(crate) fn source(recipe: &'static Recipe) -> Arc<Seen> {
    type Cache = Mutex<HashMap<&'static str, Arc<OnceLock<Arc<Seen>>>>>;
    static CACHE: OnceLock<Cache> = OnceLock::new();
    let cell = CACHE.get_or_init(Default::default).lock().unwrap().entry(recipe.name).or_default().clone();
    let path = recipe.path();
    let input = ["-i", path.to_str().expect("the path is ASCII")].map(str::to_owned);
    cell.get_or_init(|| Arc::new(see(&input, recipe, Duration::from_secs(60)).unwrap())).clone()
}

/// Runs FFmpeg on an input.
fn see(input: &[String], recipe: &Recipe, patience: Duration) -> Result<Seen, String> {
    let folder = Scratch(scratch("ffmpeg"));
    // Skipping of encoder delay is the container's wish, which RTP does not carry.
    let mut arguments = words("-nostdin -v error -y -copyts -threads 1 -noautorotate -flags2 +skip_manual");
    arguments.extend_from_slice(input);
    if recipe.video.is_some() {
        arguments.extend(words("-map 0:v:0 -fps_mode passthrough -enc_time_base 1:90000 -f framemd5"));
        arguments.push(folder.file("pictures"));
    }
    if let Some((audio, _)) = recipe.audio {
        arguments.extend(words(sound_output(audio)));
        arguments.push(folder.file(if audio.is_sampled() { "samples" } else { "packets" }));
    }
    let output = run("ffmpeg", &arguments, patience)?;
    let listing = |name: &str| fs::read_to_string(folder.0.join(name)).map(|text| Listing::parse(&text));
    Ok(Seen {
        pictures: listing("pictures").unwrap_or_default(),
        packets: listing("packets").unwrap_or_default(),
        samples: fs::read(folder.0.join("samples")).unwrap_or_default(),
        warnings: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
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
