//! `devices`: what the machine can see and hear, and the paths that it is streamed under.

use std::fmt::Write;

use super::say;
use crate::media::capture;

/// Prints all devices, a line each.
pub(super) fn devices() {
    let mut text = String::new();
    for found in capture::system(true).list() {
        // Writing to a string cannot fail.
        let _ = match found {
            Ok(found) => writeln!(text, "/{:<24} {}", found.device.to_string(), found.description),
            Err(reason) => writeln!(text, "none of {reason}"),
        };
    }
    if text.is_empty() {
        text.push_str("there are no devices\n");
    }
    say(&text);
}
