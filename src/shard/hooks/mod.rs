//! Does a web service let this happen, and what is it told when that is over (`<http_notify>`)?
//!
//! ```text
//! client ── first request ──▶ shard ── connect ──▶ service     the request waits, other connections go on
//!        ── PLAY, ANNOUNCE ──▶      ── play, publish ──▶
//!                                   ◀──── 200 ────           an Admission: where it ends, `done` is told
//! ```

mod ask;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::connection::Refusal;
use crate::media::library::Ticket;

/// What a web service is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A client has made its first request.
    Connect,
    /// It wants to play.
    Play,
    /// It wants to publish.
    Publish,
    /// What was played or published has ended.
    Done,
}

impl Call {
    /// The value of the argument `call`.
    pub fn name(self) -> &'static str {
        match self {
            Call::Connect => "connect",
            Call::Play => "play",
            Call::Publish => "publish",
            Call::Done => "done",
        }
    }
}

/// What a web service is told of whoever it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The client's address.
    pub address: IpAddr,
    /// The URL that it asks for, without user and password.
    pub url: String,
    /// The stream that it means; empty where that is not known yet.
    pub name: String,
    /// The client's name in all calls about it.
    pub client: ClientId,
}

/// Names a client in all calls about it. It opens nothing: other than a session's identifier it may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId(u64);

impl ClientId {
    /// A name made of what no other client has.
    pub fn new(random: u64) -> ClientId {
        ClientId(random)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may happen.
    Allowed,
    /// The service has refused it.
    Refused,
    /// The service has not answered, and that counts as a refusal.
    Unanswered,
}

/// Where a verdict goes; called once, from any thread.
pub type VerdictReply = Box<dyn FnOnce(Verdict) + Send>;

/// The web services. Every call returns at once.
pub trait Hooks: fmt::Debug + Send + Sync {
    /// Whether anybody is to be called for this.
    fn is_called(&self, call: Call) -> bool;

    /// Asks whether something may happen.
    fn ask(&self, call: Call, facts: &Facts, reply: VerdictReply);

    /// Tells that what was allowed has ended.
    fn tell_done(&self, facts: &Facts);
}

/// Something that was allowed. The service hears of its end when this is dropped, once, wherever that happens: with a
/// session, with a connection that never had one, or with an answer that came too late for its client.
#[derive(Debug)]
pub struct Admission {
    facts: Facts,
    hooks: Arc<dyn Hooks>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.hooks.tell_done(&self.facts);
    }
}

/// What a question came to: nothing to be ended later is admitted by a connection alone.
pub type Answer = Result<Option<Box<Admission>>, Refusal>;

/// What a connection is to the web services.
#[derive(Debug)]
pub struct Visit {
    client: ClientId,
    /// Whether it may be here.
    is_let_in: bool,
    question: Question,
}

/// The question of the request that is being served.
#[derive(Debug, Default)]
enum Question {
    /// None.
    #[default]
    None,
    /// It is on its way.
    Asked(Ticket, Call),
    /// It was answered.
    Answered(Call, Answer),
}

impl Visit {
    /// Whether the request that is being served has come as far as this question before: past the gate.
    pub fn has_passed_gate(&self) -> bool {
        matches!(self.question, Question::Answered(Call::Play | Call::Publish, _))
    }
}
