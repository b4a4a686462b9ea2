//! A client of rustls at the other end: whatever it speaks is understood, in whatever pieces it comes.

use std::io::{Read, Write};
use std::sync::Arc;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use proto::io::{Conn, Piece};
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, SupportedCipherSuite};

use super::*;
use crate::shard::inbox::{Inbox, Message};

const SUITES: [SupportedCipherSuite; 6] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The certificate and key of `tests/data/tls`.
const CERTIFICATE: &[u8] = include_bytes!("../../../tests/data/tls/p256-cert.pem");
const KEY: &[u8] = include_bytes!("../../../tests/data/tls/p256-key.pem");

fn identity() -> Identity {
    Identity::from_pem(CERTIFICATE, KEY).unwrap()
}

fn client(suite: SupportedCipherSuite) -> ClientConnection {
    let provider = rustls::crypto::CryptoProvider { cipher_suites: vec![suite], ..default_provider() };
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[suite.version()])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(trust::anyone())
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// What a client has to send.
fn take(client: &mut ClientConnection) -> Vec<u8> {
    let mut out = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut out).unwrap();
    }
    out
}

/// Gives a client records; what was in them.
fn give(client: &mut ClientConnection, mut records: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while !records.is_empty() {
        client.read_tls(&mut records).unwrap();
        let state = client.process_new_packets().unwrap();
        let mut part = vec![0; state.plaintext_bytes_to_read()];
        client.reader().read_exact(&mut part).unwrap();
        plain.extend(part);
    }
    plain
}

/// Both ends behind a handshake whose bytes come to the server in pieces of `piece`, and what the client has said in its
/// last flight.
fn shake(suite: SupportedCipherSuite, piece: usize, said: &[u8]) -> (ClientConnection, TlsSession, Vec<u8>) {
    let (server, jobs) = TlsServer::new(identity());
    let (inbox, outside) = Inbox::new(0, Waker::noop().clone());
    let conn = Conn { index: 0, generation: 0 };
    let mut client = client(suite);
    client.writer().write_all(said).unwrap();
    let (mut handshake, there) = (Box::<Handshake>::default(), Arc::new(()));
    loop {
        for piece in take(&mut client).chunks(piece) {
            handshake.handle_bytes(piece).unwrap();
            server.advance(std::mem::take(&mut handshake), conn, Arc::downgrade(&there), outside.clone());
            jobs.try_recv().unwrap().run();
            let Some(Message::Handshaken(_, output, step)) = inbox.next() else { panic!("no answer") };
            assert!(give(&mut client, &output).is_empty());
            match step {
                Step::Waits(waiting) => handshake = waiting,
                // With pieces of the right size the rest of the flight is left.
                Step::Complete(session, plain) => return finish(client, *session, plain),
                Step::Failed(error) => panic!("{error}"),
            }
        }
    }
}

fn finish(
    mut client: ClientConnection,
    mut session: TlsSession,
    mut plain: Vec<u8>,
) -> (ClientConnection, TlsSession, Vec<u8>) {
    session.open(&take(&mut client), &mut plain).unwrap();
    (client, session, plain)
}

fn sealed(session: &mut TlsSession, parts: &[&[u8]]) -> BytesMut {
    let pieces: Vec<_> = parts.iter().map(|part| Piece::Shared(Bytes::copy_from_slice(part))).collect();
    let mut out = BytesMut::new();
    assert!(session.seal(&pieces, &mut out));
    let size = parts.iter().map(|part| part.len()).sum();
    assert!(out.len() <= TlsSession::sealed_size_max(size), "{} for {size}", out.len());
    out
}

#[test]
fn all_suites_of_both_versions_carry_bytes_both_ways() {
    for suite in SUITES {
        let (mut client, mut session, _) = shake(suite, 100_000, b"");
        for size in [1, 16_383, 16_384, 16_385, 100_000] {
            let bytes: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let out = sealed(&mut session, &[&bytes[..size / 3], b"", &bytes[size / 3..]]);
            assert!(give(&mut client, &out) == bytes, "{suite:?} down {size}");
            client.writer().write_all(&bytes[..size.min(50_000)]).unwrap();
            let mut plain = Vec::new();
            session.open(&take(&mut client), &mut plain).unwrap();
            assert!(plain == bytes[..size.min(50_000)], "{suite:?} up {size}");
        }
    }
}

#[test]
fn what_comes_with_the_last_words_of_a_handshake_is_not_lost() {
    for suite in SUITES {
        for piece in [1, 3, 50, 77, 4_000] {
            let (mut client, mut session, mut plain) = shake_whole(suite, piece);
            client.writer().write_all(b" and more").unwrap();
            session.open(&take(&mut client), &mut plain).unwrap();
            assert_eq!(plain, b"first words and more", "{suite:?} {piece}");
        }
    }
}

/// As [`shake`], but the pieces that follow the end of the handshake are opened as well.
fn shake_whole(suite: SupportedCipherSuite, piece: usize) -> (ClientConnection, TlsSession, Vec<u8>) {
    let (server, jobs) = TlsServer::new(identity());
    let (inbox, outside) = Inbox::new(0, Waker::noop().clone());
    let mut client = client(suite);
    client.writer().write_all(b"first words").unwrap();
    let (mut handshake, there) = (Some(Box::<Handshake>::default()), Arc::new(()));
    let mut session: Option<(Box<TlsSession>, Vec<u8>)> = None;
    for _ in 0..4 {
        for piece in take(&mut client).chunks(piece) {
            if let Some((session, plain)) = &mut session {
                session.open(piece, plain).unwrap();
                continue;
            }
            let mut waiting = handshake.take().unwrap();
            waiting.handle_bytes(piece).unwrap();
            server.advance(
                waiting,
                Conn { index: 0, generation: 0 },
                Arc::downgrade(&there),
                outside.clone(),
            );
            jobs.try_recv().unwrap().run();
            let Some(Message::Handshaken(_, output, step)) = inbox.next() else { panic!("no answer") };
            give(&mut client, &output);
            match step {
                Step::Waits(waiting) => handshake = Some(waiting),
                Step::Complete(complete, plain) => session = Some((complete, plain)),
                Step::Failed(error) => panic!("{error}"),
            }
        }
    }
    let (session, plain) = session.unwrap();
    (client, *session, plain)
}

#[test]
fn keys_are_renewed_when_the_client_asks_and_when_they_are_used_up() {
    for suite in SUITES.into_iter().filter(|suite| suite.tls13().is_some()) {
        let (mut client, mut session, _) = shake(suite, 100_000, b"");
        for round in 0..3 {
            client.refresh_traffic_keys().unwrap();
            client.writer().write_all(b"with new keys").unwrap();
            let mut plain = Vec::new();
            session.open(&take(&mut client), &mut plain).unwrap();
            assert_eq!(plain, b"with new keys", "{suite:?} {round}");
            assert_eq!(give(&mut client, &sealed(&mut session, &[b"down"])), b"down");
        }
        session.wear_out_after(2);
        for word in 0..20 {
            assert_eq!(give(&mut client, &sealed(&mut session, &[&[word]])), [word], "{suite:?}");
        }
    }
}

#[test]
fn keys_of_tls_1_2_that_are_used_up_end_the_connection() {
    let (mut client, mut session, _) =
        shake(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 100_000, b"");
    session.wear_out_after(3);
    let mut out = BytesMut::new();
    let piece = [Piece::Shared(Bytes::from_static(b"x"))];
    // The handshake has sealed one.
    assert!(session.seal(&piece, &mut out) && session.seal(&piece, &mut out));
    assert!(!session.seal(&piece, &mut out));
    session.say_goodbye(&mut out);
    assert_eq!(give(&mut client, &out), b"xx");
    assert!(client.process_new_packets().unwrap().peer_has_closed());
}

#[test]
fn new_keys_again_and_again_are_refused() {
    let (mut client, mut session, _) = shake(cipher_suite::TLS13_AES_128_GCM_SHA256, 100_000, b"");
    let mut plain = Vec::new();
    let refused = (0..100).position(|_| {
        client.refresh_traffic_keys().unwrap();
        session.open(&take(&mut client), &mut plain).is_err()
    });
    assert_eq!(refused, Some(32));
}

#[test]
fn goodbyes_are_told_from_ends() {
    for suite in SUITES {
        let (mut client, mut session, _) = shake(suite, 100_000, b"");
        let mut plain = Vec::new();
        client.writer().write_all(b"last").unwrap();
        client.send_close_notify();
        let mut records = take(&mut client);
        records.extend(b"noise behind it");
        session.open(&records, &mut plain).unwrap();
        assert!(plain == b"last" && session.is_ended(), "{suite:?}");
        let mut out = BytesMut::new();
        assert!(!session.has_said_goodbye());
        session.say_goodbye(&mut out);
        assert!(session.has_said_goodbye() && give(&mut client, &out).is_empty());
        assert!(client.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn who_speaks_no_tls_is_told_at_once() {
    for first in [&b"OPTIONS * RTSP/1.0\r\n"[..], b"GET / HTTP/1.1\r\n", b"$\0", b"\0", b"\xff"] {
        let mut handshake = Box::<Handshake>::default();
        assert!(handshake.handle_bytes(first).is_err(), "{first:?}");
    }
}

#[test]
fn nobody_looks_at_a_handshake_whose_client_is_gone() {
    let (server, jobs) = TlsServer::new(identity());
    let (inbox, outside) = Inbox::new(0, Waker::noop().clone());
    let there = Arc::new(());
    server.advance(Box::default(), Conn { index: 0, generation: 0 }, Arc::downgrade(&there), outside);
    drop(there);
    jobs.try_recv().unwrap().run();
    assert!(inbox.next().is_none());
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let other = include_bytes!("../../../tests/data/tls/rsa-key-pkcs1.pem");
    assert_eq!(Identity::from_pem(CERTIFICATE, other).err(), Some(IdentityError::Mismatch));
    assert!(matches!(Identity::from_pem(KEY, KEY).err(), Some(IdentityError::Certificate(_))));
    assert!(matches!(Identity::from_pem(CERTIFICATE, CERTIFICATE).err(), Some(IdentityError::Key(_))));
    assert!(matches!(Identity::from_pem(b"", KEY).err(), Some(IdentityError::Certificate(_))));
}

#[test]
fn keys_are_read_in_all_three_forms() {
    let rsa = include_bytes!("../../../tests/data/tls/rsa-cert.pem");
    let pairs: [(&[u8], &[u8]); 4] = [
        (CERTIFICATE, KEY),
        (CERTIFICATE, include_bytes!("../../../tests/data/tls/p256-key-sec1.pem")),
        (rsa, include_bytes!("../../../tests/data/tls/rsa-key-pkcs1.pem")),
        (rsa, include_bytes!("../../../tests/data/tls/rsa-key-pkcs8.pem")),
    ];
    for (number, (certificate, key)) in pairs.into_iter().enumerate() {
        assert!(Identity::from_pem(certificate, key).is_ok(), "{number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_are_opened_in_whatever_pieces_they_come(
        suite in 0..SUITES.len(),
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3_000), 1..6),
        sizes in proptest::collection::vec(1..2_000_usize, 1..20),
    ) {
        let (mut client, mut session, _) = shake(SUITES[suite], 100_000, b"");
        let mut records = Vec::new();
        for message in &messages {
            client.writer().write_all(message).unwrap();
            records.extend(take(&mut client));
        }
        let (mut plain, mut rest, mut sizes) = (Vec::new(), &records[..], sizes.into_iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(sizes.next().unwrap().min(rest.len()));
            session.open(now, &mut plain).unwrap();
            rest = later;
        }
        prop_assert_eq!(plain, messages.concat());
    }

    #[test]
    fn whatever_was_changed_on_its_way_is_refused(
        suite in 0..SUITES.len(),
        message in proptest::collection::vec(any::<u8>(), 1..500),
        (place, bit) in (any::<proptest::sample::Index>(), 0..8_u8),
    ) {
        let (mut client, mut session, _) = shake(SUITES[suite], 100_000, b"");
        client.writer().write_all(&message).unwrap();
        let mut record = take(&mut client);
        let place = place.index(record.len());
        record[place] ^= 1 << bit;
        let mut plain = Vec::new();
        // A version or a size may be another; then the end is missing, or what was sealed is not that.
        let opened = session.open(&record, &mut plain);
        prop_assert!(plain.is_empty() || (place == 2 && plain == message), "{:?} {:?}", opened, plain);
    }

    #[test]
    fn noise_is_refused_or_waited_for(noise in proptest::collection::vec(any::<u8>(), 0..600)) {
        let (_, mut session, _) = shake(SUITES[0], 100_000, b"");
        let mut plain = Vec::new();
        let _ = session.open(&noise, &mut plain);
        prop_assert!(plain.is_empty());
        let (server, jobs) = TlsServer::new(identity());
        let (inbox, outside) = Inbox::new(0, Waker::noop().clone());
        let mut handshake = Box::<Handshake>::default();
        let hello = [&[HANDSHAKE_RECORD][..], &noise].concat();
        prop_assert!(handshake.handle_bytes(&hello).is_ok());
        let there = Arc::new(());
        server.advance(handshake, Conn { index: 0, generation: 0 }, Arc::downgrade(&there), outside);
        jobs.try_recv().unwrap().run();
        let complete = matches!(inbox.next(), Some(Message::Handshaken(_, _, Step::Complete(..))));
        prop_assert!(!complete);
    }
}
