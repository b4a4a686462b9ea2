//! A system without Unix sockets.

use std::convert::Infallible;
use std::io;
use std::path::Path;

use tokio::io::DuplexStream;

/// None of them.
pub struct Socket(Infallible);

/// None of them either.
pub struct Serving(Infallible);

/// What would come in.
pub type Connection = DuplexStream;

impl Socket {
    /// Says that there are none.
    pub fn listen(_: &Path) -> io::Result<Socket> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
    }

    /// Never begins.
    pub fn begin(self) -> io::Result<Serving> {
        match self.0 {}
    }
}

impl Serving {
    /// Never begins.
    pub async fn accept(&self) -> io::Result<Connection> {
        match self.0 {}
    }
}
