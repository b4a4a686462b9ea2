//! The file that tells others our process number, and ourselves that we already run.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::Failure;

/// A locked file with our process number; it goes away with us. A file left by a crash is not locked and so not in the way.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    // The lock lives as long as the descriptor.
    _file: File,
}

impl PidFile {
    /// Writes our number to `path`.
    ///
    /// Errors: somebody who runs holds it, or it cannot be written.
    pub(super) fn take(path: &Path) -> Result<PidFile, Failure> {
        let mut file = lock(path)?;
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(|error| refuse(path, &error))?;
        Ok(PidFile { path: path.to_path_buf(), _file: file })
    }

    /// Whether `path` could be taken; its content stays.
    ///
    /// Errors: as [`PidFile::take`].
    pub(super) fn check_free(path: &Path) -> Result<(), Failure> {
        lock(path).map(drop)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Nobody is helped by an error at the very end.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn lock(path: &Path) -> Result<File, Failure> {
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = open.map_err(|error| refuse(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(refuse(path, &error)),
        Err(TryLockError::WouldBlock) => {
            let mut number = String::new();
            // A number that cannot be read is left out of the sentence.
            let _ = file.read_to_string(&mut number);
            let text =
                format!("already running as process {} (--pid-file {})", number.trim(), path.display());
            Err(Failure::Other(text))
        }
    }
}

fn refuse(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Other(format!("--pid-file {} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("ringcaster-{name}-{}.pid", std::process::id()))
    }

    #[test]
    fn a_second_taker_is_told_who_runs() {
        let path = fresh("second");
        let held = PidFile::take(&path).unwrap();
        let text =
            format!("already running as process {} (--pid-file {})", std::process::id(), path.display());
        match PidFile::take(&path) {
            Err(Failure::Other(sentence)) => assert_eq!(sentence, text),
            other => panic!("{other:?}"),
        }
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_left_by_a_crash_is_taken_over() {
        let path = fresh("crash");
        std::fs::write(&path, "999999 and more\n").unwrap();
        let held = PidFile::take(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(held);
    }
}
