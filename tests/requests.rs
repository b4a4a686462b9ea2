//! Requests and their answers, apart from playing (RFC 2326 sections 6, 7, 10 and 12).

use std::time::Duration;

use crate::client::{Client, Message};
use crate::corpus::folder;
use crate::server::{Backend, Server, on_both_backends};

/// A file with pictures and sound.
const FILE: &str = "/h264_aac.mp4";

fn server(backend: Backend) -> Server {
    Server::with(backend).media(folder()).start()
}

fn cseq_is_echoed_and_a_request_without_it_is_refused(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    client.send("OPTIONS * RTSP/1.0\r\nCSeq: 4711\r\n\r\n");
    let answer = client.response().expect(200);
    assert_eq!(answer.header("CSeq"), Some("4711"));
    client.send("OPTIONS * RTSP/1.0\r\n\r\n");
    client.response().expect(400);
}

fn every_answer_says_who_answers_and_when(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    for (method, url, status) in [("OPTIONS", "*", 200), ("DESCRIBE", "/nowhere", 404), ("BREW", "*", 501)] {
        let answer = client.request(method, url, &[]).expect(status);
        assert!(answer.header("Server").is_some_and(|name| name.starts_with("Ringcaster")), "{answer:?}");
        let date = answer.header("Date").unwrap_or_else(|| panic!("no Date: {answer:?}"));
        assert!(date.ends_with(" GMT") && date.as_bytes()[3] == b',', "a date of RFC 1123: {date:?}");
    }
}

fn a_timestamp_is_echoed(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let answer = client.request("OPTIONS", "*", &[("Timestamp", "2.5")]).expect(200);
    assert!(answer.header("Timestamp").is_some_and(|value| value.starts_with("2.5")), "{answer:?}");
}

fn the_url_may_be_a_star_or_a_path_but_not_missing(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    client.request("OPTIONS", "*", &[]).expect(200);
    client.request("OPTIONS", FILE, &[]).expect(200);
    client.request("OPTIONS", &server.url(FILE), &[]).expect(200);
    let answer = client.request("DESCRIBE", FILE, &[]).expect(200);
    assert!(answer.text().starts_with("v=0\r\n"), "{}", answer.text());
    client.send("OPTIONS RTSP/1.0\r\nCSeq: 9\r\n\r\n");
    client.response().expect(400);
}

fn another_version_of_the_protocol_is_refused(backend: Backend) {
    let server = server(backend);
    for version in ["RTSP/2.0", "RTSP/1.1", "RTSP/3.0"] {
        let mut client = Client::connect(server.address());
        client.send(format!("OPTIONS * {version}\r\nCSeq: 1\r\n\r\n"));
        client.response().expect(505);
    }
}

fn options_lists_what_is_implemented_and_nothing_else(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let answer = client.request("OPTIONS", "*", &[]).expect(200);
    let public = answer.header("Public").expect("OPTIONS lists methods").to_owned();
    let listed: Vec<_> = public.split(',').map(str::trim).collect();
    let methods = [
        "OPTIONS",
        "DESCRIBE",
        "ANNOUNCE",
        "SETUP",
        "PLAY",
        "PAUSE",
        "TEARDOWN",
        "GET_PARAMETER",
        "SET_PARAMETER",
        "RECORD",
        "REDIRECT",
    ];
    for method in methods {
        let status = client.request(method, &server.url(FILE), &[]).status;
        assert_eq!(status != 501, listed.contains(&method), "{method}: {status}; listed: {public}");
    }
    assert!(listed.iter().all(|method| methods.contains(method)), "{public}");
}

fn an_unknown_method_is_refused_and_the_connection_lives(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    client.request("BREW", &server.url(FILE), &[]).expect(501);
    // Names of methods are case-sensitive.
    client.request("options", "*", &[]).expect(501);
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    let track = track_url(&mut client, &server.url(FILE));
    let answer = client.request("SETUP", &track, &transport).expect(200);
    client.session = answer.session().map(str::to_owned);
    client.request("BREW", &server.url(FILE), &[]).expect(501);
    client.request("PLAY", &server.url(FILE), &[]).expect(200);
    client.request("BREW", &server.url(FILE), &[]).expect(501);
    client.request("OPTIONS", "*", &[]).expect(200);
}

fn header_names_have_no_case(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    client
        .send(format!("DESCRIBE {} RTSP/1.0\r\ncseq:7\r\nACCEPT:application/sdp\r\n\r\n", server.url(FILE)));
    assert_eq!(client.response().expect(200).header("CSeq"), Some("7"));
}

fn an_option_that_is_required_and_unknown_is_refused_by_name(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let url = server.url(FILE);
    let answer = client.request("DESCRIBE", &url, &[("Require", "com.example.wings")]).expect(551);
    assert_eq!(answer.header("Unsupported"), Some("com.example.wings"));
    let answer = client.request("OPTIONS", &url, &[("Require", "x.one, x.two"), ("Require", "x.three")]);
    let unsupported = answer.expect(551).header("Unsupported").unwrap_or_default().to_owned();
    let names: Vec<_> = unsupported.split(',').map(str::trim).collect();
    assert_eq!(names, ["x.one", "x.two", "x.three"]);
    let answer = client.request("OPTIONS", &url, &[("Proxy-Require", "x.four")]).expect(551);
    assert_eq!(answer.header("Unsupported"), Some("x.four"));
    client.request("OPTIONS", &url, &[]).expect(200);
}

fn only_the_unknown_ones_of_the_required_options_are_named(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    client.request("OPTIONS", "*", &[("Require", "play.basic")]).expect(200);
    let answer = client.request("OPTIONS", "*", &[("Require", "play.basic, x.one")]).expect(551);
    assert_eq!(answer.header("Unsupported"), Some("x.one"));
}

fn a_path_that_is_not_there_is_not_found(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    for path in
        ["/nowhere.mp4", "/", "/folder/", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/h264_aac.mp4x"]
    {
        client.request("DESCRIBE", &server.url(path), &[]).expect(404);
    }
}

fn a_file_without_anything_to_play_is_an_unsupported_media_type(backend: Backend) {
    let media = crate::server::scratch("unplayable");
    std::fs::write(media.join("broken.mp4"), vec![7; 5_000]).unwrap();
    std::fs::write(media.join("empty.mkv"), []).unwrap();
    let server = Server::with(backend).media(&media).start();
    let mut client = Client::connect(server.address());
    for name in ["/broken.mp4", "/empty.mkv"] {
        let answer = client.request("DESCRIBE", &server.url(name), &[]).expect(415);
        assert!(!answer.text().is_empty(), "the answer says why: {answer:?}");
    }
    std::fs::remove_dir_all(media).unwrap();
}

fn what_is_longer_than_its_bound_is_refused_and_the_connection_closed(backend: Backend) {
    let server = server(backend);
    let long = "x".repeat(9_000);
    for (request, status) in [
        (format!("DESCRIBE rtsp://127.0.0.1/{long} RTSP/1.0\r\nCSeq: 1\r\n\r\n"), 414),
        (format!("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nX: {long}\r\n\r\n"), 400),
        ("SET_PARAMETER * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 300000\r\n\r\n".to_owned(), 413),
    ] {
        let mut client = Client::connect(server.address());
        client.send(&request);
        client.response().expect(status);
        assert!(client.is_closed_within(Duration::from_secs(5)), "{status}");
    }
}

fn a_body_that_nobody_asked_for_is_skipped(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let body = "OPTIONS * RTSP/1.0\r\nCSeq: 666\r\n\r\n";
    let head = format!(
        "DESCRIBE {} RTSP/1.0\r\nCSeq: 1\r\nContent-Length: {}\r\n\r\n",
        server.url(FILE),
        body.len()
    );
    client.send(head + body + "OPTIONS * RTSP/1.0\r\nCSeq: 2\r\n\r\n");
    assert_eq!(client.response().expect(200).header("CSeq"), Some("1"));
    assert_eq!(client.response().expect(200).header("CSeq"), Some("2"));
}

fn pipelined_requests_are_answered_in_order(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let url = server.url(FILE);
    let requests: String = (1..=40)
        .map(|number| {
            let method = if number % 3 == 0 { "DESCRIBE" } else { "OPTIONS" };
            format!("{method} {url} RTSP/1.0\r\nCSeq: {number}\r\n\r\n")
        })
        .collect();
    client.send(requests);
    for number in 1..=40 {
        assert_eq!(client.response().expect(200).header("CSeq"), Some(number.to_string().as_str()));
    }
}

fn a_request_may_come_byte_by_byte(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let request = "\r\nOPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nabc$\x01\0\x02xyOPTIONS * RTSP/1.0\r\nCSeq: 2\r\n\r\n";
    for byte in request.bytes() {
        client.send([byte]);
    }
    assert_eq!(client.response().expect(200).header("CSeq"), Some("1"));
    assert_eq!(client.response().expect(200).header("CSeq"), Some("2"));
}

fn packets_between_requests_do_not_disturb_them(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let mut bytes = b"$\x01\0\x08\x80\xc9\0\x01\0\0\0\x01".to_vec();
    bytes.extend(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n$\x07\0\0$\x09\0\x01x");
    bytes.extend(b"OPTIONS * RTSP/1.0\r\nCSeq: 2\r\n\r\n");
    client.send(bytes);
    assert_eq!(client.response().expect(200).header("CSeq"), Some("1"));
    assert_eq!(client.response().expect(200).header("CSeq"), Some("2"));
}

fn an_empty_get_parameter_is_a_ping_and_an_unknown_parameter_is_refused(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let url = server.url(FILE);
    let track = track_url(&mut client, &url);
    let answer = client.request("SETUP", &track, &[("Transport", "RTP/AVP/TCP;unicast")]).expect(200);
    client.session = answer.session().map(str::to_owned);
    client.request("GET_PARAMETER", &url, &[]).expect(200);
    client.request("SET_PARAMETER", &url, &[]).expect(200);
    let session = client.session.clone().unwrap();
    let head = format!("SET_PARAMETER {url} RTSP/1.0\r\nCSeq: 50\r\nSession: {session}\r\n");
    client.send(head + "Content-Type: text/parameters\r\nContent-Length: 12\r\n\r\nwings: two\r\n");
    let answer = client.response().expect(451);
    assert!(answer.text().contains("wings"), "the answer names the parameter: {answer:?}");
}

fn a_description_has_a_base_and_a_track_for_each_section(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let answer = client.request("DESCRIBE", &server.url(FILE), &[("Accept", "application/sdp")]).expect(200);
    let base = answer.header("Content-Base").expect("a base");
    assert!(base.ends_with('/'), "{base}");
    let text = answer.text();
    let order: String = text
        .lines()
        .take_while(|line| !line.starts_with("m="))
        .filter_map(|line| line.chars().next())
        .collect();
    let known = "vosiuepcbtrzka";
    let places: Vec<_> = order.chars().map(|kind| known.find(kind).expect("a known line")).collect();
    assert!(places.is_sorted(), "lines in the order of RFC 8866 section 5: {order}");
    assert!(text.lines().any(|line| line.starts_with("a=range:npt=0")), "{text}");
    assert_eq!(text.matches("\r\nm=").count(), 2, "{text}");
    assert_eq!(
        text.split("\r\nm=").skip(1).filter(|section| section.contains("\r\na=control:")).count(),
        2,
        "{text}"
    );
    assert!(text.contains("packetization-mode=1") && text.contains("sprop-parameter-sets="), "{text}");
    assert!(text.contains("mpeg4-generic/48000/2") || text.contains("MPEG4-GENERIC/48000/2"), "{text}");
}

fn a_description_in_a_format_that_is_not_made_is_refused(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let url = server.url(FILE);
    client.request("DESCRIBE", &url, &[("Accept", "application/x-wings")]).expect(406);
    client.request("DESCRIBE", &url, &[("Accept", "application/x-wings, application/*;q=0.5")]).expect(200);
    client.request("DESCRIBE", &url, &[]).expect(200);
}

fn names_of_files_come_percent_encoded_raw_and_with_parameters(backend: Backend) {
    let media = crate::server::scratch("names");
    let source = folder().join("pcmu.wav");
    std::fs::create_dir_all(media.join("sub folder/ünter")).unwrap();
    for name in ["plain.wav", "with space.wav", "sub folder/ünter/straße.wav", "a&b+c.wav", "50%.wav"] {
        std::fs::copy(&source, media.join(name)).unwrap();
    }
    let server = Server::with(backend).media(&media).start();
    let mut client = Client::connect(server.address());
    for path in [
        "/plain.wav",
        "/plain.wav?s=1",
        "/plain.wav&t=unicast&p=udp",
        "/plain.wav?unknown=1&s=0.5",
        "/with%20space.wav",
        "/sub%20folder/%C3%BCnter/stra%C3%9Fe.wav",
        "/a%26b%2Bc.wav",
        "/a&b+c.wav",
        "/50%25.wav",
    ] {
        let status = client.request("DESCRIBE", &server.url(path), &[]).status;
        assert_eq!(status, 200, "{path}");
    }
    std::fs::remove_dir_all(media).unwrap();
}

fn links_out_of_the_media_folder_are_not_followed(backend: Backend) {
    let media = crate::server::scratch("links");
    std::os::unix::fs::symlink(folder().join("pcmu.wav"), media.join("out.wav")).unwrap();
    std::os::unix::fs::symlink(folder(), media.join("outside")).unwrap();
    let server = Server::with(backend).media(&media).start();
    let mut client = Client::connect(server.address());
    client.request("DESCRIBE", &server.url("/out.wav"), &[]).expect(403);
    client.request("DESCRIBE", &server.url("/outside/pcmu.wav"), &[]).expect(403);
    std::fs::remove_dir_all(media).unwrap();
}

fn a_client_that_blocks_in_one_request_does_not_delay_another(backend: Backend) {
    let server = server(backend);
    let mut slow = Client::connect(server.address());
    slow.send("DESCRIBE rtsp://127.0.0.1/h264_4k.mp4 RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 10\r\n\r\nhalf");
    // On whichever shard they land.
    for _ in 0..8 {
        let mut client = Client::connect(server.address());
        client.ask("OPTIONS", "*", &[]);
        match client.next(Duration::from_millis(500)) {
            Some(Message::Response(answer)) => assert_eq!(answer.status, 200),
            other => panic!("no answer in time: {other:?}"),
        }
    }
}

fn many_pipelined_requests_are_all_answered_also_behind_a_closed_writing_side(backend: Backend) {
    // More replies than the server holds for a client that has not read yet, fewer requests than it takes in.
    const COUNT: u32 = 600;
    let server = server(backend);
    for closes in [false, true] {
        let mut client = Client::connect(server.address());
        let text: String =
            (0..COUNT).map(|cseq| format!("OPTIONS * RTSP/1.0\r\nCSeq: {cseq}\r\n\r\n")).collect();
        client.send(text);
        if closes {
            client.socket().shutdown(std::net::Shutdown::Write).unwrap();
        }
        std::thread::sleep(Duration::from_millis(200));
        for cseq in 0..COUNT {
            assert_eq!(client.response().header("CSeq"), Some(cseq.to_string().as_str()));
        }
    }
}

/// The URL of the first track.
fn track_url(client: &mut Client, url: &str) -> String {
    let answer = client.request("DESCRIBE", url, &[]).expect(200);
    let base = answer.header("Content-Base").unwrap_or(url).to_owned();
    crate::client::sdp::Description::parse(&answer.text(), &base).media[0].control.clone()
}

on_both_backends!(
    cseq_is_echoed_and_a_request_without_it_is_refused,
    every_answer_says_who_answers_and_when,
    a_timestamp_is_echoed,
    another_version_of_the_protocol_is_refused,
    options_lists_what_is_implemented_and_nothing_else,
    an_option_that_is_required_and_unknown_is_refused_by_name,
    only_the_unknown_ones_of_the_required_options_are_named,
    a_path_that_is_not_there_is_not_found,
    a_file_without_anything_to_play_is_an_unsupported_media_type,
    what_is_longer_than_its_bound_is_refused_and_the_connection_closed,
    a_request_may_come_byte_by_byte,
    packets_between_requests_do_not_disturb_them,
    links_out_of_the_media_folder_are_not_followed,
    a_client_that_blocks_in_one_request_does_not_delay_another,
    many_pipelined_requests_are_all_answered_also_behind_a_closed_writing_side;
    "ffmpeg":
    the_url_may_be_a_star_or_a_path_but_not_missing,
    an_unknown_method_is_refused_and_the_connection_lives,
    header_names_have_no_case,
    a_body_that_nobody_asked_for_is_skipped,
    pipelined_requests_are_answered_in_order,
    an_empty_get_parameter_is_a_ping_and_an_unknown_parameter_is_refused,
    a_description_has_a_base_and_a_track_for_each_section,
    a_description_in_a_format_that_is_not_made_is_refused,
    names_of_files_come_percent_encoded_raw_and_with_parameters,
);
