//! Media files made with the `ffmpeg` program: every codec that is carried, in every container that holds it.
//!
//! The files are kept in `target/` from run to run, in a folder named after the recipe's hash.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A codec for pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Video {
    H264,
    H265,
    Mpeg4,
    Jpeg,
    Vp8,
    Vp9,
    Av1,
}

/// A codec for sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Audio {
    Aac,
    Opus,
    Alaw,
    Mulaw,
    G722,
    /// Codewords from the most significant bits on.
    G726Most,
    /// Codewords from the least significant bits on.
    G726Least,
    Mp3,
    L16,
}

impl Audio {
    /// Whether packets have no bounds of their own: a stream of samples that may be cut anywhere.
    pub(crate) fn is_sampled(self) -> bool {
        !matches!(self, Audio::Aac | Audio::Opus | Audio::Mp3)
    }
}

/// How one file is made.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub(crate) struct Recipe {
    /// The file's name; its extension chooses the container.
    pub(crate) name: &'static str,
    /// Codec and further arguments of its encoder.
    pub(crate) video: Option<(Video, &'static str)>,
    /// Codec and further arguments of its encoder.
    pub(crate) audio: Option<(Audio, &'static str)>,
    /// Size and pictures a second of the input.
    pub(crate) input: &'static str,
}

/// Seconds that each file lasts.
pub(crate) const SECONDS: u32 = 3;

// RTP/JPEG counts pixels in eights (RFC 2435 section 3.1.5).
const SMALL: &str = "s=320x176:r=25";
const FULL: &str = "s=1920x1080:r=25";
const FOUR_K: &str = "s=3840x2160:r=5";

use Audio::*;
use Video::*;

const fn both(name: &'static str, video: (Video, &'static str), audio: (Audio, &'static str)) -> Recipe {
    Recipe { name, video: Some(video), audio: Some(audio), input: SMALL }
}

const fn seen(name: &'static str, video: Video, arguments: &'static str) -> Recipe {
    Recipe { name, video: Some((video, arguments)), audio: None, input: SMALL }
}

const fn heard(name: &'static str, audio: Audio, arguments: &'static str) -> Recipe {
    Recipe { name, video: None, audio: Some((audio, arguments)), input: SMALL }
}

const fn large(name: &'static str, video: Video, arguments: &'static str, input: &'static str) -> Recipe {
    Recipe { name, video: Some((video, arguments)), audio: None, input }
}

const B: &str = "-bf 2";
const NO_B: &str = "-bf 0";
const MONO_48: &str = "-ar 48000 -ac 1";
const STEREO_48: &str = "-ar 48000 -ac 2";
const MONO_44: &str = "-ar 44100 -ac 1";
const STEREO_44: &str = "-ar 44100 -ac 2";
const MONO_8: &str = "-ar 8000 -ac 1";
const MONO_16: &str = "-ar 16000 -ac 1";

/// Half the columns of colour and all its rows, in the only order that RTP carries (RFC 2435 section 4.1): FFmpeg
/// encodes these in another.
const SUBSAMPLED_ACROSS: &str = "by GStreamer";

/// All files.
pub(crate) const RECIPES: &[Recipe] = &[
    both("h264_aac.mp4", (H264, B), (Aac, STEREO_48)),
    both("h264_ip_aac.mp4", (H264, NO_B), (Aac, MONO_44)),
    both("h264_slices.mp4", (H264, "-bf 0 -slices 4"), (Opus, STEREO_48)),
    both("h264_faststart.mp4", (H264, "-bf 2 -movflags +faststart"), (Mp3, STEREO_44)),
    both("h264_fragmented.mp4", (H264, "-bf 2 -movflags +frag_keyframe+empty_moov"), (Aac, STEREO_44)),
    both("h264_aac.mov", (H264, B), (Aac, MONO_48)),
    both("h264_opus.mkv", (H264, B), (Opus, STEREO_48)),
    both("h264_pcma.mkv", (H264, NO_B), (Alaw, MONO_8)),
    both("h264_aac.flv", (H264, B), (Aac, STEREO_44)),
    both("h264_mp3.flv", (H264, NO_B), (Mp3, STEREO_44)),
    both("h264_mp3.avi", (H264, NO_B), (Mp3, STEREO_44)),
    both("h264_aac.ts", (H264, B), (Aac, STEREO_48)),
    both("h264_mp3.mpg", (H264, B), (Mp3, STEREO_48)),
    seen("h264.264", H264, NO_B),
    seen("h264_b.264", H264, B),
    seen("h264_uneven.mp4", H264, "-bf 0 -vf select=lt(mod(n\\,5)\\,3) -fps_mode vfr"),
    seen("h264_uneven_b.mkv", H264, "-bf 2 -vf select=lt(mod(n\\,7)\\,4) -fps_mode vfr"),
    both("h264_late.mkv", (H264, "-bf 2 -output_ts_offset 10"), (Aac, STEREO_48)),
    both("h264_late.mp4", (H264, "-bf 2 -output_ts_offset 10"), (Aac, STEREO_48)),
    both("h264_late.ts", (H264, "-bf 0 -output_ts_offset 95000"), (Aac, STEREO_48)),
    both("h264_rotated.mp4", (H264, "-bf 2 -metadata:s:v:0 rotate=90"), (Aac, STEREO_48)),
    both("h264_b.avi", (H264, B), (Mp3, STEREO_44)),
    seen("h264_open_gop.mkv", H264, "-bf 2 -x264-params open-gop=1"),
    large("h264_1080p.mp4", H264, B, FULL),
    large("h264_4k.mp4", H264, "-bf 0 -g 5", FOUR_K),
    both("h265_aac.mp4", (H265, B), (Aac, STEREO_44)),
    both("h265_ip_aac.mp4", (H265, NO_B), (Aac, MONO_48)),
    both("h265_aac.mov", (H265, B), (Aac, STEREO_48)),
    both("h265_opus.mkv", (H265, B), (Opus, MONO_48)),
    both("h265_aac.ts", (H265, B), (Aac, MONO_44)),
    seen("h265.265", H265, NO_B),
    seen("h265_b.265", H265, B),
    large("h265_1080p.mkv", H265, B, FULL),
    large("h265_4k.mp4", H265, "-bf 0 -g 5", FOUR_K),
    both("mpeg4_aac.mp4", (Mpeg4, B), (Aac, STEREO_48)),
    both("mpeg4_ip_mp3.avi", (Mpeg4, NO_B), (Mp3, MONO_44)),
    both("mpeg4_mp3.mkv", (Mpeg4, B), (Mp3, STEREO_44)),
    both("mpeg4_aac.mov", (Mpeg4, NO_B), (Aac, MONO_48)),
    both("mpeg4_mp3.ts", (Mpeg4, B), (Mp3, STEREO_48)),
    both("mpeg4_mp3.mpg", (Mpeg4, NO_B), (Mp3, MONO_44)),
    seen("mpeg4.m4v", Mpeg4, NO_B),
    seen("mpeg4_b.m4v", Mpeg4, B),
    both("mpeg4_b.avi", (Mpeg4, B), (Mp3, STEREO_44)),
    seen("mpeg4_rotated.mov", Mpeg4, "-bf 0 -metadata:s:v:0 rotate=180"),
    both("jpeg_pcmu.mov", (Jpeg, "-pix_fmt yuvj420p"), (Mulaw, MONO_8)),
    both("jpeg_pcm.avi", (Jpeg, SUBSAMPLED_ACROSS), (L16, STEREO_44)),
    both("jpeg_g722.mkv", (Jpeg, "-pix_fmt yuvj420p"), (G722, MONO_16)),
    seen("jpeg.mp4", Jpeg, "-pix_fmt yuvj420p"),
    seen("jpeg.mjpeg", Jpeg, "-pix_fmt yuvj420p"),
    seen("jpeg_422.mjpeg", Jpeg, SUBSAMPLED_ACROSS),
    large("jpeg_1080p.mov", Jpeg, "-pix_fmt yuvj420p", FULL),
    both("vp8_opus.webm", (Vp8, ""), (Opus, STEREO_48)),
    both("vp8_mp3.mkv", (Vp8, ""), (Mp3, MONO_48)),
    both("vp9_opus.webm", (Vp9, ""), (Opus, MONO_48)),
    seen("vp9.mp4", Vp9, ""),
    seen("vp9.mkv", Vp9, ""),
    both("av1_opus.webm", (Av1, ""), (Opus, STEREO_48)),
    seen("av1.mp4", Av1, ""),
    seen("av1.mkv", Av1, ""),
    heard("aac.aac", Aac, STEREO_44),
    heard("aac_mono.m4a", Aac, MONO_48),
    heard("aac.mkv", Aac, STEREO_48),
    heard("mp3.mp3", Mp3, STEREO_44),
    heard("mp3_mono.mp3", Mp3, MONO_48),
    heard("opus.ogg", Opus, STEREO_48),
    heard("opus_mono.ogg", Opus, MONO_48),
    heard("opus.mp4", Opus, STEREO_48),
    heard("opus.ts", Opus, STEREO_48),
    heard("pcma.wav", Alaw, MONO_8),
    heard("pcma_stereo.wav", Alaw, STEREO_44),
    heard("pcmu.wav", Mulaw, MONO_8),
    heard("pcmu_stereo.mov", Mulaw, STEREO_48),
    heard("pcma.flv", Alaw, MONO_8),
    heard("pcmu.avi", Mulaw, MONO_8),
    heard("g722.wav", G722, MONO_16),
    heard("g722.g722", G722, MONO_16),
    heard("g726_32.wav", G726Most, MONO_8),
    heard("g726_16.wav", G726Most, "-ar 8000 -ac 1 -b:a 16k"),
    heard("g726_24.wav", G726Most, "-ar 8000 -ac 1 -b:a 24k"),
    heard("g726_40.wav", G726Most, "-ar 8000 -ac 1 -b:a 40k"),
    heard("g726_32.au", G726Least, MONO_8),
    heard("l16_stereo.wav", L16, STEREO_44),
    heard("l16_mono.wav", L16, MONO_44),
    heard("l16_48.wav", L16, STEREO_48),
    heard("l16.mkv", L16, MONO_48),
    heard("l16_big_endian.mov", L16, STEREO_48),
];

impl Recipe {
    /// The recipe of that name.
    pub(crate) fn named(name: &str) -> &'static Recipe {
        RECIPES.iter().find(|recipe| recipe.name == name).unwrap_or_else(|| panic!("no recipe for {name}"))
    }

    pub(crate) fn path(&self) -> PathBuf {
        folder().join(self.name)
    }

    /// Whether FFmpeg finds a presentation time at every picture of the file.
    pub(crate) fn tells_times(&self) -> bool {
        ![".264", ".265", ".m4v", ".mpg", ".avi"].iter().any(|ending| self.name.ends_with(ending))
    }

    /// Whether it takes a while to decode.
    pub(crate) fn is_large(&self) -> bool {
        self.input != SMALL
    }

    fn is_by_gstreamer(&self) -> bool {
        matches!(self.video, Some((_, SUBSAMPLED_ACROSS)))
    }

    fn arguments(&self) -> Vec<String> {
        let tone = format!("sine=frequency=440:beep_factor=4:sample_rate=48000:duration={SECONDS}");
        let mut text = format!("-f lavfi -i testsrc2={}:d={SECONDS} -f lavfi -i {tone}", self.input);
        if self.is_by_gstreamer() {
            text = format!("-f mjpeg -framerate 25 -i pipe: -f lavfi -i {tone} -map 0:v -c:v copy");
        } else if let Some((video, arguments)) = self.video {
            text += &format!(" -map 0:v {} -pix_fmt yuv420p {arguments}", encoder(video));
        }
        if let Some((audio, arguments)) = self.audio {
            text += &format!(" -map 1:a -c:a {} {arguments}", sound_encoder(audio, self.name));
        }
        if self.name.ends_with(".mpg") {
            text += " -f vob";
        }
        // The same bits at every making, whatever the machine.
        text += " -threads 1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact";
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn make(&self, folder: &Path) {
        let path = folder.join(self.name);
        if path.exists() {
            return;
        }
        // A name of this process's own, so that two runs at once do not write one file.
        let unfinished = folder.join(format!("{}-{}", std::process::id(), self.name));
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-y"]).args(self.arguments()).arg(&unfinished);
        let pictures = self.is_by_gstreamer().then(|| pictures_by_gstreamer(&unfinished));
        command.stdin(pictures.map_or(Stdio::null(), Stdio::from));
        let output = command.output().expect("ffmpeg is installed");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} cannot be made: {errors}", self.name);
        fs::rename(unfinished, path).unwrap();
    }
}

/// The folder with all files, made at first use.
pub(crate) fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let mut hasher = DefaultHasher::new();
        for recipe in RECIPES {
            recipe.arguments().hash(&mut hasher);
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("corpus-{:016x}", hasher.finish()));
        fs::create_dir_all(&folder).unwrap();
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
                scope.spawn(|| {
                    while let Some(recipe) = RECIPES.get(next.fetch_add(1, Ordering::Relaxed)) {
                        recipe.make(&folder);
                    }
                });
            }
        });
        folder
    })
}

/// JPEG pictures back to back.
fn pictures_by_gstreamer(beside: &Path) -> fs::File {
    let path = beside.with_extension("pictures");
    let format = "video/x-raw,format=Y42B,width=320,height=176,framerate=25/1";
    let mut command = Command::new("gst-launch-1.0");
    command.args([
        "-q",
        "videotestsrc",
        "pattern=ball",
        &format!("num-buffers={}", 25 * SECONDS),
        "!",
        format,
    ]);
    command.args(["!", "jpegenc", "!", "filesink", &format!("location={}", path.display())]);
    let output = command.output().expect("gst-launch-1.0 is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = fs::File::open(&path).unwrap();
    fs::remove_file(path).unwrap();
    file
}

fn encoder(video: Video) -> &'static str {
    match video {
        H264 => "-c:v libx264 -preset veryfast -g 25",
        H265 => "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=25",
        Mpeg4 => "-c:v mpeg4 -q:v 4 -g 25",
        // Only the standard tables can be carried (RFC 2435 section 3.1.8).
        Jpeg => "-c:v mjpeg -q:v 5 -huffman default",
        Vp8 => "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 500k -g 25",
        Vp9 => "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 500k -g 25",
        Av1 => "-c:v libsvtav1 -preset 12 -g 25",
    }
}

fn sound_encoder(audio: Audio, name: &str) -> &'static str {
    match audio {
        Aac => "aac",
        Opus => "libopus",
        Alaw => "pcm_alaw",
        Mulaw => "pcm_mulaw",
        G722 => "g722",
        G726Most => "g726",
        G726Least => "g726le",
        Mp3 => "libmp3lame",
        L16 if name.contains("big_endian") => "pcm_s16be",
        L16 => "pcm_s16le",
    }
}

#[test]
fn the_whole_corpus_can_be_made() {
    for recipe in RECIPES {
        let bytes = fs::metadata(folder().join(recipe.name)).unwrap().len();
        assert!(bytes > 1_000, "{} has {bytes} bytes", recipe.name);
    }
}
