//! What a client of Motion JPEG tells its driver.

use bytes::Bytes;

use super::super::event::{Endpoint, Failure};

/// What happened, or what is needed.
#[derive(Debug, PartialEq)]
pub enum MjpegEvent {
    /// Close the connection, if there is one, and open another; then call `handle_connected`. What `poll_transmit` has
    /// given before belongs to the old one.
    Connect(Endpoint),
    /// The server has answered that it has pictures. It comes once.
    Playing,
    /// A JPEG file, from its start marker to its end marker, in memory of its own.
    Picture(Bytes),
    /// It did not work, or works no longer: close the connection. The last event.
    Failed(Failure),
}
