//! Where log lines go without making the one who logs wait.
//!
//! A shard that writes to a pipe whose reader has stopped would stop serving. So a thread of its own writes, behind
//! a bounded queue; what does not fit is dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use crate::control::tail;

/// The logging side; clones share one queue.
#[derive(Clone)]
pub(super) struct Sink {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

/// Keeps the last lines from being lost: on drop it waits until they are written, at most a second.
pub(super) struct Flush {
    queue: SyncSender<Message>,
}

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

impl Sink {
    /// Starts the thread that writes to `output`.
    ///
    /// Errors: the system gives no thread.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<(Sink, Flush)> {
        let (queue, lines) = sync_channel(LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let count = dropped.clone();
        std::thread::Builder::new()
            .name("log".to_string())
            .spawn(move || write_lines(&lines, &count, output))?;
        Ok((Sink { queue: queue.clone(), dropped }, Flush { queue }))
    }
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Message::Line(line.to_vec())) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Sink;

    fn make_writer(&'a self) -> Sink {
        self.clone()
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        let begin = Instant::now();
        // An output that takes nothing must not keep the program from ending.
        while let Err(TrySendError::Full(back)) = self.queue.try_send(message) {
            if begin.elapsed() > FLUSH_MAX {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
            message = back;
        }
        let _ = written.recv_timeout(FLUSH_MAX);
    }
}

fn write_lines(lines: &Receiver<Message>, dropped: &AtomicU64, mut output: impl Write) {
    let mut text = Vec::new();
    while let Ok(first) = lines.recv() {
        let mut asked = None;
        for message in std::iter::once(first).chain(lines.try_iter().take(LINES_A_WRITE)) {
            match message {
                Message::Line(line) => text.extend_from_slice(&line),
                Message::Flush(done) => asked = Some(done),
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            text.extend_from_slice(
                format!("{lost} log lines were dropped because the log could not keep up\n").as_bytes(),
            );
        }
        // Those who ask by the API see it even where the output takes nothing.
        tail::keep(&text);
        // A log that cannot be written has nowhere to complain.
        let _ = output.write_all(&text);
        text.clear();
        if let Some(done) = asked {
            let _ = output.flush();
            let _ = done.send(());
        }
        // Nobody who logs in the meantime has to wake this thread, which costs more than the line.
        std::thread::sleep(PAUSE);
    }
}

/// Lines that leave in one write: a file is to be put aside when it is full, and not much later.
const LINES_A_WRITE: usize = 64;
/// Between two writes; a line is late by that at most.
const PAUSE: Duration = Duration::from_millis(5);
/// Lines that wait to be written; the next ones are dropped and counted.
const LINES_MAX: usize = 4096;
/// How long the end of the program waits for the log.
const FLUSH_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Stuck;

    impl Write for Stuck {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            std::thread::park();
            Ok(0)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_before_the_end() {
        let output = Shared::default();
        let (mut sink, flush) = Sink::start(output.clone()).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            sink.write_all(line.as_bytes()).unwrap();
        }
        drop(flush);
        assert_eq!(*output.0.lock().unwrap(), b"one\ntwo\nthree\n");
    }

    #[test]
    fn an_output_that_takes_nothing_holds_up_nobody() {
        let (mut sink, flush) = Sink::start(Stuck).unwrap();
        let begin = std::time::Instant::now();
        for _ in 0..LINES_MAX + LINES_A_WRITE + 100 {
            sink.write_all(b"line\n").unwrap();
        }
        assert!(sink.dropped.load(Ordering::Relaxed) >= 90);
        drop(flush);
        assert!(begin.elapsed() < 3 * FLUSH_MAX);
    }
}
