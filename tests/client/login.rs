//! A name and a password, and the answers that they give to a server's challenges.

use std::net::SocketAddr;

use super::{Client, Response};
use crate::upstream::digest::{Lock, base64, checksum, parameter};

/// Who a client says it is.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    user: String,
    password: String,
    lock: Lock,
    realm: String,
    pub(crate) nonce: String,
    /// Requests made with the nonce, where they are counted.
    pub(crate) count: Option<u32>,
    /// The URL that is hashed in place of the request's.
    pub(crate) uri: Option<String>,
}

impl Login {
    /// The answer to one of the challenges of a 401, as RFC 2069 has it where MD5 is asked for.
    #[track_caller]
    pub(crate) fn to(answer: &Response, lock: Lock, user: &str, password: &str) -> Login {
        let challenge = challenge(answer, lock).unwrap_or_else(|| panic!("no {lock:?} in {answer:?}"));
        Login {
            user: user.into(),
            password: password.into(),
            lock,
            realm: parameter(challenge, "realm").into(),
            nonce: parameter(challenge, "nonce").into(),
            count: (lock == Lock::Sha256).then_some(0),
            uri: None,
        }
    }

    /// The same, counting its requests.
    pub(crate) fn counted(self) -> Login {
        Login { count: Some(0), ..self }
    }

    /// The value of `Authorization` for the next request.
    pub(crate) fn authorization(&mut self, method: &str, url: &str) -> String {
        self.count = self.count.map(|count| count + 1);
        let Login { user, password, lock, realm, nonce, count, uri } = &*self;
        if *lock == Lock::Basic {
            return format!("Basic {}", base64(&format!("{user}:{password}")));
        }
        let sum = |text: String| checksum(*lock, &text);
        let uri = uri.as_deref().unwrap_or(url);
        let (secret, asked) = (sum(format!("{user}:{realm}:{password}")), sum(format!("{method}:{uri}")));
        let (response, rest) = match count {
            None => (sum(format!("{secret}:{nonce}:{asked}")), String::new()),
            Some(count) => {
                let response = sum(format!("{secret}:{nonce}:{count:08x}:0a4f113b:auth:{asked}"));
                (response, format!(", qop=auth, nc={count:08x}, cnonce=\"0a4f113b\""))
            }
        };
        let algorithm = if *lock == Lock::Sha256 { ", algorithm=SHA-256" } else { "" };
        format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\"{algorithm}{rest}"
        )
    }
}

impl Client {
    /// A client who has been asked who it is, by DESCRIBE, and says so from now on.
    #[track_caller]
    pub(crate) fn logging_in(server: SocketAddr, url: &str, user: &str, password: &str) -> Client {
        Client::connect(server).log_in(url, user, password)
    }

    /// The same on this connection.
    #[track_caller]
    pub(crate) fn log_in(mut self, url: &str, user: &str, password: &str) -> Client {
        let answer = self.request("DESCRIBE", url, &[]).expect(401);
        self.login = Some(Login::to(&answer, Lock::Md5, user, password));
        self
    }
}

/// The values of the challenges of an answer, in order.
pub(crate) fn challenges(answer: &Response) -> Vec<&str> {
    let is_challenge = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("WWW-Authenticate");
    answer.headers.iter().filter(is_challenge).map(|(_, value)| value.as_str()).collect()
}

fn challenge(answer: &Response, lock: Lock) -> Option<&str> {
    challenges(answer).into_iter().find(|value| match lock {
        Lock::Basic => value.starts_with("Basic "),
        Lock::Md5 => value.starts_with("Digest ") && !value.contains("algorithm="),
        Lock::Sha256 => value.starts_with("Digest ") && value.contains("algorithm=SHA-256"),
    })
}

/// Whether an answer says that only the nonce was too old.
pub(crate) fn is_stale(answer: &Response) -> bool {
    answer.status == 401 && challenges(answer).iter().all(|value| value.contains("stale=true"))
}
