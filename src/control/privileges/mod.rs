//! Whom does the program run as once it listens?
//!
//! Ports below 1024 are for root; everything behind them is for a user who may do nothing else (`run_as`).

#[cfg(not(unix))]
mod absent;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(super) use absent::{known, step_down};
#[cfg(unix)]
pub(super) use unix::{known, step_down};

/// Why the program cannot run as the user that it should run as.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegesError {
    /// There is no such user.
    #[error("run_as: there is no user \"{0}\" on this machine: make it, or name another one")]
    NoUser(String),
    /// There is no such group.
    #[error("run_as: there is no group \"{0}\" on this machine: make it, or name another one")]
    NoGroup(String),
    /// Only root may.
    #[error(
        "run_as: only root can become {0}, and the program was started as {1}: start it as root, or leave run_as out"
    )]
    NotRoot(String, String),
    /// The system refused.
    #[error("run_as: the program cannot become {0}: {1}")]
    Refused(String, std::io::Error),
    /// The user could not serve.
    #[error(
        "run_as: {user} cannot read {setting} ({path}: {error}): let that user read it, or name another one"
    )]
    Unreadable {
        /// Who.
        user: String,
        /// The setting that names the path.
        setting: &'static str,
        /// What cannot be read.
        path: String,
        /// Why not.
        error: std::io::Error,
    },
}
