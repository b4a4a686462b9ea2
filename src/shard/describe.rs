//! DESCRIBE (RFC 2326 section 10.2): what a path offers, as SDP.

use proto::io::Conn;
use proto::rtsp::headers::require::{self, REPLAY};
use proto::rtsp::message::{Request, Response};
use proto::rtsp::status::Status;
use proto::rtsp::uri::Target;
use proto::sdp::{Description as Sdp, Recording};

use super::connection::{Mount, Refusal};
use super::replay::ReplayAbsent;
use super::request::Outcome;
use super::resolve::Resolution;
use super::turn::Shard;

impl Shard {
    /// Answers DESCRIBE once it is known what the path names.
    pub(super) fn describe(&mut self, conn: Conn, request: &Request, target: &Target) -> Outcome {
        if !accepts_sdp(request) {
            return Refusal::new(Status::NOT_ACCEPTABLE, "only application/sdp is offered").into();
        }
        let is_first_look = self.connections.get(conn).is_some_and(|connection| {
            connection.resolved.as_ref().is_none_or(|resolved| resolved.asked.is_none())
                && !connection.is_retrying
        });
        if is_first_look {
            self.forget_resolved(conn);
            self.forget_talk(conn);
        }
        let mount = match self.resolve(conn, target) {
            Resolution::Found(mount) => mount,
            Resolution::Refused(refusal) => return refusal.into(),
            Resolution::Waiting => return Outcome::Wait,
        };
        if let Err(outcome) = self.may_watch(conn, &mount) {
            return outcome;
        }
        if self.lacks_replay(request, &mount) {
            return ReplayAbsent.into();
        }
        let offer = match self.groups_to_describe(conn, request, target, &mount) {
            Ok(offer) => offer,
            Err(outcome) => return outcome,
        };
        // What is sent to groups is described as their home has it.
        let mount = offer.as_ref().map_or(mount, |offer| offer.mount.clone());
        let backchannel = match self.offered_backchannel(conn, request, &mount) {
            Ok(formats) => formats,
            Err(outcome) => return outcome,
        };
        let keys = if offer.is_none() { self.tell_keys(conn, request, &mount) } else { Vec::new() };
        let Some(connection) = self.connections.get(conn) else { return Outcome::Wait };
        let (duration, recorded) = match &mount {
            Mount::File(file) if offer.is_none() => (file.duration, Some(file.recorded)),
            Mount::File(_) | Mount::Live(_) => (None, None),
        };
        let by_clock = require::has(&request.headers, REPLAY);
        let sdp = Sdp {
            origin_id: mount.id(),
            origin_version: 1,
            address: connection.local.ip(),
            name: mount.name(),
            duration,
            recording: recorded.map(|begun| Recording { begun, by_clock }),
            live: offer.is_some() || matches!(mount, Mount::Live(_)),
            tracks: mount.tracks_for(request),
            keys: &keys,
            backchannel: &backchannel,
            multicast: offer.as_ref().and_then(|offer| self.described_groups(offer)),
        };
        let name = connection.resolved.as_ref().map_or("", |resolved| &resolved.name);
        // Parts of a name that look like parameters must not be taken for them when the client comes back.
        let base =
            if name.contains(['&', '?', '#']) { target.content_base_of(name) } else { target.content_base() };
        let response = Response::new(Status::OK).header("Content-Base", base);
        Outcome::Reply(response.body("application/sdp", sdp.write()))
    }
}

/// Whether the client can read what we write. No `Accept` means that it can.
fn accepts_sdp(request: &Request) -> bool {
    let mut accepts = request.headers.get_all("Accept").flat_map(|value| value.split(',')).peekable();
    accepts.peek().is_none()
        || accepts.any(|range| {
            let kind = range.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/sdp") || kind == "*/*" || kind == "application/*"
        })
}
