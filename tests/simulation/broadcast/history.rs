//! What publishers have done under one path, and what follows from it for those who watch and those who want to publish.

use std::time::Duration;

use proto::time::Time;
use ringcaster::stream::registry::OnRepublish;

use super::rules::Rules;

/// A viewer over UDP is told of the end so much later, so that BYE overtakes nothing.
const LINGER: Duration = Duration::from_millis(500);

/// The server looks for what is over once a second.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// A publisher without a connection is lost after this silence.
const SILENCE: Duration = Duration::from_secs(5);

/// How long after its cause an end may still come.
const AFTERMATH: Duration = Duration::from_secs(3);

/// What a publisher did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It asks for the path.
    Asks { layout: usize },
    /// It was refused.
    Refused,
    /// The path is its own.
    Granted { layout: usize },
    /// It sends.
    Records,
    /// It says goodbye.
    TearsDown,
    /// It is gone; how long the server needs to notice.
    Leaves { notice: Duration },
}

/// All of it, in order.
#[derive(Clone, Debug, Default)]
pub struct History {
    deeds: Vec<(Time, u32, Deed)>,
    /// Who has the path, and with which tracks.
    owner: Option<(u32, usize)>,
    /// Since when it sends.
    records: Option<Time>,
}

impl History {
    /// Writes down what a publisher does now.
    pub fn note(&mut self, now: Time, publisher: u32, deed: Deed) {
        let is_owner = self.owner.is_some_and(|(owner, _)| owner == publisher);
        match deed {
            Deed::Granted { layout } => (self.owner, self.records) = (Some((publisher, layout)), None),
            Deed::TearsDown | Deed::Leaves { .. } | Deed::Records if !is_owner => return,
            Deed::Records => self.records = Some(now),
            Deed::TearsDown | Deed::Leaves { .. } => self.owner = None,
            Deed::Asks { .. } | Deed::Refused => {}
        }
        self.deeds.push((now, publisher, deed));
        if matches!(deed, Deed::TearsDown | Deed::Leaves { .. }) && self.records.take().is_none() {
            // One that never sent ends its stream as if it had said goodbye.
            self.deeds.push((now, publisher, Deed::TearsDown));
        }
    }

    /// Whether somebody sends since a moment and has had no rival.
    pub fn is_on_since(&self, since: Time) -> bool {
        self.records.is_some_and(|at| at <= since) && !self.is_asked_since(since)
    }

    /// Whether a stream with these tracks goes on since a moment, whoever sends it.
    pub fn is_whole_since(&self, rules: &Rules, since: Time, layout: usize) -> bool {
        let since = Time::from_nanos(since.as_nanos().saturating_sub(rules.lateness().as_nanos() as u64));
        self.deeds.iter().filter(|(at, ..)| *at >= since).all(|(at, _, deed)| match deed {
            Deed::TearsDown => false,
            Deed::Asks { layout: other } | Deed::Granted { layout: other } => *other == layout,
            Deed::Leaves { .. } => self.is_back_within(*at, rules.settings.source_grace),
            _ => true,
        })
    }

    /// Whether viewers of a stream with these tracks may be told now that it is over.
    pub fn may_end(&self, rules: &Rules, now: Time, layout: usize) -> bool {
        let recent = |at: Time| now.since(at) <= AFTERMATH + rules.lateness();
        let refused = |publisher: u32, since: Time| {
            let mut deeds = self.deeds.iter();
            deeds.any(|(at, other, deed)| *at >= since && *other == publisher && *deed == Deed::Refused)
        };
        self.deeds.iter().any(|(at, publisher, deed)| match deed {
            Deed::TearsDown => recent(*at),
            Deed::Asks { layout: other } => recent(*at) && *other != layout && !refused(*publisher, *at),
            // Taken for lost, it came too late or not at all.
            Deed::Leaves { .. } => {
                let lost = *at + rules.settings.source_grace;
                now >= lost && self.back_since(*at).is_none_or(|back| back >= lost && recent(back))
            }
            _ => false,
        })
    }

    /// Whether all viewers must have been told that it is over.
    pub fn must_have_ended(&self, rules: &Rules, now: Time) -> bool {
        let Some((at, _, deed)) = self.deeds.last() else { return false };
        let patience = HOUSEKEEPING * 2 + LINGER + rules.lateness();
        match deed {
            Deed::TearsDown => now.since(*at) > patience,
            Deed::Leaves { notice } => now.since(*at) > patience + *notice + rules.settings.source_grace,
            _ => false,
        }
    }

    /// Whether a claim may be refused that was asked for at a time.
    pub fn may_refuse(&self, rules: &Rules, asked: Time) -> bool {
        let notice = rules.settings.session_timeout.max(SILENCE) + HOUSEKEEPING * 2 + rules.lateness();
        let recent = |at: Time| asked.since(at) <= notice;
        let was_there = self.deeds.iter().any(|(at, _, deed)| match deed {
            Deed::TearsDown | Deed::Leaves { .. } | Deed::Granted { .. } | Deed::Asks { .. } => recent(*at),
            _ => false,
        });
        rules.policy != OnRepublish::Replace && (self.owner.is_some() || was_there)
    }

    /// Whether a claim must be refused that a publisher asked for at a time.
    pub fn must_refuse(&self, rules: &Rules, publisher: u32, asked: Time) -> bool {
        let before = Time::from_nanos(asked.as_nanos().saturating_sub(rules.lateness().as_nanos() as u64));
        let is_taken = self.owner.is_some_and(|(owner, _)| owner != publisher);
        rules.policy == OnRepublish::Refuse && is_taken && self.records.is_some_and(|at| at < before)
    }

    /// Who has the path.
    pub fn owner(&self) -> Option<u32> {
        self.owner.map(|(owner, _)| owner)
    }

    /// With which tracks it was had last.
    pub fn last_layout(&self) -> Option<usize> {
        self.deeds.iter().rev().find_map(|(_, _, deed)| match deed {
            Deed::Granted { layout } => Some(*layout),
            _ => None,
        })
    }

    /// When the last publisher left that could have come back; None when another has the path or it was ended.
    pub fn left(&self) -> Option<Time> {
        let mut deeds = self.deeds.iter().rev();
        deeds.find_map(|(at, _, deed)| match deed {
            Deed::Leaves { .. } => Some(Some(*at)),
            Deed::TearsDown | Deed::Granted { .. } => Some(None),
            _ => None,
        })?
    }

    /// How long the server needs to notice that a publisher is gone.
    pub fn notice(rules: &Rules, is_silent: bool, is_udp: bool) -> Duration {
        let silence = rules.settings.session_timeout + HOUSEKEEPING;
        match (is_silent, is_udp) {
            (true, _) => silence,
            (false, true) => silence.min(SILENCE + HOUSEKEEPING),
            (false, false) => Duration::ZERO,
        }
    }

    fn is_asked_since(&self, since: Time) -> bool {
        self.deeds.iter().any(|(at, _, deed)| *at >= since && matches!(deed, Deed::Asks { .. }))
    }

    fn is_back_within(&self, since: Time, wait: Duration) -> bool {
        let mut deeds = self.deeds.iter();
        deeds.any(|(at, _, deed)| *at > since && *at <= since + wait && *deed == Deed::Records)
    }

    fn back_since(&self, since: Time) -> Option<Time> {
        let mut deeds = self.deeds.iter();
        deeds.find(|(at, _, deed)| *at > since && *deed == Deed::Records).map(|(at, ..)| *at)
    }
}
