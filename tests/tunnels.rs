//! RTSP inside of HTTP (Apple's tunnel) and of WebSocket (RFC 6455), by real players and by clients of our own; every
//! port tells by the first bytes what a client speaks.

pub(crate) mod bridge;
mod browser;
mod gstreamer;
mod hostile;
mod http;
mod page;
mod websocket;

use crate::server::{Backend, Builder, Server};
use bridge::DOORS;

/// A server whose HTTP port is open.
fn server(backend: Backend) -> Builder {
    Server::with(backend).http()
}
