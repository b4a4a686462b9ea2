//! `events`: what happens, told as it does (server-sent events).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use utoipa::ToSchema;

use super::openapi::Refusals;
use super::pipe::Parting;
use super::problem::Problem;
use super::sessions::Kind;
use super::state::{App, Obeyed};
use crate::shard::steering::Happening;

/// Who listens at once; one more is refused.
const LISTENERS_MAX: usize = 64;

/// How often something is said when nothing happens, so that it is noticed when who listens is gone.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Something that has happened: the data of an event. Events are named `session_began`, `session_ended`, `published`,
/// `unpublished`, `proxy_up`, `proxy_down`, `device_came`, `device_went` and `missed`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Told {
    /// A session has begun.
    SessionBegan {
        /// Its identifier.
        id: String,
        /// What it is for.
        kind: Kind,
        /// Path of its stream or file.
        path: String,
        /// The client's address and port.
        peer: String,
        /// How media travels.
        transport: &'static str,
    },
    /// A session has ended.
    SessionEnded {
        /// Its identifier.
        id: String,
        /// Path of its stream or file.
        path: String,
        /// The client's address and port.
        peer: String,
        /// How long it was there, in seconds.
        duration_s: f64,
        /// Bytes of media that were sent, or received of a publisher.
        bytes: u64,
        /// Why it has ended.
        reason: String,
    },
    /// A client publishes under a path from now on, or does no longer.
    Published {
        /// The path.
        path: String,
    },
    /// A stream that is pulled from elsewhere has come, or is not there: with each reason anew.
    Proxy {
        /// The path.
        path: String,
        /// Why it is not there; absent when it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A screen, a camera or a microphone has come, or is gone.
    Device {
        /// The path that it is streamed under, as it stands in a URL.
        path: String,
        /// What the system calls it, and what it can do.
        description: String,
    },
    /// So many events were left out because this listener is too slow.
    Missed {
        /// How many.
        count: u64,
    },
}

/// A listener, counted as long as it is there.
struct Listener {
    app: Arc<App>,
    receiver: broadcast::Receiver<Happening>,
    /// What was obeyed when it was let in.
    obeyed: Obeyed,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.app.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Passes what happens on to everybody who listens.
pub(super) async fn spread(mut happening: mpsc::Receiver<Happening>, to: broadcast::Sender<Happening>) {
    while let Some(happening) = happening.recv().await {
        // Nobody may be listening.
        let _ = to.send(happening);
    }
}

/// Tells what happens, as it does: sessions that begin and end, streams that are published or pulled, devices that come
/// and go.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "listen_to_events", tag = "events", responses(
    (status = 200, description = "Events until the client leaves, or until others may use the API; `data` of each is one of these", body = Told,
        content_type = "text/event-stream"), Refusals))]
pub(super) async fn listen(
    State(app): State<Arc<App>>,
    Extension(parting): Extension<Parting>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    if app.listeners.fetch_add(1, Ordering::Relaxed) >= LISTENERS_MAX {
        app.listeners.fetch_sub(1, Ordering::Relaxed);
        return Err(Problem::unavailable(format!("{LISTENERS_MAX} clients listen already")));
    }
    let listener = Listener { receiver: app.happenings.subscribe(), obeyed: app.obeyed(), app };
    let events = unfold(listener, move |mut listener| {
        let parting = parting.clone();
        async move {
            let happened = tokio::select! {
                happened = listener.receiver.recv() => happened,
                // Whoever may still listen comes again and proves it.
                () = listener.app.other_rights(&listener.obeyed) => return None,
                () = parting.seen() => return None,
            };
            let told = match happened {
                Ok(happening) => event(happening),
                Err(RecvError::Lagged(count)) => named("missed", &Told::Missed { count }),
                Err(RecvError::Closed) => return None,
            };
            Some((Ok(told), listener))
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)))
}

fn named(name: &str, told: &Told) -> Event {
    let event = Event::default().event(name);
    // Text and numbers are JSON whatever is in them.
    event.json_data(told).unwrap_or_default()
}

fn event(happening: Happening) -> Event {
    match happening {
        Happening::SessionBegan { id, peer, path, transport, kind } => {
            let (id, kind, peer) = (id.to_string(), kind.into(), peer.to_string());
            named("session_began", &Told::SessionBegan { id, kind, path, peer, transport })
        }
        Happening::SessionEnded { id, peer, path, duration, bytes, reason } => {
            let (id, peer, duration_s) =
                (id.to_string(), peer.to_string(), duration.as_millis() as f64 / 1e3);
            named("session_ended", &Told::SessionEnded { id, path, peer, duration_s, bytes, reason })
        }
        Happening::Published { path, is_there } => {
            named(if is_there { "published" } else { "unpublished" }, &Told::Published { path })
        }
        Happening::Proxy { path, failure } => {
            let name = if failure.is_none() { "proxy_up" } else { "proxy_down" };
            named(name, &Told::Proxy { path, reason: failure })
        }
        Happening::Device { path, description, is_there } => {
            let name = if is_there { "device_came" } else { "device_went" };
            named(name, &Told::Device { path, description })
        }
    }
}
