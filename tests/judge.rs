//! Bit-exactness: what a player gets is what the file holds, frame by frame, none missing, none more, and every
//! timestamp differs from the file's by one constant.

mod av1;
pub(crate) mod elementary;
pub(crate) mod ffmpeg;
pub(crate) mod gstreamer;
pub(crate) mod raw;

use std::any::Any;
use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::corpus::Recipe;

/// What a judge found: nothing, or how the playing differs from the file.
pub(crate) type Verdict = Result<(), String>;

/// Players at work at once in all tests: they mostly wait for the next frame, but a machine that is short of time makes
/// them lose datagrams.
const PLAYERS_MAX: usize = 10;

/// Files that one test has under way at once.
const AT_ONCE: usize = 8;

/// Holds back a player until fewer than [`PLAYERS_MAX`] are at work. Who has a turn already is not held back again:
/// all who have one could be waiting for another.
pub(crate) struct Turn {
    /// It does not leave the thread that has it.
    _stays: PhantomData<*const ()>,
}

thread_local! {
    /// Turns that this thread has, all but the first within the first.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

static PLAYING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

impl Turn {
    pub(crate) fn wait() -> Turn {
        if HELD.replace(HELD.get() + 1) == 0 {
            let playing = PLAYING.lock().unwrap();
            *ENDED.wait_while(playing, |playing| *playing >= PLAYERS_MAX).unwrap() += 1;
        }
        Turn { _stays: PhantomData }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if HELD.replace(HELD.get() - 1) == 1 {
            *PLAYING.lock().unwrap() -= 1;
            ENDED.notify_one();
        }
    }
}

/// Judges every recipe, several at a time; fails with a line for each that is not as it should be.
#[track_caller]
pub(crate) fn all(recipes: &[&'static Recipe], judge: impl Fn(&'static Recipe) -> Verdict + Sync) {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(recipe) = recipes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !is_wanted(recipe.name) {
                        continue;
                    }
                    let _turn = Turn::wait();
                    // A helper that panics must not hide what the others find.
                    let verdict = catch_unwind(AssertUnwindSafe(|| judge(recipe)));
                    if let Err(problem) = verdict.unwrap_or_else(|panic| Err(message(&*panic))) {
                        failures.lock().unwrap().push(format!("{}: {problem}", recipe.name));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    let count = failures.len();
    assert!(failures.is_empty(), "{count} of {} files:\n{}", recipes.len(), failures.join("\n"));
}

/// Whether a file is to be judged: `TEST_FILES=mkv,av1` in the environment leaves the others out.
fn is_wanted(name: &str) -> bool {
    let Ok(wanted) = std::env::var("TEST_FILES") else { return true };
    wanted.split(',').any(|part| name.contains(part))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

/// Arguments of a player or publisher, with FFmpeg's own UDP ports where the kernel takes a client's from. FFmpeg takes
/// them anywhere from 5000 to 65000: a server that starts could find its port taken.
pub(crate) fn beside_servers<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut beside = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        beside.push(argument);
        if argument == "-rtsp_transport" {
            beside.extend(arguments.next());
            beside.extend(["-min_port", "33000", "-max_port", "60000"]);
        }
    }
    beside
}

/// Runs a program that must end by itself, successfully, within `patience`.
pub(crate) fn run(program: &str, arguments: &[String], patience: Duration) -> Result<Output, String> {
    let seconds = patience.as_secs().to_string();
    let mut command = Command::new("timeout");
    command.args(["-k", "1", &seconds, program]).args(beside_servers(arguments.iter().map(String::as_str)));
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last: Vec<_> = errors.lines().rev().take(6).collect();
    let last = last.into_iter().rev().collect::<Vec<_>>().join(" | ");
    match output.status.code() {
        Some(124 | 137) => Err(format!("{program} has not ended after {seconds} s: {last}")),
        _ => Err(format!("{program} ended with {}: {last}", output.status)),
    }
}

/// Compares two lists of items, in order, and says where they part.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, source: &[T], played: &[T]) -> Verdict {
    let at = source.iter().zip(played).position(|(a, b)| a != b);
    match at {
        None if source.len() == played.len() => Ok(()),
        None => Err(format!("{} {what} in place of {}", played.len(), source.len())),
        Some(at) => {
            let shift = |list: &[T], item: &T| list.iter().position(|other| other == item);
            let hint = match (shift(source, &played[at]), shift(played, &source[at])) {
                (Some(place), _) if place > at => format!("; {} are missing there", place - at),
                (_, Some(place)) if place > at => format!("; {} too many there", place - at),
                _ => String::new(),
            };
            let counts = format!("{} against {}", played.len(), source.len());
            Err(format!("{what} differ from number {at} on ({counts}){hint}"))
        }
    }
}

/// Checks that two lists of times, in seconds, differ by one constant; returns it.
pub(crate) fn constant(what: &str, source: &[f64], played: &[f64], tolerance: f64) -> Result<f64, String> {
    let (Some(first), Some(other)) = (source.first(), played.first()) else { return Ok(0.0) };
    let offset = other - first;
    let far = |(a, b): (&f64, &f64)| (b - a - offset).abs() > tolerance;
    match source.iter().zip(played).position(far) {
        None => Ok(offset),
        Some(at) => {
            let (wanted, found) = (source[at] - first, played[at] - other);
            Err(format!("time of {what} number {at} is {found:.6} s behind the first, not {wanted:.6} s"))
        }
    }
}

#[test]
fn who_has_a_turn_is_not_held_back_again() {
    // With other tests at work, all turns may be taken at any moment: each thread asks for its second within its first.
    thread::scope(|scope| {
        for _ in 0..2 * PLAYERS_MAX {
            scope.spawn(|| {
                let _first = Turn::wait();
                thread::sleep(Duration::from_millis(20));
                drop(Turn::wait());
                let _third = Turn::wait();
            });
        }
    });
    assert_eq!(HELD.get(), 0);
}

#[test]
fn a_missing_an_additional_and_a_changed_frame_are_found() {
    assert_eq!(same("frames", &[1, 2, 3], &[1, 2, 3]), Ok(()));
    assert!(same("frames", &[1, 2, 3], &[1, 3]).unwrap_err().contains("1 are missing"));
    assert!(same("frames", &[1, 2, 3], &[1, 9, 2, 3]).unwrap_err().contains("1 too many"));
    assert!(same("frames", &[1, 2, 3], &[1, 2]).unwrap_err().contains("2 frames in place of 3"));
    assert!(same("frames", &[1, 2, 3], &[1, 2, 4]).unwrap_err().contains("from number 2"));
}

#[test]
fn a_time_that_drifts_is_found() {
    assert_eq!(constant("frame", &[1.0, 2.0], &[5.0, 6.0], 0.0), Ok(4.0));
    assert!(constant("frame", &[1.0, 2.0], &[5.0, 6.1], 0.01).unwrap_err().contains("number 1"));
}
