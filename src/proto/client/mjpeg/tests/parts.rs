//! Streams in all the shapes that servers give them.

use super::*;

/// The pictures of a stream whose response has that type and body.
fn pictures(content_type: &str, body: &[u8]) -> Vec<Bytes> {
    let mut link = Link::to("http://h/a");
    link.receive(format!("HTTP/1.0 200 OK\r\nContent-Type: {content_type}\r\n\r\n"));
    link.receive(body);
    assert_eq!((link.playing, link.failure), (1, None), "{content_type}");
    link.pictures
}

/// Two pictures, each between those texts, in which `LENGTH` is that of the picture.
#[track_caller]
fn check(content_type: &str, before: &str, behind: &str) {
    let files = [picture(1), picture(2)];
    let body: Vec<u8> = files
        .iter()
        .flat_map(|file| {
            let before = before.replace("LENGTH", &file.len().to_string());
            [before.as_bytes(), file, behind.as_bytes()].concat()
        })
        .collect();
    assert_eq!(pictures(content_type, &body), files, "{content_type} {before:?} {behind:?}");
}

#[test]
fn a_stream_plays_once_its_head_is_good_and_gives_each_picture_when_its_last_byte_is_there() {
    let mut link = Link::to("http://u:p@cam:8080/a/video?x=1#f");
    assert_eq!(link.endpoints, [Endpoint { scheme: Scheme::Http, host: "cam".into(), port: 8080 }]);
    assert_eq!(link.sent, ["GET /a/video?x=1 HTTP/1.1\r\nHost: cam:8080\r\nAccept: */*\r\n\r\n"]);
    link.receive(&STREAM[..STREAM.len() - 1]);
    assert_eq!(link.playing, 0);
    link.receive("\n");
    assert_eq!((link.playing, link.pictures.len()), (1, 0));
    let bytes = part(&picture(1));
    link.receive(&bytes[..bytes.len() - 3]);
    assert!(link.pictures.is_empty());
    link.receive(&bytes[bytes.len() - 3..bytes.len() - 2]);
    assert_eq!(link.pictures, [picture(1)]);
    link.receive([&bytes[bytes.len() - 2..], &part(&picture(2)), &part(&picture(3))].concat());
    assert_eq!(link.pictures, [picture(1), picture(2), picture(3)]);
    assert_eq!((link.sent.len(), link.failure), (1, None));
}

#[test]
fn the_boundary_may_have_any_dashes_and_quotes() {
    for content_type in ["foo", "--foo", "\"foo\"", "\"--foo\"", "----foo", ""] {
        for line in ["--foo", "----foo", "foo", "--other"] {
            let head = format!("{line}\r\nContent-Type: image/jpeg\r\nContent-Length: LENGTH\r\n\r\n");
            check(&format!("multipart/x-mixed-replace; boundary={content_type}"), &head, "\r\n");
        }
    }
}

#[test]
fn parts_may_lack_what_belongs_to_them() {
    let content_type = "multipart/x-mixed-replace; boundary=foo";
    for (before, behind) in [
        ("--foo\r\nContent-Type: image/jpeg\r\n\r\n", "\r\n"),
        ("--foo\r\nContent-Type: image/jpeg\r\n\r\n", ""),
        ("--foo\nContent-Type: image/jpeg\nContent-Length: LENGTH\n\n", "\n"),
        ("\r\n--foo\r\n\r\n", ""),
        ("--foo\r\n", "\r\n"),
        ("", ""),
        ("This is a preamble.\r\n\r\n--foo\r\n\r\n", "\r\n--foo--\r\n"),
        ("--foo\r\nContent-Length: LENGTH\r\n\r\n", "\0\0\0\0padding\r\n"),
    ] {
        check(content_type, before, behind);
    }
}

#[test]
fn a_wrong_length_of_a_part_does_no_harm() {
    for length in ["0", "1", "99999", "-1", "x", "18446744073709551615"] {
        let head = format!("--foo\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n");
        check("multipart/x-mixed-replace; boundary=foo", &head, "\r\n");
    }
}

#[test]
fn a_length_of_the_whole_stream_is_not_believed() {
    let mut link = Link::to("http://h/a");
    link.receive(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: multipart/mixed;boundary=foo\r\n\r\n",
    );
    link.receive(part(&picture(1)));
    assert_eq!((link.pictures, link.failure), (vec![picture(1).into()], None));
}

#[test]
fn parts_that_are_no_pictures_are_left_out() {
    let sound = "--foo\r\nContent-Type: audio/basic\r\nContent-Length: 3\r\n\r\n\u{ff}\u{d8}a\r\n";
    let body = [&part(&picture(1)), sound.as_bytes(), b"\xff\xff\xd8\xd8\r\n", &part(&picture(2))].concat();
    let got = pictures("multipart/x-mixed-replace; boundary=foo", &body);
    assert_eq!(got, [picture(1), picture(2)]);
}

#[test]
fn chunks_do_not_have_to_be_parts() {
    let body = [part(&picture(1)), part(&picture(2))].concat();
    for size in [1, 7, 64, body.len()] {
        let chunks = body
            .chunks(size)
            .flat_map(|chunk| [format!("{:x};a=b\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
        let head = STREAM.replace("Server: x", "Transfer-Encoding: chunked");
        let mut link = Link::to("http://h/a");
        link.receive([head.into_bytes(), chunks.collect()].concat());
        assert_eq!(
            (link.failure.clone(), &link.pictures[..]),
            (None, &[picture(1).into(), picture(2).into()][..])
        );
        link.receive("0\r\n\r\n");
        assert_eq!(link.failure, Some(Failure::Closed));
    }
}

#[test]
fn a_picture_without_end_marker_ends_at_the_boundary() {
    let cut = |number| -> Vec<u8> {
        let mut file = picture(number);
        file.truncate(file.len() - 2);
        file
    };
    for boundary in ["foo", "--foo"] {
        for line in ["\r\n--foo", "\n--foo", "--foo", "\r\nfoo", "\r\n----foo"] {
            let head = format!("{line}\r\nContent-Type: image/jpeg\r\n\r\n");
            let body =
                [head.as_bytes(), &cut(1), head.as_bytes(), &cut(2), head.as_bytes(), &picture(3)].concat();
            let got = pictures(&format!("multipart/x-mixed-replace; boundary={boundary}"), &body);
            assert_eq!(got, [picture(1), picture(2), picture(3)], "{boundary} {line:?}");
        }
    }
}

#[test]
fn a_picture_that_is_cut_short_does_not_take_the_next_one_with_it() {
    let file = picture(1);
    // In its scan, with nothing to tell where; in what precedes it; behind the length of a segment.
    let scan = file.len() - 11;
    for at in [scan, scan - 3, 20, 3] {
        let body = [&part(&file[..at])[..], &part(&picture(2)), &part(&picture(3))].concat();
        let got = pictures("multipart/x-mixed-replace; boundary=other", &body);
        assert!(got.ends_with(&[picture(3).into()]), "{at}: {got:?}");
        assert!(got.len() <= 2, "{at}: {got:?}");
    }
    // Nothing of a scan is there to be seen.
    let empty = [0xff, 0xd8, 0xff, 0xc0, 0, 2, 0xff, 0xd9];
    let body = [&part(&empty)[..], &part(b"\xff\xd8\xff\xda\0\x02x\xff\xd9"), &part(&picture(1))].concat();
    assert_eq!(pictures("multipart/x-mixed-replace; boundary=foo", &body), [picture(1)]);
}

#[test]
fn a_progressive_picture_has_several_scans_with_tables_between() {
    let mut file = vec![0xff, 0xd8, 0xff, 0xc2, 0, 3, 1, 0xff, 0xda, 0, 2, 1, 0xff, 0, 2];
    // Tables and a comment that hold end markers.
    file.extend([0xff, 0xc4, 0, 4, 0xff, 0xd9, 0xff, 0xfe, 0, 4, 0xff, 0xd9]);
    file.extend([0xff, 0xda, 0, 2, 3, 0xff, 0xff, 0xd9]);
    assert_eq!(pictures("multipart/x-mixed-replace", &part(&file)), [file]);
}
