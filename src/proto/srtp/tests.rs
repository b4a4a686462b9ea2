//! The vectors of the standards, and what holds for any packet.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::rtp::batch::{Batch, BatchWriter, Meta, Numbering};
use crate::time::MediaTime;

const SUITES: [Suite; 3] = [Suite::AesCm128HmacSha1, Suite::AeadAes128Gcm, Suite::AeadAes256Gcm];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The master key of RFC 3711 appendix B.3.
fn counter_key() -> MasterKey {
    let bytes = hex("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6");
    MasterKey::from_bytes(Suite::AesCm128HmacSha1, &bytes, &[]).unwrap()
}

fn key(suite: Suite, mki: &[u8]) -> MasterKey {
    MasterKey::new(suite, std::array::from_fn(|at| (at as u8).wrapping_mul(7)), mki)
}

#[test]
fn keys_are_derived_as_rfc_3711_has_it() {
    // Appendix B.3: what the derived keys are shows in packets; the key stream of B.2 is part of them.
    let keys = Keys::new(&counter_key());
    let mut out = BytesMut::from(&hex("800f1234decafbadcafebabe abababababababababababababababab")[..]);
    keys.protect_rtp(&mut out, 0, 0);
    let expected = "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb";
    assert_eq!(out[..], hex(expected));
    let mut out = BytesMut::from(&hex("81c8000bcafebabe abababababababababababababababab")[..]);
    keys.protect_rtcp(&mut out, 0, 1);
    let expected = "81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798";
    assert_eq!(out[..], hex(expected));
}

#[test]
fn master_keys_have_one_size() {
    for suite in SUITES {
        let master = key(suite, b"abc");
        let bytes = [master.key(), master.salt()].concat();
        assert_eq!(MasterKey::from_bytes(suite, &bytes, b"abc"), Some(master));
        assert_eq!(MasterKey::from_bytes(suite, &bytes[1..], b"abc"), None);
        assert_eq!(MasterKey::from_bytes(suite, &bytes, &[0; MKI_BYTES_MAX + 1]), None);
    }
}

fn batch(sequence: u16, payloads: &[Vec<u8>]) -> Batch {
    let numbering = Numbering { ssrc: 9, payload_type: 96, sequence, timestamp: 1_000 };
    let mut writer = BatchWriter::new(numbering, 100);
    payloads.iter().for_each(|payload| writer.packet(false, &[payload]));
    let meta = Meta { track: 0, keyframe: true, dts: MediaTime::ZERO, pts: MediaTime::ZERO };
    writer.finish(meta).unwrap()
}

#[test]
fn packets_are_read_on_beyond_the_end_of_their_numbers() {
    for suite in SUITES {
        let mut sender = Sender::new(key(suite, b"ab"));
        let mut receiver = Receiver::new(&key(suite, b"ab"));
        let mut sequence = 65_000_u16;
        for round in 0..200_000_u32 / 500 {
            let plain = batch(sequence, &vec![round.to_be_bytes().to_vec(); 500]);
            let protected = sender.protect(&plain, |_| None);
            for (packet, original) in protected.packets().iter().zip(plain.packets()) {
                let mut out = Vec::new();
                receiver.handle_rtp(protected.packet(packet), &mut out).unwrap();
                assert_eq!(out, plain.packet(original));
                assert_eq!(receiver.handle_rtp(protected.packet(packet), &mut out), Err(SrtpError::Replayed));
            }
            sequence = sequence.wrapping_add(500);
        }
        assert!(sender.has_come_round());
    }
}

#[test]
fn what_is_protected_again_is_the_same() {
    for suite in SUITES {
        let mut sender = Sender::new(key(suite, b""));
        let old = batch(65_530, &[vec![1; 10], vec![2; 10]]);
        let first = sender.protect(&old, |_| None);
        sender.note(40);
        let latest = batch(40, &[vec![3; 10]]);
        sender.protect(&latest, |_| None);
        assert_eq!(sender.protect(&old, |_| None).rtp(), first.rtp());
    }
}

#[test]
fn headers_of_a_viewer_stand_in_place_of_the_shared_ones() {
    for suite in SUITES {
        let mut sender = Sender::new(key(suite, b""));
        let mut receiver = Receiver::new(&key(suite, b""));
        let plain = batch(7, &[vec![1; 30]]);
        let own = crate::rtp::header::Header {
            marker: true,
            payload_type: 96,
            sequence: 65_535,
            timestamp: 5,
            ssrc: 77,
        };
        let protected = sender.protect(&plain, |_| Some(own.to_bytes()));
        let mut out = Vec::new();
        receiver.handle_rtp(protected.rtp(), &mut out).unwrap();
        assert_eq!(out, [&own.to_bytes()[..], &[1; 30]].concat());
    }
}

proptest! {
    #[test]
    fn what_is_protected_is_read_and_nothing_else(
        suite in 0..SUITES.len(),
        mki in proptest::collection::vec(any::<u8>(), 0..=MKI_BYTES_MAX),
        (csrcs, extension) in (0..16_u8, proptest::option::of(0..5_u16)),
        (sequence, roc, payload) in (any::<u16>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..300)),
        (place, bit) in (any::<proptest::sample::Index>(), 0..8_u8),
    ) {
        let keys = Keys::new(&key(SUITES[suite], &mki));
        let mut packet = vec![0x80 | csrcs | u8::from(extension.is_some()) << 4, 96];
        packet.extend(sequence.to_be_bytes());
        packet.extend([7; 8]);
        packet.extend(vec![1; 4 * usize::from(csrcs)]);
        if let Some(words) = extension {
            packet.extend([0xbe, 0xde]);
            packet.extend(words.to_be_bytes());
            packet.extend(vec![2; 4 * usize::from(words)]);
        }
        packet.extend(&payload);
        let mut out = BytesMut::from(&b"before"[..]);
        out.extend_from_slice(&packet);
        keys.protect_rtp(&mut out, 6, roc);
        prop_assert_eq!(out.len(), 6 + packet.len() + keys.overhead_bytes());
        let mut plain = Vec::new();
        prop_assert_eq!(keys.unprotect_rtp(&out[6..], roc, &mut plain), Ok(()));
        prop_assert_eq!(&plain, &packet);
        prop_assert!(keys.unprotect_rtp(&out[6..], roc.wrapping_add(1), &mut plain).is_err());
        let mut changed = out[6..].to_vec();
        let place = place.index(changed.len());
        changed[place] ^= 1 << bit;
        plain.clear();
        prop_assert!(keys.unprotect_rtp(&changed, roc, &mut plain).is_err());
        prop_assert!(plain.is_empty());
    }

    #[test]
    fn reports_are_read_once_and_only_as_they_were(
        suite in 0..SUITES.len(),
        mki in proptest::collection::vec(any::<u8>(), 0..=MKI_BYTES_MAX),
        body in proptest::collection::vec(any::<u8>(), 8..200),
        (place, bit) in (any::<proptest::sample::Index>(), 0..8_u8),
    ) {
        let mut sender = Sender::new(key(SUITES[suite], &mki));
        let mut receiver = Receiver::new(&key(SUITES[suite], &mki));
        for _ in 0..3 {
            let mut out = BytesMut::from(&body[..]);
            sender.protect_rtcp(&mut out, 0);
            let mut plain = Vec::new();
            let mut changed = out.to_vec();
            let place = place.index(changed.len());
            changed[place] ^= 1 << bit;
            prop_assert!(receiver.handle_rtcp(&changed, &mut plain).is_err());
            prop_assert!(plain.is_empty());
            prop_assert_eq!(receiver.handle_rtcp(&out, &mut plain), Ok(()));
            prop_assert_eq!(&plain, &body);
            prop_assert_eq!(receiver.handle_rtcp(&out, &mut plain), Err(SrtpError::Replayed));
            prop_assert_eq!(plain.len(), body.len());
        }
    }

    #[test]
    fn noise_is_refused(noise in proptest::collection::vec(any::<u8>(), 0..200), suite in 0..SUITES.len()) {
        let mut receiver = Receiver::new(&key(SUITES[suite], b"x"));
        let mut plain = Vec::new();
        prop_assert!(receiver.handle_rtp(&noise, &mut plain).is_err());
        prop_assert!(receiver.handle_rtcp(&noise, &mut plain).is_err());
        prop_assert!(plain.is_empty());
        let mut out = BytesMut::from(&noise[..]);
        Keys::new(&key(SUITES[suite], b"x")).protect_rtp(&mut out, 0, 0);
        let mut out = BytesMut::from(&noise[..]);
        Keys::new(&key(SUITES[suite], b"x")).protect_rtcp(&mut out, 0, 0);
    }
}
