//! RTCP: sender reports, names, and what a viewer sends (RFC 3550 section 6).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::client::rtp::{Report, receiver_report};
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::corpus::folder;
use crate::server::{Backend, Server, on_both_backends};

const FILE: &str = "/h264_aac.mp4";

fn server(backend: Backend) -> Server {
    Server::with(backend).media(folder()).setting("loop_nums", -1).start()
}

fn the_first_sender_report_comes_at_once_with_a_name(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        for path in [FILE, "/test"] {
            let mut viewer = Viewer::open(server.address(), &server.url(path), over);
            viewer.play(&[]);
            viewer.receive(Duration::from_millis(500));
            for track in &viewer.tracks {
                let (_, first) =
                    track.reports.first().unwrap_or_else(|| panic!("{path} {over:?}: no report"));
                let ssrc = track.packets[0].ssrc;
                assert!(matches!(first, Report::Sender { ssrc: of, .. } if *of == ssrc), "{first:?}");
                let name = track.reports.iter().find_map(|(_, report)| match report {
                    Report::Name { ssrc: of, cname } if *of == ssrc => Some(cname.clone()),
                    _ => None,
                });
                assert!(name.is_some_and(|name| !name.is_empty()), "{path} {over:?}: no CNAME");
            }
        }
    }
}

fn all_tracks_of_a_presentation_have_one_name(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    viewer.play(&[]);
    viewer.receive(Duration::from_millis(300));
    let names: Vec<_> = viewer
        .tracks
        .iter()
        .map(|track| {
            track.reports.iter().find_map(|(_, report)| match report {
                Report::Name { cname, .. } => Some(cname.clone()),
                _ => None,
            })
        })
        .collect();
    assert!(names[0].is_some() && names[0] == names[1], "{names:?}");
}

/// Seconds of the NTP timescale (RFC 3550 section 4).
fn ntp_s(ntp: u64) -> f64 {
    ntp as f64 / 4_294_967_296.0
}

fn sender_reports_tell_the_right_times_and_counts(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), over);
        viewer.play(&[]);
        // The interval is five seconds, times 0.5 to 1.5 (RFC 3550 section 6.3.1).
        viewer.receive_until(Duration::from_secs(12), |viewer| {
            viewer.tracks.iter().all(|track| senders(track).len() >= 2)
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() + 2_208_988_800.0;
        for track in &viewer.tracks {
            let senders = senders(track);
            assert!(senders.len() >= 2, "{over:?}: {} reports", senders.len());
            let first = senders[0];
            let last = senders[senders.len() - 1];
            assert!((ntp_s(last.ntp) - now).abs() < 15.0, "the wall clock");
            let ticks = f64::from(last.timestamp.wrapping_sub(first.timestamp) as i32);
            let by_clock = ticks / f64::from(track.media.clock_rate());
            let by_wall = ntp_s(last.ntp) - ntp_s(first.ntp);
            assert!((by_clock - by_wall).abs() < 0.01, "{over:?}: {by_clock} s of RTP in {by_wall} s");
            // Over TCP everything is in order, so that the counts can be checked exactly.
            if over == Over::Tcp {
                let before: Vec<_> = track.packets.iter().filter(|packet| packet.at <= last.at).collect();
                let counted = before.len() as u32;
                assert!(last.packets.abs_diff(counted) <= 64, "{} packets, {counted} came", last.packets);
                let exact: Vec<_> = track.packets.iter().take(last.packets as usize).collect();
                let octets: usize = exact.iter().map(|packet| packet.payload.len()).sum();
                assert_eq!(last.octets, octets as u32);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Sender {
    at: std::time::Instant,
    ntp: u64,
    timestamp: u32,
    packets: u32,
    octets: u32,
}

fn senders(track: &crate::client::viewer::Track) -> Vec<Sender> {
    let senders = track.reports.iter().filter_map(|(at, report)| match report {
        Report::Sender { ntp, timestamp, packets, octets, .. } => {
            Some(Sender { at: *at, ntp: *ntp, timestamp: *timestamp, packets: *packets, octets: *octets })
        }
        _ => None,
    });
    senders.collect()
}

fn tracks_are_in_step_by_their_sender_reports(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    viewer.play(&[]);
    viewer.receive_until(Duration::from_secs(2), |viewer| {
        viewer.tracks.iter().all(|track| !senders(track).is_empty() && track.packets.len() > 3)
    });
    // When, by the wall clock, the first unit of each track is to be shown.
    let starts: Vec<f64> = viewer
        .tracks
        .iter()
        .map(|track| {
            let sender = senders(track)[0];
            let ahead = track.packets[0].timestamp.wrapping_sub(sender.timestamp) as i32;
            ntp_s(sender.ntp) + f64::from(ahead) / f64::from(track.media.clock_rate())
        })
        .collect();
    // The encoder's delay of AAC, 1024 samples, and of pictures with B frames lie between the two.
    assert!((starts[0] - starts[1]).abs() < 0.1, "{starts:?}");
}

fn loss_that_a_viewer_reports_is_told_at_the_end(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Udp);
    viewer.play(&[]);
    viewer.receive(Duration::from_millis(400));
    let last = viewer.tracks[0].packets.last().unwrap().clone();
    let (_, rtcp) = viewer.tracks[0].server_addresses(server.address().ip());
    let mut report = receiver_report(99, last.ssrc, 64, u32::from(last.sequence));
    // Cumulative loss: 17 packets.
    report[15] = 17;
    viewer.tracks[0].sockets().1.send_to(&report, rtcp).unwrap();
    viewer.receive(Duration::from_millis(200));
    viewer.teardown();
    server.wait_for_log("lost=17", Duration::from_secs(2));
    let log = server.log();
    let end =
        log.lines().rfind(|line| line.contains("session ended")).unwrap_or_else(|| panic!("no end: {log}"));
    assert!(end.contains("lost=17"), "the end of the session tells the loss: {end}");
}

fn malformed_packets_from_a_viewer_disturb_nothing(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), over);
        viewer.play(&[]);
        viewer.receive(Duration::from_millis(200));
        let ssrc = viewer.tracks[0].packets[0].ssrc;
        let mut long = receiver_report(1, ssrc, 0, 0);
        long[3] = 200;
        let wrong: Vec<Vec<u8>> = vec![
            vec![],
            vec![0x80],
            vec![0; 3],
            vec![0xff; 1_400],
            vec![0x81, 201, 0xff, 0xff, 0, 0, 0, 1],
            long,
            vec![0x9f, 203, 0, 1, 0, 0, 0, 0],
            (0..=255).collect(),
        ];
        for packet in wrong {
            match over {
                Over::Udp => {
                    let (rtp, rtcp) = viewer.tracks[0].server_addresses(server.address().ip());
                    for (from, to) in
                        [(viewer.tracks[0].sockets().0, rtp), (viewer.tracks[0].sockets().1, rtcp)]
                    {
                        from.send_to(&packet, to).unwrap();
                    }
                }
                Over::Tcp => {
                    for channel in [0, 1, 2, 3, 200] {
                        let size = (packet.len() as u16).to_be_bytes();
                        viewer.client.send([&[b'$', channel, size[0], size[1]][..], &packet].concat());
                    }
                }
            }
        }
        let before = viewer.tracks[0].packets.len();
        viewer.receive(Duration::from_millis(500));
        assert!(viewer.tracks[0].packets.len() > before, "{over:?}: packets still come");
        assert_eq!(viewer.tracks[0].gaps(), [], "{over:?}");
        viewer.teardown();
    }
    assert!(server.is_alive());
}

on_both_backends!(;
    "ffmpeg":
    the_first_sender_report_comes_at_once_with_a_name,
    all_tracks_of_a_presentation_have_one_name,
    sender_reports_tell_the_right_times_and_counts,
    tracks_are_in_step_by_their_sender_reports,
    loss_that_a_viewer_reports_is_told_at_the_end,
    malformed_packets_from_a_viewer_disturb_nothing,
);
