//! What portals remember a user's choice by, kept where programs keep such things: `$XDG_STATE_HOME/ringcaster`, which
//! is `~/.local/state/ringcaster` for most.

use std::collections::HashMap;
use std::env;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::media::capture::Device;

/// Longest token that is read, in bytes: portals make UUIDs.
const BYTES_MAX: usize = 1_024;

/// Tokens by the index of their screen. Each is good once: a portal gives the next one with the answer.
#[derive(Debug)]
pub(super) struct Tokens {
    /// None where there is no such folder: tokens last as long as the program then.
    folder: Option<PathBuf>,
    kept: Mutex<HashMap<u32, String>>,
}

impl Tokens {
    /// Those of the user that the program runs as.
    pub(super) fn of_this_user() -> Tokens {
        let absolute = |variable: &str| {
            let folder = env::var_os(variable).map(PathBuf::from);
            folder.filter(|folder| folder.is_absolute())
        };
        let state = absolute("XDG_STATE_HOME");
        let state = state.or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        Tokens::below(state.map(|state| state.join("ringcaster")))
    }

    fn below(folder: Option<PathBuf>) -> Tokens {
        Tokens { folder, kept: Mutex::default() }
    }

    /// The token of a screen; None when the user has to be asked.
    pub(super) fn get(&self, index: u32) -> Option<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&index).cloned();
        kept.or_else(|| {
            let text = fs::read_to_string(self.file(index)?).ok()?;
            Some(text.trim().to_owned()).filter(|token| !token.is_empty() && token.len() <= BYTES_MAX)
        })
    }

    /// Remembers a token.
    pub(super) fn keep(&self, index: u32, token: &str) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(index, token.to_owned());
        let Some(file) = self.file(index) else { return };
        if let Err(error) = write(&file, token) {
            let file = file.display();
            tracing::warn!(%file, %error, "the choice of a screen cannot be kept; the next start asks again");
        }
    }

    /// Has the user be asked again.
    pub(super) fn forget(&self, index: u32) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&index);
        if let Some(file) = self.file(index) {
            let _ = fs::remove_file(file);
        }
    }

    fn file(&self, index: u32) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{}.token", Device::Screen(index))))
    }
}

/// Writes a file that nobody else may read, whole or not at all.
fn write(file: &Path, token: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let new = file.with_extension("new");
    let mut written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    written.write_all(token.as_bytes())?;
    fs::rename(new, file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn tokens_outlive_the_program_and_are_for_its_user_alone() {
        let folder = env::temp_dir().join(format!("ringcaster-tokens-{}", std::process::id()));
        let tokens = Tokens::below(Some(folder.join("state")));
        assert_eq!(tokens.get(0), None);
        tokens.keep(0, "first");
        tokens.keep(1, "second");
        tokens.keep(0, "third");
        let again = Tokens::below(Some(folder.join("state")));
        assert_eq!((again.get(0).as_deref(), again.get(1).as_deref()), (Some("third"), Some("second")));
        let mode = fs::metadata(folder.join("state/screenlive1.token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        again.forget(1);
        assert_eq!((again.get(1), again.get(0).as_deref()), (None, Some("third")));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn without_a_folder_tokens_last_as_long_as_the_program() {
        let tokens = Tokens::below(None);
        tokens.keep(0, "first");
        assert_eq!(tokens.get(0).as_deref(), Some("first"));
        tokens.forget(0);
        assert_eq!(tokens.get(0), None);
    }
}
