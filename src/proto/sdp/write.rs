//! The description that answers DESCRIBE.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use super::format;
use super::group::Multicast;
use crate::rtsp::headers::date::Utc;
use crate::rtsp::headers::range::Span;
use crate::track::{Codec, Kind, Track};

/// What one presentation says of itself (RFC 8866 section 5, RFC 2326 appendix C).
#[derive(Clone, Debug)]
pub struct Description<'a> {
    /// Session id of `o=`: the same as long as the presentation is the same.
    pub origin_id: u64,
    /// Session version of `o=`: greater after every change.
    pub origin_version: u64,
    /// The server's address, for `o=`; its family is that of `c=`.
    pub address: IpAddr,
    /// Name for `s=`; line breaks are left out, and an empty one is written as `-`.
    pub name: &'a str,
    /// How long it plays; None when live or unknown.
    pub duration: Option<Duration>,
    /// What is known of a recording; None of what is none.
    pub recording: Option<Recording>,
    /// Whether it is live, so that its range is the present.
    pub live: bool,
    /// The tracks in the order of their control URLs `trackID=0`, `trackID=1` and so on.
    pub tracks: &'a [Track],
    /// Value of `key-mgmt` for each track (RFC 4567); empty where packets leave as they are.
    pub keys: &'a [String],
    /// What the track behind them takes from the viewer, the preferred format first; empty when there is none (ONVIF
    /// streaming specification section 5.3.1).
    pub backchannel: &'a [Track],
    /// The groups that it is sent to; None when each viewer says where.
    pub multicast: Option<Multicast<'a>>,
}

/// When something was recorded (ONVIF streaming specification section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Its first moment.
    pub begun: Utc,
    /// Whether the range is told by the time of day: to clients that ask by it.
    pub by_clock: bool,
}

impl Description<'_> {
    /// The text, lines ended by CR LF.
    pub fn write(&self) -> String {
        let mut out = String::with_capacity(256 + 384 * self.tracks.len());
        // Writing to a string cannot fail.
        let _ = self.write_session(&mut out);
        for (index, track) in self.tracks.iter().enumerate() {
            let multicast = self.multicast.as_ref();
            let key = self.keys.get(index).map(String::as_str);
            let _ = write_media(&mut out, index, std::slice::from_ref(track), multicast, key);
            // Said of what goes the usual way where something may come back, and of metadata always (ONVIF streaming
            // specification section 5.2.2.2).
            if !self.backchannel.is_empty() || track.codec == Codec::Metadata {
                out.push_str("a=recvonly\r\n");
            }
            if self.recording.is_some() {
                let reference = self.track_reference(index, track);
                let _ = write!(out, "a=x-onvif-track:{reference}\r\n");
            }
        }
        if !self.backchannel.is_empty() {
            let _ = write_media(&mut out, self.tracks.len(), self.backchannel, None, None);
            out.push_str("a=sendonly\r\n");
        }
        out
    }

    /// What a track is called in a recording: its kind, and which of that kind it is.
    fn track_reference(&self, index: usize, track: &Track) -> String {
        let kind = track.kind();
        let number = self.tracks[..=index].iter().filter(|other| other.kind() == kind).count();
        let name = match kind {
            Kind::Video => "VIDEO",
            Kind::Audio => "AUDIO",
            Kind::Application => "META",
        };
        format!("{name}{number:03}")
    }

    fn write_session(&self, out: &mut String) -> std::fmt::Result {
        let (family, any) = match self.address {
            IpAddr::V4(_) => ("IP4", "0.0.0.0"),
            IpAddr::V6(_) => ("IP6", "::"),
        };
        write!(
            out,
            "v=0\r\no=- {} {} IN {family} {}\r\n",
            self.origin_id, self.origin_version, self.address
        )?;
        let name: String = self.name.chars().filter(|letter| !letter.is_control()).collect();
        write!(out, "s={}\r\n", if name.is_empty() { "-" } else { &name })?;
        // Some players look for a group here alone.
        match self.multicast.and_then(|multicast| Some((multicast.groups.first()?, multicast.ttl))) {
            Some((group, ttl)) => group.write_connection(out, ttl)?,
            None => write!(out, "c=IN {family} {any}\r\n")?,
        }
        write!(out, "t=0 0\r\na=control:*\r\n")?;
        if let Some(Recording { begun, by_clock: true }) = self.recording {
            let end = self.duration.map(|duration| Utc(begun.0.saturating_add(duration)));
            return write!(out, "a=range:{}\r\n", Span::Clock { from: Some(begun), to: end });
        }
        match self.duration {
            Some(duration) => write!(out, "a=range:npt=0-{:.3}\r\n", duration.as_secs_f64()),
            None if self.live => write!(out, "a=range:npt=now-\r\n"),
            None => write!(out, "a=range:npt=0-\r\n"),
        }
    }
}

/// One section; what several formats say of packets and pictures is said of the first.
fn write_media(
    out: &mut String,
    index: usize,
    formats: &[Track],
    multicast: Option<&Multicast<'_>>,
    key: Option<&str>,
) -> std::fmt::Result {
    let group = multicast.and_then(|multicast| multicast.groups.get(index));
    let Some(track) = formats.first() else { return Ok(()) };
    let kind = match track.kind() {
        Kind::Video => "video",
        Kind::Audio => "audio",
        Kind::Application => "application",
    };
    let payload_type = track.payload_type;
    let profile = if key.is_some() { "RTP/SAVP" } else { "RTP/AVP" };
    write!(out, "m={kind} {} {profile}", group.map_or(0, |group| group.port))?;
    for format in formats {
        write!(out, " {}", format.payload_type)?;
    }
    out.push_str("\r\n");
    if let (Some(group), Some(multicast)) = (group, multicast) {
        group.write_connection(out, multicast.ttl)?;
    }
    if let Some(bits) = track.bitrate.filter(|&bits| bits > 0) {
        // RFC 8866 section 5.8: kilobits a second.
        write!(out, "b=AS:{}\r\n", bits.div_ceil(1_000))?;
    }
    for Track { payload_type, codec, .. } in formats {
        write!(out, "a=rtpmap:{payload_type} {}\r\n", format::rtpmap(codec))?;
        if let Some(fmtp) = format::fmtp(codec) {
            write!(out, "a=fmtp:{payload_type} {fmtp}\r\n")?;
        }
    }
    if let Some((width, height)) = track.size {
        write!(out, "a=x-dimensions:{width},{height}\r\n")?;
        // RFC 6064 section 7.1.2.
        write!(out, "a=framesize:{payload_type} {width}-{height}\r\n")?;
    }
    if let Some(framerate) = track.framerate.filter(|rate| rate.is_finite() && *rate > 0.0) {
        write!(out, "a=framerate:{}\r\n", (framerate * 1_000.0).round() / 1_000.0)?;
    }
    if packets_are_20_ms(&track.codec) {
        write!(out, "a=ptime:20\r\n")?;
    }
    if let (Some(group), Some(multicast)) = (group, multicast) {
        group.write_source_filter(out, multicast.source)?;
    }
    if let Some(key) = key {
        write!(out, "a=key-mgmt:{key}\r\n")?;
    }
    write!(out, "a=control:trackID={index}\r\n")
}

/// Whether the packetizer cuts this sound into packets of 20 ms: raw formats of which so much fits a packet.
fn packets_are_20_ms(codec: &Codec) -> bool {
    match codec {
        Codec::G711 { sample_rate, channels, .. } => {
            (sample_rate / 50).saturating_mul((*channels).into()) <= 1_280
        }
        Codec::G722 { channels } => *channels <= 8,
        Codec::G726 { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::group::Group;
    use super::*;
    use crate::track::{BitOrder, Framing, Law};
    use bytes::Bytes;

    fn description(tracks: &[Track]) -> Description<'_> {
        Description {
            origin_id: 7,
            origin_version: 2,
            address: "192.0.2.1".parse().unwrap(),
            name: "a film",
            duration: Some(Duration::from_millis(34_400)),
            recording: None,
            live: false,
            tracks,
            keys: &[],
            backchannel: &[],
            multicast: None,
        }
    }

    #[test]
    fn a_film_with_sound_is_described_line_by_line() {
        let codec = Codec::H264 {
            sps: vec![Bytes::from_static(&[0x67, 0x64, 0x00, 0x28, 0xac])],
            pps: vec![Bytes::from_static(&[0x68, 0xee, 0x3c, 0x80])],
            framing: Framing::Length(4),
        };
        let mut video = Track::new(codec, 0);
        video.size = Some((1920, 1080));
        video.framerate = Some(30_000.0 / 1_001.0);
        video.bitrate = Some(3_999_500);
        let config = Bytes::from_static(&[0x11, 0x90]);
        let audio = Track::new(Codec::Aac { config, sample_rate: 48_000, channels: 2 }, 1);
        let expected = "v=0\r\no=- 7 2 IN IP4 192.0.2.1\r\ns=a film\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
            a=control:*\r\na=range:npt=0-34.400\r\n\
            m=video 0 RTP/AVP 96\r\nb=AS:4000\r\na=rtpmap:96 H264/90000\r\n\
            a=fmtp:96 packetization-mode=1;profile-level-id=640028;sprop-parameter-sets=Z2QAKKw=,aO48gA==\r\n\
            a=x-dimensions:1920,1080\r\na=framesize:96 1920-1080\r\na=framerate:29.97\r\na=control:trackID=0\r\n\
            m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/48000/2\r\n\
            a=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;\
            indexdeltalength=3;config=1190\r\na=control:trackID=1\r\n";
        assert_eq!(description(&[video, audio]).write(), expected);
    }

    #[test]
    fn metadata_says_which_way_it_goes() {
        let mut tracks = vec![Track::new(Codec::Jpeg, 0)];
        tracks.push(Track::metadata_behind(&tracks));
        let text = description(&tracks).write();
        let expected = "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n\
            a=control:trackID=1\r\na=recvonly\r\n";
        assert!(text.ends_with(expected) && text.matches("recvonly").count() == 1, "{text}");
    }

    #[test]
    fn a_live_channel_over_ipv6_without_a_name() {
        let mut description = description(&[]);
        description.address = "2001:db8::1".parse().unwrap();
        description.name = "\r\n";
        description.duration = None;
        description.live = true;
        let expected = "v=0\r\no=- 7 2 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 ::\r\nt=0 0\r\n\
            a=control:*\r\na=range:npt=now-\r\n";
        assert_eq!(description.write(), expected);
        description.live = false;
        assert!(description.write().ends_with("a=range:npt=0-\r\n"));
    }

    #[test]
    fn tracks_of_a_recording_have_names_and_its_range_is_by_the_clock_for_those_who_ask_so() {
        let sound = Codec::G711 { law: Law::A, sample_rate: 8_000, channels: 1 };
        let tracks = [Track::new(Codec::Jpeg, 0), Track::new(sound.clone(), 1), Track::new(sound, 2)];
        let begun = Utc::parse_clock("20260101T000000Z").unwrap();
        let of = |by_clock| {
            let recording = Some(Recording { begun, by_clock });
            Description { recording, ..description(&tracks) }.write()
        };
        let text = of(false);
        let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("a=x-onvif-track:")).collect();
        assert_eq!(names, ["VIDEO001", "AUDIO001", "AUDIO002"]);
        assert!(text.contains("a=range:npt=0-34.400\r\n"));
        assert!(of(true).contains("a=range:clock=20260101T000000Z-20260101T000034.400Z\r\n"));
        assert!(!description(&tracks).write().contains("onvif"));
    }

    #[test]
    fn a_backchannel_stands_behind_the_tracks_with_all_its_formats() {
        let g711 = |law, sample_rate| Codec::G711 { law, sample_rate, channels: 1 };
        let tracks = [Track::new(Codec::Jpeg, 0), Track::new(g711(Law::Mu, 8_000), 1)];
        let backchannel = [Track::new(g711(Law::A, 8_000), 2), Track::new(g711(Law::Mu, 16_000), 3)];
        let text = Description { backchannel: &backchannel, ..description(&tracks) }.write();
        let sections: Vec<_> = text.split("m=").skip(1).collect();
        assert_eq!(sections.len(), 3, "{text}");
        assert!(sections[..2].iter().all(|section| section.contains("a=recvonly\r\n")), "{text}");
        let expected = "audio 0 RTP/AVP 8 99\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:99 PCMU/16000\r\n\
            a=ptime:20\r\na=control:trackID=2\r\na=sendonly\r\n";
        assert_eq!(sections[2], expected);
        let read = crate::sdp::parse(&text).unwrap();
        let formats: Vec<_> = read.media[2].formats.iter().map(|format| &format.codec).collect();
        assert_eq!(formats, [&backchannel[0].codec, &backchannel[1].codec]);
        assert!(!description(&tracks).write().contains("only"));
    }

    #[test]
    fn a_presentation_for_groups_names_the_group_and_the_port_of_each_track() {
        let tracks = [
            Track::new(Codec::Jpeg, 0),
            Track::new(Codec::G711 { law: Law::A, sample_rate: 8_000, channels: 1 }, 1),
        ];
        let group = |address: &str, port| Group { address: address.parse().unwrap(), port };
        let of = |groups: &[Group], source: &str| {
            let multicast = Multicast { groups, ttl: 16, source: source.parse().unwrap() };
            Description { multicast: Some(multicast), live: true, ..description(&tracks) }.write()
        };
        let any = [group("239.1.2.3", 5_000), group("239.1.2.4", 5_002)];
        let text = of(&any, "192.0.2.1");
        let (session, media) = text.split_once("m=video").unwrap();
        assert!(
            session.contains("c=IN IP4 239.1.2.3/16\r\n") && !session.contains("source-filter"),
            "{text}"
        );
        assert!(media.starts_with(" 5000 RTP/AVP 26\r\nc=IN IP4 239.1.2.3/16\r\n"), "{text}");
        assert!(media.contains("m=audio 5002 RTP/AVP 8\r\nc=IN IP4 239.1.2.4/16\r\n"), "{text}");
        let one = [group("ff3e::8000:1", 5_000), group("ff3e::8000:2", 5_002)];
        let text = of(&one, "2001:db8::1");
        let filters: Vec<_> = text.lines().filter(|line| line.starts_with("a=source-filter")).collect();
        let filter = |group| format!("a=source-filter: incl IN IP6 {group} 2001:db8::1");
        assert_eq!(filters, [filter("ff3e::8000:1"), filter("ff3e::8000:2")], "{text}");
        assert!(text.contains("c=IN IP6 ff3e::8000:1\r\n"), "no time to live: {text}");
        let read = crate::sdp::parse(&text).unwrap();
        assert_eq!(read.media[1].port, 5_002);
    }

    #[test]
    fn sound_with_an_absurd_clock_is_described() {
        let codec = Codec::G711 { law: Law::Mu, sample_rate: u32::MAX, channels: u8::MAX };
        assert!(!description(&[Track::new(codec, 97)]).write().contains("a=ptime"));
    }

    #[test]
    fn sound_formats_have_the_names_of_their_rfcs() {
        let names = [
            (
                Codec::G711 { law: Law::Mu, sample_rate: 8_000, channels: 1 },
                "RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n",
            ),
            (
                Codec::G711 { law: Law::A, sample_rate: 16_000, channels: 2 },
                "RTP/AVP 96\r\na=rtpmap:96 PCMA/16000/2\r\n",
            ),
            (Codec::G722 { channels: 1 }, "RTP/AVP 9\r\na=rtpmap:9 G722/8000\r\n"),
            (Codec::G726 { bits: 4, order: BitOrder::LeastFirst }, "a=rtpmap:96 G726-32/8000\r\n"),
            (Codec::G726 { bits: 5, order: BitOrder::MostFirst }, "a=rtpmap:96 AAL2-G726-40/8000\r\n"),
            (Codec::Opus { channels: 1 }, "a=rtpmap:96 opus/48000/2\r\na=fmtp:96 sprop-stereo=0\r\n"),
            (Codec::MpegAudio, "RTP/AVP 14\r\na=rtpmap:14 MPA/90000\r\n"),
            (Codec::L16 { sample_rate: 44_100, channels: 2 }, "RTP/AVP 10\r\na=rtpmap:10 L16/44100/2\r\n"),
        ];
        for (codec, expected) in names {
            let written = description(&[Track::new(codec, 0)]).write();
            assert!(written.contains(expected), "{expected} in {written}");
        }
    }
}
