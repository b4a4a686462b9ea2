//! Keys of SRTP that are told and changed while media flows (ONVIF streaming specification, key management): the
//! parameter `mikey`.

use proto::io::Conn;
use proto::mikey::{Message, Source as KeySource};
use proto::rtsp::headers::key_mgmt::KeyMgmt;
use proto::rtsp::status::Status;
use proto::rtsp::uri::Target;
use proto::srtp::MasterKey;

use super::connection::Refusal;
use super::protect::failure;
use super::session::{SessionKey, Source};
use super::turn::Shard;
use crate::egress::protection::Protection;
use crate::egress::track::TrackOut;

/// The name of the parameter.
pub(super) const PARAMETER: &str = "mikey";

impl Shard {
    /// The keys of a session's tracks, a line each, or of the one that the URL names; with the present count of rounds.
    /// What is said in the clear tells none.
    pub(super) fn keys_read(&mut self, conn: Conn, target: &Target, key: SessionKey) -> Option<String> {
        let is_secure = self.describes_keys(conn);
        let session = self.sessions.get(key).filter(|session| is_secure && session.is_meant_by(target))?;
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
        conn: Conn,
        target: &Target,
        key: SessionKey,
        value: &str,
    ) -> Result<(), Refusal> {
        if !self.describes_keys(conn) {
            return Err(failure("keys are told in TLS alone"));
        }
        if !self.sessions[key].is_meant_by(target) {
            return Err(Refusal::new(Status::NOT_FOUND, "the session is of another URL"));
        }
        let mikey = KeyMgmt::parse_parameter(value).ok_or_else(|| failure("mikey is no base64"))?;
        let session = &mut self.sessions[key];
        let current = session.tracks.iter().find_map(|track| track.protection.as_ref()).map(|it| it.suite());
        let current = current.ok_or_else(|| failure("media of the session is not encrypted"))?;
        let message = Message::parse_renewal(&mikey, current).map_err(|error| failure(&error.to_string()))?;
        let names = |ssrc| message.sources.iter().any(|source| source.ssrc == ssrc);
        let names_some = session.tracks.iter().any(|track| names(track.numbering.ssrc));
        let stream = match &session.source {
            Source::Live(cursor) => Some(cursor.stream),
            Source::File(_) | Source::Replay(_) | Source::Ingest(_) | Source::Member(_) => None,
        };
        let is_meant = |track: &TrackOut| match target.track {
            Some(index) => index == track.track,
            None => !names_some || names(track.numbering.ssrc),
        };
        let meant = session.tracks.iter_mut().filter(|track| track.protection.is_some() && is_meant(track));
        let mut meant: Vec<_> = meant.collect();
        if meant.is_empty() {
            return Err(failure("the URL names no track whose media is encrypted"));
        }
        // All of them or none.
        let suite = message.master.suite;
        let is_other = |track: &TrackOut| track.protection.as_ref().is_some_and(|it| it.suite() != suite);
        if meant.iter().any(|track| is_other(track)) {
            return Err(failure("the algorithm cannot be changed while media flows"));
        }
        let tracks = meant.len();
        for track in &mut meant {
            let Some(protection) = track.protection.as_mut() else { continue };
            renew(protection, &message.master);
            if let Some(stream) = stream {
                self.live.follow(stream, track.track, &protection.protector);
            }
        }
        tracing::debug!(session = %session.id, tracks, "srtp goes on under another key");
        Ok(())
    }
}

/// Has one track go on under another key, both ways. Who has two sessions of a file go on under one key gets other bytes
/// under the same numbers: keys are the client's to choose (RFC 3711 section 9.1).
fn renew(protection: &mut Protection, master: &MasterKey) {
    // Said again, perhaps because an answer was lost, it changes nothing.
    if protection.protector.borrow().master() != master {
        let renewed = protection.protector.borrow().renewed(master.clone());
        protection.protector = renewed;
        protection.receiver.renew(master);
    }
}
