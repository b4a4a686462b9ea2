//! Streams that come with metadata of their own keep it, and get no other.

use std::time::Duration;

use super::{PATIENCE, documents, index_of, keep_sending, telling};
use crate::client::publisher::{Publisher, SDP};
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::server::{Backend, Server, on_both_backends};
use crate::upstream::camera::{Camera, Script};
use crate::upstream::sending::{Kind, metadata};

const SECTION: &str =
    "m=application 0 RTP/AVP 98\r\na=rtpmap:98 vnd.onvif.metadata/90000\r\na=control:streamid=2\r\n";

/// Documents that are told apart, one of them in two packets, another of no XML.
const DOCUMENTS: [&[&str]; 3] = [&["<a/>"], &["<tt:MetadataStream ", "xmlns:tt=\"x\"/>"], &["not XML & all"]];

fn publish(server: &Server, path: &str, over: Over) -> Publisher {
    let url = server.url(path);
    let (client, answer) = Publisher::announce(server.address(), &url, &format!("{SDP}{SECTION}"));
    answer.expect(200);
    let mut publisher = Publisher::of(client, &url, over);
    [96, 8, 98].into_iter().for_each(|payload_type| publisher.setup(payload_type));
    publisher.client.request("RECORD", &url, &[]).expect(200);
    publisher
}

fn a_publishers_own_metadata_is_passed_on_alone(backend: Backend) {
    for server in [telling(backend).start(), Server::with(backend).start()] {
        for (over, path) in BOTH.into_iter().zip(["/live/a", "/live/b"]) {
            let mut publisher = publish(&server, path, over);
            publisher.picture(0, true);
            let mut viewer = Viewer::open(server.address(), &server.url(path), over);
            let sections = viewer.description.media.iter().filter(|media| media.kind == "application");
            assert_eq!(sections.count(), 1);
            viewer.play(&[]);
            assert!(viewer.receive_until(PATIENCE, |viewer| !viewer.tracks[0].packets.is_empty()));
            for (number, parts) in DOCUMENTS.into_iter().enumerate() {
                for (index, part) in parts.iter().enumerate() {
                    let is_last = index + 1 == parts.len();
                    publisher.send(2, is_last, 9_000 * number as u32, part.as_bytes());
                }
            }
            let is_whole = |viewer: &Viewer| documents(&viewer.tracks[2].packets).len() >= 3;
            assert!(viewer.receive_until(PATIENCE, is_whole), "{over:?}");
            // Long enough for one of ours to come.
            viewer.receive(Duration::from_millis(1_200));
            let got: Vec<_> = documents(&viewer.tracks[2].packets).into_iter().map(|(_, it)| it).collect();
            assert_eq!(got, DOCUMENTS.map(|parts| parts.concat().into_bytes()), "{over:?}");
        }
    }
}

fn the_metadata_of_a_camera_behind_a_proxy_is_passed_on_alone(backend: Backend) {
    let sdp = Script::default().sdp + SECTION;
    let tracks = vec![(Kind::Pictures, 96), (Kind::Sound, 8), (Kind::Metadata, 98)];
    let camera = Camera::start(Script { sdp, tracks, ..Script::default() });
    let server = telling(backend).proxy("gate", &camera.url(), &[]).start();
    for over in BOTH {
        let mut viewer = Viewer::open(server.address(), &server.url("/gate"), over);
        let sections = viewer.description.media.iter().filter(|media| media.kind == "application");
        assert_eq!(sections.count(), 1);
        viewer.play(&[]);
        assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[2].packets.len() >= 40), "{over:?}");
        let is_of_camera = |payload: &[u8]| (0..100_000).any(|number| payload == metadata(number));
        assert!(viewer.tracks[2].packets.iter().all(|packet| is_of_camera(&packet.payload)), "{over:?}");
    }
}

fn a_publishers_own_metadata_goes_along_where_its_sound_is_made_anew(backend: Backend) {
    let server = telling(backend).start();
    let mut publisher = publish(&server, "/live/a", Over::Tcp);
    let _publishing = keep_sending(move |number| {
        publisher.picture(number, number % 25 == 0);
        let parts = DOCUMENTS[number as usize % DOCUMENTS.len()];
        for (index, part) in parts.iter().enumerate() {
            publisher.send(2, index + 1 == parts.len(), 3_600 * number, part.as_bytes());
        }
    });
    let mut viewer = Viewer::open(server.address(), &server.url("/live/a?ae=G711U"), Over::Tcp);
    assert_eq!(viewer.description.media[1].encoding(), "PCMU");
    let index = index_of(&viewer);
    viewer.play(&[]);
    assert!(viewer.receive_until(PATIENCE, |viewer| documents(&viewer.tracks[index].packets).len() >= 30));
    let known = DOCUMENTS.map(|parts| parts.concat().into_bytes());
    let got = documents(&viewer.tracks[index].packets);
    assert!(got.iter().all(|(_, document)| known.contains(document)));
    assert!(known.iter().all(|document| got.iter().any(|(_, other)| other == document)));
}

on_both_backends!(
    a_publishers_own_metadata_is_passed_on_alone,
    the_metadata_of_a_camera_behind_a_proxy_is_passed_on_alone;
    "ffmpeg":
    a_publishers_own_metadata_goes_along_where_its_sound_is_made_anew,
);
