//! The metadata track of a live stream: what there is to say of its state, and documents that others give us for it. Each
//! is made once, and travels as any batch does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::frame::Frame;
use proto::metadata::{Item, Message, Operation, Topic, write};
use proto::rtp::batch::Numbering;
use proto::rtp::packetize::Packetizer;
use proto::time::{MediaTime, NtpTime, Time};
use proto::track::{Codec, Track};
use rand::{Rng, RngExt};

use super::catalog::Description;
use super::fanout::{Distributed, Fanout};
use crate::media::documents::{Documents, Reader};

/// From one document of the state to the next; ONVIF asks for one a second at least (streaming specification section
/// 5.1.2.1.1), and who makes them may look a quarter of a second late.
pub const PERIOD: Duration = Duration::from_millis(750);

/// A source of which nothing has come for so long is lost, whether or not anybody has said so.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// The documents of one stream, in the hands of its owner.
pub struct StreamMetadata {
    track: u8,
    clock_rate: u32,
    packetizer: Packetizer,
    /// What others give us; None where nobody does.
    reader: Option<Reader>,
    /// When content time was what.
    anchor: (Time, MediaTime),
    /// Time of the latest document, in ticks.
    last: Option<i64>,
    /// When media came last, and how much there had been by then.
    heard: Time,
    media: Distributed,
    is_lost: bool,
    /// Of the documents themselves.
    own: Distributed,
    told: Option<Told>,
}

/// What was said last.
#[derive(Clone, Copy)]
struct Told {
    at: Time,
    bytes: u64,
    is_lost: bool,
    traffic: (u64, u32),
}

impl StreamMetadata {
    /// Adds the track to a stream that nobody receives yet, at a moment that has this content time; None where the stream
    /// has metadata of its own: that is passed on alone.
    pub fn join(
        fanout: &mut Fanout,
        documents: &Documents,
        mtu_bytes: usize,
        anchor: (Time, MediaTime),
        random: &mut impl Rng,
    ) -> Option<StreamMetadata> {
        let description = fanout.description().clone();
        let reader = documents.read(description.path());
        if let Some(own) = description.tracks.iter().find(|track| track.is_metadata()) {
            if reader.is_some() && own.codec != Codec::Metadata {
                tracing::warn!(stream = %description.name, "the metadata that it comes with is passed on, and nothing is added: metadata_source is ignored");
            }
            return None;
        }
        let index = description.tracks.len() as u8;
        let track = Track::metadata_behind(&description.tracks);
        let numbering = Numbering {
            ssrc: random.random(),
            payload_type: track.payload_type,
            sequence: random.random(),
            timestamp: random.random(),
        };
        let packetizer = Packetizer::new(&track, index, numbering, mtu_bytes);
        let clock_rate = track.clock_rate;
        fanout.describe(|known| {
            let mut described = known.clone();
            described.tracks.push(track);
            described.ssrc.push(numbering.ssrc);
            described.timestamp_base.push(numbering.timestamp);
            described
        });
        Some(StreamMetadata {
            track: index,
            clock_rate,
            packetizer,
            reader,
            anchor,
            last: None,
            heard: anchor.0,
            media: Distributed::default(),
            is_lost: false,
            own: Distributed::default(),
            told: None,
        })
    }

    /// The source is lost: its media is awaited.
    pub fn note_lost(&mut self, fanout: &Fanout) {
        self.media = self.media_of(fanout);
        self.is_lost = true;
    }

    /// Hands out what there is to say at `now`, which `wall` is on our clock.
    pub fn look(&mut self, now: Time, wall: NtpTime, fanout: &mut Fanout) {
        let media = self.media_of(fanout);
        if media.batches != self.media.batches {
            (self.media, self.heard, self.is_lost) = (media, now, false);
        } else if now.since(self.heard) >= SILENCE_MAX {
            self.is_lost = true;
        }
        let is_due = |told: Told| told.is_lost != self.is_lost || now.since(told.at) >= PERIOD;
        if self.told.is_none_or(is_due) {
            let document = self.state(now, wall, media.bytes, fanout.description());
            self.send(now, document.into(), fanout);
        }
        let given = self.reader.as_mut().map(|reader| reader.take(now)).unwrap_or_default();
        for document in given {
            self.send(now, document, fanout);
        }
    }

    /// The document of the state.
    fn state(&mut self, now: Time, wall: NtpTime, bytes: u64, description: &Description) -> String {
        let elapsed = self.told.map_or(Duration::ZERO, |told| now.since(told.at)).as_nanos();
        let before = self.told.map_or(0, |told| told.bytes);
        let bits = u128::from(bytes - before) * 8 * 1_000_000_000;
        let bit_rate = bits.checked_div(elapsed).map_or(0, |rate| rate as u64);
        let traffic = (bit_rate, description.audience.count());
        let told = self.told.replace(Told { at: now, bytes, is_lost: self.is_lost, traffic });
        let operation = |has_changed: fn(&Told, &Told) -> bool| match (&told, &self.told) {
            (Some(before), Some(now)) if has_changed(before, now) => Operation::Changed,
            _ => Operation::Initialized,
        };
        let state = if self.is_lost { "Lost" } else { "Connected" };
        let source: &[Item<'_>] = &[("State", &state)];
        let measured: &[Item<'_>] = &[("BitRate", &traffic.0), ("Viewers", &traffic.1)];
        let messages = [
            Message {
                topic: Topic::Source,
                operation: operation(|before, now| before.is_lost != now.is_lost),
                data: source,
            },
            Message {
                topic: Topic::Traffic,
                operation: operation(|before, now| before.traffic != now.traffic),
                data: measured,
            },
        ];
        write(description.path(), wall.into(), &messages)
    }

    fn send(&mut self, now: Time, document: Bytes, fanout: &mut Fanout) {
        let content = self.anchor.1 + now.since(self.anchor.0);
        // Documents that leave together are told apart by their times.
        let ticks = content.to_ticks(self.clock_rate).max(self.last.map_or(i64::MIN, |last| last + 1));
        self.last = Some(ticks);
        let track = self.track;
        let frame = Frame { track, pts: ticks, dts: ticks, duration: 0, keyframe: true, payload: document };
        // Documents can always be packetized; an empty one is none.
        if let Ok(Some(batch)) = self.packetizer.packetize(&frame) {
            self.own.batches += 1;
            self.own.bytes += batch.rtp().len() as u64;
            fanout.distribute(Arc::new(batch));
        }
    }

    /// How much there has been of the other tracks.
    fn media_of(&self, fanout: &Fanout) -> Distributed {
        let all = fanout.distributed();
        Distributed { batches: all.batches - self.own.batches, bytes: all.bytes - self.own.bytes }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proto::metadata::check;
    use proto::rtp::batch::{Batch, BatchWriter, Meta};
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::media::documents::Channel;
    use crate::stream::catalog::{Notice, StreamName, Subscriber};
    use crate::stream::window::WindowLimits;

    /// A stream of pictures, its documents, and what a subscriber gets.
    struct Rig {
        fanout: Fanout,
        metadata: StreamMetadata,
        channel: Arc<Channel>,
        got: Arc<Mutex<Vec<Arc<Batch>>>>,
    }

    fn fanout(tracks: Vec<Track>) -> Fanout {
        let description = Description {
            id: 1,
            name: StreamName::plain("gate".into()),
            ssrc: vec![0; tracks.len()],
            timestamp_base: vec![0; tracks.len()],
            tracks,
            origin: NtpTime::default(),
            audience: Arc::default(),
        };
        Fanout::new(description, WindowLimits::default())
    }

    fn join(fanout: &mut Fanout, documents: &Documents) -> Option<StreamMetadata> {
        let anchor = (Time::from_millis(1_000), MediaTime::ZERO);
        StreamMetadata::join(fanout, documents, 256, anchor, &mut SmallRng::seed_from_u64(1))
    }

    fn rig() -> Rig {
        let channel = Arc::new(Channel::new(Duration::from_secs(1)));
        let documents = Documents::new([("gate".to_owned(), channel.clone())]);
        let mut fanout = fanout(vec![Track::new(Codec::Jpeg, 0)]);
        let metadata = join(&mut fanout, &documents).unwrap();
        let got = Arc::new(Mutex::new(Vec::new()));
        let deliver = {
            let got = got.clone();
            Arc::new(move |notice| {
                if let Notice::Batch { batch, .. } = notice {
                    got.lock().unwrap().push(batch);
                }
                true
            })
        };
        fanout.subscribe(&"gate".into(), Subscriber { shard: 0, deliver });
        Rig { fanout, metadata, channel, got }
    }

    impl Rig {
        fn picture(&mut self) {
            let mut writer =
                BatchWriter::new(Numbering { ssrc: 0, payload_type: 26, sequence: 0, timestamp: 0 }, 0);
            writer.packet(true, &[&[0; 988]]);
            let meta = Meta { track: 0, keyframe: true, dts: MediaTime::ZERO, pts: MediaTime::ZERO };
            self.fanout.distribute(Arc::new(writer.finish(meta).unwrap()));
        }

        /// The documents that come at a time, in milliseconds from the beginning, each with its RTP time in ticks.
        fn look(&mut self, ms: u64) -> Vec<(String, u32)> {
            self.got.lock().unwrap().clear();
            let wall = NtpTime::from_unix(Duration::from_millis(ms));
            self.metadata.look(Time::from_millis(1_000 + ms), wall, &mut self.fanout);
            let base = self.fanout.description().timestamp_base[1];
            let got = self.got.lock().unwrap();
            let document = |batch: &Arc<Batch>| {
                assert_eq!((batch.meta().track, batch.meta().keyframe), (1, true));
                let (mut bytes, count) = (Vec::new(), batch.packets().len());
                for (index, packet) in batch.packets().iter().enumerate() {
                    let packet = batch.packet(packet);
                    assert!(packet.len() <= 256);
                    assert_eq!((packet[1] & 0x7f, packet[1] & 0x80 != 0), (107, index + 1 == count));
                    bytes.extend_from_slice(&packet[12..]);
                }
                (String::from_utf8(bytes).unwrap(), batch.timestamp().wrapping_sub(base))
            };
            got.iter().map(document).collect()
        }
    }

    #[test]
    fn the_state_is_told_again_each_period_and_at_once_when_it_changes() {
        let mut rig = rig();
        let mut told = Vec::new();
        for ms in (0..=3_000).step_by(50) {
            if ms == 1_000 {
                rig.metadata.note_lost(&rig.fanout);
            }
            if !(1_000..2_000).contains(&ms) {
                rig.picture();
            }
            for (document, ticks) in rig.look(ms) {
                assert_eq!(check(document.as_bytes()), Ok(()));
                assert_eq!(u64::from(ticks), ms * 90);
                let has = |what: &str| document.contains(what);
                let source = document.split("</wsnt:NotificationMessage>").next().unwrap();
                assert!(has("Name=\"Stream\" Value=\"gate\""), "{document}");
                told.push((ms, has("Value=\"Lost\""), source.contains("\"Changed\"")));
            }
        }
        let expected = [
            (0, false, false),
            (750, false, false),
            (1_000, true, true),
            (1_750, true, false),
            (2_000, false, true),
            (2_750, false, false),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_source_of_which_nothing_comes_is_lost() {
        let mut rig = rig();
        rig.picture();
        let lost = (0..=6_000)
            .step_by(250)
            .find(|ms| rig.look(*ms).iter().any(|(document, _)| document.contains("Lost")));
        assert_eq!(lost, Some(5_000));
    }

    #[test]
    fn bit_rate_and_viewers_are_told_and_documents_do_not_count() {
        let mut rig = rig();
        rig.look(0);
        rig.fanout.description().audience.change(0, 3);
        for _ in 0..3 {
            rig.picture();
        }
        let (document, _) = rig.look(1_000).remove(0);
        // Three packets of 1000 bytes.
        assert!(document.contains("Name=\"BitRate\" Value=\"24000\""), "{document}");
        assert!(document.contains("Name=\"Viewers\" Value=\"3\""), "{document}");
        let (document, _) = rig.look(2_000).remove(0);
        assert!(document.contains("Name=\"BitRate\" Value=\"0\""), "{document}");
    }

    #[test]
    fn documents_of_others_follow_unchanged_under_times_of_their_own() {
        let mut rig = rig();
        let long = "<a>".repeat(1_000);
        rig.channel.post(long.clone().into());
        rig.channel.post("b".into());
        let looked = rig.look(0);
        let others: Vec<_> =
            looked[1..].iter().map(|(document, ticks)| (document.as_str(), *ticks)).collect();
        assert_eq!((looked.len(), others), (3, vec![(long.as_str(), 1), ("b", 2)]));
        assert_eq!(rig.look(100).len(), 0);
    }

    #[test]
    fn a_stream_with_metadata_of_its_own_gets_none() {
        let rtpmap = "VND.ONVIF.METADATA/90000".to_owned();
        let own = Codec::Other { kind: proto::track::Kind::Application, rtpmap, fmtp: None };
        let tracks = vec![Track::new(Codec::Jpeg, 0), Track::new(own, 1)];
        let mut fanout = fanout(tracks.clone());
        assert!(join(&mut fanout, &Documents::default()).is_none());
        assert_eq!(fanout.description().tracks, tracks);
    }
}
