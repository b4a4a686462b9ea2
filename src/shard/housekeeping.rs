//! What is looked at every second: who has been silent for too long, and what nobody wants any more.

use std::time::Duration;

use super::connection::Fate;
use super::session::{Carrier, Source};
use super::turn::Shard;
use super::welcome::WELCOME_MAX;

/// A connection without a session is closed when it has not asked anything in full for this long: slow or half-sent
/// requests cannot pile up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A publisher without its connection, whose datagrams do not come either, is lost after this long.
const PUBLISHER_SILENCE_MAX: Duration = Duration::from_secs(5);

/// How long a client may take to read the last words of a connection.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// How long a client of the API may take to read 64 KiB, which is [`super::steering::ANSWER_BYTES_MAX`].
const READING_MAX: Duration = Duration::from_secs(30);

impl Shard {
    pub(super) fn keep_house(&mut self) {
        self.keep_doors();
        let silent: Vec<_> = (self.sessions.iter())
            .filter(|(_, session)| {
                let has_client = !matches!(session.carrier, Carrier::Groups(_));
                let is_silent = self.now.since(session.seen) > session.timeout;
                has_client && is_silent && !session.timeout.is_zero()
            })
            .map(|(key, _)| key)
            .collect();
        for key in silent {
            self.end_session(key, "no sign of life");
        }
        let abandoned: Vec<_> = (self.sessions.iter())
            .filter(|(_, session)| {
                let is_silent = self.now.since(session.seen) > PUBLISHER_SILENCE_MAX;
                is_silent && session.conn.is_none() && matches!(session.source, Source::Ingest(_))
            })
            .map(|(key, _)| key)
            .collect();
        for key in abandoned {
            self.end_session(key, "connection closed and nothing came since");
        }
        let idle: Vec<_> = (self.connections.iter())
            .filter(|connection| {
                let silence = self.now.since(connection.served);
                let is_leaving = connection.fate == Fate::Closing && silence > FAREWELL_MAX;
                let is_unwelcome = connection.preface.is_some() || connection.is_surplus();
                let is_alone = connection.sessions.is_empty() && !connection.door.is_led_by_another();
                // Who serves it ends those that ask too slowly, and cannot see who reads too slowly.
                let is_served_elsewhere = connection.door.is_control();
                let is_stuck = is_served_elsewhere && connection.is_sending && silence > READING_MAX;
                is_leaving
                    || (is_unwelcome && silence > WELCOME_MAX)
                    || connection.is_shaking_too_long(self.now)
                    || is_stuck
                    || (is_alone && !is_served_elsewhere && silence > SILENCE_MAX)
            })
            .map(|connection| connection.conn)
            .collect();
        for conn in idle {
            self.close(conn);
        }
        self.drop_orphans();
        self.keep_gate();
        self.keep_limits();
        self.keep_publications();
        self.keep_proxies();
        self.keep_pushers();
        self.keep_transmissions();
        for stream in self.live.take_idle(self.now, self.settings.linger) {
            self.ports.catalog.unsubscribe(stream.path(), stream.id, self.index);
        }
    }
}
