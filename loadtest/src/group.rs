//! Groups of multicast: which a server grants, and who of us listens to them.
//!
//! What is sent to a group comes once to a machine. So one pair of sockets for each group is opened, by the viewer that
//! was granted it first, and counts for all of them; the others have a session and nothing else.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use proto::rtsp::headers::transport::{Delivery, Transport};
use proto::rtsp::message::Response;
use proto::sdp;

use crate::connection::DialogueError;

/// Where a track is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The group with its port of RTP; RTCP has the next.
    pub address: SocketAddr,
    /// The only sender that is to be heard; None where any may be.
    pub source: Option<IpAddr>,
}

/// The groups that somebody of this run listens to.
#[derive(Clone, Debug, Default)]
pub struct Groups(Arc<Mutex<HashSet<SocketAddr>>>);

impl Group {
    /// What is asked for in SETUP.
    pub const OFFER: &str = "RTP/AVP;multicast";

    /// What an answer to SETUP grants.
    pub fn granted(response: &Response) -> Result<Group, DialogueError> {
        let missing = || DialogueError::Incomplete("SETUP: the answer names no group with a port");
        let grant = response.headers.get("Transport").and_then(Transport::parse).ok_or_else(missing)?;
        let address: Option<IpAddr> = grant.destination.as_ref().and_then(|text| text.parse().ok());
        match (grant.delivery, address, grant.port) {
            (Some(Delivery::Multicast), Some(ip), Some(port)) if ip.is_multicast() => {
                let source = grant.source.as_ref().and_then(|text| text.parse().ok());
                let source =
                    source.filter(|_| sdp::Group { address: ip, port: port.rtp }.is_source_specific());
                Ok(Group { address: SocketAddr::new(ip, port.rtp), source })
            }
            _ => Err(missing()),
        }
    }
}

impl Groups {
    /// Whether nobody listens to a group yet; who asks does from then on.
    pub fn claim(&self, group: &Group) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(group.address)
    }
}

#[cfg(test)]
mod tests {
    use proto::rtsp::status::Status;

    use super::*;

    fn granted(transport: &str) -> Result<Group, DialogueError> {
        Group::granted(&Response::new(Status::OK).header("Transport", transport))
    }

    #[test]
    fn a_group_is_what_the_answer_grants_and_is_listened_to_once() {
        let any =
            granted("RTP/AVP;multicast;destination=239.1.2.3;port=5000-5001;ttl=4;source=10.0.0.1").unwrap();
        assert_eq!(any, Group { address: "239.1.2.3:5000".parse().unwrap(), source: None });
        let one = granted("RTP/AVP;multicast;destination=232.1.2.3;port=5000-5001;source=10.0.0.1").unwrap();
        assert_eq!(one.source, Some([10, 0, 0, 1].into()));
        for wrong in [
            "RTP/AVP;unicast;client_port=5000-5001",
            "RTP/AVP;multicast;destination=10.0.0.1;port=5000-5001",
            "RTP/AVP;multicast;destination=239.1.2.3",
        ] {
            assert!(granted(wrong).is_err(), "{wrong}");
        }
        let groups = Groups::default();
        assert_eq!([&any, &one, &any].map(|group| groups.clone().claim(group)), [true, true, false]);
    }
}
