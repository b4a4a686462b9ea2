//! The pictures of an open camera, in memory that the kernel shares: each is looked at where it lies, then given back.

use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use v4l::Device;
use v4l::buffer::{Metadata, Type};
use v4l::io::mmap::Stream;
use v4l::io::traits::{CaptureStream, Stream as _};

use super::GONE;

/// Pictures that the driver may have under way. It must have some while one is looked at.
const COUNT: u32 = 4;

/// How long a camera may take to its first picture.
const START_MAX: Duration = Duration::from_secs(5);

/// The event that there is something to take, in poll.h.
const POLLIN: i16 = 1;

/// The buffers of a camera that is to run.
pub struct Buffers {
    /// There until this is dropped.
    stream: Option<Stream<'static>>,
    state: State,
}

/// Who has which buffer. The crate gives the one back that was looked at last when it is asked for the next, and knows
/// nothing of a call in between that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The camera has not been started.
    Idle,
    /// One is looked at.
    Running,
    /// None is: one has to be taken, and is given back unseen.
    Adrift,
}

impl Buffers {
    /// Has the driver set buffers up; the camera runs from the first picture that is asked for.
    pub fn new(device: &Device) -> io::Result<Buffers> {
        let mut stream = Stream::with_buffers(device, Type::VideoCapture, COUNT)?;
        stream.set_timeout(START_MAX);
        Ok(Buffers { stream: Some(stream), state: State::Idle })
    }

    /// The next picture, which is waited for as long as this, the first one longer. None when none came.
    pub fn next(&mut self, wait: Duration) -> io::Result<Option<(&[u8], Metadata)>> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        if self.state != State::Idle && stream.handle().poll(POLLIN, wait_ms)? == 0 {
            return Ok(None);
        }
        if self.state == State::Adrift {
            CaptureStream::dequeue(stream)?;
            self.state = State::Running;
            return Ok(None);
        }
        self.state = State::Adrift;
        match CaptureStream::next(stream) {
            Ok((bytes, about)) => {
                self.state = State::Running;
                let used = bytes.len().min(about.bytesused as usize);
                Ok(Some((&bytes[..used], *about)))
            }
            // The buffer was given back, and none was there after all.
            Err(error) if is_passing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        match stream.stop() {
            Err(error) if error.raw_os_error() != Some(GONE) => {
                // The crate would end the program over it; so little memory is lost instead.
                tracing::warn!(%error, "a camera cannot be stopped");
                mem::forget(stream);
            }
            _ => {
                if catch_unwind(AssertUnwindSafe(|| drop(stream))).is_err() {
                    tracing::warn!("a camera did not take its buffers back");
                }
            }
        }
    }
}

/// Whether it may be better the next time.
pub fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
