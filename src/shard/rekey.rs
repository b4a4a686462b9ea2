//! Keys of SRTP that are told and changed while media flows (ONVIF streaming specification, key management): the
//! parameter `mikey`.

use proto::mikey::{Message, Source as KeySource};
use proto::rtsp::headers::key_mgmt::KeyMgmt;
use proto::rtsp::uri::Target;
use proto::srtp::MasterKey;

use super::connection::Refusal;
use super::protect::failure;
use super::session::{SessionKey, Source};
use super::turn::Shard;
use crate::egress::protection::Protection;

/// The name of the parameter.
pub(super) const PARAMETER: &str = "mikey";

impl Shard {
    /// The keys of a session's tracks, a line each, or of the one that the URL names; with the present count of rounds.
    pub(super) fn keys_read(&mut self, target: &Target, key: SessionKey) -> Option<String> {
        let session = self.sessions.get(key)?;
        let keys =
            session.tracks.iter().filter(|track| target.track.is_none_or(|asked| asked == track.track));
        let keys = keys.filter_map(|track| {
            let protector = track.protection.as_ref()?.protector.borrow();
            let source = KeySource { ssrc: track.numbering.ssrc, roc: protector.roc() };
            Some((source, protector.master().clone()))
        });
        let keys: Vec<_> = keys.collect();
        let lines = keys.into_iter().map(|(source, master)| {
            let mikey = self.mikey(source, master);
            format!("{PARAMETER}: {}\r\n", KeyMgmt::parameter(&mikey))
        });
        let lines: String = lines.collect();
        (!lines.is_empty()).then_some(lines)
    }

    /// Takes the key that a viewer wants media under from now on: for the track that the URL names, else for those whose
    /// sources the message names, else for all.
    pub(super) fn renew_keys(
        &mut self,
        target: &Target,
        key: SessionKey,
        value: &str,
    ) -> Result<(), Refusal> {
        let mikey = KeyMgmt::parse_parameter(value).ok_or_else(|| failure("mikey is no base64"))?;
        let session = &mut self.sessions[key];
        let current = session.tracks.iter().find_map(|track| track.protection.as_ref());
        let current = current.map(|it| it.protector.borrow().master().suite);
        let current = current.ok_or_else(|| failure("media of the session is not encrypted"))?;
        let message = Message::parse_renewal(&mikey, current).map_err(|error| failure(&error.to_string()))?;
        let names = |ssrc| message.sources.iter().any(|source| source.ssrc == ssrc);
        let names_some = session.tracks.iter().any(|track| names(track.numbering.ssrc));
        let stream = match &session.source {
            Source::Live(cursor) => Some(cursor.stream),
            Source::File(_) | Source::Ingest(_) | Source::Member(_) => None,
        };
        let (id, mut renewed) = (session.id, 0);
        for track in &mut session.tracks {
            let is_meant = match target.track {
                Some(index) => index == track.track,
                None => !names_some || names(track.numbering.ssrc),
            };
            let Some(protection) = track.protection.as_mut().filter(|_| is_meant) else { continue };
            renew(protection, &message.master)?;
            if let Some(stream) = stream {
                self.live.follow(stream, track.track, &protection.protector);
            }
            renewed += 1;
        }
        if renewed == 0 {
            return Err(failure("the URL names no track whose media is encrypted"));
        }
        tracing::debug!(session = %id, tracks = renewed, "srtp goes on under another key");
        Ok(())
    }
}

/// Has one track go on under another key, both ways.
fn renew(protection: &mut Protection, master: &MasterKey) -> Result<(), Refusal> {
    let current = protection.protector.borrow().master().clone();
    if current.suite != master.suite {
        return Err(failure("the algorithm cannot be changed while media flows"));
    }
    // Said again, perhaps because an answer was lost.
    if current != *master {
        protection.protector = protection.protector.clone().borrow().renewed(master.clone());
        protection.receiver.renew(master);
    }
    Ok(())
}
