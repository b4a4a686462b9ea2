//! When the file is read again: on SIGHUP, and with `<reload>` by itself.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{FILE, PATIENCE, RELOADED, STAYS, Subject, goes_on, serving};
use crate::client::viewer::{BOTH, Over};
use crate::server::{Backend, on_both_backends};
use crate::steering::{curl, http};

fn a_file_that_changes_is_read_again_once_it_is_whole(backend: Backend) {
    let subject = Subject::start(serving(backend).setting("reload", 1));
    let server = &subject.server;
    let mut viewers = BOTH.map(|over| subject.watch(FILE, over));
    // As editors write: another file, renamed.
    let beside = server.configuration_file().with_extension("new");
    fs::write(&beside, subject.with("<test>0</test>")).unwrap();
    fs::rename(&beside, server.configuration_file()).unwrap();
    server.wait_for_lines("configuration reloaded: test", 1);
    assert_eq!(subject.status("/test"), 404);
    // In place, in two pieces: half of it would be wrong.
    let xml = subject.with("");
    let (first, second) = xml.split_at(xml.len() / 2);
    let mut file = fs::File::create(server.configuration_file()).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    thread::sleep(Duration::from_millis(20));
    file.write_all(second.as_bytes()).unwrap();
    drop(file);
    server.wait_for_lines("configuration reloaded: test", 2);
    assert_eq!((subject.status("/test"), server.lines(STAYS)), (200, 0));
    // A wrong one, and then the same as before.
    subject.write(&subject.with("<max_sessions>many</max_sessions>"));
    server.wait_for_lines(STAYS, 1);
    subject.write(&subject.with(""));
    server.wait_for_lines("nothing has changed", 1);
    // Files beside it, and the same content written again, are nothing.
    fs::write(&beside, "beside").unwrap();
    subject.write(&subject.with(""));
    subject.write(&subject.with("").replace("<reload>1<", "<reload>0<"));
    server.wait_for_lines("configuration reloaded: reload", 1);
    assert_eq!(server.lines(RELOADED), 4);
    // It asked not to be watched.
    subject.write(&subject.with("<test>0</test>").replace("<reload>1<", "<reload>0<"));
    thread::sleep(Duration::from_secs(3));
    assert_eq!(subject.status("/test"), 200);
    viewers.iter_mut().for_each(goes_on);
}

fn a_file_that_cannot_be_read_to_its_end_holds_nobody_up(backend: Backend) {
    let subject = Subject::start(serving(backend).http().setting("reload", 1));
    let server = &subject.server;
    let mut viewer = subject.watch(FILE, Over::Tcp);
    // Whoever opens it waits, as in a folder of a machine that does not answer.
    let pipe = server.configuration_file().with_extension("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::rename(&pipe, server.configuration_file()).unwrap();
    // Until the file has been looked at twice.
    thread::sleep(Duration::from_secs(3));
    let url = http(server, "/api/v1/proxies/added");
    curl(&url, &["--json", r#"{"url": "rtsp://127.0.0.1:9/a"}"#]).expect(201);
    goes_on(&mut viewer);
    server.signal("TERM");
    server.wait_for_log("stopping", PATIENCE);
}

fn signals_in_quick_succession_end_with_the_last_file(backend: Backend) {
    let subject = Subject::start(serving(backend));
    let mut viewers = BOTH.map(|over| subject.watch(FILE, over));
    for round in 0..20 {
        subject.write(&subject.with(&format!(
            "<max_sessions>{}</max_sessions><test>{}</test>",
            10 + round,
            round % 2
        )));
        subject.server.signal("HUP");
    }
    subject.write(&subject.with("<max_sessions>9</max_sessions><test>0</test>"));
    subject.server.signal("HUP");
    // Signals that come together may be obeyed together: nobody knows which of them is the last.
    let mut reloads = 0;
    while reloads == 0 || subject.server.lines(RELOADED) > reloads {
        reloads = subject.server.lines(RELOADED);
        thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(subject.status("/test"), 404);
    assert_eq!(subject.reload("<max_sessions>9</max_sessions><test>0</test>"), "nothing has changed");
    assert!(subject.server.is_alive());
    viewers.iter_mut().for_each(goes_on);
}

fn without_a_file_a_signal_changes_nothing_and_ends_nothing(backend: Backend) {
    let subject = Subject::start(serving(backend));
    let mut viewer = subject.watch(FILE, Over::Tcp);
    fs::remove_file(subject.server.configuration_file()).unwrap();
    subject.server.signal("HUP");
    subject.server.wait_for_lines("cannot be read", 1);
    goes_on(&mut viewer);
}

on_both_backends!(;
    "ffmpeg":
    a_file_that_changes_is_read_again_once_it_is_whole,
    a_file_that_cannot_be_read_to_its_end_holds_nobody_up,
    signals_in_quick_succession_end_with_the_last_file,
    without_a_file_a_signal_changes_nothing_and_ends_nothing,
);
