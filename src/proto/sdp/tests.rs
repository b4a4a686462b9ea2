//! What is written is read, and what real devices write too.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::track::{BitOrder, Codec, Framing, Kind, Law, Track};

/// As the manual of the Happytime server prints it.
const HAPPYTIME_ANNOUNCE: &str = "v=0
o=- 0 0 IN IP4 192.168.3.27
s=session
c=IN IP4 192.168.3.27
t=0 0
a=control:*
m=video 0 RTP/AVP 96 a=rtpmap:96 H264/90000 a=fmtp:96

---

packetization-mode=1;profile-level-id=000015;sprop-parameter-sets=Z2QAFaw07AoDmwEQ\x20\x20
AA ADABAAAAMDCPFi04A=,aO+8sA==\x20\x20
a=control:realvideo m=audio 0 RTP/AVP 97\x20\x20
a=rtpmap:97 MPEG4-GENERIC/8000/2\x20\x20
a=fmtp:97\x20\x20
streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltaleng\x20\x20
th= 3;config=159056E500\x20\x20
a=control:realaudio
";

fn only(text: &str) -> Media {
    let session = parse(text).unwrap();
    assert_eq!(session.media.len(), 1);
    session.media[0].clone()
}

#[test]
fn the_announcement_of_the_manual_with_its_glued_and_broken_lines_is_read() {
    let session = parse(HAPPYTIME_ANNOUNCE).unwrap();
    assert_eq!(session.name, "session");
    assert_eq!(session.control.as_deref(), Some("*"));
    let [video, audio] = &session.media[..] else { panic!("two media in {session:?}") };
    assert_eq!((video.control.as_deref(), audio.control.as_deref()), (Some("realvideo"), Some("realaudio")));
    let Codec::H264 { sps, pps, .. } = &video.track().unwrap().codec else { panic!("{video:?}") };
    assert_eq!(
        (sps[0][..4].to_vec(), &pps[0][..]),
        (vec![0x67, 0x64, 0, 0x15], &[0x68, 0xef, 0xbc, 0xb0][..])
    );
    let config = Bytes::from_static(&[0x15, 0x90, 0x56, 0xe5, 0]);
    assert_eq!(audio.track().unwrap().codec, Codec::Aac { config, sample_rate: 8_000, channels: 2 });
}

#[test]
fn a_description_without_origin_name_control_and_carriage_returns_is_read() {
    let media = only("v=0\nm=video 0 RTP/AVP 26\n");
    assert_eq!((media.control.as_deref(), media.direction), (None, Direction::Receive));
    assert_eq!(media.track().unwrap().codec, Codec::Jpeg);
    let session = parse("m=audio 0 RTP/AVP 8").unwrap();
    assert_eq!(session.control_url("rtsp://host/cam?x=1", &session.media[0]), "rtsp://host/cam?x=1");
}

#[test]
fn control_urls_are_joined_to_their_base() {
    let session = parse("v=0\na=control:*\nm=video 0 RTP/AVP 96\na=control:trackID=0\n").unwrap();
    let [media] = &session.media[..] else { panic!() };
    assert_eq!(session.control_url("rtsp://[::1]:554/a/", media), "rtsp://[::1]:554/a/trackID=0");
    assert_eq!(session.control_url("rtsp://host/a?b=c", media), "rtsp://host/a?b=c/trackID=0");
    assert_eq!(session.aggregate_url("rtsp://host/a/"), "rtsp://host/a/");
    let absolute = only("v=0\nm=video 0 RTP/AVP 96\na=control:rtsp://10.0.0.1/v\n");
    assert_eq!(session.control_url("rtsp://host/a/", &absolute), "rtsp://10.0.0.1/v");
}

#[test]
fn parameters_in_the_section_of_another_media_are_found() {
    let session = parse(
        "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track0\r\nm=audio 0 RTP/AVP 8\r\n\
         a=rtpmap:0 pcma/8000/1\r\na=control:track1\r\n\
         a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0IAH5WoFAFuQA==,aM48gA==\r\n",
    )
    .unwrap();
    assert!(matches!(&session.media[0].track().unwrap().codec, Codec::H264 { sps, pps, .. }
        if sps.len() == 1 && pps.len() == 1));
    let law = Law::A;
    assert_eq!(session.media[1].track().unwrap().codec, Codec::G711 { law, sample_rate: 8_000, channels: 1 });
}

#[test]
fn parameters_with_blanks_capitals_and_a_last_semicolon_are_read() {
    let media = only(
        "v=0\nm=audio 0 RTP/AVP 127\na=rtpmap:127 MPEG4-GENERIC/16000\n\
         a=fmtp:127 streamtype=5; mode=AAC-hbr; sizeLength=13; indexLength=3; indexDeltalength=3; config=1408;\n",
    );
    let config = Bytes::from_static(&[0x14, 0x08]);
    assert_eq!(media.track().unwrap().codec, Codec::Aac { config, sample_rate: 16_000, channels: 1 });
}

#[test]
fn sets_without_padding_or_with_a_start_code_are_read() {
    let media = only(
        "v=0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 sprop-parameter-sets=AAAAAWdCAB4,aM48gA,\n",
    );
    let (sps, pps) = (
        vec![Bytes::from_static(&[0x67, 0x42, 0, 0x1e])],
        vec![Bytes::from_static(&[0x68, 0xce, 0x3c, 0x80])],
    );
    assert_eq!(media.track().unwrap().codec, Codec::H264 { sps, pps, framing: Framing::AnnexB });
}

#[test]
fn unknown_formats_and_media_keep_their_place() {
    let session = parse(
        "v=0\nm=application/MERCURY 0 RTP/AVP smart/1/90000\na=rtpmap:95 MERCURY/90000\n\
         m=application 0 RTP/AVP 107\na=rtpmap:107 vnd.onvif.metadata/90000\na=sendonly\n\
         m=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/8000\na=fmtp:97 mode=AAC-lbr;sizelength=6\n",
    )
    .unwrap();
    let codecs: Vec<_> = session.media.iter().map(|media| media.track().unwrap().codec.clone()).collect();
    let other = |kind, rtpmap: &str, fmtp: Option<&str>| Codec::Other {
        kind,
        rtpmap: rtpmap.into(),
        fmtp: fmtp.map(str::to_owned),
    };
    assert_eq!(codecs[0], other(Kind::Application, "MERCURY/90000", None));
    assert_eq!(codecs[1], other(Kind::Application, "vnd.onvif.metadata/90000", None));
    assert_eq!(codecs[2], other(Kind::Audio, "mpeg4-generic/8000", Some("mode=AAC-lbr;sizelength=6")));
    assert_eq!(session.media[1].direction, Direction::Send);
}

#[test]
fn a_media_of_several_payload_types_lists_them_in_order() {
    let media = only(
        "v=0\na=sendonly\nm=audio 7000/2 RTP/AVP 0 8 97\nc=IN IP4 239.1.2.3/16\na=rtpmap:97 G726-32/8000\n",
    );
    let types: Vec<_> = media.formats.iter().map(|track| track.payload_type).collect();
    assert_eq!((types, media.port, media.direction), (vec![0, 8, 97], 7_000, Direction::Send));
    assert_eq!(media.address, Some("239.1.2.3".parse().unwrap()));
    assert_eq!(media.formats[2].codec, Codec::G726 { bits: 4, order: BitOrder::LeastFirst });
}

#[test]
fn ranges_tell_duration_and_liveness() {
    let range = |range: &str| {
        let session = parse(&format!("v=0\na=range:{range}\n")).unwrap();
        (session.duration, session.live)
    };
    assert_eq!(range("npt=0-34.4"), (Some(Duration::from_millis(34_400)), false));
    assert_eq!(range("npt=00:00:01-00:01:02.5"), (Some(Duration::from_millis(61_500)), false));
    assert_eq!(range("npt=now-"), (None, true));
    assert_eq!(range("npt=0-"), (None, false));
    assert_eq!(range("npt=9-1e300"), (None, false));
}

#[test]
fn what_is_too_large_or_no_description_is_refused() {
    assert_eq!(parse(""), Err(SdpError::NotSdp));
    assert_eq!(parse("<html></html>"), Err(SdpError::NotSdp));
    assert_eq!(parse(&"m=video 0 RTP/AVP 96\n".repeat(65)), Err(SdpError::TooManyMedia));
    assert_eq!(parse(&"m=video 0 RTP/AVP 96\n".repeat(64)).unwrap().media.len(), 64);
    assert_eq!(parse(&"v=0\n".repeat(20_000)), Err(SdpError::TooLarge));
}

fn sets(head: &'static [u8]) -> impl Strategy<Value = Vec<Bytes>> {
    let set = vec(any::<u8>(), 3..40).prop_map(move |rest| Bytes::from([head, &rest].concat()));
    vec(set, 1..3)
}

fn config() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 1..30).prop_map(Bytes::from)
}

fn video() -> impl Strategy<Value = Codec> {
    let framing = Framing::AnnexB;
    prop_oneof![
        (sets(&[0x67]), sets(&[0x68])).prop_map(move |(sps, pps)| Codec::H264 { sps, pps, framing }),
        (sets(&[0x40, 1]), sets(&[0x42, 1]), sets(&[0x44, 1])).prop_map(move |(vps, sps, pps)| Codec::H265 {
            vps,
            sps,
            pps,
            framing
        }),
        config().prop_map(|config| Codec::Mpeg4Visual { config }),
        Just(Codec::Jpeg),
        Just(Codec::Vp8),
        (0u8..4).prop_map(|profile| Codec::Vp9 { profile }),
        Just(Codec::Av1 { sequence_header: Bytes::new() }),
    ]
}

fn audio() -> impl Strategy<Value = Codec> {
    let law = prop_oneof![Just(Law::A), Just(Law::Mu)];
    let order = prop_oneof![Just(BitOrder::LeastFirst), Just(BitOrder::MostFirst)];
    prop_oneof![
        (config(), 1u32..96_001, 1u8..9).prop_map(|(config, sample_rate, channels)| Codec::Aac {
            config,
            sample_rate,
            channels
        }),
        (1u8..3).prop_map(|channels| Codec::Opus { channels }),
        (law, prop_oneof![Just(8_000u32), 1u32..48_001], 1u8..3)
            .prop_map(|(law, sample_rate, channels)| Codec::G711 { law, sample_rate, channels }),
        (1u8..3).prop_map(|channels| Codec::G722 { channels }),
        (2u8..6, order).prop_map(|(bits, order)| Codec::G726 { bits, order }),
        Just(Codec::MpegAudio),
        (prop_oneof![Just(44_100u32), 1u32..48_001], 1u8..9)
            .prop_map(|(sample_rate, channels)| Codec::L16 { sample_rate, channels }),
        Just(Codec::Other { kind: Kind::Audio, rtpmap: "speex/16000".into(), fmtp: Some("vbr=on".into()) }),
    ]
}

fn track() -> impl Strategy<Value = Track> {
    let size = option::of((1u32..9_000, 1u32..9_000));
    let framerate = option::of((1u32..240_000).prop_map(|thousandths| f64::from(thousandths) / 1_000.0));
    let bitrate = option::of((1u64..100_000).prop_map(|kbits| kbits * 1_000));
    let picture = (video(), size, framerate).prop_map(|(codec, size, framerate)| Track {
        size,
        framerate,
        ..Track::new(codec, 0)
    });
    let any = prop_oneof![picture, audio().prop_map(|codec| Track::new(codec, 1))];
    (any, bitrate).prop_map(|(track, bitrate)| Track { bitrate, ..track })
}

proptest! {
    #[test]
    fn tracks_are_read_as_they_were_written(
        tracks in vec(track(), 0..5), name in "[ -~é]{0,20}", seconds in option::of(0u32..100_000), v6: bool,
        to in option::of((any::<[u8; 3]>(), 1u16..u16::MAX - 5)),
    ) {
        let address = |[a, b, c]: [u8; 3], index| match v6 {
            true => Ipv6Addr::new(0xff3e, 0, 0, 0, 0, a.into(), b.into(), u16::from(c) + index).into(),
            false => IpAddr::from([232, a, b, c]),
        };
        let group = |index| to.map(|(bytes, port)| Group { address: address(bytes, index), port: port + index });
        let groups: Vec<_> = (0..tracks.len()).filter_map(|index| group(index as u16)).collect();
        let source = "2001:db8::1".parse().unwrap();
        let description = Description {
            origin_id: 1,
            origin_version: 1,
            address: if v6 { "::1".parse().unwrap() } else { "127.0.0.1".parse().unwrap() },
            name: &name,
            duration: seconds.map(|seconds| Duration::from_secs(seconds.into())),
            recording: None,
            live: seconds.is_none(),
            tracks: &tracks,
            keys: &[],
            backchannel: &[],
            multicast: to.map(|_| Multicast { groups: &groups, ttl: 9, source }),
        };
        let session = parse(&description.write()).unwrap();
        let read: Vec<_> = session.media.iter().map(|media| media.track().unwrap().clone()).collect();
        prop_assert_eq!(&read, &tracks);
        prop_assert_eq!((session.duration, session.live), (description.duration, description.live));
        prop_assert_eq!(session.name, if name.trim() == "-" { "" } else { name.trim() });
        for (index, media) in session.media.iter().enumerate() {
            let expected = format!("trackID={index}");
            prop_assert_eq!(media.control.as_deref(), Some(expected.as_str()));
            let read = (media.address, media.port);
            let sent = groups.get(index).map_or((None, 0), |group| (Some(group.address), group.port));
            prop_assert_eq!(read, sent);
        }
    }

    #[test]
    fn any_text_is_read_without_panic(
        text in ".{0,200}",
        lines in vec("(v|o|s|c|b|t|a|m)=(video|audio|rtpmap:|fmtp:|control:|range:npt=|AS:)?[ -~]{0,40}", 0..20),
    ) {
        let _ = parse(&text);
        let _ = parse(&lines.join("\r\n"));
        let _ = parse(&lines.join(" "));
    }
}
