//! The files that are served: made by us, so that they weigh what a live stream does, and put into their containers by
//! FFmpeg without coding.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::iter;
use std::path::{self, Path, PathBuf};
use std::process::{Command, Stdio};

use super::Figure;
use crate::picture::{self, Painter};

/// A folder with `clip.mp4`, `clip.mkv` and `clip.ts`, or without them where no figure needs files.
pub(super) struct Media {
    folder: PathBuf,
}

impl Media {
    pub(super) fn new(folder: &Path, figures: &[Figure], say: &mut dyn FnMut(&str)) -> io::Result<Media> {
        // A server takes what is relative to be beside its configuration.
        let folder = path::absolute(folder)?.join("media");
        fs::create_dir_all(&folder)?;
        let media = Media { folder };
        let needs = |figure: &Figure| matches!(figure, Figure::Files | Figure::Churn | Figure::Idle);
        if figures.iter().any(needs)
            && NAMES.into_iter().flat_map(names_of).any(|name| media.path(&name).is_none())
        {
            say(&format!("making {SECONDS} seconds of H.264 in {}", media.folder.display()));
            media.make()?;
        }
        Ok(media)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file, where it is there.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.join(name)).filter(|path| path.exists())
    }

    fn make(&self) -> io::Result<()> {
        // Not in the folder that is served: it has no container.
        let raw = self.folder.with_extension("264");
        write_raw(&raw)?;
        for name in NAMES {
            let mut command = Command::new("ffmpeg");
            command
                .args(["-y", "-v", "error", "-r", &PICTURES_PER_S.to_string(), "-f", "h264", "-i"])
                .arg(&raw);
            command.args(["-c", "copy"]).arg(self.folder.join(name)).stdin(Stdio::null());
            let output = command.output().map_err(|error| io::Error::other(format!("ffmpeg: {error}")))?;
            if !output.status.success() {
                let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(io::Error::other(format!("ffmpeg: {text}")));
            }
        }
        fs::remove_file(raw)?;
        for name in NAMES {
            for other in names_of(name).skip(1).map(|other| self.folder.join(other)) {
                let _ = fs::remove_file(&other);
                fs::hard_link(self.folder.join(name), other)?;
            }
        }
        Ok(())
    }
}

/// A file and others of the same content, which a server takes for files of their own.
pub(super) fn names_of(name: &str) -> impl Iterator<Item = String> {
    let others = (2..=FILES).map(|number| name.replace('.', &format!("-{number}.")));
    iter::once(name.to_owned()).chain(others)
}

/// Writes pictures with start codes.
fn write_raw(path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut painter = Painter::new(PICTURE_BYTES, 2 * PICTURES_PER_S);
    for _ in 0..SECONDS * PICTURES_PER_S {
        let picture = painter.paint();
        let sets = [picture::sequence_set(), picture::picture_set()];
        for unit in sets.iter().filter(|_| picture.is_keyframe).chain([&picture.slice]) {
            file.write_all(&[0, 0, 0, 1])?;
            file.write_all(unit)?;
        }
    }
    file.flush()
}

const NAMES: [&str; 3] = ["clip.mp4", "clip.mkv", "clip.ts"];

/// How many there are of each: viewers of one are so far apart that they share nothing of it for 15 s.
const FILES: u32 = 4;

/// Long enough that 100 viewers four seconds apart do not meet its end.
const SECONDS: u32 = 400;

const PICTURES_PER_S: u32 = 30;

/// 4 Mbit/s: 4e6 / 8 / 30, less the headers of packets.
const PICTURE_BYTES: usize = 16_400;
