//! A lock for scripted cameras, and the key for our own server: what RFC 7616 makes of a password, worked out by the system's checksum programs.

use std::io::Write;
use std::process::{Command, Stdio};

use super::camera::Request;

/// A way to ask for a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    Basic,
    Md5,
    Sha256,
}

const REALM: &str = "a camera, \\\"north\\\"";
const NONCE: &str = "8f2e";

impl Lock {
    /// The header line that asks for it.
    pub(crate) fn challenge(self) -> String {
        let digest =
            |rest: &str| format!("WWW-Authenticate: Digest realm=\"{REALM}\", nonce=\"{NONCE}\"{rest}\r\n");
        match self {
            Lock::Basic => "WWW-Authenticate: Basic realm=\"camera\"\r\n".into(),
            // As RFC 2069 has it: what most devices speak.
            Lock::Md5 => digest(""),
            Lock::Sha256 => digest(", algorithm=SHA-256, qop=\"auth\""),
        }
    }

    /// Whether a request opens it.
    pub(crate) fn is_opened(self, request: &Request, user: &str, password: &str) -> bool {
        let Some(given) = request.header("Authorization") else { return false };
        let sum = |text: String| checksum(self, &text);
        // The realm is hashed as it is meant, without the backslashes of its quotes.
        let secret = || sum(format!("{user}:{}:{password}", REALM.replace('\\', "")));
        let asked = || sum(format!("{}:{}", request.method, parameter(given, "uri")));
        match self {
            Lock::Basic => {
                let expected = base64(&format!("{user}:{password}"));
                given == format!("Basic {expected}")
            }
            Lock::Md5 => {
                parameter(given, "response") == sum(format!("{}:{NONCE}:{}", secret(), asked()))
                    && parameter(given, "username") == user
            }
            Lock::Sha256 => {
                let (nc, cnonce) = (parameter(given, "nc"), parameter(given, "cnonce"));
                let nonces = format!("{NONCE}:{nc}:{cnonce}:auth");
                !cnonce.is_empty()
                    && parameter(given, "response") == sum(format!("{}:{nonces}:{}", secret(), asked()))
            }
        }
    }
}

/// A parameter of a header, without its quotes.
pub(crate) fn parameter<'a>(header: &'a str, name: &str) -> &'a str {
    let start = [format!(" {name}=\""), format!(" {name}=")];
    let found =
        start.iter().find_map(|start| Some((header.split_once(start.as_str())?.1, start.ends_with('"'))));
    let Some((rest, is_quoted)) = found else { return "" };
    rest.split(if is_quoted { '"' } else { ',' }).next().unwrap_or_default().trim()
}

/// The hash of a text, in hexadecimal.
pub(crate) fn checksum(lock: Lock, text: &str) -> String {
    let program = if lock == Lock::Sha256 { "sha256sum" } else { "md5sum" };
    let printed = filter(program, &[], text);
    printed.split_whitespace().next().unwrap_or_default().to_owned()
}

pub(crate) fn base64(text: &str) -> String {
    filter("base64", &["-w0"], text)
}

fn filter(program: &str, arguments: &[&str], text: &str) -> String {
    let mut command = Command::new(program);
    let mut child =
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("coreutils");
    child.stdin.take().expect("standard input is a pipe").write_all(text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}
