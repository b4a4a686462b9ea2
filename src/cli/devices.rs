//! `devices`: what the machine can see and hear, and the paths that it is streamed under.

use std::fmt::Write;

use proto::rtsp::uri::percent_encode;

use super::say;
use crate::media::capture::Device;
use crate::media::{capture, playback};

/// What stands behind the server in the URL of a device.
fn path(device: &Device) -> String {
    match device {
        Device::Window(title) => format!("screenlive?window={}", percent_encode(title)),
        other => other.to_string(),
    }
}

/// Prints all devices, a line each.
pub(super) fn devices() {
    let mut text = String::new();
    for found in capture::system(true).list() {
        // Writing to a string cannot fail.
        let _ = match found {
            Ok(found) => writeln!(text, "/{:<24} {}", path(&found.device), found.description),
            Err(reason) => writeln!(text, "none of {reason}"),
        };
    }
    text.push_str("none of cameras: this build does not open them yet\n");
    match playback::system().list() {
        Ok(found) => {
            for (name, description) in found {
                let _ = writeln!(text, "loudspeaker {name:<13} {description}");
            }
        }
        Err(reason) => {
            let _ = writeln!(text, "none of loudspeakers: {reason}");
        }
    }
    say(&text);
}
