//! Media that is encrypted beside TLS, by GStreamer and by a client of our own.

use std::time::Duration;

use bytes::BytesMut;
use proto::mikey::{Message, Source};
use proto::rtsp::headers::key_mgmt::KeyMgmt;
use proto::srtp::{Keys, MasterKey, RANDOM_BYTES, Receiver, Suite};
use proto::time::NtpTime;
use smallvec::smallvec;

use super::opener::Opener;
use super::{FILE, PATIENCE, builder, gstreamer_plays};
use crate::client::publisher::Publisher;
use crate::client::viewer::{BOTH, Over, Viewer, port_pair};
use crate::client::{Client, Message as Came, Response};
use crate::corpus::Recipe;
use crate::judge::Turn;
use crate::published::gstreamer::watch_by_gstreamer;
use crate::published::{await_stream, sending, spawn};
use crate::server::{Backend, Server, on_both_backends};

/// The lines of the log that hold `what`.
fn lines(server: &Server, what: &str) -> Vec<String> {
    server.log().lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
}

/// Whether every session that GStreamer had was encrypted both ways, and what it reported was understood.
#[track_caller]
fn assert_both_ways(server: &Server, suite: &str) {
    let setups = lines(server, " srtp ");
    assert!(!setups.is_empty());
    for line in setups {
        assert!(line.contains(suite) && line.contains("is_brought=true"), "{line}");
    }
    for line in lines(server, "session ended").iter().filter(|line| line.contains("rtsps://")) {
        assert!(line.contains("malformed=0"), "{line}");
    }
}

fn gstreamer_plays_files_in_srtp(backend: Backend) {
    for (setting, suite) in SUITES {
        let server = builder(backend).setting("srtp", setting).start();
        gstreamer_plays(&server, &["h264_ip_aac.mp4", "jpeg_pcmu.mov"]);
        assert_both_ways(&server, suite);
    }
}

fn gstreamer_plays_live_streams_in_srtp(backend: Backend) {
    let recipe = Recipe::named("h264_ip_aac.mp4");
    for (setting, suite) in SUITES {
        // Where viewers without SRTP would catch up, others see it at its own pace.
        let server = builder(backend).setting("srtp", setting).setting("gop_cache", 1).start();
        for over in BOTH {
            let _turn = Turn::wait();
            let path = format!("/live/{}", over.name());
            let to = server.url(&path);
            let verdict = watch_by_gstreamer(&server.secure_url(&path), over.name(), recipe, || {
                let publishing = spawn("ffmpeg", &sending(recipe, Over::Tcp, &to));
                await_stream(&server, &to).map(|()| publishing)
            });
            assert_eq!(verdict, Ok(()), "{setting} {over:?}");
        }
        assert_both_ways(&server, suite);
    }
}

/// A description in TLS with the keys that it tells, one a track, and the URLs of the tracks.
fn described(client: &mut Client, url: &str) -> Vec<(String, Message)> {
    let answer = client.request("DESCRIBE", url, &[]).expect(200);
    let base = answer.header("Content-Base").unwrap().to_owned();
    let text = answer.text();
    let sections = text.split("m=").skip(1).map(|section| {
        assert!(section.contains(" RTP/SAVP "), "{section}");
        let value = |name: &str| {
            let line = section.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {section}")).to_owned()
        };
        let mikey = KeyMgmt::parse_attribute(&value("a=key-mgmt:")).unwrap();
        let control = value("a=control:");
        (format!("{base}{control}"), Message::parse(&mikey).unwrap())
    });
    sections.collect()
}

/// Settings and what the log calls them.
const SUITES: [(&str, &str); 3] =
    [("aes_cm", "AesCm128HmacSha1"), ("aes_gcm", "AeadAes128Gcm"), ("aes_gcm_256", "AeadAes256Gcm")];

const TRANSPORT: (&str, &str) = ("Transport", "RTP/SAVP/TCP;unicast;interleaved=0-1");

/// The packets of channel 0, and those of channel 1 as they come.
fn packets(client: &mut Client, count: usize) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut media, mut reports) = (Vec::new(), Vec::new());
    while media.len() < count || reports.is_empty() {
        match frame(client) {
            (0, data) => media.push(data),
            (_, data) => reports.push(data),
        }
    }
    (media, reports)
}

/// The next interleaved frame: its channel, and what is in it.
fn frame(client: &mut Client) -> (u8, Vec<u8>) {
    client.frames.pop_front().unwrap_or_else(|| match client.next(PATIENCE) {
        Some(Came::Frame { channel, data }) => (channel, data),
        other => panic!("{other:?}"),
    })
}

/// The first packets that a viewer gets, and the key that it was told for them.
fn watched(opener: &Opener, url: &str) -> (Vec<Vec<u8>>, MasterKey) {
    let mut client = Client::connect(opener.address);
    let (track, key) = described(&mut client, url).swap_remove(0);
    let setup = client.request("SETUP", &track, &[TRANSPORT]).expect(200);
    assert!(setup.header("Transport").unwrap().starts_with("RTP/SAVP/TCP;"), "{setup:?}");
    client.session = setup.session().map(str::to_owned);
    client.request("PLAY", url, &[]).expect(200);
    let (media, reports) = packets(&mut client, 60);
    let mut receiver = Receiver::new(&key.master);
    let mut plain = Vec::new();
    for packet in &media {
        plain.clear();
        receiver.handle_rtp(packet, &mut plain).unwrap();
        assert_eq!(plain[..12], packet[..12]);
        // A code of ten bytes, and the name of the key.
        assert_eq!((plain.len() + 10 + 4, key.master.mki.len()), (packet.len(), 4));
    }
    plain.clear();
    receiver.handle_rtcp(&reports[0], &mut plain).unwrap();
    assert_eq!(plain[1], 200, "a sender report");
    (media, key.master)
}

/// How many packets two viewers of a path both get; None when they have keys of their own.
fn shared(server: &Server, path: &str) -> Option<usize> {
    let opener = Opener::before(server.secure_address(), &[]);
    let url = server.secure_url(path);
    let ((first, key), (second, other)) = (watched(&opener, &url), watched(&opener, &url));
    (key == other).then(|| first.iter().filter(|packet| second.contains(packet)).count())
}

fn viewers_of_a_stream_share_bytes_and_those_of_a_file_do_not(backend: Backend) {
    // A stream whose sequence numbers are about to come round shares nothing: one in sixteen begins so.
    let stream = (0..4).find_map(|_| shared(&builder(backend).shards(1).start(), "/test"));
    assert!(stream.is_some_and(|common| common > 10), "{stream:?}");
    assert_eq!(shared(&builder(backend).start(), FILE), None);
}

fn reports_are_taken_under_the_key_that_was_brought(backend: Backend) {
    let server = builder(backend).setting("loop_nums", -1).start();
    let opener = Opener::before(server.secure_address(), &[]);
    let url = server.secure_url(FILE);
    let brought = MasterKey::new(Suite::AeadAes128Gcm, [7; RANDOM_BYTES], b"mki");
    let wrong = MasterKey::new(Suite::AeadAes128Gcm, [8; RANDOM_BYTES], b"mki");
    for (key, malformed) in [(&brought, "malformed=0"), (&wrong, "malformed=3")] {
        let mut client = Client::connect(opener.address);
        let (track, _) = described(&mut client, &url).swap_remove(0);
        let mikey =
            Message { bundle: 1, sources: smallvec![Source { ssrc: 5, roc: 0 }], master: brought.clone() };
        let mikey = mikey.write(NtpTime::default(), [1; 16]);
        let header = KeyMgmt { uri: track.clone(), mikey }.to_string();
        let setup = client.request("SETUP", &track, &[TRANSPORT, ("KeyMgmt", &header)]).expect(200);
        client.session = setup.session().map(str::to_owned);
        client.request("PLAY", &url, &[]).expect(200);
        for index in 1..=3 {
            // An empty receiver report (RFC 3550 section 6.4.2), and a name.
            let mut report =
                BytesMut::from(&b"\x80\xc9\0\x01\0\0\0\x05\x81\xca\0\x02\0\0\0\x05\x01\x01x\0"[..]);
            Keys::new(key).protect_rtcp(&mut report, 0, index);
            let [high, low] = (report.len() as u16).to_be_bytes();
            client.send([&[b'$', 1, high, low], &report[..]].concat());
        }
        client.request("TEARDOWN", &url, &[]).expect(200);
        server.wait_for_log(malformed, PATIENCE);
    }
}

/// What a client has to say of a key of its own.
fn mikey(master: &MasterKey) -> Vec<u8> {
    let sources = smallvec![Source { ssrc: 5, roc: 0 }];
    Message { bundle: 1, sources, master: master.clone() }.write(NtpTime::default(), [1; 16])
}

/// How many packets of channel 0 it takes until one can be read with `key`, which reads those behind it as well.
fn await_key(client: &mut Client, key: &MasterKey) -> usize {
    let mut receiver = Receiver::new(key);
    let mut plain = Vec::new();
    let (mut before, mut read) = (0, 0);
    while read < 20 {
        let (channel, packet) = frame(client);
        if channel != 0 {
            continue;
        }
        match receiver.handle_rtp(&packet, &mut plain) {
            Ok(()) => read += 1,
            Err(error) => {
                assert_eq!(read, 0, "{error}");
                before += 1;
            }
        }
    }
    before
}

fn media_is_under_the_key_that_a_viewer_brings_with_a_name(backend: Backend) {
    let server = builder(backend).setting("loop_nums", -1).start();
    let opener = Opener::before(server.secure_address(), &[]);
    for (path, suite) in [(FILE, Suite::AesCm128HmacSha1), ("/test", Suite::AeadAes256Gcm)] {
        let url = server.secure_url(path);
        let brought = MasterKey::new(suite, [7; RANDOM_BYTES], b"mine");
        let mut client = Client::connect(opener.address);
        let (track, _) = described(&mut client, &url).swap_remove(0);
        let header = KeyMgmt { uri: track.clone(), mikey: mikey(&brought) }.to_string();
        let setup = client.request("SETUP", &track, &[TRANSPORT, ("KeyMgmt", &header)]).expect(200);
        assert_eq!(setup.header("KeyMgmt"), None, "it is the client's");
        client.session = setup.session().map(str::to_owned);
        client.request("PLAY", &url, &[]).expect(200);
        assert_eq!(await_key(&mut client, &brought), 0);
        // Others have the stream's key.
        let (_, key) = watched(&opener, &url);
        assert!(key != brought);
        client.request("TEARDOWN", &url, &[]).expect(200);
    }
}

/// A request about a parameter.
fn ask(client: &mut Client, method: &str, url: &str, body: &str) -> Response {
    let length = body.len().to_string();
    let headers = [("Content-Type", "text/parameters"), ("Content-Length", &length)];
    client.request_with_body(method, url, &headers, body)
}

fn a_viewer_changes_its_key_while_media_flows(backend: Backend) {
    let server = builder(backend).setting("loop_nums", -1).start();
    let opener = Opener::before(server.secure_address(), &[]);
    for path in [FILE, "/test"] {
        let url = server.secure_url(path);
        let mut client = Client::connect(opener.address);
        let (track, told) = described(&mut client, &url).swap_remove(0);
        let setup = client.request("SETUP", &track, &[TRANSPORT]).expect(200);
        client.session = setup.session().map(str::to_owned);
        client.request("PLAY", &url, &[]).expect(200);
        assert_eq!(await_key(&mut client, &told.master), 0);
        let change = |client: &mut Client, url: &str, value: &str| {
            ask(client, "SET_PARAMETER", url, &format!("mikey: {value}\r\n"))
        };
        let of = |master: &MasterKey| KeyMgmt::parameter(&mikey(master));
        let suite = told.master.suite;
        for next in [b"1st", b"2nd"] {
            let next = MasterKey::new(suite, [next[0]; RANDOM_BYTES], next);
            change(&mut client, &url, &of(&next)).expect(200);
            // What had left before the answer is under the key before.
            await_key(&mut client, &next);
            let asked = ask(&mut client, "GET_PARAMETER", &track, "mikey\r\n").expect(200);
            let value = asked.text().trim().strip_prefix("mikey: ").expect("a key").to_owned();
            let read = Message::parse(&KeyMgmt::parse_parameter(&value).unwrap()).unwrap();
            assert_eq!((read.master, read.sources[0].roc), (next.clone(), 0));
            // Reports of the client are under the new key, too.
            let mut report =
                BytesMut::from(&b"\x80\xc9\0\x01\0\0\0\x05\x81\xca\0\x02\0\0\0\x05\x01\x01x\0"[..]);
            Keys::new(&next).protect_rtcp(&mut report, 0, 1);
            let [high, low] = (report.len() as u16).to_be_bytes();
            client.send([&[b'$', 1, high, low], &report[..]].concat());
        }
        // What is refused leaves the key as it is.
        let other = MasterKey::new(Suite::AeadAes128Gcm, [9; RANDOM_BYTES], b"3rd");
        let last = MasterKey::new(suite, [b'2'; RANDOM_BYTES], b"2nd");
        let sound = track.replace("trackID=0", "trackID=1");
        for (url, value) in [(&url, "AAAA"), (&url, "?"), (&url, &of(&other)), (&sound, &of(&last))] {
            change(&mut client, url, value).expect(463);
        }
        assert_eq!(await_key(&mut client, &last), 0);
        client.request("TEARDOWN", &url, &[]).expect(200);
        server.wait_for_log("malformed=0", PATIENCE);
        change(&mut client, &url, &of(&other)).expect(454);
    }
    // In the clear there is nothing to change.
    let mut viewer = Viewer::open(opener.address, &server.secure_url(FILE), Over::Tcp);
    viewer.play(&[]);
    let body = format!(
        "mikey: {}\r\n",
        KeyMgmt::parameter(&mikey(&MasterKey::new(Suite::AesCm128HmacSha1, [9; RANDOM_BYTES], b"")))
    );
    let url = server.secure_url(FILE);
    ask(&mut viewer.client, "SET_PARAMETER", &url, &body).expect(463);
    ask(&mut viewer.client, "GET_PARAMETER", &url, "mikey\r\n").expect(451);
}

/// Sends SETUP in SRTP with what a client brings; the answer.
fn set_up(client: &mut Client, track: &str, transport: &str, brought: Option<&MasterKey>) -> Response {
    let header = brought.map(|key| KeyMgmt { uri: track.to_owned(), mikey: mikey(key) }.to_string());
    let mut headers = vec![("Transport", transport)];
    headers.extend(header.as_deref().map(|header| ("KeyMgmt", header)));
    client.request("SETUP", track, &headers)
}

fn keys_are_for_connections_in_tls_alone(backend: Backend) {
    let server = builder(backend).setting("loop_nums", -1).start();
    let opener = Opener::before(server.secure_address(), &[]);
    let (rtp, rtcp) = port_pair();
    let ports = [&rtp, &rtcp].map(|socket| socket.local_addr().unwrap().port());
    let transport = format!("RTP/SAVP;unicast;client_port={}-{}", ports[0], ports[1]);
    let mut client = Client::connect(opener.address);
    let (track, told) = described(&mut client, &server.secure_url(FILE)).swap_remove(0);
    let setup = set_up(&mut client, &track, &transport, None).expect(200);
    // The same session, in the clear.
    let mut plain = Client::connect(server.address());
    plain.session = setup.session().map(str::to_owned);
    let url = server.url(FILE);
    ask(&mut plain, "GET_PARAMETER", &url, "mikey\r\n").expect(451);
    let next = MasterKey::new(told.master.suite, [3; RANDOM_BYTES], b"next");
    let body = format!("mikey: {}\r\n", KeyMgmt::parameter(&mikey(&next)));
    ask(&mut plain, "SET_PARAMETER", &url, &body).expect(463);
    // In TLS it is told, once however often it is asked for; and it is of this URL alone.
    client.session = setup.session().map(str::to_owned);
    let answer = ask(&mut client, "GET_PARAMETER", &track, &"mikey\r\n".repeat(1_000)).expect(200);
    assert_eq!(answer.text().matches("mikey:").count(), 1);
    ask(&mut client, "SET_PARAMETER", &server.secure_url("/other"), &body).expect(404);
    ask(&mut client, "SET_PARAMETER", &track, &body.repeat(2)).expect(463);
}

fn a_key_that_is_brought_twice_makes_no_packet_twice(backend: Backend) {
    let server = builder(backend).setting("loop_nums", -1).shards(1).start();
    let opener = Opener::before(server.secure_address(), &[]);
    let brought = MasterKey::new(Suite::AeadAes128Gcm, [7; RANDOM_BYTES], b"mine");
    for path in [FILE, "/test"] {
        let url = server.secure_url(path);
        let sources = [0, 1].map(|_| {
            let mut client = Client::connect(opener.address);
            let (track, _) = described(&mut client, &url).swap_remove(0);
            let setup = set_up(&mut client, &track, TRANSPORT.1, Some(&brought)).expect(200);
            client.session = setup.session().map(str::to_owned);
            client.request("PLAY", &url, &[]).expect(200);
            assert_eq!(await_key(&mut client, &brought), 0);
            let (_, packet) = frame(&mut client);
            assert_eq!(setup.transport("ssrc").map(str::len), Some(8));
            packet[8..12].to_vec()
        });
        assert_ne!(sources[0], sources[1], "{path}");
    }
}

fn a_key_counts_as_told_when_it_was(backend: Backend) {
    let server = builder(backend).start();
    let opener = Opener::before(server.secure_address(), &[]);
    let mut client = Client::connect(opener.address);
    let track = server.secure_url("/test/trackID=0");
    let brought = MasterKey::new(Suite::AesCm128HmacSha1, [7; RANDOM_BYTES], b"mine");
    let setup = set_up(&mut client, &track, TRANSPORT.1, Some(&brought)).expect(200);
    client.session = setup.session().map(str::to_owned);
    client.request("TEARDOWN", &track, &[]).expect(200);
    client.session = None;
    let setup = set_up(&mut client, &track, TRANSPORT.1, None).expect(200);
    assert!(setup.header("KeyMgmt").is_some());
}

fn a_refused_change_of_keys_changes_none(backend: Backend) {
    let server = builder(backend).start();
    let opener = Opener::before(server.secure_address(), &[]);
    let mut client = Client::connect(opener.address);
    let url = server.secure_url(FILE);
    let tracks = described(&mut client, &url);
    let other = MasterKey::new(Suite::AeadAes256Gcm, [7; RANDOM_BYTES], b"mine");
    let setup = set_up(&mut client, &tracks[0].0, TRANSPORT.1, None).expect(200);
    client.session = setup.session().map(str::to_owned);
    set_up(&mut client, &tracks[1].0, "RTP/SAVP/TCP;unicast;interleaved=2-3", Some(&other)).expect(200);
    let next = MasterKey::new(Suite::AesCm128HmacSha1, [9; RANDOM_BYTES], b"next");
    let body = format!("mikey: {}\r\n", KeyMgmt::parameter(&mikey(&next)));
    ask(&mut client, "SET_PARAMETER", &url, &body).expect(463);
    let answer = ask(&mut client, "GET_PARAMETER", &url, "mikey\r\n").expect(200);
    let text = answer.text();
    let keys = text.lines().filter_map(|line| line.strip_prefix("mikey: "));
    let keys: Vec<_> =
        keys.map(|value| Message::parse(&KeyMgmt::parse_parameter(value).unwrap()).unwrap().master).collect();
    assert!(keys == [tracks[0].1.master.clone(), other]);
}

fn packets_that_encryption_makes_too_large_for_datagrams_are_cut(backend: Backend) {
    let server = builder(backend).start();
    let opener = Opener::before(server.secure_address(), &[]);
    let mut publisher = Publisher::start(server.address(), &server.url("/live"), Over::Tcp);
    // Packets that fill an Ethernet frame.
    let mut send = |index| publisher.picture_of(index, true, 3, 1_450);
    send(0);
    let url = server.secure_url("/live");
    let mut client = Client::connect(opener.address);
    let (track, told) = described(&mut client, &url).swap_remove(0);
    let (rtp, rtcp) = port_pair();
    let ports = [&rtp, &rtcp].map(|socket| socket.local_addr().unwrap().port());
    let datagrams = format!("RTP/SAVP;unicast;client_port={}-{}", ports[0], ports[1]);
    let setup = set_up(&mut client, &track, &datagrams, None).expect(200);
    client.session = setup.session().map(str::to_owned);
    client.request("PLAY", &url, &[]).expect(200);
    server.wait_for_log("packets are made smaller", PATIENCE);
    rtp.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut receiver = Receiver::new(&told.master);
    let (mut plain, mut buffer, mut count) = (Vec::new(), [0; 2_000], 0);
    for index in 1..20 {
        send(index);
        while let Ok(size) = rtp.recv(&mut buffer) {
            assert!(size <= 1_472, "{size} bytes");
            receiver.handle_rtp(&buffer[..size], &mut plain).unwrap();
            count += 1;
        }
    }
    assert!(count > 60, "{count} packets");
    // Who takes TCP, and files whose packets are made here: where these would not fit, TCP alone is offered.
    set_up(&mut Client::connect(opener.address), &track, TRANSPORT.1, None).expect(200);
    let wide = builder(backend).setting("mtu", 1_460).start();
    let opener = Opener::before(wide.secure_address(), &[]);
    let mut client = Client::connect(opener.address);
    let (track, _) = described(&mut client, &wide.secure_url(FILE)).swap_remove(0);
    set_up(&mut client, &track, &datagrams, None).expect(461);
    set_up(&mut client, &track, TRANSPORT.1, None).expect(200);
}

fn packets_name_their_key_as_the_setting_has_it(backend: Backend) {
    for (setting, agent, is_named) in [
        ("auto", "Lavf60.3.100", true),
        ("auto", "GStreamer/1.22.0", false),
        ("1", "GStreamer/1.22.0", true),
        ("0", "Lavf60.3.100", false),
    ] {
        let server = builder(backend).setting("srtp_mki", setting).start();
        let opener = Opener::before(server.secure_address(), &[]);
        let mut client = Client::connect(opener.address);
        let url = server.secure_url("/test");
        let answer = client.request("DESCRIBE", &url, &[("User-Agent", agent)]).expect(200);
        let text = answer.text();
        let value = text.lines().find_map(|line| line.strip_prefix("a=key-mgmt:")).unwrap();
        let told = Message::parse(&KeyMgmt::parse_attribute(value).unwrap()).unwrap();
        assert_eq!(!told.master.mki.is_empty(), is_named, "{setting} {agent}");
    }
}

fn what_cannot_be_encrypted_is_refused(backend: Backend) {
    let server = builder(backend).start();
    let url = server.secure_url(FILE);
    // Keys are told in TLS alone.
    let mut plain = Client::connect(server.address());
    let answer = plain.request("DESCRIBE", &server.url(FILE), &[]).expect(200);
    assert!(!answer.text().contains("key-mgmt") && answer.text().contains(" RTP/AVP "));
    let track = server.url(&format!("{FILE}/trackID=0"));
    plain.request("SETUP", &track, &[TRANSPORT]).expect(461);
    let opener = Opener::before(server.secure_address(), &[]);
    let mut client = Client::connect(opener.address);
    let track = described(&mut client, &url).swap_remove(0).0;
    for value in [
        "nonsense",
        "prot=mikey;data=\"AAAA\"",
        "prot=mikey;data=\"AQAFAAAAAAAAAA==\"",
        "prot=other;data=\"x\"",
    ] {
        client.request("SETUP", &track, &[TRANSPORT, ("KeyMgmt", value)]).expect(463);
    }
    // Nothing is left of what was refused, and a viewer that wants no SRTP gets none.
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    let setup = client.request("SETUP", &track, &transport).expect(200);
    assert!(setup.header("Transport").unwrap().starts_with("RTP/AVP/TCP;"), "{setup:?}");
    // Who was told no key is told in the answer.
    let mut other = Client::connect(opener.address);
    let setup = other.request("SETUP", &track, &[TRANSPORT]).expect(200);
    let told = KeyMgmt::parse(setup.header("KeyMgmt").unwrap()).unwrap();
    assert!(told.uri == track && Message::parse(&told.mikey).is_ok());
    // Two sessions of one connection never share a file's key.
    let again = other.request("SETUP", &track, &[TRANSPORT]).expect(200);
    let told_again = KeyMgmt::parse(again.header("KeyMgmt").unwrap()).unwrap();
    let key = |told: &KeyMgmt| Message::parse(&told.mikey).unwrap().master;
    assert!(key(&told) != key(&told_again));
}

fn whoever_asks_for_no_description_is_told_every_tracks_key(backend: Backend) {
    let server = builder(backend).start();
    let opener = Opener::before(server.secure_address(), &[]);
    let mut client = Client::connect(opener.address);
    let mut keys = Vec::new();
    for (track, channels) in [(0, "0-1"), (1, "2-3")] {
        let url = server.secure_url(&format!("{FILE}/trackID={track}"));
        let transport = format!("RTP/SAVP/TCP;unicast;interleaved={channels}");
        let setup = client.request("SETUP", &url, &[("Transport", &transport)]).expect(200);
        client.session = setup.session().map(str::to_owned);
        let told = KeyMgmt::parse(setup.header("KeyMgmt").expect("a key")).unwrap();
        keys.push(Message::parse(&told.mikey).unwrap().master);
    }
    assert!(keys[0] != keys[1]);
}

fn a_track_that_is_set_up_again_has_another_key(backend: Backend) {
    let server = builder(backend).start();
    let opener = Opener::before(server.secure_address(), &[]);
    let url = server.secure_url(FILE);
    let mut client = Client::connect(opener.address);
    let [(pictures, told), (sound, _)] = described(&mut client, &url).try_into().unwrap();
    let setup = client.request("SETUP", &pictures, &[TRANSPORT]).expect(200);
    assert_eq!(setup.header("KeyMgmt"), None, "the description has told it");
    client.session = setup.session().map(str::to_owned);
    client.request("SETUP", &sound, &[("Transport", "RTP/SAVP/TCP;unicast;interleaved=2-3")]).expect(200);
    client.request("PLAY", &url, &[]).expect(200);
    while !client.frames.iter().any(|(channel, _)| *channel == 0) {
        match client.next(PATIENCE) {
            Some(Came::Frame { channel, data }) => client.frames.push_back((channel, data)),
            other => panic!("{other:?}"),
        }
    }
    client.request("PAUSE", &url, &[]).expect(200);
    client.request("TEARDOWN", &pictures, &[]).expect(200);
    let again = client.request("SETUP", &pictures, &[TRANSPORT]).expect(200);
    let told_again = KeyMgmt::parse(again.header("KeyMgmt").expect("another key")).unwrap();
    assert!(Message::parse(&told_again.mikey).unwrap().master != told.master);
}

fn a_viewer_without_srtp_plays_what_was_described_with_keys(backend: Backend) {
    let server = builder(backend).start();
    let opener = Opener::before(server.secure_address(), &[]);
    for over in BOTH {
        let mut viewer = Viewer::open(opener.address, &server.secure_url(FILE), over);
        viewer.play(&[]);
        assert!(viewer.receive_until(Duration::from_secs(5), |viewer| viewer.tracks[0].packets.len() > 10));
        viewer.teardown();
    }
    assert!(lines(&server, " srtp ").is_empty());
}

on_both_backends!(;
    "tls":
    gstreamer_plays_files_in_srtp,
    gstreamer_plays_live_streams_in_srtp,
    viewers_of_a_stream_share_bytes_and_those_of_a_file_do_not,
    reports_are_taken_under_the_key_that_was_brought,
    media_is_under_the_key_that_a_viewer_brings_with_a_name,
    a_viewer_changes_its_key_while_media_flows,
    packets_name_their_key_as_the_setting_has_it,
    keys_are_for_connections_in_tls_alone,
    a_key_that_is_brought_twice_makes_no_packet_twice,
    a_key_counts_as_told_when_it_was,
    a_refused_change_of_keys_changes_none,
    packets_that_encryption_makes_too_large_for_datagrams_are_cut,
    what_cannot_be_encrypted_is_refused,
    whoever_asks_for_no_description_is_told_every_tracks_key,
    a_track_that_is_set_up_again_has_another_key,
    a_viewer_without_srtp_plays_what_was_described_with_keys,
);
