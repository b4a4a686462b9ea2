//! One connection that a shard passes on, as a stream of bytes.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::shard::steering::{ANSWER_BYTES_MAX, Heard, Said, WayBack, WayIn};

/// The end that the shard holds. What it may put in is bounded there: it stops receiving until that is taken.
#[derive(Debug)]
pub(super) struct Mouth {
    heard: UnboundedSender<Heard>,
    /// Whether the client has closed its side. Goes with the connection.
    has_closed: watch::Sender<bool>,
}

/// Tells when a client has closed its side, or is gone. Whoever serves it learns no more of that than that nothing comes.
#[derive(Clone, Debug)]
pub(super) struct Parting(Option<watch::Receiver<bool>>);

impl Parting {
    /// Of a client whose going is not told.
    pub(super) fn untold() -> Parting {
        Parting(None)
    }

    /// Comes back when it has left.
    pub(super) async fn seen(mut self) {
        match &mut self.0 {
            // An error says that the connection is gone.
            Some(has_closed) => drop(has_closed.wait_for(|it| *it).await),
            None => std::future::pending().await,
        }
    }
}

/// The end that is served.
#[derive(Debug)]
pub(super) struct Pipe {
    heard: UnboundedReceiver<Heard>,
    back: WayBack,
    has_closed: watch::Receiver<bool>,
    /// What has come and was not read, with the size that each message had.
    unread: VecDeque<(Bytes, usize)>,
    /// Bytes that may still be written before some of those that were have left.
    credit: usize,
    has_all: bool,
    /// Whether the shard's end is gone, and with it the connection.
    is_gone: bool,
    has_said_all: bool,
}

/// Both ends of a connection whose answers go that way.
pub(super) fn pipe(back: WayBack) -> (Mouth, Pipe) {
    let (sender, heard) = unbounded_channel();
    let (closing, has_closed) = watch::channel(false);
    let pipe = Pipe {
        heard,
        back,
        has_closed,
        unread: VecDeque::new(),
        credit: ANSWER_BYTES_MAX,
        has_all: false,
        is_gone: false,
        has_said_all: false,
    };
    (Mouth { heard: sender, has_closed: closing }, pipe)
}

impl WayIn for Mouth {
    fn hear(&self, heard: Heard) -> bool {
        if matches!(heard, Heard::End) {
            self.has_closed.send_replace(true);
        }
        self.heard.send(heard).is_ok()
    }
}

impl Pipe {
    pub(super) fn parting(&self) -> Parting {
        Parting(Some(self.has_closed.clone()))
    }

    /// Takes what has come; pending when nothing has.
    fn listen(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match ready!(self.heard.poll_recv(context)) {
            Some(Heard::Bytes(bytes)) => {
                let whole = bytes.len();
                self.unread.push_back((bytes, whole));
            }
            Some(Heard::Left(count)) => self.credit += count,
            Some(Heard::End) => self.has_all = true,
            None => self.is_gone = true,
        }
        Poll::Ready(())
    }

    fn say_all(&mut self) {
        if !std::mem::replace(&mut self.has_said_all, true) {
            self.back.say(Said::End);
        }
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some((bytes, whole)) = self.unread.front_mut() {
                let (size, whole) = (bytes.len().min(buffer.remaining()), *whole);
                buffer.put_slice(&bytes[..size]);
                bytes.advance(size);
                if bytes.is_empty() {
                    self.unread.pop_front();
                    self.back.say(Said::Took(whole));
                }
                return Poll::Ready(Ok(()));
            }
            if self.is_gone {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if self.has_all {
                // Whoever serves it still hears that it is gone by writing.
                return Poll::Ready(Ok(()));
            }
            ready!(self.listen(context));
        }
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // All of it: what is written for somebody who is gone must not look as if it left.
        while !self.is_gone && self.listen(context).is_ready() {}
        if self.is_gone || self.has_said_all {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.credit == 0 {
            return Poll::Pending;
        }
        let size = bytes.len().min(self.credit);
        self.credit -= size;
        self.back.say(Said::Bytes(Bytes::copy_from_slice(&bytes[..size])));
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Done when the client's system has taken everything: a connection that is being closed is given less time.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.credit < ANSWER_BYTES_MAX && !self.is_gone {
            ready!(self.listen(context));
        }
        self.say_all();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.say_all();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proto::io::Conn;

    use super::*;
    use crate::shard::inbox::{Inbox, Message};

    fn both() -> (Inbox, Mouth, Pipe) {
        let (inbox, outside) = Inbox::new(0, Waker::noop().clone());
        let (mouth, pipe) = pipe(WayBack::new(outside, Conn { index: 0, generation: 0 }));
        (inbox, mouth, pipe)
    }

    fn said(inbox: &Inbox) -> Option<Said> {
        match inbox.next()? {
            Message::Said(_, said) => Some(said),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_that_is_written_arrives_and_no_more_is_on_its_way_than_may_be() {
        let (inbox, mouth, mut pipe) = both();
        let mut context = Context::from_waker(Waker::noop());
        let whole: Vec<u8> = (0..300_000_u32).map(|number| (number / 7) as u8).collect();
        let (mut written, mut arrived) = (0, Vec::new());
        while arrived.len() < whole.len() {
            while written < whole.len()
                && let Poll::Ready(size) = Pin::new(&mut pipe).poll_write(&mut context, &whole[written..])
            {
                written += size.unwrap();
            }
            let before = arrived.len();
            assert!(written - before <= ANSWER_BYTES_MAX);
            while let Some(Said::Bytes(bytes)) = said(&inbox) {
                arrived.extend_from_slice(&bytes);
            }
            assert!(arrived.len() > before, "it goes on");
            // A few of them leave later than the others.
            mouth.hear(Heard::Left((arrived.len() - before).div_ceil(2)));
            mouth.hear(Heard::Left((arrived.len() - before) / 2));
        }
        assert!(arrived == whole);
        assert!(matches!(Pin::new(&mut pipe).poll_shutdown(&mut context), Poll::Ready(Ok(()))));
        assert!(matches!(said(&inbox), Some(Said::End)));
        drop(pipe);
        assert!(said(&inbox).is_none(), "the end is told once");
    }

    #[test]
    fn what_comes_is_read_in_its_order_and_told_once_it_is() {
        let (inbox, mouth, mut pipe) = both();
        let mut context = Context::from_waker(Waker::noop());
        let mut read = |pipe: &mut Pipe| {
            let mut space = [0; 4];
            let mut buffer = ReadBuf::new(&mut space);
            let polled = Pin::new(pipe).poll_read(&mut context, &mut buffer);
            polled.map(|result| result.map(|()| String::from_utf8(buffer.filled().to_vec()).unwrap()))
        };
        assert!(read(&mut pipe).is_pending());
        mouth.hear(Heard::Bytes(Bytes::from_static(b"abcdef")));
        mouth.hear(Heard::Bytes(Bytes::from_static(b"g")));
        mouth.hear(Heard::End);
        let mut all = Vec::new();
        for _ in 0..4 {
            let Poll::Ready(Ok(some)) = read(&mut pipe) else { panic!("there is more") };
            all.push(some);
        }
        assert_eq!(all, ["abcd", "ef", "g", ""]);
        assert!(matches!(said(&inbox), Some(Said::Took(6))) && matches!(said(&inbox), Some(Said::Took(1))));
        drop(mouth);
        assert!(matches!(Pin::new(&mut pipe).poll_write(&mut context, b"x"), Poll::Ready(Err(_))));
    }

    #[test]
    fn a_client_that_closes_its_side_or_goes_is_seen_to_leave() {
        let mut context = Context::from_waker(Waker::noop());
        let mut is_seen =
            |parting: &mut Pin<Box<dyn Future<Output = ()>>>| parting.as_mut().poll(&mut context).is_ready();
        let (_inbox, mouth, pipe) = both();
        let mut parting: Pin<Box<dyn Future<Output = ()>>> = Box::pin(pipe.parting().seen());
        mouth.hear(Heard::Bytes(Bytes::from_static(b"a")));
        assert!(!is_seen(&mut parting));
        mouth.hear(Heard::End);
        assert!(is_seen(&mut parting));
        let (_inbox, mouth, pipe) = both();
        let mut parting: Pin<Box<dyn Future<Output = ()>>> = Box::pin(pipe.parting().seen());
        assert!(!is_seen(&mut parting));
        drop(mouth);
        assert!(is_seen(&mut parting));
    }

    #[test]
    fn who_waits_to_write_hears_that_the_connection_is_gone() {
        let (_inbox, mouth, mut pipe) = both();
        let mut context = Context::from_waker(Waker::noop());
        let much = vec![0; ANSWER_BYTES_MAX];
        assert!(Pin::new(&mut pipe).poll_write(&mut context, &much).is_ready());
        assert!(Pin::new(&mut pipe).poll_write(&mut context, &much).is_pending());
        drop(mouth);
        assert!(matches!(Pin::new(&mut pipe).poll_write(&mut context, &much), Poll::Ready(Err(_))));
    }
}
