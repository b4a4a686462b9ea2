//! What sources have sent and what viewers were sent of it: every stream is one sequence of packets, the same for all
//! its viewers.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use proto::time::Time;

use super::super::flow::Fault;
use super::super::session::seconds;
use super::rules::Rules;
use super::source::{Form, Ident, LAYOUTS, Packet, Style};

/// A packet of a source, sent or left out.
#[derive(Clone, Debug)]
pub struct Sent {
    pub ident: Ident,
    pub at: Time,
    pub timestamp: u32,
    pub media: i64,
    pub lag: Duration,
    pub run: u32,
    pub epoch: u32,
    /// Whether it may have got lost on its way to the server.
    pub may_lack: bool,
}

/// One source.
#[derive(Debug)]
pub struct Facts {
    pub path: usize,
    pub layout: usize,
    /// How far apart the order of sending and that of showing may be.
    pub disorder: Duration,
    /// By track, in the order of sending.
    pub tracks: Vec<Vec<Sent>>,
    /// By track, since when reports tell where its clocks stand; None while they may not.
    pub settled: Vec<Option<Time>>,
}

/// A place in what a source has sent on one track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub source: u16,
    pub order: usize,
}

/// One track of a stream, as all viewers together see it.
#[derive(Debug, Default)]
struct Line {
    /// By sequence number, counted on beyond 16 bits.
    entries: BTreeMap<u64, Entry>,
    places: HashMap<Place, u64>,
    latest: Option<u64>,
    /// From a source's timestamps to the stream's, by source and epoch.
    shifts: HashMap<(u16, u32), u32>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    place: Place,
    timestamp: Option<u32>,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub struct Ledger {
    pub sources: Vec<Facts>,
    lines: HashMap<u32, Line>,
}

/// A packet that a viewer was sent.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Its number in the stream.
    pub number: u64,
    pub place: Place,
    pub ident: Ident,
    pub track: usize,
}

impl Ledger {
    /// A source begins; its number.
    pub fn begin(&mut self, path: usize, layout: usize, style: &Style) -> u16 {
        let count = LAYOUTS[layout].len();
        let frames = if style.has_b_frames { 2 } else { 0 };
        self.sources.push(Facts {
            path,
            layout,
            disorder: Duration::from_secs(1) / style.framerate * frames,
            tracks: vec![Vec::new(); count],
            settled: vec![None; count],
        });
        self.sources.len() as u16 - 1
    }

    pub fn sent(&mut self, now: Time, packet: &Packet, run: u32, epoch: u32, may_lack: bool) {
        let Packet { ident, header, media, lag, .. } = packet;
        self.sources[usize::from(ident.source)].tracks[usize::from(ident.track)].push(Sent {
            ident: *ident,
            at: now,
            timestamp: header.timestamp,
            media: *media,
            lag: *lag,
            run,
            epoch,
            may_lack,
        });
    }

    /// What a source sent since then may have got lost.
    pub fn doubt(&mut self, source: u16, since: Time) {
        for track in &mut self.sources[usize::from(source)].tracks {
            track.iter_mut().rev().take_while(|sent| sent.at >= since).for_each(|sent| sent.may_lack = true);
        }
    }

    /// The clocks of a source have changed, or what is said of them.
    pub fn unsettle(&mut self, source: u16) {
        self.sources[usize::from(source)].settled.fill(None);
    }

    /// Whether no other source has begun under its path.
    pub fn is_latest(&self, source: u16) -> bool {
        let path = self.sources[usize::from(source)].path;
        !self.sources[usize::from(source) + 1..].iter().any(|facts| facts.path == path)
    }

    pub fn packet(&self, track: usize, place: Place) -> &Sent {
        &self.sources[usize::from(place.source)].tracks[track][place.order]
    }

    /// Takes a packet that a viewer of a path was sent under a stream's name. `is_true` says that its timestamp is
    /// the stream's own.
    pub fn see(
        &mut self,
        rules: &Rules,
        (path, form): (usize, Form),
        header: &proto::rtp::header::Header,
        payload: &[u8],
        is_true: impl Fn(&Sent) -> bool,
    ) -> Result<Seen, Fault> {
        let ident = Ident::read(form, payload).ok_or_else(|| {
            format!(
                "a payload was changed, or nobody sent it: {header:?}, {:02x?}",
                &payload[..payload.len().min(24)]
            )
        })?;
        let place = self.place(&ident).ok_or_else(|| format!("nobody has sent {ident:?}"))?;
        let facts = &self.sources[usize::from(ident.source)];
        let track = usize::from(ident.track);
        if facts.path != path || LAYOUTS[facts.layout][track] != form {
            return Err(format!("{ident:?} is of another stream"));
        }
        let sent = facts.tracks[track][place.order].clone();
        if header.payload_type != form.payload_type()
            || header.marker != (form == Form::Pictures && ident.packet + 1 == ident.count)
        {
            return Err(format!("{ident:?} has another payload type or marker"));
        }
        let line = self.lines.entry(header.ssrc).or_default();
        let number = line.number(header.sequence);
        let timestamp = is_true(&sent).then_some(header.timestamp);
        if *line.places.entry(place).or_insert(number) != number {
            return Err(format!("{ident:?} comes under two sequence numbers"));
        }
        let known = line.entries.entry(number).or_insert(Entry { place, timestamp });
        if known.place != place {
            return Err(format!("sequence {} is {ident:?} and {:?}", header.sequence, known.place));
        }
        known.timestamp = known.timestamp.or(timestamp);
        self.check_neighbours(header.ssrc, number, track)?;
        if let Some(timestamp) = timestamp {
            self.check_timestamp(rules, header.ssrc, (number, track), &sent, timestamp)?;
        }
        Ok(Seen { number, place, ident, track })
    }

    /// By how much a timestamp lies behind the stream's own; None where that is not known.
    pub fn behind(&self, ssrc: u32, sent: &Sent, timestamp: u32) -> Option<i32> {
        let shift = self.lines.get(&ssrc)?.shifts.get(&(sent.ident.source, sent.epoch))?;
        Some(timestamp.wrapping_sub(sent.timestamp.wrapping_add(*shift)) as i32)
    }

    /// Whether packets that a viewer lacks between two of its packets were lost before they came to the server.
    pub fn may_lack(&self, track: usize, before: Place, after: Place) -> bool {
        let (from, to) = (self.packet(track, before), self.packet(track, after));
        if before.source != after.source || from.run != to.run {
            // Nobody knows which of them came; whoever saw one of them proves it at the end.
            return true;
        }
        let tracks = &self.sources[usize::from(before.source)].tracks[track];
        tracks[before.order + 1..after.order].iter().all(|sent| sent.may_lack)
    }

    /// Whether anybody was sent something between two packets of a stream.
    pub fn has_between(&self, ssrc: u32, after: u64, before: u64) -> bool {
        self.lines.get(&ssrc).is_some_and(|line| line.entries.range(after + 1..before).next().is_some())
    }

    /// Whether anybody was sent a packet of this unit before the one at a place.
    pub fn has_earlier_part(&self, ssrc: u32, track: usize, place: Place) -> bool {
        let sent = self.packet(track, place);
        let tracks = &self.sources[usize::from(place.source)].tracks[track];
        let first = place.order - usize::from(sent.ident.packet).min(place.order);
        let line = &self.lines[&ssrc];
        tracks[first..place.order]
            .iter()
            .zip(first..)
            .any(|(_, order)| line.places.contains_key(&Place { source: place.source, order }))
    }

    /// The latest keyframe under a path that was sent a while ago and must have come to the server.
    pub fn sure_keyframe(&self, path: usize, now: Time, ago: Duration) -> Option<(Place, Time)> {
        let (source, facts) = self.sources.iter().enumerate().rev().find(|(_, facts)| facts.path == path)?;
        let track = facts.tracks.first()?;
        let is_old = |sent: &Sent| now.since(sent.at) > ago;
        let starts = track
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, sent)| sent.ident.is_key && sent.ident.packet == 0 && is_old(sent));
        let is_sure = |order: usize, sent: &Sent| {
            let unit = track.get(order..order + usize::from(sent.ident.count));
            unit.is_some_and(|unit| unit.iter().all(|sent| !sent.may_lack))
        };
        let mut sure = starts.filter(|(order, sent)| is_sure(*order, sent));
        sure.next().map(|(order, sent)| (Place { source: source as u16, order }, sent.at))
    }

    fn place(&self, ident: &Ident) -> Option<Place> {
        let facts = self.sources.get(usize::from(ident.source))?;
        let track = facts.tracks.get(usize::from(ident.track))?;
        let key = |sent: &Sent| (sent.ident.unit, sent.ident.packet);
        let order = track.binary_search_by_key(&(ident.unit, ident.packet), key).ok()?;
        (track[order].ident == *ident).then_some(Place { source: ident.source, order })
    }

    /// Order and numbers go on from one packet of a stream to the next that anybody has seen.
    fn check_neighbours(&self, ssrc: u32, number: u64, track: usize) -> Result<(), Fault> {
        let entries = &self.lines[&ssrc].entries;
        let here = entries[&number].place;
        let before =
            entries.range(..number).next_back().map(|(other, entry)| (*other, entry.place, number, here));
        let after =
            entries.range(number + 1..).next().map(|(other, entry)| (number, here, *other, entry.place));
        for (number, place, next_number, next) in before.into_iter().chain(after) {
            if next <= place {
                return Err(format!("{next:?} comes behind {place:?}"));
            }
            let step = next_number - number;
            let (from, to) = (self.packet(track, place), self.packet(track, next));
            let most = self.between(track, place, next);
            if place.source == next.source && from.run == to.run {
                if step != (next.order - place.order) as u64 {
                    return Err(format!("{step} numbers from {place:?} to {next:?}"));
                }
            } else if step > most + 1 {
                return Err(format!(
                    "{step} numbers from {place:?} to {next:?}, at most {most} were between"
                ));
            }
        }
        Ok(())
    }

    /// Packets that were sent between two.
    fn between(&self, track: usize, from: Place, to: Place) -> u64 {
        if from.source == to.source {
            return (to.order - from.order) as u64 - 1;
        }
        let path = self.sources[usize::from(from.source)].path;
        let sources = &self.sources[usize::from(from.source)..usize::from(to.source)];
        let of_path = sources.iter().filter(|facts| facts.path == path);
        let sent: usize = of_path.filter_map(|facts| facts.tracks.get(track)).map(Vec::len).sum();
        (sent - from.order - 1 + to.order) as u64
    }

    /// How late anything was that a path's sources sent since a packet up to another.
    pub fn longest_lag(&self, track: usize, from: Place, to: &Sent) -> Duration {
        let (first, last) = (usize::from(from.source), usize::from(to.ident.source));
        let sent = self.sources[first..=last].iter().filter_map(|facts| facts.tracks.get(track)).flatten();
        let between = sent.filter(|sent| sent.at <= to.at).map(|sent| sent.lag);
        between.max().unwrap_or_default()
    }

    /// A timestamp of the stream goes on with the source's, and over a change of clocks with the time that passed.
    fn check_timestamp(
        &mut self,
        rules: &Rules,
        ssrc: u32,
        (number, track): (u64, usize),
        sent: &Sent,
        timestamp: u32,
    ) -> Result<(), Fault> {
        let line = &self.lines[&ssrc];
        let shift = timestamp.wrapping_sub(sent.timestamp);
        let key = (sent.ident.source, sent.epoch);
        if let Some(known) = line.shifts.get(&key) {
            let off = shift.wrapping_sub(*known) as i32;
            // Where the change came is the server's to find out: what it took for one clock stays one.
            return if off == 0 { Ok(()) } else { Err(format!("{:?} is {off} ticks off", sent.ident)) };
        }
        let mut before = line.entries.range(..number).rev();
        let before = before.find_map(|(_, entry)| Some((entry.place, entry.timestamp?)));
        if let Some((place, known)) = before {
            let from = self.packet(track, place);
            let changes = if place.source == sent.ident.source {
                sent.epoch - from.epoch
            } else {
                let all = &self.sources[usize::from(place.source)].tracks[track];
                let rest = all.last().map_or(0, |last| last.epoch - from.epoch);
                rest + sent.epoch + u32::from(sent.ident.source - place.source)
            };
            let rate = LAYOUTS[self.sources[usize::from(place.source)].layout][track].rate();
            let step = i64::from(timestamp.wrapping_sub(known) as i32) * 1_000_000 / rate;
            let elapsed = sent.at.since(from.at).as_micros() as i64;
            let slack = rules.jitter() * (1 + changes) + sent.lag + from.lag;
            let disorder = |ident: &Ident| self.sources[usize::from(ident.source)].disorder;
            let slack = slack + disorder(&sent.ident) + disorder(&from.ident);
            // What came late and all at once runs ahead of the time that passed.
            let slack = slack + self.longest_lag(track, place, sent) * changes;
            let slack = slack.as_micros() as i64;
            if (step - elapsed).abs() > slack {
                return Err(format!(
                    "{:?} at {} is {step} us behind {:?} at {}, {elapsed} us passed, slack {slack}",
                    sent.ident,
                    seconds(sent.at),
                    from.ident,
                    seconds(from.at)
                ));
            }
        }
        let line = self.lines.get_mut(&ssrc).ok_or("no line")?;
        line.shifts.insert(key, shift);
        Ok(())
    }
}

impl Line {
    /// The number of a packet, near the latest one.
    fn number(&mut self, sequence: u16) -> u64 {
        let latest = *self.latest.get_or_insert((1 << 32) + u64::from(sequence));
        let number = latest.wrapping_add_signed(i64::from(sequence.wrapping_sub(latest as u16) as i16));
        self.latest = Some(latest.max(number));
        number
    }
}
