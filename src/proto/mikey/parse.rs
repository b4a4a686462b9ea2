//! Reads a message (RFC 3830 section 6).

use smallvec::SmallVec;

use super::{
    KEY_AND_SALT_OF_TRAFFIC, KEY_OF_TRAFFIC, MESSAGE_BYTES_MAX, Message, MikeyError, NO_VALIDITY,
    SOURCES_MAX, Source, VALID_BY_MKI, VERSION, payload, policy,
};
use crate::srtp::{MKI_BYTES_MAX, MasterKey, RANDOM_BYTES, Suite};

/// Bytes of a code that authenticates the message, by its kind: none, or HMAC-SHA-1 (section 6.2).
const MAC_BYTES: [usize; 2] = [0, 20];

/// What has not been read yet.
struct Reader<'a>(&'a [u8]);

/// A key as it is carried, before its policy is known.
struct CarriedKey {
    bytes: SmallVec<[u8; RANDOM_BYTES]>,
    mki: SmallVec<[u8; MKI_BYTES_MAX]>,
}

/// A policy before all of it is read: what is not said has a default.
#[derive(Clone, Copy)]
struct Policy {
    number: u8,
    cipher: u8,
    key_bytes: u8,
    authentication: u8,
    tag_bytes: u8,
    aead_tag_bytes: u8,
    derivation_rate: u8,
    is_complete: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            number: 0,
            cipher: policy::AES_CM,
            key_bytes: 16,
            authentication: policy::HMAC_SHA1,
            tag_bytes: 10,
            aead_tag_bytes: 16,
            derivation_rate: 0,
            is_complete: true,
        }
    }
}

impl Message {
    /// Reads a whole message.
    pub fn parse(bytes: &[u8]) -> Result<Message, MikeyError> {
        Message::parse_renewal(bytes, Policy::default().suite()?)
    }

    /// Reads a message that may leave out the policy: `current` goes on then (section 4.5).
    pub fn parse_renewal(bytes: &[u8], current: Suite) -> Result<Message, MikeyError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(MikeyError::Malformed);
        }
        let mut reader = Reader(bytes);
        let [version, _, mut next, _] = reader.array()?;
        if version != VERSION {
            return Err(MikeyError::Malformed);
        }
        let bundle = u32::from_be_bytes(reader.array()?);
        let [count, map] = reader.array()?;
        let (mut sources, mut number) = (SmallVec::new(), 0);
        if map == 0 {
            for index in 0..count {
                let [used, a, b, c, d, e, f, g, h] = reader.array()?;
                if usize::from(index) >= SOURCES_MAX {
                    return Err(MikeyError::Unsupported("a key of so many sources"));
                }
                number = if index == 0 { used } else { number };
                let (ssrc, roc) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
                sources.push(Source { ssrc, roc });
            }
        }
        let (mut policies, mut key) = (SmallVec::<[Policy; 2]>::new(), None);
        while next != payload::LAST {
            let kind = next;
            [next] = reader.array()?;
            match kind {
                payload::KEMAC => key = reader.keys()?.or(key),
                payload::TIMESTAMP => reader.timestamp()?,
                payload::POLICY => policies.push(reader.policy()?),
                payload::RAND => {
                    let [size] = reader.array()?;
                    reader.bytes(size.into())?;
                }
                payload::ID | payload::EXTENSION => {
                    let [_, high, low] = reader.array()?;
                    reader.bytes(u16::from_be_bytes([high, low]).into())?;
                }
                _ => return Err(MikeyError::Unsupported("a message with keys that are encrypted once more")),
            }
        }
        let used = policies.iter().find(|policy| policy.number == number).or(policies.first());
        let suite = used.map_or(Ok(current), |policy| policy.suite())?;
        let key = key.ok_or(MikeyError::NoKey)?;
        let master = MasterKey::from_bytes(suite, &key.bytes, &key.mki);
        let master = master.ok_or(MikeyError::Unsupported("a key of that size"))?;
        Ok(Message { bundle, sources, master })
    }
}

impl Policy {
    fn suite(self) -> Result<Suite, MikeyError> {
        let is_known = self.derivation_rate == 0 && self.is_complete;
        let is_whole = self.aead_tag_bytes == 16;
        match (self.cipher, self.key_bytes, self.authentication) {
            (policy::AES_CM, 16, policy::HMAC_SHA1) if is_known && self.tag_bytes == 10 => {
                Ok(Suite::AesCm128HmacSha1)
            }
            // What authenticates is part of the cipher, whatever is said beside it.
            (policy::AES_GCM, 16, _) if is_known && is_whole => Ok(Suite::AeadAes128Gcm),
            (policy::AES_GCM, 32, _) if is_known && is_whole => Ok(Suite::AeadAes256Gcm),
            _ => Err(MikeyError::Unsupported("that policy")),
        }
    }
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], MikeyError> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(MikeyError::Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MikeyError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(MikeyError::Malformed)?;
        self.0 = rest;
        Ok(*bytes)
    }

    /// Bytes behind a count of 16 bits.
    fn counted(&mut self) -> Result<&'a [u8], MikeyError> {
        let count = u16::from_be_bytes(self.array()?);
        self.bytes(count.into())
    }

    /// Section 6.6: a time of 64 bits, or a counter of 32.
    fn timestamp(&mut self) -> Result<(), MikeyError> {
        let [kind] = self.array()?;
        self.bytes(if kind == 2 { 4 } else { 8 }).map(|_| ())
    }

    /// Section 6.10.
    fn policy(&mut self) -> Result<Policy, MikeyError> {
        let [number, protocol] = self.array()?;
        let mut parameters = Reader(self.counted()?);
        let mut read = Policy { number, is_complete: protocol == 0, ..Policy::default() };
        while !parameters.0.is_empty() {
            let [kind, size] = parameters.array()?;
            let value = parameters.bytes(size.into())?;
            // The values of interest are of one byte; a rate may be longer.
            let least = value.last().copied().unwrap_or_default();
            match kind {
                policy::CIPHER => read.cipher = least,
                policy::KEY_BYTES => read.key_bytes = least,
                policy::AUTHENTICATION => read.authentication = least,
                policy::TAG_BYTES => read.tag_bytes = least,
                policy::AEAD_TAG_BYTES => read.aead_tag_bytes = least,
                policy::DERIVATION_RATE => {
                    read.derivation_rate = u8::from(value.iter().any(|byte| *byte != 0));
                }
                policy::ENCRYPTS_RTP | policy::ENCRYPTS_RTCP | policy::AUTHENTICATES_RTP => {
                    read.is_complete &= least != 0 || (kind == policy::AUTHENTICATES_RTP);
                }
                _ => {}
            }
        }
        Ok(read)
    }

    /// Section 6.2: the first key for traffic that is in it.
    fn keys(&mut self) -> Result<Option<CarriedKey>, MikeyError> {
        let [encryption] = self.array()?;
        let mut keys = Reader(self.counted()?);
        let [authentication] = self.array()?;
        let size = MAC_BYTES.get(usize::from(authentication)).ok_or(MikeyError::Malformed)?;
        self.bytes(*size)?;
        if encryption != 0 {
            return Err(MikeyError::Unsupported("a message with keys that are encrypted once more"));
        }
        let (mut found, mut next) = (None, payload::KEY_DATA);
        while next == payload::KEY_DATA {
            [next] = keys.array()?;
            let key = keys.key()?;
            found = found.or(key);
        }
        Ok(found)
    }

    /// Section 6.13; None for a key that traffic keys are to be made of.
    fn key(&mut self) -> Result<Option<CarriedKey>, MikeyError> {
        let [kind] = self.array()?;
        let (kind, validity) = (kind >> 4, kind & 0x0f);
        let mut bytes: SmallVec<[u8; RANDOM_BYTES]> = self.counted()?.into();
        if kind == KEY_AND_SALT_OF_TRAFFIC || kind == 1 {
            bytes.extend_from_slice(self.counted()?);
        }
        let mut mki = SmallVec::new();
        match validity {
            NO_VALIDITY => {}
            VALID_BY_MKI => {
                let [size] = self.array()?;
                mki.extend_from_slice(self.bytes(size.into())?);
            }
            // From one time to another.
            2 => {
                for _ in 0..2 {
                    let [size] = self.array()?;
                    self.bytes(size.into())?;
                }
            }
            _ => return Err(MikeyError::Malformed),
        }
        let is_for_traffic = matches!(kind, KEY_OF_TRAFFIC | KEY_AND_SALT_OF_TRAFFIC);
        Ok(is_for_traffic.then_some(CarriedKey { bytes, mki }))
    }
}
