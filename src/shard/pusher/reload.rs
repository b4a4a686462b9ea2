//! Pushers that come and go while the program runs, with their ports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::io::{Conn, Op};

use super::{PusherKey, PusherSpec};
use crate::shard::ingest::Sender;
use crate::shard::turn::{Alarm, Shard};
use crate::stream::catalog::StreamName;

/// A port that another pusher has just left is tried again after this.
const AGAIN: Duration = Duration::from_millis(10);

/// How long: it was seen to be free or ours before. From then on somebody else has it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A port that somebody else has is tried again after this.
const LATER: Duration = Duration::from_secs(1);

impl Shard {
    /// Leaves those that are not among these, and closes their ports; the catalog asks for them no more.
    pub(in crate::shard) fn retire_pushers(&mut self, specs: &[Arc<PusherSpec>]) {
        let is_gone = |tenure: &u64| !specs.iter().any(|spec| spec.tenure == *tenure);
        let gone = self.pushers.by_tenure.extract_if(|tenure, _| is_gone(tenure));
        let mut gone: Vec<_> = gone.map(|(_, key)| key).collect();
        gone.sort_unstable();
        for key in gone {
            for (door, _) in self.pushers.doors.extract_if(|_, (of, _)| *of == key) {
                self.ports.driver.submit(Op::CloseListener(door));
            }
            for socket in self.udp.take_sockets(Sender::Pusher(key)) {
                self.ports.driver.submit(Op::CloseUdp(socket));
            }
            self.close_matching_lines(|of, _| of == key);
            let Some(mut pusher) = self.pushers.slots.remove(key) else { continue };
            pusher.end("the configuration has changed or removed the pusher");
            for (path, subscriber) in pusher.offer.take_waiting() {
                // The catalog knows who has the path now.
                self.ports.catalog.subscribe(&StreamName::plain(path), subscriber);
            }
        }
    }

    /// Opens the ports of those that are new.
    pub(in crate::shard) fn open_pushers(&mut self) {
        for key in self.pushers.keys() {
            self.open_ports(key);
        }
    }

    /// Closes the connections of senders at such addresses.
    pub(in crate::shard) fn close_lines(&mut self, is_meant: impl Fn(&SocketAddr) -> bool) {
        self.close_matching_lines(|_, peer| is_meant(peer));
    }

    /// Opens the ports of a pusher that are not open yet.
    pub(super) fn open_ports(&mut self, key: PusherKey) {
        let now = self.now;
        let Some(pusher) = self.pushers.get_mut(key) else { return };
        let since = pusher.opens_at.take().map_or(now, |(_, since)| since);
        let is_late = now.since(since) >= PATIENCE;
        let is_said = std::mem::replace(&mut pusher.is_said_closed, is_late);
        let mut again = Vec::new();
        for (track, address) in std::mem::take(&mut pusher.closed) {
            let opened = self.pushers.open_port(key, track, address, &mut *self.ports.driver, &mut self.udp);
            match opened {
                Ok(()) if is_said => tracing::info!(%address, "the port of a pusher is open"),
                Ok(()) => {}
                Err(error) => {
                    if is_late && !is_said {
                        tracing::error!(%address, %error,
                            "the port of a pusher cannot be opened; it is tried again every second");
                    }
                    again.push((track, address));
                }
            }
        }
        let Some(pusher) = self.pushers.get_mut(key).filter(|_| !again.is_empty()) else { return };
        let at = now + if is_late { LATER } else { AGAIN };
        pusher.closed = again;
        pusher.opens_at = Some((at, since));
        self.set_alarm(at, Alarm::Pusher(key));
    }

    fn close_matching_lines(&mut self, is_meant: impl Fn(PusherKey, &SocketAddr) -> bool) {
        let lines = self.pushers.lines.iter().filter(|(_, line)| is_meant(line.key, &line.peer));
        let conns: Vec<Conn> = lines.map(|(conn, _)| *conn).collect();
        for conn in conns {
            self.pusher_ended(conn, None);
        }
    }
}
