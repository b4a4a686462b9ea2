//! What was found of files a moment ago: when many players ask for one file at once, the disk is looked at for the first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::media::library::FileInfo;

/// How long an answer is given again. A file that is replaced is taken for the one before for as long, by those who ask
/// then.
const FRESH: Duration = Duration::from_millis(100);

/// Answers that are kept.
const KEPT_MAX: usize = 32;

/// The latest answers.
#[derive(Debug, Default)]
pub struct Recent {
    found: VecDeque<Found>,
    era: Era,
}

/// By which rules an answer was found out; others count from the next on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Era(u64);

#[derive(Debug)]
struct Found {
    at: Instant,
    path: String,
    parameters: Vec<(String, String)>,
    info: Arc<FileInfo>,
}

impl Recent {
    /// What was answered to the same question, if that is fresh.
    pub fn find(
        &mut self,
        now: Instant,
        path: &str,
        parameters: &[(String, String)],
    ) -> Option<Arc<FileInfo>> {
        let stale = self.found.iter().take_while(|found| now.duration_since(found.at) > FRESH).count();
        self.found.drain(..stale);
        let mut found = self.found.iter();
        let found = found.find(|found| found.path == path && found.parameters == parameters);
        found.map(|found| found.info.clone())
    }

    /// The era of an answer that is found out from now on.
    pub fn era(&self) -> Era {
        self.era
    }

    /// Forgets all answers, and those that are being found out: other rules count from now on.
    pub fn forget(&mut self) {
        self.found.clear();
        self.era.0 += 1;
    }

    /// Keeps an answer that was found out now, if it is of this era.
    pub fn keep(
        &mut self,
        (now, era): (Instant, Era),
        path: String,
        parameters: Vec<(String, String)>,
        info: Arc<FileInfo>,
    ) {
        if era != self.era {
            return;
        }
        if self.found.len() == KEPT_MAX {
            self.found.pop_front();
        }
        self.found.push_back(Found { at: now, path, parameters, info });
    }
}
