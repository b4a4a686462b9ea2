//! One turn: what is ready, then the reactor, until something has happened.

use std::task::{Context, Poll};

use proto::io::Event;
use proto::time::Time;

use crate::clock;
use crate::platform::Timer;
use crate::sockets::Sockets;

/// A turn that is under way: polled once at its start and after each look at the reactor.
pub struct Turn<'a> {
    sockets: &'a mut Sockets,
    timer: &'a mut Timer,
    until: Option<Time>,
    events: &'a mut Vec<Event>,
    /// Count of events that the caller had in the list already.
    before: usize,
    state: State,
}

/// How far a turn is.
enum State {
    /// The reactor was not asked yet.
    Begun,
    /// It was asked without waiting; the turn ends with what it knew.
    Looking,
    /// It was waited for.
    Waiting,
}

impl<'a> Turn<'a> {
    /// A turn that ends at `until` at the latest; None waits without end. Events since the caller's last turn are
    /// in `events` already.
    pub fn new(
        sockets: &'a mut Sockets,
        timer: &'a mut Timer,
        until: Option<Time>,
        events: &'a mut Vec<Event>,
    ) -> Turn<'a> {
        let before = sockets.events_before;
        Turn { sockets, timer, until, events, before, state: State::Begun }
    }

    /// Works off what is ready. Done when there is something to report, at a call and at the end of the time.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sockets.ready.awake(cx.waker());
        self.sockets.poll(self.events);
        let called = self.sockets.ready.take_call();
        match self.state {
            State::Looking => return Poll::Ready(()),
            State::Begun if called || self.must_not_wait() => {
                // Even a driver that is never idle asks the reactor once a turn.
                self.state = State::Looking;
                return self.again(cx);
            }
            State::Begun => self.state = State::Waiting,
            State::Waiting if called || self.events.len() > self.before => return Poll::Ready(()),
            State::Waiting => {}
        }
        self.sleep(cx)
    }

    fn must_not_wait(&self) -> bool {
        self.events.len() > self.before
            || self.sockets.has_more()
            || self.until.is_some_and(|until| until <= clock::sample())
    }

    /// Hands over to the reactor until something is ready, the driver is called or the time has come.
    fn sleep(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(at) = earlier(self.until, self.sockets.chore_at()) {
            if self.timer.poll(at, cx).is_pending() {
                break;
            }
            let now = clock::sample().max(at);
            self.sockets.do_chores(now);
            if self.until.is_some_and(|until| until <= now) {
                return Poll::Ready(());
            }
            if self.sockets.has_more() {
                return self.again(cx);
            }
        }
        if self.sockets.ready.sleep() { Poll::Pending } else { self.again(cx) }
    }

    /// Asks the reactor without waiting, and comes back.
    fn again(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sockets.stats.enters += 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
