//! A system without Landlock.

use std::path::Path;

use super::Confined;
use crate::config::Loaded;

/// Nothing can be done; an error where it must be.
pub fn confine(loaded: &Loaded, _: Option<&Path>) -> Result<Confined, String> {
    match loaded.settings.landlock {
        Some(true) => Err("landlock is 1, and this system has none: set it to auto or 0".to_owned()),
        Some(false) => Ok(Confined::Off),
        None => Ok(Confined::Unable("this system has none".to_owned())),
    }
}
