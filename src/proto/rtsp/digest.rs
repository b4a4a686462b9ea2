//! The arithmetic of Digest authentication, the same for who asks and who checks (RFC 7616, RFC 2617, RFC 2069).
//!
//! ```text
//! A1       = user:realm:password               -sess: H(A1):nonce:cnonce
//! A2       = method:uri                        auth-int: method:uri:H(body)
//! response = H( H(A1):nonce:nc:cnonce:qop:H(A2) )
//!            H( H(A1):nonce:H(A2) )            without qop (RFC 2069)
//! ```

use std::fmt::{self, Write};
use std::str::FromStr;

use md5::Md5;
use sha2::{Digest as _, Sha256, Sha512_256};

use super::message::Method;

/// A hash function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Hash {
    /// RFC 1321; the default, and all that RFC 2617 and RFC 2069 know.
    #[default]
    Md5,
    /// FIPS 180-4.
    Sha256,
    /// FIPS 180-4: SHA-512 with an initial value of its own, cut to 256 bits.
    Sha512_256,
}

/// How a response is reckoned: the value of the parameter `algorithm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Algorithm {
    /// The hash function.
    pub hash: Hash,
    /// Whether A1 is bound to the first nonce: `-sess`.
    pub session: bool,
}

/// Quality of protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Qop {
    /// `auth`: method and URL.
    Auth,
    /// `auth-int`: the body as well.
    AuthInt,
}

/// What makes a response good for once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonces<'a> {
    /// The server's.
    pub nonce: &'a str,
    /// The client's; empty where neither a quality of protection nor `-sess` needs it.
    pub cnonce: &'a str,
    /// Which quality of protection, and how many requests were made with the nonce, this one included; None as in
    /// RFC 2069.
    pub qop: Option<(Qop, u32)>,
}

/// What is asked for, as it enters the hash.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a Method,
    /// The URL as it stands in the parameter `uri`.
    pub uri: &'a str,
    /// The body.
    pub body: &'a [u8],
}

impl Hash {
    /// The hash of text parts with colons between them, in lower-case hexadecimal.
    pub fn of(self, parts: &[&str]) -> String {
        self.of_bytes(parts.join(":").as_bytes())
    }

    fn of_bytes(self, bytes: &[u8]) -> String {
        match self {
            Hash::Md5 => hex(&Md5::digest(bytes)),
            Hash::Sha256 => hex(&Sha256::digest(bytes)),
            Hash::Sha512_256 => hex(&Sha512_256::digest(bytes)),
        }
    }
}

impl Algorithm {
    /// MD5, which a challenge means that names none.
    pub const MD5: Algorithm = Algorithm { hash: Hash::Md5, session: false };

    /// SHA-256.
    pub const SHA_256: Algorithm = Algorithm { hash: Hash::Sha256, session: false };

    /// SHA-512/256.
    pub const SHA_512_256: Algorithm = Algorithm { hash: Hash::Sha512_256, session: false };

    /// H(A1) without a nonce, which is all that a server need keep of a password.
    pub fn secret(self, user: &str, realm: &str, password: &str) -> String {
        self.hash.of(&[user, realm, password])
    }

    /// The value of the parameter `response`, given [`Algorithm::secret`].
    pub fn response(self, secret: &str, nonces: Nonces<'_>, asked: Asked<'_>) -> String {
        let Nonces { nonce, cnonce, qop } = nonces;
        let bound = self.session.then(|| self.hash.of(&[secret, nonce, cnonce]));
        let secret = bound.as_deref().unwrap_or(secret);
        let method = asked.method.as_str();
        let asked = match qop {
            Some((Qop::AuthInt, _)) => self.hash.of(&[method, asked.uri, &self.hash.of_bytes(asked.body)]),
            _ => self.hash.of(&[method, asked.uri]),
        };
        match qop {
            None => self.hash.of(&[secret, nonce, &asked]),
            Some((qop, count)) => {
                self.hash.of(&[secret, nonce, &format!("{count:08x}"), cnonce, qop.as_str(), &asked])
            }
        }
    }
}

impl Qop {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Qop::Auth => "auth",
            Qop::AuthInt => "auth-int",
        }
    }
}

/// In any case, with and without the dash that some leave out. An error means an algorithm that is not known.
impl FromStr for Algorithm {
    type Err = ();

    fn from_str(text: &str) -> Result<Algorithm, ()> {
        let name = text.trim().to_ascii_uppercase();
        let (name, session) = name.strip_suffix("-SESS").map_or((name.as_str(), false), |name| (name, true));
        let hash = match name {
            "MD5" => Hash::Md5,
            "SHA-256" | "SHA256" => Hash::Sha256,
            "SHA-512-256" | "SHA512-256" => Hash::Sha512_256,
            _ => return Err(()),
        };
        Ok(Algorithm { hash, session })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.hash {
            Hash::Md5 => "MD5",
            Hash::Sha256 => "SHA-256",
            Hash::Sha512_256 => "SHA-512-256",
        })?;
        f.write_str(if self.session { "-sess" } else { "" })
    }
}

/// In lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(uri: &str) -> (Method, &str) {
        (Method::Other("GET".into()), uri)
    }

    /// The example of RFC 7616 section 3.9.1.
    #[test]
    fn the_example_of_rfc_7616_gives_its_responses() {
        let (method, uri) = get("/dir/index.html");
        let asked = Asked { method: &method, uri, body: b"" };
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let nonces = Nonces { nonce, cnonce, qop: Some((Qop::Auth, 1)) };
        for (algorithm, expected) in [
            (Algorithm::MD5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::SHA_256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let secret = algorithm.secret("Mufasa", "http-auth@example.org", "Circle of Life");
            assert_eq!(algorithm.response(&secret, nonces, asked), expected, "{algorithm}");
        }
    }

    /// The example of RFC 2617 section 3.5, and the same as RFC 2069 reckons it.
    #[test]
    fn the_example_of_rfc_2617_gives_its_response() {
        let (method, uri) = get("/dir/index.html");
        let asked = Asked { method: &method, uri, body: b"" };
        let nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093";
        let secret = Algorithm::MD5.secret("Mufasa", "testrealm@host.com", "Circle Of Life");
        assert_eq!(secret, "939e7578ed9e3c518a452acee763bce9");
        let nonces = Nonces { nonce, cnonce: "0a4f113b", qop: Some((Qop::Auth, 1)) };
        assert_eq!(Algorithm::MD5.response(&secret, nonces, asked), "6629fae49393a05397450978507c4ef1");
        assert_eq!(
            Algorithm::MD5.response(&secret, Nonces { nonce, cnonce: "", qop: None }, asked),
            "670fd8c2df070c60b045671b8b24ff02"
        );
    }

    /// The example of RFC 2069 section 2.4 with the response of its erratum 749.
    #[test]
    fn the_example_of_rfc_2069_gives_its_response() {
        let (method, uri) = get("/dir/index.html");
        let asked = Asked { method: &method, uri, body: b"" };
        let secret = Algorithm::MD5.secret("Mufasa", "testrealm@host.com", "CircleOfLife");
        let nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093";
        assert_eq!(
            Algorithm::MD5.response(&secret, Nonces { nonce, cnonce: "", qop: None }, asked),
            "1949323746fe6a43ef61f9606e7febea"
        );
    }

    /// RFC 7616 section 3.9.2 with the values of its erratum 4897: the printed ones are of a draft of the function.
    #[test]
    fn the_example_of_rfc_7616_with_sha_512_256_gives_its_response() {
        let (method, uri) = get("/doe.json");
        let asked = Asked { method: &method, uri, body: b"" };
        let cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v";
        let nonce = "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK";
        let nonces = Nonces { nonce, cnonce, qop: Some((Qop::Auth, 1)) };
        let (user, realm) = ("J\u{e4}s\u{f8}n Doe", "api@example.org");
        let secret = Algorithm::SHA_512_256.secret(user, realm, "Secret, or not?");
        assert_eq!(
            Algorithm::SHA_512_256.response(&secret, nonces, asked),
            "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
        );
        assert_eq!(
            Hash::Sha512_256.of(&[user, realm]),
            "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
        );
    }

    #[test]
    fn names_are_read_in_every_spelling() {
        for (text, algorithm) in [
            ("md5", Algorithm::MD5),
            ("SHA256", Algorithm::SHA_256),
            (" SHA-512-256 ", Algorithm::SHA_512_256),
            ("MD5-sess", Algorithm { hash: Hash::Md5, session: true }),
        ] {
            assert_eq!(text.parse(), Ok(algorithm));
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        for text in ["", "SHA-1", "token", "MD5-", "-sess"] {
            assert_eq!(text.parse::<Algorithm>(), Err(()), "{text}");
        }
    }
}
