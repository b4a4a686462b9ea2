//! Web services that are asked and told (`<http_notify>`).

mod asked;
mod ended;
mod foreign;
pub(crate) mod service;

use std::time::Duration;

use crate::corpus::folder;
use crate::server::{Backend, Builder, Server};
use service::Service;

/// A file with pictures and sound, 3 s long.
const FILE: &str = "h264_aac.mp4";

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// The four calls, by the settings that name their services.
const CALLS: [&str; 4] = ["connect", "play", "publish", "done"];

/// A server of the corpus that calls these services, with further nodes of `<http_notify>`.
fn calling(backend: Backend, service: &Service, calls: &[&str], nodes: &str) -> Builder {
    let urls = calls.iter().map(|call| format!("<on_{call}>{}</on_{call}>", service.url(call)));
    let urls: String = urls.collect();
    let xml = format!("<http_notify>{urls}{nodes}</http_notify>\n");
    Server::with(backend).media(folder()).setting("loop_nums", -1).xml(&xml)
}
