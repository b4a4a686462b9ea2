//! Who is ready: the list that wakers fill and the driver works off.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// A socket of the driver, as the ready list names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// A connection, by its place.
    Connection(u32),
    /// A UDP socket, by its place.
    Udp(u32),
    /// A listening socket, by its place.
    Door(u32),
}

/// What the driver shares with its wakers.
#[derive(Debug, Default)]
pub struct Ready {
    list: Mutex<Vec<Arc<Member>>>,
    /// The waker of the future that a turn runs.
    turn: Mutex<Option<Waker>>,
    /// Whether the driver sleeps, or is about to.
    asleep: AtomicBool,
    /// Whether someone wants the driver to return from its turn.
    called: AtomicBool,
}

impl Ready {
    /// A waker that puts `token` on the list; kept as long as its place in the driver's table.
    pub fn member(self: &Arc<Ready>, token: Token) -> Waker {
        Waker::from(Arc::new(Member { token, listed: AtomicBool::new(false), ready: self.clone() }))
    }

    /// A waker that ends the turn.
    pub fn caller(self: &Arc<Ready>) -> Waker {
        Waker::from(Arc::new(Caller(self.clone())))
    }

    /// Notes whom to wake, and that the driver is awake.
    pub fn awake(&self, turn: &Waker) {
        self.asleep.store(false, Ordering::SeqCst);
        let mut known = lock(&self.turn);
        if !known.as_ref().is_some_and(|waker| waker.will_wake(turn)) {
            *known = Some(turn.clone());
        }
    }

    /// Notes that the driver is about to sleep. False if it must not: it was called, or someone is ready.
    pub fn sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        !self.called.load(Ordering::SeqCst) && lock(&self.list).is_empty()
    }

    /// Whether the driver was called since this was asked last.
    pub fn take_call(&self) -> bool {
        self.called.load(Ordering::Relaxed) && self.called.swap(false, Ordering::SeqCst)
    }

    /// Moves those who are ready to the end of `into`.
    pub fn take(&self, into: &mut impl Extend<Token>) {
        into.extend(lock(&self.list).drain(..).map(|member| {
            member.listed.store(false, Ordering::Release);
            member.token
        }));
    }

    /// Wakes the turn if it sleeps; of several calls one does it.
    fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst)
            && let Some(waker) = &*lock(&self.turn)
        {
            waker.wake_by_ref();
        }
    }
}

/// Puts one socket on the list, once until it is taken from it.
#[derive(Debug)]
struct Member {
    token: Token,
    listed: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Member {
    fn wake(self: Arc<Self>) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            let ready = self.ready.clone();
            lock(&ready.list).push(self);
            ready.wake();
        }
    }
}

/// Ends the turn from any thread.
struct Caller(Arc<Ready>);

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.called.store(true, Ordering::SeqCst);
        self.0.wake();
    }
}

/// The content, also after a panic elsewhere: both lists are whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_listed_once_until_taken() {
        let ready = Arc::new(Ready::default());
        let waker = ready.member(Token::Udp(7));
        waker.wake_by_ref();
        waker.wake_by_ref();
        let mut taken = Vec::new();
        ready.take(&mut taken);
        assert_eq!(taken, [Token::Udp(7)]);
        waker.wake();
        ready.take(&mut taken);
        assert_eq!(taken, [Token::Udp(7); 2]);
    }

    #[test]
    fn a_call_before_sleep_forbids_it() {
        let ready = Arc::new(Ready::default());
        assert!(ready.sleep());
        ready.caller().wake();
        assert!(!ready.sleep());
        assert!(ready.take_call());
        assert!(!ready.take_call());
        assert!(ready.sleep());
    }
}
