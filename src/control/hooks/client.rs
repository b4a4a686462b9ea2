//! The thread's work: questions and ends become requests, so many at once, and answers become verdicts.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::Services;
use super::connector::{Connector, connector};
use crate::shard::hooks::{Call, Facts, Verdict, VerdictReply};

/// Questions that are asked at once.
const ASKED_AT_ONCE: usize = 64;

/// Ends that are told at once.
const TOLD_AT_ONCE: usize = 16;

/// How long a connection is kept without a request: less than the 5 s after which many servers close theirs, so that
/// no request meets a closing connection.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// What is read of an answer's body before its connection is used again; a longer one costs the connection.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A question, and where its verdict goes.
pub struct Question {
    pub call: Call,
    pub facts: Facts,
    pub reply: VerdictReply,
    /// When it is too late for an answer.
    pub until: Instant,
}

/// Sends requests.
#[derive(Clone)]
pub struct Client(legacy::Client<Connector, Full<Bytes>>);

impl Client {
    /// A client, which reads the certificates that the system trusts where it will need them. An error when this build
    /// has no TLS and needs it.
    pub fn new(needs_tls: bool) -> Result<Client, String> {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(TOLD_AT_ONCE);
        Ok(Client(builder.build(connector(needs_tls)?)))
    }

    /// Makes a call; what the service has answered, or why it has not.
    async fn call(&self, request: Request<Full<Bytes>>, patience: Duration) -> Result<StatusCode, String> {
        let response = self.0.request(request).await.map_err(|error| chain(&error))?;
        let status = response.status();
        // Whoever waits for the verdict does not wait for the body.
        tokio::spawn(tokio::time::timeout(patience, read_up(response)));
        Ok(status)
    }
}

/// What the thread works with.
pub struct Work {
    pub services: Arc<Services>,
    pub client: Client,
    pub asked: mpsc::Receiver<Question>,
    pub ended: mpsc::Receiver<Facts>,
    pub stopped: oneshot::Receiver<Instant>,
}

impl Work {
    /// Calls until it is told to stop; then tells the ends that are left, until the moment that was named.
    pub async fn run(self) {
        let Work { services, client, mut asked, mut ended, stopped } = self;
        let (asking, by) = (services.clone(), client.clone());
        let asking = tokio::spawn(async move {
            let ask = |question| ask(asking.clone(), by.clone(), question);
            in_parallel(ASKED_AT_ONCE, |context| asked.poll_recv(context), ask).await;
        });
        let (close, mut closed) = oneshot::channel::<()>();
        let telling = tokio::spawn(async move {
            let tell = |facts| tell(services.clone(), client.clone(), facts);
            let next = |context: &mut Context<'_>| {
                // Polled no more once it has come.
                if !ended.is_closed() && Pin::new(&mut closed).poll(context).is_ready() {
                    ended.close();
                }
                ended.poll_recv(context)
            };
            in_parallel(TOLD_AT_ONCE, next, tell).await;
        });
        // Without a word the program ends otherwise.
        let until = stopped.await.unwrap_or_else(|_| Instant::now());
        asking.abort();
        drop(close);
        if timeout_at(until.into(), telling).await.is_err() {
            tracing::warn!("the program ends before a web service has heard of all that has ended");
        }
    }
}

/// Takes what comes and works on so many at once, until nothing more comes and all is done.
async fn in_parallel<T, N, W>(most: usize, mut next: N, work: impl Fn(T) -> W)
where
    N: FnMut(&mut Context<'_>) -> Poll<Option<T>>,
    W: Future<Output = ()> + Send + 'static,
{
    let (places, mut works) = (Arc::new(Semaphore::new(most)), JoinSet::new());
    while let Some(item) = poll_fn(&mut next).await {
        // It is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let work = work(item);
        works.spawn(async move {
            work.await;
            drop(place);
        });
        while works.try_join_next().is_some() {}
    }
    works.join_all().await;
}

async fn ask(services: Arc<Services>, client: Client, question: Question) {
    let Question { call, facts, reply, until } = question;
    let request = match services.request(call, &facts) {
        Ok(request) => request,
        Err(reason) => {
            services.complaints.note(call, &reason);
            // Nobody gets in by a URL that is too long to be asked about.
            return reply(Verdict::Refused);
        }
    };
    let answer = timeout_at(until.into(), client.call(request, services.patience)).await;
    let answer = answer.unwrap_or_else(|_| Err("no answer within notify_timeout_ms".to_owned()));
    reply(match answer {
        Ok(StatusCode::OK) => Verdict::Allowed,
        Ok(status) => {
            tracing::debug!(call = call.name(), %status, "the web service has answered");
            Verdict::Refused
        }
        Err(reason) => {
            services.complaints.note(call, &reason);
            services.without_answer
        }
    });
}

async fn tell(services: Arc<Services>, client: Client, facts: Facts) {
    let request = match services.request(Call::Done, &facts) {
        Ok(request) => request,
        Err(reason) => return services.complaints.note(Call::Done, &reason),
    };
    match tokio::time::timeout(services.patience, client.call(request, services.patience)).await {
        Ok(Ok(_)) => {}
        Ok(Err(reason)) => services.complaints.note(Call::Done, &reason),
        Err(_) => services.complaints.note(Call::Done, "no answer within notify_timeout_ms"),
    }
}

/// Reads an answer's body to its end, so that its connection can be used again.
async fn read_up(response: Response<Incoming>) {
    let mut body = response.into_body();
    let mut left = BODY_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let size = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(size) else { return };
        left = rest;
    }
}

/// An error with what it came from: the outermost says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
