//! When is there something to say of what is sent from this shard: of the streams that come to it, and of the playing of
//! a file to one viewer?

use std::time::Duration;

use super::file_metadata::FileMetadata;
use super::session::{Session, SessionKey, Source, State};
use super::turn::Shard;

/// Between two looks at the streams. Documents that others give us wait no longer.
const LOOK: Duration = Duration::from_millis(100);

impl Shard {
    /// A stream comes to this shard that may have metadata.
    pub(super) fn watch_metadata(&mut self) {
        if self.settings.metadata.is_some() {
            self.metadata_at.get_or_insert(self.now);
        }
    }

    /// Hands out what there is to say of the streams, and sees when to look again.
    pub(super) fn tell_metadata(&mut self) {
        let (now, wall) = (self.now, self.ports.driver.wall());
        self.metadata_at = None;
        let relays = self.publications.relays().chain(self.proxies.relays()).chain(self.pushers.relays());
        for relay in relays {
            relay.tell(now, wall);
            self.metadata_at = Some(now + LOOK);
        }
    }

    /// Prepares what there is to say to a viewer of a file, if it has set that track up.
    pub(super) fn begin_file_metadata(&mut self, key: SessionKey) {
        let Some(documents) = &self.settings.metadata else { return };
        let Some(Session { source: Source::File(file), tracks, .. }) = self.sessions.get_mut(key) else {
            return;
        };
        let index = file.info.tracks.len().saturating_sub(1);
        let is_set_up = tracks.iter().any(|track| usize::from(track.track) == index);
        let is_metadata = file.info.tracks.last().is_some_and(|track| track.is_metadata());
        if is_set_up && is_metadata && file.metadata.is_none() {
            let metadata = FileMetadata::new(&file.info, documents, self.settings.mtu_bytes);
            file.metadata = Some(Box::new(metadata));
        }
    }

    /// Says what there is to say to a viewer of a file.
    pub(super) fn tell_file_metadata(&mut self, key: SessionKey) {
        if let Some(Session { source: Source::File(file), state: State::Playing, .. }) =
            self.sessions.get_mut(key)
            && file.metadata.is_some()
        {
            file.tell(self.now, self.ports.driver.wall());
        }
    }
}
