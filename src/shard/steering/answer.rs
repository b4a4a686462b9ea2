//! Answers to those who see and steer the server.

use proto::io::{Conn, Op};
use proto::rtsp::uri::percent_decode;

use super::{Caller, Happening, PublicationReport, Question, Said, SessionKind, SessionReport};
use super::{ShardStreams, Totals, WayBack, WayIn};
use crate::shard::connection::Fate;
use crate::shard::door::Door;
use crate::shard::session::{Carrier, Session, SessionId, SessionKey, Source};
use crate::shard::turn::Shard;

/// Why a session ends that somebody has ended here.
const KICKED: &str = "ended by an administrator";

impl Shard {
    /// Hands a connection to who serves the API, from its request's head on. None when there are too many of them.
    pub(in crate::shard) fn caller_taken(&self, conn: Conn) -> Option<Box<dyn WayIn>> {
        let steering = self.settings.steering.as_ref()?;
        let connection = self.connections.get(conn)?;
        let caller = Caller {
            peer: connection.peer,
            is_local: connection.is_local(),
            is_private: connection.secure.is_some(),
        };
        let own = self.ports.shards.get(usize::from(self.index))?;
        steering.take(caller, WayBack::new(own.clone(), conn))
    }

    /// Says to a client what is meant for it.
    pub(in crate::shard) fn say(&mut self, conn: Conn, said: Said) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Door::Control(pipe) = &mut connection.door else { return };
        match said {
            Said::Took(bytes) => {
                pipe.took(bytes);
                self.throttle_control(conn);
            }
            Said::Bytes(bytes) if connection.fate == Fate::Open => {
                pipe.queue(bytes.len());
                if !connection.is_sending {
                    // How long it takes to read is counted from here.
                    connection.served = self.now;
                }
                connection.push(bytes);
                self.flush(conn);
            }
            Said::Bytes(_) => {}
            Said::End => self.close_when_flushed(conn),
        }
    }

    /// Stops or resumes receiving, by what is taken of it.
    pub(in crate::shard) fn throttle_control(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Door::Control(pipe) = &connection.door else { return };
        if pipe.is_full() && !connection.is_stopped {
            connection.is_stopped = true;
            self.ports.driver.submit(Op::Stop(conn));
        } else if pipe.has_room() && connection.is_stopped {
            connection.is_stopped = false;
            self.ports.driver.submit(Op::Resume(conn));
        }
    }

    /// Answers a question.
    pub(in crate::shard) fn answer_survey(&mut self, question: Question) {
        match question {
            Question::Totals(reply) => reply.answer(self.totals()),
            Question::Users(reply) => reply.answer(self.accounts.all(self.sessions.values())),
            Question::SessionIds(reply) => reply.answer(self.by_id.keys().copied().collect()),
            Question::Sessions(ids, reply) => {
                let reports = ids.into_iter().filter_map(|id| self.session_report(id)).collect();
                reply.answer(reports);
            }
            Question::Streams(path, reply) => {
                let streams = self.stream_reports(path.as_deref());
                reply.answer(streams);
            }
            Question::Proxies(path, reply) => reply.answer(self.proxies.accounts(path.as_deref()).collect()),
            Question::Tap(id, duration, reply) => reply.answer(self.begin_tap(id, duration)),
            Question::Untap(id, reply) => reply.answer(self.ports.driver.untap(id)),
            Question::End(id, reply) => {
                let key = self.by_id.get(&id).copied();
                let key = key.filter(|key| self.sessions.get(*key).is_some_and(has_client));
                if let Some(key) = key {
                    self.end_session(key, KICKED);
                }
                reply.answer(key.is_some());
            }
        }
    }

    /// Tells that a session has begun, if anybody wants to know.
    pub(in crate::shard) fn tell_beginning(&self, key: SessionKey) {
        let Some(steering) = self.settings.steering.as_ref().filter(|it| it.is_heard()) else { return };
        let Some(session) = self.sessions.get(key).filter(|session| has_client(session)) else { return };
        steering.tell(Happening::SessionBegan {
            id: session.id,
            peer: session.peer,
            path: path(session),
            transport: session.transport,
            kind: kind(session),
        });
    }

    /// Tells that a session has ended, if anybody wants to know.
    pub(in crate::shard) fn tell_end(&self, session: &Session, reason: &str) {
        let Some(steering) = self.settings.steering.as_ref().filter(|it| it.is_heard()) else { return };
        steering.tell(Happening::SessionEnded {
            id: session.id,
            peer: session.peer,
            path: path(session),
            duration: self.now.since(session.began),
            bytes: bytes(session),
            reason: reason.to_owned(),
        });
    }

    /// Tells that a stream that is pulled has come, or is gone.
    pub(in crate::shard) fn tell_of_proxy(&self, path: &str, failure: Option<&str>) {
        let Some(steering) = self.settings.steering.as_ref().filter(|it| it.is_heard()) else { return };
        steering.tell(Happening::Proxy { path: path.to_owned(), failure: failure.map(str::to_owned) });
    }

    fn totals(&self) -> Totals {
        Totals {
            connections: self.connections.count(),
            sessions: self.by_id.len(),
            driver: self.ports.driver.stats(),
            ..self.counted
        }
    }

    fn session_report(&self, id: SessionId) -> Option<SessionReport> {
        let session = self.sessions.get(*self.by_id.get(&id)?).filter(|session| has_client(session))?;
        let connection = session.conn.and_then(|conn| self.connections.get(conn));
        Some(SessionReport {
            id,
            kind: kind(session),
            state: session.state,
            url: session.url.clone(),
            path: path(session),
            peer: session.peer,
            user: self.user_name(session.user).map(str::to_owned),
            transport: session.transport,
            is_secure: connection.map(|connection| connection.secure.is_some()),
            age: self.now.since(session.began),
            bytes: bytes(session),
            packets_lost: match session.source {
                Source::Ingest(_) => session.numbers.missing,
                _ => session.lost(),
            },
            batches_shed: session.numbers.skipped,
            round_trip: session.round_trip(),
        })
    }

    fn stream_reports(&mut self, only: Option<&str>) -> ShardStreams {
        let is_asked = |path: &str| only.is_none_or(|only| only == path);
        let live = self.live.iter();
        let live = live.filter(|it| it.finished.is_none() && is_asked(it.description.path()));
        let live = live.map(|stream| (stream.description.clone(), stream.meter.bits_per_second()));
        let live = live.collect();
        let mut taken_in: Vec<PublicationReport> = self.proxies.reports(is_asked).collect();
        taken_in.extend(self.pushers.reports(is_asked));
        let sessions = &self.sessions;
        taken_in.extend(self.publications.reports(is_asked, |key| {
            sessions.get(key).map(|session| (session.peer, session.numbers.missing))
        }));
        ShardStreams { live, taken_in }
    }
}

/// Bytes of media that a session has sent or, of a publisher, received.
fn bytes(session: &Session) -> u64 {
    session.numbers.bytes
}

/// The path of what a session plays or publishes, decoded and without the slash before it.
fn path(session: &Session) -> String {
    let path = session.path.trim_matches('/');
    match session.source {
        Source::Ingest(_) => path.to_owned(),
        _ => percent_decode(path).unwrap_or_else(|_| path.to_owned()),
    }
}

fn kind(session: &Session) -> SessionKind {
    if matches!(session.source, Source::Ingest(_)) { SessionKind::Publish } else { SessionKind::Play }
}

fn has_client(session: &Session) -> bool {
    !matches!(session.carrier, Carrier::Groups(_))
}
