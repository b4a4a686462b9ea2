//! What must hold for any bytes: one function a target.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proto::client::mjpeg::{MjpegClient, MjpegConfig, MjpegEvent};
use proto::client::{Client, Config, Event, Transfer, Url};
use proto::metadata;
use proto::mikey::Message;
use proto::onvif::replay::Extension;
use proto::proxy_protocol::{HeaderReader, Progress};
use proto::rtcp::parse::{Compound, Packet};
use proto::rtcp::report::ReportBlock;
use proto::rtcp::statistics::ReceiverView;
use proto::rtcp::write;
use proto::rtp::jpeg::{check, rewrite};
use proto::rtp::pushed::{BUFFERED_MAX, ByteOrder, Deframer, HEAD_BYTES, Pushed, head};
use proto::rtsp::auth::{Account, Guard, Line, NonceKey, Verdict};
use proto::rtsp::digest::Algorithm;
use proto::rtsp::headers::authorization::Authorization;
use proto::rtsp::headers::frames::Frames;
use proto::rtsp::headers::key_mgmt::KeyMgmt;
use proto::rtsp::headers::range::Range;
use proto::rtsp::headers::rtp_info::RtpInfo;
use proto::rtsp::headers::scale::{Scale, Speed};
use proto::rtsp::headers::session::Session;
use proto::rtsp::headers::transport::{Pair, Transport};
use proto::rtsp::headers::www_authenticate::Challenge;
use proto::rtsp::headers::{cseq, require};
use proto::rtsp::message::{Headers, Method, Request};
use proto::rtsp::parse::{Item, Limits, ParseError, Parser};
use proto::rtsp::uri::{Target, percent_decode};
use proto::srtp::{Receiver, Sender};
use proto::time::{NtpTime, Time};
use proto::tunnel::base64::{Base64Reader, NotBase64};
use proto::tunnel::http::Ask;
use proto::tunnel::websocket::frame::put_binary_head;
use proto::tunnel::websocket::reader::{Control, Reader, Violation};

/// A message of MIKEY that is understood is written and read again, and keys are none to packets of noise.
pub fn mikey(data: &[u8]) {
    let attribute = std::str::from_utf8(data).ok();
    let carried = attribute.and_then(|text| {
        KeyMgmt::parse(text).map(|read| read.mikey).or_else(|| KeyMgmt::parse_attribute(text))
    });
    for bytes in [Some(data), carried.as_deref()].into_iter().flatten() {
        let Ok(read) = Message::parse(bytes) else { continue };
        let again = Message::parse(&read.write(NtpTime::default(), [3; 16]));
        assert_eq!(again.as_ref(), Ok(&read));
        let mut receiver = Receiver::new(&read.master);
        let mut plain = Vec::new();
        let taken = [receiver.handle_rtp(data, &mut plain), receiver.handle_rtcp(data, &mut plain)];
        assert!(taken.iter().all(Result::is_err) && plain.is_empty());
        let mut sender = Sender::new(read.master);
        let mut out = BytesMut::from(data);
        sender.protect_rtcp(&mut out, 0);
        if out.is_empty() {
            continue;
        }
        assert_eq!(receiver.handle_rtcp(&out, &mut plain), Ok(()));
        assert_eq!(plain, data);
    }
}

/// Documents come out the same however they are split; what is taken for one has the right root and no DTD, and goes
/// on being one when white space follows.
pub fn metadata(data: &[u8]) {
    let whole = documents([data]);
    assert_eq!(documents(data.chunks(1)), whole, "byte by byte");
    for document in whole.iter().flatten() {
        if metadata::check(document).is_ok() {
            let text = std::str::from_utf8(document).expect("it was checked");
            assert!(text.contains("MetadataStream") && text.contains(metadata::SCHEMA));
            assert_eq!(metadata::check(format!("{text}\n").as_bytes()), Ok(()));
            assert!(metadata::check(format!("{text}{text}").as_bytes()).is_err(), "two roots");
        }
    }
}

fn documents<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Result<Bytes, metadata::TooLong>> {
    let (mut intake, mut out) = (metadata::Intake::default(), Vec::new());
    for piece in pieces {
        intake.take(piece, |document| out.push(document));
    }
    out.extend(intake.finish().map(Ok));
    out
}

/// A connection gives the same items however it is split, and what was read can be written and read again.
pub fn rtsp(data: &[u8]) {
    let expected = read([data]);
    assert_eq!(read(data.chunks(1)), expected, "byte by byte");
    // Every split of what is short; of longer input as many, evenly spread from a place that differs.
    let stride = data.len().div_ceil(SPLITS).max(1);
    let first = data.last().map_or(0, |&byte| usize::from(byte) % stride);
    for at in (first..data.len()).step_by(stride) {
        assert_eq!(read([&data[..at], &data[at..]]), expected, "split at {at}");
    }
    expected.0.iter().for_each(read_and_write_again);
}

/// The same comes out of base64 however it is split, and no more than three bytes of four letters.
pub fn base64(data: &[u8]) {
    let (out, end) = decode([data]);
    assert!(out.len() <= data.len() / 4 * 3);
    assert_eq!(decode(data.chunks(1)), (out.clone(), end), "byte by byte");
    let piece_bytes = data.first().map_or(1, |&first| 1 + usize::from(first) % 31);
    assert_eq!(decode(data.chunks(piece_bytes)), (out, end));
}

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (BytesMut, Result<(), NotBase64>) {
    let (mut reader, mut out) = (Base64Reader::default(), BytesMut::new());
    let end = pieces.into_iter().try_for_each(|piece| reader.read(piece, &mut out));
    (out, end)
}

/// Frames give the same however they are split, and never more than they hold; what is put into frames comes out again.
pub fn websocket(data: &[u8]) {
    let whole = unframe([data]);
    assert!(whole.0.len() + 6 * whole.1.len() <= data.len());
    assert_eq!(unframe(data.chunks(1)), whole, "byte by byte");
    let piece_bytes = data.first().map_or(1, |&first| 1 + usize::from(first) % 31);
    assert_eq!(unframe(data.chunks(piece_bytes)), whole);

    let mut framed = BytesMut::new();
    for payload in data.chunks(piece_bytes * 9) {
        let at = framed.len();
        put_binary_head(&mut framed, payload.len());
        framed[at + 1] |= 0x80;
        let mask = [payload[0], 1, 2, 3];
        framed.extend_from_slice(&mask);
        framed.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
    let (out, controls, end) = unframe(framed.chunks(piece_bytes));
    assert_eq!((&out[..], controls.len(), end), (data, 0, None));
}

fn unframe<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (BytesMut, Vec<Control>, Option<Violation>) {
    let (mut reader, mut out, mut controls) = (Reader::default(), BytesMut::new(), Vec::new());
    for mut piece in pieces {
        loop {
            match reader.read(&mut piece, &mut out) {
                Ok(Some(control)) => controls.push(control),
                Ok(None) => break,
                Err(violation) => return (out, controls, Some(violation)),
            }
        }
    }
    (out, controls, None)
}

/// Frames come out as they went in, whatever stands between and behind them.
pub fn interleaved(data: &[u8]) {
    let (mut stream, mut frames) = (Vec::new(), Vec::new());
    let mut rest = data;
    let mut has_large = false;
    while let Some((&[channel, high, low], behind)) = rest.split_first_chunk::<3>() {
        // Small frames, and one up to the largest: with many of those an input takes milliseconds.
        let is_large = high == 0xff && !has_large;
        has_large |= is_large;
        let size = if is_large { usize::from(low) * 257 } else { usize::from(low) };
        let payload = if behind.is_empty() { Vec::new() } else { behind.repeat(size.div_ceil(behind.len())) };
        let payload = payload[..payload.len().min(size)].to_vec();
        rest = behind.get(payload.len()..).unwrap_or_default();
        stream.extend([b'$', channel]);
        stream.extend((payload.len() as u16).to_be_bytes());
        stream.extend(&payload);
        if high % 3 == 0 {
            stream.extend(b"\r\n");
        }
        frames.push((channel, payload));
    }
    let piece_bytes = data.first().map_or(1, |&first| 1 + usize::from(first) * 7);
    let (items, end) = read(stream.chunks(piece_bytes.max(stream.len() / PIECES_MAX)));
    assert_eq!(end, Ok(0));
    let got: Vec<_> = items
        .into_iter()
        .map(|item| match item {
            Item::Interleaved { channel, payload } => (channel, payload.to_vec()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(got, frames);
}

/// Any bytes are read within bounds, each counted once; packets of one source come out as they went in, in either order
/// of the bytes of their lengths.
pub fn pushed(data: &[u8]) {
    let mut deframer = Deframer::new();
    let mut taken = 0;
    for piece in data.chunks(data.first().map_or(1, |&first| 1 + usize::from(first))) {
        deframer.handle_bytes(piece);
        while let Some(Pushed { packet, .. }) = deframer.poll() {
            taken += HEAD_BYTES + packet.len();
        }
        assert!(deframer.buffered() <= BUFFERED_MAX, "{}", deframer.buffered());
    }
    assert_eq!(taken as u64 + deframer.skipped_bytes() + deframer.buffered() as u64, data.len() as u64);
    let Some((&first, rest)) = data.split_first() else { return };
    let order = if first & 1 == 0 { ByteOrder::Network } else { ByteOrder::Swapped };
    let (mut stream, mut packets) = (Vec::new(), Vec::new());
    // Those in front tell the order and the source.
    for payload in [&[][..]; 4].into_iter().chain(rest.chunks(1 + usize::from(first))) {
        let header = [0x80, first & 0x3f, 0, 0, 0, 0, 0, 0, 0x24, 0, 0, first];
        let packet = [&header[..], payload].concat();
        stream.extend(head(first, packet.len() as u16, order));
        stream.extend(&packet);
        packets.push(packet);
    }
    let mut deframer = Deframer::new();
    let mut got = Vec::new();
    for piece in stream.chunks(1 + usize::from(first) * 7) {
        deframer.handle_bytes(piece);
        got.extend(std::iter::from_fn(|| deframer.poll()).map(|pushed| pushed.packet.to_vec()));
    }
    assert_eq!((got, deframer.skipped_bytes()), (packets, 0));
}

/// A header is read alike in any pieces, and never takes more than there is.
pub fn proxy_protocol(data: &[u8]) {
    let read = |piece_bytes: usize| {
        let (mut reader, mut before) = (HeaderReader::default(), 0);
        for piece in data.chunks(piece_bytes) {
            match reader.handle_bytes(piece) {
                Ok(Progress::Incomplete) => before += piece.len(),
                Ok(Progress::Complete { client, taken }) => {
                    assert!(taken <= piece.len());
                    return Ok(Some((client, before + taken)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    };
    let whole = read(data.len().max(1));
    for piece_bytes in [1, 2, 7, 16, 28] {
        assert_eq!(read(piece_bytes), whole, "in pieces of {piece_bytes}");
    }
}

/// What is read of a `Transport` header is written so that it is read alike.
pub fn transport(data: &[u8]) {
    let mut headers = Headers::new();
    headers.push("Transport", String::from_utf8_lossy(data));
    for offer in Transport::parse_list(&headers) {
        offer.effective_delivery();
        assert_eq!(Transport::parse(&offer.to_string()).as_ref(), Some(&offer), "{offer}");
    }
}

/// What is read of a `Range` header is written so that it is read alike; times in it can be reckoned with.
pub fn range(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(range) = Range::parse(&text) {
        let written = range.to_string();
        // Beyond microseconds nothing is written.
        assert_eq!(Range::parse(&written).map(|range| range.to_string()), Ok(written));
        if let proto::rtsp::headers::range::Span::Smpte { count, from, .. } = range.span {
            let again = proto::rtsp::headers::range::Timecode::from_duration(count, from.to_duration(count));
            assert_eq!(again.to_duration(count), from.to_duration(count));
        }
    }
    // The other headers with numbers in them.
    if let Ok(scale) = Scale::parse(&text) {
        assert_eq!(Scale::parse(&scale.to_string()), Ok(scale));
    }
    if let Ok(speed) = Speed::parse(&text) {
        assert_eq!(Speed::parse(&speed.to_string()), Ok(speed));
    }
    if let Ok(frames) = Frames::parse(&text) {
        assert_eq!(Frames::parse(&frames.to_string()), Ok(frames));
    }
    if let Some(extension) = Extension::parse(data) {
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
        packet.extend(extension.to_bytes());
        assert_eq!(Extension::parse(&packet), Some(extension));
    }
    if let Some(session) = Session::parse(&text) {
        assert_eq!(Session::parse(&session.to_string()), Some(session));
    }
    let infos = RtpInfo::parse_list(&text);
    assert_eq!(RtpInfo::parse_list(&RtpInfo::write_list(&infos)).len(), infos.len());
}

/// A URL's base names the same path, and the track behind it is found.
pub fn uri(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(target) = Target::parse(&text) else { return };
    assert!(target.readings().count() <= 9);
    if target.is_server() {
        return;
    }
    for (path, _) in target.readings() {
        let _ = percent_decode(path);
        Target::parse(&target.content_base_of(path)).expect("a base is a URL");
    }
    // A path that holds a control suffix of its own cannot be told from one with a track.
    if target.raw_path.to_ascii_lowercase().contains("trackid=") {
        return;
    }
    let base = target.content_base();
    let again = Target::parse(&format!("{base}trackID=7")).expect("a base is a URL");
    assert_eq!((again.track, &again.parameters), (Some(7), &target.parameters), "{base}");
    assert_eq!(percent_decode(&again.path), percent_decode(&target.path), "{base}");
    assert_eq!((&again.host, again.port), (&target.host, target.port), "{base}");
}

/// Any description is read without panic.
pub fn sdp(data: &[u8]) {
    let _ = proto::sdp::parse(&String::from_utf8_lossy(data));
}

/// A compound is read to its end; its reports are written and read alike.
pub fn rtcp(data: &[u8]) {
    let Ok(compound) = Compound::parse(data) else { return };
    let mut view = ReceiverView::default();
    for packet in compound.iter() {
        let mut out = Vec::new();
        match packet {
            Packet::SenderReport { info, blocks } => {
                let blocks: Vec<ReportBlock> = blocks.iter().collect();
                write::sender_report_with(&mut out, &info, &blocks, "fuzz");
                blocks.iter().for_each(|block| view.handle_report(block, info.ntp));
            }
            Packet::ReceiverReport { ssrc, blocks } => {
                let blocks: Vec<ReportBlock> = blocks.iter().collect();
                write::receiver_report(&mut out, ssrc, &blocks, "fuzz");
                blocks.iter().for_each(|block| view.handle_report(block, NtpTime(u64::from(ssrc) << 20)));
            }
            Packet::SourceDescription(names) => assert!(names.iter().count() < 32),
            Packet::Bye { ssrcs, .. } => assert!(ssrcs.iter().count() < 32),
            Packet::FullIntraRequest { entries, .. } => assert!(entries.iter().count() <= data.len() / 8),
            Packet::Nack { lost, .. } => assert!(lost.iter().count() <= data.len() / 4 * 17),
            Packet::PictureLossIndication { .. } | Packet::Other { .. } => {}
        }
        if !out.is_empty() {
            let again = Compound::parse(&out).expect("our own reports are well-formed");
            let Some(again) = again.iter().next() else { panic!("no packet") };
            assert_eq!(format!("{again:?}"), format!("{packet:?}"));
        }
    }
}

/// A client survives any server, in bounded memory, and does the same however the server's bytes are split. The first
/// byte chooses the way, 0xff parts the connections; responses without a `CSeq` answer whatever was asked.
pub fn client(data: &[u8]) {
    let Some((&way, bytes)) = data.split_first() else { return };
    let expected = fetch(way, bytes, usize::MAX);
    assert_eq!(fetch(way, bytes, 1), expected, "byte by byte");
    let piece_bytes = 2 + usize::from(way) % bytes.len().max(1);
    assert_eq!(fetch(way, bytes, piece_bytes), expected, "in pieces of {piece_bytes}");
}

/// The same for a client of Motion JPEG; its pictures are JPEG files. The first byte says after how many tenths of a
/// second each connection's bytes come, 0xee parts the connections: pictures are full of 0xff.
pub fn mjpeg(data: &[u8]) {
    let Some((&delay, bytes)) = data.split_first() else { return };
    let expected = fetch_pictures(delay, bytes, usize::MAX);
    assert_eq!(fetch_pictures(delay, bytes, 1), expected, "byte by byte");
    let piece_bytes = 2 + usize::from(delay) % bytes.len().max(1);
    assert_eq!(fetch_pictures(delay, bytes, piece_bytes), expected, "in pieces of {piece_bytes}");
}

/// A JPEG file that is rewritten for RTP is one that RTP carries, and of which nothing else can be made.
pub fn jpeg(data: &[u8]) {
    let Ok(rewritten) = rewrite(data) else { return };
    assert_eq!(check(&rewritten), Ok(()));
    assert_eq!(rewrite(&rewritten).as_ref(), Ok(&rewritten));
}

/// Challenges and credentials that were read are written so that they are read alike.
pub fn auth(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let read = |text: &str| {
        let mut headers = Headers::new();
        headers.push("WWW-Authenticate", text);
        Challenge::parse_list(&headers)
    };
    for challenge in read(&text) {
        assert_eq!(read(&challenge.to_string()), [challenge]);
    }
    if let Some(authorization) = Authorization::parse(&text) {
        assert_eq!(Authorization::parse(&authorization.to_string()), Some(authorization));
    }
    let verdict = guard().verify(
        Time::ZERO,
        &mut Line::new(1),
        &Request::new(Method::Play, "rtsp://h/a").header("Authorization", &*text),
    );
    assert!(
        matches!(verdict, Verdict::Absent | Verdict::Wrong { .. }),
        "nobody knows the password: {verdict:?}"
    );
    if let Ok(url) = Url::parse(&text) {
        let asked = url.request_uri();
        let again = Url::parse(&asked).expect("what is asked for is a URL");
        assert_eq!((again.host, again.port, again.path), (url.host, url.port, url.path), "{asked}");
    }
}

/// A guard of a server with one user, whose password stands nowhere.
fn guard() -> Guard {
    let algorithms = vec![Algorithm::MD5, Algorithm::SHA_256];
    let secrets =
        algorithms.iter().map(|algorithm| (*algorithm, algorithm.secret("u", "r", "Zk1-fuzz-72"))).collect();
    Guard::new("r", algorithms, true, NonceKey::new([5; 64]), vec![Account { name: "u".into(), secrets }])
}

/// What a client does when its server sends pieces of that size: its events, and what it sends.
fn fetch(way: u8, bytes: &[u8], piece_bytes: usize) -> (Vec<Event>, Vec<Bytes>) {
    let now = Time::ZERO;
    let transfer = [Transfer::Tcp, Transfer::Udp, Transfer::Multicast][usize::from(way % 3)];
    let url = Url::parse("rtsp://user:secret@h/a").expect("a URL");
    let mut client =
        Client::new(now, Config { transfer, backchannel: way & 0x80 != 0, ..Config::new(url, 1) });
    let (mut events, mut sent) = (Vec::new(), Vec::new());
    // Whether the client asks for another connection.
    let mut drain = |client: &mut Client| {
        let mut is_left = false;
        while let Some(event) = client.poll_event() {
            match &event {
                Event::Connect(_) => is_left = true,
                Event::PortsWanted { media } => client.handle_ports(now, *media, Pair::new(6_000, 6_001)),
                Event::TransferRefused { tried } if *tried != Transfer::Tcp => {
                    client.set_transfer(now, Transfer::Tcp);
                }
                _ => {}
            }
            events.push(event);
        }
        while let Some(bytes) = client.poll_transmit() {
            assert!(!bytes.windows(6).any(|word| word == b"secret"), "{bytes:?}");
            sent.push(bytes);
        }
        is_left
    };
    assert!(drain(&mut client), "the first event asks for a connection");
    for connection in bytes.split(|&byte| byte == 0xff) {
        client.handle_connected(now);
        drain(&mut client);
        let mut is_left = false;
        for piece in connection.chunks(piece_bytes) {
            client.handle_bytes(now, piece);
            is_left = drain(&mut client);
            assert!(client.memory_bytes() < 128 * 1024, "{}", client.memory_bytes());
            if is_left {
                break;
            }
        }
        if !is_left {
            client.handle_closed(now);
            drain(&mut client);
        }
    }
    client.teardown(now);
    drain(&mut client);
    (events, sent)
}

/// What a client of Motion JPEG does when its server sends pieces of that size: its events, and what it sends.
fn fetch_pictures(delay: u8, bytes: &[u8], piece_bytes: usize) -> (Vec<MjpegEvent>, Vec<Bytes>) {
    let url = Url::parse_http("http://user:secret@h/a?x=1").expect("a URL");
    let mut now = Time::ZERO;
    let mut client = MjpegClient::new(now, MjpegConfig::new(url, 1));
    let (mut events, mut sent) = (Vec::new(), Vec::new());
    // Whether the client asks for another connection.
    let mut drain = |client: &mut MjpegClient| {
        let mut is_left = false;
        while let Some(event) = client.poll_event() {
            match &event {
                MjpegEvent::Connect(_) => is_left = true,
                MjpegEvent::Picture(file) => {
                    assert!(file.starts_with(b"\xff\xd8\xff") && file.ends_with(b"\xff\xd9"), "{file:?}");
                }
                MjpegEvent::Playing | MjpegEvent::Failed(_) => {}
            }
            events.push(event);
        }
        while let Some(bytes) = client.poll_transmit() {
            assert!(bytes.starts_with(b"GET /") && bytes.ends_with(b"\r\n\r\n"), "{bytes:?}");
            sent.push(bytes);
        }
        is_left
    };
    assert!(drain(&mut client), "the first event asks for a connection");
    for connection in bytes.split(|&byte| byte == 0xee) {
        client.handle_connected(now);
        drain(&mut client);
        now += Duration::from_millis(100 * u64::from(delay));
        let mut is_left = false;
        for piece in connection.chunks(piece_bytes) {
            client.handle_bytes(now, piece);
            is_left = drain(&mut client);
            assert!(client.memory_bytes() < 64 * 1024, "{}", client.memory_bytes());
            if is_left {
                break;
            }
        }
        if !is_left {
            client.handle_closed(now);
            is_left = drain(&mut client);
        }
        if !is_left && let Some(deadline) = client.poll_timeout() {
            now = now.max(deadline);
            client.handle_timeout(now);
            drain(&mut client);
        }
    }
    (events, sent)
}

/// What a connection gives when it arrives in these pieces: items, and how many bytes are left or why it failed.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Item>, Result<usize, ParseError>) {
    let mut parser = Parser::new(Limits { body_bytes_max: 512, ..Limits::DEFAULT });
    let mut items = Vec::new();
    for piece in pieces {
        parser.handle_bytes(piece);
        loop {
            match parser.poll() {
                Ok(Some(item @ Item::Http { .. })) => {
                    items.push(item);
                    return (items, Ok(0));
                }
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Err(error)),
            }
        }
        assert!(parser.memory_bytes() <= 4 * (parser.buffered() + 16 * 1024), "{}", parser.memory_bytes());
        assert!(parser.buffered() > 0 || parser.memory_bytes() < 32 * 1024);
    }
    (items, Ok(parser.buffered()))
}

/// A message that was read and written is read alike, but for blanks; its headers are looked at as the server does.
fn read_and_write_again(item: &Item) {
    let mut out = BytesMut::new();
    let headers = match item {
        Item::Request(request) => {
            let _ = Target::parse(&request.uri);
            request.write(&mut out);
            &request.headers
        }
        Item::Response(response) => {
            response.write(&mut out);
            &response.headers
        }
        Item::Http { head, .. } => {
            Ask::of(head);
            return;
        }
        _ => return,
    };
    cseq::cseq(headers);
    require::unsupported(headers, &["play.basic"]);
    Transport::parse_list(headers);
    headers.get("Range").map(Range::parse);

    let (again, end) = read([&out[..]]);
    assert_eq!((again.len(), end), (1, Ok(0)), "{item:?}");
    let mut written = BytesMut::new();
    match (&again[0], item) {
        (Item::Request(again), Item::Request(request)) => {
            assert_eq!(
                (&again.method, again.version, &again.body),
                (&request.method, request.version, &request.body)
            );
            again.write(&mut written);
        }
        (Item::Response(again), Item::Response(response)) => {
            assert_eq!((again.status, &again.body), (response.status, &response.body));
            again.write(&mut written);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(written, out);
}

/// Of one input. A few, so that thousands of inputs a second are tried; which ones differs between inputs.
const SPLITS: usize = 6;

/// Of one stream of frames.
const PIECES_MAX: usize = 1_024;
