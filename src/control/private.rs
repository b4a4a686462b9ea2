//! Files with secrets in them: nobody but who runs the server may read what is made here.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// How such a file is made; an error where there is one.
#[cfg(unix)]
pub fn file() -> OpenOptions {
    let mut options = OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
    options
}

/// How such a file is made; an error where there is one. The folder says who may read it.
#[cfg(not(unix))]
pub fn file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    options
}

/// Puts a file in the place of the one before, whole or not at all.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    match fs::remove_file(&fresh) {
        // Half of one, of a program that was ended while it wrote.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = file().open(&fresh).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let placed = written.and_then(|()| fs::rename(&fresh, path));
    if placed.is_err() {
        // What is there stays.
        let _ = fs::remove_file(&fresh);
    }
    placed
}
