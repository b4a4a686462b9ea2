//! What a configuration may name although this build does not have it yet.
//!
//! An entry leaves this file together with the change that brings its feature.

use super::problem::Problem;
use super::settings::Settings;

/// The sentence about such a setting.
pub(super) const NOT_YET: &str = "this build does not have it yet; the setting is ignored";

/// Whether the element at `path` is known but not even read.
pub(super) fn is_known(path: &str) -> bool {
    path.strip_prefix("config/").is_some_and(|path| ELEMENTS.contains(&path))
}

/// One line for each setting that asks for something this build does not have.
pub(super) fn notes(settings: &Settings) -> Vec<Problem> {
    let mut notes = Vec::new();
    for (key, asked) in KEYS {
        if settings.is_named(key) && asked(settings) {
            notes.push(Problem::outside(settings.cite(key), NOT_YET));
        }
    }
    notes
}

/// Whether the settings ask for something.
type Asked = fn(&Settings) -> bool;

/// Root settings that are read, with what makes them ask for a missing feature.
const KEYS: &[(&str, Asked)] = &[("metadata", |s| s.metadata)];

/// Elements that are not read.
const ELEMENTS: &[&str] = &["reload", "run_as"];
