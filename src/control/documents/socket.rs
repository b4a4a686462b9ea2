//! Unix sockets that programs send documents to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proto::metadata::{Intake, TooLong, check};
use tokio::io::AsyncReadExt;

use crate::control::socket::{Connection, Socket};
use crate::media::documents::Channel;

/// Programs that are connected to one socket; one more is turned away.
const CONNECTIONS_MAX: usize = 16;

/// Bytes that are taken at once.
const READ_BYTES: usize = 64 * 1024;

/// How long it takes to try again where the system has no descriptor for a connection.
const AGAIN: Duration = Duration::from_millis(200);

/// A socket that listens.
pub struct Door {
    socket: Socket,
    shared: Arc<Shared>,
}

/// What its connections share.
struct Shared {
    /// Path of the stream.
    stream: String,
    channel: Arc<Channel>,
    connections: AtomicUsize,
    refused: AtomicU64,
    path: PathBuf,
}

impl Door {
    /// Listens under a name; one that a server before has left behind is taken over. An error names the setting.
    pub fn open(stream: &str, path: &Path, channel: Arc<Channel>) -> Result<Door, String> {
        let socket = Socket::listen(path).map_err(|error| {
            let path = path.display();
            format!(
                "socket of metadata_source: cannot listen on {path}: {error}: name another place, or use file"
            )
        })?;
        let (stream, path) = (stream.to_owned(), path.to_owned());
        let (connections, refused) = Default::default();
        let shared = Shared { stream, channel, connections, refused, path };
        Ok(Door { socket, shared: Arc::new(shared) })
    }

    /// Takes connections until the program ends.
    pub async fn serve(self) {
        let Door { socket, shared } = self;
        let socket = match socket.begin() {
            Ok(socket) => socket,
            Err(error) => return shared.complain(&error.to_string()),
        };
        loop {
            match socket.accept().await {
                Ok(connection) if shared.connections.load(Ordering::Relaxed) < CONNECTIONS_MAX => {
                    shared.connections.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(receive(connection, shared.clone()));
                }
                Ok(_) => shared.complain(&format!("{CONNECTIONS_MAX} programs are connected already")),
                Err(error) => {
                    shared.complain(&error.to_string());
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

impl Shared {
    fn take(&self, document: Result<Bytes, TooLong>) {
        match document {
            Ok(document) => match check(&document) {
                Ok(()) => self.channel.post(document),
                Err(error) => self.complain(&format!("a document is not sent: {error}")),
            },
            Err(error) => self.complain(&error.to_string()),
        }
    }

    /// The first, second, fourth, eighth time and so on.
    fn complain(&self, what: &str) {
        let count = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            let (stream, socket) = (&self.stream, self.path.display());
            tracing::warn!(%stream, count, "{socket}: {what} (metadata_source)");
        }
    }
}

/// Takes what a program sends until it goes.
async fn receive(mut connection: Connection, shared: Arc<Shared>) {
    let (mut intake, mut buffer) = (Intake::default(), vec![0; READ_BYTES]);
    while let Ok(count @ 1..) = connection.read(&mut buffer).await {
        intake.take(&buffer[..count], |document| shared.take(document));
    }
    if let Some(document) = intake.finish() {
        shared.take(Ok(document));
    }
    shared.connections.fetch_sub(1, Ordering::Relaxed);
}
