//! What a configuration may name although this build does not have it yet.
//!
//! An entry leaves this file together with the change that brings its feature.

/// The sentence about such a setting.
pub(super) const NOT_YET: &str = "this build does not have it yet; the setting is ignored";

/// Whether the element at `path` is known but not even read.
pub(super) fn is_known(path: &str) -> bool {
    path.strip_prefix("config/").is_some_and(|path| ELEMENTS.contains(&path))
}

/// Elements that are not read.
const ELEMENTS: &[&str] = &["reload"];
