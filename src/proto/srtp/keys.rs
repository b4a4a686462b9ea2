//! Keys, and what is done to one packet with them.

use std::fmt;

use aes::cipher::{KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use aes_gcm::Nonce;
use bytes::{BufMut, BytesMut};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use smallvec::SmallVec;
use subtle::ConstantTimeEq;

use super::SrtpError;
use super::gcm::{self, Gcm};
use crate::rtp::header::HEADER_BYTES;

/// AES in counter mode over the whole block (RFC 3711 section 4.1.1).
type Counter = ctr::Ctr128BE<Aes128>;

/// The same with a longer key (RFC 6188).
type LongCounter = ctr::Ctr128BE<Aes256>;

/// Bytes of the longest master key and session key.
const KEY_BYTES_MAX: usize = 32;

/// Bytes of a key in counter mode.
const COUNTER_KEY_BYTES: usize = 16;

/// Bytes of a salt in counter mode.
const SALT_BYTES: usize = 14;

/// Random bytes that make any key and its salt.
pub const RANDOM_BYTES: usize = KEY_BYTES_MAX + SALT_BYTES;

/// Bytes of the key that authenticates.
const AUTH_KEY_BYTES: usize = 20;

/// Head of RTCP that is not encrypted (RFC 3711 section 3.4).
const RTCP_CLEAR_BYTES: usize = 8;

/// The flag that says that RTCP is encrypted, before its index of 31 bits.
const RTCP_ENCRYPTED: u32 = 1 << 31;

/// Longest name of a key that is understood.
pub const MKI_BYTES_MAX: usize = 8;

/// How packets are encrypted and authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80` (RFC 3711): what everybody knows.
    AesCm128HmacSha1,
    /// `AEAD_AES_128_GCM` (RFC 7714).
    AeadAes128Gcm,
    /// `AEAD_AES_256_GCM` (RFC 7714).
    AeadAes256Gcm,
}

/// A key as two parties tell it each other.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    /// What it is for.
    pub suite: Suite,
    /// The key itself, as long as its suite has it; other bytes are zero.
    key: [u8; KEY_BYTES_MAX],
    /// The salt; of AES-GCM the first twelve bytes, the others are zero.
    salt: [u8; SALT_BYTES],
    /// Its name, which stands in every packet; empty when packets name no key.
    pub mki: SmallVec<[u8; MKI_BYTES_MAX]>,
}

/// The keys of one direction, derived from a master key.
pub struct Keys {
    suite: Suite,
    rtp: Transform,
    rtcp: Transform,
    mki: SmallVec<[u8; MKI_BYTES_MAX]>,
}

/// The keys of one kind of packets (RFC 3711 section 4.3).
struct Transform {
    cipher: Cipher,
    salt: [u8; SALT_BYTES],
}

enum Cipher {
    Counter { key: [u8; COUNTER_KEY_BYTES], auth: Box<Hmac<Sha1>> },
    Gcm(Gcm),
}

/// What a key is derived for.
#[derive(Clone, Copy)]
struct Labels {
    key: u8,
    auth: u8,
    salt: u8,
}

const RTP_LABELS: Labels = Labels { key: 0, auth: 1, salt: 2 };
const RTCP_LABELS: Labels = Labels { key: 3, auth: 4, salt: 5 };

impl Suite {
    /// Bytes of a key.
    pub fn key_bytes(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1 | Suite::AeadAes128Gcm => 16,
            Suite::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of a salt.
    pub fn salt_bytes(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1 => SALT_BYTES,
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 12,
        }
    }

    /// Bytes that authenticate a packet.
    pub fn tag_bytes(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1 => 10,
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => gcm::TAG_BYTES,
        }
    }
}

impl MasterKey {
    /// A key out of random bytes.
    pub fn new(suite: Suite, random: [u8; RANDOM_BYTES], mki: &[u8]) -> MasterKey {
        let (mut key, mut salt) = ([0; KEY_BYTES_MAX], [0; SALT_BYTES]);
        let (key_bytes, salt_bytes) = (suite.key_bytes(), suite.salt_bytes());
        key[..key_bytes].copy_from_slice(&random[..key_bytes]);
        salt[..salt_bytes].copy_from_slice(&random[key_bytes..key_bytes + salt_bytes]);
        MasterKey { suite, key, salt, mki: mki.into() }
    }

    /// The key itself.
    pub fn key(&self) -> &[u8] {
        &self.key[..self.suite.key_bytes()]
    }

    /// Its salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt[..self.suite.salt_bytes()]
    }

    /// A key out of its bytes and those of its salt, one behind the other; None when it is not that long.
    pub fn from_bytes(suite: Suite, bytes: &[u8], mki: &[u8]) -> Option<MasterKey> {
        if bytes.len() != suite.key_bytes() + suite.salt_bytes() || mki.len() > MKI_BYTES_MAX {
            return None;
        }
        let mut random = [0; RANDOM_BYTES];
        random[..bytes.len()].copy_from_slice(bytes);
        Some(MasterKey::new(suite, random, mki))
    }
}

impl Keys {
    /// Derives the keys of both kinds of packets.
    pub fn new(master: &MasterKey) -> Keys {
        Keys {
            suite: master.suite,
            rtp: Transform::new(master, RTP_LABELS),
            rtcp: Transform::new(master, RTCP_LABELS),
            mki: master.mki.clone(),
        }
    }

    /// Bytes that a packet of RTP becomes longer by.
    pub fn overhead_bytes(&self) -> usize {
        self.suite.tag_bytes() + self.mki.len()
    }

    /// Protects the RTP packet that begins at `start` of `out` and ends it. `roc` counts how often its sequence numbers
    /// have come round. Bytes that are no packet become none.
    pub fn protect_rtp(&self, out: &mut BytesMut, start: usize, roc: u32) {
        let Some(head) = rtp_head_bytes(&out[start..]) else { return out.truncate(start) };
        let (ssrc, sequence) = (word(&out[start..], 8), half(&out[start..], 2));
        match &self.rtp.cipher {
            Cipher::Counter { key, auth } => {
                let iv = self.rtp.counter(ssrc, u64::from(roc) << 16 | u64::from(sequence));
                Counter::new(key.into(), &iv.into()).apply_keystream(&mut out[start + head..]);
                let tag = tag(auth, &out[start..], &roc.to_be_bytes());
                out.put_slice(&self.mki);
                out.put_slice(&tag);
            }
            Cipher::Gcm(cipher) => {
                let nonce = self.rtp.nonce(ssrc, roc, sequence);
                let (clear, payload) = out[start..].split_at_mut(head);
                let tag = cipher.seal(&nonce, clear, payload);
                out.put_slice(&tag);
                out.put_slice(&self.mki);
            }
        }
    }

    /// Protects the compound packet of RTCP that begins at `start` of `out` and ends it. No two with one source may have
    /// the same index, of 31 bits.
    pub fn protect_rtcp(&self, out: &mut BytesMut, start: usize, index: u32) {
        if out.len() - start < RTCP_CLEAR_BYTES {
            return out.truncate(start);
        }
        let ssrc = word(&out[start..], 4);
        let trailer = (RTCP_ENCRYPTED | index).to_be_bytes();
        match &self.rtcp.cipher {
            Cipher::Counter { key, auth } => {
                let iv = self.rtcp.counter(ssrc, u64::from(index));
                Counter::new(key.into(), &iv.into()).apply_keystream(&mut out[start + RTCP_CLEAR_BYTES..]);
                out.put_slice(&trailer);
                let tag = tag(auth, &out[start..], &[]);
                out.put_slice(&self.mki);
                out.put_slice(&tag);
            }
            Cipher::Gcm(cipher) => {
                let nonce = self.rtcp.nonce(ssrc, index >> 16, index as u16);
                let (clear, payload) = out[start..].split_at_mut(RTCP_CLEAR_BYTES);
                let aad: [&[u8]; 2] = [clear, &trailer];
                let tag = cipher.seal(&nonce, &aad.concat(), payload);
                out.put_slice(&tag);
                out.put_slice(&trailer);
                out.put_slice(&self.mki);
            }
        }
    }

    /// Adds the plain form of an RTP packet to `plain`, if it is authentic with this `roc`.
    pub fn unprotect_rtp(&self, packet: &[u8], roc: u32, plain: &mut Vec<u8>) -> Result<(), SrtpError> {
        let head = rtp_head_bytes(packet).ok_or(SrtpError::Malformed)?;
        let (ssrc, sequence) = (word(packet, 8), half(packet, 2));
        let (body, expected) = self.split(packet, head)?;
        let start = plain.len();
        match &self.rtp.cipher {
            Cipher::Counter { key, auth } => {
                check(&tag(auth, body, &roc.to_be_bytes()), expected)?;
                plain.extend_from_slice(body);
                let iv = self.rtp.counter(ssrc, u64::from(roc) << 16 | u64::from(sequence));
                Counter::new(key.into(), &iv.into()).apply_keystream(&mut plain[start + head..]);
            }
            Cipher::Gcm(cipher) => {
                let nonce = self.rtp.nonce(ssrc, roc, sequence);
                plain.extend_from_slice(body);
                let (clear, payload) = plain[start..].split_at_mut(head);
                cipher.open(&nonce, clear, payload, expected).inspect_err(|_| plain.truncate(start))?;
            }
        }
        Ok(())
    }

    /// Adds the plain form of a compound packet to `plain`; its index.
    pub fn unprotect_rtcp(&self, packet: &[u8], plain: &mut Vec<u8>) -> Result<u32, SrtpError> {
        let start = plain.len();
        match &self.rtcp.cipher {
            Cipher::Counter { key, auth } => {
                let (body, expected) = self.split(packet, RTCP_CLEAR_BYTES + 4)?;
                check(&tag(auth, body, &[]), expected)?;
                let (body, trailer) = body.split_at(body.len() - 4);
                let trailer = word(trailer, 0);
                plain.extend_from_slice(body);
                if trailer & RTCP_ENCRYPTED != 0 {
                    let iv = self.rtcp.counter(word(body, 4), u64::from(trailer & !RTCP_ENCRYPTED));
                    let payload = &mut plain[start + RTCP_CLEAR_BYTES..];
                    Counter::new(key.into(), &iv.into()).apply_keystream(payload);
                }
                Ok(trailer & !RTCP_ENCRYPTED)
            }
            Cipher::Gcm(cipher) => {
                let packet = packet.strip_suffix(&self.mki[..]).ok_or(SrtpError::OtherKey)?;
                let (body, trailer) = packet.split_last_chunk::<4>().ok_or(SrtpError::Malformed)?;
                let (body, expected) =
                    body.split_last_chunk::<{ gcm::TAG_BYTES }>().ok_or(SrtpError::Malformed)?;
                // The standard lets reports go in the clear; nobody does.
                if body.len() < RTCP_CLEAR_BYTES || word(trailer, 0) & RTCP_ENCRYPTED == 0 {
                    return Err(SrtpError::Malformed);
                }
                let index = word(trailer, 0) & !RTCP_ENCRYPTED;
                let nonce = self.rtcp.nonce(word(body, 4), index >> 16, index as u16);
                plain.extend_from_slice(body);
                let (clear, payload) = plain[start..].split_at_mut(RTCP_CLEAR_BYTES);
                let aad: [&[u8]; 2] = [clear, trailer];
                cipher
                    .open(&nonce, &aad.concat(), payload, expected)
                    .inspect_err(|_| plain.truncate(start))?;
                Ok(index)
            }
        }
    }

    /// A packet without its end, and what authenticates it. At least `least` bytes are left.
    fn split<'p>(&self, packet: &'p [u8], least: usize) -> Result<(&'p [u8], &'p [u8]), SrtpError> {
        let tag_bytes = self.suite.tag_bytes();
        let named = |packet: &'p [u8]| packet.strip_suffix(&self.mki[..]).ok_or(SrtpError::OtherKey);
        let cut = |packet: &'p [u8]| {
            packet.len().checked_sub(tag_bytes).map(|at| packet.split_at(at)).ok_or(SrtpError::Malformed)
        };
        let (body, tag) = match self.suite {
            Suite::AesCm128HmacSha1 => {
                let (body, tag) = cut(packet)?;
                (named(body)?, tag)
            }
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => cut(named(packet)?)?,
        };
        if body.len() < least { Err(SrtpError::Malformed) } else { Ok((body, tag)) }
    }
}

impl Transform {
    fn new(master: &MasterKey, labels: Labels) -> Transform {
        let (mut key, mut salt) = ([0; KEY_BYTES_MAX], [0; SALT_BYTES]);
        let key = &mut key[..master.suite.key_bytes()];
        derive(master, labels.key, key);
        derive(master, labels.salt, &mut salt[..master.suite.salt_bytes()]);
        let cipher = match master.suite {
            Suite::AesCm128HmacSha1 => {
                let mut auth = [0; AUTH_KEY_BYTES];
                derive(master, labels.auth, &mut auth);
                // A key of any length will do.
                #[expect(clippy::expect_used, reason = "constant size")]
                let auth = Hmac::new_from_slice(&auth).expect("a key of 20 bytes");
                let mut counter_key = [0; COUNTER_KEY_BYTES];
                counter_key.copy_from_slice(key);
                Cipher::Counter { key: counter_key, auth: Box::new(auth) }
            }
            #[expect(clippy::expect_used, reason = "the size is the suite's")]
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => {
                Cipher::Gcm(Gcm::new(key).expect("a key of 16 or 32 bytes"))
            }
        };
        Transform { cipher, salt }
    }

    /// First block of the key stream for a packet (RFC 3711 section 4.1.1).
    fn counter(&self, ssrc: u32, index: u64) -> [u8; 16] {
        let mut iv = [0; 16];
        iv[..SALT_BYTES].copy_from_slice(&self.salt);
        xor(&mut iv[4..8], &ssrc.to_be_bytes());
        xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
        iv
    }

    /// Nonce of a packet (RFC 7714 sections 8.1 and 9.1): for RTCP the index is written as the other two.
    fn nonce(&self, ssrc: u32, roc: u32, sequence: u16) -> Nonce<aes::cipher::consts::U12> {
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&self.salt[..12]);
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[6..10], &roc.to_be_bytes());
        xor(&mut nonce[10..12], &sequence.to_be_bytes());
        nonce.into()
    }
}

/// Derives a key (RFC 3711 section 4.3.1, RFC 6188 section 3) whose rate of derivation is zero: once for the whole
/// session.
fn derive(master: &MasterKey, label: u8, key: &mut [u8]) {
    let mut iv = [0; 16];
    iv[..SALT_BYTES].copy_from_slice(&master.salt);
    iv[7] ^= label;
    key.fill(0);
    // The sizes of block and key are right.
    let _ = match master.suite {
        Suite::AesCm128HmacSha1 | Suite::AeadAes128Gcm => {
            Counter::new_from_slices(master.key(), &iv).map(|mut counter| counter.apply_keystream(key))
        }
        Suite::AeadAes256Gcm => {
            LongCounter::new_from_slices(master.key(), &iv).map(|mut counter| counter.apply_keystream(key))
        }
    };
}

fn tag(auth: &Hmac<Sha1>, packet: &[u8], behind: &[u8]) -> [u8; 10] {
    let mut auth = auth.clone();
    auth.update(packet);
    auth.update(behind);
    let mut tag = [0; 10];
    tag.copy_from_slice(&auth.finalize().into_bytes()[..10]);
    tag
}

fn check(tag: &[u8], expected: &[u8]) -> Result<(), SrtpError> {
    if tag.ct_eq(expected).into() { Ok(()) } else { Err(SrtpError::NotAuthentic) }
}

/// Bytes of an RTP packet that are not encrypted: header, contributing sources and extension. None when it is shorter.
fn rtp_head_bytes(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    if first >> 6 != 2 {
        return None;
    }
    let mut size = HEADER_BYTES + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        packet.get(size..size + 4)?;
        size += 4 + 4 * usize::from(half(packet, size + 2));
    }
    (size <= packet.len()).then_some(size)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn xor(bytes: &mut [u8], with: &[u8]) {
    bytes.iter_mut().zip(with).for_each(|(byte, with)| *byte ^= with);
}

/// Without what is secret.
impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("suite", &self.suite).finish_non_exhaustive()
    }
}

/// Without what is secret.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("suite", &self.suite).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect::<Vec<_>>().try_into().unwrap()
    }

    #[test]
    fn session_keys_are_those_of_rfc_3711_appendix_b_3() {
        let bytes: [u8; 30] = hex("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6");
        let master = MasterKey::from_bytes(Suite::AesCm128HmacSha1, &bytes, &[]).unwrap();
        let (mut key, mut salt, mut auth) = ([0; 16], [0; 14], [0; 94]);
        derive(&master, 0, &mut key);
        derive(&master, 2, &mut salt);
        derive(&master, 1, &mut auth);
        assert_eq!(key, hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(salt, hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(auth[..20], hex::<20>("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }

    #[test]
    fn long_session_keys_are_those_of_rfc_6188_section_7_4() {
        let key: [u8; 32] = hex("f0f04914b513f2763a1b1fa130f10e29 98f6f6e43e4309d1e622a0e332b9f1b6");
        let salt: [u8; 14] = hex("3b04803de51ee7c96423ab5b78d2");
        // The salts of AES-GCM are shorter; the derivation is the same.
        let mut master =
            MasterKey::from_bytes(Suite::AeadAes256Gcm, &[&key[..], &salt[..12]].concat(), &[]).unwrap();
        master.salt = salt;
        let (mut key, mut salt, mut auth) = ([0; 32], [0; 14], [0; 20]);
        derive(&master, 0, &mut key);
        derive(&master, 2, &mut salt);
        derive(&master, 1, &mut auth);
        assert_eq!(key, hex("5ba1064e30ec51613cad926c5a28ef73 1ec7fb397f70a960653caf06554cd8c4"));
        assert_eq!(salt, hex("fa31791685ca444a9e07c6c64e93"));
        assert_eq!(auth, hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
    }

    #[test]
    fn the_key_stream_is_that_of_rfc_3711_appendix_b_2() {
        let (key, salt) = (hex("2B7E151628AED2A6ABF7158809CF4F3C"), hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"));
        let auth = Hmac::new_from_slice(&[0; 20]).unwrap();
        let transform = Transform { cipher: Cipher::Counter { key, auth: Box::new(auth) }, salt };
        let iv = transform.counter(0, 0);
        assert_eq!(iv, hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000"));
        let mut stream = [0; 48];
        Counter::new((&key).into(), &iv.into()).apply_keystream(&mut stream);
        let expected = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB \
                        41E95B3BB0A2E8DD477901E4FCA894C0";
        assert_eq!(stream, hex(expected));
    }

    /// The session keys of RFC 7714 sections 16 and 17, which begin behind the derivation.
    fn gcm() -> Keys {
        let transform = || Transform {
            cipher: Cipher::Gcm(Gcm::new(&hex::<16>("000102030405060708090a0b0c0d0e0f")).unwrap()),
            salt: hex("517569642070726f2071756f0000"),
        };
        let (rtp, rtcp) = (transform(), transform());
        Keys { suite: Suite::AeadAes128Gcm, rtp, rtcp, mki: SmallVec::new() }
    }

    #[test]
    fn a_packet_is_sealed_as_in_rfc_7714_section_16() {
        let plain: [u8; 50] =
            hex("8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 \
             61727465 73207472 6573");
        assert_eq!(gcm().rtp.nonce(0x5501_a0b2, 0, 0xf17b)[..], hex::<12>("51753c6580c2726f20718414"));
        let mut out = BytesMut::from(&plain[..]);
        gcm().protect_rtp(&mut out, 0, 0);
        let expected: [u8; 66] =
            hex("8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a \
             51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce");
        assert_eq!(out[..], expected);
    }

    #[test]
    fn a_report_is_sealed_as_in_rfc_7714_section_17() {
        let plain: [u8; 52] =
            hex("81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef \
             deadbeef deadbeef deadbeef");
        let mut out = BytesMut::from(&plain[..]);
        gcm().protect_rtcp(&mut out, 0, 0x5d4);
        let expected: [u8; 72] =
            hex("81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda \
             4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4");
        assert_eq!(out[..], expected);
    }
}
