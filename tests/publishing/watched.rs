//! Sessions of those who watch what others publish, and the reports that either side gets (RFC 3550 section 6).

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{PATH, PATIENCE, has_pictures, pictures, watch};
use crate::client::Message;
use crate::client::publisher::Publisher;
use crate::client::rtp::{Report, reports};
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::seeking::is_keyframe;
use crate::server::{Backend, Server, on_both_backends};

fn pausing_stops_a_published_stream_and_playing_goes_on_at_a_keyframe(backend: Backend) {
    let server = Server::with(backend).start();
    let mut publisher = Publisher::start(server.address(), &server.url(PATH), Over::Tcp);
    publisher.picture(0, true);
    let mut viewers = BOTH.map(|over| watch(&server, over));
    (1..5).for_each(|index| publisher.picture(index, false));
    for viewer in &mut viewers {
        // Playing what plays changes nothing.
        viewer.play(&[]);
        assert!(viewer.receive_until(PATIENCE, has_pictures(5)));
        viewer.pause();
        viewer.pause();
    }
    (5..15).for_each(|index| publisher.picture(index, index == 10));
    for (viewer, over) in viewers.iter_mut().zip(BOTH) {
        viewer.receive(Duration::from_millis(200));
        assert_eq!(pictures(viewer), [0, 1, 2, 3, 4], "{over:?}: nothing while it is paused");
        viewer.play(&[]);
        viewer.play(&[]);
    }
    (15..20).for_each(|index| publisher.picture(index, false));
    for (viewer, over) in viewers.iter_mut().zip(BOTH) {
        assert!(viewer.receive_until(PATIENCE, has_pictures(15)), "{over:?}: {:?}", pictures(viewer));
        assert_eq!(pictures(viewer)[5..], (10..20).collect::<Vec<_>>(), "{over:?}");
        assert!(is_keyframe(viewer.tracks[0].units()[5]));
        let units = viewer.tracks[0].units();
        assert_eq!(viewer.tracks[0].gaps().len(), 1, "the numbers tell what was left out");
        assert!(
            units.windows(2).all(|pair| pair[1][0].timestamp.wrapping_sub(pair[0][0].timestamp) < 1 << 31)
        );
    }
}

fn a_publisher_that_pauses_is_silent_and_goes_on(backend: Backend) {
    let server = Server::with(backend).start();
    for over in BOTH {
        let mut publisher = Publisher::start(server.address(), &server.url(PATH), over);
        let url = publisher.url.clone();
        publisher.picture(0, true);
        let mut viewer = watch(&server, Over::Tcp);
        assert!(viewer.receive_until(PATIENCE, has_pictures(1)));
        publisher.client.request("PAUSE", &url, &[]).expect(200);
        publisher.client.request("PAUSE", &url, &[]).expect(200);
        publisher.picture(1, false);
        thread::sleep(Duration::from_millis(100));
        publisher.client.request("RECORD", &url, &[]).expect(200);
        publisher.picture(2, true);
        assert!(viewer.receive_until(PATIENCE, has_pictures(2)));
        assert_eq!(pictures(&viewer), [0, 2], "{over:?}");
        publisher.client.request("TEARDOWN", &url, &[]).expect(200);
        viewer.receive_all(PATIENCE);
    }
}

/// Seconds from 1900 to 1970.
const NTP_EPOCH_S: u64 = 2_208_988_800;

fn now_ntp() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    ((now.as_secs() + NTP_EPOCH_S) << 32) | fraction
}

/// A sender report of a track.
fn sender_report(ssrc: u32, ntp: u64, timestamp: u32) -> Vec<u8> {
    let mut bytes = vec![0x80, 200, 0, 6];
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend(ntp.to_be_bytes());
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend([0; 8]);
    bytes
}

fn reports_to_viewers_tell_the_publishers_wall_clock_and_true_counts(backend: Backend) {
    let server = Server::with(backend).setting("gop_cache", 2).start();
    for over in BOTH {
        let mut publisher = Publisher::start(server.address(), &server.url(PATH), over);
        // The publisher says that its pictures are 2 s older than they come, which is not how its packets come.
        let began = now_ntp() - (2 << 32);
        publisher.picture(0, true);
        publisher.report(0, &sender_report(0x1000, began, 1_000));
        publisher.report(1, &sender_report(0x1001, began, 77));
        thread::sleep(Duration::from_millis(50));
        for index in 1..20 {
            publisher.picture(index, false);
        }
        let mut viewers = BOTH.map(|over| watch(&server, over));
        for (viewer, way) in viewers.iter_mut().zip(BOTH) {
            let has_all = |viewer: &Viewer| {
                pictures(viewer).len() >= 20 && viewer.tracks.iter().all(|track| !track.reports.is_empty())
            };
            assert!(viewer.receive_until(PATIENCE, has_all), "{over:?} to {way:?}");
            for (track, clock) in viewer.tracks.iter().zip([90_000.0, 8_000.0]) {
                let sender = track.reports.iter().find_map(|(_, report)| match *report {
                    Report::Sender { ssrc, ntp, timestamp, packets, octets } => {
                        assert_eq!(ssrc, track.packets[0].ssrc);
                        Some((ntp, timestamp, packets, octets))
                    }
                    _ => None,
                });
                let (ntp, timestamp, packets, octets) = sender.expect("a sender report");
                // When the track's first packet was, by the report.
                let ticks = f64::from(timestamp.wrapping_sub(track.packets[0].timestamp) as i32);
                let first_s = (ntp as f64 - began as f64) / 4_294_967_296.0 - ticks / clock;
                assert!(first_s.abs() < 0.005, "{over:?} to {way:?}: off by {first_s} s");
                let counted = &track.packets[..packets as usize];
                assert_eq!(octets as usize, counted.iter().map(|packet| packet.payload.len()).sum::<usize>());
            }
        }
        let url = publisher.url.clone();
        publisher.client.request("TEARDOWN", &url, &[]).expect(200);
    }
}

fn a_publisher_gets_reports_about_its_own_source(backend: Backend) {
    let server = Server::with(backend).start();
    for over in BOTH {
        let mut publisher = Publisher::start(server.address(), &server.url(PATH), over);
        publisher.picture(0, true);
        let report = match over {
            Over::Udp => publisher.heard(0, PATIENCE),
            Over::Tcp => {
                std::iter::from_fn(|| publisher.client.next(PATIENCE)).find_map(|message| match message {
                    Message::Frame { channel: 1, data } => Some(data),
                    _ => None,
                })
            }
        };
        let report = report.expect("a report");
        assert!(matches!(reports(&report)[..], [Report::Other(201), Report::Name { .. }, ..]), "{over:?}");
        assert_eq!(report[8..12], 0x1000u32.to_be_bytes(), "{over:?}: about the publisher's source");
        let url = publisher.url.clone();
        publisher.client.request("TEARDOWN", &url, &[]).expect(200);
    }
}

fn malformed_packets_of_either_side_are_counted_and_end_nothing(backend: Backend) {
    let server = Server::with(backend).start();
    for over in BOTH {
        let mut publisher = Publisher::start(server.address(), &server.url(PATH), over);
        publisher.picture(0, true);
        let mut viewer = watch(&server, over);
        // Reports that claim more than they hold, and what is nothing at all.
        let broken = [
            &[0x81, 201, 0, 200, 1][..],
            &[0x80, 200, 0xff, 0xff],
            &[0x9f, 203, 0, 1, 0, 0, 0, 0],
            b"hello",
            &[],
        ];
        for bytes in broken {
            publisher.report(0, bytes);
            publisher.send_raw(0, bytes);
            match over {
                Over::Udp => {
                    let (rtp, rtcp) = viewer.tracks[0].server_addresses(server.address().ip());
                    let (to_rtp, to_rtcp) = viewer.tracks[0].sockets();
                    to_rtp.send_to(bytes, rtp).unwrap();
                    to_rtcp.send_to(bytes, rtcp).unwrap();
                }
                Over::Tcp => (0..3)
                    .for_each(|channel| viewer.client.send(crate::client::publisher::framed(channel, bytes))),
            }
        }
        thread::sleep(Duration::from_millis(100));
        publisher.picture(1, false);
        assert!(viewer.receive_until(PATIENCE, has_pictures(2)), "{over:?}");
        let peer = viewer.client.local().to_string();
        viewer.teardown();
        let (url, sender) = (publisher.url.clone(), publisher.client.local().to_string());
        publisher.client.request("TEARDOWN", &url, &[]).expect(200);
        for peer in [peer, sender] {
            let ended = || {
                let log = server.log();
                log.lines()
                    .find(|line| line.contains("session ended") && line.contains(&peer))
                    .map(str::to_owned)
            };
            let end = std::time::Instant::now() + PATIENCE;
            while ended().is_none() && std::time::Instant::now() < end {
                thread::sleep(Duration::from_millis(10));
            }
            let line = ended().expect("a line when a session ends");
            assert!(!line.contains("malformed=0"), "{over:?}: {line}");
        }
    }
}

/// Sends pictures that depend on others until the publisher is asked for a keyframe (RFC 4585 section 6.3.1).
#[track_caller]
pub(crate) fn await_request(publisher: &mut Publisher, mut index: u32, what: &str) -> u32 {
    let end = std::time::Instant::now() + PATIENCE;
    while std::time::Instant::now() < end {
        publisher.picture(index, false);
        index += 1;
        match publisher.client.next(Duration::from_millis(40)) {
            Some(Message::Frame { channel: 1, data }) if reports(&data).contains(&Report::Other(206)) => {
                return index;
            }
            _ => {}
        }
    }
    panic!("{what}: nobody asks for a keyframe");
}

fn a_publisher_is_asked_for_a_keyframe_when_a_viewer_needs_one(backend: Backend) {
    let server = Server::with(backend).setting("gop_cache", 0).start();
    let mut publisher = Publisher::start(server.address(), &server.url(PATH), Over::Tcp);
    publisher.picture(0, true);
    let mut viewer = watch(&server, Over::Tcp);
    let index = await_request(&mut publisher, 1, "a viewer that begins");
    publisher.picture(index, true);
    assert!(viewer.receive_until(PATIENCE, has_pictures(1)));
    // Longer than the time for which one request serves everybody.
    thread::sleep(Duration::from_millis(1_100));
    let ssrc = viewer.tracks[0].packets[0].ssrc;
    let lost =
        [&[0x80, 201, 0, 1, 0, 0, 0, 9, 0x81, 206, 0, 2, 0, 0, 0, 9][..], &ssrc.to_be_bytes()].concat();
    viewer.client.send(crate::client::publisher::framed(1, &lost));
    await_request(&mut publisher, index + 1, "a viewer that has lost its picture");
}

on_both_backends!(
    a_publisher_is_asked_for_a_keyframe_when_a_viewer_needs_one,
    pausing_stops_a_published_stream_and_playing_goes_on_at_a_keyframe,
    a_publisher_that_pauses_is_silent_and_goes_on,
    reports_to_viewers_tell_the_publishers_wall_clock_and_true_counts,
    a_publisher_gets_reports_about_its_own_source,
    malformed_packets_of_either_side_are_counted_and_end_nothing,
);
