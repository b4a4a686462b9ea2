//! Cameras, in a virtual machine that has some: two that make pictures (vivid), one that gives Motion JPEG and one that gives
//! H.264 (v4l2loopback, fed with a clip each). The program runs in there on Linux 6.1; the players are here.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::machine::{Machine, PATIENCE};
use crate::client::viewer::{Over, Viewer};
use crate::client::{Client, Response};
use crate::corpus::Video;
use crate::judge::elementary::{picture_pieces, received_picture, stream_pictures};
use crate::judge::ffmpeg::words;
use crate::judge::{Turn, run};
use crate::transcoding::heard_at;

/// What is played to the sound card, in hertz.
const TONE: f64 = 700.0;

/// Pictures of the clips that are fed to cameras, which begin again behind the last.
const CLIP_PICTURES: usize = 40;

/// Colours that the two cameras are set to show, as vivid numbers them.
const PATTERNS: [(&str, u8, [u8; 3]); 2] = [("/dev/video0", 7, [255, 0, 0]), ("/dev/video1", 9, [0, 0, 255])];

const CONFIGURATION: &str = r#"<config>
<serverip>0.0.0.0</serverip><serverport>8554</serverport>
<rtsp_over_http>0</rtsp_over_http><rtsp_over_https>0</rtsp_over_https><rtsps_port>0</rtsps_port>
<source_start_ms>60000</source_start_ms>
<videodevice index="5" path="/dev/video11"/>
</config>"#;

/// The machine, for one test at a time: they unplug what is in it, and it has little time for each.
struct Turned(MutexGuard<'static, Option<Machine>>);

impl std::ops::Deref for Turned {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        self.0.as_ref().expect("it was started")
    }
}

impl Drop for Turned {
    fn drop(&mut self) {
        self.is_wanted(false);
    }
}

fn machine() -> Turned {
    static MACHINE: Mutex<Option<Machine>> = Mutex::new(None);
    let mut machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    if !machine.as_mut().is_some_and(Machine::is_running) {
        *machine = None;
        *machine = Some(prepared());
    }
    let turned = Turned(machine);
    turned.is_wanted(true);
    turned
}

/// A machine with its cameras plugged in and the program started.
fn prepared() -> Machine {
    let machine = Machine::start();
    machine
        .run("modprobe vivid n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0x0,0x0 vid_cap_nr=0,1");
    machine.run("modprobe v4l2loopback devices=2 video_nr=10,11 card_label=jpegs,slices");
    machine.run("modprobe snd-aloop");
    paint(&machine);
    for (clip, device, codec) in [
        ("jpeg.mkv", 10, "-c:v mjpeg -huffman default -pix_fmt yuvj420p -q:v 6"),
        ("h264.ts", 11, "-c:v libx264 -preset ultrafast -bf 0 -g 10 -pix_fmt yuv420p"),
    ] {
        let file = machine.file(clip).display().to_string();
        let picture = "-nostdin -v error -y -f lavfi -i testsrc2=size=320x180:rate=10";
        run("ffmpeg", &words(&format!("{picture} -frames:v {CLIP_PICTURES} {codec} {file}")), PATIENCE)
            .unwrap();
        let feed = format!("-re -stream_loop -1 -i /mnt/{clip} -c copy -f v4l2 /dev/video{device}");
        machine.begin(&format!("feed-{clip}"), &format!("ffmpeg -nostdin -v error {feed}"));
    }
    let sine = format!("-f lavfi -i sine=frequency={TONE}:sample_rate=48000 -ac 2 -c:a pcm_s16le");
    machine.begin("tone", &format!("ffmpeg -nostdin -v error -re {sine} -f alsa hw:Loopback,1,0"));
    fs::write(machine.file("rtspserver.xml"), CONFIGURATION).unwrap();
    machine.begin("server", "/srv/rtspserver -c /mnt/rtspserver.xml --backend uring --shards 1");
    machine.wait_for_log("server", "rtsp://", 1);
    for device in [10, 11] {
        let end = Instant::now() + PATIENCE;
        while !machine.ask(&format!("v4l2-ctl -d /dev/video{device} --get-fmt-video")).0 {
            assert!(
                Instant::now() < end,
                "nothing is fed: {}{}",
                machine.log("feed-jpeg.mkv"),
                machine.log("feed-h264.ts")
            );
        }
    }
    machine
}

/// Has each camera show its colour.
fn paint(machine: &Machine) {
    for (file, pattern, _) in PATTERNS {
        machine.run(&format!("v4l2-ctl -d {file} -c test_pattern={pattern} -c osd_text_mode=2"));
    }
}

fn client(machine: &Machine) -> Client {
    let mut client = Client::connect(machine.address());
    client.patience = PATIENCE;
    client
}

fn open(machine: &Machine, path: &str) -> Viewer {
    let mut viewer = Viewer::describe_on(client(machine), &machine.url(path), Over::Tcp).set_up();
    viewer.play(&[]);
    viewer
}

fn asked(machine: &Machine, path: &str) -> Response {
    client(machine).request("DESCRIBE", &machine.url(path), &[])
}

/// Waits until so many packets more have come.
#[track_caller]
fn goes_on(viewer: &mut Viewer, packets: usize) {
    let wanted = viewer.tracks[0].packets.len() + packets;
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() >= wanted));
}

/// Waits until a camera is closed that others have watched.
fn is_free(machine: &Machine, device: &str) {
    let (end, named) = (Instant::now() + PATIENCE, format!("device={device}"));
    loop {
        let log = machine.log("server");
        let of_device = log.lines().filter(|line| line.split(' ').any(|word| word == named));
        let count = |what: &str| of_device.clone().filter(|line| line.contains(what)).count();
        if count("device opened ") == count("device closed: ") + count("device lost ") {
            return;
        }
        assert!(Instant::now() < end, "{device} stays open: {log}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Codec, size and, of sound, rate and channels of each track, and the mean colour of a picture, as FFmpeg sees them.
fn seen(url: &str, folder: &Path) -> (String, [u8; 3]) {
    let _turn = Turn::wait();
    let file = folder.join("seen.mkv").display().to_string();
    let keep = format!("-nostdin -v error -y -rtsp_transport tcp -i {url} -t 2.5 -c copy -f matroska {file}");
    run("ffmpeg", &words(&keep), PATIENCE).unwrap();
    let entries = "stream=codec_name,width,height,sample_rate,channels";
    let listed =
        run("ffprobe", &words(&format!("-v error -show_entries {entries} -of csv=p=0 {file}")), PATIENCE);
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap().trim().replace('\n', " ");
    let filter = "-frames:v 1 -an -vf scale=1:1:flags=area,format=rgb24 -f rawvideo -";
    let colour = run("ffmpeg", &words(&format!("-nostdin -v error -i {file} {filter}")), PATIENCE).unwrap();
    (listed, colour.stdout.try_into().unwrap())
}

#[track_caller]
fn is_like(found: [u8; 3], wanted: [u8; 3]) {
    let near = found.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 60);
    assert!(near, "{found:?} in place of {wanted:?}");
}

#[cfg_attr(feature = "ffmpeg", test)]
fn each_camera_is_a_stream_of_its_own_in_what_is_asked_for() {
    let machine = machine();
    for (path, listed, camera) in [
        ("/videodevice&w=320&h=180&fr=10", "h264,320,180", 0),
        ("/videodevice1&w=320&h=180&fr=5&ve=JPEG", "mjpeg,320,176", 1),
        ("/VideoDevice1&w=160&fr=5", "h264,160,90", 1),
    ] {
        let (found, colour) = seen(&machine.url(path), &machine.file(""));
        assert_eq!(found, listed, "{path}");
        is_like(colour, PATTERNS[camera].2);
    }
    assert!(machine.log("server").contains("320x180 at 10"), "{}", machine.log("server"));
}

#[cfg_attr(feature = "ffmpeg", test)]
fn a_camera_and_the_sound_card_are_one_stream() {
    let machine = machine();
    for (path, camera) in [("/videodevice+audiodevice", 0), ("/videodevice1+audiodevice", 1)] {
        let url = machine.url(&format!("{path}&w=160&h=90&fr=5&ae=G711A"));
        let (listed, colour) = seen(&url, &machine.file(""));
        assert_eq!(listed, "h264,160,90 pcm_alaw,8000,2", "{path}");
        is_like(colour, PATTERNS[camera].2);
    }
    let (level, of_tone) = heard_at(&machine.file("seen.mkv").display().to_string(), TONE);
    println!("level {level}, tone {of_tone}");
    // The machine is slow, and leaves something out.
    assert!(of_tone > 0.5, "{of_tone}");
}

#[cfg_attr(feature = "ffmpeg", test)]
fn pictures_come_at_the_rate_that_is_asked_for() {
    let machine = machine();
    let mut viewer = open(&machine, "/videodevice&w=160&h=90&fr=8");
    let times = |viewer: &Viewer| {
        let mut times: Vec<_> = viewer.tracks[0].packets.iter().map(|packet| packet.timestamp).collect();
        times.dedup();
        times
    };
    assert!(viewer.receive_until(PATIENCE, |viewer| times(viewer).len() > 30));
    let times = times(&viewer);
    let rate = 20.0 * 90_000.0 / f64::from(times[30].wrapping_sub(times[10]));
    assert!((rate / 8.0 - 1.0).abs() < 0.02, "{rate} pictures a second");
}

#[cfg_attr(feature = "ffmpeg", test)]
fn viewers_share_one_camera_which_is_set_to_what_the_most_demanding_wants() {
    let machine = machine();
    is_free(&machine, "videodevice1");
    let opened = || machine.log("server").matches("device opened device=videodevice1\n").count();
    let before = opened();
    let mut viewers = vec![
        open(&machine, "/videodevice1&w=320&h=180&fr=5"),
        open(&machine, "/videodevice1&w=320&h=180&fr=5"),
        open(&machine, "/videodevice1&w=160&h=90&fr=4"),
    ];
    for viewer in &mut viewers {
        goes_on(viewer, 3);
    }
    assert_eq!(opened(), before + 1);
    viewers.push(open(&machine, "/videodevice1&w=640&h=360&fr=4"));
    machine.wait_for_log("server", "640x360 at", 1);
    for viewer in &mut viewers {
        goes_on(viewer, 3);
    }
    assert_eq!(opened(), before + 2);
    drop(viewers);
    is_free(&machine, "videodevice1");
}

/// Plays a camera until many pictures have come, which must be those of a clip, byte for byte and in its order.
fn is_passed_on(machine: &Machine, path: &str, video: Video, clip: &[Vec<u8>]) {
    let mut viewer = open(machine, path);
    let is_enough = |viewer: &Viewer| viewer.tracks[0].units().len() > 30;
    assert!(viewer.receive_until(PATIENCE, is_enough), "{path}: {} pictures", viewer.tracks[0].units().len());
    assert!(viewer.tracks[0].gaps().is_empty());
    let units = viewer.tracks[0].units();
    // The last may not be whole.
    let received: Vec<Vec<u8>> = units[..units.len() - 1]
        .iter()
        .map(|packets| received_picture(video, packets).unwrap().concat())
        .collect();
    let places: Vec<usize> =
        received.iter().filter_map(|picture| clip.iter().position(|own| own == picture)).collect();
    println!("{path}: {places:?}");
    // Whoever feeds the loopback writes over what a slow machine still reads: one picture may be torn, no more.
    assert!(places.len() + 1 >= received.len(), "{path}: {} of {}", places.len(), received.len());
    // A slow machine may let one go by, but none comes twice or out of its order.
    let steps = places.windows(2).map(|pair| (pair[1] + CLIP_PICTURES - pair[0]) % CLIP_PICTURES);
    assert!(steps.clone().all(|step| (1..CLIP_PICTURES / 2).contains(&step)), "{path}: {places:?}");
    assert!(steps.filter(|step| *step == 1).count() > places.len() / 2, "{path}: {places:?}");
}

#[cfg_attr(feature = "ffmpeg", test)]
fn motion_jpeg_of_a_camera_passes_untouched_and_is_made_anew_for_who_asks_for_another_codec() {
    let machine = machine();
    let clip = machine.file("jpeg.mjpeg");
    let arguments =
        format!("-nostdin -v error -y -i {} -c copy {}", machine.file("jpeg.mkv").display(), clip.display());
    run("ffmpeg", &words(&arguments), PATIENCE).unwrap();
    let pictures = stream_pictures(Video::Jpeg, &fs::read(&clip).unwrap());
    assert_eq!(pictures.len(), CLIP_PICTURES);
    is_passed_on(&machine, "/videodevice2&ve=JPEG", Video::Jpeg, &pictures);
    let _passing = open(&machine, "/videodevice2&ve=JPEG");
    assert_eq!(seen(&machine.url("/videodevice2&w=160&h=90&fr=5"), &machine.file("")).0, "h264,160,90");
    assert!(machine.log("server").contains("MJPG 320x180 at 30"), "{}", machine.log("server"));
}

#[cfg_attr(feature = "ffmpeg", test)]
fn h264_of_a_camera_passes_untouched_where_nothing_else_is_asked_for() {
    let machine = machine();
    let clip = machine.file("h264.h264");
    let kept =
        format!("-nostdin -v error -y -i {} -c copy {}", machine.file("h264.ts").display(), clip.display());
    run("ffmpeg", &words(&kept), PATIENCE).unwrap();
    // Each picture is one slice: the preset has no more.
    let slices = picture_pieces(Video::H264, &fs::read(&clip).unwrap());
    assert_eq!(slices.len(), CLIP_PICTURES);
    is_passed_on(&machine, "/videodevice5", Video::H264, &slices);
    let (listed, _) = seen(&machine.url("/videodevice5"), &machine.file(""));
    assert_eq!(listed, "h264,320,180");
}

#[cfg_attr(feature = "ffmpeg", test)]
fn a_camera_that_is_unplugged_is_watched_on_when_it_is_back() {
    let machine = machine();
    let log = |what: &str| machine.log("server").matches(what).count();
    let (lost, back) = ("device lost device=videodevice ", "device is back device=videodevice\n");
    let before = (log(lost), log(back));
    let mut viewer = open(&machine, "/videodevice&w=160&h=90&fr=5");
    goes_on(&mut viewer, 5);
    let driver = "/sys/bus/platform/drivers/vivid";
    machine.run(&format!("echo vivid.0 >{driver}/unbind"));
    machine.wait_for_log("server", lost, before.0 + 1);
    assert!(machine.log("server").contains("it was unplugged"));
    let refused = asked(&machine, "/videodevice1").expect(503);
    assert!(refused.text().contains("is not plugged in"), "{}", refused.text());
    // Others keep their numbers meanwhile.
    asked(&machine, "/videodevice2&ve=JPEG").expect(200);
    machine.run(&format!("echo vivid.0 >{driver}/bind"));
    machine.wait_for_log("server", back, before.1 + 1);
    goes_on(&mut viewer, 10);
    assert!(viewer.tracks[0].gaps().is_empty());
    paint(&machine);
}

#[cfg_attr(feature = "ffmpeg", test)]
fn what_cannot_be_opened_is_refused_with_the_reason() {
    let machine = machine();
    asked(&machine, "/videodevice9").expect(404);
    machine.wait_for_log("server", "no such camera; there are 4: vivid, /dev/video0, platform:vivid-000", 1);
    is_free(&machine, "videodevice1");
    machine.begin("other", "v4l2-ctl -d /dev/video1 --stream-mmap --stream-count=1000000");
    machine.wait_for_log("other", "<", 1);
    let refused = asked(&machine, "/videodevice1&w=160&h=90").expect(503);
    assert!(refused.text().contains("/dev/video1 is in use by another program"), "{}", refused.text());
    machine.run("kill $(cat /mnt/other.pid)");
    asked(&machine, "/videodevice1&w=160&h=90").expect(200);
}

#[cfg_attr(feature = "ffmpeg", test)]
fn cameras_are_listed_with_names_and_modes_and_who_may_not_look_is_told_so() {
    let machine = machine();
    let listed = machine.run("/srv/rtspserver devices -c /mnt/rtspserver.xml");
    println!("{listed}");
    for wanted in [
        "/videodevice              vivid, /dev/video0, platform:vivid-000\n",
        "/videodevice1             vivid, /dev/video1, platform:vivid-001\n",
        "/videodevice2             jpegs, /dev/video10, platform:v4l2loopback-000\n",
        "/videodevice5             slices, /dev/video11, platform:v4l2loopback-001\n",
        "320x180 at ",
        " MJPG: 320x180 at 30\n",
        " H264: 320x180 at 30\n",
    ] {
        assert!(listed.contains(wanted), "{wanted:?}: {listed}");
    }
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let listed = machine.run(&format!("{nobody} /srv/rtspserver devices -c /mnt/rtspserver.xml"));
    assert!(listed.contains("none of cameras: no permission for /dev/video0"), "{listed}");
}
