//! Sessions that may have something to send: those that are at the latest first, then those that catch up.

use std::collections::VecDeque;

use super::session::{Session, SessionKey};

/// Sessions served before completions and requests are looked at again: 1,000 viewers of one keyframe would
/// otherwise hold the shard for 30 ms.
const CURRENT_A_TURN: usize = 256;

/// Sessions among them that have a backlog: 1,000 viewers who join at once have as much to be sent as all others in
/// two seconds. 32 of them would be 5 ms of a turn, which everybody else waits for.
const BEHIND_A_TURN: usize = 8;

/// How much later: sessions served while memory is fetched.
const AHEAD: usize = 1;

/// Who waits to be served.
#[derive(Debug, Default)]
pub struct Ready {
    current: VecDeque<SessionKey>,
    behind: VecDeque<SessionKey>,
}

/// How many of each kind may still be served in this turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    current: usize,
    behind: usize,
}

impl Default for Turn {
    fn default() -> Turn {
        Turn { current: CURRENT_A_TURN, behind: BEHIND_A_TURN }
    }
}

impl Ready {
    /// Lines a session up; once, however often it is told.
    pub fn add(&mut self, key: SessionKey, session: &mut Session) {
        if session.is_ready {
            return;
        }
        session.is_ready = true;
        if session.is_behind { self.behind.push_back(key) } else { self.current.push_back(key) }
    }

    /// The next one in a turn; None when the rest waits for another.
    pub fn next(&mut self, turn: &mut Turn) -> Option<SessionKey> {
        for (queue, left) in [(&mut self.current, &mut turn.current), (&mut self.behind, &mut turn.behind)] {
            if *left > 0
                && let Some(key) = queue.pop_front()
            {
                *left -= 1;
                return Some(key);
            }
        }
        None
    }

    /// One that comes a little later.
    pub fn peek(&self) -> Option<SessionKey> {
        self.current.get(AHEAD).copied()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.current.is_empty() && self.behind.is_empty()
    }
}
