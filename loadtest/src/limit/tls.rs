//! AES-GCM and nothing else: a handshake by rustls, then records as large as can be, sealed where they are sent from.

use std::io::{self, Read, Write};
use std::sync::Arc;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls::crypto::ring::{default_provider, sign};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ConnectionTrafficSecrets, ServerConfig, ServerConnection};

/// What all connections share.
#[derive(Clone, Debug)]
pub(super) struct Config(Arc<ServerConfig>);

/// The dialogue of a viewer that does not play yet.
pub(super) struct Talk(Box<ServerConnection>);

/// What seals for one viewer.
pub(super) struct Sealer {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
}

impl Config {
    pub(super) fn new() -> io::Result<Config> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
        let document = document.map_err(failed)?;
        let key = PrivateKeyDer::Pkcs8(document.as_ref().to_vec().into());
        let key = sign::any_ecdsa_type(&key).map_err(io::Error::other)?;
        // The viewers do not look at it.
        let certificate = CertificateDer::from(vec![0x30, 0]);
        let identity = Arc::new(Identity(Arc::new(CertifiedKey::new(vec![certificate], key))));
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(io::Error::other)?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(identity);
        config.enable_secret_extraction = true;
        config.send_tls13_tickets = 0;
        Ok(Config(Arc::new(config)))
    }
}

impl Talk {
    pub(super) fn new(config: &Config) -> io::Result<Talk> {
        Ok(Talk(Box::new(ServerConnection::new(config.0.clone()).map_err(io::Error::other)?)))
    }

    /// Takes what has come: what is in it, and what is to be sent for it.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let mut plain = Vec::new();
        while !bytes.is_empty() {
            self.0.read_tls(&mut bytes)?;
            let state = self.0.process_new_packets().map_err(io::Error::other)?;
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            self.0.reader().read_exact(&mut plain[start..])?;
        }
        Ok((plain, self.outgoing()?))
    }

    /// Seals an answer.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.0.writer().write_all(bytes)?;
        self.outgoing()
    }

    /// The viewer plays: what it says from here on is not looked at.
    pub(super) fn into_sealer(self) -> io::Result<Sealer> {
        let secrets = self.0.dangerous_extract_secrets().map_err(io::Error::other)?;
        let (sequence, secrets) = secrets.tx;
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "the viewer wants no AES-GCM")),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(failed)?;
        let iv = iv.as_ref().try_into().map_err(io::Error::other)?;
        Ok(Sealer { key: LessSafeKey::new(key), iv, sequence })
    }

    fn outgoing(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut out)?;
        }
        Ok(out)
    }
}

impl Sealer {
    /// Writes records of TLS 1.3 into `out`, in place of what it holds.
    pub(super) fn seal(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        for payload in bytes.chunks(PAYLOAD_BYTES_MAX) {
            let [high, low] = ((payload.len() + 1 + MAX_TAG_LEN) as u16).to_be_bytes();
            let head = [APPLICATION_DATA, 3, 3, high, low];
            out.extend_from_slice(&head);
            let start = out.len();
            out.extend_from_slice(payload);
            out.push(APPLICATION_DATA);
            let mut nonce = self.iv;
            let sequence = self.sequence.to_be_bytes();
            nonce[NONCE_LEN - 8..].iter_mut().zip(sequence).for_each(|(byte, other)| *byte ^= other);
            self.sequence += 1;
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(head), &mut out[start..]);
            out.extend_from_slice(tag.map_err(failed)?.as_ref());
        }
        Ok(())
    }
}

/// One identity for everybody.
#[derive(Debug)]
struct Identity(Arc<CertifiedKey>);

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn failed(_: Unspecified) -> io::Error {
    io::Error::other("the cipher does not work")
}

/// RFC 8446 section 5.1.
const PAYLOAD_BYTES_MAX: usize = 1 << 14;
const APPLICATION_DATA: u8 = 23;
