//! What is written is read, and what others write.

use proptest::prelude::*;
use smallvec::smallvec;

use super::*;
use crate::srtp::{MKI_BYTES_MAX, RANDOM_BYTES, Suite};
use crate::time::NtpTime;

fn master(suite: Suite, mki: &[u8]) -> MasterKey {
    MasterKey::new(suite, std::array::from_fn(|at| at as u8), mki)
}

fn message(suite: Suite, mki: &[u8]) -> Message {
    Message { bundle: 7, sources: smallvec![Source { ssrc: 9, roc: 3 }], master: master(suite, mki) }
}

#[test]
fn keys_with_a_salt_apart_are_one_key() {
    let mut bytes = message(Suite::AesCm128HmacSha1, b"").write(NtpTime::default(), [1; 16]);
    // The last payload: next, encryption, 2 bytes of size, then the key: next, kind, 2 bytes of size, 30 bytes; at last
    // the kind of the code that is not there.
    let key = bytes.len() - 1 - 34;
    let apart = [
        &bytes[key..key + 1],
        &[3 << 4, 0, 16],
        &bytes[key + 4..key + 20],
        &[0, 14],
        &bytes[key + 20..key + 34],
    ]
    .concat();
    bytes.splice(key.., apart.iter().copied().chain([0]));
    let size = (apart.len() as u16).to_be_bytes();
    bytes[key - 2..key].copy_from_slice(&size);
    assert_eq!(Message::parse(&bytes), Ok(message(Suite::AesCm128HmacSha1, b"")));
}

#[test]
fn a_renewal_may_leave_out_the_policy() {
    let whole = message(Suite::AeadAes256Gcm, b"next");
    let mut bytes = whole.write(NtpTime::default(), [1; 16]);
    // Payload, policy and its parameters, which the one before says comes next.
    let at = bytes.windows(4).rposition(|window| window == [payload::KEMAC, 0, 0, 0]).unwrap();
    let size = usize::from(bytes[at + 4]);
    bytes.drain(at..at + 5 + size);
    let random = at - 18;
    assert_eq!(bytes[random..random + 2], [payload::POLICY, 16]);
    bytes[random] = payload::KEMAC;
    assert_eq!(Message::parse_renewal(&bytes, Suite::AeadAes256Gcm), Ok(whole));
    assert_eq!(Message::parse(&bytes), Err(MikeyError::Unsupported("a key of that size")));
}

#[test]
fn what_we_lack_is_told_from_what_is_broken() {
    let good = message(Suite::AesCm128HmacSha1, b"").write(NtpTime::default(), [1; 16]);
    let changed = |from: &[u8], to: &[u8]| {
        let mut bytes = good.clone();
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        bytes[at..at + from.len()].copy_from_slice(to);
        Message::parse(&bytes)
    };
    let lacks = MikeyError::Unsupported("that policy");
    // A key of 32 bytes, a tag of 4, no encryption, another rate.
    assert_eq!(changed(&[1, 1, 16], &[1, 1, 32]), Err(lacks));
    assert_eq!(changed(&[11, 1, 10], &[11, 1, 4]), Err(lacks));
    assert_eq!(changed(&[0, 1, 1, 1, 1], &[0, 1, 0, 1, 1]), Err(lacks));
    assert_eq!(changed(&[6, 1, 0], &[6, 1, 1]), Err(lacks));
    assert_eq!(Message::parse(&good[..good.len() - 1]), Err(MikeyError::Malformed));
    assert_eq!(Message::parse(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(MikeyError::Malformed));
    assert_eq!(Message::parse(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(MikeyError::NoKey));
    assert_eq!(Message::parse(&[]), Err(MikeyError::Malformed));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        bundle: u32,
        sources in proptest::collection::vec(any::<(u32, u32)>(), 0..=SOURCES_MAX),
        suite in proptest::sample::select(&[Suite::AesCm128HmacSha1, Suite::AeadAes128Gcm, Suite::AeadAes256Gcm][..]),
        key in proptest::collection::vec(any::<u8>(), RANDOM_BYTES),
        mki in proptest::collection::vec(any::<u8>(), 0..=MKI_BYTES_MAX),
        time: u64,
        random: [u8; 16],
    ) {
        let sources = sources.into_iter().map(|(ssrc, roc)| Source { ssrc, roc }).collect();
        let message = Message { bundle, sources, master: MasterKey::new(suite, key.try_into().unwrap(), &mki) };
        prop_assert_eq!(Message::parse(&message.write(NtpTime(time), random)), Ok(message));
    }

    #[test]
    fn any_bytes_are_read_without_panic(noise: Vec<u8>, at: proptest::sample::Index, byte: u8) {
        let _ = Message::parse(&noise);
        let mut bytes = message(Suite::AeadAes128Gcm, b"mki").write(NtpTime::default(), [1; 16]);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = Message::parse(&bytes) {
            let again = Message::parse(&read.write(NtpTime::default(), [2; 16]));
            prop_assert_eq!(again, Ok(read));
        }
    }
}
