//! How does one fetch Motion JPEG from an HTTP server?
//!
//! [`MjpegClient`] asks for a URL and gives the pictures of the answer, without socket and clock. It is driven as
//! [`Client`](super::Client) is:
//!
//! ```text
//! Connect ─ handle_connected ─ Playing ─ Picture …      multipart/x-mixed-replace: one response without end
//!    ▲                                      │
//!    └── 401, redirect, next snapshot ──────┘           image/jpeg: one response for each picture
//! ```
//!
//! After every `handle_…` and at every deadline: [`MjpegClient::poll_event`] until None, then
//! [`MjpegClient::poll_transmit`] until None, then [`MjpegClient::poll_timeout`] for the next deadline. The first event
//! is [`MjpegEvent::Connect`], the last [`MjpegEvent::Failed`]. Who wants no more pictures closes the connection and
//! drops the client.
//!
//! Where a picture begins and ends is read from the JPEG markers alone. Cameras get the boundary, the line ends and the
//! length of a part wrong, each in its own way, but not the picture: and so it is known to be whole when its last byte
//! is there, not when the next part begins.

mod body;
mod config;
mod content;
mod error;
mod event;
mod head;
mod machine;
mod pictures;
mod request;

pub use config::MjpegConfig;
pub use error::MjpegError;
pub use event::MjpegEvent;
pub use machine::MjpegClient;

#[cfg(test)]
mod tests;
