//! Unix sockets that programs send documents to.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Result as IoResult};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proto::metadata::{Intake, TooLong, check};
use tokio::net::{UnixListener, UnixStream};

use crate::media::documents::Channel;

/// Programs that are connected to one socket; one more is turned away.
const CONNECTIONS_MAX: usize = 16;

/// Bytes that are taken at once.
const READ_BYTES: usize = 64 * 1024;

/// How long it takes to try again where the system has no descriptor for a connection.
const AGAIN: Duration = Duration::from_millis(200);

/// Who may send: the user and the group that the server runs as.
const MODE: u32 = 0o660;

/// A socket that listens.
pub struct Door {
    listener: StdListener,
    shared: Arc<Shared>,
}

/// What its connections share.
struct Shared {
    /// Path of the stream.
    stream: String,
    channel: Arc<Channel>,
    connections: AtomicUsize,
    refused: AtomicU64,
    name: Name,
}

/// The name of a socket, which goes with it.
struct Name(PathBuf);

impl Drop for Name {
    fn drop(&mut self) {
        // Where somebody else has removed it there is nothing to do.
        let _ = fs::remove_file(&self.0);
    }
}

impl Door {
    /// Listens under a name; one that a server before has left behind is taken over. An error names the setting.
    pub fn open(stream: &str, path: &Path, channel: Arc<Channel>) -> Result<Door, String> {
        let listener = listen(path).map_err(|error| {
            format!(
                "socket of metadata_source: cannot listen on {}: {error}: name another place",
                path.display()
            )
        })?;
        let (stream, name) = (stream.to_owned(), Name(path.to_owned()));
        let (connections, refused) = Default::default();
        let shared = Shared { stream, channel, connections, refused, name };
        Ok(Door { listener, shared: Arc::new(shared) })
    }

    /// Takes connections until the program ends.
    pub async fn serve(self) {
        let Door { listener, shared } = self;
        let listener = match UnixListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return shared.complain(&error.to_string()),
        };
        loop {
            match listener.accept().await {
                Ok((connection, _)) if shared.connections.load(Ordering::Relaxed) < CONNECTIONS_MAX => {
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
            let (stream, socket) = (&self.stream, self.name.0.display());
            tracing::warn!(%stream, count, "{socket}: {what} (metadata_source)");
        }
    }
}

/// Takes what a program sends until it goes.
async fn receive(connection: UnixStream, shared: Arc<Shared>) {
    let (mut intake, mut buffer) = (Intake::default(), vec![0; READ_BYTES]);
    while connection.readable().await.is_ok() {
        match connection.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => intake.take(&buffer[..count], |document| shared.take(document)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => break,
        }
    }
    if let Some(document) = intake.finish() {
        shared.take(Ok(document));
    }
    shared.connections.fetch_sub(1, Ordering::Relaxed);
}

fn listen(path: &Path) -> IoResult<StdListener> {
    let listener = match StdListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_left_behind(path) => {
            fs::remove_file(path)?;
            StdListener::bind(path)?
        }
        bound => bound?,
    };
    listener.set_nonblocking(true)?;
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    Ok(listener)
}

/// Whether a name is that of a socket that nobody listens on.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    is_socket && StdStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}
