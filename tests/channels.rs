//! Files that are live channels (`<live>` in an `<output>`): everybody sees the same at the same time.

use std::time::Duration;

use crate::client::publisher::{Publisher, SDP};
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::client::{Client, rtp::Packet};
use crate::corpus::{SECONDS, folder};
use crate::judge;
use crate::server::{Backend, Builder, Server, on_both_backends};

const FILE: &str = "/h264_aac.mp4";

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

/// A server whose MP4 files are live channels, but for one.
fn broadcasting(backend: Backend) -> Builder {
    let rule = |url: &str, live: u8| format!("<output><url>{url}</url><live>{live}</live></output>\n");
    Server::with(backend).media(folder()).xml(&(rule("h264_ip_aac.mp4", 0) + &rule("*.mp4", 1)))
}

fn watch(server: &Server, path: &str, over: Over) -> Viewer {
    let mut viewer = Viewer::open(server.address(), &server.url(path), over);
    viewer.play(&[]);
    viewer
}

fn has_pictures(count: usize) -> impl Fn(&Viewer) -> bool {
    move |viewer| viewer.tracks[0].units().len() > count
}

fn viewers_of_a_channel_see_the_same_packets(backend: Backend) {
    let server = broadcasting(backend).shards(3).start();
    let mut first = watch(&server, FILE, Over::Tcp);
    assert!(first.receive_until(PATIENCE, has_pictures(30)));
    // Whatever shards they are on, and however the path is written.
    let mut later: Vec<_> =
        (0..4).map(|index| watch(&server, &format!("{FILE}?x={index}"), BOTH[index % 2])).collect();
    assert!(first.receive_until(PATIENCE, has_pictures(80)));
    let key = |packet: &Packet| (packet.ssrc, packet.sequence, packet.payload.clone());
    for viewer in &mut later {
        assert!(viewer.receive_until(PATIENCE, has_pictures(20)));
        assert_eq!(viewer.tracks[0].gaps(), []);
        let begins = key(&viewer.tracks[0].packets[0]);
        let all: Vec<_> = first.tracks[0].packets.iter().map(key).collect();
        let at = all.iter().position(|packet| *packet == begins).expect("it begins with what the first saw");
        assert!(at > 20, "it begins where the others are, not with the file: {at}");
        let same = all[at..].iter().zip(&viewer.tracks[0].packets).take(15);
        assert!(same.clone().count() == 15 && same.clone().all(|(one, other)| *one == key(other)));
    }
    assert_eq!(server.log().lines().filter(|line| line.contains("source started")).count(), 1);
}

/// Of a file whose pictures come in another order than they are shown, joined at many points.
fn pictures_are_shown_in_their_order_wherever_a_viewer_joins(backend: Backend) {
    let server = broadcasting(backend).start();
    let mut first = watch(&server, FILE, Over::Tcp);
    assert!(first.receive_until(PATIENCE, has_pictures(35)));
    let mut joined = Vec::new();
    for index in 0..8 {
        joined.push(watch(&server, FILE, BOTH[index % 2]));
        let seen = first.tracks[0].units().len();
        assert!(first.receive_until(PATIENCE, has_pictures(seen + 1)));
    }
    for viewer in &mut joined {
        assert!(viewer.receive_until(PATIENCE, has_pictures(45)));
    }
    let seen = first.tracks[0].units().len();
    assert!(first.receive_until(PATIENCE, has_pictures(seen + 5)));
    let plain = |packet: &Packet| {
        let found = first.tracks[0].packets.iter().find(|other| other.sequence == packet.sequence);
        found.map(|other| other.timestamp)
    };
    for viewer in &joined {
        let units = viewer.tracks[0].units();
        let known = units.iter().filter_map(|unit| Some((plain(&unit[0])?, unit[0].timestamp)));
        let mut known: Vec<_> = known.collect();
        assert!(known.len() > 20, "{known:?}");
        let begins = known[0].0;
        known.sort_by_key(|(plain, _)| plain.wrapping_sub(begins) as i32);
        let is_later = |pair: &[(u32, u32)]| pair[1].1.wrapping_sub(pair[0].1) as i32 > 0;
        assert!(known.windows(2).all(is_later), "{known:?}");
    }
}

fn a_channel_is_one_however_its_path_is_spelled(backend: Backend) {
    let media = judge::ffmpeg::Scratch(crate::server::scratch("media"));
    std::fs::create_dir(media.path().join("sub")).unwrap();
    std::fs::copy(folder().join(&FILE[1..]), media.path().join("sub/a.mp4")).unwrap();
    let rule = "<output><url>sub/a.mp4</url><live>1</live></output>\n";
    let server = Server::with(backend).media(media.path()).xml(rule).start();
    for path in ["/sub//a.mp4", "/sub/./a.mp4", "//sub/%2e/a.mp4", "/sub/a.mp4"] {
        let viewer = Viewer::open(server.address(), &server.url(path), Over::Tcp);
        assert!(viewer.description.text.contains("a=range:npt=now-"), "{path}: {}", viewer.description.text);
    }
    assert_eq!(server.log().lines().filter(|line| line.contains("source started")).count(), 1);
}

fn a_link_to_a_file_has_rules_of_its_own(backend: Backend) {
    let media = judge::ffmpeg::Scratch(crate::server::scratch("media"));
    std::fs::copy(folder().join(&FILE[1..]), media.path().join("film.mp4")).unwrap();
    std::os::unix::fs::symlink("film.mp4", media.path().join("live.mp4")).unwrap();
    let rule = "<output><url>live.mp4</url><live>1</live></output>\n";
    for names in [["film", "live"], ["live", "film"]] {
        let server = Server::with(backend).media(media.path()).xml(rule).start();
        for name in names {
            let url = server.url(&format!("/{name}.mp4"));
            let viewer = Viewer::open(server.address(), &url, Over::Tcp);
            let is_live = viewer.description.text.contains("a=range:npt=now-");
            assert_eq!(is_live, name == "live", "{name} of {names:?}: {}", viewer.description.text);
        }
    }
}

fn a_channel_goes_on_behind_the_end_of_its_file(backend: Backend) {
    let server = broadcasting(backend).start();
    let mut viewer = watch(&server, FILE, Over::Tcp);
    let pictures = (SECONDS * 25) as usize;
    assert!(viewer.receive_until(PATIENCE, has_pictures(2 * pictures + 10)));
    for track in &viewer.tracks {
        assert_eq!(track.gaps(), [], "numbers go on");
        assert!(!track.has_ended());
    }
    let video = &viewer.tracks[0];
    let units = video.units();
    // The same pictures again, one length of the file later to the tick.
    let shift = units[pictures][0].timestamp.wrapping_sub(units[0][0].timestamp);
    let length = f64::from(shift) / 90_000.0;
    assert!((length - f64::from(SECONDS)).abs() < 0.15, "{length} s");
    for (index, (unit, again)) in units.iter().zip(&units[pictures..units.len() - 1]).enumerate() {
        let sizes = |unit: &[Packet]| unit.iter().map(|packet| packet.payload.len()).collect::<Vec<_>>();
        assert_eq!((index, sizes(unit)), (index, sizes(again)));
        let is_same = unit.iter().zip(*again).all(|(one, other)| one.payload == other.payload);
        assert!(is_same, "picture {index} is another one");
        assert_eq!(again[0].timestamp.wrapping_sub(unit[0].timestamp), shift);
    }
    // In its own time: nothing was sent in advance.
    let took = units[2 * pictures][0].at.duration_since(units[pictures][0].at).as_secs_f64();
    assert!(took > length * 0.8, "{took} s for {length} s");
}

fn other_files_are_played_from_their_start(backend: Backend) {
    let server = broadcasting(backend).start();
    for path in ["/h264_ip_aac.mp4", "/h264_aac.ts"] {
        let mut viewers = [watch(&server, path, Over::Tcp), watch(&server, path, Over::Udp)];
        viewers.iter_mut().for_each(|viewer| viewer.receive_all(PATIENCE));
    }
    Client::connect(server.address()).request("DESCRIBE", &server.url("/absent.mp4"), &[]).expect(404);
    assert!(!server.log().contains("source started"), "{}", server.log());
}

fn a_channel_can_be_paused_and_described_and_not_published_to(backend: Backend) {
    let server = broadcasting(backend).start();
    let mut viewer = watch(&server, FILE, Over::Udp);
    assert_eq!(viewer.description.line("a=range:"), Some("npt=now-"), "a live stream has no length");
    assert!(viewer.receive_until(PATIENCE, has_pictures(5)));
    viewer.pause();
    let answer = viewer.play(&[("Range", "npt=0-")]);
    assert_eq!(answer.header("Range"), Some("npt=now-"));
    let before = viewer.tracks[0].units().len();
    assert!(viewer.receive_until(PATIENCE, has_pictures(before + 10)));
    Publisher::announce(server.address(), &server.url(FILE), SDP).1.expect(405);
    // A path that the rule would be for, and that no file has, is published to as ever.
    let mut publisher = Publisher::start(server.address(), &server.url("/live.mp4"), Over::Tcp);
    publisher.picture(0, true);
    let mut viewer = watch(&server, "/live.mp4", Over::Tcp);
    assert!(viewer.receive_until(PATIENCE, |viewer| !viewer.tracks[0].packets.is_empty()));
}

fn a_channel_of_a_file_is_watched_with_its_permission(backend: Backend) {
    let user = "<user><username>ann</username><password>pass-1</password><permission>play /h264_aac.mp4</permission></user>";
    let server = broadcasting(backend).setting("need_auth", 1).xml(user).start();
    for (path, status) in [(FILE, 200), ("/h264_slices.mp4", 403)] {
        let url = server.url(path);
        let mut client = Client::logging_in(server.address(), &url, "ann", "pass-1");
        client.request("DESCRIBE", &url, &[]).expect(status);
    }
}

fn ffmpeg_plays_a_channel_for_longer_than_its_file(backend: Backend) {
    let server = broadcasting(backend).start();
    for over in BOTH {
        let url = server.url(FILE);
        let seconds = (2 * SECONDS).to_string();
        let arguments = ["-v", "error", "-rtsp_transport", over.name(), "-i", &url, "-t", &seconds];
        // In the stream's own units: ffmpeg's guess of a rate, which it makes at the beginning, rounds two times to one.
        let output = ["-map", "0", "-enc_time_base", "-1", "-f", "null", "-"];
        let arguments: Vec<_> = arguments.iter().chain(&output).map(|it| (*it).to_owned()).collect();
        let output = judge::run("ffmpeg", &arguments, Duration::from_secs(40)).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!errors.contains("on-monotonous") && !errors.contains("on monoton"), "{errors}");
    }
}

on_both_backends!(;
    "ffmpeg":
    viewers_of_a_channel_see_the_same_packets,
    pictures_are_shown_in_their_order_wherever_a_viewer_joins,
    a_channel_is_one_however_its_path_is_spelled,
    a_link_to_a_file_has_rules_of_its_own,
    a_channel_goes_on_behind_the_end_of_its_file,
    other_files_are_played_from_their_start,
    a_channel_can_be_paused_and_described_and_not_published_to,
    a_channel_of_a_file_is_watched_with_its_permission,
    ffmpeg_plays_a_channel_for_longer_than_its_file,
);
