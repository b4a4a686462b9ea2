//! What the bare server answers.

use std::net::SocketAddr;

use proto::rtsp::headers::transport::{Lower, Transport};
use proto::rtsp::message::{Method, Request, Response};
use proto::rtsp::status::Status;

/// Where a viewer's packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To an address.
    Datagrams(SocketAddr),
    /// Along its connection.
    Connection,
}

/// One connection's session.
#[derive(Debug)]
pub(super) struct Dialogue {
    peer: SocketAddr,
    number: u64,
    way: Option<Way>,
}

/// What a request comes to beside its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Stays,
    /// The viewer is to be served.
    Plays(Way),
    /// It no longer is.
    Ends,
}

impl Dialogue {
    pub(super) fn new(peer: SocketAddr, number: u64) -> Dialogue {
        Dialogue { peer, number, way: None }
    }

    /// Answers a request; `port` is that from which datagrams come.
    pub(super) fn answer(&mut self, request: &Request, description: &str, port: u16) -> (Response, Step) {
        let ok = Response::new(Status::OK);
        let session = || ok.clone().header("Session", format!("{:08x}", self.number));
        let (response, step) = match request.method {
            Method::Options => (ok.header("Public", "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"), Step::Stays),
            Method::Describe => {
                let base = format!("{}/", request.uri.trim_end_matches('/'));
                let body = description.to_owned();
                (ok.header("Content-Base", base).body("application/sdp", body), Step::Stays)
            }
            Method::Setup => {
                let offer = Transport::parse_list(&request.headers).into_iter().next();
                let ports = offer.as_ref().and_then(|offer| offer.client_port);
                match (offer.map(|offer| offer.lower), ports) {
                    (Some(Lower::Tcp), _) => {
                        self.way = Some(Way::Connection);
                        (session().header("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1"), Step::Stays)
                    }
                    (Some(Lower::Udp), Some(ports)) => {
                        self.way = Some(Way::Datagrams(SocketAddr::new(self.peer.ip(), ports.rtp)));
                        let (first, next) = (ports.rtp, ports.rtp.wrapping_add(1));
                        let ours = format!("server_port={port}-{}", port.wrapping_add(1));
                        let granted = format!("RTP/AVP;unicast;client_port={first}-{next};{ours}");
                        (session().header("Transport", granted), Step::Stays)
                    }
                    _ => (Response::new(Status::UNSUPPORTED_TRANSPORT), Step::Stays),
                }
            }
            Method::Play => match self.way {
                Some(way) => (session().header("Range", "npt=now-"), Step::Plays(way)),
                None => (Response::new(Status::METHOD_NOT_VALID_IN_THIS_STATE), Step::Stays),
            },
            Method::Teardown => (ok, Step::Ends),
            Method::GetParameter => (ok, Step::Stays),
            _ => (Response::new(Status::NOT_IMPLEMENTED), Step::Stays),
        };
        let sequence = request.headers.get("CSeq").unwrap_or("0").to_owned();
        (response.header("CSeq", sequence), step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(dialogue: &mut Dialogue, method: Method, transport: &str) -> (u16, Step) {
        let request =
            Request::new(method, "rtsp://host/x").header("CSeq", "3").header("Transport", transport);
        let (response, step) = dialogue.answer(&request, "v=0", 9_000);
        assert_eq!(response.headers.get("CSeq"), Some("3"));
        (response.status.0, step)
    }

    #[test]
    fn a_viewer_is_served_where_it_has_set_up() {
        let peer: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let mut dialogue = Dialogue::new(peer, 7);
        assert_eq!(ask(&mut dialogue, Method::Play, "").0, 455);
        assert_eq!(
            ask(&mut dialogue, Method::Setup, "RTP/AVP;unicast;client_port=6000-6001"),
            (200, Step::Stays)
        );
        let way = Way::Datagrams("192.0.2.1:6000".parse().unwrap());
        assert_eq!(ask(&mut dialogue, Method::Play, ""), (200, Step::Plays(way)));
        assert_eq!(ask(&mut dialogue, Method::Setup, "RTP/AVP/TCP;interleaved=0-1").0, 200);
        assert_eq!(ask(&mut dialogue, Method::Play, "").1, Step::Plays(Way::Connection));
        assert_eq!(ask(&mut dialogue, Method::Setup, "RTP/AVP;multicast").0, 461);
        assert_eq!(ask(&mut dialogue, Method::Teardown, ""), (200, Step::Ends));
        assert_eq!(ask(&mut dialogue, Method::Record, "").0, 501);
    }
}
