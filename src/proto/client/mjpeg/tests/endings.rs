//! How it ends: refusals, silence, and what has no end.

use super::super::head::HEAD_BYTES_MAX;
use super::super::pictures::{PICTURE_BYTES_MAX, SKIPPED_BYTES_MAX};
use super::*;
use crate::rtsp::message::Method;
use crate::rtsp::status::Status;

#[test]
fn a_refusal_is_said_with_its_status() {
    for status in [404, 403, 503, 500] {
        let mut link = Link::to("http://h/a");
        link.receive(response(&format!("{status} x"), "Content-Type: text/html\r\n", b"no"));
        let expected = Failure::Refused { method: Method::from("GET"), status: Status(status) };
        assert_eq!(link.failure, Some(expected));
    }
    let mut link = Link::to("http://h/a");
    link.receive("HTTP/1.1 404 x\r\n\r\n");
    assert_eq!(link.failure.unwrap().to_string(), "the server answers GET with 404 Not Found");
}

#[test]
fn what_is_no_picture_is_said() {
    let mut link = Link::to("http://h/a");
    link.receive(response("200 OK", "Content-Type: text/html; charset=x\r\n", b"<html>"));
    assert_eq!(link.playing, 0);
    let text = link.failure.unwrap().to_string();
    assert!(text.contains("text/html; charset=x"), "{text}");
    for bytes in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", "RTSP/1.0 200 OK\r\n\r\n"] {
        let mut link = Link::to("http://h/a");
        link.receive(bytes);
        assert!(matches!(link.failure, Some(Failure::Mjpeg(_))), "{bytes:?}: {:?}", link.failure);
    }
}

#[test]
fn an_end_of_the_connection_is_an_end_of_the_stream() {
    let head = &STREAM[..20];
    for bytes in ["", head, STREAM, &format!("{STREAM}--foo\r\n\r\n")] {
        let mut link = Link::to("http://h/a");
        link.receive(bytes);
        link.close();
        assert_eq!(link.failure, Some(Failure::Closed), "{bytes:?}");
        assert_eq!(link.client.poll_timeout(), None);
        // Nothing more comes of it.
        link.receive(part(&picture(1)));
        link.close();
        link.pass(Duration::from_secs(100));
        assert!(link.pictures.is_empty());
    }
    // Whole pictures before it are given.
    let mut link = Link::to("http://h/a");
    let half = &picture(2)[..30];
    link.receive([STREAM.as_bytes(), &part(&picture(1)), &part(half)].concat());
    link.close();
    assert_eq!((link.pictures, link.failure), (vec![picture(1).into()], Some(Failure::Closed)));
}

#[test]
fn each_wait_has_its_own_bound() {
    let mut client = MjpegClient::new(Time::ZERO, config("http://h/a"));
    assert!(matches!(client.poll_event(), Some(MjpegEvent::Connect(_))));
    assert_eq!(client.poll_timeout(), Some(Time::from_millis(5_000)));
    client.handle_timeout(Time::from_millis(4_999));
    assert_eq!(client.poll_event(), None);
    client.handle_timeout(Time::from_millis(5_000));
    assert_eq!(client.poll_event(), Some(MjpegEvent::Failed(Failure::ConnectTimeout)));

    let mut link = Link::to("http://h/a");
    link.pass(Duration::from_secs(4));
    link.receive("HTTP/1.1 200 OK\r\n");
    assert_eq!(link.wait(), Duration::from_secs(1), "a head that drips is late as well");
    assert_eq!(link.failure, Some(Failure::ResponseTimeout(Method::from("GET"))));

    let mut link = Link::to("http://u:p@h/a");
    link.receive("HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 9\r\n\r\n");
    assert_eq!(link.wait(), Duration::from_secs(5));
    assert_eq!(link.failure, Some(Failure::ResponseTimeout(Method::from("GET"))));

    let mut link = Link::to("http://h/a");
    link.receive(STREAM);
    for _ in 0..10 {
        link.pass(Duration::from_secs(14));
        link.receive(part(&picture(1)));
    }
    assert_eq!(link.wait(), Duration::from_secs(15));
    assert_eq!((link.failure, link.pictures.len()), (Some(Failure::Silent), 10));
}

#[test]
fn bytes_that_never_become_a_picture_do_not_keep_it_alive() {
    let mut link = Link::to("http://h/a");
    link.receive(STREAM);
    let mut seconds = 0;
    while link.failure.is_none() && seconds < 100 {
        link.pass(Duration::from_secs(1));
        link.receive("x");
        seconds += 1;
    }
    assert_eq!((link.failure, seconds), (Some(Failure::Silent), 60));
}

/// How many bytes of one kind it takes until the client gives up behind that beginning, and why.
fn endure(beginning: &[u8], filling: u8) -> (usize, Option<Failure>) {
    let mut link = Link::to("http://h/a");
    link.receive(beginning);
    let piece = [filling; 4_096];
    let mut count = 0;
    while link.failure.is_none() && count < 2 * PICTURE_BYTES_MAX {
        link.receive(piece);
        count += piece.len();
        assert!(link.client.memory_bytes() <= 2 * PICTURE_BYTES_MAX + HEAD_BYTES_MAX);
    }
    assert!(link.client.memory_bytes() < 1_024, "nothing is kept");
    (count, link.failure)
}

#[test]
fn what_has_no_end_is_bounded() {
    let bound = |count: usize, max: usize| assert!(count <= max + 4_096, "{count} of {max}");
    let (count, failure) = endure(b"HTTP/1.1 200 OK\r\nX: ", b'y');
    assert_eq!(failure, Some(MjpegError::HeadTooLong.into()));
    bound(count, HEAD_BYTES_MAX);
    for beginning in [STREAM.to_owned(), format!("{STREAM}--foo\r\nX: ")] {
        let (count, failure) = endure(beginning.as_bytes(), b'y');
        assert_eq!(failure, Some(MjpegError::NoPicture.into()));
        bound(count, SKIPPED_BYTES_MAX);
    }
    let scan = [STREAM.as_bytes(), &picture(1)[..40]].concat();
    let segments = [STREAM.as_bytes(), &picture(1)[..16]].concat();
    for (beginning, filling) in [(&scan, b'y'), (&segments, b'y'), (&scan, 0xff), (&segments, 0xff)] {
        let (count, failure) = endure(beginning, filling);
        assert_eq!(failure, Some(MjpegError::PictureTooLarge.into()));
        bound(count, PICTURE_BYTES_MAX);
    }
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed\r\nTransfer-Encoding: chunked\r\n\r\n1;";
    let (count, failure) = endure(chunked.as_bytes(), b'y');
    assert_eq!(failure, Some(MjpegError::Chunk.into()));
    bound(count, 1_024);
}

#[test]
fn a_large_picture_does_not_leave_its_memory_behind() {
    let mut large = picture(1);
    let small = large.len();
    let scan = large.len() - 2;
    large.splice(scan..scan, vec![1; 8 * 1024 * 1024]);
    let mut link = Link::to("http://h/a");
    link.receive(STREAM);
    link.receive(part(&large));
    for number in 0..3 {
        link.receive(part(&picture(number)));
    }
    assert_eq!(link.pictures.iter().map(Bytes::len).collect::<Vec<_>>(), [large.len(), small, small, small]);
    assert!(link.client.memory_bytes() < 64 * 1024, "{}", link.client.memory_bytes());
}
