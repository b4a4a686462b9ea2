//! Who is asked for a password, and what each user may do. Made at start, the same for all shards.

use std::time::Duration;

use proto::rtsp::auth::{Guard, Line};

use crate::config::{Action, User};

/// Users and what is asked of them.
#[derive(Debug)]
pub struct Access {
    /// Knows their passwords.
    pub guard: Guard,
    /// The users, by the guard's numbers.
    pub users: Vec<User>,
    /// Whether viewers are asked. Publishers are where [`super::super::settings::MayPublish`] says so.
    pub asks_viewers: bool,
    /// Wrong passwords of one address after which it is banned. None never bans.
    pub ban_after: Option<u32>,
    /// How long a ban lasts, and within which time wrong passwords are counted together.
    pub ban: Duration,
}

/// What a connection has proven.
#[derive(Clone, Copy, Debug)]
pub struct Login {
    /// What was asked and answered on it.
    pub line: Line,
    /// The user whose password its last request that was asked knew. None before.
    pub user: Option<usize>,
}

impl Access {
    /// Whether a user may do something with a path, decoded and without parameters.
    pub fn may(&self, user: usize, action: Action, path: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.may(action, path))
    }
}
