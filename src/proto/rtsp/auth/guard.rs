//! Who asks: the server's side of Digest and Basic (RFC 7616, RFC 2617, RFC 2069, RFC 7617).

use std::collections::HashMap;
use std::fmt;

use subtle::ConstantTimeEq;

use super::nonce::{Nonce, NonceKey};
use crate::rtsp::digest::{Algorithm, Asked, Nonces, Qop};
use crate::rtsp::headers::authorization::{Authorization, DigestAuthorization};
use crate::rtsp::headers::www_authenticate::{Challenge, DigestChallenge};
use crate::rtsp::message::Request;
use crate::rtsp::uri::{Target, percent_decode};
use crate::time::Time;

/// A user, and what is known of the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's name.
    pub name: String,
    /// [`Algorithm::secret`] for each algorithm that the user can answer in, in lower case.
    pub secrets: Vec<(Algorithm, String)>,
}

/// Knows the users. The same for all connections, and changed by none.
pub struct Guard {
    realm: String,
    algorithms: Vec<Algorithm>,
    takes_basic: bool,
    key: NonceKey,
    accounts: Vec<Account>,
    by_name: HashMap<String, usize>,
}

/// What is remembered of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its unpredictable name.
    id: u64,
    /// When the latest nonce was given that requests were counted with, and the last count.
    used: (Time, u32),
    /// Whether nobody on the way can read what is said on it.
    is_private: bool,
}

/// What a request's `Authorization` proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: there is none, or one of a kind that was not asked for. A first request is like that.
    Absent,
    /// That this user made it, by number.
    Proven(usize),
    /// That somebody who knew the password has made it, perhaps long ago or more than once.
    Stale,
    /// Nothing: name or password is wrong, or both.
    Wrong {
        /// The name that was given.
        user: String,
    },
}

impl Guard {
    /// A guard who asks by these algorithms, in this order, and takes passwords as they are on private connections, and
    /// on all of them if `takes_basic`. Of two accounts with one name the first counts.
    pub fn new(
        realm: &str,
        algorithms: Vec<Algorithm>,
        takes_basic: bool,
        key: NonceKey,
        accounts: Vec<Account>,
    ) -> Guard {
        let mut by_name = HashMap::new();
        for (index, account) in accounts.iter().enumerate() {
            by_name.entry(account.name.clone()).or_insert(index);
        }
        Guard { realm: realm.to_owned(), algorithms, takes_basic, key, accounts, by_name }
    }

    /// The name of a user.
    pub fn name(&self, user: usize) -> Option<&str> {
        self.accounts.get(user).map(|account| account.name.as_str())
    }

    /// The values of `WWW-Authenticate` for a connection, best first: all that a 401 asks for.
    pub fn challenges(&self, now: Time, line: &Line, stale: bool) -> Vec<String> {
        let nonce = self.key.seal(Nonce { given: now, line: line.id });
        let digest = |algorithm: &Algorithm| {
            Challenge::Digest(DigestChallenge {
                realm: self.realm.clone(),
                nonce: nonce.clone(),
                opaque: None,
                // Players of before RFC 2617 do not know the parameter, and mean MD5.
                algorithm: (*algorithm != Algorithm::MD5).then_some(*algorithm),
                qop: vec![Qop::Auth],
                stale,
                userhash: false,
            })
        };
        let takes_basic = self.takes_basic || line.is_private;
        let basic = takes_basic.then(|| Challenge::Basic { realm: self.realm.clone() });
        self.algorithms.iter().map(digest).chain(basic).map(|challenge| challenge.to_string()).collect()
    }

    /// What a request that came on a connection proves.
    pub fn verify(&self, now: Time, line: &mut Line, request: &Request) -> Verdict {
        let given = request.headers.get_all("Authorization").filter_map(Authorization::parse);
        for authorization in given {
            match authorization {
                Authorization::Digest(digest) => return self.verify_digest(now, line, request, &digest),
                Authorization::Basic { user, password } if self.takes_basic || line.is_private => {
                    return self.verify_basic(user, &password);
                }
                Authorization::Basic { .. } => {}
            }
        }
        Verdict::Absent
    }

    fn verify_digest(
        &self,
        now: Time,
        line: &mut Line,
        request: &Request,
        digest: &DigestAuthorization,
    ) -> Verdict {
        let algorithm = digest.algorithm.unwrap_or(Algorithm::MD5);
        if !self.algorithms.contains(&algorithm) {
            return Verdict::Absent;
        }
        let cnonce = digest.cnonce.as_deref().unwrap_or_default();
        let nonces = Nonces { nonce: &digest.nonce, cnonce, qop: digest.qop };
        let asked = Asked { method: &request.method, uri: &digest.uri, body: &request.body };
        let (user, secret) = self.secret(&digest.username, algorithm);
        let expected = algorithm.response(secret, nonces, asked);
        let is_right = is_same(&expected, &digest.response.to_ascii_lowercase());
        let Some(user) = user.filter(|_| is_right && is_meant(&digest.uri, &request.uri)) else {
            return Verdict::Wrong { user: digest.username.clone() };
        };
        let nonce = self.key.open(&digest.nonce).filter(|nonce| !nonce.is_stale(now));
        let is_fresh = nonce.is_some_and(|nonce| match digest.qop {
            // As in RFC 2069, which has nothing to count: the nonce's life is the limit.
            None => true,
            Some((_, count)) => line.use_up(nonce, count),
        });
        if is_fresh { Verdict::Proven(user) } else { Verdict::Stale }
    }

    fn verify_basic(&self, user: String, password: &str) -> Verdict {
        let algorithm = (self.by_name.get(&user))
            .and_then(|index| self.accounts[*index].secrets.first())
            .map_or(Algorithm::MD5, |(algorithm, _)| *algorithm);
        let (index, secret) = self.secret(&user, algorithm);
        let is_right = is_same(&algorithm.secret(&user, &self.realm, password), secret);
        index.filter(|_| is_right).map_or(Verdict::Wrong { user }, Verdict::Proven)
    }

    /// A user by number, and the secret. For a name that nobody has a secret that nothing hashes to, so that as much is
    /// reckoned as for others: the time of an answer does not tell who is known here.
    fn secret(&self, name: &str, algorithm: Algorithm) -> (Option<usize>, &str) {
        let known = self.by_name.get(name).and_then(|index| {
            let secrets = &self.accounts[*index].secrets;
            secrets.iter().find(|(of, _)| *of == algorithm).map(|(_, secret)| (Some(*index), secret.as_str()))
        });
        known.unwrap_or((None, "-"))
    }
}

/// Without users and key.
impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("realm", &self.realm).finish_non_exhaustive()
    }
}

impl Line {
    /// A connection by an unpredictable name.
    pub fn new(id: u64) -> Line {
        Line { id, used: (Time::ZERO, 0), is_private: false }
    }

    /// A connection that nobody on the way can read.
    pub fn private(id: u64) -> Line {
        Line { is_private: true, ..Line::new(id) }
    }

    /// Counts a request with a nonce; false when that was counted before, or the nonce was given to another connection
    /// or before one that is in use. So a request that somebody has overheard is of no use on any connection, and no
    /// two shards need to tell each other what they have counted.
    fn use_up(&mut self, nonce: Nonce, count: u32) -> bool {
        let last = if nonce.given == self.used.0 { self.used.1 } else { 0 };
        let is_fresh = nonce.line == self.id && nonce.given >= self.used.0 && count > last;
        if is_fresh {
            self.used = (nonce.given, count);
        }
        is_fresh
    }
}

/// Compares in a time that does not tell where the first difference is.
fn is_same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// Whether a URL that was hashed is that of the request as its client may spell it: VLC hashes the presentation's for
/// its tracks, others leave out host, parameters or the slash at the end.
fn is_meant(hashed: &str, asked: &str) -> bool {
    let is_inside =
        |path: &str, base: &str| path.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
    match (path(hashed), path(asked)) {
        (Some(hashed), Some(asked)) => {
            hashed == asked || is_inside(&asked, &hashed) || is_inside(&hashed, &asked)
        }
        _ => false,
    }
}

/// The path of a URL, decoded, without parameters and track and the slashes around it.
fn path(url: &str) -> Option<String> {
    let is_whole = url.contains("://") || url.starts_with('/') || url == "*";
    let target = if is_whole { Target::parse(url) } else { Target::parse(&format!("/{url}")) };
    let path = target.ok()?.path;
    let path = path.trim_matches('/');
    Some(percent_decode(path).unwrap_or_else(|_| path.to_owned()))
}
