//! Servers that have one picture at a time.

use super::*;

const JPEG: &str = "Content-Type: image/jpeg\r\n";

fn snapshot(headers: &str, number: u8) -> Vec<u8> {
    response("200 OK", &format!("{JPEG}{headers}"), &picture(number))
}

#[test]
fn snapshots_become_a_stream_of_a_few_pictures_a_second() {
    let mut link = Link::to("http://h/a.jpg");
    for number in 1..=5 {
        link.receive(snapshot("", number));
        assert_eq!(link.wait(), Duration::from_millis(200));
    }
    assert_eq!((link.playing, link.failure.clone()), (1, None));
    assert_eq!(link.pictures, [picture(1), picture(2), picture(3), picture(4), picture(5)]);
    assert_eq!((link.sent.len(), link.endpoints.len()), (6, 1), "all on one connection");
}

#[test]
fn a_server_that_answers_slowly_is_asked_again_at_once() {
    let mut link = Link::to("http://h/a.jpg");
    link.pass(Duration::from_secs(1));
    link.receive(snapshot("", 1));
    assert_eq!((link.sent.len(), link.endpoints.len()), (2, 1));
    link.pass(Duration::from_secs(1));
    link.receive(snapshot("Connection: close\r\n", 2));
    assert_eq!((link.sent.len(), link.endpoints.len()), (3, 2));
}

#[test]
fn a_connection_that_does_not_last_is_replaced_for_the_next_picture() {
    let until_closed = [format!("HTTP/1.0 200 OK\r\n{JPEG}\r\n").as_bytes(), &picture(2)].concat();
    for bytes in [snapshot("Connection: close\r\n", 2), until_closed] {
        let mut link = Link::to("http://h/a.jpg");
        link.receive(bytes);
        assert_eq!(link.pictures, [picture(2)]);
        link.close();
        assert_eq!((link.endpoints.len(), link.failure.clone()), (1, None));
        link.wait();
        assert_eq!((link.endpoints.len(), link.sent.len()), (2, 2));
    }
    // Closed while nobody asks, or before the request has come there.
    for is_late in [false, true] {
        let mut link = Link::to("http://h/a.jpg");
        link.receive(snapshot("", 1));
        if is_late {
            link.wait();
            link.close();
        } else {
            link.close();
            link.wait();
        }
        assert_eq!((link.endpoints.len(), link.failure.clone()), (2, None));
        link.receive(snapshot("", 2));
        assert_eq!(link.pictures, [picture(1), picture(2)]);
    }
    // But a fresh one that ends without an answer is no server's that works.
    let mut link = Link::to("http://h/a.jpg");
    link.receive(snapshot("Connection: close\r\n", 1));
    link.wait();
    link.close();
    assert_eq!(link.failure, Some(Failure::Closed));
}

#[test]
fn chunks_and_interim_responses_are_read() {
    let file = picture(1);
    let (first, second) = file.split_at(9);
    let mut bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n".to_vec();
    bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n9\r\n");
    bytes.extend(first);
    bytes.extend(format!("\r\n{:x}\r\n", second.len()).as_bytes());
    bytes.extend(second);
    bytes.extend(b"\r\n0\r\n\r\n");
    let mut link = Link::to("http://h/a.jpg");
    link.receive(bytes);
    link.wait();
    link.receive(snapshot("", 2));
    assert_eq!((&link.pictures[..], link.endpoints.len()), (&[picture(1).into(), picture(2).into()][..], 1));
}

#[test]
fn a_snapshot_without_end_marker_ends_with_its_response() {
    let file = picture(1);
    let mut link = Link::to("http://h/a.jpg");
    link.receive(response("200 OK", JPEG, &file[..file.len() - 2]));
    assert_eq!(link.pictures, [file]);
}

#[test]
fn what_comes_unasked_is_not_taken_for_an_answer() {
    let mut link = Link::to("http://h/a.jpg");
    link.receive([snapshot("", 1), snapshot("", 9)].concat());
    link.wait();
    assert_eq!((link.endpoints.len(), link.pictures.len()), (2, 1));
}

#[test]
fn answers_without_a_picture_end_it() {
    let mut link = Link::to("http://h/a.jpg");
    for _ in 0..2 {
        link.receive(response("200 OK", JPEG, b"no picture"));
        link.wait();
    }
    link.receive(snapshot("", 1));
    link.wait();
    for _ in 0..2 {
        link.receive(response("200 OK", JPEG, b""));
        link.wait();
    }
    assert_eq!(link.failure, None, "a picture came between");
    link.receive(response("200 OK", JPEG, b""));
    assert_eq!(link.failure, Some(MjpegError::EmptySnapshots.into()));
}

#[test]
fn a_digest_counts_its_requests_and_a_new_nonce_is_taken() {
    let challenge = |nonce| {
        let header = format!("WWW-Authenticate: Digest realm=\"r\", qop=\"auth\", nonce=\"{nonce}\"\r\n");
        response("401 x", &header, b"")
    };
    let mut link = Link::to("http://u:p@h/a.jpg");
    link.receive(challenge("first"));
    for count in 1..=3 {
        assert!(link.sent_header("Authorization").unwrap().contains(&format!("nc=0000000{count}")));
        link.receive(snapshot("", count));
        link.wait();
    }
    link.receive(challenge("second"));
    let sent = link.sent_header("Authorization").unwrap();
    assert!(sent.contains("nonce=\"second\"") && sent.contains("nc=00000001"), "{sent}");
    link.receive(snapshot("", 4));
    assert_eq!((link.pictures.len(), link.failure), (4, None));
}
