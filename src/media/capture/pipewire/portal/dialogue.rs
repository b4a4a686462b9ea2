//! What is said to the portal, on a thread of its own with a runtime of its own, from the question to the session's end.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ashpd::desktop::screencast::{CursorMode, Screencast, SelectSourcesOptions, SourceType, Streams};
use ashpd::desktop::{PersistMode, ResponseError};
use ashpd::enumflags2::BitFlags;
use ashpd::{Error, zbus};
use crossbeam_channel::{Receiver, Sender, bounded};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::tokens::Tokens;
use super::{Answer, Failure, Session};
use crate::media::library::MediaError;

/// How long a dialogue stays open.
const DIALOGUE_MAX: Duration = Duration::from_secs(60);

/// How long a screen that was granted waits for somebody: who asked for it may have gone meanwhile.
const GRANTED_MAX: Duration = Duration::from_secs(30);

/// How long the portal may take to say what it is, or to close a session.
const CALL_MAX: Duration = Duration::from_secs(3);

/// The version of the ScreenCast interface that the session bus has, or why there is none.
pub(in super::super) fn version() -> Result<u32, String> {
    let runtime = runtime().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let found = timeout(CALL_MAX, async {
            let portal = connect().await?;
            // A name on the bus is not an interface yet.
            portal.available_source_types().await?;
            Ok(portal.version())
        });
        let found = found.await.map_err(|_| "the session bus does not answer".to_owned())?;
        found.map_err(|error: Error| why_absent(&error))
    })
}

/// Begins to ask for a screen. What comes of it comes once.
pub(super) fn begin(
    index: u32,
    has_pointer: bool,
    tokens: Arc<Tokens>,
) -> Result<Receiver<Answer>, MediaError> {
    let (sender, answers) = bounded(1);
    let no_thread = |error| MediaError::Broken(format!("no thread for the portal: {error}"));
    let runtime = runtime().map_err(no_thread)?;
    let spawned = thread::Builder::new().name("portal".to_owned());
    let spawned = spawned.spawn(move || runtime.block_on(converse(index, has_pointer, &tokens, &sender)));
    spawned.map_err(no_thread)?;
    Ok(answers)
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

async fn connect() -> Result<Screencast, Error> {
    // One that is kept for all would belong to a runtime that has ended.
    Screencast::with_connection(zbus::Connection::session().await?).await
}

async fn converse(index: u32, has_pointer: bool, tokens: &Tokens, answers: &Sender<Answer>) {
    let begun = async {
        let portal = connect().await?;
        let session = portal.create_session(Default::default()).await?;
        Ok((portal, session))
    };
    let Some((portal, session)) = done(begun, answers).await else { return };
    let token = tokens.get(index);
    let chosen = async {
        let closed = session.receive_closed().await?;
        let streams = choose(&portal, &session, has_pointer, token.as_deref()).await?;
        let remote = portal.open_pipe_wire_remote(&session, Default::default()).await?;
        Ok((closed, streams, remote))
    };
    let Some((closed, streams, remote)) = done(chosen, answers).await else { return };
    match streams.restore_token() {
        Some(token) => tokens.keep(index, token),
        None => tokens.forget(index),
    }
    let Some(stream) = streams.streams().first() else {
        let reason = "the desktop has granted a session without a screen".to_owned();
        let _ = answers.try_send(Err(Failure::Failed(reason)));
        return;
    };
    let (tell_withdrawn, withdrawn) = bounded(1);
    let (end, ended) = oneshot::channel();
    let is_taken = Arc::new(AtomicBool::new(false));
    let granted = Session {
        remote: Some(remote),
        node: stream.pipe_wire_node_id(),
        withdrawn,
        is_taken: is_taken.clone(),
        _end: end,
    };
    if answers.try_send(Ok(granted)).is_ok() && hold(closed, ended, &is_taken).await == Ending::Withdrawn {
        let _ = tell_withdrawn.try_send(());
        return;
    }
    // The connection ends with this thread, and the session would with it.
    let _ = timeout(CALL_MAX, session.close()).await;
}

/// What comes of something; None when nothing comes of it, which is the answer then.
async fn done<T>(something: impl Future<Output = Result<T, Error>>, answers: &Sender<Answer>) -> Option<T> {
    let failure = match timeout(DIALOGUE_MAX, something).await {
        Ok(Ok(done)) => return Some(done),
        Ok(Err(error)) => failure(&error),
        Err(_) => Failure::Failed(format!("nobody has chosen a screen within {} s", DIALOGUE_MAX.as_secs())),
    };
    let _ = answers.try_send(Err(failure));
    None
}

/// Has the user choose, or the portal remember.
async fn choose(
    portal: &Screencast,
    session: &ashpd::desktop::Session<Screencast>,
    has_pointer: bool,
    token: Option<&str>,
) -> Result<Streams, Error> {
    let modes = portal.available_cursor_modes().await.unwrap_or(BitFlags::empty());
    let mode = if has_pointer { CursorMode::Embedded } else { CursorMode::Hidden };
    let options = SelectSourcesOptions::default()
        .set_sources(BitFlags::from(SourceType::Monitor))
        .set_multiple(false)
        .set_cursor_mode(modes.contains(mode).then_some(mode))
        .set_persist_mode(PersistMode::ExplicitlyRevoked)
        .set_restore_token(token);
    portal.select_sources(session, options).await?.response()?;
    portal.start(session, None, Default::default()).await?.response()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The desktop has ended the session.
    Withdrawn,
    /// Nobody needs it any more, or nobody has come for it.
    Unwanted,
}

/// Waits for the end of a session.
async fn hold(
    closed: impl futures_util::Stream,
    ended: impl Future + Unpin,
    is_taken: &AtomicBool,
) -> Ending {
    let mut closed = pin!(closed);
    let mut until = select(closed.next(), ended);
    let first = timeout(GRANTED_MAX, &mut until).await;
    let how = match first {
        Err(_) if !is_taken.load(Ordering::Acquire) => return Ending::Unwanted,
        Err(_) => until.await,
        Ok(how) => how,
    };
    match how {
        Either::Left((Some(_), _)) => Ending::Withdrawn,
        // The bus is gone, which PipeWire does not need.
        Either::Left((None, ended)) => {
            ended.await;
            Ending::Unwanted
        }
        Either::Right(_) => Ending::Unwanted,
    }
}

fn failure(error: &Error) -> Failure {
    match error {
        Error::Response(ResponseError::Cancelled) => Failure::Refused,
        Error::Response(ResponseError::Other) => {
            Failure::Failed("the desktop has no screen to show, or does not say why not".to_owned())
        }
        other => Failure::Failed(why_absent(other)),
    }
}

fn why_absent(error: &Error) -> String {
    format!(
        "the desktop's portal for screens cannot be used: {error}; install xdg-desktop-portal and the one of its \
         backends that is for this desktop, or set DISPLAY without WAYLAND_DISPLAY for an X server"
    )
}
