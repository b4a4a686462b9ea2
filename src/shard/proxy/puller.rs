//! What fetches a stream: over RTSP, or its pictures over HTTP.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use proto::client::mjpeg::{MjpegClient, MjpegConfig, MjpegEvent};
use proto::client::{Client, Config, Event, Kinds, Transfer};
use proto::frame::Frame;
use proto::rtp::batch::Numbering;
use proto::rtp::packetize::{PacketizeError, Packetizer};
use proto::rtsp::headers::transport::Pair;
use proto::time::{MediaTime, Time};
use proto::track::{Codec, Track};

use super::ProxySpec;
use crate::media::library::Ticket;
use crate::stream::relay::Relay;

const USER_AGENT: &str = concat!("Ringcaster/", env!("CARGO_PKG_VERSION"));

/// How long a source may take to answer when it is asked for a backchannel: some hang then, and a viewer waits.
const TALKBACK_TIMEOUT: Duration = Duration::from_secs(4);

/// One of the two clients.
#[derive(Debug)]
pub(super) enum Puller {
    Rtsp(Box<Client>),
    Mjpeg(Box<MjpegClient>),
}

/// What a client says.
#[derive(Debug)]
pub(super) enum Said {
    /// What both may say, or RTSP alone.
    Event(Event),
    /// The HTTP server has pictures.
    HasPictures,
    /// A JPEG file.
    Picture(Bytes),
}

impl Puller {
    pub fn new(now: Time, spec: &ProxySpec, transfer: Transfer, seed: u64) -> Puller {
        let user_agent = USER_AGENT.to_owned();
        if spec.url.scheme.is_http() {
            let mut config = MjpegConfig::new(spec.url.clone(), seed);
            config.credentials.clone_from(&spec.credentials);
            config.user_agent = user_agent;
            return Puller::Mjpeg(Box::new(MjpegClient::new(now, config)));
        }
        let mut config = Config::new(spec.url.clone(), seed);
        config.credentials.clone_from(&spec.credentials);
        config.transfer = transfer;
        config.user_agent = user_agent;
        Puller::Rtsp(Box::new(Client::new(now, config)))
    }

    /// One that asks only for the track that takes sound, and stops behind the description.
    pub fn talkback(now: Time, spec: &ProxySpec, seed: u64) -> Puller {
        let mut config = Config::new(spec.url.clone(), seed);
        config.credentials.clone_from(&spec.credentials);
        config.user_agent = USER_AGENT.to_owned();
        config.kinds = Kinds::NONE;
        (config.backchannel, config.holds) = (true, true);
        config.response_timeout = TALKBACK_TIMEOUT;
        Puller::Rtsp(Box::new(Client::new(now, config)))
    }

    /// Goes on behind the description.
    pub fn set_up(&mut self, now: Time) {
        if let Puller::Rtsp(client) = self {
            client.set_up(now);
        }
    }

    pub fn handle_connected(&mut self, now: Time) {
        match self {
            Puller::Rtsp(client) => client.handle_connected(now),
            Puller::Mjpeg(client) => client.handle_connected(now),
        }
    }

    pub fn handle_bytes(&mut self, now: Time, bytes: &[u8]) {
        match self {
            Puller::Rtsp(client) => client.handle_bytes(now, bytes),
            Puller::Mjpeg(client) => client.handle_bytes(now, bytes),
        }
    }

    pub fn handle_closed(&mut self, now: Time) {
        match self {
            Puller::Rtsp(client) => client.handle_closed(now),
            Puller::Mjpeg(client) => client.handle_closed(now),
        }
    }

    pub fn handle_timeout(&mut self, now: Time) {
        match self {
            Puller::Rtsp(client) => client.handle_timeout(now),
            Puller::Mjpeg(client) => client.handle_timeout(now),
        }
    }

    pub fn handle_media(&mut self, now: Time) {
        if let Puller::Rtsp(client) = self {
            client.handle_media(now);
        }
    }

    pub fn handle_ports(&mut self, now: Time, media: usize, ports: Pair<u16>) {
        if let Puller::Rtsp(client) = self {
            client.handle_ports(now, media, ports);
        }
    }

    pub fn set_transfer(&mut self, now: Time, transfer: Transfer) {
        if let Puller::Rtsp(client) = self {
            client.set_transfer(now, transfer);
        }
    }

    /// Ends the session, of which the server is to know; false when there is none and the connection can be closed.
    pub fn teardown(&mut self, now: Time) -> bool {
        match self {
            Puller::Rtsp(client) => {
                client.teardown(now);
                true
            }
            Puller::Mjpeg(_) => false,
        }
    }

    pub fn poll_event(&mut self) -> Option<Said> {
        match self {
            Puller::Rtsp(client) => client.poll_event().map(Said::Event),
            Puller::Mjpeg(client) => client.poll_event().map(|event| match event {
                MjpegEvent::Connect(endpoint) => Said::Event(Event::Connect(endpoint)),
                MjpegEvent::Playing => Said::HasPictures,
                MjpegEvent::Picture(picture) => Said::Picture(picture),
                MjpegEvent::Failed(failure) => Said::Event(Event::Failed(failure)),
            }),
        }
    }

    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        match self {
            Puller::Rtsp(client) => client.poll_transmit(),
            Puller::Mjpeg(client) => client.poll_transmit(),
        }
    }

    pub fn poll_timeout(&self) -> Option<Time> {
        match self {
            Puller::Rtsp(client) => client.poll_timeout(),
            Puller::Mjpeg(client) => client.poll_timeout(),
        }
    }
}

/// Makes RTP packets of pictures that come as files (RFC 2435).
pub(super) struct Pictures {
    packetizer: Packetizer,
    began: Time,
    /// Time of the latest picture, in ticks of the RTP clock.
    latest: Option<i64>,
    /// The picture that is made anew, because RTP does not carry it.
    pub away: Option<Away>,
    /// Whether it was said that there are such.
    pub has_said: bool,
    /// Pictures that came while the one before them was made anew, and gave way to another.
    pub skipped: u64,
}

/// A picture that is made anew elsewhere.
pub(super) struct Away {
    /// The answer that is awaited.
    pub ticket: Ticket,
    /// When it came.
    pub came: Time,
    /// The latest that came meanwhile, and when: it must not overtake.
    pub next: Option<(Time, Bytes)>,
}

/// How far pictures are apart that come together, in ticks of the RTP clock: players take one time for one picture.
const TOGETHER: i64 = 900;

/// How far ahead of their arrival that may bring them: half a second of the RTP clock. Sources of more than 100 pictures
/// a second would leave the present for good; those are one tick apart.
const AHEAD_MAX: i64 = 45_000;

impl fmt::Debug for Pictures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pictures since {:?}", self.began)
    }
}

impl Pictures {
    /// The only track that there is.
    pub fn track() -> Track {
        Track::new(Codec::Jpeg, 0)
    }

    /// From now on; packets of up to `mtu_bytes`. `ssrc` tells them from those of an earlier connection.
    pub fn new(now: Time, ssrc: u32, mtu_bytes: usize) -> Pictures {
        let track = Pictures::track();
        let payload_type = track.payload_type;
        let numbering = Numbering { ssrc, payload_type, sequence: 0, timestamp: 0 };
        Pictures {
            packetizer: Packetizer::new(&track, 0, numbering, mtu_bytes),
            began: now,
            latest: None,
            away: None,
            has_said: false,
            skipped: 0,
        }
    }

    /// Passes on one picture, which is of the time when it came: HTTP says nothing of time. An error when RTP cannot carry
    /// it.
    pub fn pass(
        &mut self,
        now: Time,
        came: Time,
        picture: Bytes,
        relay: &mut Relay,
    ) -> Result<(), PacketizeError> {
        let before = self.latest;
        let pts = self.time(came);
        let frame = Frame { track: 0, pts, dts: pts, duration: 0, keyframe: true, payload: picture };
        let batch = self.packetizer.packetize(&frame).inspect_err(|_| self.latest = before)?;
        let Some(batch) = batch else { return Ok(()) };
        for packet in batch.packets() {
            // They are in their order and of one source.
            let _ = relay.handle_packet(now, 0, batch.packet(packet));
        }
        Ok(())
    }

    /// The time of a picture that has come, in ticks of the RTP clock.
    fn time(&mut self, now: Time) -> i64 {
        let clock_rate = Pictures::track().clock_rate;
        let arrival = MediaTime(now.since(self.began).as_nanos() as i64).to_ticks(clock_rate);
        let pts = self.latest.map_or(arrival, |latest| {
            let apart = (latest + TOGETHER).min(arrival + AHEAD_MAX);
            apart.max(arrival).max(latest + 1)
        });
        self.latest = Some(pts);
        pts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_that_come_together_have_times_of_their_own() {
        let mut pictures = Pictures::new(Time::ZERO, 1, 1_400);
        let times = [0, 0, 0, 100, 100].map(|ms| pictures.time(Time::from_millis(ms)));
        assert_eq!(times, [0, 900, 1_800, 9_000, 9_900]);
    }

    #[test]
    fn more_pictures_than_steps_stay_near_the_present_and_in_their_order() {
        let mut pictures = Pictures::new(Time::ZERO, 1, 1_400);
        let mut before = -1;
        // A minute of 500 pictures a second, in twos.
        for index in 0..30_000 {
            let ms = index / 2 * 4;
            let time = pictures.time(Time::from_millis(ms));
            assert!(time > before, "picture {index}");
            // Two that come together are a tick apart.
            assert!(
                time <= 90 * (ms as i64 + 500) + 1,
                "picture {index} is at {time} when {ms} ms have passed"
            );
            before = time;
        }
        // When there are fewer again, they are of the present.
        assert_eq!(pictures.time(Time::from_millis(70_000)), 90 * 70_000);
    }
}
