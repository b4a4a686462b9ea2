//! A live stream that comes in packets: passed on as they are, under numbers of our own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use proto::rtcp::report::SenderInfo;
use proto::rtp::batch::{BatchWriter, Meta, Numbering};
use proto::rtp::depacketize::is_keyframe_start;
use proto::rtp::header::Header;
use proto::rtp::parameter_sets::Learner;
use proto::rtp::refragment::RefragmentError;
use proto::time::{MediaTime, NtpTime, Time};
use proto::track::{Codec, Kind, Track};
use rand::{Rng, RngExt};
use thiserror::Error;

use super::catalog::{Description, StreamId, StreamName};
use super::fanout::Fanout;
use super::metadata::StreamMetadata;
use super::refragment::PacketSizes;
use super::timeline::{Skew, Timeline};
use super::window::WindowLimits;
use crate::media::documents::Documents;

/// A batch that nothing else closes is closed after this long.
const OPEN_MAX: Duration = Duration::from_millis(5);

/// Packets of one batch; one more begins another.
const PACKETS_MAX: usize = 64;

/// A source that is silent for this long may be followed by another one in the same track.
pub const SILENCE: Duration = Duration::from_secs(1);

/// A step of sequence numbers beyond this is a new beginning and no loss (MAX_DROPOUT of RFC 3550 appendix A.1).
const DROPOUT_MAX: u16 = 3_000;

/// Why a packet was not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RelayError {
    /// There is no such track.
    #[error("no such track")]
    NoTrack,
    /// The bytes are no RTP packet.
    #[error("this is no RTP packet")]
    NotRtp,
    /// The payload type is neither the announced one nor the source's.
    #[error("payload type {0} is not the track's")]
    PayloadType(u8),
    /// Another source sends on this track, and the first one is not silent.
    #[error("source {0:08x} is not the track's")]
    Source(u32),
    /// It came before.
    #[error("packet {0} comes again or too late")]
    Late(u16),
}

/// What the packets and the past of a live stream keep to.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiveLimits {
    /// Of its packets.
    pub packets: PacketSizes,
    /// Of its past.
    pub cache: WindowLimits,
}

/// The stream in the hands of the thread that receives it.
pub struct Relay {
    fanout: Fanout,
    tracks: Vec<RelayTrack>,
    skew: Skew,
    packet_sizes: PacketSizes,
    metadata: Option<Box<StreamMetadata>>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relay({})", self.fanout.description().path())
    }
}

struct RelayTrack {
    codec: Codec,
    /// What its packets must have; None takes what the first packet of a source has.
    payload_type: Option<u8>,
    timeline: Timeline,
    /// Numbers of the next packet.
    numbering: Numbering,
    source: Option<Source>,
    /// A report that came before the packets it is about.
    early: Option<(SenderInfo, NtpTime)>,
    open: Option<Open>,
    /// The source's timestamp of a keyframe that has begun to leave and may go on: only its beginning is a start.
    keyframe_at: Option<u32>,
    learner: Option<Learner>,
    /// Whether packets that no datagram holds stay whole; that was said.
    has_indivisible: bool,
}

/// Who sends a track.
#[derive(Clone, Copy)]
struct Source {
    ssrc: u32,
    payload_type: u8,
    sequence: u16,
    heard: Time,
}

/// The batch that is being put together.
struct Open {
    writer: BatchWriter,
    /// The source's timestamp.
    timestamp: u32,
    content: MediaTime,
    keyframe: bool,
    began: Time,
}

impl Relay {
    /// A stream that begins at `now`. SSRCs, first sequence numbers and timestamps are random (RFC 3550 section 5.1).
    pub fn new(
        id: StreamId,
        path: &str,
        tracks: Vec<Track>,
        limits: &LiveLimits,
        now: Time,
        wall: NtpTime,
        random: &mut impl Rng,
    ) -> Relay {
        let relayed: Vec<_> = (tracks.iter())
            .map(|track| {
                let numbering = Numbering {
                    ssrc: random.random(),
                    payload_type: track.payload_type,
                    sequence: random.random(),
                    timestamp: random.random(),
                };
                RelayTrack {
                    codec: track.codec.clone(),
                    payload_type: Some(track.payload_type),
                    timeline: Timeline::new(track.clock_rate, now, wall, numbering.timestamp),
                    numbering,
                    source: None,
                    early: None,
                    open: None,
                    keyframe_at: None,
                    learner: Learner::new(track),
                    has_indivisible: false,
                }
            })
            .collect();
        let description = Description {
            id,
            name: StreamName::plain(path.into()),
            ssrc: relayed.iter().map(|track| track.numbering.ssrc).collect(),
            timestamp_base: relayed.iter().map(|track| track.numbering.timestamp).collect(),
            tracks,
            origin: wall,
            audience: Arc::default(),
        };
        let fanout = Fanout::new(description, limits.cache);
        let (skew, packet_sizes) = (Skew::default(), limits.packets);
        Relay { fanout, tracks: relayed, skew, packet_sizes, metadata: None }
    }

    /// Adds a track of metadata to a stream that begins at `now`, unless it has one.
    pub fn add_metadata(&mut self, documents: &Documents, now: Time, random: &mut impl Rng) {
        let mtu_bytes = self.packet_sizes.for_encryption().piece_bytes_max;
        let anchor = (now, MediaTime::ZERO);
        let metadata = StreamMetadata::join(&mut self.fanout, documents, mtu_bytes, anchor, random);
        self.metadata = metadata.map(Box::new);
    }

    /// Passes on what there is to say of the stream; to be asked several times a second.
    pub fn tell(&mut self, now: Time, wall: NtpTime) {
        if let Some(metadata) = &mut self.metadata {
            metadata.look(now, wall, &mut self.fanout);
        }
    }

    /// The source is lost, and may come back: what waits for the rest of its batch is passed on.
    pub fn note_lost(&mut self) {
        self.close_all();
        if let Some(metadata) = &mut self.metadata {
            metadata.note_lost(&self.fanout);
        }
    }

    /// Cuts packets from now on that no datagram would hold encrypted.
    pub fn keep_packets_small(&mut self) {
        self.packet_sizes = self.packet_sizes.for_encryption();
    }

    /// Takes packets of any payload type: the sources were not told which. One source keeps to one.
    pub fn accept_any_payload_type(&mut self) {
        for track in &mut self.tracks {
            track.payload_type = None;
        }
    }

    /// Passes on one packet of a track that came at `now`; packets of one track come in their order.
    pub fn handle_packet(&mut self, now: Time, index: u8, packet: &[u8]) -> Result<(), RelayError> {
        let track = self.tracks.get_mut(usize::from(index)).ok_or(RelayError::NoTrack)?;
        let (header, payload) = Header::parse(packet).ok_or(RelayError::NotRtp)?;
        track.check(now, &header)?;
        let ahead = track.advance(now, &header, &mut self.skew)?;
        let continues = track.open.as_ref().is_some_and(|open| {
            ahead == 1 && open.timestamp == header.timestamp && open.writer.packet_count() < PACKETS_MAX
        });
        if !continues {
            track.close(index, &mut self.fanout);
            track.numbering.sequence = track.numbering.sequence.wrapping_add(ahead - 1);
        }
        let moved = track.open(now, &header, packet.len(), &mut self.skew);
        if let Err(error) = track.put(&header, packet, &packet[payload], &self.packet_sizes)
            && !std::mem::replace(&mut track.has_indivisible, true)
        {
            let (path, bytes) = (self.fanout.description().path(), packet.len());
            tracing::warn!(stream = %path, track = index, bytes, %error, "a packet that no datagram holds stays whole: viewers over UDP may miss it");
        }
        if header.marker || track.is_whole_in_a_packet() {
            track.close(index, &mut self.fanout);
            track.keyframe_at = None;
        }
        self.follow(index, moved);
        self.learn(index, header.payload_type, packet);
        Ok(())
    }

    /// Whether a packet is of the source that sends a track, wherever in the sequence its place is.
    pub fn check(&self, now: Time, index: u8, header: &Header) -> Result<(), RelayError> {
        self.tracks.get(usize::from(index)).ok_or(RelayError::NoTrack)?.check(now, header)
    }

    /// Takes a sender report of a track's source; `wall` is our own clock.
    pub fn handle_report(&mut self, index: u8, info: &SenderInfo, wall: NtpTime) {
        let Some(track) = self.tracks.get_mut(usize::from(index)) else { return };
        match track.source {
            Some(source) if source.ssrc == info.ssrc => {
                let is_first = self.skew.is_unknown();
                let moved = track.timeline.handle_report(info, wall, &mut self.skew);
                self.follow(index, moved.filter(|_| is_first));
            }
            Some(_) => {}
            None => track.early = Some((*info, wall)),
        }
    }

    /// What plays begins at `now` with these timestamps of its tracks, by their index. Said before the first packets.
    pub fn start_at(&mut self, now: Time, starts: impl IntoIterator<Item = (u8, u32)>) {
        for (index, timestamp) in starts {
            if let Some(track) = self.tracks.get_mut(usize::from(index)) {
                track.timeline.start_at(now, timestamp);
            }
        }
    }

    /// Whatever comes next is of another publisher.
    pub fn restart(&mut self) {
        self.skew.reset();
        self.close_all();
        for track in &mut self.tracks {
            track.restart();
        }
    }

    /// Whatever comes next on a track is of another source.
    pub fn restart_track(&mut self, index: u8) {
        let Some(track) = self.tracks.get_mut(usize::from(index)) else { return };
        self.skew.reset();
        track.close(index, &mut self.fanout);
        track.restart();
    }

    /// Passes on what waits, and tells every receiver that this was the last.
    pub fn end(&mut self, reason: &str) {
        self.close_all();
        self.fanout.end(reason);
    }

    /// When [`Relay::close_due`] has something to do; None while nothing is open.
    pub fn deadline(&self) -> Option<Time> {
        self.tracks.iter().filter_map(|track| Some(track.open.as_ref()?.began + OPEN_MAX)).min()
    }

    /// Passes on what waits for a rest that does not come.
    pub fn close_due(&mut self, now: Time) {
        for (index, track) in self.tracks.iter_mut().enumerate() {
            if track.open.as_ref().is_some_and(|open| open.began + OPEN_MAX <= now) {
                track.close(index as u8, &mut self.fanout);
            }
        }
    }

    /// The track whose next keyframe somebody waits for; None while nobody does.
    pub fn wants_keyframe(&self) -> Option<u8> {
        let leading = self.fanout.description().leading();
        let is_picture = self.tracks.get(usize::from(leading))?.codec.kind() == Kind::Video;
        (is_picture && self.fanout.awaits_keyframe()).then_some(leading)
    }

    /// Whether every track is described well enough to be decoded.
    pub fn is_described(&self) -> bool {
        self.tracks.iter().all(|track| track.learner.is_none())
    }

    /// The source of a track; None before its first packet.
    pub fn source(&self, index: u8) -> Option<u32> {
        self.tracks.get(usize::from(index))?.source.map(|source| source.ssrc)
    }

    /// The tracks whose parameter sets have not come yet.
    pub fn undescribed(&self) -> impl Iterator<Item = u8> {
        (self.tracks.iter().enumerate())
            .filter(|(_, track)| track.learner.is_some())
            .map(|(index, _)| index as u8)
    }

    /// The tracks that come, without what is added here.
    pub fn received(&self) -> &[Track] {
        &self.fanout.description().tracks[..self.tracks.len()]
    }

    /// Who receives it.
    pub fn fanout(&mut self) -> &mut Fanout {
        &mut self.fanout
    }

    /// The first report of the source has moved one track: the others go with it, until their own reports come. Its wall
    /// clock may differ from ours by seconds.
    fn follow(&mut self, index: u8, moved: Option<MediaTime>) {
        let Some(moved) = moved else { return };
        let others = self.tracks.iter_mut().zip(0u8..).filter(|(_, other)| *other != index);
        others.for_each(|(track, _)| track.timeline.follow(moved));
    }

    fn close_all(&mut self) {
        for (index, track) in self.tracks.iter_mut().enumerate() {
            track.close(index as u8, &mut self.fanout);
        }
    }

    fn learn(&mut self, index: u8, payload_type: u8, packet: &[u8]) {
        let position = usize::from(index);
        let Some(learner) = &mut self.tracks[position].learner else { return };
        let mut track = self.fanout.description().tracks[position].clone();
        learner.expect(payload_type);
        if !learner.handle_packet(packet, &mut track) {
            return;
        }
        self.tracks[position].learner = None;
        self.tracks[position].codec = track.codec.clone();
        if self.fanout.is_idle() {
            self.fanout.describe(|known| {
                let mut tracks = known.tracks.clone();
                tracks[position] = track;
                Description { tracks, ..known.clone() }
            });
        }
    }
}

impl RelayTrack {
    fn check(&self, now: Time, header: &Header) -> Result<(), RelayError> {
        if self.payload_type.is_some_and(|announced| announced != header.payload_type) {
            return Err(RelayError::PayloadType(header.payload_type));
        }
        match self.source {
            Some(source) if source.ssrc != header.ssrc && now.since(source.heard) < SILENCE => {
                Err(RelayError::Source(header.ssrc))
            }
            _ => Ok(()),
        }
    }

    /// How many sequence numbers this packet is ahead of the one before; 1 where nothing is missing.
    fn advance(&mut self, now: Time, header: &Header, skew: &mut Skew) -> Result<u16, RelayError> {
        let is_silent = self.source.is_some_and(|source| now.since(source.heard) >= SILENCE);
        let ahead = match self.source {
            Some(source) if source.ssrc != header.ssrc => {
                self.timeline.restart();
                skew.reset();
                1
            }
            Some(source) if source.payload_type != header.payload_type && !is_silent => {
                return Err(RelayError::PayloadType(header.payload_type));
            }
            Some(source) => match header.sequence.wrapping_sub(source.sequence) {
                0 if !is_silent => return Err(RelayError::Late(header.sequence)),
                ahead if ahead != 0 && ahead < DROPOUT_MAX => ahead,
                // A sender that was started again and has the same source.
                _ if is_silent => {
                    if self.timeline.is_long_past(header.timestamp) {
                        self.timeline.restart();
                    }
                    1
                }
                ahead if ahead.wrapping_neg() < DROPOUT_MAX => return Err(RelayError::Late(header.sequence)),
                _ => 1,
            },
            None => 1,
        };
        let Header { ssrc, payload_type, sequence, .. } = *header;
        self.source = Some(Source { ssrc, payload_type, sequence, heard: now });
        Ok(ahead)
    }

    /// Whatever comes next is of another source.
    fn restart(&mut self) {
        self.timeline.restart();
        self.source = None;
        self.early = None;
        self.keyframe_at = None;
    }

    /// Begins a batch unless one is open; by how much the source's first report has moved content time, if it waited
    /// for this.
    fn open(&mut self, now: Time, header: &Header, size_hint: usize, skew: &mut Skew) -> Option<MediaTime> {
        if self.open.is_some() {
            return None;
        }
        let mut moved = None;
        let mut moment = self.timeline.map(now, header.timestamp);
        if let Some((info, wall)) = self.early.take().filter(|(info, _)| info.ssrc == header.ssrc) {
            let is_first = skew.is_unknown();
            moved = self.timeline.handle_report(&info, wall, skew).filter(|_| is_first);
            moment = self.timeline.map(now, header.timestamp);
        }
        self.numbering.timestamp = moment.timestamp;
        self.open = Some(Open {
            writer: BatchWriter::new(self.numbering, size_hint),
            timestamp: header.timestamp,
            content: moment.content,
            keyframe: false,
            began: now,
        });
        moved
    }

    /// Adds a packet to the open batch. The error says why one that is too large stays whole.
    fn put(
        &mut self,
        header: &Header,
        packet: &[u8],
        payload: &[u8],
        sizes: &PacketSizes,
    ) -> Result<(), RefragmentError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let goes_on = self.keyframe_at == Some(open.timestamp);
        open.keyframe |= !goes_on && is_keyframe_start(&self.codec, payload);
        sizes.write(&self.codec, header, packet, payload, &mut open.writer)
    }

    fn close(&mut self, index: u8, fanout: &mut Fanout) {
        let Some(open) = self.open.take() else { return };
        if open.keyframe {
            self.keyframe_at = Some(open.timestamp);
        }
        self.numbering.sequence = open.writer.numbering().sequence;
        let meta = Meta { track: index, keyframe: open.keyframe, dts: open.content, pts: open.content };
        if let Some(batch) = open.writer.finish(meta) {
            fanout.distribute(Arc::new(batch));
        }
    }

    /// Whether each packet of the format is a frame, whatever its marker says (RFC 3551 section 4.1).
    fn is_whole_in_a_packet(&self) -> bool {
        let has_parts = matches!(self.codec, Codec::Aac { .. } | Codec::MpegAudio | Codec::Other { .. });
        self.codec.kind() == Kind::Audio && !has_parts
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proto::rtp::batch::Batch;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::stream::catalog::{Notice, Subscriber};

    type Batches = Arc<Mutex<Vec<Arc<Batch>>>>;

    /// A stream of pictures and sound, and what a subscriber gets of it.
    fn relay() -> (Relay, Batches) {
        let codec = Codec::H264 {
            sps: vec![vec![0x67].into()],
            pps: vec![vec![0x68].into()],
            framing: proto::track::Framing::AnnexB,
        };
        let sound = Codec::G711 { law: proto::track::Law::A, sample_rate: 8_000, channels: 1 };
        let tracks = vec![Track::new(codec, 0), Track::new(sound, 1)];
        let mut random = SmallRng::seed_from_u64(1);
        let mut relay =
            Relay::new(1, "a", tracks, &LiveLimits::default(), Time::ZERO, NtpTime::default(), &mut random);
        let batches = Batches::default();
        let deliver = {
            let batches = batches.clone();
            Arc::new(move |notice| {
                if let Notice::Batch { batch, .. } = notice {
                    batches.lock().unwrap().push(batch);
                }
                true
            })
        };
        relay.fanout().subscribe(&"a".into(), Subscriber { shard: 0, deliver });
        (relay, batches)
    }

    fn packet(sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) -> Vec<u8> {
        let header = Header { marker, payload_type: 96, sequence, timestamp, ssrc: 2 };
        [&header.to_bytes()[..], payload].concat()
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn sequences(batches: &Batches) -> Vec<(u16, usize, bool)> {
        let batches = batches.lock().unwrap();
        let first = batches[0].sequence();
        let number = |batch: &Arc<Batch>| batch.sequence().wrapping_sub(first);
        batches.iter().map(|batch| (number(batch), batch.packets().len(), batch.meta().keyframe)).collect()
    }

    #[test]
    fn a_batch_is_a_picture_and_gaps_stay_gaps() {
        let (mut relay, batches) = relay();
        for (sequence, timestamp, marker, payload) in [
            (65_534, 0, false, &[0x67, 1][..]),
            (65_535, 0, true, &[0x65, 1]),
            (0, 3_600, false, &[0x41, 1]),
            // The marker is lost with its packet.
            (2, 7_200, true, &[0x41, 2]),
            (3, 10_800, true, &[0x41, 3]),
        ] {
            relay.handle_packet(at(0), 0, &packet(sequence, timestamp, marker, payload)).unwrap();
        }
        assert_eq!(sequences(&batches), [(0, 2, true), (2, 1, false), (4, 1, false), (5, 1, false)]);
        let batches = batches.lock().unwrap();
        assert_eq!(batches[3].timestamp().wrapping_sub(batches[0].timestamp()), 10_800);
        assert_eq!(batches[0].packet(&batches[0].packets()[1])[12..], [0x65, 1]);
    }

    #[test]
    fn what_is_not_of_the_track_is_refused_and_changes_nothing() {
        let (mut relay, batches) = relay();
        relay.handle_packet(at(0), 0, &packet(10, 0, true, &[0x65, 1])).unwrap();
        let refusals = [
            (2, packet(11, 0, true, &[0x41]), RelayError::NoTrack),
            (0, vec![0x80; 11], RelayError::NotRtp),
            (1, packet(11, 0, true, &[0x41]), RelayError::PayloadType(96)),
            (0, packet(10, 0, true, &[0x41]), RelayError::Late(10)),
            (0, packet(9, 0, true, &[0x41]), RelayError::Late(9)),
        ];
        for (track, packet, error) in refusals {
            assert_eq!(relay.handle_packet(at(1), track, &packet), Err(error));
        }
        let mut stranger = packet(11, 0, true, &[0x41]);
        stranger[11] = 9;
        assert_eq!(relay.handle_packet(at(1), 0, &stranger), Err(RelayError::Source(9)));
        relay.handle_packet(at(40), 0, &packet(11, 3_600, true, &[0x41, 2])).unwrap();
        assert_eq!(sequences(&batches), [(0, 1, true), (1, 1, false)]);
    }

    #[test]
    fn another_source_goes_on_under_the_same_numbers() {
        let (mut relay, batches) = relay();
        relay.handle_packet(at(0), 0, &packet(10, 50_000, true, &[0x65, 1])).unwrap();
        let mut other = packet(40_000, 9, true, &[0x65, 2]);
        other[11] = 9;
        relay.handle_packet(at(2_000), 0, &other).unwrap();
        assert_eq!(sequences(&batches), [(0, 1, true), (1, 1, true)]);
        let batches = batches.lock().unwrap();
        assert_eq!(batches[1].ssrc(), batches[0].ssrc());
        assert_eq!(batches[1].timestamp().wrapping_sub(batches[0].timestamp()), 180_000);
    }

    #[test]
    fn a_source_that_begins_again_with_lower_numbers_is_taken_after_a_silence() {
        let (mut relay, batches) = relay();
        relay.handle_packet(at(0), 0, &packet(1_000, 90_000, true, &[0x65, 1])).unwrap();
        assert_eq!(
            relay.handle_packet(at(900), 0, &packet(10, 0, true, &[0x65, 2])),
            Err(RelayError::Late(10))
        );
        for (ms, sequence) in [(1_000, 11), (1_040, 12)] {
            relay.handle_packet(at(ms), 0, &packet(sequence, 3_600, true, &[0x65, 3])).unwrap();
        }
        assert_eq!(sequences(&batches), [(0, 1, true), (1, 1, true), (2, 1, true)]);
        let batches = batches.lock().unwrap();
        assert_eq!(batches[1].timestamp().wrapping_sub(batches[0].timestamp()), 90_000);
    }

    #[test]
    fn another_source_is_taken_at_once_when_it_is_known_to_be_another() {
        let (mut relay, batches) = relay();
        relay.handle_packet(at(0), 0, &packet(10, 50_000, false, &[0x65, 1])).unwrap();
        relay.restart_track(0);
        let mut other = packet(9, 7, true, &[0x65, 2]);
        other[11] = 9;
        relay.handle_packet(at(100), 0, &other).unwrap();
        assert_eq!(sequences(&batches), [(0, 1, true), (1, 1, true)]);
        let batches = batches.lock().unwrap();
        assert_eq!(batches[1].timestamp().wrapping_sub(batches[0].timestamp()), 9_000);
    }

    #[test]
    fn a_source_that_was_told_no_payload_type_keeps_to_its_own_and_viewers_see_ours() {
        let (mut relay, batches) = relay();
        relay.accept_any_payload_type();
        let with = |payload_type: u8, sequence| {
            let mut packet = packet(sequence, 0, true, &[0x65, 1]);
            packet[1] = 0x80 | payload_type;
            packet
        };
        relay.handle_packet(at(0), 0, &with(33, 1)).unwrap();
        assert_eq!(relay.handle_packet(at(10), 0, &with(13, 2)), Err(RelayError::PayloadType(13)));
        relay.handle_packet(at(20), 0, &with(33, 2)).unwrap();
        relay.handle_packet(at(2_000), 0, &with(97, 3)).unwrap();
        assert_eq!(sequences(&batches), [(0, 1, true), (1, 1, true), (2, 1, true)]);
        assert!(batches.lock().unwrap().iter().all(|batch| batch.rtp()[1] == 0x80 | 96));
    }

    #[test]
    fn parameter_sets_are_learned_under_any_payload_type() {
        let codec = Codec::H264 { sps: Vec::new(), pps: Vec::new(), framing: proto::track::Framing::AnnexB };
        let mut random = SmallRng::seed_from_u64(1);
        let tracks = vec![Track::new(codec, 0)];
        let mut relay =
            Relay::new(1, "a", tracks, &LiveLimits::default(), Time::ZERO, NtpTime::default(), &mut random);
        relay.accept_any_payload_type();
        for (sequence, unit) in [(1, [0x67, 1]), (2, [0x68, 1]), (3, [0x65, 1])] {
            assert!(!relay.is_described());
            let mut packet = packet(sequence, 0, sequence == 3, &unit);
            packet[1] = packet[1] & 0x80 | 33;
            relay.handle_packet(at(0), 0, &packet).unwrap();
        }
        assert!(relay.is_described());
    }

    #[test]
    fn a_report_before_the_first_packet_counts() {
        let (mut relay, batches) = relay();
        let ntp = NtpTime::default() + Duration::from_secs(5);
        let info = SenderInfo { ssrc: 2, ntp, rtp: 90_000, packets: 0, octets: 0 };
        relay.handle_report(0, &info, NtpTime::default() + Duration::from_secs(6));
        relay.handle_packet(at(6_010), 0, &packet(10, 90_000, true, &[0x65, 1])).unwrap();
        assert_eq!(batches.lock().unwrap()[0].meta().pts, MediaTime::from_secs_f64(5.0));
    }

    #[test]
    fn the_first_report_moves_all_tracks_together() {
        // Sound begins before the report about the pictures, or behind it.
        for begins_before in [true, false] {
            let (mut relay, batches) = relay();
            let sound = |relay: &mut Relay, ms: u64| {
                let timestamp = 4 + 8 * ms as u32;
                let header =
                    Header { marker: false, payload_type: 8, sequence: ms as u16, timestamp, ssrc: 5 };
                relay.handle_packet(at(ms), 1, &[&header.to_bytes()[..], &[0xd5; 160]].concat()).unwrap();
            };
            relay.handle_packet(at(0), 0, &packet(10, 0, true, &[0x65, 1])).unwrap();
            if begins_before {
                sound(&mut relay, 0);
            }
            let ntp = NtpTime::default() + Duration::from_secs(3);
            let info = SenderInfo { ssrc: 2, ntp, rtp: 0, packets: 0, octets: 0 };
            relay.handle_report(0, &info, NtpTime::default());
            relay.handle_packet(at(40), 0, &packet(11, 3_600, true, &[0x41, 1])).unwrap();
            sound(&mut relay, 40);
            let batches = batches.lock().unwrap();
            let last: Vec<_> = batches.iter().rev().take(2).map(|batch| batch.meta().pts.0).collect();
            assert_eq!(last, [3_040_000_000; 2], "{begins_before}");
        }
    }

    #[test]
    fn what_has_no_marker_leaves_after_a_while() {
        let (mut relay, batches) = relay();
        relay.handle_packet(at(0), 0, &packet(10, 0, false, &[0x65, 1])).unwrap();
        assert_eq!(relay.deadline(), Some(at(5)));
        relay.close_due(at(4));
        assert!(batches.lock().unwrap().is_empty());
        relay.close_due(at(5));
        assert_eq!((sequences(&batches), relay.deadline()), (vec![(0, 1, true)], None));
    }

    #[test]
    fn sound_without_markers_leaves_at_once() {
        let (mut relay, batches) = relay();
        let header = Header { marker: false, payload_type: 8, sequence: 3, timestamp: 4, ssrc: 5 };
        relay.handle_packet(at(0), 1, &[&header.to_bytes()[..], &[0xd5; 160]].concat()).unwrap();
        assert_eq!(sequences(&batches), [(0, 1, true)]);
    }

    #[test]
    fn what_no_datagram_holds_is_cut_and_everything_else_is_as_it_came() {
        let (mut relay, batches) = relay();
        let large: Vec<u8> = (0..40_000u32).map(|at| if at == 0 { 0x65 } else { at as u8 }).collect();
        // Behind the large one a packet is lost.
        for (sequence, timestamp, marker, payload) in [
            (65_534, 0, false, &[0x67, 1][..]),
            (65_535, 0, true, &large),
            (1, 3_600, true, &[0x41; 1_460]),
            (2, 7_200, true, &[0x41; 1_461]),
        ] {
            relay.handle_packet(at(0), 0, &packet(sequence, timestamp, marker, payload)).unwrap();
        }
        assert_eq!(sequences(&batches), [(0, 1 + 29, true), (31, 1, false), (32, 2, false)]);
        let batches = batches.lock().unwrap();
        let fragments = &batches[0].packets()[1..];
        let read = |packet| {
            let bytes = batches[0].packet(packet);
            let (header, payload) = Header::parse(bytes).unwrap();
            (header, &bytes[payload])
        };
        let unit: Vec<u8> = fragments.iter().flat_map(|packet| &read(packet).1[2..]).copied().collect();
        assert_eq!(unit, large[1..]);
        assert_eq!(read(&fragments[0]).1[..2], [0x7c, 0x85]);
        let (last, others) = fragments.split_last().unwrap();
        assert!(read(last).0.marker && others.iter().all(|packet| !read(packet).0.marker));
        assert!(others.iter().all(|packet| packet.size == 1_400));
        assert!(fragments.iter().all(|packet| read(packet).0.timestamp == batches[0].timestamp()));
    }

    #[test]
    fn samples_that_are_cut_have_times_that_run_on_and_the_next_packet_its_own() {
        let (mut relay, batches) = relay();
        for (sequence, timestamp) in [(1, 100), (2, 8_100)] {
            let header = Header { marker: false, payload_type: 8, sequence, timestamp, ssrc: 5 };
            let ms = u64::from(timestamp) / 8;
            relay.handle_packet(at(ms), 1, &[&header.to_bytes()[..], &[0xd5; 8_000]].concat()).unwrap();
        }
        let batches = batches.lock().unwrap();
        let first = batches[0].timestamp();
        let times: Vec<_> = (batches.iter())
            .flat_map(|batch| batch.packets().iter().map(|packet| batch.packet(packet)))
            .map(|packet| Header::parse(packet).unwrap().0.timestamp.wrapping_sub(first))
            .collect();
        assert_eq!(times, (0..12).map(|index| index * 1_334 - index / 6 * 4).collect::<Vec<_>>());
    }

    #[test]
    fn many_small_packets_of_one_picture_are_several_batches_and_it_begins_with_the_first() {
        let (mut relay, batches) = relay();
        for sequence in 0..150 {
            relay.handle_packet(at(0), 0, &packet(sequence, 0, sequence == 149, &[0x65, 1])).unwrap();
        }
        // Only the first of them is where viewers may begin.
        assert_eq!(sequences(&batches), [(0, 64, true), (64, 64, false), (128, 22, false)]);
        relay.handle_packet(at(0), 0, &packet(150, 0, false, &[0x65, 1])).unwrap();
        relay.handle_packet(at(0), 0, &packet(152, 0, true, &[0x65, 1])).unwrap();
        assert_eq!(sequences(&batches)[3..], [(150, 1, true), (152, 1, false)]);
    }
}
