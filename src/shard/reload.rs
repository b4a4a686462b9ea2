//! Another configuration while clients are here: what it touches changes, and nobody else notices.
//!
//! It comes in two steps. With the first, [`Message::Settings`](super::inbox::Message::Settings), the shard has all that
//! is new beside all that was there; then the catalog sends those who ask to the new streams; with the second,
//! [`Message::Settled`](super::inbox::Message::Settled), what is there no longer goes.

use std::sync::Arc;

use proto::io::{Conn, Op};

use super::connection::Connection;
use super::gate::Access;
use super::inbox::Moved;
use super::session::{Carrier, SessionKey, Source};
use super::settings::{Listen, MayPublish, Settings};
use super::turn::Shard;
use crate::config::Action;

impl Shard {
    /// Obeys other settings from now on.
    pub(super) fn change_settings(&mut self, settings: Arc<Settings>) {
        if self.stop.is_some() {
            return;
        }
        let before = std::mem::replace(&mut self.settings, settings);
        self.close_doors();
        self.open_doors();
        self.change_loudspeaker(&before);
        self.proxies.add_new(self.index, &self.settings.proxies);
        self.pushers.add_new(self.index, &self.settings.pushers);
        self.change_users(&before);
        if before.visitors != self.settings.visitors {
            self.end_unwelcome();
        }
    }

    /// Leaves what the settings have no longer; everybody who asks knows that by now.
    pub(super) fn leave_what_is_gone(&mut self) {
        if self.stop.is_some() {
            return;
        }
        let settings = self.settings.clone();
        self.retire_proxies(&settings.proxies);
        self.retire_pushers(&settings.pushers);
        self.open_pushers();
        self.start_proxies();
    }

    /// Listens no longer where the settings have no door; who has come in by one stays.
    fn close_doors(&mut self) {
        let settings = &self.settings;
        let is_wanted = |address| settings.listen.iter().any(|listen| listen.address == address);
        let gone = self.listeners.extract_if(.., |(_, listen)| !is_wanted(listen.address));
        for (listener, _) in gone {
            self.ports.driver.submit(Op::CloseListener(listener));
        }
    }

    /// Tries again to listen where it has failed.
    pub(super) fn keep_doors(&mut self) {
        if !self.unopened.is_empty() && self.stop.is_none() {
            self.open_doors();
        }
    }

    /// Listens where the settings have a door.
    fn open_doors(&mut self) {
        let settings = self.settings.clone();
        let said = std::mem::take(&mut self.unopened);
        for listen in &settings.listen {
            let Listen { address, kind } = *listen;
            if let Some((_, held)) = self.listeners.iter_mut().find(|(_, held)| held.address == address) {
                held.kind = kind;
                continue;
            }
            match self.ports.driver.listen(address) {
                Ok((listener, _)) => self.listeners.push((listener, *listen)),
                // It was tried a moment ago: another program came first, or a door that was closed with this change is
                // not shut yet.
                Err(error) => {
                    if !said.contains(&address) {
                        tracing::error!(%address, %error, "cannot listen; it is tried again every second");
                    }
                    self.unopened.push(address);
                }
            }
        }
    }

    /// Gives users the numbers that they have in the new list, and ends what they may do no longer.
    fn change_users(&mut self, before: &Settings) {
        let is_same_access = match (&before.access, &self.settings.access) {
            (Some(before), Some(access)) => Arc::ptr_eq(before, access),
            (before, access) => before.is_none() && access.is_none(),
        };
        if is_same_access && before.may_publish == self.settings.may_publish {
            return;
        }
        if !is_same_access {
            let numbers = renumbering(before.access.as_deref(), self.settings.access.as_deref());
            let renumber = |user: &mut Option<usize>| {
                *user = user.and_then(|user| numbers.get(user).copied().flatten());
            };
            self.sessions.values_mut().for_each(|session| renumber(&mut session.user));
            let logins = self.connections.iter_mut().filter_map(|connection| connection.login.as_mut());
            logins.for_each(|login| renumber(&mut login.user));
        }
        let keys: Vec<_> = self.sessions.keys().collect();
        for key in keys {
            if !self.is_still_allowed(key) {
                self.end_session(key, "the configuration does not allow it any longer");
            }
        }
    }

    /// Numbers the user of a connection as this shard does: the one that it comes from may know of a change that this one
    /// does not know of yet, or the other way round.
    pub(super) fn renumber_moved(&self, moved: &mut Moved) {
        let (from, to) = (moved.access.take(), &self.settings.access);
        let is_same = from.as_ref().zip(to.as_ref()).is_some_and(|(from, to)| Arc::ptr_eq(from, to));
        if let Some(login) = moved.login.as_mut().filter(|_| !is_same) {
            let numbers = renumbering(from.as_deref(), to.as_deref());
            login.user = login.user.and_then(|user| numbers.get(user).copied().flatten());
        }
    }

    /// Whether a session may go on with what it does.
    fn is_still_allowed(&self, key: SessionKey) -> bool {
        let session = &self.sessions[key];
        if matches!(session.carrier, Carrier::Groups(_)) {
            return true;
        }
        let action = self.action_of(key);
        if action == Action::Publish {
            let connection = session.conn.and_then(|conn| self.connections.get(conn));
            match self.settings.may_publish {
                MayPublish::Nobody => return false,
                MayPublish::Local => {
                    return connection.map_or(session.peer.ip().is_loopback(), Connection::is_local);
                }
                MayPublish::Users | MayPublish::Everybody => {}
            }
        }
        let Some(access) = self.settings.access.as_ref().filter(|access| self.is_asked(access, action))
        else {
            return true;
        };
        session.user.is_some_and(|user| access.may(user, action, &self.name_of_session(key)))
    }

    /// What a session plays or publishes, as the configuration names it.
    fn name_of_session(&self, key: SessionKey) -> String {
        let session = &self.sessions[key];
        let name = match &session.source {
            Source::File(file) => Some(file.info.name.as_str()),
            Source::Replay(replay) => Some(replay.info.name.as_str()),
            Source::Live(cursor) => self.live.get(cursor.stream).map(|stream| stream.description.path()),
            Source::Member(member) => Some(member.offer.mount.name()),
            Source::Ingest(ingest) => self.publications.path_of(ingest.tenure),
        };
        name.map_or_else(|| super::gate::decoded(&session.path), str::to_owned)
    }

    /// Ends the sessions and connections of addresses that may not be here any more.
    fn end_unwelcome(&mut self) {
        let settings = self.settings.clone();
        let is_unwelcome = |peer: &std::net::SocketAddr| !settings.visitors.admits(peer.ip());
        let sessions = self.sessions.iter().filter(|(_, session)| {
            !matches!(session.carrier, Carrier::Groups(_)) && is_unwelcome(&session.peer)
        });
        let sessions: Vec<_> = sessions.map(|(key, _)| key).collect();
        for key in sessions {
            self.end_session(key, "its address may not connect any longer");
        }
        // Whom a proxy connects for is judged once it has said so.
        let connections = self.connections.iter().filter(|it| it.preface.is_none() && is_unwelcome(&it.peer));
        let connections: Vec<Conn> = connections.map(|connection| connection.conn).collect();
        for conn in connections {
            self.close_when_flushed(conn);
        }
        self.close_lines(is_unwelcome);
    }
}

/// For each user of one list the number in another; None for those who are not in it, or have another password there.
fn renumbering(from: Option<&Access>, to: Option<&Access>) -> Vec<Option<usize>> {
    let (Some(from), Some(to)) = (from, to) else { return Vec::new() };
    let number_of = |user: &crate::config::User| {
        // Of two with one name the first counts.
        let number = to.users.iter().position(|other| other.name == user.name)?;
        (to.users[number].password == user.password).then_some(number)
    };
    from.users.iter().map(number_of).collect()
}
