//! What each user has had of this shard, for those who count: by name, as users have other numbers after a reload.

use std::collections::HashMap;
use std::sync::Arc;

use super::session::{Session, Source};

/// Users that are counted: as many as a configuration may have, and those of earlier ones. Sessions of others are in the sums
/// of all alone.
const USERS_MAX: usize = 4_096;

/// What a user has had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Sessions that began.
    pub sessions_begun: u64,
    /// Sessions that there are.
    pub sessions: u64,
    /// Bytes of media that were sent to them.
    pub bytes_sent: u64,
    /// Bytes of media that they have brought.
    pub bytes_received: u64,
}

/// The users, without what sessions that go on have had.
#[derive(Debug, Default)]
pub struct Accounts(HashMap<Arc<str>, Account>);

impl Accounts {
    /// A session of a user begins: under whose name it is counted from now on. None when there are too many.
    pub fn begin(&mut self, user: &str) -> Option<Arc<str>> {
        let known = self.0.get_key_value(user).map(|(name, _)| name.clone());
        let name = match known {
            Some(name) => name,
            None if self.0.len() < USERS_MAX => user.into(),
            None => return None,
        };
        self.0.entry(name.clone()).or_default().sessions_begun += 1;
        Some(name)
    }

    /// A session has ended.
    pub fn end(&mut self, session: &Session) {
        if let Some(account) = session.account.as_ref().and_then(|name| self.0.get_mut(name)) {
            account.add(session);
        }
    }

    /// What all users have had, with the sessions that there are.
    pub fn all<'a>(&self, sessions: impl Iterator<Item = &'a Session>) -> HashMap<Arc<str>, Account> {
        let mut all = self.0.clone();
        for session in sessions {
            if let Some(account) = session.account.as_ref().and_then(|name| all.get_mut(name)) {
                account.add(session);
                account.sessions += 1;
            }
        }
        all
    }
}

impl Account {
    /// Both together.
    pub fn with(&self, other: &Account) -> Account {
        Account {
            sessions_begun: self.sessions_begun + other.sessions_begun,
            sessions: self.sessions + other.sessions,
            bytes_sent: self.bytes_sent + other.bytes_sent,
            bytes_received: self.bytes_received + other.bytes_received,
        }
    }

    fn add(&mut self, session: &Session) {
        match session.source {
            Source::Ingest(_) => self.bytes_received += session.numbers.bytes,
            _ => self.bytes_sent += session.numbers.bytes,
        }
    }
}
