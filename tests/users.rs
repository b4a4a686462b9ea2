//! Names and passwords (`need_auth`, `<user>`): who is asked, who gets in, and who stays outside.

mod asked;
mod banned;
mod clock;
mod doors;
mod permitted;
mod players;

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::client::Client;
use crate::corpus::folder;
use crate::server::{Backend, Builder, Server};

/// A file with pictures and sound.
const FILE: &str = "/h264_aac.mp4";

const USER: &str = "admin";
const PASSWORD: &str = "secret-12";

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server of the corpus that asks everybody, and knows one user who may do everything.
fn asking(backend: Backend) -> Builder {
    Server::with(backend).media(folder()).setting("need_auth", 1).xml(&user(USER, PASSWORD, &[]))
}

/// A `<user>` with some permissions.
fn user(name: &str, password: &str, permissions: &[&str]) -> String {
    let permissions: String =
        permissions.iter().map(|permission| format!("<permission>{permission}</permission>")).collect();
    let password = password.replace('&', "&amp;").replace('<', "&lt;");
    format!("<user><username>{name}</username><password>{password}</password>{permissions}</user>\n")
}

/// A client who has been asked and says who it is.
#[track_caller]
fn logging_in(server: &Server, path: &str, name: &str, password: &str) -> Client {
    Client::logging_in(server.address(), &server.url(path), name, password)
}

/// A client of another address of this machine.
pub(crate) fn from(ip: &str, server: SocketAddr) -> Client {
    let ip: IpAddr = ip.parse().unwrap();
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(ip, 0).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    Client::on(TcpStream::from(socket))
}
