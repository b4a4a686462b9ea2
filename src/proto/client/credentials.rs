//! Who asks: a user with a password, and the answer to the best of a server's challenges.

use std::fmt;

use thiserror::Error;

use super::url::{Url, decoded};
use crate::rtsp::digest::{Algorithm, Asked, Hash, Nonces, Qop};
use crate::rtsp::headers::authorization::{Authorization, DigestAuthorization};
use crate::rtsp::headers::www_authenticate::{Challenge, DigestChallenge};
use crate::rtsp::message::{Headers, Method};

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl Credentials {
    /// Reads `user:password` as it precedes the `@` of a URL, percent-encoded.
    pub fn from_userinfo(userinfo: &str) -> Credentials {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        Credentials { user: decoded(user), password: decoded(password) }
    }

    /// Whether neither is there.
    pub fn is_empty(&self) -> bool {
        self.user.is_empty() && self.password.is_empty()
    }
}

/// Without the password, so that it does not end up in a log.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:***", self.user)
    }
}

/// Why a server's 401 cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AuthError {
    /// It wants a user and none is given.
    #[error("the server asks for a user and password, and none is given")]
    NoCredentials,
    /// It has refused them.
    #[error("the server refuses this user and password")]
    Refused,
    /// It offers no way that is known.
    #[error("the server offers neither Digest with a known algorithm nor Basic")]
    UnknownScheme,
    /// It offers only Basic, and the credentials were given for another server or for an encrypted connection.
    #[error("the server that was redirected to wants the password in clear text")]
    Exposed,
}

/// How far a server may be trusted with the credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// They were given for it.
    #[default]
    Full,
    /// Another server has led here: it may see a hash, but never the password.
    HashOnly,
}

/// Answers challenges for one server.
#[derive(Debug)]
pub struct Authenticator {
    credentials: Option<Credentials>,
    trust: Trust,
    /// Unpredictable; our nonces are made of it.
    seed: u64,
    /// What is answered.
    chosen: Option<Challenge>,
    /// How many requests were made with the nonce of `chosen`.
    count: u32,
}

impl Authenticator {
    /// Nothing is answered yet. The same `seed` makes the same nonces of the client: it must not be foreseen.
    pub fn new(credentials: Option<Credentials>, trust: Trust, seed: u64) -> Authenticator {
        Authenticator { credentials, trust, seed, chosen: None, count: 0 }
    }

    /// Goes on with another URL. Another server gets the credentials that its URL brings, else a hash of ours at most.
    pub(super) fn handle_redirect(&mut self, from: &Url, to: &Url) {
        if to.credentials.is_some() {
            *self = Authenticator::new(to.credentials.clone(), Trust::Full, self.seed);
        } else if !to.is_same_server(from) && !to.is_https_of(from) {
            *self = Authenticator::new(self.credentials.clone(), Trust::HashOnly, self.seed);
        }
    }

    /// Takes the challenges of a 401 for a request that was sent again `retries` times already. Ok when it is worth
    /// sending once more: a wrong password is tried once, an old nonce is replaced.
    pub fn handle_challenge(&mut self, headers: &Headers, retries: u32) -> Result<(), AuthError> {
        if self.credentials.is_none() {
            return Err(AuthError::NoCredentials);
        }
        let challenges = Challenge::parse_list(headers);
        let best = challenges.into_iter().min_by_key(rank).ok_or(AuthError::UnknownScheme)?;
        if self.trust == Trust::HashOnly && matches!(best, Challenge::Basic { .. }) {
            return Err(AuthError::Exposed);
        }
        let is_stale = matches!(&best, Challenge::Digest(digest) if digest.stale);
        // Some cameras let a nonce grow old, or bind it to the connection, without saying stale: another nonce than the
        // one that earlier requests were answered with is tried.
        let is_renewal = is_stale || (retries == 0 && self.chosen.as_ref() != Some(&best));
        if (self.chosen.is_some() && !is_renewal) || retries >= RETRIES_MAX {
            return Err(AuthError::Refused);
        }
        self.chosen = Some(best);
        self.count = 0;
        Ok(())
    }

    /// The value of `Authorization`; None before the first challenge.
    pub fn authorization(&mut self, method: &Method, uri: &str) -> Option<String> {
        let credentials = self.credentials.as_ref()?;
        let Credentials { user, password } = credentials.clone();
        let authorization = match self.chosen.as_ref()? {
            Challenge::Basic { .. } => Authorization::Basic { user, password },
            Challenge::Digest(challenge) => {
                self.count += 1;
                let digest = answer(challenge, credentials, self.seed, self.count, method, uri);
                Authorization::Digest(Box::new(digest))
            }
        };
        Some(authorization.to_string())
    }
}

/// Best first.
fn rank(challenge: &Challenge) -> u8 {
    match challenge {
        Challenge::Digest(digest) => match digest.algorithm.unwrap_or(Algorithm::MD5).hash {
            Hash::Sha256 => 0,
            Hash::Sha512_256 => 1,
            Hash::Md5 => 2,
        },
        Challenge::Basic { .. } => 3,
    }
}

fn answer(
    challenge: &DigestChallenge,
    credentials: &Credentials,
    seed: u64,
    count: u32,
    method: &Method,
    uri: &str,
) -> DigestAuthorization {
    let algorithm = challenge.algorithm.unwrap_or(Algorithm::MD5);
    let Credentials { user, password } = credentials;
    // Unpredictable through the seed, different for every server's nonce and, where the nonce is not bound to the
    // session, for every request.
    let turn = if algorithm.session { 0 } else { count };
    let cnonce = Hash::Sha256.of(&[&format!("{seed:016x}"), &challenge.nonce, &turn.to_string()]);
    let qop = [Qop::Auth, Qop::AuthInt].into_iter().find(|qop| challenge.qop.contains(qop));
    let qop = qop.map(|qop| (qop, count));
    let cnonce = if qop.is_some() || algorithm.session { &cnonce[..CNONCE_DIGITS] } else { "" };
    let nonces = Nonces { nonce: &challenge.nonce, cnonce, qop };
    let secret = algorithm.secret(user, &challenge.realm, password);
    // Requests of a client have no body.
    let asked = Asked { method, uri, body: b"" };
    let is_hashed = challenge.userhash;
    DigestAuthorization {
        username: if is_hashed { algorithm.hash.of(&[user, &challenge.realm]) } else { user.clone() },
        realm: challenge.realm.clone(),
        nonce: challenge.nonce.clone(),
        uri: uri.to_owned(),
        response: algorithm.response(&secret, nonces, asked),
        algorithm: challenge.algorithm,
        opaque: challenge.opaque.clone(),
        cnonce: (!cnonce.is_empty()).then(|| cnonce.to_owned()),
        qop,
        userhash: is_hashed,
    }
}

/// How often one request is sent again: with credentials, and with a fresh nonce when the first was stale.
const RETRIES_MAX: u32 = 2;

/// 64 bits.
const CNONCE_DIGITS: usize = 16;
