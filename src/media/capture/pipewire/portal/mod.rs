//! Asks a desktop's user for screens, through the ScreenCast interface of xdg-desktop-portal.
//!
//! Which screen it is the user decides in a dialogue of the desktop's. What was chosen is remembered as a token, so that
//! nobody is asked twice. Who refuses is left alone for a while: viewers come from the whole network.

mod dialogue;
mod tokens;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use tokio::sync::oneshot;

pub(super) use self::dialogue::version;
use self::tokens::Tokens;
use crate::media::capture::Device;
use crate::media::library::MediaError;

/// How long a viewer waits for the user's answer. The dialogue stays for whoever comes next.
const ANSWER_MAX: Duration = Duration::from_secs(8);

/// How long a user who has refused is not asked again.
const REFUSED: Duration = Duration::from_secs(60);

/// A screen that was granted, until this is dropped.
#[derive(Debug)]
pub(super) struct Session {
    /// Where PipeWire is reached that has nothing but this screen; None once it was taken.
    pub(super) remote: Option<OwnedFd>,
    /// The screen's node.
    pub(super) node: u32,
    /// Says something when the desktop has ended the session.
    withdrawn: Receiver<()>,
    /// Whether somebody has the session, for its thread.
    is_taken: Arc<AtomicBool>,
    _end: oneshot::Sender<()>,
}

/// Why there is no session.
#[derive(Clone, Debug)]
enum Failure {
    /// The user does not want it.
    Refused,
    /// Something else.
    Failed(String),
}

type Answer = Result<Session, Failure>;

/// What has come of asking for one screen.
#[derive(Debug)]
enum Asked {
    /// The user is being asked.
    Waiting(Receiver<Answer>),
    /// The user has said no.
    Refused(Instant),
}

/// The portal of the desktop.
#[derive(Debug)]
pub(super) struct Portal {
    has_pointer: bool,
    tokens: Arc<Tokens>,
    asked: Mutex<HashMap<u32, Asked>>,
}

impl Session {
    /// Whether the desktop has ended it, or does within this time.
    pub(super) fn is_withdrawn_within(&self, time: Duration) -> bool {
        self.withdrawn.recv_timeout(time).is_ok()
    }

    /// Whether its thread still holds it.
    fn is_kept(&self) -> bool {
        self.withdrawn.try_recv() == Err(TryRecvError::Empty)
    }
}

impl Portal {
    /// A portal that nobody has talked to.
    pub(super) fn new(has_pointer: bool) -> Portal {
        Portal { has_pointer, tokens: Arc::new(Tokens::of_this_user()), asked: Mutex::default() }
    }

    /// The screen that the user chooses for an index, or has chosen. An error says what stands in the way.
    pub(super) fn session(&self, index: u32) -> Result<Session, MediaError> {
        for _ in 0..2 {
            let (answers, is_new) = self.ask(index)?;
            let answer = answers.recv_timeout(ANSWER_MAX);
            if let Err(RecvTimeoutError::Timeout) = answer {
                let reason =
                    "the desktop's user is asked which screen to show: answer there, then play again";
                return Err(MediaError::Broken(reason.to_owned()));
            }
            self.asked().remove(&index);
            match answer {
                Ok(Ok(session)) if session.is_kept() => {
                    session.is_taken.store(true, Ordering::Release);
                    return Ok(session);
                }
                Ok(Err(Failure::Refused)) => {
                    let device = Device::Screen(index);
                    tracing::warn!(%device, "the desktop's user has refused to show a screen");
                    self.asked().insert(index, Asked::Refused(Instant::now()));
                    return Err(refused(Duration::ZERO));
                }
                Ok(Err(Failure::Failed(reason))) if is_new => return Err(MediaError::Broken(reason)),
                // What came of a question that others had asked is over.
                Ok(_) | Err(_) => {}
            }
        }
        Err(MediaError::Broken("the portal of the desktop does not answer".to_owned()))
    }

    /// The user has ended a screen from the desktop's side: it is not shown again without another question.
    pub(super) fn was_withdrawn(&self, index: u32) {
        self.tokens.forget(index);
        self.asked().insert(index, Asked::Refused(Instant::now()));
    }

    /// Where the answer for an index comes, and whether the question is new: else it was asked for others.
    fn ask(&self, index: u32) -> Result<(Receiver<Answer>, bool), MediaError> {
        let mut asked = self.asked();
        match asked.get(&index) {
            Some(Asked::Refused(since)) if since.elapsed() < REFUSED => return Err(refused(since.elapsed())),
            Some(Asked::Waiting(answers)) => return Ok((answers.clone(), false)),
            Some(Asked::Refused(_)) | None => {}
        }
        let answers = dialogue::begin(index, self.has_pointer, self.tokens.clone())?;
        asked.insert(index, Asked::Waiting(answers.clone()));
        Ok((answers, true))
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<u32, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(since: Duration) -> MediaError {
    let rest = REFUSED.saturating_sub(since).as_secs();
    MediaError::Broken(format!(
        "the desktop's user has refused to show a screen, and is asked again after {rest} s"
    ))
}
