//! AV1, which neither FFmpeg 5 nor GStreamer 1.22 can send: the project's own packetizer makes the packets of a file.

use std::thread;
use std::time::Duration;

use bytes::Bytes;
use proto::frame::Frame;
use proto::rtp::batch::Numbering;
use proto::rtp::packetize::{MTU_BYTES_DEFAULT, Packetizer};
use proto::track::{Codec, Track};

use crate::client::publisher::Publisher;
use crate::client::viewer::{BOTH, Viewer};
use crate::corpus::Recipe;
use crate::judge::elementary::file_packets;
use crate::judge::raw;
use crate::server::{Backend, Server, on_both_backends};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
    a=rtpmap:96 AV1/90000\r\na=control:streamid=0\r\n";

/// The packets of a file, those of each picture together.
fn packets(recipe: &Recipe) -> Vec<Vec<Vec<u8>>> {
    let mut track = Track::new(Codec::Av1 { sequence_header: Bytes::new() }, 0);
    track.payload_type = 96;
    let numbering = Numbering { ssrc: 0xa51, payload_type: 96, sequence: 65_530, timestamp: 7 };
    let mut packetizer = Packetizer::new(&track, 0, numbering, MTU_BYTES_DEFAULT);
    let units = file_packets(recipe, "-map 0:v:0 -c:v copy").unwrap();
    let batches = units.into_iter().enumerate().map(|(index, (time, unit))| {
        let pts = (time * 90_000.0).round() as i64;
        let keyframe = index == 0;
        let frame = Frame { track: 0, pts, dts: pts, duration: 3_600, keyframe, payload: unit.into() };
        let batch = packetizer.packetize(&frame).unwrap().expect("a picture has packets");
        batch.packets().iter().map(|packet| batch.packet(packet).to_vec()).collect()
    });
    batches.collect()
}

fn pictures_of_av1_come_as_they_were_sent(backend: Backend) {
    let server = Server::with(backend).setting("gop_cache", 2).start();
    let recipe = Recipe::named("av1.mp4");
    let pictures = packets(recipe);
    let url = server.url("/live/av1");
    for over in BOTH {
        let (client, answer) = Publisher::announce(server.address(), &url, SDP);
        answer.expect(200);
        let mut publisher = Publisher::of(client, &url, over);
        publisher.setup(96);
        publisher.client.request("RECORD", &url, &[]).expect(200);
        let mut viewers = Vec::new();
        for (index, picture) in pictures.iter().enumerate() {
            picture.iter().for_each(|packet| publisher.send_raw(0, packet));
            // Late by some pictures, which they get all the same.
            if index == 10 {
                viewers.extend(BOTH.map(|over| Viewer::open(server.address(), &url, over)));
                viewers.iter_mut().for_each(|viewer| drop(viewer.play(&[])));
            }
            thread::sleep(Duration::from_millis(5));
        }
        publisher.client.request("TEARDOWN", &url, &[]).expect(200);
        for (viewer, way) in viewers.iter_mut().zip(BOTH) {
            viewer.receive_all(Duration::from_secs(10));
            assert_eq!(raw::compare(viewer, recipe), Ok(()), "{over:?} to {way:?}");
        }
    }
}

on_both_backends!(pictures_of_av1_come_as_they_were_sent);
