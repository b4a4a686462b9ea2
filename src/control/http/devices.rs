//! `devices`: screens, cameras and microphones of this machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use proto::rtsp::uri::percent_encode;
use serde::Serialize;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use super::openapi::Refusals;
use super::problem::Problem;
use super::state::App;
use crate::media::capture::{Device as Source, Found};
use crate::shard::steering::Happening;

/// How often it is looked which devices there are while somebody listens.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A device that can be watched.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Device {
    /// `screen`, `window`, `camera` or `microphone`.
    kind: &'static str,
    /// The path that it is streamed under, as it stands in a URL.
    path: String,
    /// What the system calls it, and what it can do.
    description: String,
}

/// The devices of this machine.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct DeviceList {
    /// All that were found.
    devices: Vec<Device>,
    /// For each kind that cannot be listed, why.
    missing: Vec<String>,
}

/// Lists screens, windows, cameras and microphones.
#[utoipa::path(get, path = "/api/v1/devices", operation_id = "list_devices", tag = "devices", responses(
    (status = 200, description = "The devices", body = DeviceList), Refusals))]
pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Json<DeviceList>, Problem> {
    let devices = app.program()?.devices.clone();
    // Devices are asked for their modes, which takes a while.
    let found = spawn_blocking(move || devices.list()).await;
    let found = found.map_err(|error| Problem::unavailable(error.to_string()))?;
    let mut list = DeviceList { devices: Vec::new(), missing: Vec::new() };
    for one in found {
        match one {
            Ok(found) => list.devices.push(found.into()),
            Err(reason) => list.missing.push(reason),
        }
    }
    Ok(Json(list))
}

/// Tells those who listen of devices that come and go; windows come and go too often, and nobody is asked while nobody
/// listens.
pub(super) async fn watch(app: Arc<App>) {
    let mut known: Option<BTreeMap<String, String>> = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(program) = app.program().ok().filter(|_| app.listeners.load(Ordering::Relaxed) > 0) else {
            known = None;
            continue;
        };
        let devices = program.devices.clone();
        let Ok(found) = spawn_blocking(move || devices.list()).await else { continue };
        let lasting = found.into_iter().flatten().filter(|it| !matches!(it.device, Source::Window(_)));
        let there: BTreeMap<_, _> =
            lasting.map(Device::from).map(|device| (device.path, device.description)).collect();
        for happening in known.iter().flat_map(|known| changes(known, &there)) {
            // Nobody may be listening.
            let _ = app.happenings.send(happening);
        }
        known = Some(there);
    }
}

/// What has gone, and then what has come: a device in the place of another is both.
fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Happening> {
    let missing = |from: &BTreeMap<String, String>, to: &BTreeMap<String, String>, is_there| {
        let missing = from.iter().filter(|(path, description)| to.get(*path) != Some(description));
        let told = missing.map(|(path, description)| Happening::Device {
            path: path.clone(),
            description: description.clone(),
            is_there,
        });
        told.collect::<Vec<_>>()
    };
    [missing(before, after, false), missing(after, before, true)].concat()
}

impl From<Found> for Device {
    fn from(found: Found) -> Device {
        Device {
            kind: match &found.device {
                Source::Screen(_) => "screen",
                Source::Window(_) => "window",
                Source::Camera(_) => "camera",
                Source::Microphone(_) => "microphone",
            },
            path: match &found.device {
                Source::Window(title) => format!("screenlive?window={}", percent_encode(title)),
                other => other.to_string(),
            },
            description: found.description,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_in_the_place_of_another_has_come_and_the_other_has_gone() {
        let there = |list: &[(&str, &str)]| {
            list.iter().map(|(path, it)| ((*path).to_owned(), (*it).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let before = there(&[("videodevice", "A"), ("videodevice1", "B"), ("screenlive", "S")]);
        let after = there(&[("videodevice", "C"), ("audiodevice", "M"), ("screenlive", "S")]);
        let told: Vec<_> = changes(&before, &after)
            .into_iter()
            .map(|happening| match happening {
                Happening::Device { path, description, is_there } => (path, description, is_there),
                other => panic!("{other:?}"),
            })
            .collect();
        let told: Vec<_> =
            told.iter().map(|(path, it, is_there)| (path.as_str(), it.as_str(), *is_there)).collect();
        assert_eq!(
            told,
            [
                ("videodevice", "A", false),
                ("videodevice1", "B", false),
                ("audiodevice", "M", true),
                ("videodevice", "C", true)
            ]
        );
    }
}
