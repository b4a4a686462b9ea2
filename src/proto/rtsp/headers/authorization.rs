//! `Authorization` (RFC 2326 section 12.5; RFC 7616 section 3.4, RFC 7617 section 2).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::auth_words::{Quoted, Word, Words};
use crate::rtsp::digest::{Algorithm, Qop};

/// How a client proves who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Authorization {
    /// User and password as they are.
    Basic {
        /// The user's name, which cannot hold a colon.
        user: String,
        /// The password.
        password: String,
    },
    /// A hash of them.
    Digest(Box<DigestAuthorization>),
}

/// The parameters of Digest credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DigestAuthorization {
    /// The user's name, or with `userhash` its hash.
    pub username: String,
    /// As the challenge had it.
    pub realm: String,
    /// As the challenge had it.
    pub nonce: String,
    /// What enters the hash: most often the request's URL, but players also send that of the presentation.
    pub uri: String,
    /// See [`Algorithm::response`].
    pub response: String,
    /// As the challenge had it; None = MD5.
    pub algorithm: Option<Algorithm>,
    /// As the challenge had it.
    pub opaque: Option<String>,
    /// The client's nonce; None without `qop` and `-sess`.
    pub cnonce: Option<String>,
    /// The chosen quality of protection and how many requests were made with this nonce; None as in RFC 2069.
    pub qop: Option<(Qop, u32)>,
    /// Whether `username` is a hash.
    pub userhash: bool,
}

impl Authorization {
    /// Reads the header's value; None when it is of another scheme or algorithm, or what the scheme needs is missing.
    pub fn parse(value: &str) -> Option<Authorization> {
        let (scheme, rest) = value.trim().split_once(|c: char| c.is_whitespace())?;
        if scheme.eq_ignore_ascii_case("Basic") {
            let bytes = STANDARD_NO_PAD.decode(rest.trim().trim_end_matches('=')).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let (user, password) = text.split_once(':')?;
            return Some(Authorization::Basic { user: user.to_owned(), password: password.to_owned() });
        }
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        DigestAuthorization::parse(rest).map(|digest| Authorization::Digest(Box::new(digest)))
    }
}

impl DigestAuthorization {
    fn parse(parameters: &str) -> Option<DigestAuthorization> {
        let mut digest = DigestAuthorization::default();
        let (mut qop, mut count) = (None, None);
        for word in Words::new(parameters) {
            let Word::Parameter(name, value) = word else { continue };
            match name.to_ascii_lowercase().as_str() {
                "username" => digest.username = value,
                "realm" => digest.realm = value,
                "nonce" => digest.nonce = value,
                "uri" => digest.uri = value,
                "response" => digest.response = value,
                "algorithm" => digest.algorithm = Some(value.parse().ok()?),
                "opaque" => digest.opaque = Some(value),
                "cnonce" => digest.cnonce = Some(value),
                "qop" => {
                    let known = [Qop::Auth, Qop::AuthInt];
                    qop = Some(known.into_iter().find(|qop| value.eq_ignore_ascii_case(qop.as_str()))?);
                }
                "nc" => count = Some(u32::from_str_radix(value.trim(), 16).ok()?),
                "userhash" => digest.userhash = value.eq_ignore_ascii_case("true"),
                _ => {}
            }
        }
        digest.qop = match qop {
            Some(qop) => Some((qop, count?)),
            None => None,
        };
        let is_counted = digest.qop.is_some();
        let is_whole = !digest.nonce.is_empty() && !digest.response.is_empty();
        (is_whole && (!is_counted || digest.cnonce.is_some())).then_some(digest)
    }
}

/// The header's value. Of Digest what RFC 7616 section 3.4 quotes is quoted, the rest is not.
impl fmt::Display for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = match self {
            Authorization::Basic { user, password } => {
                return write!(f, "Basic {}", STANDARD.encode(format!("{user}:{password}")));
            }
            Authorization::Digest(digest) => digest,
        };
        write!(f, "Digest username={}, realm={}", Quoted(&digest.username), Quoted(&digest.realm))?;
        write!(f, ", nonce={}, uri={}", Quoted(&digest.nonce), Quoted(&digest.uri))?;
        write!(f, ", response={}", Quoted(&digest.response))?;
        if let Some(algorithm) = digest.algorithm {
            write!(f, ", algorithm={algorithm}")?;
        }
        if let Some(opaque) = &digest.opaque {
            write!(f, ", opaque={}", Quoted(opaque))?;
        }
        if let Some((qop, count)) = digest.qop {
            write!(f, ", qop={}, nc={count:08x}", qop.as_str())?;
        }
        if let Some(cnonce) = &digest.cnonce {
            write!(f, ", cnonce={}", Quoted(cnonce))?;
        }
        f.write_str(if digest.userhash { ", userhash=true" } else { "" })
    }
}

/// Without the password, so that it does not end up in a log.
impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Authorization::Basic { user, .. } => {
                f.debug_struct("Basic").field("user", user).finish_non_exhaustive()
            }
            Authorization::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7617 section 2, and the second example of its section 2.1 with UTF-8.
    #[test]
    fn the_examples_of_rfc_7617_are_written_and_read() {
        for (user, password, value) in [
            ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("test", "123\u{a3}", "Basic dGVzdDoxMjPCow=="),
        ] {
            let basic = Authorization::Basic { user: user.into(), password: password.into() };
            assert_eq!(basic.to_string(), value);
            assert_eq!(Authorization::parse(value), Some(basic));
        }
        let colons = Authorization::Basic { user: "u".into(), password: "a:b:".into() };
        assert_eq!(Authorization::parse(&colons.to_string()), Some(colons));
        for wrong in ["", "Basic", "Basic ", "Basic !", "Basic dQ==", "Bearer x", "Basic //86"] {
            assert_eq!(Authorization::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn digest_credentials_are_written_and_read() {
        let plain = DigestAuthorization {
            username: "a\"b\\c".into(),
            realm: "r, s".into(),
            nonce: "n".into(),
            uri: "rtsp://h/a?x=1,2".into(),
            response: "0123".into(),
            ..DigestAuthorization::default()
        };
        let full = DigestAuthorization {
            algorithm: Some(Algorithm::SHA_256),
            opaque: Some("o".into()),
            cnonce: Some("c".into()),
            qop: Some((Qop::Auth, 0x1f)),
            userhash: true,
            ..plain.clone()
        };
        let text = Authorization::Digest(Box::new(full.clone())).to_string();
        assert!(text.contains(", algorithm=SHA-256,") && text.contains(", qop=auth, nc=0000001f,"), "{text}");
        for digest in [plain, full] {
            let digest = Authorization::Digest(Box::new(digest));
            assert_eq!(Authorization::parse(&digest.to_string()), Some(digest));
        }
        for wrong in [
            "Digest username=\"u\"",
            "Digest nonce=n, response=r, algorithm=x",
            "Digest nonce=n, response=r, qop=auth, cnonce=c",
            "Digest nonce=n, response=r, qop=auth, nc=00000001",
            "Digest nonce=n, response=r, qop=auth, nc=x, cnonce=c",
        ] {
            assert_eq!(Authorization::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let basic = Authorization::Basic { user: "u".into(), password: "hidden".into() };
        assert!(!format!("{basic:?}").contains("hidden"));
    }
}
