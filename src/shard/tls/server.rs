//! What all connections in TLS share: the identity of this server, and the threads that shake hands.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crossbeam_channel::{Receiver, Sender, unbounded};
use proto::io::Conn;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Handshake, Identity};
use crate::shard::inbox::{Message, Outside};

/// The server's side of TLS, shared by all shards.
#[derive(Clone)]
pub struct TlsServer {
    pub(super) config: Arc<ServerConfig>,
    identity: Arc<Chosen>,
    jobs: Sender<HandshakeJob>,
}

/// A step of a handshake, for a thread that may take its time: signing with RSA takes a millisecond, in which a shard
/// would serve a hundred viewers.
#[derive(Debug)]
pub struct HandshakeJob {
    server: TlsServer,
    handshake: Box<Handshake>,
    conn: Conn,
    client: Weak<()>,
    reply: Outside,
}

impl TlsServer {
    /// A server that proves to be `identity`. [`HandshakeJob::run`] is to be called for each job that comes from the
    /// receiver; there are never more of them that take time than connections that shake hands.
    pub fn new(identity: Identity) -> (TlsServer, Receiver<HandshakeJob>) {
        let identity = Arc::new(Chosen(Mutex::new(identity.0)));
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        // The provider has the suites of TLS 1.2 and 1.3.
        #[expect(clippy::expect_used, reason = "constant input")]
        let builder = builder.with_safe_default_protocol_versions().expect("both versions are there");
        let mut config = builder.with_no_client_auth().with_cert_resolver(identity.clone());
        // Records are sealed and opened by ourselves.
        config.enable_secret_extraction = true;
        // A player connects once: a ticket would cost it a flight of bytes and us the making.
        config.send_tls13_tickets = 0;
        let (jobs, receiver) = unbounded();
        (TlsServer { config: Arc::new(config), identity, jobs }, receiver)
    }

    /// Proves to be another from the next handshake on; connections that are open stay.
    pub fn replace(&self, identity: Identity) {
        *self.identity.0.lock().unwrap_or_else(PoisonError::into_inner) = identity.0;
    }

    /// Has a thread look at what a client has said. It answers with [`Message::Handshaken`], unless `client` is gone by
    /// then: those who say hello and leave keep nobody else waiting.
    pub fn advance(&self, handshake: Box<Handshake>, conn: Conn, client: Weak<()>, reply: Outside) {
        // Without threads the program is ending.
        let _ = self.jobs.send(HandshakeJob { server: self.clone(), handshake, conn, client, reply });
    }
}

impl HandshakeJob {
    /// Does it, if anybody waits for it.
    pub fn run(self) {
        if self.client.strong_count() == 0 {
            return;
        }
        let (output, step) = self.handshake.step(&self.server);
        self.reply.send(Message::Handshaken(self.conn, output, step));
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// The identity of the moment.
#[derive(Debug)]
struct Chosen(Mutex<Arc<CertifiedKey>>);

impl ResolvesServerCert for Chosen {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
