//! One encoder of a publisher: pictures and sound whose every packet says what it is, on clocks that may be moved.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use proto::rtcp::report::SenderInfo;
use proto::rtp::header::Header;
use proto::time::{NtpTime, Time};
use ringcaster::driver::sim::Random;

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Pictures,
    Opus,
    Pcma,
}

/// What publishers announce.
pub const LAYOUTS: [&[Form]; 4] =
    [&[Form::Pictures, Form::Opus], &[Form::Pictures], &[Form::Pictures, Form::Pcma], &[Form::Opus]];

/// How long one unit of sound is.
const SOUND: Duration = Duration::from_millis(20);

/// Bytes that say which packet it is.
const IDENT_BYTES: usize = 15;

impl Form {
    pub fn payload_type(self) -> u8 {
        match self {
            Form::Pictures => 96,
            Form::Opus => 97,
            Form::Pcma => 8,
        }
    }

    pub fn rate(self) -> i64 {
        match self {
            Form::Pictures => 90_000,
            Form::Opus => 48_000,
            Form::Pcma => 8_000,
        }
    }
}

/// The description of a layout.
pub fn description(layout: usize) -> String {
    let mut sdp = "v=0\r\no=- 1 1 IN IP4 10.1.0.1\r\ns=source\r\nt=0 0\r\n".to_owned();
    for (index, form) in LAYOUTS[layout].iter().enumerate() {
        sdp += match form {
            Form::Pictures => {
                "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
                 a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0IAKeKQFAe2AtwEBAaQeJEV,aM48gA==\r\n"
            }
            Form::Opus => "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\n",
            Form::Pcma => "m=audio 0 RTP/AVP 8\r\n",
        };
        sdp += &format!("a=control:track{index}\r\n");
    }
    sdp
}

/// What a packet says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ident {
    pub source: u16,
    pub track: u8,
    pub unit: u32,
    /// Which packet of the unit, and of how many.
    pub packet: u16,
    pub count: u16,
    pub size: u16,
    pub is_key: bool,
    /// Whether each packet is a slice of its own; else they are fragments of one.
    pub is_sliced: bool,
}

impl Ident {
    /// The payload, which follows from what it is.
    pub fn payload(&self, form: Form) -> Bytes {
        let mut out = BytesMut::with_capacity(usize::from(self.size) + 20);
        let kind = if self.is_key { 5 } else { 1 };
        match form {
            // RFC 6184: a fragment has a head that says whether it is the first or the last.
            Form::Pictures if self.count > 1 && !self.is_sliced => {
                let is_last = self.packet + 1 == self.count;
                out.put_slice(&[0x7c, u8::from(self.packet == 0) << 7 | u8::from(is_last) << 6 | kind]);
            }
            Form::Pictures => out.put_u8(0x60 | kind),
            Form::Opus | Form::Pcma => out.put_u8(0xfc),
        }
        out.put_u16(self.source);
        out.put_u8(self.track);
        out.put_u32(self.unit);
        out.put_u16(self.packet);
        out.put_u16(self.count);
        out.put_u16(self.size);
        out.put_u8(u8::from(self.is_key));
        out.put_u8(u8::from(self.is_sliced));
        let seed = self.unit.wrapping_mul(31).wrapping_add(u32::from(self.packet)) as u8;
        out.extend((0..self.size).map(|place| seed.wrapping_add(place as u8)));
        out.freeze()
    }

    /// Reads a payload; None when it is none of ours, or was changed.
    pub fn read(form: Form, payload: &[u8]) -> Option<Ident> {
        let head = if form == Form::Pictures && payload.first()? & 0x1f == 28 { 2 } else { 1 };
        let bytes: &[u8; IDENT_BYTES] = payload.get(head..head + IDENT_BYTES)?.try_into().ok()?;
        let short = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let ident = Ident {
            source: short(0),
            track: bytes[2],
            unit: u32::from_be_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]),
            packet: short(7),
            count: short(9),
            size: short(11),
            is_key: bytes[13] != 0,
            is_sliced: bytes[14] != 0,
        };
        (ident.payload(form) == payload).then_some(ident)
    }
}

/// How pictures are made.
#[derive(Clone, Debug)]
pub struct Style {
    pub framerate: u32,
    pub gop: u32,
    pub key_packets: usize,
    pub frame_packets: usize,
    pub packet_bytes: u16,
    pub has_b_frames: bool,
    pub is_sliced: bool,
}

impl Style {
    pub fn draw(random: &mut Random) -> Style {
        Style {
            framerate: *random.pick(&[5, 10, 12, 20]),
            gop: random.within(2..25) as u32,
            key_packets: *random.pick(&[1, 2, 5, 20, 90]),
            frame_packets: random.within(1..4),
            packet_bytes: random.within(20..400) as u16,
            has_b_frames: random.chance(0.3),
            is_sliced: random.chance(0.3),
        }
    }
}

/// One track on its way out.
#[derive(Clone, Debug)]
pub struct SourceTrack {
    pub form: Form,
    /// Number of the next unit.
    pub next: u32,
    pub ssrc: u32,
    pub sequence: u16,
    /// Timestamp of media time zero.
    pub offset: u32,
    /// Counts the changes after which numbers do not go on.
    pub run: u32,
    /// Counts the changes after which timestamps do not go on.
    pub epoch: u32,
    /// How much faster its clock is than the encoder's own.
    pub drift: f64,
    /// When its clock last changed: reports may tell of it before its packets do.
    pub changed: Option<Time>,
    /// Until when the source before it may still be the one that is heard.
    pub is_new_until: Option<Time>,
    sent: (u32, u32),
}

/// An encoder from its start to its end.
#[derive(Clone, Debug)]
pub struct Source {
    pub number: u16,
    pub layout: usize,
    pub style: Style,
    /// When media time zero was.
    pub began: Time,
    /// Seconds of media a second.
    pub pace: f64,
    /// Most packets of a picture: beyond a bound those that datagrams bring in disorder are not put in order.
    pub packets_max: usize,
    /// What its wall clock shows beyond ours, in nanoseconds.
    pub wall_off: i64,
    pub tracks: Vec<SourceTrack>,
}

/// A packet that leaves.
#[derive(Clone, Debug)]
pub struct Packet {
    pub ident: Ident,
    pub header: Header,
    /// Presentation on the source's own timeline, in nanoseconds.
    pub media: i64,
    /// How long it was due.
    pub lag: Duration,
    pub bytes: Bytes,
}

impl Source {
    pub fn new(number: u16, layout: usize, style: Style, now: Time, random: &mut Random) -> Source {
        let tracks = LAYOUTS[layout].iter().map(|form| SourceTrack::new(*form, random)).collect();
        let hours = random.within(1..100_000) as i64 * 3_600_000_000_000;
        Source {
            number,
            layout,
            style,
            began: now,
            packets_max: usize::MAX,
            pace: 1.0 + *random.pick(&[0.0, 0.0, 1e-4, -1e-4]),
            wall_off: *random.pick(&[0, 0, 40_000_000, hours, -hours]),
            tracks,
        }
    }

    /// Of what is sent until then as datagrams the first to come is the first, whatever its number.
    pub fn begin_anew(&mut self, until: Time) {
        self.tracks.iter_mut().for_each(|track| track.is_new_until = Some(until));
    }

    /// When the next unit of a track is due.
    pub fn due(&self, track: usize) -> Time {
        let media = self.decoding(track, self.tracks[track].next);
        self.began + Duration::from_nanos((media as f64 / self.pace) as u64)
    }

    /// When the next unit of any track is due, and of which.
    pub fn next(&self) -> (Time, usize) {
        let due = (0..self.tracks.len()).map(|track| (self.due(track), track));
        due.min().expect("a source has tracks")
    }

    /// Leaves out what was due before a moment.
    pub fn skip_to(&mut self, now: Time) {
        for track in 0..self.tracks.len() {
            while self.due(track) < now {
                self.tracks[track].next += 1;
            }
        }
    }

    /// The packets of the next unit of a track.
    pub fn take(&mut self, now: Time, index: usize) -> Vec<Packet> {
        let due = self.due(index);
        let unit = self.tracks[index].next;
        let (media, is_key) = (self.presentation(index, unit), self.is_key(index, unit));
        let style = &self.style;
        let track = &mut self.tracks[index];
        track.next += 1;
        let count = match (track.form, is_key) {
            (Form::Pictures, true) => style.key_packets.min(self.packets_max),
            (Form::Pictures, false) => style.frame_packets,
            _ => 1,
        } as u16;
        let packets = (0..count).map(|packet| {
            let ident = Ident {
                source: self.number,
                track: index as u8,
                unit,
                packet,
                count,
                size: style.packet_bytes,
                is_key,
                is_sliced: style.is_sliced,
            };
            track.packet(ident, media, now.since(due))
        });
        packets.collect()
    }

    /// What a report says at a moment.
    pub fn report(&self, now: Time, wall: NtpTime, index: usize) -> SenderInfo {
        let track = &self.tracks[index];
        let media = now.since(self.began).as_nanos() as f64 * self.pace;
        let ntp = i128::from(self.wall_off) * (1 << 32) / 1_000_000_000;
        SenderInfo {
            ssrc: track.ssrc,
            ntp: NtpTime(wall.0.wrapping_add(ntp as i64 as u64)),
            rtp: track.timestamp(media as i64),
            packets: track.sent.0,
            octets: track.sent.1,
        }
    }

    pub fn is_key(&self, track: usize, unit: u32) -> bool {
        self.tracks[track].form == Form::Pictures && unit.is_multiple_of(self.style.gop)
    }

    fn unit_nanos(&self, track: usize) -> i64 {
        match self.tracks[track].form {
            Form::Pictures => 1_000_000_000 / i64::from(self.style.framerate),
            _ => SOUND.as_nanos() as i64,
        }
    }

    fn decoding(&self, track: usize, unit: u32) -> i64 {
        i64::from(unit) * self.unit_nanos(track)
    }

    /// Pictures are decoded I P b P b and shown I b P b P.
    fn presentation(&self, track: usize, unit: u32) -> i64 {
        let gop = self.style.gop;
        if self.tracks[track].form != Form::Pictures || !self.style.has_b_frames {
            return self.decoding(track, unit);
        }
        let (start, place) = (unit - unit % gop, unit % gop);
        let shown = match place {
            0 => 0,
            odd if odd % 2 == 1 && odd + 1 < gop => odd + 1,
            odd if odd % 2 == 1 => odd,
            even => even - 1,
        };
        self.decoding(track, start + shown)
    }
}

impl SourceTrack {
    fn new(form: Form, random: &mut Random) -> SourceTrack {
        let mut track = SourceTrack {
            form,
            next: 0,
            ssrc: 0,
            sequence: 0,
            offset: 0,
            run: 0,
            epoch: 0,
            drift: 1.0,
            changed: None,
            is_new_until: None,
            sent: (0, 0),
        };
        track.renew(random);
        track
    }

    /// Other random numbers; often such that they wrap soon.
    fn renew(&mut self, random: &mut Random) {
        self.ssrc = random.draw() as u32;
        let is_near = random.chance(0.4);
        self.sequence = if is_near { 65_535 - random.below(300) as u16 } else { random.draw() as u16 };
        let soon = random.below(6 * self.form.rate() as usize) as u32;
        self.offset = if is_near { u32::MAX - soon } else { random.draw() as u32 };
    }

    /// Another synchronization source, whose timestamps begin at zero.
    pub fn restart(&mut self, media: i64, random: &mut Random) {
        self.renew(random);
        self.offset = 0u32.wrapping_sub(self.ticks(media));
        (self.run, self.epoch, self.sent) = (self.run + 1, self.epoch + 1, (0, 0));
    }

    /// The clock is another by so many nanoseconds.
    pub fn jump(&mut self, nanos: i64) {
        self.offset = self.offset.wrapping_add(self.ticks(nanos));
        self.epoch += 1;
    }

    /// Numbers go on elsewhere.
    pub fn renumber(&mut self, random: &mut Random) {
        self.sequence = self.sequence.wrapping_add(random.within(8_000..50_000) as u16);
        self.run += 1;
    }

    pub fn timestamp(&self, media: i64) -> u32 {
        self.offset.wrapping_add(self.ticks(media))
    }

    fn ticks(&self, nanos: i64) -> u32 {
        let ticks = i128::from((nanos as f64 * self.drift) as i64) * i128::from(self.form.rate());
        ticks.div_euclid(1_000_000_000) as u32
    }

    fn packet(&mut self, ident: Ident, media: i64, lag: Duration) -> Packet {
        let payload = ident.payload(self.form);
        let is_last = ident.packet + 1 == ident.count;
        let header = Header {
            marker: self.form == Form::Pictures && is_last,
            payload_type: self.form.payload_type(),
            sequence: self.sequence,
            timestamp: self.timestamp(media),
            ssrc: self.ssrc,
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.sent = (self.sent.0 + 1, self.sent.1 + payload.len() as u32);
        let mut bytes = BytesMut::from(&header.to_bytes()[..]);
        bytes.extend_from_slice(&payload);
        Packet { ident, header, media, lag, bytes: bytes.freeze() }
    }
}

#[test]
fn a_packet_says_what_it_is_and_no_other_is_taken_for_it() {
    let mut random = Random::new(1);
    let style = Style::draw(&mut random);
    let mut source = Source::new(3, 0, style, Time::ZERO, &mut random);
    for track in [0, 1] {
        let form = LAYOUTS[0][track];
        for packet in (0..30).flat_map(|_| source.take(Time::ZERO, track)) {
            let mut payload = packet.bytes[12..].to_vec();
            assert_eq!(Ident::read(form, &payload), Some(packet.ident));
            *payload.last_mut().unwrap() ^= 1;
            assert_eq!(Ident::read(form, &payload), None);
        }
    }
}
