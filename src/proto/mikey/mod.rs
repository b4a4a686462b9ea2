//! MIKEY: how two parties tell each other the keys of SRTP (RFC 3830), inside a connection that is encrypted already
//! (RFC 4567, ONVIF streaming specification): a pre-shared key that is no key, so that nothing is encrypted twice.

mod parse;
#[cfg(test)]
mod tests;
mod write;

use smallvec::SmallVec;

use crate::srtp::MasterKey;

/// Sources that one message names.
pub const SOURCES_MAX: usize = 16;

/// Bytes of the longest message that is read.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// A message that carries one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Names what the keys are for: a bundle of crypto sessions.
    pub bundle: u32,
    /// The sources that use the key.
    pub sources: SmallVec<[Source; 2]>,
    /// The key.
    pub master: MasterKey,
}

/// A synchronization source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its number.
    pub ssrc: u32,
    /// How often its sequence numbers have come round.
    pub roc: u32,
}

/// Why a message is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MikeyError {
    /// It does not follow the standard.
    #[error("not a message of MIKEY")]
    Malformed,
    /// It asks for what we lack.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// It has no key in it.
    #[error("no key is in it")]
    NoKey,
}

/// Version of the standard.
const VERSION: u8 = 1;

/// Type of a message that begins with a pre-shared key (section 6.1).
const PRE_SHARED: u8 = 0;

/// Kinds of payloads (section 6.1, table 6.1.b).
mod payload {
    pub const LAST: u8 = 0;
    pub const KEMAC: u8 = 1;
    pub const TIMESTAMP: u8 = 5;
    pub const ID: u8 = 6;
    pub const POLICY: u8 = 10;
    pub const RAND: u8 = 11;
    pub const KEY_DATA: u8 = 20;
    pub const EXTENSION: u8 = 21;
}

/// Parameters of a policy for SRTP (section 6.10.1, RFC 7714 section 14.2).
mod policy {
    pub const CIPHER: u8 = 0;
    pub const KEY_BYTES: u8 = 1;
    pub const AUTHENTICATION: u8 = 2;
    pub const AUTHENTICATION_KEY_BYTES: u8 = 3;
    pub const SALT_BYTES: u8 = 4;
    pub const DERIVATION_RATE: u8 = 6;
    pub const ENCRYPTS_RTP: u8 = 7;
    pub const ENCRYPTS_RTCP: u8 = 8;
    pub const AUTHENTICATES_RTP: u8 = 10;
    pub const TAG_BYTES: u8 = 11;
    pub const AEAD_TAG_BYTES: u8 = 20;
    /// Values of the cipher.
    pub const AES_CM: u8 = 1;
    pub const AES_GCM: u8 = 6;
    /// Values of the authentication.
    pub const NO_AUTHENTICATION: u8 = 0;
    pub const HMAC_SHA1: u8 = 1;
}

/// Kinds of keys (section 6.13): one that encrypts traffic, and one with its salt apart.
const KEY_OF_TRAFFIC: u8 = 2;
const KEY_AND_SALT_OF_TRAFFIC: u8 = 3;

/// What is said of a key's life: nothing, or its name in packets.
const NO_VALIDITY: u8 = 0;
const VALID_BY_MKI: u8 = 1;
