//! One TCP connection: receiving into the inbox, and sends that are finished when the socket takes more.

use std::io::{self, IoSlice, Read};
use std::mem;
use std::net::Shutdown;
use std::task::{Context, Poll};

use proto::io::{Piece, Pieces, Span};
use smallvec::SmallVec;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::inbox::Inbox;
use crate::platform::send_now;

/// Byte runs of one system call: a keyframe of the usual size with heads of its own, without an allocation.
const RUNS_MAX: usize = 128;

/// Bytes thrown away at the close so that the peer sees an orderly end: unread input makes it a reset, which
/// also destroys what we sent last.
const DISCARDED_BYTES_MAX: usize = 256 * 1024;

/// A connection with what is under way on it.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Whether input is wanted.
    pub receiving: bool,
    /// Whether the peer has closed its side or the connection is broken.
    ended: bool,
    broken: bool,
    /// What a full socket left over. Apart, so that a connection that takes its frames at once is one cache line;
    /// kept once it was needed.
    rest: Option<Box<Pieces>>,
    /// Bytes of the send under way that the kernel has.
    sent: usize,
    sending: bool,
}

/// How far a send is.
#[derive(Debug)]
pub enum Output {
    /// The last byte is with the kernel.
    Done,
    /// The waker will tell when the socket takes more.
    Waiting,
    /// The connection is broken.
    Failed(io::Error),
}

/// What a read brought.
#[derive(Debug)]
pub enum Input {
    /// Bytes.
    Bytes(Span),
    /// Nothing, and nothing will come: the peer's orderly end, or an error.
    End(Option<io::Error>),
    /// Nothing; the waker will tell when there is more.
    Waiting,
    /// Nothing, for the inbox of this turn is full.
    Full,
}

impl Connection {
    /// Takes over a connected socket. Receiving is on.
    pub fn new(stream: TcpStream) -> Connection {
        Connection {
            stream,
            receiving: true,
            ended: false,
            broken: false,
            rest: None,
            sent: 0,
            sending: false,
        }
    }

    /// Sends at once what the socket takes; the rest goes by [`Connection::poll_send`]. At most one send is under
    /// way; more pieces only make it longer.
    ///
    /// Leaves `pieces` empty where it keeps them: they are large, and most are only read.
    pub fn send(&mut self, pieces: &mut Pieces, cx: &mut Context<'_>) -> Output {
        debug_assert!(!self.sending, "one send at a time");
        if self.broken {
            return Output::Waiting;
        }
        if self.sending {
            self.rest.get_or_insert_default().append(pieces);
            return Output::Waiting;
        }
        self.sent = 0;
        self.go_on(pieces, cx)
    }

    /// Whether a send is under way.
    pub fn is_sending(&self) -> bool {
        self.sending
    }

    /// Goes on with the send that is under way.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Output {
        let mut pieces = self.rest.as_deref_mut().map(mem::take).unwrap_or_default();
        self.go_on(&mut pieces, cx)
    }

    /// Whether input could be read.
    pub fn is_receiving(&self) -> bool {
        self.receiving && !self.ended
    }

    /// Reads once. The caller asks again until it waits or the inbox is full.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>, inbox: &mut Inbox) -> Input {
        loop {
            match self.stream.poll_read_ready(cx) {
                Poll::Pending => return Input::Waiting,
                Poll::Ready(Err(error)) => return self.end(Some(error)),
                Poll::Ready(Ok(())) => {}
            }
            let Some(room) = inbox.room() else { return Input::Full };
            let room_bytes = room.len();
            match self.stream.try_read(room) {
                Ok(0) => return self.end(None),
                Ok(size) => {
                    if size < room_bytes {
                        self.note_not_ready(Interest::READABLE);
                    }
                    return Input::Bytes(inbox.keep(size));
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => return self.end(Some(error)),
            }
        }
    }

    /// Ends both directions.
    pub fn close(self) {
        let socket = SockRef::from(&self.stream);
        if !self.ended {
            let mut discarded = [0; 4096];
            let mut left = DISCARDED_BYTES_MAX;
            while left > 0
                && let Ok(size) = (&*socket).read(&mut discarded)
                && size > 0
            {
                left = left.saturating_sub(size);
            }
        }
        // Fails on a connection that the peer has reset; then there is nothing to end.
        let _ = socket.shutdown(Shutdown::Both);
    }

    /// Gives the socket away.
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        self.stream.into_std()
    }

    /// Writes until all is sent or the socket is full.
    fn go_on(&mut self, pieces: &mut Pieces, cx: &mut Context<'_>) -> Output {
        let output = self.poll_write(pieces, cx);
        self.sending = matches!(output, Output::Waiting);
        if self.sending {
            **self.rest.get_or_insert_default() = mem::take(pieces);
        }
        output
    }

    fn poll_write(&mut self, pieces: &Pieces, cx: &mut Context<'_>) -> Output {
        loop {
            // The call comes before the question: a socket that is writable at once never waits for the reactor.
            match self.write(pieces) {
                Ok(Written::All) => return Output::Done,
                Ok(Written::Runs) => continue,
                Ok(Written::Short) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return self.fail(error),
            }
            self.note_not_ready(Interest::WRITABLE);
            match self.stream.poll_write_ready(cx) {
                Poll::Pending => return Output::Waiting,
                Poll::Ready(Err(error)) => return self.fail(error),
                Poll::Ready(Ok(())) => {}
            }
        }
    }

    /// One system call with what is left of the pieces.
    fn write(&mut self, pieces: &Pieces) -> io::Result<Written> {
        if let [Piece::Shared(bytes)] = &pieces[..] {
            let rest = &bytes[self.sent.min(bytes.len())..];
            if rest.is_empty() {
                return Ok(Written::All);
            }
            let size = send_now(&self.stream, rest)?;
            self.sent += size;
            return Ok(if size == rest.len() { Written::All } else { Written::Short });
        }
        let (runs, more) = runs(pieces, self.sent);
        let offered: usize = runs.iter().map(|run| run.len()).sum();
        if offered == 0 {
            return Ok(Written::All);
        }
        let size = SockRef::from(&self.stream).send_vectored(&runs)?;
        self.sent += size;
        Ok(match (size == offered, more) {
            (true, false) => Written::All,
            (true, true) => Written::Runs,
            (false, _) => Written::Short,
        })
    }

    /// Tells the reactor what a short count has told us, and saves the call that would be refused. True readiness
    /// that comes meanwhile is an event of its own.
    fn note_not_ready(&self, interest: Interest) {
        let _ = self.stream.try_io(interest, || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
    }

    fn end(&mut self, error: Option<io::Error>) -> Input {
        self.ended = true;
        if error.is_some() {
            // A send that is under way would only report the same once more.
            self.broken = true;
            self.sending = false;
            self.rest = None;
        }
        Input::End(error)
    }

    fn fail(&mut self, error: io::Error) -> Output {
        self.ended = true;
        self.broken = true;
        Output::Failed(error)
    }
}

/// How far one system call came.
enum Written {
    /// The last byte is with the kernel.
    All,
    /// All that one call may carry.
    Runs,
    /// The socket is full.
    Short,
}

/// The first byte runs of `pieces` after `sent` bytes, and whether there are more.
fn runs(pieces: &Pieces, sent: usize) -> (SmallVec<[IoSlice<'_>; RUNS_MAX]>, bool) {
    let mut skip = sent;
    let mut runs = SmallVec::new();
    for run in pieces.iter().flat_map(Piece::slices) {
        if skip >= run.len() {
            skip -= run.len();
            continue;
        }
        if runs.len() == RUNS_MAX {
            return (runs, true);
        }
        runs.push(IoSlice::new(&run[skip..]));
        skip = 0;
    }
    (runs, false)
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
