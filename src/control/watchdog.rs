//! Whether all shards turn: each is asked, and whoever waits for a sign of life gets one when all have answered.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvError, Sender, never, tick, unbounded};

use super::shards::Shards;
use crate::stream::catalog::ShardIndex;

/// How often the shards are asked within the time in which a sign of life is due: one that answers late is no alarm.
const ROUNDS_A_PERIOD: u32 = 3;

/// One round of questions after the other; the next begins only when all have answered, so that none pile up in a shard
/// that hangs.
pub(super) struct Watchdog {
    due: Receiver<Instant>,
    ask: Sender<ShardIndex>,
    answers: Receiver<ShardIndex>,
    /// Whether each shard has answered in this round.
    has_answered: Vec<bool>,
}

impl Watchdog {
    /// One for so many shards; without a period nobody is ever asked.
    pub(super) fn new(shards: usize, period: Option<Duration>) -> Watchdog {
        let (ask, answers) = unbounded();
        let due = period.map_or_else(never, |period| tick(period / ROUNDS_A_PERIOD));
        Watchdog { due, ask, answers, has_answered: vec![true; shards] }
    }

    /// When to call [`Watchdog::ask`].
    pub(super) fn due(&self) -> &Receiver<Instant> {
        &self.due
    }

    /// What to give to [`Watchdog::is_complete_with`].
    pub(super) fn answers(&self) -> &Receiver<ShardIndex> {
        &self.answers
    }

    /// Asks all shards, unless some of them still owe an answer.
    pub(super) fn ask(&mut self, shards: &Shards) {
        if !self.is_complete() {
            let missing = self.has_answered.iter().enumerate().filter(|(_, answered)| !**answered);
            let missing: Vec<_> = missing.map(|(index, _)| index).collect();
            tracing::warn!(shards = ?missing, "no sign of life: these shards have not turned since they were asked");
            return;
        }
        self.has_answered.fill(false);
        shards.call_roll(&self.ask);
    }

    /// Notes an answer; true for the one by which all shards have answered.
    pub(super) fn is_complete_with(&mut self, answer: Result<ShardIndex, RecvError>) -> bool {
        let answered = answer.ok().and_then(|shard| self.has_answered.get_mut(usize::from(shard)));
        let Some(answered) = answered else { return false };
        *answered = true;
        self.is_complete()
    }

    fn is_complete(&self) -> bool {
        self.has_answered.iter().all(|answered| *answered)
    }
}
