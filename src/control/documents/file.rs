//! Files that hold the document in force: read again when they have changed.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use proto::metadata::{CheckError, DOCUMENT_BYTES_MAX, check};

use crate::media::documents::Channel;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// One file.
pub struct Watched {
    /// Path of the stream.
    stream: String,
    file: PathBuf,
    channel: Arc<Channel>,
    /// How it was at the last look; None before, and where there was none.
    seen: Option<Version>,
    has_looked: bool,
    /// Whether its document is in force.
    stands: bool,
}

/// What changes with a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

/// Why the document of a file is not taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("it is no file")]
    Other,
    #[error(transparent)]
    Document(#[from] CheckError),
}

/// Looks at files again and again.
pub async fn watch(mut files: Vec<Watched>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !files.is_empty() {
        ticks.tick().await;
        files.iter_mut().for_each(Watched::look);
    }
}

impl Watched {
    /// The file with what others say of a stream, before the first look.
    pub fn new(stream: &str, file: &Path, channel: Arc<Channel>) -> Watched {
        let (stream, file) = (stream.to_owned(), file.to_owned());
        Watched { stream, file, channel, seen: None, has_looked: false, stands: false }
    }

    /// Puts the document in force if there is another. One that is wrong changes nothing: who writes a file in place may
    /// be in the midst of it.
    fn look(&mut self) {
        let version = fs::metadata(&self.file).ok().map(|metadata| Version {
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
            inode: inode(&metadata),
        });
        let was_seen = std::mem::replace(&mut self.has_looked, true) && version == self.seen;
        if was_seen {
            return;
        }
        self.seen = version;
        let (stream, file) = (&self.stream, self.file.display());
        if version.is_none() {
            if std::mem::take(&mut self.stands) {
                self.channel.stand(None);
            }
            tracing::info!(%stream, "{file} is not there: its document is not sent (metadata_source)");
            return;
        }
        match read(&self.file) {
            Ok(document) => {
                tracing::debug!(%stream, bytes = document.len(), "the document of {file} is in force");
                self.stands = true;
                self.channel.stand(Some(document));
            }
            Err(error) => {
                let before = if self.stands { ", the one before stays in force" } else { "" };
                tracing::warn!(%stream, "the document of {file} is not sent{before}: {error} (metadata_source)");
            }
        }
    }
}

fn read(path: &Path) -> Result<Bytes, Refusal> {
    // Opening what has become a pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(Refusal::Other);
    }
    let mut document = Vec::new();
    File::open(path)?.take(DOCUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut document)?;
    check(&document)?;
    Ok(document.into())
}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}
