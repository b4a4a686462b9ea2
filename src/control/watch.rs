//! Sees that the configuration file has changed.
//!
//! What counts is what stands in it: editors write another file and rename it, write twice, or change its times alone.
//! It is looked at, and not listened for: that goes for folders over a network and for links as well. A look at such a folder
//! may take long, so that it has a thread of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io, thread};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Finds what is to be looked at, and what is known of it, if anything is.
type Find = Box<dyn FnOnce() -> Option<Watch> + Send>;

/// The thread that looks at the file; it ends with this.
pub struct Lookout {
    watches: Sender<Find>,
    changed: Receiver<()>,
}

impl Lookout {
    /// Begins with what is known of the file, or with nothing to look at.
    pub fn new(watch: Option<Watch>) -> io::Result<Lookout> {
        let (watches, followed) = unbounded();
        let (sender, changed) = bounded(1);
        thread::Builder::new().name("lookout".into()).spawn(move || look_out(watch, &followed, &sender))?;
        Ok(Lookout { watches, changed })
    }

    /// Another state of the file is known from now on, or nobody wants to know of changes. It may be read to be known: on the
    /// thread.
    pub fn follow(&self, find: impl FnOnce() -> Option<Watch> + Send + 'static) {
        // The thread is there as long as this is.
        let _ = self.watches.send(Box::new(find));
    }

    /// Says when something else stands in the file than is known.
    pub fn changed(&self) -> &Receiver<()> {
        &self.changed
    }
}

fn look_out(mut watch: Option<Watch>, followed: &Receiver<Find>, changed: &Sender<()>) {
    loop {
        let next = match &watch {
            Some(_) => followed.recv_timeout(LOOK_EVERY),
            None => followed.recv().map_err(RecvTimeoutError::from),
        };
        match next {
            Ok(find) => watch = find(),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                if watch.as_mut().is_some_and(Watch::look) {
                    // One that was not heard yet says the same.
                    let _ = changed.try_send(());
                }
            }
        }
    }
}

/// A file and what stood in it.
#[derive(Debug)]
pub struct Watch {
    file: PathBuf,
    known: Option<Vec<u8>>,
    /// What it was like when it was last read.
    read: Stamp,
    /// What it was like at the last look.
    seen: Stamp,
}

/// What tells one version of a file from another: when it was changed and its size. None where it is not there.
type Stamp = Option<(SystemTime, u64)>;

impl Watch {
    /// What stands in the file now is known.
    pub fn new(file: &Path) -> Watch {
        let read = stamp(file);
        Watch { file: file.to_owned(), known: fs::read(file).ok(), read, seen: read }
    }

    /// Whether something else stands in the file than is known, which is known from then on. A file that is being written is
    /// left alone until it is the same twice.
    fn look(&mut self) -> bool {
        let found = stamp(&self.file);
        let is_settled = std::mem::replace(&mut self.seen, found) == found;
        if !is_settled || found == self.read {
            return false;
        }
        self.read = found;
        // A file that is gone is on its way to being replaced.
        let Ok(bytes) = fs::read(&self.file) else { return false };
        let is_other = self.known.as_ref() != Some(&bytes);
        self.known = Some(bytes);
        is_other
    }
}

fn stamp(file: &Path) -> Stamp {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_changed_when_something_else_stands_in_it_twice() {
        let folder = std::env::temp_dir().join(format!("ringcaster-watch-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a.xml");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(&file);
        let mut looks = || [watch.look(), watch.look(), watch.look()];
        assert_eq!(looks(), [false; 3]);
        fs::write(&file, "another").unwrap();
        assert_eq!(looks(), [false, true, false], "half of it might have been there");
        fs::remove_file(&file).unwrap();
        assert_eq!(looks(), [false; 3]);
        fs::write(&file, "another").unwrap();
        assert_eq!(looks(), [false; 3], "the same is back");
        fs::write(folder.join("b.xml"), "yet another").unwrap();
        fs::rename(folder.join("b.xml"), &file).unwrap();
        assert_eq!(looks(), [false, true, false]);
        fs::remove_dir_all(folder).unwrap();
    }
}
