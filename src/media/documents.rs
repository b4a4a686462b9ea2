//! Documents of metadata that others give us for a stream, on their way to whoever sends its metadata.
//!
//! ```text
//! file, socket ─▶ channel of a path ─▶ readers: the stream that runs under it, sessions that play the file
//! ```

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use proto::metadata::DOCUMENT_BYTES_MAX;
use proto::time::Time;
use smallvec::SmallVec;

/// Documents that wait for readers; a reader who comes later than that has missed the oldest.
const KEPT_MAX: usize = 32;

/// Their bytes. The largest document fits, several times.
const KEPT_BYTES_MAX: usize = 4 * DOCUMENT_BYTES_MAX;

/// Several documents, mostly none.
pub type Taken = SmallVec<[Bytes; 2]>;

/// The channels of all paths that there are documents for; constant while the program runs.
#[derive(Debug, Default)]
pub struct Documents(HashMap<String, Arc<Channel>>);

impl Documents {
    /// Channels under paths without their leading slash.
    pub fn new(channels: impl IntoIterator<Item = (String, Arc<Channel>)>) -> Documents {
        Documents(channels.into_iter().collect())
    }

    /// What comes from now on for a path, and what is in force there. None where nothing ever comes.
    pub fn read(&self, path: &str) -> Option<Reader> {
        let channel = self.0.get(path)?.clone();
        let seen = channel.posted.load(Ordering::Acquire);
        Some(Reader { channel, seen, looked_at: None, stood: 0, again_at: None })
    }
}

/// The documents for one path.
pub struct Channel {
    /// How many there were so far, so that readers need not look for more.
    posted: AtomicU64,
    repeat: Duration,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// What is sent once, by its number; numbers count from 1.
    once: VecDeque<(u64, Bytes)>,
    bytes: usize,
    /// What is sent again and again.
    standing: Option<(u64, Bytes)>,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({} documents)", self.posted.load(Ordering::Relaxed))
    }
}

impl Channel {
    /// A channel without documents; one that stands is sent again each time so much has passed.
    pub fn new(repeat: Duration) -> Channel {
        Channel { posted: AtomicU64::new(0), repeat, kept: Mutex::default() }
    }

    /// Sends a document once.
    pub fn post(&self, document: Bytes) {
        let mut kept = self.kept();
        let number = self.posted.load(Ordering::Relaxed) + 1;
        kept.bytes += document.len();
        kept.once.push_back((number, document));
        while kept.once.len() > KEPT_MAX || kept.bytes > KEPT_BYTES_MAX {
            let Some((_, oldest)) = kept.once.pop_front() else { break };
            kept.bytes -= oldest.len();
        }
        self.posted.store(number, Ordering::Release);
    }

    /// Sends a document, and again and again until there is another; None ends that.
    pub fn stand(&self, document: Option<Bytes>) {
        let mut kept = self.kept();
        let number = self.posted.load(Ordering::Relaxed) + 1;
        kept.standing = document.map(|document| (number, document));
        self.posted.store(number, Ordering::Release);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who sends the documents of a path.
#[derive(Debug)]
pub struct Reader {
    channel: Arc<Channel>,
    /// The number that everything up to was taken.
    seen: u64,
    /// How many there were at the last look; None before the first.
    looked_at: Option<u64>,
    /// The number of what stands, as far as it was taken; 0 before.
    stood: u64,
    /// When that is due again.
    again_at: Option<Time>,
}

impl Reader {
    /// What is to be sent now. Mostly that is nothing, and costs a look at a number.
    pub fn take(&mut self, now: Time) -> Taken {
        let posted = self.channel.posted.load(Ordering::Acquire);
        let is_again = self.again_at.is_some_and(|at| at <= now);
        if self.looked_at == Some(posted) && !is_again {
            return Taken::new();
        }
        let kept = self.channel.kept();
        let later = kept.once.iter().filter(|(number, _)| *number > self.seen);
        let mut taken: Taken = later.map(|(_, document)| document.clone()).collect();
        // As it is while nobody posts.
        self.seen = self.channel.posted.load(Ordering::Relaxed);
        self.looked_at = Some(self.seen);
        match &kept.standing {
            Some((number, document)) if *number != self.stood || is_again => {
                taken.push(document.clone());
                (self.stood, self.again_at) = (*number, Some(now + self.channel.repeat));
            }
            Some(_) => {}
            None => self.again_at = None,
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents() -> (Documents, Arc<Channel>) {
        let channel = Arc::new(Channel::new(Duration::from_secs(2)));
        (Documents::new([("a".to_owned(), channel.clone())]), channel)
    }

    fn taken(reader: &mut Reader, ms: u64) -> Vec<String> {
        let taken = reader.take(Time::from_millis(ms));
        taken.iter().map(|document| String::from_utf8_lossy(document).into_owned()).collect()
    }

    #[test]
    fn each_reader_gets_each_document_once() {
        let (documents, channel) = documents();
        assert!(documents.read("b").is_none());
        channel.post("early".into());
        let mut first = documents.read("a").unwrap();
        assert_eq!(taken(&mut first, 0), [""; 0]);
        channel.post("1".into());
        channel.post("2".into());
        let mut second = documents.read("a").unwrap();
        channel.post("3".into());
        assert_eq!(
            (taken(&mut first, 0), taken(&mut second, 0)),
            (vec!["1".into(), "2".into(), "3".into()], vec!["3".into()])
        );
        assert_eq!((taken(&mut first, 9_000), taken(&mut second, 9_000)), (vec![], vec![]));
    }

    #[test]
    fn what_stands_is_sent_again_until_there_is_another() {
        let (documents, channel) = documents();
        channel.stand(Some("x".into()));
        let mut reader = documents.read("a").unwrap();
        assert_eq!(taken(&mut reader, 0), ["x"]);
        assert_eq!(taken(&mut reader, 1_999), [""; 0]);
        assert_eq!(taken(&mut reader, 2_000), ["x"]);
        channel.stand(Some("y".into()));
        channel.post("once".into());
        assert_eq!(taken(&mut reader, 2_100), ["once", "y"]);
        assert_eq!(taken(&mut reader, 4_000), [""; 0]);
        channel.stand(None);
        assert_eq!(taken(&mut reader, 4_100), [""; 0]);
        assert_eq!(taken(&mut reader, 9_000), [""; 0]);
        channel.stand(Some("z".into()));
        assert_eq!(taken(&mut reader, 9_000), ["z"]);
    }

    #[test]
    fn who_does_not_read_keeps_no_memory() {
        let (documents, channel) = documents();
        let mut reader = documents.read("a").unwrap();
        for number in 0..100 {
            channel.post(number.to_string().into());
        }
        let kept = taken(&mut reader, 0);
        assert_eq!((kept.len(), kept[0].as_str()), (KEPT_MAX, "68"));
        for _ in 0..10 {
            channel.post(vec![b' '; DOCUMENT_BYTES_MAX].into());
        }
        assert_eq!(reader.take(Time::ZERO).len(), 4);
    }
}
