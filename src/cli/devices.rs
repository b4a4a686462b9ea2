//! `devices`: what the machine can see and hear, and the paths that it is streamed under.

use std::fmt::Write;

use proto::rtsp::uri::percent_encode;

use super::args::{Devices, environment};
use super::{Failure, say};
use crate::config::{self, Overrides};
use crate::control;
use crate::media::capture::Device;
use crate::media::playback;

/// What stands behind the server in the URL of a device.
fn path(device: &Device) -> String {
    match device {
        Device::Window(title) => format!("screenlive?window={}", percent_encode(title)),
        other => other.to_string(),
    }
}

/// Prints all devices, a line each, and below it what there is to choose from.
pub(super) fn devices(args: &Devices) -> Result<(), Failure> {
    let overrides = Overrides { environment: environment(), ..Overrides::default() };
    let settings = config::load(args.file.config.as_deref(), &overrides)?.settings;
    let mut text = String::new();
    for found in control::devices(&settings).list() {
        // Writing to a string cannot fail.
        let _ = match found {
            Ok(found) => {
                let description = found.description.replace('\n', &format!("\n{:<26}", ""));
                writeln!(text, "/{:<24} {description}", path(&found.device))
            }
            Err(reason) => writeln!(text, "none of {reason}"),
        };
    }
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
    Ok(())
}
