//! `devices`: screens, cameras and microphones of this machine.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use proto::rtsp::uri::percent_encode;
use serde::Serialize;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use super::openapi::Refusals;
use super::problem::Problem;
use super::state::App;
use crate::media::capture::Device as Source;

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
            Ok(found) => list.devices.push(Device {
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
            }),
            Err(reason) => list.missing.push(reason),
        }
    }
    Ok(Json(list))
}
