//! What kind of player one is.

use ringcaster::driver::sim::Random;

use super::session::Over;

/// Something that not every player does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    Stalls,
    Slow,
    Finishes,
    Resets,
    Vanishes,
    SendsGarbage,
    SendsHalves,
    SendsRtcpGarbage,
    Pipelines,
    AsksWrongly,
    /// Goes on with a session over UDP on another connection.
    Hops,
    /// Says nothing while it plays.
    Silent,
    /// Sits behind a router that changes its ports.
    Translated,
    /// Sends requests byte by byte.
    SplitsRequests,
}

const ALL: [Habit; 14] = [
    Habit::Stalls,
    Habit::Slow,
    Habit::Finishes,
    Habit::Resets,
    Habit::Vanishes,
    Habit::SendsGarbage,
    Habit::SendsHalves,
    Habit::SendsRtcpGarbage,
    Habit::Pipelines,
    Habit::AsksWrongly,
    Habit::Hops,
    Habit::Silent,
    Habit::Translated,
    Habit::SplitsRequests,
];

/// How a player behaves.
#[derive(Clone, Debug)]
pub struct Habits {
    pub over: Over,
    own: Vec<Habit>,
}

impl Habits {
    /// A third of all players have no habit.
    pub fn draw(random: &mut Random) -> Habits {
        let over = if random.chance(0.5) { Over::Tcp } else { Over::Udp };
        let count = random.within(0..3);
        let own = (0..count).map(|_| *random.pick(&ALL)).collect();
        Habits { over, own }
    }

    pub fn has(&self, habit: Habit) -> bool {
        let is_of_udp = matches!(habit, Habit::Translated | Habit::Silent | Habit::Hops);
        self.own.contains(&habit) && (!is_of_udp || self.over == Over::Udp)
    }

    /// Whether media on a connection may have to wait for the player.
    pub fn reads_badly(&self) -> bool {
        self.own.iter().any(|habit| matches!(habit, Habit::Stalls | Habit::Slow | Habit::Vanishes))
            || self.own.contains(&Habit::SendsGarbage)
            || self.own.contains(&Habit::SendsHalves)
    }

    /// A habit that comes through now.
    pub fn mishap(&self, random: &mut Random, is_playing: bool) -> Option<Habit> {
        if self.own.is_empty() || !random.chance(if is_playing { 0.25 } else { 0.05 }) {
            return None;
        }
        Some(*random.pick(&self.own)).filter(|habit| self.has(*habit))
    }
}
