//! The sink that is heard where the server is: any stream may be talked to there that has no source of its own to take it.

use std::sync::Arc;
use std::time::Duration;

use proto::time::Time;
use proto::track::Track;

use super::{FromSink, SinkAddress, TalkError, TalkerId, ToSink};
use crate::media::playback::{Loudspeakers, Voice, Voices};
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
    /// Opens it.
    pub loudspeakers: Arc<dyn Loudspeakers>,
}

/// How long somebody who wants to talk is told at once that nothing can be played.
const FAILED_FOR: Duration = Duration::from_secs(10);

/// The machine's loudspeaker, as its shard has it.
#[derive(Debug, Default)]
pub struct Loudspeaker {
    heard: Option<Heard>,
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

impl Shard {
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
                let heard = self.loudspeaker.heard.as_mut();
                let Some(heard) = heard.filter(|heard| heard.id == *talker) else { return true };
                heard.at = self.now;
                if let Err(reason) = heard.voice.say(packet.clone()) {
                    self.loudspeaker.heard = None;
                    self.loudspeaker.failed = Some((self.now, reason.clone()));
                    self.tell_talker(ADDRESS, *talker, FromSink::Ended(reason));
                }
            }
            ToSink::End(talker) => {
                self.loudspeaker.heard.take_if(|heard| heard.id == *talker);
            }
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
        if let Some(heard) = &self.loudspeaker.heard {
            if heard.id != id && now.since(heard.at) < SILENCE_MAX {
                return Err(TalkError::Busy);
            }
            let silent = heard.id;
            self.loudspeaker.heard = None;
            self.tell_talker(ADDRESS, silent, FromSink::Ended("somebody else talks".to_owned()));
        }
        let (loudspeakers, formats) = (spec.loudspeakers.clone(), spec.formats.clone());
        let voice = Voice::begin(&self.loudspeaker.voices, loudspeakers, &spec.device, formats);
        let voice = voice.map_err(TalkError::Unavailable)?;
        self.loudspeaker.heard = Some(Heard { id, at: now, voice });
        Ok(())
    }
}
