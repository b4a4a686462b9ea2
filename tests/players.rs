//! Seek, pause, resume, scale and loop as real players do them: FFmpeg's program and its library, GStreamer.
//!
//! Every player talks through a [`wiretap::Wiretap`], so that what a test claims was asked for really was.

mod ffmpeg;
mod gstreamer;
#[cfg(feature = "ffmpeg")]
mod library;
mod wiretap;

use std::sync::Mutex;
use std::thread;

use crate::client::viewer::{BOTH, Over};
use crate::corpus::folder;
use crate::judge::{Turn, Verdict};
use crate::server::{Backend, Server};

/// A server of the corpus that plays each file so often.
fn server(backend: Backend, plays: i32) -> Server {
    Server::with(backend).media(folder()).setting("loop_nums", plays).start()
}

/// Judges each case over UDP and over TCP, some at a time; fails with a line for each that is not as it should be.
#[track_caller]
fn all<T: Sync + std::fmt::Debug>(cases: &[T], judge: impl Fn(&T, Over) -> Verdict + Sync) {
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for over in BOTH {
            for case in cases {
                let (judge, failures) = (&judge, &failures);
                scope.spawn(move || {
                    let _turn = Turn::wait();
                    if let Err(problem) = judge(case, over) {
                        failures.lock().unwrap().push(format!("{case:?} over {}: {problem}", over.name()));
                    }
                });
            }
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A failed check, as a sentence.
fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}
