//! SETUP: each track in turn, the way that was chosen.

use std::net::IpAddr;

use super::config::Transfer;
use super::describe::Progress;
use super::event::{Carrier, Event};
use super::machine::{Client, State};
use super::request::Step;
use crate::rtsp::headers::transport::{Delivery, Lower, Pair, Transport};
use crate::rtsp::message::{Method, Request, Response};
use crate::rtsp::status::Status;

impl Client {
    /// Sets up the next track that waits, or plays when none does.
    pub(super) fn setup_next(&mut self) {
        let tracks = &self.presentation.tracks;
        let Some(index) = tracks.iter().position(|track| track.progress == Progress::Waiting) else {
            return self.play();
        };
        match self.transfer {
            Transfer::Tcp => {
                let interleaved = Some(asked_channels(index));
                let transport = Transport { lower: Lower::Tcp, interleaved, ..unicast() };
                self.setup(index, &transport);
            }
            Transfer::Udp => {
                let media = self.presentation.tracks[index].media;
                self.state = State::AwaitingPorts(index);
                self.emit(Event::PortsWanted { media });
            }
            Transfer::Multicast => {
                let delivery = Some(Delivery::Multicast);
                self.setup(index, &Transport { delivery, ..Transport::default() });
            }
        }
    }

    pub(super) fn setup_with_ports(&mut self, index: usize, ports: Pair<u16>) {
        self.setup(index, &Transport { client_port: Some(ports), ..unicast() });
    }

    fn setup(&mut self, index: usize, transport: &Transport) {
        let url = self.presentation.tracks[index].url.clone();
        let request = Request::new(Method::Setup, url).header("Transport", transport.to_string());
        self.ask(Step::Setup(index), self.with_tag(request));
    }

    pub(super) fn handle_setup(&mut self, index: usize, response: &Response) {
        let is_first = !self.presentation.is_ready();
        if !response.status.is_success() {
            if response.status == Status::UNSUPPORTED_TRANSPORT && is_first {
                return self.refuse_transfer();
            }
            return self.refuse_track(index, response.status);
        }
        let grant = Transport::parse_list(&response.headers).into_iter().next();
        let Some(carrier) = self.carrier(index, grant.as_ref()) else {
            // Not what was asked for: nothing would arrive.
            return if is_first {
                self.refuse_transfer()
            } else {
                self.refuse_track(index, Status::UNSUPPORTED_TRANSPORT)
            };
        };
        let track = &mut self.presentation.tracks[index];
        track.progress = Progress::Ready(carrier);
        let (media, url) = (track.media, track.url.clone());
        self.emit(Event::TrackReady { media, url, carrier, ssrc: grant.and_then(|grant| grant.ssrc) });
        self.setup_next();
    }

    fn refuse_transfer(&mut self) {
        // A session that a wrong grant has opened is of no use.
        self.leave();
        (self.pending, self.session) = (None, None);
        self.state = State::AwaitingTransfer;
        self.emit(Event::TransferRefused { tried: self.transfer });
    }

    /// One track less; a failure when it was the last.
    fn refuse_track(&mut self, index: usize, status: Status) {
        let tracks = &mut self.presentation.tracks;
        tracks[index].progress = Progress::Refused;
        if tracks.iter().all(|track| track.progress == Progress::Refused) {
            return self.refused(Method::Setup, status);
        }
        let media = tracks[index].media;
        self.emit(Event::TrackRefused { media, status });
        self.setup_next();
    }

    /// What a grant comes to; None when it is another way than the one asked for.
    fn carrier(&self, index: usize, grant: Option<&Transport>) -> Option<Carrier> {
        let delivery = grant.map(Transport::effective_delivery);
        let source = grant.and_then(|grant| grant.source.as_ref()?.parse().ok());
        match self.transfer {
            Transfer::Tcp if grant.is_none_or(|grant| grant.lower == Lower::Tcp) => {
                Some(Carrier::Interleaved(self.channels(index, grant)))
            }
            Transfer::Udp if grant.is_none_or(|grant| grant.lower == Lower::Udp) => {
                let server_port = grant.and_then(|grant| grant.server_port);
                (delivery != Some(Delivery::Multicast)).then_some(Carrier::Unicast { server_port, source })
            }
            Transfer::Multicast if grant.is_none_or(|grant| grant.lower == Lower::Udp) => {
                self.group(index, grant, source)
            }
            _ => None,
        }
    }

    /// The channels granted; those asked for when the server names none, or another track's.
    fn channels(&self, index: usize, grant: Option<&Transport>) -> Pair<u8> {
        let granted = grant.and_then(|grant| grant.interleaved);
        let is_free = |channel| self.presentation.channel(channel).is_none();
        let free = granted.filter(|pair| is_free(pair.rtp) && pair.rtcp.is_none_or(is_free));
        free.unwrap_or(asked_channels(index))
    }

    /// The group of the grant, or of the description where the grant leaves it open.
    fn group(&self, index: usize, grant: Option<&Transport>, source: Option<IpAddr>) -> Option<Carrier> {
        let described = self.presentation.tracks[index].group;
        let granted = grant.and_then(|grant| grant.destination.as_ref()?.parse::<IpAddr>().ok());
        let address = granted.or(described.map(|(address, _)| address)).filter(IpAddr::is_multicast)?;
        let port = grant.and_then(|grant| grant.port).or_else(|| {
            let (_, port) = described.filter(|&(_, port)| port > 0 && port < u16::MAX)?;
            Some(Pair::new(port, port + 1))
        });
        Some(Carrier::Group { address, port: port.filter(|port| port.rtp > 0)?, source })
    }
}

fn unicast() -> Transport {
    Transport { delivery: Some(Delivery::Unicast), ..Transport::default() }
}

/// The channels of a track of that index; a description has at most 64.
fn asked_channels(index: usize) -> Pair<u8> {
    let rtp = 2 * index as u8;
    Pair::new(rtp, rtp + 1)
}
