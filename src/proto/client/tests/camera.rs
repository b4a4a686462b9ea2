//! A server of one presentation, as strict as the best and as odd as the worst of them.

use bytes::BytesMut;

use super::reply;
use crate::rtsp::digest::{Asked, Nonces};
use crate::rtsp::headers::authorization::Authorization;
use crate::rtsp::headers::transport::{Lower, Pair, Transport};
use crate::rtsp::headers::www_authenticate::{Challenge, DigestChallenge};
use crate::rtsp::message::{Method, Request, Response};
use crate::rtsp::status::Status;

/// Two tracks, live.
pub(super) const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\ns=x\r\nt=0 0\r\na=control:*\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n\
    m=audio 0 RTP/AVP 8\r\na=control:trackID=2\r\n";

pub(super) struct Camera {
    pub(super) sdp: String,
    /// What is sent instead of the usual answer.
    pub(super) special: fn(&Request) -> Option<Response>,
    /// Further headers of the DESCRIBE response.
    pub(super) base: Option<&'static str>,
    pub(super) public: Option<&'static str>,
    /// The value of `Session`.
    pub(super) session: &'static str,
    /// The challenges, and the password of `admin`.
    pub(super) challenges: Vec<Challenge>,
    pub(super) password: &'static str,
    /// Which way is offered.
    pub(super) lower: Option<Lower>,
    /// What PLAY is answered with besides.
    pub(super) play: Vec<(&'static str, &'static str)>,
}

impl Camera {
    pub(super) fn new() -> Camera {
        Camera {
            sdp: SDP.to_owned(),
            special: |_| None,
            base: None,
            public: Some("OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"),
            session: "1234;timeout=60",
            challenges: Vec::new(),
            password: "",
            lower: None,
            play: Vec::new(),
        }
    }

    pub(super) fn answer(&mut self, request: &Request) -> Vec<u8> {
        let mut out = BytesMut::new();
        self.respond(request).write(&mut out);
        out.to_vec()
    }

    fn respond(&mut self, request: &Request) -> Response {
        assert!(request.headers.get("CSeq").is_some(), "{request:?}");
        assert!(!request.uri.contains('@') && !request.uri.contains(' '), "{request:?}");
        if let Some(mut special) = (self.special)(request) {
            special.headers.set("CSeq", request.headers.get("CSeq").unwrap());
            return special;
        }
        if !self.challenges.is_empty() && !self.is_authorized(request) {
            let challenges = self.challenges.iter().map(Challenge::to_string);
            return challenges.fold(reply(request, Status::UNAUTHORIZED), |response, challenge| {
                response.header("WWW-Authenticate", challenge)
            });
        }
        let ok = reply(request, Status::OK);
        match &request.method {
            Method::Options => self.public.map_or(ok.clone(), |public| ok.header("Public", public)),
            Method::Describe => {
                assert_eq!(request.headers.get("Accept"), Some("application/sdp"));
                let ok = self.base.map_or(ok.clone(), |base| ok.header("Content-Base", base));
                ok.body("application/sdp", self.sdp.clone())
            }
            Method::Setup => self.setup(request, ok),
            method => {
                let session = self.session.split(';').next();
                assert_eq!(request.headers.get("Session"), session, "{request:?}");
                let headers = if *method == Method::Play { &self.play[..] } else { &[] };
                let ok = ok.header("Session", session.unwrap());
                headers.iter().fold(ok, |ok, (name, value)| ok.header(*name, *value))
            }
        }
    }

    fn setup(&self, request: &Request, ok: Response) -> Response {
        let offer = &Transport::parse_list(&request.headers)[0];
        if self.lower.is_some_and(|lower| lower != offer.lower) {
            return reply(request, Status::UNSUPPORTED_TRANSPORT);
        }
        let mut grant = offer.clone();
        if offer.client_port.is_some() {
            grant.server_port = Some(Pair::new(20_000, 20_001));
        }
        ok.header("Session", self.session).header("Transport", grant.to_string())
    }

    /// Checks as a server does.
    fn is_authorized(&self, request: &Request) -> bool {
        let Some(value) = request.headers.get("Authorization") else { return false };
        match Authorization::parse(value).expect("credentials that can be read") {
            Authorization::Basic { user, password } => {
                let offered = self.challenges.iter().any(|one| matches!(one, Challenge::Basic { .. }));
                offered && user == "admin" && password == self.password
            }
            Authorization::Digest(given) => self.challenges.iter().any(|challenge| {
                let Challenge::Digest(DigestChallenge { realm, nonce, algorithm, opaque, .. }) = challenge
                else {
                    return false;
                };
                assert_eq!(given.uri, request.uri);
                let is_same = (realm, nonce, algorithm, opaque)
                    == (&given.realm, &given.nonce, &given.algorithm, &given.opaque);
                let algorithm = algorithm.unwrap_or_default();
                let cnonce = given.cnonce.as_deref().unwrap_or_default();
                let nonces = Nonces { nonce: &given.nonce, cnonce, qop: given.qop };
                let asked = Asked { method: &request.method, uri: &given.uri, body: &request.body };
                let secret = algorithm.secret("admin", realm, self.password);
                is_same && given.response == algorithm.response(&secret, nonces, asked)
            }),
        }
    }
}
