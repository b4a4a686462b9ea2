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
use super::session::SessionId;
use super::turn::Shard;
use crate::egress::protection::{Protection, Protector, SharedProtector};

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
    pub(super) fn tell_keys(&mut self, conn: Conn, mount: &Mount) -> Vec<String> {
        let Some(suite) = self.settings.srtp.filter(|_| self.describes_keys(conn)) else { return Vec::new() };
        let protectors = self.protectors(suite, mount);
        let told = (0..).zip(&protectors);
        let told = told.map(|(track, protector)| {
            let master = protector.borrow().master().clone();
            KeyMgmt::attribute(&self.mikey(mount.ssrc(track), master))
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
            let mut fresh = ToldKeys::new(mount.id(), self.protectors(suite, mount), false);
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
        let is_told = std::mem::replace(&mut key.is_told, true);
        let protector = key.protector.clone();
        let ours = protector.borrow().master().clone();
        tracing::debug!(%session, track, suite = ?ours.suite, is_brought = brought.is_some(), "srtp");
        // Who brings none uses ours: a description's key is for both ways then.
        let receiver = Receiver::new(brought.as_ref().unwrap_or(&ours));
        let told = (!is_told).then(|| {
            let mikey = self.mikey(mount.ssrc(track), ours);
            KeyMgmt { uri: request.uri.clone(), mikey }
        });
        Ok(Protected { protection: Protection { protector, receiver }, told })
    }

    /// Keys for each track of a mount: of a stream those that others have who came a moment ago, of a file new ones.
    fn protectors(&mut self, suite: Suite, mount: &Mount) -> Vec<SharedProtector> {
        let random = &mut self.ports.random;
        let mut key = || MasterKey::new(suite, random.random(), &[]);
        match mount {
            Mount::File(file) => file.tracks.iter().map(|_| Protector::own(key())).collect(),
            Mount::Live(stream) => self.live.protectors(stream, key),
        }
    }

    fn mikey(&mut self, ssrc: u32, master: MasterKey) -> Vec<u8> {
        let (bundle, random) = (self.ports.random.random(), self.ports.random.random());
        let message = Message { bundle, sources: smallvec![KeySource { ssrc, roc: 0 }], master };
        message.write(self.ports.driver.wall(), random)
    }
}

/// RFC 4567 section 4.2 gives this number to what RFC 7826 calls a prohibited destination; ONVIF follows the former.
fn failure(reason: &str) -> Refusal {
    Refusal::new(Status::DESTINATION_PROHIBITED, format!("key management has failed: {reason}"))
}
