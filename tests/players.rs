//! Seek, pause, resume, scale and loop as real players do them: FFmpeg's program and its library, GStreamer.
//!
//! Every player talks through a [`wiretap::Wiretap`], so that what a test claims was asked for really was.

mod ffmpeg;
mod gstreamer;
#[cfg(feature = "ffmpeg")]
mod library;
mod wiretap;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::client::viewer::{BOTH, Over};
use crate::corpus::folder;
use crate::judge::{Turn, Verdict};
use crate::server::{Backend, Server};

/// A server of the corpus that plays each file so often.
fn server(backend: Backend, plays: i32) -> Server {
    Server::with(backend)
        .media(folder())
        .setting("loop_nums", plays)
        .lifetime(std::time::Duration::from_secs(600))
        .start()
}

/// Cases that one test has under way at once: a player that falls behind reads BYE before the last datagrams.
const AT_ONCE: usize = 4;

/// Judges each case over UDP and over TCP, some at a time; fails with a line for each that is not as it should be.
#[track_caller]
fn all<T: Sync + std::fmt::Debug>(cases: &[T], judge: impl Fn(&T, Over) -> Verdict + Sync) {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number / BOTH.len()) else { return };
                    let over = BOTH[number % BOTH.len()];
                    let _turn = Turn::wait();
                    let mut verdict = judge(case, over);
                    if let (Err(problem), Over::Udp) = (&verdict, over) {
                        // A player that a busy machine holds up loses datagrams, or reads BYE before the last of them.
                        println!("{case:?} over udp, once more: {problem}");
                        verdict = judge(case, over);
                    }
                    if let Err(problem) = verdict {
                        failures.lock().unwrap().push(format!("{case:?} over {}: {problem}", over.name()));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A failed check, as a sentence.
fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}
