//! Every request passes here before it is obeyed: is its client asked who it is, has it proven it, and may it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::io::{Conn, Op};
use proto::rtsp::auth::{Line, Verdict};
use proto::rtsp::message::{Method, Request, Response};
use proto::rtsp::status::Status;
use proto::rtsp::uri::{Target, percent_decode};
use proto::time::Time;
use rand::RngExt;

use super::suspects::{Subject, delay, shown};
use super::{Access, Login};
use crate::config::Action;
use crate::shard::connection::{Mount, Refusal, Withheld};
use crate::shard::inbox::Message;
use crate::shard::request::Outcome;
use crate::shard::session::{SessionKey, Source};
use crate::shard::settings::MayPublish;
use crate::shard::turn::Shard;

impl Shard {
    /// Lets a request pass, or says what becomes of it instead.
    pub(in crate::shard) fn pass(
        &mut self,
        conn: Conn,
        request: &Request,
        target: &Target,
        session: Option<SessionKey>,
    ) -> Result<(), Outcome> {
        let Some(access) = self.settings.access.clone() else { return Ok(()) };
        let wanted = self.wanted_of_path(conn, request, target, session);
        let wanted = wanted.filter(|action| self.is_asked(&access, *action));
        // Whatever names a session, OPTIONS as well, has its connection speak for it from then on.
        let session = session.filter(|key| self.is_asked(&access, self.action_of(*key)));
        if wanted.is_none() && session.is_none_or(|key| self.speaks_for_its_own(conn, request, key)) {
            return Ok(());
        }
        let user = self.prove(conn, request, target, &access)?;
        if session.is_some_and(|key| self.sessions[key].user != Some(user)) {
            return Err(Refusal::new(Status::SESSION_NOT_FOUND, "").into());
        }
        // What a session is for was allowed when it began; this may be about another path.
        match wanted {
            Some(action) => {
                let is_of_announced = action == Action::Publish && request.method != Method::Announce;
                self.allow(&access, user, action, &self.path_asked_for(conn, is_of_announced, target))
            }
            None => Ok(()),
        }
    }

    /// Whether the connection's user may watch what a path was found to name: a file's name may hold what looks like
    /// parameters, also where the file is a live channel.
    pub(in crate::shard) fn may_watch(&self, conn: Conn, mount: &Mount) -> Result<(), Outcome> {
        let Some(access) = self.settings.access.as_ref().filter(|access| access.asks_viewers) else {
            return Ok(());
        };
        let resolved = self.connections.get(conn).and_then(|connection| connection.resolved.as_ref());
        match (mount, self.user(conn), resolved) {
            (Mount::Live(stream), Some(user), _) => self.allow(access, user, Action::Play, stream.path()),
            (Mount::File(_), Some(user), Some(resolved)) => {
                self.allow(access, user, Action::Play, &decoded(&resolved.name))
            }
            _ => Err(Refusal::new(Status::FORBIDDEN, "").into()),
        }
    }

    /// The user that a connection has proven to speak for.
    pub(in crate::shard) fn user(&self, conn: Conn) -> Option<usize> {
        self.connections.get(conn)?.login.as_ref()?.user
    }

    /// A user's name, for the log.
    pub(in crate::shard) fn user_name(&self, user: Option<usize>) -> Option<&str> {
        self.settings.access.as_ref()?.guard.name(user?)
    }

    /// Whether an address may connect.
    pub(in crate::shard) fn admits(&self, peer: SocketAddr) -> bool {
        self.settings.visitors.admits(peer.ip()) && !self.suspects.is_banned(self.now, peer.ip())
    }

    /// Closes a connection at once that may not be there.
    pub(in crate::shard) fn turn_away(&mut self, conn: Conn, peer: SocketAddr) {
        self.suspects.turn_away(peer);
        self.ports.driver.submit(Op::Close(conn));
    }

    /// Sends the answer that was kept back until this moment, the last on its connection.
    pub(in crate::shard) fn answer_late(&mut self, conn: Conn, at: Time) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(withheld) = connection.withheld.take_if(|withheld| withheld.at == at) else { return };
        let Withheld { request, response, .. } = *withheld;
        self.reply_to_request(conn, &request, response);
        self.close_when_flushed(conn);
    }

    /// Counts a wrong password for all shards, and bans who has tried too often.
    pub(in crate::shard) fn count_failure(&mut self, subject: Subject) {
        let Some(access) = self.settings.access.clone() else { return };
        let count = self.suspects.fail(self.now, subject, access.ban);
        self.judge(&access, subject, count);
    }

    /// Obeys a ban: nobody new comes in, and who is here without having proven anything goes.
    pub(in crate::shard) fn obey_ban(&mut self, subject: Subject, until: Time) {
        self.suspects.ban(subject, until);
        let strangers: Vec<_> = (self.connections.iter())
            .filter(|connection| {
                connection.sessions.is_empty() && Subject::of(connection.peer.ip()) == subject
            })
            .filter(|connection| connection.login.as_ref().is_none_or(|login| login.user.is_none()))
            // The POST of a tunnel goes or stays with its GET.
            .filter(|connection| !connection.door.is_led_by_another())
            // Who serves it keeps guesses out, and tells who has guessed.
            .filter(|connection| !connection.door.is_control())
            // Who waits for an answer is told.
            .filter(|connection| connection.withheld.is_none())
            .map(|connection| connection.conn)
            .collect();
        for conn in strangers {
            self.close_when_flushed(conn);
        }
    }

    /// Ends bans whose time is over, and says how many were refused.
    pub(in crate::shard) fn keep_gate(&mut self) {
        if let Some((count, last)) = self.suspects.take_turned_away() {
            self.counted.refused += count;
            tracing::info!(count, %last, "turned away: banned, denied or not allowed");
        }
        let Some(access) = &self.settings.access else { return };
        for subject in self.suspects.forget_old(self.now, access.ban) {
            if subject.home(self.ports.shards.len()) == self.index {
                tracing::info!(address = %subject, "the ban has ended");
            }
        }
    }

    /// What a request wants of the path that it names; None where it wants nothing, or only of its session. Players ask
    /// for OPTIONS before they know a password, and a sign of life without a session is one of the connection's own.
    fn wanted_of_path(
        &mut self,
        conn: Conn,
        request: &Request,
        target: &Target,
        session: Option<SessionKey>,
    ) -> Option<Action> {
        match &request.method {
            Method::Describe => Some(Action::Play),
            Method::Announce => Some(Action::Publish),
            Method::Setup if self.is_announced(conn, target, session) => Some(Action::Publish),
            Method::Setup => Some(Action::Play),
            Method::Play if session.is_none() => Some(Action::Play),
            Method::Record if session.is_none() => Some(Action::Publish),
            _ => None,
        }
    }

    /// What a session does.
    pub(in crate::shard) fn action_of(&self, session: SessionKey) -> Action {
        match self.sessions[session].source {
            Source::Ingest(_) => Action::Publish,
            Source::File(_) | Source::Replay(_) | Source::Live(_) | Source::Member(_) => Action::Play,
        }
    }

    /// Whether somebody is asked who wants to do that.
    pub(in crate::shard) fn is_asked(&self, access: &Access, action: Action) -> bool {
        match action {
            Action::Publish => self.settings.may_publish == MayPublish::Users,
            Action::Play => access.asks_viewers,
            Action::Admin => true,
        }
    }

    /// Whether a request only ends, pauses or keeps what its own connection has proven to be its user's. Players do not
    /// look at the answer, and one that told them of a stale nonce would leave their session behind.
    fn speaks_for_its_own(&self, conn: Conn, request: &Request, session: SessionKey) -> bool {
        let begins = matches!(request.method, Method::Play | Method::Record);
        let session = &self.sessions[session];
        !begins && session.conn == Some(conn) && session.user.is_some() && session.user == self.user(conn)
    }

    /// The user who has made a request.
    fn prove(
        &mut self,
        conn: Conn,
        request: &Request,
        target: &Target,
        access: &Arc<Access>,
    ) -> Result<usize, Outcome> {
        let (now, random) = (self.now, &mut self.ports.random);
        let Some(connection) = self.connections.get_mut(conn) else { return Err(Outcome::Wait) };
        let peer = connection.peer;
        let is_known = connection.login.as_ref().is_some_and(|login| login.user.is_some());
        if !is_known && self.suspects.is_banned(now, peer.ip()) {
            let refusal = Refusal::new(Status::FORBIDDEN, "too many wrong passwords came from this address");
            return Err(Outcome::Withhold(now, refusal.into()));
        }
        let is_private = connection.secure.is_some();
        let line = if is_private { Line::private } else { Line::new };
        let login = connection
            .login
            .get_or_insert_with(|| Box::new(Login { line: line(random.random()), user: None }));
        let verdict = access.guard.verify(now, &mut login.line, request);
        let challenge = |stale| {
            let mut response = Response::new(Status::UNAUTHORIZED);
            for challenge in access.guard.challenges(now, &login.line, stale) {
                response.headers.push("WWW-Authenticate", challenge);
            }
            response
        };
        match verdict {
            Verdict::Proven(user) => {
                if login.user.replace(user) != Some(user) {
                    tracing::debug!(%peer, user = ?access.guard.name(user).unwrap_or_default(), "logged in");
                }
                Ok(user)
            }
            Verdict::Absent => Err(Outcome::Reply(challenge(false))),
            Verdict::Stale => Err(Outcome::Reply(challenge(true))),
            Verdict::Wrong { user } => {
                self.counted.log_ins_failed += 1;
                let response = challenge(false);
                login.user = None;
                let shown = shown(&user);
                tracing::warn!(%peer, user = ?shown, method = %request.method, path = %target.path, "log-in failed");
                let at = now + self.suspect(access, Subject::of(peer.ip()));
                Err(Outcome::Withhold(at, response))
            }
        }
    }

    /// Counts a wrong password that came here; how long its answer is kept back.
    fn suspect(&mut self, access: &Arc<Access>, subject: Subject) -> Duration {
        let count = self.suspects.fail(self.now, subject, access.ban);
        let home = subject.home(self.ports.shards.len());
        if home == self.index {
            self.judge(access, subject, count);
        } else if let Some(outside) = self.ports.shards.get(usize::from(home)) {
            // A shard that has ended lets nobody in.
            outside.send(Message::LogInFailed(subject));
        }
        delay(count)
    }

    /// Bans a subject that this shard counts for, if that is due.
    fn judge(&mut self, access: &Arc<Access>, subject: Subject, count: u32) {
        if access.ban_after != Some(count) {
            return;
        }
        let until = self.now + access.ban;
        tracing::warn!(address = %subject, failures = count, ban_s = access.ban.as_secs(), "banned: too many wrong passwords");
        // This shard as well: whoever is being judged is still told that the password was wrong.
        for outside in &self.ports.shards {
            outside.send(Message::Banned(subject, until));
        }
    }

    /// The path that a request names, decoded and without the track.
    fn path_asked_for(&self, conn: Conn, is_of_announced: bool, target: &Target) -> String {
        let announced = self.connections.get(conn).and_then(|connection| connection.announced.as_ref());
        match announced.filter(|_| is_of_announced) {
            // Its tracks have names of the publisher's own.
            Some(announced) if is_inside(target, &announced.path) => announced.path.to_string(),
            _ => decoded(&target.path),
        }
    }

    fn allow(&self, access: &Access, user: usize, action: Action, path: &str) -> Result<(), Outcome> {
        if access.may(user, action, path) {
            return Ok(());
        }
        let (user, action) = (access.guard.name(user).unwrap_or_default(), action.name());
        tracing::info!(?user, action, path, "not permitted");
        Err(Refusal::new(Status::FORBIDDEN, format!("the user has no permission to {action} this")).into())
    }
}

/// A path as the configuration names it, but for the slash before it. What names nothing in it is left out, as it is
/// where files are looked for.
pub(in crate::shard) fn decoded(path: &str) -> String {
    let path = path.trim_matches('/');
    let path = percent_decode(path).unwrap_or_else(|_| path.to_owned());
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    parts.join("/")
}

fn is_inside(target: &Target, base: &str) -> bool {
    decoded(&target.path).strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
