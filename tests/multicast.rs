//! Multicast: a presentation is sent once to all who listen to its groups.

pub(crate) mod granted;
pub(crate) mod listener;
pub(crate) mod members;
mod networks;
pub(crate) mod outlet;
pub(crate) mod players;
mod reported;

use std::net::IpAddr;
use std::time::Duration;

use crate::corpus::folder;
use crate::server::{Backend, Builder, Server};

/// A file with pictures and sound that lasts three seconds.
pub(crate) const FILE: &str = "h264_aac.mp4";

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server whose groups are on loopback.
pub(crate) fn on_loopback(backend: Backend) -> Builder {
    on_loopback_in(backend, groups())
}

/// The same, with the first and the last group that it has.
fn on_loopback_in(backend: Backend, [first, last]: [IpAddr; 2]) -> Builder {
    let builder = Server::with(backend).media(folder()).setting("multicast", 1);
    let builder = builder.setting("multicast_ip_min", first).setting("multicast_ip_max", last);
    builder.setting("multicast_interface", "127.0.0.1").lifetime(Duration::from_secs(120))
}

/// The first and the last of 250 groups that no other server of this run has.
fn groups() -> [IpAddr; 2] {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let (run, number) = (std::process::id() as u8, NEXT.fetch_add(1, Ordering::Relaxed));
    [1, 250].map(|last| IpAddr::from([239, 160 + run % 32, number, last]))
}
