//! Connections: how many, for how long, and which function answers what.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, SERVER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::gate::{self, Client};
use super::pipe::{Parting, Pipe};
use super::problem::Problem;
use super::state::App;
use super::{
    configuration, devices, dump, events, files, health, log, metrics, openapi, page, proxies, reload,
    sessions, snapshot, stats, streams,
};
use crate::shard::gate::Subject;
use crate::shard::steering::Caller;

/// Connections of one address, or of one network of IPv6, that are served at once; one more is answered with 503.
const CONNECTIONS_OF_ONE_MAX: usize = 64;

/// How long the head of a request may take, and how long a connection is kept for another one.
const HEAD_MAX: Duration = Duration::from_secs(15);

/// How long a request may take from its head to the head of its answer, its body included.
const REQUEST_MAX: Duration = Duration::from_secs(20);

/// Bytes of a head, and what is read at once.
const BUFFER_BYTES_MAX: usize = 32 * 1024;

/// Bytes of a body: a configuration of thousands of users and streams.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Headers of a request: as many as shards take.
const HEADERS_MAX: usize = 64;

/// A connection that asks.
pub(super) struct Newcomer {
    pub(super) caller: Caller,
    pub(super) pipe: Pipe,
    pub(super) _place: Place,
}

/// A place among those that are served; given back when this is dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    /// One of so many; None when all are taken.
    pub(super) fn take(taken: &Arc<AtomicUsize>, max: usize) -> Option<Place> {
        let place = Place(taken.clone());
        (taken.fetch_add(1, Ordering::Relaxed) < max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many are there of each address.
type Crowd = Arc<Mutex<HashMap<Subject, usize>>>;

/// One of the connections of an address; given back when this is dropped.
struct Seat {
    crowd: Crowd,
    subject: Subject,
}

impl Seat {
    /// None when there are as many of that address as there may be.
    fn take(crowd: &Crowd, subject: Subject) -> Option<Seat> {
        let mut counts = crowd.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(subject).or_insert(0);
        if *count >= CONNECTIONS_OF_ONE_MAX {
            return None;
        }
        *count += 1;
        Some(Seat { crowd: crowd.clone(), subject })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.crowd.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.subject) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.subject);
            }
        }
    }
}

/// Serves those who come until the program ends.
pub(super) async fn serve(app: Arc<App>, mut arriving: UnboundedReceiver<Newcomer>) {
    let router = router(&app);
    let crowd = Crowd::default();
    while let Some(newcomer) = arriving.recv().await {
        tokio::spawn(attend(router.clone(), crowd.clone(), newcomer));
    }
}

async fn attend(router: Router, crowd: Crowd, newcomer: Newcomer) {
    let Newcomer { caller, mut pipe, _place } = newcomer;
    let subject = Subject::of(caller.peer.ip());
    let Some(_seat) = Seat::take(&crowd, subject) else {
        tracing::debug!(peer = %caller.peer, "too many connections of one address ask for the API");
        // Who does not read is gone soon.
        let _ = pipe.write_all(TOO_MANY).await;
        let _ = timeout(REQUEST_MAX, pipe.shutdown()).await;
        return;
    };
    let parting = pipe.parting();
    if let Err(error) = converse(router, Client::new(caller), parting, pipe).await {
        tracing::debug!(peer = %caller.peer, %error, "control connection ended");
    }
}

/// Answers what a client asks until it goes.
pub(super) async fn converse(
    router: Router,
    client: Client,
    parting: Parting,
    pipe: impl AsyncRead + AsyncWrite + Unpin + 'static,
) -> Result<(), hyper::Error> {
    let router = router.layer(Extension(Arc::new(client))).layer(Extension(parting));
    let service = TowerToHyperService::new(router);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        // Who has asked may close its side and read; what takes long looks for that itself.
        .half_close(true)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(pipe), service)
        .await
}

/// Who answers what.
pub(super) fn router(app: &Arc<App>) -> Router {
    let v1 = Router::new()
        .route("/streams", get(streams::list))
        .route("/streams/{*path}", get(streams::one))
        .route("/sessions", get(sessions::list))
        .route("/sessions/{id}", get(sessions::one).delete(sessions::end))
        .route("/sessions/{id}/dump", post(dump::dump))
        .route("/proxies", get(proxies::list))
        .route(
            "/proxies/{*path}",
            get(proxies::one).post(proxies::add).put(proxies::change).delete(proxies::remove),
        )
        .route("/files", get(files::list))
        .route("/files/{*path}", get(files::one))
        .route("/devices", get(devices::list))
        .route("/stats", get(stats::stats))
        .route("/config", get(configuration::effective))
        .route("/config/check", post(configuration::check))
        .route("/config/reload", post(reload::reload))
        .route("/snapshot/{*path}", get(snapshot::still))
        .route("/log", get(log::tail))
        .route("/events", get(events::listen))
        .route("/openapi.json", get(openapi::document));
    Router::new()
        .nest("/api/v1", v1)
        .route("/", get(page::index))
        .route("/index.html", get(page::index))
        .route("/page/server.json", get(page::about))
        .route("/page/{name}", get(page::file))
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .fallback(nothing)
        .method_not_allowed_fallback(not_so)
        .with_state(app.clone())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(app.clone(), gate::pass))
        .layer(from_fn_with_state(app.clone(), frame))
}

/// What every request and every answer have in common.
async fn frame(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let is_options = request.method() == Method::OPTIONS;
    let answered = async {
        if request.uri().path() != "/readyz" {
            app.opened().await;
        }
        next.run(request).await
    };
    let mut response = match timeout(REQUEST_MAX, answered).await {
        Ok(response) => response,
        Err(_) => Problem::new(StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response(),
    };
    if is_options && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        // The list of methods is there already.
        let allow = response.headers_mut().remove("allow");
        response = StatusCode::NO_CONTENT.into_response();
        response.headers_mut().extend(allow.map(|allow| (axum::http::header::ALLOW, allow)));
    }
    let headers = response.headers_mut();
    let fixed = [
        (SERVER, crate::shard::SERVER),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn nothing() -> Problem {
    Problem::not_found("resource")
}

async fn not_so(method: Method) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not for this resource"))
}

/// What one too many is told.
pub(super) const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 48\r\nConnection: close\r\n\r\ntoo many connections of one address are served\r\n";
