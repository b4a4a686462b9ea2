//! A Unix socket that goes with the program.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket as RawSocket, Type};
use tokio::net::{UnixListener, UnixStream};

/// Who may connect: the user and the group that the server runs as.
const MODE: u32 = 0o660;

/// Programs that have connected and are not served yet.
const BACKLOG: i32 = 128;

/// A socket under a name, which is removed when this is dropped.
pub struct Socket {
    listener: StdListener,
    name: Name,
}

/// The same, within the runtime that is current when it begins.
pub struct Serving {
    listener: UnixListener,
    _name: Name,
}

/// A program that has connected.
pub type Connection = UnixStream;

struct Name(PathBuf);

impl Drop for Name {
    fn drop(&mut self) {
        // Where somebody else has removed it there is nothing to do.
        let _ = fs::remove_file(&self.0);
    }
}

impl Socket {
    /// Listens under a name; one that a server before has left behind is taken over.
    pub fn listen(path: &Path) -> io::Result<Socket> {
        let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
        let address = SockAddr::unix(path)?;
        match socket.bind(&address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && is_left_behind(path) => {
                fs::remove_file(path)?;
                socket.bind(&address)?;
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => return Err(taken(path)),
            bound => bound?,
        }
        let name = Name(path.to_owned());
        // Before anybody can connect.
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Socket { listener: StdListener::from(socket), name })
    }

    /// From now on those who come are let in.
    pub fn begin(self) -> io::Result<Serving> {
        Ok(Serving { listener: UnixListener::from_std(self.listener)?, _name: self.name })
    }
}

impl Serving {
    /// The next who comes.
    pub async fn accept(&self) -> io::Result<Connection> {
        self.listener.accept().await.map(|(connection, _)| connection)
    }
}

/// Whether a name is that of a socket that nobody listens on.
fn is_left_behind(path: &Path) -> bool {
    is_socket(path)
        && StdStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// Why a name cannot be had.
fn taken(path: &Path) -> io::Error {
    let reason = match is_socket(path) {
        true => "another program listens there",
        false => "there is something else under this name",
    };
    io::Error::new(ErrorKind::AddrInUse, reason)
}
