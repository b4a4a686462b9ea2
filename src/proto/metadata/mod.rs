//! ONVIF metadata (ONVIF streaming specification section 5.1.2.1.1, ONVIF core specification section 9): documents that
//! are written here, and those of others, which are checked and passed on as they are.

mod check;
mod intake;
mod write;

pub use check::{CheckError, check};
pub use intake::{Intake, TooLong};
pub use write::{Item, Message, Operation, Topic, write};

/// What ONVIF's elements are in.
pub const SCHEMA: &str = "http://www.onvif.org/ver10/schema";

/// What the envelope of an event is in (OASIS WS-BaseNotification 1.3).
pub const NOTIFICATION: &str = "http://docs.oasis-open.org/wsn/b-2";

/// What our topics are in.
pub const TOPICS: &str = "urn:ringcaster:topics";

/// Bytes of a document at most. A larger one is refused.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
