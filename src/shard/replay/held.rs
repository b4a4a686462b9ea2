//! One segment as it is gone through.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::media::segment::{Entry, Segment};

/// Bytes of a group of pictures that wait until its keyframe is found, from its end to its beginning. Of a longer one the
/// end is left out, so that what comes can be decoded.
const CARRIED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A segment on the way.
#[derive(Debug)]
pub enum Held {
    /// As it lies.
    Forward {
        /// The segment.
        segment: Arc<Segment>,
        /// How many of its entries were looked at.
        index: usize,
    },
    /// Its groups of pictures from the last to the first.
    Backward(VecDeque<Looked>),
}

/// What is looked at next.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The access unit.
    pub entry: Entry,
    /// Whether it is known to be the last of its group.
    pub ends_group: bool,
}

/// The end of a group whose keyframe lies in an earlier segment, in the order in which it is decoded.
#[derive(Debug, Default)]
pub struct Carried(VecDeque<Entry>);

impl Held {
    /// A segment that is gone through as it lies.
    pub fn forward(segment: Arc<Segment>) -> Held {
        Held::Forward { segment, index: 0 }
    }

    /// The pictures of a segment, of the track `leading`, by groups from the last to the first. Where all stand alone
    /// each is a group; the sample that says so may have been too small.
    pub fn backward(segment: &Segment, leading: u8, carried: &mut Carried) -> Held {
        let pictures: Vec<&Entry> = segment.entries.iter().filter(|entry| entry.track == leading).collect();
        // Nothing that belongs to it lies before the first part.
        let is_whole = segment.position.part == 0;
        let mut groups = VecDeque::new();
        let mut take = |group: VecDeque<Entry>| {
            let last = group.len().saturating_sub(1);
            let looked = |(index, entry)| Looked { entry, ends_group: index == last };
            groups.extend(group.into_iter().enumerate().map(looked));
        };
        for group in pictures.chunk_by(|_, next| !next.batch.meta().keyframe).rev() {
            carried.begin_with(group);
            if is_whole || group[0].batch.meta().keyframe {
                take(std::mem::take(&mut carried.0));
            }
        }
        if is_whole {
            take(std::mem::take(&mut carried.0));
        }
        Held::Backward(groups)
    }

    /// What is looked at next; None when all was.
    pub fn look(&mut self) -> Option<Looked> {
        match self {
            Held::Forward { segment, index } => {
                let entry = segment.entries.get(*index)?.clone();
                *index += 1;
                Some(Looked { entry, ends_group: false })
            }
            Held::Backward(entries) => entries.pop_front(),
        }
    }
}

impl Carried {
    fn begin_with(&mut self, pictures: &[&Entry]) {
        pictures.iter().rev().for_each(|entry| self.0.push_front((*entry).clone()));
        let size = |entry: &Entry| entry.batch.rtp().len();
        let mut bytes: usize = self.0.iter().map(size).sum();
        while bytes > CARRIED_BYTES_MAX
            && let Some(last) = self.0.pop_back()
        {
            bytes -= size(&last);
        }
    }
}
