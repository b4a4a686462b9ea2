//! Placeholder of the control room.

use std::sync::Arc;

use crate::config::Settings;

/// What there is to say once the doors are open.
#[derive(Clone, Debug, Default)]
pub struct Started {
    /// URLs that can be played now.
    pub urls: Vec<String>,
    /// How many more there are.
    pub more: usize,
}

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nothing serves in this build.
    #[error("this build does not serve yet")]
    Absent,
}

/// Serves until stopped.
pub fn run(_settings: Arc<Settings>, _ready: impl FnOnce(&Started)) -> Result<(), RunError> {
    Err(RunError::Absent)
}
