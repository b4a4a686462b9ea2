//! The opening handshake (RFC 6455 section 4.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::rtsp::message::{Headers, Request};
use crate::tunnel::http::{Answer, Code};

/// The version that is spoken.
const VERSION: &str = "13";

/// What turns a key into its answer (RFC 6455 section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The subprotocols that mean RTSP: ONVIF's, and what browsers' libraries offer.
const SUBPROTOCOLS: [&str; 2] = ["rtsp.onvif.org", "binary"];

/// A checked request to become a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    accept: String,
    subprotocol: Option<&'static str>,
}

impl Upgrade {
    /// Checks a request; an error is the status of its answer, with the reason.
    pub fn of(request: &Request) -> Result<Upgrade, (Code, &'static str)> {
        let headers = &request.headers;
        if headers.get("Sec-WebSocket-Version") != Some(VERSION) {
            return Err((Code::UpgradeRequired, "version 13 of WebSocket is understood"));
        }
        if request.version == (1, 0) || !has_token(headers, "Connection", "upgrade") {
            return Err((Code::BadRequest, "a WebSocket begins with HTTP/1.1 and Connection: Upgrade"));
        }
        let key = headers.get("Sec-WebSocket-Key").unwrap_or_default();
        if STANDARD.decode(key).map_or(0, |key| key.len()) != 16 {
            return Err((Code::BadRequest, "Sec-WebSocket-Key is base64 of 16 bytes"));
        }
        let accept = STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize());
        let offered = tokens(headers, "Sec-WebSocket-Protocol");
        let mut known = offered.filter_map(|offer| SUBPROTOCOLS.into_iter().find(|known| *known == offer));
        Ok(Upgrade { accept, subprotocol: known.next() })
    }

    /// The answer behind which frames are spoken. A subprotocol is named only if the client offered it; extensions are
    /// not, least of all compression: media does not get smaller.
    pub fn answer(&self) -> Answer {
        let mut answer = Answer::new(Code::SwitchingProtocols)
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Accept", self.accept.as_str());
        if let Some(subprotocol) = self.subprotocol {
            answer = answer.header("Sec-WebSocket-Protocol", subprotocol);
        }
        answer.header("Sec-WebSocket-Version", VERSION)
    }
}

/// Whether a GET wants to become a WebSocket.
pub(in crate::tunnel) fn is_asked_for(headers: &Headers) -> bool {
    has_token(headers, "Upgrade", "websocket")
}

/// What a client of another version is told (RFC 6455 section 4.4).
pub(in crate::tunnel) fn other_version() -> Answer {
    Answer::new(Code::UpgradeRequired).header("Sec-WebSocket-Version", VERSION).header("Upgrade", "websocket")
}

fn has_token(headers: &Headers, name: &str, token: &str) -> bool {
    tokens(headers, name).any(|other| other.eq_ignore_ascii_case(token))
}

fn tokens<'h>(headers: &'h Headers, name: &str) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtsp::message::Method;

    fn request(protocols: &[&str]) -> Request {
        let mut request = Request::new(Method::Other("GET".into()), "/websocket")
            .header("Host", "192.168.3.27")
            .header("upgrade", "WebSocket")
            .header("Connection", "keep-alive, Upgrade")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Version", "13");
        request.version = (1, 1);
        protocols.iter().fold(request, |request, offer| request.header("Sec-WebSocket-Protocol", *offer))
    }

    #[test]
    fn the_answer_is_the_one_of_the_rfc() {
        let answer = Upgrade::of(&request(&["chat, rtsp.onvif.org"])).unwrap().answer().to_bytes((1, 1));
        let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: rtsp.onvif.org\r\n\
            Sec-WebSocket-Version: 13\r\n\r\n";
        assert_eq!(answer, expected);
    }

    #[test]
    fn a_subprotocol_is_named_only_if_it_was_offered() {
        let chosen = |offers: &[&str]| Upgrade::of(&request(offers)).unwrap().subprotocol;
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&["chat"]), None);
        assert_eq!(chosen(&["chat", "binary,rtsp.onvif.org"]), Some("binary"));
    }

    #[test]
    fn what_is_missing_is_said() {
        let without = |name: &str, value: &str| {
            let mut request = request(&[]);
            request.headers.set(name.to_owned(), value);
            Upgrade::of(&request).unwrap_err().0
        };
        assert_eq!(without("Sec-WebSocket-Version", "8"), Code::UpgradeRequired);
        assert_eq!(without("Sec-WebSocket-Key", "c2hvcnQ="), Code::BadRequest);
        assert_eq!(without("Connection", "close"), Code::BadRequest);
    }
}
