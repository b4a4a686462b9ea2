//! A live stream that is encoded here: frames become batches once and go to every subscribed shard.

use std::sync::Arc;

use proto::frame::Frame;
use proto::rtp::batch::Numbering;
use proto::rtp::packetize::Packetizer;
use proto::time::{MediaTime, NtpTime, Time};
use proto::track::Track;
use rand::{Rng, RngExt};

use super::catalog::{Description, StreamId, StreamName};
use super::fanout::Fanout;
use super::metadata::StreamMetadata;
use super::window::WindowLimits;
use crate::media::documents::Documents;

/// A live stream in the hands of the thread that encodes it.
pub struct Publisher {
    fanout: Fanout,
    packetizers: Vec<Packetizer>,
    metadata: Option<StreamMetadata>,
}

impl Publisher {
    /// A stream that begins now. SSRCs, first sequence numbers and timestamps are random (RFC 3550 section 5.1).
    pub fn new(
        id: StreamId,
        name: StreamName,
        tracks: Vec<Track>,
        origin: NtpTime,
        mtu_bytes: usize,
        cache: WindowLimits,
        random: &mut impl Rng,
    ) -> Publisher {
        let numberings: Vec<_> = tracks
            .iter()
            .map(|track| Numbering {
                ssrc: random.random(),
                payload_type: track.payload_type,
                sequence: random.random(),
                timestamp: random.random(),
            })
            .collect();
        let packetizers = (tracks.iter().zip(&numberings).enumerate())
            .map(|(index, (track, numbering))| Packetizer::new(track, index as u8, *numbering, mtu_bytes))
            .collect();
        let description = Description {
            id,
            name,
            ssrc: numberings.iter().map(|numbering| numbering.ssrc).collect(),
            timestamp_base: numberings.iter().map(|numbering| numbering.timestamp).collect(),
            tracks,
            origin,
            audience: Arc::default(),
        };
        Publisher { fanout: Fanout::new(description, cache), packetizers, metadata: None }
    }

    /// Adds a track of metadata, before anybody receives the stream; `anchor` is a moment and its content time.
    pub fn add_metadata(
        &mut self,
        documents: &Documents,
        mtu_bytes: usize,
        anchor: (Time, MediaTime),
        random: &mut impl Rng,
    ) {
        self.metadata = StreamMetadata::join(&mut self.fanout, documents, mtu_bytes, anchor, random);
    }

    /// Publishes what there is to say of the stream; to be asked several times a second.
    pub fn tell(&mut self, now: Time, wall: NtpTime) {
        if let Some(metadata) = &mut self.metadata {
            metadata.look(now, wall, &mut self.fanout);
        }
    }

    /// Packetizes one frame and hands it to every subscribed shard. A frame that cannot be packetized is left out
    /// with a log line.
    pub fn publish(&mut self, frame: &Frame) {
        let Some(packetizer) = self.packetizers.get_mut(usize::from(frame.track)) else { return };
        match packetizer.packetize(frame) {
            Ok(Some(batch)) => self.fanout.distribute(Arc::new(batch)),
            Ok(None) => {}
            Err(error) => {
                let name = &self.fanout.description().name;
                tracing::warn!(stream = %name, track = frame.track, %error, "frame left out");
            }
        }
    }

    /// Who receives it.
    pub fn fanout(&mut self) -> &mut Fanout {
        &mut self.fanout
    }
}
