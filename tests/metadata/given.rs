//! Documents that others give us (`<metadata_source>`) arrive byte for byte, and only if they are documents.

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use super::{PATIENCE, documents, events, index_of, keep_sending, telling};
use crate::client::publisher::Publisher;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::judge::ffmpeg::Scratch;
use crate::server::{Backend, Server, on_both_backends, scratch};

/// A document with a number, of about so many bytes; white space and all is to arrive.
fn document(number: usize, bytes: usize) -> Vec<u8> {
    let objects = "<tt:Object ObjectId=\"7\"/>\n".repeat(bytes / 26);
    format!(
        "<?xml version=\"1.0\"?>\n<!-- {number} -->\n<tt:MetadataStream xmlns:tt='http://www.onvif.org/ver10/schema'>\
         <tt:VideoAnalytics><tt:Frame UtcTime=\"2026-01-01T00:00:00Z\">{objects}</tt:Frame></tt:VideoAnalytics>\
         </tt:MetadataStream>\n"
    )
    .into_bytes()
}

fn sources(nodes: &[(&str, &str, &Path)]) -> String {
    let source = |(path, name, place): &(&str, &str, &Path)| {
        let place = place.display();
        format!("<metadata_source><path>{path}</path><{name}>{place}</{name}></metadata_source>")
    };
    nodes.iter().map(source).collect()
}

/// The documents that a viewer has which are not ours.
fn given(viewer: &Viewer, track: usize) -> Vec<Vec<u8>> {
    let all = documents(&viewer.tracks[track].packets).into_iter().map(|(_, document)| document);
    all.filter(|document| !document.windows(9).any(|window| window == b"<tt:Event")).collect()
}

fn connect(socket: &Path) -> UnixStream {
    UnixStream::connect(socket).expect("the server listens")
}

fn documents_that_programs_send_arrive_as_they_are(backend: Backend) {
    let folder = Scratch(scratch("metadata"));
    let paths = ["test", "live/a", "h264_aac.mp4"];
    let sockets: Vec<_> =
        (0..paths.len()).map(|index| folder.path().join(format!("{index}.socket"))).collect();
    let nodes: Vec<_> = paths.iter().zip(&sockets).map(|(path, place)| (*path, "socket", &**place)).collect();
    let server = telling(backend).setting("loop_nums", -1).xml(&sources(&nodes)).start();
    let mut publisher = Publisher::start(server.address(), &server.url("/live/a"), Over::Tcp);
    let _publishing = keep_sending(move |index| publisher.picture(index, index % 25 == 0));
    for (path, socket) in paths.iter().zip(&sockets) {
        assert_eq!(fs::metadata(socket).unwrap().permissions().mode() & 0o777, 0o660);
        for over in BOTH {
            let mut viewer = Viewer::open(server.address(), &server.url(&format!("/{path}")), over);
            let index = index_of(&viewer);
            viewer.play(&[]);
            assert!(viewer.receive_until(PATIENCE, super::has_told(index, 1)), "{path} {over:?}");
            // Others than before, which the stream's past may hold.
            let first = if over == Over::Tcp { 3 } else { 0 };
            let expected: Vec<_> = [100, 40_000, 1_000]
                .into_iter()
                .enumerate()
                .map(|(n, size)| document(first + n, size))
                .collect();
            let given = |viewer: &Viewer, index| {
                let mut given = given(viewer, index);
                given.retain(|document| expected.contains(document));
                given
            };
            // Two on one connection, in pieces; the last ends with its connection.
            let mut program = connect(socket);
            let mut bytes = expected[..2].join(&0);
            bytes.push(0);
            bytes.chunks(7_777).for_each(|piece| program.write_all(piece).unwrap());
            assert!(
                viewer.receive_until(PATIENCE, |viewer| given(viewer, index).len() == 2),
                "{path} {over:?}"
            );
            let mut other = connect(socket);
            other.write_all(&expected[2]).unwrap();
            other.shutdown(Shutdown::Write).unwrap();
            assert!(
                viewer.receive_until(PATIENCE, |viewer| given(viewer, index).len() == 3),
                "{path} {over:?}"
            );
            assert_eq!(given(&viewer, index), expected, "{path} {over:?}");
            let track = &viewer.tracks[index];
            assert_eq!(track.gaps(), [], "{path} {over:?}");
            let of_long =
                track.packets.split_inclusive(|packet| packet.marker).map(<[_]>::len).max().unwrap();
            assert!(of_long > 20 && track.packets.iter().all(|packet| packet.payload.len() <= 1_400));
        }
    }
}

fn what_is_no_document_is_refused_with_a_line(backend: Backend) {
    let folder = Scratch(scratch("metadata"));
    let socket = folder.path().join("socket");
    let server = telling(backend).xml(&sources(&[("test", "socket", &socket)])).start();
    let mut viewer = Viewer::open(server.address(), &server.url("/test"), Over::Tcp);
    let index = index_of(&viewer);
    viewer.play(&[]);
    let (good, long) = (document(1, 100), document(2, 300_000));
    let mut program = connect(&socket);
    for bytes in [&b"<a/>"[..], b"<tt:MetadataStream>", b"\xff\xfe<", &long, &good] {
        program.write_all(bytes).unwrap();
        program.write_all(&[0]).unwrap();
    }
    assert!(viewer.receive_until(PATIENCE, |viewer| !given(viewer, index).is_empty()));
    assert_eq!(given(&viewer, index), [good]);
    let log = server.log();
    for reason in ["its root element is not MetadataStream", "not well-formed", "larger than 262144 bytes"] {
        assert!(log.lines().any(|line| line.contains(reason) && line.contains("metadata_source")), "{log}");
    }
}

fn the_document_of_a_file_is_sent_again_and_when_it_changes(backend: Backend) {
    let folder = Scratch(scratch("metadata"));
    let file = folder.path().join("test.xml");
    let server = telling(backend).xml(&sources(&[("test", "file", &file), ("h264_aac.mp4", "file", &file)]));
    let server = server.setting("loop_nums", -1).start();
    server.wait_for_lines("is not there", 2);
    let (first, second) = (document(1, 5_000), document(2, 100));
    let replace = |bytes: &[u8]| {
        fs::write(folder.path().join("new"), bytes).unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
    };
    for path in ["/test", "/h264_aac.mp4"] {
        replace(&first);
        let mut viewer = Viewer::open(server.address(), &server.url(path), Over::Tcp);
        let index = index_of(&viewer);
        viewer.play(&[]);
        let has = |count: usize, document: Vec<u8>| {
            move |viewer: &Viewer| given(viewer, index).iter().filter(|it| **it == document).count() >= count
        };
        assert!(viewer.receive_until(PATIENCE, has(3, first.clone())), "{path}");
        // What is wrong changes nothing. Two streams have the same file.
        let lines = server.lines("the one before stays in force");
        replace(b"<a>");
        server.wait_for_lines("the one before stays in force", lines + 2);
        let before = given(&viewer, index).len();
        assert!(viewer.receive_until(PATIENCE, |viewer| given(viewer, index).len() > before), "{path}");
        replace(&second);
        assert!(viewer.receive_until(PATIENCE, has(2, second.clone())), "{path}");
        let all = given(&viewer, index);
        let changed = all.iter().position(|document| *document == second).unwrap();
        assert!(all[..changed].iter().all(|document| *document == first), "{path}");
        let gone = server.lines("is not there");
        fs::remove_file(&file).unwrap();
        server.wait_for_lines("is not there", gone + 2);
    }
}

fn our_own_documents_come_beside_those_of_others(backend: Backend) {
    let folder = Scratch(scratch("metadata"));
    let file = folder.path().join("test.xml");
    fs::write(&file, document(1, 100)).unwrap();
    let server = telling(backend).xml(&sources(&[("test", "file", &file)])).start();
    let mut viewer = Viewer::open(server.address(), &server.url("/test"), Over::Udp);
    let index = index_of(&viewer);
    viewer.play(&[]);
    let has_both = |viewer: &Viewer| {
        let all = documents(&viewer.tracks[index].packets).len();
        given(viewer, index).len() >= 2 && all - given(viewer, index).len() >= 2
    };
    assert!(viewer.receive_until(PATIENCE, has_both));
    let times: Vec<_> = documents(&viewer.tracks[index].packets).iter().map(|(at, _)| *at).collect();
    assert!(times.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) as i32 > 0), "{times:?}");
    let ours = documents(&viewer.tracks[index].packets)
        .into_iter()
        .filter(|(_, document)| document.windows(9).any(|window| window == b"<tt:Event"));
    assert!(ours.map(|(_, document)| events(&document).len()).all(|count| count == 2));
}

fn a_socket_that_was_left_behind_is_taken_over_and_goes_at_the_end(backend: Backend) {
    let folder = Scratch(scratch("metadata"));
    let socket = folder.path().join("socket");
    drop(UnixListener::bind(&socket).unwrap());
    let is_there = || fs::symlink_metadata(&socket).is_ok_and(|metadata| metadata.file_type().is_socket());
    assert!(is_there());
    let start = || telling(backend).xml(&sources(&[("test", "socket", &socket)]));
    let server = start().start();
    connect(&socket);
    // Two servers cannot have it.
    let ended = start().run_to_end(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
    assert!(ended.output.contains("socket of metadata_source: cannot listen on"), "{}", ended.output);
    connect(&socket);
    server.signal("TERM");
    assert!(server.wait(PATIENCE).is_some_and(|status| status.success()));
    assert!(!is_there());
    // What is no socket stays.
    fs::write(&socket, "mine").unwrap();
    assert_eq!(start().run_to_end(PATIENCE).status.code(), Some(1));
    assert_eq!(fs::read(&socket).unwrap(), b"mine");
}

fn without_metadata_sources_are_idle_and_check_says_so(backend: Backend) {
    let folder = Scratch(scratch("metadata"));
    let socket = folder.path().join("socket");
    let server = Server::with(backend).xml(&sources(&[("test", "socket", &socket)])).start();
    server.wait_for_log("ignored while metadata is 0", PATIENCE);
    assert!(!socket.exists());
    // Nobody is disturbed by what does not happen.
    let mut viewer = Viewer::open(server.address(), &server.url("/test"), Over::Tcp);
    viewer.play(&[]);
    assert!(viewer.receive_until(Duration::from_secs(10), |viewer| viewer.tracks[0].packets.len() > 10));
}

on_both_backends!(
    what_is_no_document_is_refused_with_a_line,
    our_own_documents_come_beside_those_of_others,
    a_socket_that_was_left_behind_is_taken_over_and_goes_at_the_end,
    without_metadata_sources_are_idle_and_check_says_so;
    "ffmpeg":
    documents_that_programs_send_arrive_as_they_are,
    the_document_of_a_file_is_sent_again_and_when_it_changes,
);
