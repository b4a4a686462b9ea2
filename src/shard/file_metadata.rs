//! The metadata of one viewer's playing of a file: where it stands, and what others say of the file.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use proto::frame::Frame;
use proto::metadata::{Item, Message, Operation, Topic, write};
use proto::rtp::batch::{Batch, Numbering};
use proto::rtp::packetize::Packetizer;
use proto::time::{MediaTime, NtpTime, Time};

use super::file::{Next, Pace};
use crate::media::documents::{Documents, Reader};
use crate::media::library::FileInfo;
use crate::stream::metadata::PERIOD;

/// Documents whose times are so near to each other, in ticks, leave together.
const TOGETHER: i64 = 90;

/// The documents of one session.
#[derive(Debug)]
pub struct FileMetadata {
    packetizer: Writer,
    track: u8,
    clock_rate: u32,
    /// What others give us; None where nobody does.
    reader: Option<Reader>,
    /// When the next document about the playing is due.
    due: Time,
    has_told: bool,
    end: End,
    waiting: VecDeque<Bytes>,
    /// The first that waits, once it leaves.
    front: Option<Arc<Batch>>,
    shown: Shown,
    /// Time of the latest, in ticks.
    last: Option<i64>,
}

/// What was given out to be sent and may have been sent in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    Media,
    Document,
}

/// Whether it is known when all was shown that is asked for, and whether that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Ahead,
    At(Time),
    Told,
}

/// Where a playing stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Content time.
    pub position: MediaTime,
    /// How fast that advances.
    pub pace: Pace,
}

/// A packetizer, which has nothing to show.
struct Writer(Packetizer);

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

impl FileMetadata {
    /// Before the first document of a file whose last track is metadata.
    pub fn new(info: &FileInfo, documents: &Documents, mtu_bytes: usize) -> FileMetadata {
        let index = info.tracks.len().saturating_sub(1);
        let track = &info.tracks[index];
        let numbering = Numbering {
            ssrc: info.ssrc[index],
            payload_type: track.payload_type,
            sequence: 0,
            timestamp: info.timestamp_base[index],
        };
        FileMetadata {
            packetizer: Writer(Packetizer::new(track, index as u8, numbering, mtu_bytes)),
            track: index as u8,
            clock_rate: track.clock_rate,
            reader: documents.read(&info.name),
            due: Time::ZERO,
            has_told: false,
            end: End::Ahead,
            waiting: VecDeque::new(),
            front: None,
            shown: Shown::Nothing,
            last: None,
        }
    }

    /// Makes what is due at `now`, unless something waits already: who reads slowly gets fewer.
    pub fn look(&mut self, now: Time, wall: NtpTime, info: &FileInfo, standing: Standing) {
        if !self.waiting.is_empty() {
            return;
        }
        let has_ended = matches!(self.end, End::At(at) if at <= now);
        if now >= self.due || has_ended {
            self.due = now + PERIOD;
            self.waiting.push_back(self.state(wall, info, standing, has_ended).into());
            self.has_told = true;
        }
        if has_ended {
            self.end = End::Told;
        }
        if let Some(reader) = &mut self.reader {
            self.waiting.extend(reader.take(now));
        }
    }

    /// Hears what comes next of the file: media comes to its end before a document does, and while nothing is due a
    /// document may be.
    pub fn note(&mut self, next: &mut Next) {
        match next {
            Next::Due(_) if self.shown == Shown::Nothing => self.shown = Shown::Media,
            Next::At(at) => *at = self.due.min(*at),
            Next::Finished(at) => {
                if self.end == End::Ahead {
                    self.end = End::At(*at);
                }
                // The end is told when it comes, well before the goodbye.
                if let End::At(at) = self.end {
                    *next = Next::At(at);
                }
            }
            Next::Due(_) | Next::Starved => {}
        }
    }

    /// What is next is to be shown elsewhere: nothing of it was sent.
    pub fn begin_stretch(&mut self) {
        self.front = None;
        self.shown = Shown::Nothing;
        self.last = None;
        self.end = End::Ahead;
    }

    /// The document that leaves now, at a content time.
    pub fn show(&mut self, content: MediaTime) -> Option<Arc<Batch>> {
        if self.shown == Shown::Media {
            return None;
        }
        if self.front.is_none() {
            self.front = self.packetize(content);
        }
        if self.front.is_some() {
            self.shown = Shown::Document;
        }
        self.front.clone()
    }

    /// What was given out has left; whether that was a document.
    pub fn advance(&mut self) -> bool {
        let was_document = std::mem::replace(&mut self.shown, Shown::Nothing) == Shown::Document;
        if was_document {
            self.front = None;
            self.waiting.pop_front();
        }
        was_document
    }

    fn packetize(&mut self, content: MediaTime) -> Option<Arc<Batch>> {
        let payload = self.waiting.front()?.clone();
        let ticks = content.to_ticks(self.clock_rate);
        let is_together = |last: &i64| (*last - TOGETHER..=*last).contains(&ticks);
        let ticks = self.last.filter(is_together).map_or(ticks, |last| last + 1);
        self.last = Some(ticks);
        let frame = Frame { track: self.track, pts: ticks, dts: ticks, duration: 0, keyframe: true, payload };
        // Documents can always be packetized.
        self.packetizer.0.packetize(&frame).ok().flatten().map(Arc::new)
    }

    fn state(&self, wall: NtpTime, info: &FileInfo, standing: Standing, has_ended: bool) -> String {
        let state = if has_ended { "Ended" } else { "Playing" };
        let position = format!("{:.3}", standing.position.as_secs_f64());
        let duration = info.duration.map(|duration| format!("{:.3}", duration.as_secs_f64()));
        let Pace { scale, speed } = standing.pace;
        let known: [Item<'_>; 4] =
            [("State", &state), ("Position", &position), ("Scale", &scale), ("Speed", &speed)];
        let mut data = known.to_vec();
        if let Some(duration) = &duration {
            data.push(("Duration", duration));
        }
        let operation = if self.has_told { Operation::Changed } else { Operation::Initialized };
        let message = Message { topic: Topic::Playback, operation, data: &data };
        write(&info.name, wall.into(), &[message])
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::metadata::check;

    use super::*;
    use crate::media::documents::Channel;
    use crate::media::library::{Answer, Library, Wanted};
    use crate::media::memory::{MemoryLibrary, Presentation, asked};
    use crate::shard::file::{FilePlayback, Way};

    /// A file of 2 s, the viewer that plays it, and what others say of it.
    struct Rig {
        library: MemoryLibrary,
        file: FilePlayback,
        channel: Arc<Channel>,
    }

    /// What leaves: media, or a document with the viewer's RTP time in ticks since the beginning.
    #[derive(Debug, PartialEq)]
    enum Left {
        Media,
        Document(String, u32),
    }

    impl Rig {
        fn new(plays: u32) -> Rig {
            let library = MemoryLibrary::new(1_400).with_metadata();
            let duration = Duration::from_secs(2);
            library.add("film", Presentation { duration, has_sound: false, ..Presentation::default() });
            let Answer::Described(_, Ok(info)) = asked(|reply| library.describe("/film", &[], 1, reply))
            else {
                panic!("described")
            };
            assert_eq!((info.tracks.len(), info.media().len()), (2, 1));
            let channel = Arc::new(Channel::new(Duration::from_secs(9)));
            let documents = Documents::new([("film".to_owned(), channel.clone())]);
            let mut file = FilePlayback::new(info.clone(), Some(plays));
            file.metadata = Some(Box::new(FileMetadata::new(&info, &documents, 1_400)));
            let mut rig = Rig { library, file, channel };
            rig.seek(Time::ZERO, MediaTime::ZERO);
            rig
        }

        fn seek(&mut self, now: Time, to: MediaTime) {
            let first = self.read(Wanted::Seek(to));
            self.file.begin(now, to, first, Pace::default(), Way::Datagrams);
        }

        fn read(&self, wanted: Wanted) -> Arc<crate::media::segment::Segment> {
            match asked(|reply| self.library.segment(&self.file.info, wanted, 2, reply)) {
                Answer::Segment(_, Ok(segment)) => segment,
                other => panic!("{other:?}"),
            }
        }

        /// What leaves at a time.
        fn at(&mut self, ms: u64) -> Vec<Left> {
            let (now, wall) = (Time::from_millis(ms), NtpTime::from_unix(Duration::from_millis(ms)));
            self.file.tell(now, wall);
            let mut left = Vec::new();
            loop {
                while let Some((wanted, is_rewound)) = self.file.wanted(now, false) {
                    let segment = self.read(wanted);
                    self.file.push(segment, is_rewound);
                }
                match self.file.peek(now) {
                    Next::Due(batch) => {
                        left.push(self.left(&batch));
                        self.file.advance();
                    }
                    Next::Starved => {}
                    Next::At(_) | Next::Finished(_) => return left,
                }
            }
        }

        fn left(&self, batch: &Batch) -> Left {
            if batch.meta().track == 0 {
                return Left::Media;
            }
            let payload = |packet| batch.packet(packet)[12..].to_vec();
            let document = batch.packets().iter().flat_map(payload).collect();
            let time = self.file.timestamp_map(1, batch.meta().pts).apply(batch.timestamp());
            let ticks = time.wrapping_sub(self.file.info.timestamp_base[1]);
            Left::Document(String::from_utf8(document).unwrap(), ticks)
        }
    }

    fn documents(left: Vec<Left>) -> Vec<(String, u32)> {
        let document = |left| match left {
            Left::Document(text, ticks) => Some((text, ticks)),
            Left::Media => None,
        };
        left.into_iter().filter_map(document).collect()
    }

    #[test]
    fn each_period_has_a_document_under_the_time_that_it_leaves_at_in_every_play() {
        let mut rig = Rig::new(2);
        let mut told = Vec::new();
        for ms in (0..=4_100).step_by(10) {
            for (text, ticks) in documents(rig.at(ms)) {
                assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
                assert!(u64::from(ticks).abs_diff(ms * 90) <= 2, "{ticks} at {ms}");
                let position = text.split("\"Position\" Value=\"").nth(1).unwrap();
                told.push((ms, position.split('"').next().unwrap().to_owned(), text.contains("Ended")));
            }
        }
        let position = |text: &str| text.parse::<f64>().unwrap();
        let times: Vec<_> = told.iter().map(|(ms, ..)| *ms).collect();
        assert_eq!(times[..6], [0, 750, 1_500, 2_250, 3_000, 3_750], "{told:?}");
        assert!(position(&told[2].1) > 1.4 && position(&told[3].1) < 0.3, "{told:?}");
        let ended: Vec<_> = told.iter().filter(|told| told.2).collect();
        assert!(ended.len() == 1 && ended[0] == told.last().unwrap(), "{told:?}");
        assert_eq!(ended[0].1, "2.000");
    }

    #[test]
    fn a_picture_that_has_begun_to_leave_comes_before_a_document() {
        let mut rig = Rig::new(1);
        assert!(matches!(rig.at(0)[..], [Left::Document(..), Left::Media, ..]));
        let now = Time::from_millis(40);
        assert!(matches!(rig.file.peek(now), Next::Due(batch) if batch.meta().track == 0));
        rig.channel.post("<a/>".into());
        rig.file.tell(now, NtpTime::default());
        assert!(matches!(rig.file.peek(now), Next::Due(batch) if batch.meta().track == 0));
        rig.file.advance();
        assert!(matches!(rig.file.peek(now), Next::Due(batch) if batch.meta().track == 1));
        // And the other way round.
        assert!(matches!(rig.file.peek(Time::from_millis(80)), Next::Due(batch) if batch.meta().track == 1));
        rig.file.advance();
        assert!(matches!(rig.file.peek(Time::from_millis(80)), Next::Due(batch) if batch.meta().track == 0));
    }

    #[test]
    fn documents_that_leave_together_have_different_times_and_a_jump_back_goes_on() {
        let mut rig = Rig::new(1);
        rig.channel.post("<a/>".into());
        rig.channel.post("<b/>".into());
        let first = documents(rig.at(0));
        assert_eq!(first.iter().map(|(_, ticks)| *ticks).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!((first[1].0.as_str(), first[2].0.as_str()), ("<a/>", "<b/>"));
        documents(rig.at(1_500));
        rig.file.jump(Some(1), None);
        rig.seek(Time::from_millis(1_600), MediaTime::ZERO);
        rig.channel.post("<c/>".into());
        let again = documents(rig.at(1_600));
        assert_eq!(again.last().unwrap().0, "<c/>");
        assert!(again.iter().all(|(_, ticks)| (1_500 * 90..2_000 * 90).contains(ticks)), "{again:?}");
    }

    #[test]
    fn who_is_not_ready_is_looked_at_when_the_next_document_is_due() {
        let mut rig = Rig::new(1);
        rig.at(0);
        // Media comes sooner.
        assert!(matches!(rig.file.peek(Time::from_millis(1)), Next::At(at) if at < Time::from_millis(50)));
        let mut next = Next::At(Time::from_millis(5_000));
        rig.file.metadata.as_mut().unwrap().note(&mut next);
        assert!(matches!(next, Next::At(at) if at == Time::from_millis(750)));
    }
}
