//! The sink that is heard where the server is: any stream may be talked to there that has no source of its own to take it.

use std::sync::Arc;
use std::time::Duration;

use proto::time::Time;
use proto::track::Track;

use super::{FromSink, SinkAddress, TalkError, TalkerId, ToSink};
use crate::media::playback::{Loudspeakers, Voice, Voices};
use crate::shard::settings::Settings;
use crate::shard::turn::Shard;

/// Its shard, and its name there: no proxy has it.
const ADDRESS: SinkAddress = SinkAddress { home: 0, tenure: u64::MAX };

/// Who holds the place and says nothing for so long loses it to another.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What is heard, and where.
#[derive(Clone, Debug)]
pub struct LoudspeakerSpec {
    /// What is taken, the preferred format first.
    pub formats: Arc<[Track]>,
    /// Its name; empty is the system's own choice.
    pub device: String,
    /// How many may talk at once; the system mixes them.
    pub talkers: usize,
    /// Opens it.
    pub loudspeakers: Arc<dyn Loudspeakers>,
}

/// How long somebody who wants to talk is told at once that nothing can be played.
const FAILED_FOR: Duration = Duration::from_secs(10);

/// The machine's loudspeaker, as its shard has it.
#[derive(Debug, Default)]
pub struct Loudspeaker {
    heard: Vec<Heard>,
    /// Since when it does not play, and why.
    failed: Option<(Time, String)>,
    voices: Voices,
}

/// Who is heard.
#[derive(Debug)]
struct Heard {
    id: TalkerId,
    at: Time,
    voice: Voice,
}

impl Loudspeaker {
    /// Plays no more of one talker.
    fn forget(&mut self, talker: TalkerId) {
        self.heard.retain(|heard| heard.id != talker);
    }
}

impl LoudspeakerSpec {
    /// Whether the same is heard in the same way.
    fn is_like(&self, other: &LoudspeakerSpec) -> bool {
        (&self.formats, &self.device, self.talkers) == (&other.formats, &other.device, other.talkers)
    }
}

impl Shard {
    /// Ends what is heard where the configuration has another loudspeaker, or none any more.
    pub(in crate::shard) fn change_loudspeaker(&mut self, before: &Settings) {
        let is_like = match (&before.loudspeaker, &self.settings.loudspeaker) {
            (Some(before), Some(spec)) => before.is_like(spec),
            (before, spec) => before.is_none() && spec.is_none(),
        };
        if is_like {
            return;
        }
        for heard in std::mem::take(&mut self.loudspeaker).heard {
            let reason = "the configuration has another loudspeaker, or none any more";
            self.tell_talker(ADDRESS, heard.id, FromSink::Ended(reason.to_owned()));
        }
    }

    /// The address of the machine's own loudspeaker, if the configuration gives it one.
    pub(super) fn own_sink(&self) -> Option<SinkAddress> {
        self.settings.loudspeaker.is_some().then_some(ADDRESS)
    }

    /// Obeys a viewer's shard; false when that speaks of another sink.
    pub(in crate::shard) fn order_loudspeaker(&mut self, tenure: u64, what: &ToSink) -> bool {
        let Some(spec) = self.settings.loudspeaker.clone().filter(|_| tenure == ADDRESS.tenure) else {
            return false;
        };
        match what {
            ToSink::Describe(asker) => {
                self.tell_talker(ADDRESS, *asker, FromSink::Described(Ok(spec.formats)));
            }
            ToSink::Begin(talker) => {
                let answer = self.hear(*talker, &spec);
                self.tell_talker(ADDRESS, *talker, FromSink::Begun(answer));
            }
            ToSink::Packet { talker, packet, .. } => {
                let mut heard = self.loudspeaker.heard.iter_mut();
                let Some(heard) = heard.find(|heard| heard.id == *talker) else { return true };
                heard.at = self.now;
                if let Err(reason) = heard.voice.say(packet.clone()) {
                    self.loudspeaker.forget(*talker);
                    self.loudspeaker.failed = Some((self.now, reason.clone()));
                    self.tell_talker(ADDRESS, *talker, FromSink::Ended(reason));
                }
            }
            ToSink::End(talker) => self.loudspeaker.forget(*talker),
        }
        true
    }

    fn hear(&mut self, id: TalkerId, spec: &LoudspeakerSpec) -> Result<(), TalkError> {
        let now = self.now;
        if let Some((_, reason)) =
            self.loudspeaker.failed.as_ref().filter(|(since, _)| now.since(*since) < FAILED_FOR)
        {
            return Err(TalkError::Unavailable(reason.clone()));
        }
        self.loudspeaker.forget(id);
        if self.loudspeaker.heard.len() >= spec.talkers {
            let longest_silent = self.loudspeaker.heard.iter().min_by_key(|heard| heard.at);
            let silent = longest_silent.filter(|heard| now.since(heard.at) >= SILENCE_MAX);
            let silent = silent.ok_or(TalkError::Busy)?.id;
            self.loudspeaker.forget(silent);
            self.tell_talker(ADDRESS, silent, FromSink::Ended("somebody else talks".to_owned()));
        }
        let (loudspeakers, formats) = (spec.loudspeakers.clone(), spec.formats.clone());
        let voices = &self.loudspeaker.voices;
        let voice = Voice::begin(voices, spec.talkers, loudspeakers, &spec.device, formats);
        let voice = voice.map_err(TalkError::Unavailable)?;
        self.loudspeaker.heard.push(Heard { id, at: now, voice });
        Ok(())
    }
}
