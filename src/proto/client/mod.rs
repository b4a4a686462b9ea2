//! How does one fetch a stream from another server?
//!
//! [`mjpeg`] does it over HTTP, all else here over RTSP. [`Client`] is the state machine from OPTIONS to PLAY and
//! TEARDOWN, without socket and clock. Its driver opens the connections that it asks for, hands in what arrives and
//! sends what it gives:
//!
//! ```text
//! Connect ─ handle_connected ─ Described ─ [PortsWanted ─ handle_ports] ─ TrackReady … Playing ─ Packet …
//!    ▲                                                │
//!    └── redirect, set_transfer             TransferRefused ─ set_transfer
//! ```
//!
//! After every `handle_…` and at every deadline: [`Client::poll_event`] until None, then [`Client::poll_transmit`]
//! until None, then [`Client::poll_timeout`] for the next deadline. The first event is [`Event::Connect`], the last
//! [`Event::Ended`] or [`Event::Failed`].

mod answer;
mod config;
mod credentials;
mod describe;
mod event;
mod keep_alive;
mod machine;
pub mod mjpeg;
mod play;
mod request;
mod scheme;
mod setup;
mod url;

pub use config::{Config, Kinds, Transfer};
pub use credentials::{AuthError, Authenticator, Credentials, Trust};
pub use event::{Carrier, Endpoint, Event, Failure, PacketKind, Start};
pub use machine::Client;
pub use scheme::Scheme;
pub use url::Url;

#[cfg(test)]
mod tests;
