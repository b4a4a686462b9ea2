//! What goes wrong with a publisher that sends.

use std::time::Duration;

use super::super::faults::Kind;
use super::super::session::Over;
use super::caller::{Leaving, World};
use super::history::{Deed, History};
use super::ledger::Ledger;
use super::publisher::{Publisher, Stage, url};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A synchronization source that is silent for this long gives way to another.
const GIVES_WAY: Duration = Duration::from_secs(1);

/// Most of this time a source may have been silent and go on as if it had not been.
const SHORT: (u64, u64) = (100, 2_000);

/// A source whose clock stood still for so long goes on at the present.
const LONG: (u64, u64) = (4_000, 6_000);

impl Publisher {
    /// One of the things that happen to publishers.
    pub(super) fn misfortune(&mut self, world: &World<'_>, ledger: &mut Ledger, histories: &mut [History]) {
        match self.random.below(13) {
            0 | 1 => self.is_cut(world, histories),
            2 => self.tears_down(world, histories),
            3 => self.pauses(world, ledger),
            4 => self.stalls(world, ledger),
            5 => {
                self.fired(Kind::PublisherFroze);
                let longest = if self.caller.line.is_some() { LONG.1 } else { SHORT.1 };
                let until = world.now + self.random.time(&(MS(SHORT.0)..MS(longest)));
                (self.held_until, self.keeps_held) = (Some(until), false);
            }
            6 => {
                self.fired(Kind::SourceLeftOut);
                self.leaves_out = self.random.within(1..60) as u32;
            }
            7 => self.clock_jumps(world, ledger),
            8 => self.changes_source(world, ledger),
            9 => self.renumbers(world),
            10 => self.wall_clock_jumps(ledger),
            11 => self.sends_garbage(world, ledger),
            _ => self.loses_line(world),
        }
    }

    fn is_cut(&mut self, world: &World<'_>, histories: &mut [History]) {
        let how = *self.random.pick(&[Leaving::Finishes, Leaving::Resets, Leaving::Vanishes]);
        self.fired(if how == Leaving::Vanishes { Kind::PublisherVanished } else { Kind::PublisherCut });
        let grace = world.rules.settings.source_grace;
        self.away = Some(match self.random.below(3) {
            0 => grace.mul_f64(0.7 * self.random.fraction()),
            1 => grace.mul_f64(self.random.fraction() + 0.5),
            _ => grace + self.random.time(&(MS(8_000)..MS(12_000))),
        });
        self.lose(world, histories, how);
    }

    fn tears_down(&mut self, world: &World<'_>, histories: &mut [History]) {
        if self.caller.line.is_none() {
            return;
        }
        self.fired(Kind::PublisherTornDown);
        histories[self.path].note(world.now, self.caller.peer, Deed::TearsDown);
        let session = self.session.clone();
        self.caller.ask(world, "TEARDOWN", &url(self.path), &[("Session", &session)], "");
        self.stage = Stage::Leaving;
    }

    fn pauses(&mut self, world: &World<'_>, ledger: &mut Ledger) {
        let Some(source) = self.source.as_ref().filter(|_| self.caller.line.is_some()) else { return };
        // What is on its way as datagrams may come behind the request.
        let before = world.rules.jitter().as_nanos() as u64;
        let since = proto::time::Time::from_nanos(world.now.as_nanos().saturating_sub(before));
        ledger.doubt(source.number, since);
        self.fired(Kind::PublisherPaused);
        let session = self.session.clone();
        self.caller.ask(world, "PAUSE", &url(self.path), &[("Session", &session)], "");
        self.stage = Stage::Pausing;
    }

    /// Nothing comes for a while, then all of it at once.
    fn stalls(&mut self, world: &World<'_>, ledger: &mut Ledger) {
        self.fired(Kind::PublisherStalled);
        let (shortest, longest) =
            if self.caller.line.is_none() || self.random.chance(0.6) { SHORT } else { LONG };
        let until = world.now + self.random.time(&(MS(shortest)..MS(longest)));
        (self.held_until, self.keeps_held) = (Some(until), true);
        let Some(source) = self.source.as_mut().filter(|_| shortest == LONG.0) else { return };
        for track in &mut source.tracks {
            track.epoch += 1;
            track.changed = Some(until);
        }
        ledger.unsettle(source.number);
    }

    fn clock_jumps(&mut self, world: &World<'_>, ledger: &mut Ledger) {
        let Some(source) = &mut self.source else { return };
        let seconds = self.random.within(70..6 * 3_600) as i64;
        let nanos = if self.random.chance(0.5) { seconds } else { -seconds } * 1_000_000_000;
        for track in &mut source.tracks {
            track.jump(nanos);
            track.changed = Some(world.now);
        }
        ledger.unsettle(source.number);
        self.fired(Kind::ClockJumped);
    }

    /// Other synchronization sources, numbers, and timestamps from zero on: what encoders do that start anew.
    fn changes_source(&mut self, world: &World<'_>, ledger: &mut Ledger) {
        let Some(source) = &mut self.source else { return };
        let until = world.now + GIVES_WAY + world.rules.jitter() * 2;
        let media = (world.now.since(source.began).as_nanos() as f64 * source.pace) as i64;
        for track in &mut source.tracks {
            track.restart(media, &mut self.random);
            (track.changed, track.is_new_until) = (Some(until), Some(until));
        }
        ledger.unsettle(source.number);
        self.fired(Kind::SourceChanged);
    }

    fn renumbers(&mut self, world: &World<'_>) {
        let Some(source) = &mut self.source else { return };
        // Nothing of the old numbers is under way any more.
        let until = world.now + world.rules.jitter();
        (self.held_until, self.keeps_held) = (Some(until), false);
        source.begin_anew(until + world.rules.jitter() + MS(250));
        let track = self.random.below(source.tracks.len());
        source.tracks[track].renumber(&mut self.random);
        self.fired(Kind::SequenceJumped);
    }

    /// The clock that reports tell of is set.
    fn wall_clock_jumps(&mut self, ledger: &mut Ledger) {
        let Some(source) = &mut self.source else { return };
        let minutes = self.random.within(1..600) as i64;
        source.wall_off += if self.random.chance(0.5) { minutes } else { -minutes } * 60_000_000_000;
        ledger.unsettle(source.number);
        self.fired(Kind::ReportsJumped);
    }

    /// Packets that are none of the tracks'.
    fn sends_garbage(&mut self, world: &World<'_>, ledger: &Ledger) {
        let Some(source) = &self.source else { return };
        let sent = &ledger.sources[usize::from(source.number)].tracks[0];
        // Behind a silence they would be another source's.
        let last = sent.iter().rev().find(|sent| !sent.may_lack);
        if last.is_none_or(|last| world.now.since(last.at) > GIVES_WAY / 2) {
            return;
        }
        let track = source.tracks[0].clone();
        self.fired(Kind::PublisherGarbage);
        for (payload_type, ssrc) in [(77, track.ssrc), (track.form.payload_type(), track.ssrc ^ 0x5555)] {
            let header = proto::rtp::header::Header {
                marker: true,
                payload_type,
                sequence: self.random.draw() as u16,
                timestamp: self.random.draw() as u32,
                ssrc,
            };
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend_from_slice(&super::super::content::noise(self.random.within(0..300)));
            // Over UDP such packets could not be told from a new beginning before they are put in order.
            if let super::publisher::Way::Channels(rtp, _) = self.ways[0] {
                self.caller.frame(world, rtp, &bytes);
            }
        }
    }

    /// The connection breaks, datagrams go on.
    fn loses_line(&mut self, world: &World<'_>) {
        if self.over == Over::Udp && self.caller.line.is_some() {
            self.fired(Kind::PublisherLostLine);
            self.caller.leave(world, Leaving::Finishes);
        }
    }
}
