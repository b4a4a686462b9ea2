//! The streams that the configuration has others push to us.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use proto::aac::{LOW_COMPLEXITY, audio_specific_config};
use proto::track::{Codec, Framing, Law, Track};

use super::addresses::{self, AddressError, Held, Transport};
use super::lookup::Lookup;
use super::proxies::{Tenures, home};
use crate::config::{AudioCodec, Pusher, PusherAudio, PusherMode, Settings, VideoCodec};
use crate::shard::pusher::{Mode, PushedTrack, PusherSpec};
use crate::shard::settings::Listen;
use crate::stream::catalog::Reserved;

/// What each `<pusher>` takes and where, and the shard that it comes to; without an address of its own at all of `hosts`.
/// `listen` is where we listen ourselves, `names` are those of the configuration, `before` are those that run: what is as it was is the same. An error when
/// somebody else has one of the ports.
pub fn pushers(
    settings: &Settings,
    (hosts, listen, names): (&[IpAddr], &[Listen], &Lookup),
    shards: u16,
    (before, held): (&[Arc<PusherSpec>], &Held),
    tenures: &mut Tenures,
) -> Result<Vec<Arc<PusherSpec>>, AddressError> {
    let specs = settings.pushers.iter().map(|pusher| {
        let mode = match pusher.mode {
            PusherMode::Tcp => Mode::Tcp,
            PusherMode::Udp => Mode::Udp,
            PusherMode::Rtsp => Mode::Rtsp,
        };
        let tracks =
            if mode == Mode::Rtsp { Vec::new() } else { tracks(pusher, (hosts, listen, names), held)? };
        let is_running = |spec: &&Arc<PusherSpec>| {
            *spec.path == *pusher.suffix && spec.mode == mode && spec.tracks == tracks
        };
        if let Some(running) = before.iter().find(is_running) {
            return Ok(running.clone());
        }
        Ok(Arc::new(PusherSpec {
            path: pusher.suffix.as_str().into(),
            tenure: tenures.next(),
            home: home(&pusher.suffix, shards),
            mode,
            tracks,
        }))
    });
    specs.collect()
}

/// The ports that these have open.
pub fn ports(pushers: &[Arc<PusherSpec>], mode: Mode) -> impl Iterator<Item = SocketAddr> {
    let of_mode = pushers.iter().filter(move |spec| spec.mode == mode);
    of_mode.flat_map(|spec| spec.tracks.iter().flat_map(|track| track.addresses.iter().copied()))
}

/// Their paths, which nobody else may have.
pub fn reserved(pushers: &[Arc<PusherSpec>]) -> impl Iterator<Item = Reserved> {
    pushers.iter().map(|spec| Reserved {
        path: spec.path.clone(),
        tenure: spec.tenure,
        home: spec.home,
        is_published: spec.mode == Mode::Rtsp,
    })
}

fn tracks(
    pusher: &Pusher,
    (hosts, listen, names): (&[IpAddr], &[Listen], &Lookup),
    held: &Held,
) -> Result<Vec<PushedTrack>, AddressError> {
    let cite = |name: &str| {
        let (file, line) = (pusher.place.file.display(), pusher.place.line);
        format!("{name} of the pusher \"{}\" ({file}:{line})", pusher.suffix)
    };
    let hosts: Vec<IpAddr> = match &pusher.ip {
        Some(host) => names.find(&cite("ip"), host)?,
        None => hosts.to_vec(),
    };
    let transport = if pusher.mode == PusherMode::Tcp { Transport::Tcp } else { Transport::Udp };
    let mut tracks = Vec::new();
    for ((name, port), codec) in pusher.ports().zip(codecs(pusher)) {
        let setting = cite(name);
        let addresses: Vec<_> = hosts.iter().map(|host| SocketAddr::new(*host, port)).collect();
        if transport == Transport::Tcp
            && let Some(address) =
                addresses.iter().find(|address| listen.iter().any(|door| door.address == **address))
        {
            let error = io::ErrorKind::AddrInUse.into();
            return Err(AddressError::Port { address: *address, setting, error });
        }
        addresses::exact_port(&hosts, &setting, port, transport, held)?;
        let index = tracks.len() as u8;
        tracks.push(PushedTrack {
            track: Track::new(codec, index),
            addresses,
            port: format!("{name} {port}"),
        });
    }
    Ok(tracks)
}

/// Of the tracks that have a port, in the order of [`Pusher::ports`].
fn codecs(pusher: &Pusher) -> impl Iterator<Item = Codec> {
    let video = pusher.video.filter(|video| video.port.is_some()).map(|video| video_codec(video.codec));
    let audio = pusher.audio.as_ref().filter(|audio| audio.port.is_some()).map(audio_codec);
    video.into_iter().chain(audio)
}

/// Parameter sets are learned from the stream.
fn video_codec(codec: VideoCodec) -> Codec {
    match codec {
        VideoCodec::H264 => Codec::H264 { sps: Vec::new(), pps: Vec::new(), framing: Framing::AnnexB },
        VideoCodec::H265 => {
            Codec::H265 { vps: Vec::new(), sps: Vec::new(), pps: Vec::new(), framing: Framing::AnnexB }
        }
        VideoCodec::Mpeg4 => Codec::Mpeg4Visual { config: Bytes::new() },
        VideoCodec::Jpeg => Codec::Jpeg,
    }
}

fn audio_codec(audio: &PusherAudio) -> Codec {
    let PusherAudio { sample_rate, channels, .. } = *audio;
    match audio.codec {
        AudioCodec::G711A => Codec::G711 { law: Law::A, sample_rate, channels },
        AudioCodec::G711U => Codec::G711 { law: Law::Mu, sample_rate, channels },
        AudioCodec::G722 => Codec::G722 { channels },
        AudioCodec::G726 => Codec::G726 { bits: audio.g726_bits, order: audio.g726_order },
        AudioCodec::Opus => Codec::Opus { channels },
        AudioCodec::Aac => {
            let made = || audio_specific_config(LOW_COMPLEXITY, sample_rate, channels);
            let config = audio.config.clone().or_else(made).unwrap_or_default();
            Codec::Aac { config, sample_rate, channels }
        }
    }
}
