//! What streams and files are made of, as the configuration has it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use super::obeyed::{cache_limits, on_republish};
use super::streams::{Changed, MakeChannel, MakeSource, Sources};
use super::threads;
use crate::config::{Rules, Settings};
use crate::media;
use crate::media::capture::camera::Mapped;
use crate::media::capture::hub::Hub;
use crate::media::capture::{self, Devices};
use crate::media::channel::Channel;
use crate::media::documents::Documents;
use crate::media::folder::Folder;
use crate::media::pool::{self, Pool, PoolSettings};
use crate::media::source::Source;
use crate::media::transcode::Keyframes;
use crate::media::transcode::slots::Slots;
use crate::stream::catalog::Reserved;

/// Live streams and files that are made anew at once where nothing else is said, for each processor: so many of 1080p are real time.
const TRANSCODES_A_PROCESSOR: usize = 4;

/// The rules of the moment, which the threads that open files look up.
pub type CurrentRules = Arc<RwLock<Arc<Rules>>>;

/// How files are read.
pub fn pool_settings(settings: &Settings, rules: &CurrentRules, slots: Slots) -> PoolSettings {
    PoolSettings {
        media_dir: settings.media_dir.clone(),
        follow_symlinks: settings.follow_symlinks,
        format_of: {
            let rules = rules.clone();
            Arc::new(move |name| current(&rules).file_format(name))
        },
        has_metadata: settings.metadata,
        mtu_bytes: usize::from(settings.mtu),
        cache_bytes: settings.file_cache_mb as usize * 1024 * 1024,
        threads: Pool::threads_by_default(),
        transcode_threads: match settings.transcode_threads {
            0 => shards_by_default().into(),
            count => count.into(),
        },
        slots,
        still: settings.transcode_unsupported.then(|| media::converters().still()),
        at_thread_start: threads::step_back,
    }
}

/// What live streams can be made of.
pub fn sources(
    settings: &Settings,
    devices: Arc<dyn Devices>,
    slots: &Slots,
    metadata: Option<Arc<Documents>>,
) -> Sources {
    Sources {
        built_in: built_in(settings),
        channels: channels(settings, slots),
        hub: Arc::new(Hub::new(devices)),
        makes: Arc::from(media::converters()),
        keyframes: keyframes(settings),
        slots: slots.clone(),
        metadata,
    }
}

/// What another configuration changes of that, with the paths that it reserves.
pub fn changed(settings: &Settings, slots: &Slots, reserved: Vec<Reserved>) -> Changed {
    Changed {
        built_in: built_in(settings),
        channels: channels(settings, slots),
        keyframes: keyframes(settings),
        cache: cache_limits(settings),
        on_republish: on_republish(settings),
        reserved,
    }
}

fn current(rules: &CurrentRules) -> Arc<Rules> {
    rules.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn built_in(settings: &Settings) -> HashMap<String, MakeSource> {
    let mut built_in: HashMap<String, MakeSource> = HashMap::new();
    if settings.test {
        built_in.insert("test".to_owned(), Box::new(media::synthetic::source));
    }
    built_in
}

fn keyframes(settings: &Settings) -> Keyframes {
    Keyframes::Every(Duration::from_secs(settings.keyframe_interval_s.into()))
}

/// How many live streams and files may be made anew at once.
pub fn transcodes_max(settings: &Settings) -> usize {
    match settings.max_transcodes {
        0 => TRANSCODES_A_PROCESSOR * usize::from(shards_by_default()),
        count => count.into(),
    }
}

/// The devices of this machine as the configuration numbers them.
pub fn devices(settings: &Settings) -> Arc<dyn Devices> {
    let cameras = settings.cameras.iter();
    let cameras = cameras.map(|camera| Mapped { index: camera.index, path: camera.path.clone() });
    capture::system(settings.show_cursor, cameras.collect())
}

/// The files that are live channels; None where none can be.
fn channels(settings: &Settings, slots: &Slots) -> Option<MakeChannel> {
    if !settings.rules().have_live_files() {
        return None;
    }
    let folder = Folder::new(settings.media_dir.clone(), settings.follow_symlinks);
    let (rules, opener) = (settings.rules(), Arc::from(pool::opener(settings.transcode_unsupported)));
    let slots = slots.clone();
    Some(Box::new(move |name| {
        let channel = || Channel::new(folder.clone(), name, Arc::clone(&opener), slots.clone());
        rules.is_live_file(name).then(|| Box::new(channel()) as Box<dyn Source>)
    }))
}

/// Threads that serve where nothing else is said.
pub fn shards_by_default() -> u16 {
    thread::available_parallelism().map_or(1, |count| count.get().min(256) as u16)
}
