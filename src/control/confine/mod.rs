//! What may the program still open once it runs?
//!
//! A fault in a parser of files must not become a way to all other files: the kernel is told at start which folders there are
//! for this process and its threads (Landlock), and nobody can take that back.

#[cfg(not(target_os = "linux"))]
mod absent;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod reach;

#[cfg(not(target_os = "linux"))]
pub use absent::confine;
#[cfg(target_os = "linux")]
pub use kernel::confine;

use crate::config::Settings;

/// How far the process is confined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confined {
    /// Not at all, as the setting says.
    Off,
    /// To the folders that it needs.
    ToItsFolders,
    /// In what it writes; it may read all files, since `follow_symlinks` lets links lead anywhere.
    InWriting,
    /// Not at all, since the system cannot, and why.
    Unable(String),
}

impl Confined {
    /// Whether the program that runs may read less than it could when it started: confined, or as the user of `run_as`.
    pub fn narrows(&self, settings: &Settings) -> bool {
        *self == Confined::ToItsFolders || settings.run_as.is_some()
    }

    /// Says it in the log.
    pub fn log(&self) {
        match self {
            Confined::Off => tracing::info!("landlock is 0: files are guarded by their modes alone"),
            Confined::ToItsFolders => {
                tracing::info!("landlock: only the folders of the configuration can be opened")
            }
            Confined::InWriting => {
                tracing::info!(
                    "landlock: all files can be read, as follow_symlinks is 1, and few be written"
                );
            }
            Confined::Unable(why) => {
                tracing::info!("landlock: {why}; files are guarded by their modes alone")
            }
        }
    }
}
