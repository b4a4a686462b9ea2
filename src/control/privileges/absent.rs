//! A system on which nobody can become somebody else.

use std::path::Path;

use super::PrivilegesError;
use crate::config::Settings;

/// Nobody needs to be known, as nobody can become somebody else.
pub(in crate::control) fn known(settings: &Settings) -> Result<(), PrivilegesError> {
    step_down(settings, None)
}

/// Refuses, if it was asked for.
pub(in crate::control) fn step_down(settings: &Settings, _: Option<&Path>) -> Result<(), PrivilegesError> {
    let Some(run_as) = &settings.run_as else { return Ok(()) };
    let unsupported = std::io::Error::from(std::io::ErrorKind::Unsupported);
    Err(PrivilegesError::Refused(run_as.user.clone(), unsupported))
}
