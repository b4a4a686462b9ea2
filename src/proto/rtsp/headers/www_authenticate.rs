//! `WWW-Authenticate` (RFC 2326 section 12.44; RFC 7616 section 3.3, RFC 7617 section 2).

use std::fmt;

use super::auth_words::{Quoted, Word, Words};
use crate::rtsp::digest::{Algorithm, Qop};
use crate::rtsp::message::Headers;

/// One way in which a server lets a client prove who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// User and password as they are.
    Basic {
        /// What is protected.
        realm: String,
    },
    /// A hash of them.
    Digest(DigestChallenge),
}

/// The parameters of a Digest challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DigestChallenge {
    /// What is protected.
    pub realm: String,
    /// The server's nonce.
    pub nonce: String,
    /// To be repeated; None when absent.
    pub opaque: Option<String>,
    /// None when absent, which means MD5: a server that does not name it may not know the parameter.
    pub algorithm: Option<Algorithm>,
    /// The qualities of protection that can be chosen; empty as in RFC 2069. `auth` alone, when none of them is known.
    pub qop: Vec<Qop>,
    /// Whether the credentials were right and only the nonce too old.
    pub stale: bool,
    /// Whether the user's name may be sent as a hash.
    pub userhash: bool,
}

impl Challenge {
    /// The challenges in all `WWW-Authenticate` headers, in order; those of other schemes or algorithms, and those of
    /// Digest without a nonce, are left out.
    pub fn parse_list(headers: &Headers) -> Vec<Challenge> {
        let mut challenges = Vec::new();
        for value in headers.get_all("WWW-Authenticate") {
            let mut reader = Reader::default();
            for word in Words::new(value) {
                match word {
                    Word::Scheme(name) => {
                        challenges.extend(std::mem::replace(&mut reader, Reader::new(name)).finish());
                    }
                    Word::Parameter(name, value) => reader.take_parameter(name, value),
                }
            }
            challenges.extend(reader.finish());
        }
        challenges.truncate(CHALLENGES_MAX);
        challenges
    }
}

/// A header's value with this one challenge. RFC 7616 section 3.3 says what is quoted.
impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = match self {
            Challenge::Basic { realm } => return write!(f, "Basic realm={}", Quoted(realm)),
            Challenge::Digest(digest) => digest,
        };
        write!(f, "Digest realm={}, nonce={}", Quoted(&digest.realm), Quoted(&digest.nonce))?;
        if let Some(opaque) = &digest.opaque {
            write!(f, ", opaque={}", Quoted(opaque))?;
        }
        if let Some(algorithm) = digest.algorithm {
            write!(f, ", algorithm={algorithm}")?;
        }
        if !digest.qop.is_empty() {
            let words: Vec<&str> = digest.qop.iter().map(|qop| qop.as_str()).collect();
            write!(f, ", qop=\"{}\"", words.join(","))?;
        }
        f.write_str(if digest.stale { ", stale=true" } else { "" })?;
        f.write_str(if digest.userhash { ", userhash=true" } else { "" })
    }
}

/// What was read of one challenge.
#[derive(Default)]
struct Reader {
    scheme: Option<Scheme>,
    digest: DigestChallenge,
    /// Whether the algorithm is one that is not known.
    is_foreign: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Basic,
    Digest,
}

impl Reader {
    fn new(scheme: &str) -> Reader {
        let known = [("basic", Scheme::Basic), ("digest", Scheme::Digest)];
        let scheme = known.into_iter().find(|(name, _)| scheme.eq_ignore_ascii_case(name));
        Reader { scheme: scheme.map(|(_, scheme)| scheme), ..Reader::default() }
    }

    fn take_parameter(&mut self, name: &str, value: String) {
        let is_true = |value: &str| value.trim().eq_ignore_ascii_case("true");
        match name.to_ascii_lowercase().as_str() {
            "realm" => self.digest.realm = value,
            "nonce" => self.digest.nonce = value,
            "opaque" => self.digest.opaque = Some(value),
            "stale" => self.digest.stale = is_true(&value),
            "userhash" => self.digest.userhash = is_true(&value),
            "algorithm" if value.trim().is_empty() => {}
            "algorithm" => {
                self.digest.algorithm = value.parse().ok();
                self.is_foreign = self.digest.algorithm.is_none();
            }
            "qop" => self.digest.qop = qop(&value),
            _ => {}
        }
    }

    fn finish(self) -> Option<Challenge> {
        match self.scheme? {
            Scheme::Basic => Some(Challenge::Basic { realm: self.digest.realm }),
            Scheme::Digest if self.is_foreign || self.digest.nonce.is_empty() => None,
            Scheme::Digest => Some(Challenge::Digest(self.digest)),
        }
    }
}

fn qop(value: &str) -> Vec<Qop> {
    let mut words = value.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty()).peekable();
    if words.peek().is_none() {
        return Vec::new();
    }
    let known = [Qop::Auth, Qop::AuthInt];
    let mut list = Vec::new();
    for qop in words.filter_map(|word| known.into_iter().find(|qop| word.eq_ignore_ascii_case(qop.as_str())))
    {
        if !list.contains(&qop) {
            list.push(qop);
        }
    }
    if list.is_empty() { vec![Qop::Auth] } else { list }
}

/// No server offers more than a handful; the rest of a longer list is not looked at.
const CHALLENGES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtsp::digest::Hash;

    fn list(values: &[&str]) -> Vec<Challenge> {
        let mut headers = Headers::new();
        values.iter().for_each(|value| headers.push("www-authenticate", *value));
        Challenge::parse_list(&headers)
    }

    fn digest(realm: &str, nonce: &str) -> DigestChallenge {
        DigestChallenge { realm: realm.into(), nonce: nonce.into(), ..DigestChallenge::default() }
    }

    /// RFC 7616 section 3.9.1, both challenges in one header.
    #[test]
    fn the_challenges_of_rfc_7616_are_read_from_one_header() {
        let common = "realm=\"http-auth@example.org\", qop=\"auth, auth-int\", nonce=\"7ypf/xlj9XX\", \
                      opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
        let got = list(&[&format!("Digest {common}, algorithm=SHA-256, Digest {common}, algorithm=MD5")]);
        let expected = |algorithm| {
            Challenge::Digest(DigestChallenge {
                opaque: Some("FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS".into()),
                qop: vec![Qop::Auth, Qop::AuthInt],
                algorithm: Some(algorithm),
                ..digest("http-auth@example.org", "7ypf/xlj9XX")
            })
        };
        assert_eq!(got, [expected(Algorithm::SHA_256), expected(Algorithm::MD5)]);
    }

    #[test]
    fn challenges_of_cameras_are_read() {
        // Hikvision, two headers.
        let got = list(&[
            "Digest realm=\"4419b63f5e51\", nonce=\"8b84a3b789283a8b\", stale=\"FALSE\"",
            "Basic realm=\"4419b63f5e51\"",
        ]);
        let basic = Challenge::Basic { realm: "4419b63f5e51".into() };
        assert_eq!(got, [Challenge::Digest(digest("4419b63f5e51", "8b84a3b789283a8b")), basic]);
        // Dahua; blanks in the realm, the algorithm quoted.
        let got = list(&["Digest realm=\"Login to 3K01C05PAY\",nonce=\"a1\", algorithm=\"MD5\""]);
        let algorithm = Some(Algorithm::MD5);
        assert_eq!(
            got,
            [Challenge::Digest(DigestChallenge { algorithm, ..digest("Login to 3K01C05PAY", "a1") })]
        );
        // A session's algorithm, no quotes, nothing behind a comma, a quality of protection with nothing in it.
        let got = list(&["digest realm=cam ,nonce = n1,qop=\"\", Algorithm=MD5-sess, stale=TRUE,"]);
        let algorithm = Some(Algorithm { hash: Hash::Md5, session: true });
        assert_eq!(
            got,
            [Challenge::Digest(DigestChallenge { algorithm, stale: true, ..digest("cam", "n1") })]
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let got = list(&[
            "Negotiate abc==, Basic realm=\"r\", Bearer realm=\"x\", scope=\"y\"",
            "Digest realm=\"a\", nonce=\"b\", algorithm=SHA-1, Digest realm=\"a\", Digest nonce=\"c\"",
            "",
            "realm=\"no scheme\"",
        ]);
        assert_eq!(got, [Challenge::Basic { realm: "r".into() }, Challenge::Digest(digest("", "c"))]);
        assert_eq!(list(&["Basic, ".repeat(50).as_str()]).len(), CHALLENGES_MAX);
    }

    #[test]
    fn what_is_written_is_read() {
        let full = Challenge::Digest(DigestChallenge {
            opaque: Some(String::new()),
            algorithm: Some(Algorithm::SHA_512_256),
            qop: vec![Qop::Auth],
            stale: true,
            userhash: true,
            ..digest("a \"b\", c\\", "n=1")
        });
        for challenge in [full, Challenge::Basic { realm: "r".into() }, Challenge::Digest(digest("", "n"))] {
            assert_eq!(list(&[&challenge.to_string()]), [challenge]);
        }
    }
}
