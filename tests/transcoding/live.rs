//! Live streams in another format: one encoder for all who ask for the same, begun by the first and stopped after the
//! last.

use std::time::{Duration, Instant};

use super::{FILE, PATIENCE, TONE, heard, likeness_by, probed};
use crate::client::Client;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::corpus::{Recipe, folder};
use crate::judge::ffmpeg::{Scratch, words};
use crate::judge::{Turn, run};
use crate::published::{Publishing, await_stream, spawn};
use crate::server::{Backend, Server, on_both_backends, scratch};

/// Pictures of the file.
const PICTURES: usize = 75;

/// How often a recording may show the file, at most.
const ROUNDS: usize = 3;

/// So many pictures may be missing between two.
const LEFT_OUT_MAX: usize = 25;

/// More than any recording differs.
const FAR: u64 = 1 << 40;

/// Has FFmpeg publish the file again and again under `/live`, as it lies.
fn publish(server: &Server, over: Over) -> Publishing {
    let file = folder().join(FILE);
    let (way, url) = (over.name(), server.url("/live"));
    let arguments = format!(
        "-v error -re -stream_loop -1 -i {} -c copy -f rtsp -rtsp_transport {way} {url}",
        file.display()
    );
    let publishing = spawn("ffmpeg", &arguments);
    await_stream(server, &url).unwrap();
    publishing
}

/// Has FFmpeg keep so many seconds of a URL; the file.
fn kept(folder: &Scratch, url: &str, over: Over, seconds: f64, streams: &str) -> String {
    let _turn = Turn::wait();
    let file = folder.file("kept.mkv");
    let way = over.name();
    let arguments =
        format!("-v error -y -rtsp_transport {way} -i {url} -t {seconds} -c copy {streams} {file}");
    run("ffmpeg", &words(&arguments), PATIENCE).unwrap();
    file
}

/// How much a recording looks like these pictures of the file that is shown again and again. One by one: a player is
/// brought to the present faster than pictures are shown.
fn likeness_with(file: &str, source: &str, pictures: &[usize]) -> f64 {
    let filter = "setpts=N/25/TB";
    let chosen: Vec<_> = pictures.iter().map(|picture| format!("eq(n,{picture})")).collect();
    likeness_by(
        file,
        &format!("-stream_loop {} -i {source}", ROUNDS - 1),
        filter,
        &format!("select='{}',{filter}", chosen.join("+")),
    )
}

/// Pictures of 80 by 44 grey pixels.
fn small(input: &str, streams: &str) -> Vec<Vec<u8>> {
    let arguments = format!(
        "-nostdin -v error {streams} -i {input} -an -fps_mode passthrough -vf scale=80:44,format=gray -f rawvideo -"
    );
    let output = run("ffmpeg", &words(&arguments), PATIENCE).unwrap();
    output.stdout.chunks_exact(80 * 44).map(<[u8]>::to_vec).collect()
}

/// Which picture of the file, shown again and again, each of a recording is: those, in their order, that all together
/// differ least. A busy machine leaves some out.
fn shown(file: &str, source: &str) -> Vec<usize> {
    let (played, wanted) = (small(file, ""), small(source, ""));
    assert_eq!(wanted.len(), PICTURES);
    assert!(played.len() > 25, "{} pictures", played.len());
    // The least that the pictures up to one differ by when it is each of the file's, and which the one before is then.
    let mut steps: Vec<Vec<(u64, usize)>> = Vec::with_capacity(played.len());
    for picture in &played {
        let differs: Vec<_> = wanted.iter().map(|other| difference(picture, other)).collect();
        let step = (0..PICTURES * ROUNDS).map(|is| {
            let before = match steps.last() {
                None => (if is < PICTURES { 0 } else { FAR }, 0),
                Some(last) => (is.saturating_sub(LEFT_OUT_MAX + 1)..is)
                    .map(|is| (last[is].0, is))
                    .min_by_key(|(sum, is)| (*sum, usize::MAX - is))
                    .unwrap_or((FAR, 0)),
            };
            (before.0 + differs[is % PICTURES], before.1)
        });
        let step = step.collect();
        steps.push(step);
    }
    let ends = steps.last().unwrap().iter().enumerate().min_by_key(|(_, (sum, _))| *sum).unwrap().0;
    let mut shown: Vec<_> =
        steps.iter().rev().scan(ends, |is, step| Some(std::mem::replace(is, step[*is].1))).collect();
    shown.reverse();
    shown
}

fn difference(one: &[u8], other: &[u8]) -> u64 {
    one.iter().zip(other).map(|(a, b)| u64::from(a.abs_diff(*b))).sum()
}

fn pictures_of_a_publisher_come_in_the_codec_and_size_that_a_url_asks_for(backend: Backend) {
    let server = Server::with(backend).setting("gop_cache", 2).start();
    let source = Recipe::named(FILE).path();
    let source = source.to_str().unwrap();
    let _publishing = publish(&server, Over::Tcp);
    for (index, (asked, is)) in [
        ("ve=H265", "hevc,320,176"),
        ("ve=MP4&w=240&h=132", "mpeg4,240,132"),
        ("ve=JPEG", "mjpeg,320,176"),
        ("w=160", "h264,160,88"),
    ]
    .into_iter()
    .enumerate()
    {
        let scratch = Scratch(scratch("live"));
        let url = server.url(&format!("/live&{asked}"));
        let file = kept(&scratch, &url, BOTH[index % 2], 2.6, "-an");
        assert_eq!(probed(&file, "codec_name,width,height").trim(), is, "{asked}");
        let pictures = shown(&file, source);
        let likeness = likeness_with(&file, source, &pictures);
        println!("{asked}: {likeness} with {pictures:?}");
        assert!(likeness > 0.9, "{asked}: {likeness}");
    }
}

fn pictures_come_at_the_rate_that_a_url_asks_for(backend: Backend) {
    let server = Server::with(backend).start();
    for rate in [10, 50] {
        let url = server.url(&format!("/test&w=160&fr={rate}&ae=none"));
        let mut viewer = Viewer::open(server.address(), &url, Over::Tcp);
        viewer.play(&[]);
        assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].times().len() > 60));
        // A busy machine leaves pictures out: the others are as far apart as ever.
        let mut apart: Vec<_> =
            viewer.tracks[0].times().windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        apart.sort_unstable();
        assert_eq!(apart[apart.len() / 2], 90_000 / rate, "{rate}: {apart:?}");
    }
}

fn sound_of_a_publisher_comes_in_the_codec_rate_and_channels_that_a_url_asks_for(backend: Backend) {
    let server = Server::with(backend).setting("gop_cache", 2).start();
    let source = Recipe::named(FILE).path();
    let (level, _) = heard(source.to_str().unwrap());
    let _publishing = publish(&server, Over::Udp);
    for (index, (asked, is)) in [
        ("ae=OPUS", "opus,48000,2"),
        ("ae=G711A&sr=8000", "pcm_alaw,8000,1"),
        ("ae=G722", "adpcm_g722,16000,1"),
        ("ae=G726", "adpcm_g726le,8000,1"),
        ("ch=2&sr=22050", "aac,22050,2"),
    ]
    .into_iter()
    .enumerate()
    {
        let scratch = Scratch(scratch("live"));
        let url = server.url(&format!("/live?{asked}"));
        let over = BOTH[index % 2];
        let input = format!("-rtsp_transport {} -select_streams a {url}", over.name());
        assert_eq!(probed(&input, "codec_name,sample_rate,channels").trim(), is, "{asked}");
        let file = kept(&scratch, &url, over, 2.2, "-vn -c:a pcm_s16le");
        let (its_level, its_tone) = heard(&file);
        println!("{asked}: level {:.2}, tone of {TONE} Hz {its_tone:.3}", its_level / level);
        // The file has a pip each second, and where it begins again a break.
        assert!(its_tone > 0.7, "{asked}: {its_tone}");
        assert!((0.4..1.8).contains(&(its_level / level)), "{asked}: {its_level} for {level}");
    }
}

fn viewers_of_the_same_share_what_is_made_once(backend: Backend) {
    let server = Server::with(backend).setting("ondemand_close_s", 2).start();
    let url = server.url("/test&w=160&ae=none");
    let watched = || {
        let mut viewer = Viewer::open(server.address(), &url, Over::Tcp);
        viewer.play(&[]);
        assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 20));
        viewer
    };
    let (first, mut second) = (watched(), watched());
    assert_eq!(server.lines("source started stream=test (w=160&ae=NONE)"), 1);
    let has = |viewer: &Viewer, payload: &[u8]| {
        viewer.tracks[0].packets.iter().any(|packet| packet.payload == payload)
    };
    let latest = first.tracks[0].packets.last().unwrap().payload.clone();
    assert!(second.receive_until(PATIENCE, |viewer| has(viewer, &latest)), "both see the same");
    drop((first, second));
    server.wait_for_log("source stopped: nobody watches stream=test (w=160&ae=NONE)", PATIENCE);
    server.wait_for_log("source stopped: nobody watches stream=test\n", PATIENCE);
}

fn a_live_stream_that_agrees_with_what_is_asked_for_comes_as_it_is(backend: Backend) {
    let rule = "<output><url>/live</url><video><codec>H264</codec></video></output>";
    let server = Server::with(backend).xml(rule).start();
    let _publishing = publish(&server, Over::Tcp);
    for path in ["/live", "/live&ae=AAC&sr=44100&fr=25&w=320"] {
        let mut viewer = Viewer::open(server.address(), &server.url(path), Over::Tcp);
        viewer.play(&[]);
        assert!(viewer.receive_until(PATIENCE, |viewer| {
            viewer.tracks.iter().all(|track| track.packets.len() > 20)
        }));
    }
    assert_eq!(server.lines("source started"), 0);
}

fn rules_name_live_streams_by_their_paths(backend: Backend) {
    let rules = "<output><url>/test</url><video><width>160</width></video></output>\
                 <output><url>live</url><audio><codec>OPUS</codec></audio></output>\
                 <output><video><codec>JPEG</codec></video></output>";
    let source = Server::with(backend).start();
    let server = Server::with(backend).xml(rules);
    let node = "<output><video><codec>NONE</codec></video><audio><codec>G711A</codec></audio></output>";
    let proxy = format!("<proxy><suffix>gate</suffix><url>{}</url>{node}</proxy>", source.url("/test"));
    let server = server.xml(&proxy).proxy("plain", &source.url("/test"), &[]).start();
    let _publishing = publish(&server, Over::Tcp);
    for (path, is) in [
        ("/test", "h264,160\naac\n"),
        ("/live", "h264,320\nopus\n"),
        ("/gate", "pcm_alaw\n"),
        ("/gate?ve=MP4&w=64", "mpeg4,64\npcm_alaw\n"),
        // A rule without a path is for files and devices.
        ("/plain", "h264,1280\naac\n"),
    ] {
        let found = probed(&format!("-rtsp_transport tcp {}", server.url(path)), "codec_name,width");
        assert_eq!(found, is, "{path}");
    }
}

fn a_live_file_comes_in_what_its_url_asks_for_beyond_its_rule(backend: Backend) {
    let rule = "<output><url>mp4</url><live>1</live><video><width>160</width></video></output>";
    let server = Server::with(backend).media(folder()).xml(rule).start();
    for (asked, is) in [("", "h264,160,88"), ("&ve=H265", "hevc,160,88"), ("&w=80", "h264,80,44")] {
        let url = server.url(&format!("/{FILE}{asked}"));
        let found =
            probed(&format!("-rtsp_transport tcp -select_streams v {url}"), "codec_name,width,height");
        assert_eq!(found.trim(), is, "{asked}");
    }
}

fn more_than_may_be_made_anew_is_refused_and_what_is_not_goes_on(backend: Backend) {
    let server = Server::with(backend).setting("max_transcodes", 1).start();
    let mut first = Viewer::open(server.address(), &server.url("/test&w=160"), Over::Tcp);
    first.play(&[]);
    assert!(first.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 5));
    let mut client = Client::connect(server.address());
    let refused = client.request("DESCRIBE", &server.url("/test&w=320"), &[]).expect(453);
    assert!(refused.text().contains("max_transcodes is 1"), "{}", refused.text());
    for path in ["/test", "/test&ve=H264", "/test&w=160"] {
        client.request("DESCRIBE", &server.url(path), &[]).expect(200);
    }
}

fn what_cannot_be_had_is_refused_with_its_reason(backend: Backend) {
    let server = Server::with(backend).start();
    let mut client = Client::connect(server.address());
    for (path, status, reason) in [
        ("/test&ve=H266", 415, "ve=H266 is not understood"),
        ("/test&ve=none&ae=none", 415, "nothing of it is asked for"),
        ("/nothing&ve=H265", 404, "no such file"),
        ("/videodevice9&ve=H265", 404, "no such stream"),
    ] {
        let answer = client.request("DESCRIBE", &server.url(path), &[]).expect(status);
        assert!(answer.text().contains(reason), "{path}: {}", answer.text());
    }
}

fn a_viewer_who_comes_between_keyframes_gets_one_at_once(backend: Backend) {
    let settings = Server::with(backend).setting("gop_cache", 0).setting("keyframe_interval_s", 60);
    let server = settings.start();
    let url = server.url("/test&w=160&ae=none");
    let open = || {
        let mut viewer = Viewer::open(server.address(), &url, Over::Tcp);
        viewer.play(&[]);
        viewer
    };
    let mut first = open();
    assert!(first.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 30));
    let begin = Instant::now();
    let mut second = open();
    assert!(second.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 10));
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

fn viewers_are_told_when_the_publisher_has_ended_and_can_come_again(backend: Backend) {
    let server = Server::with(backend).setting("source_grace_s", 1).start();
    let url = server.url("/live&ve=JPEG&ae=none");
    for run in 1..=2 {
        let publishing = publish(&server, Over::Tcp);
        let mut viewer = Viewer::open(server.address(), &url, Over::Tcp);
        viewer.play(&[]);
        assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 20));
        drop(publishing);
        assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].has_ended()), "no BYE in run {run}");
        server.wait_for_lines("what was made anew has ended", run);
    }
}

fn groups_of_one_stream_in_two_formats_are_two(backend: Backend) {
    let server = Server::with(backend).media(folder()).setting("multicast", 1).start();
    let mut client = Client::connect(server.address());
    let mut group = |path: &str| {
        let headers = [("Transport", "RTP/AVP;multicast")];
        let url = server.url(path);
        client.request("DESCRIBE", &url, &[]).expect(200);
        let answer = client.request("SETUP", &format!("{url}/trackID=0"), &headers);
        let answer = answer.expect(200);
        answer
            .header("Transport")
            .unwrap()
            .split(';')
            .find(|part| part.starts_with("destination"))
            .unwrap()
            .to_owned()
    };
    for path in ["/test", &format!("/{FILE}")] {
        let (plain, other) = (group(path), group(&format!("{path}&ve=JPEG")));
        assert_ne!(plain, other, "{path}");
    }
}

fn pictures_are_encoded_by_the_processor_where_nothing_else_does(backend: Backend) {
    // Machines that test have no such hardware.
    let server = Server::with(backend).setting("hwaccel", "auto").start();
    server.wait_for_log("pictures are encoded by the processor", PATIENCE);
    let found = probed(&format!("-rtsp_transport tcp {}", server.url("/test&ve=H265&ae=none")), "codec_name");
    assert_eq!(found.trim(), "hevc");
    assert_eq!(server.lines("pictures are encoded"), 1);
    for kind in ["vaapi", "nvenc", "qsv", "v4l2m2m"] {
        let ended = Server::with(backend).setting("hwaccel", kind).run_to_end(PATIENCE);
        assert!(!ended.status.success());
        let said = format!("hwaccel is {kind}, which does not work here");
        assert!(ended.output.contains(&said), "{}", ended.output);
    }
}

on_both_backends!(
    what_cannot_be_had_is_refused_with_its_reason;
    "ffmpeg":
    pictures_are_encoded_by_the_processor_where_nothing_else_does,
    pictures_of_a_publisher_come_in_the_codec_and_size_that_a_url_asks_for,
    pictures_come_at_the_rate_that_a_url_asks_for,
    sound_of_a_publisher_comes_in_the_codec_rate_and_channels_that_a_url_asks_for,
    viewers_of_the_same_share_what_is_made_once,
    a_live_stream_that_agrees_with_what_is_asked_for_comes_as_it_is,
    rules_name_live_streams_by_their_paths,
    a_live_file_comes_in_what_its_url_asks_for_beyond_its_rule,
    more_than_may_be_made_anew_is_refused_and_what_is_not_goes_on,
    a_viewer_who_comes_between_keyframes_gets_one_at_once,
    viewers_are_told_when_the_publisher_has_ended_and_can_come_again,
    groups_of_one_stream_in_two_formats_are_two,
);
