//! A client's TCP connection, plain or in TLS. An implementation of records independent of the server's.
//!
//! Whatever certificate the server shows is taken: who is measured is known, and looking costs the same for all.
//! Everything that comes is opened, also what nobody looks at: a record says nothing before it is. What that takes of our
//! processors is counted by itself, see [`opening_ns`].

use std::io::{self, BufRead, Write};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use tokio_uring::net::TcpStream;

use crate::sink;
use crate::sockets::{self, Ending};

/// Whether a connection is in TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// As it is.
    Plain,
    /// In TLS.
    Tls,
}

/// A connection.
pub struct Line {
    stream: TcpStream,
    /// None where it is plain.
    tls: Option<Box<ClientConnection>>,
    /// Room for the one byte that is waited for.
    first: Vec<u8>,
    /// Address of this side.
    pub local: SocketAddr,
}

impl Line {
    /// Connects and shakes hands; a `receive_buffer` of 0 keeps the system's.
    pub async fn open(
        server: SocketAddr,
        security: Security,
        receive_buffer: usize,
        ending: Ending,
    ) -> io::Result<Line> {
        let stream = sockets::connect(server, receive_buffer, ending).await?;
        let local = stream.local_addr()?;
        let stream = TcpStream::from_std(stream);
        let mut line = Line { stream, tls: None, first: Vec::with_capacity(1), local };
        if security == Security::Tls {
            line.shake_hands(server).await?;
        }
        Ok(line)
    }

    /// Sends bytes, all of them.
    pub async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return self.stream.write_all(bytes).await.0 };
        tls.writer().write_all(&bytes)?;
        let sealed = outgoing(tls)?;
        self.stream.write_all(sealed).await.0
    }

    /// Waits for bytes and hands them on. False at the end of the connection.
    pub async fn receive(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        let (result, buffer) = self.stream.read(Vec::with_capacity(READ_BYTES)).await;
        if result? == 0 {
            return Ok(false);
        }
        open(&mut self.tls, &buffer, &mut take)?;
        Ok(true)
    }

    /// Waits for bytes and hands on all that are there, at most about `most`. False at the end of the connection.
    ///
    /// Only the first byte is read through the ring, see [`sink`].
    pub async fn drain(&mut self, most: usize, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        let mut first = mem::take(&mut self.first);
        first.clear();
        let (result, first) = self.stream.read(first).await;
        self.first = first;
        if result? == 0 {
            return Ok(false);
        }
        open(&mut self.tls, &self.first, &mut take)?;
        let tls = &mut self.tls;
        sink::receive(&self.stream, most, |bytes| open(tls, bytes, &mut take))?;
        Ok(true)
    }

    /// Throws away what has come. In TLS nothing can be read behind that.
    pub fn discard(&self) {
        sink::discard(self.stream.as_raw_fd());
    }

    /// Ends the connection: a read that still waits comes to its end.
    pub fn shut_down(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    async fn shake_hands(&mut self, server: SocketAddr) -> io::Result<()> {
        let name = ServerName::from(server.ip());
        let mut tls = ClientConnection::new(CONFIG.clone(), name).map_err(io::Error::other)?;
        // What is handed over at once leaves at once.
        tls.set_buffer_limit(None);
        loop {
            let words = outgoing(&mut tls)?;
            if !words.is_empty() {
                self.stream.write_all(words).await.0?;
            }
            if !tls.is_handshaking() {
                self.tls = Some(Box::new(tls));
                return Ok(());
            }
            let (result, buffer) = self.stream.read(Vec::with_capacity(READ_BYTES)).await;
            if result? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut bytes = &buffer[..];
            while !bytes.is_empty() {
                tls.read_tls(&mut bytes)?;
                tls.process_new_packets().map_err(io::Error::other)?;
            }
        }
    }
}

/// Nanoseconds that all our threads have spent opening records.
pub fn opening_ns() -> u64 {
    OPENING_NS.load(Ordering::Relaxed)
}

static OPENING_NS: AtomicU64 = AtomicU64::new(0);

/// Hands on what is in received bytes.
fn open(
    tls: &mut Option<Box<ClientConnection>>,
    mut bytes: &[u8],
    take: &mut impl FnMut(&[u8]),
) -> io::Result<()> {
    let Some(tls) = tls else {
        take(bytes);
        return Ok(());
    };
    while !bytes.is_empty() {
        let began = Instant::now();
        tls.read_tls(&mut bytes)?;
        tls.process_new_packets().map_err(io::Error::other)?;
        OPENING_NS.fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
        let mut reader = tls.reader();
        // An error is that there is nothing more, or never will be.
        while let Ok(plain) = reader.fill_buf() {
            if plain.is_empty() {
                break;
            }
            take(plain);
            let size = plain.len();
            reader.consume(size);
        }
    }
    Ok(())
}

/// All that TLS has to send.
fn outgoing(tls: &mut ClientConnection) -> io::Result<Vec<u8>> {
    let mut sealed = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut sealed)?;
    }
    Ok(sealed)
}

/// What all connections share. The cipher is the one that OpenSSL and GnuTLS ask for first as well: AES-256-GCM.
static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    #[expect(clippy::expect_used, reason = "constant input")]
    let builder = builder.with_safe_default_protocol_versions().expect("the provider has both versions");
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unseen)).with_no_client_auth();
    // Every handshake is a whole one.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
});

/// Takes any certificate.
#[derive(Debug)]
struct Unseen;

impl ServerCertVerifier for Unseen {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// An answer with a description fits.
const READ_BYTES: usize = 8 * 1024;
