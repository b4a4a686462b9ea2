//! Keys of SRTP for viewers in TLS (RFC 4567): told in the description, and brought by the viewer in SETUP.

use proto::io::Conn;
use proto::mikey::{Message, Source as KeySource};
use proto::rtsp::headers::key_mgmt::KeyMgmt;
use proto::rtsp::message::Request;
use proto::rtsp::status::Status;
use proto::srtp::{MasterKey, Receiver, Suite};
use rand::RngExt;
use smallvec::smallvec;

use super::connection::{Mount, Refusal};
use super::session::{SessionId, SessionKey, Source};
use super::turn::Shard;
use crate::egress::protection::{Protection, Protector, SharedProtector};
use crate::stream::catalog::Want;

/// The keys that a connection has for what was described or set up last, one a track.
#[derive(Debug)]
pub struct ToldKeys {
    /// What they are for: the name of a file's version, or of a stream's run.
    id: u64,
    keys: Vec<ToldKey>,
    /// The session that uses a file's keys. No other may: both would send other bytes under the same numbers.
    used_by: Option<SessionId>,
}

#[derive(Debug)]
struct ToldKey {
    protector: SharedProtector,
    /// Whether the client knows it.
    is_told: bool,
}

/// SRTP of a track that is being set up.
#[derive(Debug)]
pub struct Protected {
    /// For the track.
    pub protection: Protection,
    /// The synchronization source of what we send.
    pub ssrc: u32,
    /// What the answer says of our key, where no description has.
    pub told: Option<KeyMgmt>,
}

impl ToldKeys {
    fn new(id: u64, protectors: Vec<SharedProtector>, is_told: bool) -> ToldKeys {
        let keys = protectors.into_iter().map(|protector| ToldKey { protector, is_told }).collect();
        ToldKeys { id, keys, used_by: None }
    }
}

impl Shard {
    /// Whether tracks are described with keys to a connection: what is said in the clear keeps no key.
    pub(super) fn describes_keys(&self, conn: Conn) -> bool {
        self.settings.srtp.is_some() && self.connections.get(conn).is_some_and(|it| it.secure.is_some())
    }

    /// Values of `key-mgmt` for each track of a mount, whose keys the connection is told.
    pub(super) fn tell_keys(&mut self, conn: Conn, request: &Request, mount: &Mount) -> Vec<String> {
        let Some(suite) = self.settings.srtp.filter(|_| self.describes_keys(conn)) else { return Vec::new() };
        let protectors = self.protectors(suite, request, mount);
        let told = (0..).zip(&protectors);
        let told = told.map(|(track, protector)| {
            let master = protector.borrow().master().clone();
            KeyMgmt::attribute(&self.mikey(KeySource { ssrc: mount.ssrc(track), roc: 0 }, master))
        });
        let told = told.collect();
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.keys = Some(Box::new(ToldKeys::new(mount.id(), protectors, true)));
        }
        told
    }

    /// The keys for a track of a session: ours as it was described, and what the viewer has brought.
    pub(super) fn protected(
        &mut self,
        conn: Conn,
        request: &Request,
        session: SessionId,
        mount: &Mount,
        track: u8,
    ) -> Result<Protected, Refusal> {
        let Some(suite) = self.settings.srtp else { return Err(failure("srtp is off")) };
        let brought = match request.headers.get("KeyMgmt") {
            Some(value) => {
                let header = KeyMgmt::parse(value).ok_or_else(|| failure("KeyMgmt cannot be read"))?;
                Some(Message::parse(&header.mikey).map_err(|error| failure(&error.to_string()))?.master)
            }
            None => None,
        };
        let told = self.told_key(conn, request, suite, session, mount, track)?;
        let ours = told.protector.borrow().master().clone();
        // Who brings a key with a name, not our own back, wants media under it (ONVIF); a key without one is for what its
        // owner sends (RFC 4567).
        let for_both = brought.as_ref().filter(|key| !key.mki.is_empty() && **key != ours);
        if let Some(key) = for_both {
            tracing::debug!(%session, track, suite = ?key.suite, is_brought = true, is_for_both = true, "srtp");
            let protection =
                Protection { protector: Protector::own(key.clone()), receiver: Receiver::new(key) };
            if let Mount::Live(stream) = mount {
                self.live.follow(stream.id, track, &protection.protector);
            }
            // Who brings a key twice gets other bytes under the same numbers: from another source, at least.
            return Ok(Protected { protection, ssrc: self.ports.random.random(), told: None });
        }
        self.note_told(conn, track);
        tracing::debug!(%session, track, suite = ?ours.suite, is_brought = brought.is_some(), "srtp");
        // Who brings none uses ours: a description's key is for both ways then.
        let receiver = Receiver::new(brought.as_ref().unwrap_or(&ours));
        let answer = (!told.is_told).then(|| {
            let mikey = self.mikey(KeySource { ssrc: mount.ssrc(track), roc: 0 }, ours);
            KeyMgmt { uri: request.uri.clone(), mikey }
        });
        let protection = Protection { protector: told.protector, receiver };
        Ok(Protected { protection, ssrc: mount.ssrc(track), told: answer })
    }

    /// Our key for a track as it was described, or a new one.
    fn told_key(
        &mut self,
        conn: Conn,
        request: &Request,
        suite: Suite,
        session: SessionId,
        mount: &Mount,
        track: u8,
    ) -> Result<ToldKey, Refusal> {
        let is_usable = |keys: &ToldKeys| {
            let is_own = keys.used_by.is_none_or(|user| user == session);
            keys.id == mount.id() && (is_own || matches!(mount, Mount::Live(_)))
        };
        let index = usize::from(track);
        let keys = self.connections.get(conn).and_then(|connection| connection.keys.as_deref());
        let keys = keys.filter(|keys| is_usable(keys));
        // A file's track that is set up again counts from the beginning: under the same key the same numbers would come
        // twice.
        let is_used = |key: &ToldKey| matches!(mount, Mount::File(_)) && key.protector.borrow().is_used();
        let (has_none, is_spent) =
            (keys.is_none(), keys.and_then(|it| it.keys.get(index)).is_some_and(is_used));
        if has_none || is_spent {
            let mut fresh = ToldKeys::new(mount.id(), self.protectors(suite, request, mount), false);
            if let Some(connection) = self.connections.get_mut(conn) {
                match &mut connection.keys {
                    Some(keys) if is_spent => keys.keys[index] = fresh.keys.swap_remove(index),
                    keys => *keys = Some(Box::new(fresh)),
                }
            }
        }
        let keys = self.connections.get_mut(conn).and_then(|connection| connection.keys.as_mut());
        let key = keys.and_then(|keys| {
            keys.used_by = Some(session);
            keys.keys.get_mut(index)
        });
        let key = key.ok_or_else(|| failure("there is no key for that track"))?;
        Ok(ToldKey { protector: key.protector.clone(), is_told: key.is_told })
    }

    fn note_told(&mut self, conn: Conn, track: u8) {
        let keys = self.connections.get_mut(conn).and_then(|connection| connection.keys.as_mut());
        if let Some(key) = keys.and_then(|keys| keys.keys.get_mut(usize::from(track))) {
            key.is_told = true;
        }
    }

    /// Whether packets of a mount fit into datagrams when they are encrypted, which makes them longer. Those of a live
    /// stream are made to: publishers may fill an Ethernet frame to its end.
    pub(super) fn fits_datagrams(&self, mount: &Mount) -> bool {
        let sizes = self.settings.live.packets;
        matches!(mount, Mount::Live(_)) || sizes.holds_encrypted(sizes.piece_bytes_max)
    }

    /// Has the packets of a live stream made small enough, if they are not. Whoever is to get them encrypted in datagrams
    /// begins behind those that are not.
    pub(super) fn keep_packets_small(&mut self, key: SessionKey) {
        let sizes = self.settings.live.packets;
        let Source::Live(cursor) = &mut self.sessions[key].source else { return };
        let Some(stream) = self.live.get_mut(cursor.stream) else { return };
        if sizes.holds_encrypted(stream.packet_bytes) {
            return;
        }
        stream.packet_bytes = 0;
        cursor.not_before = stream.window.end();
        self.ports.catalog.want(stream.description.path(), cursor.stream, Want::SmallPackets);
        tracing::info!(
            path = stream.description.path(),
            "packets are made smaller: a viewer gets them encrypted in datagrams"
        );
    }

    /// Keys for each track of a mount: of a stream those that others have who came a moment ago, of a file new ones.
    fn protectors(&mut self, suite: Suite, request: &Request, mount: &Mount) -> Vec<SharedProtector> {
        let are_named = self.settings.srtp_mki.unwrap_or_else(|| reads_key_names(request));
        let random = &mut self.ports.random;
        let mut key = || {
            let name: [u8; 4] = random.random();
            MasterKey::new(suite, random.random(), if are_named { &name } else { &[] })
        };
        match mount {
            Mount::File(file) => file.tracks.iter().map(|_| Protector::own(key())).collect(),
            Mount::Live(stream) => self.live.protectors(stream, are_named, key),
        }
    }

    /// The message that tells a key.
    pub(super) fn mikey(&mut self, source: KeySource, master: MasterKey) -> Vec<u8> {
        let (bundle, random) = (self.ports.random.random(), self.ports.random.random());
        Message { bundle, sources: smallvec![source], master }.write(self.ports.driver.wall(), random)
    }
}

/// Whether a client can take packets with the name of their key, as ONVIF has it: GStreamer takes that for a part of what
/// authenticates them, and drops all.
fn reads_key_names(request: &Request) -> bool {
    !request.headers.get("User-Agent").is_some_and(|agent| agent.starts_with("GStreamer/"))
}

/// RFC 4567 section 4.2 gives this number to what RFC 7826 calls a prohibited destination; ONVIF follows the former.
pub(super) fn failure(reason: &str) -> Refusal {
    Refusal::new(Status::DESTINATION_PROHIBITED, format!("key management has failed: {reason}"))
}
