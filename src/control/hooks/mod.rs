//! Calls web services for the shards (`<http_notify>`): on one thread, so that no shard ever waits for a network.

mod client;
#[cfg(not(feature = "tls"))]
#[path = "plain.rs"]
mod connector;
#[cfg(feature = "tls")]
#[path = "tls.rs"]
mod connector;
mod log;
mod request;

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use tokio::sync::{mpsc, oneshot};

use self::client::{Client, Question, Work};
use self::log::Complaints;
use self::request::Service;
use crate::config::{HttpNotify, NotifyFail, NotifyMethod};
use crate::shard::hooks::{Call, Facts, Hooks, Verdict, VerdictReply};

/// Questions that wait for their turn; one more is not asked.
const QUESTIONS_MAX: usize = 4_096;

/// Ends that wait to be told: more than the sessions that end at once by the default of `max_sessions`. One more is not
/// told, and the log says so.
const ENDS_MAX: usize = 65_536;

/// The services of the configuration, called from a thread of their own.
pub struct WebHooks {
    services: Arc<Services>,
    questions: mpsc::Sender<Question>,
    ends: mpsc::Sender<Facts>,
    thread: Mutex<Option<(oneshot::Sender<Instant>, JoinHandle<()>)>>,
}

/// What is called, and how.
struct Services {
    connect: Option<Service>,
    play: Option<Service>,
    publish: Option<Service>,
    done: Option<Service>,
    method: NotifyMethod,
    patience: Duration,
    /// What counts where no answer comes.
    without_answer: Verdict,
    complaints: Complaints,
}

impl WebHooks {
    /// Starts the thread; None when no service is to be called. An error says what is missing.
    pub fn start(settings: &HttpNotify) -> Result<Option<Arc<WebHooks>>, String> {
        if !settings.is_used() {
            return Ok(None);
        }
        let service = |url: &Option<proto::client::Url>| url.as_ref().map(Service::new).transpose();
        let services = Arc::new(Services {
            connect: service(&settings.on_connect)?,
            play: service(&settings.on_play)?,
            publish: service(&settings.on_publish)?,
            done: service(&settings.on_done)?,
            method: settings.method,
            patience: Duration::from_millis(settings.timeout_ms.into()),
            without_answer: match settings.fail {
                NotifyFail::Deny => Verdict::Unanswered,
                NotifyFail::Allow => Verdict::Allowed,
            },
            complaints: Complaints::default(),
        });
        let all = [&services.connect, &services.play, &services.publish, &services.done];
        let client = Client::new(all.into_iter().flatten().any(Service::is_tls))?;
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let (ends, ended) = mpsc::channel(ENDS_MAX);
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("web services cannot be called: {error}"))?;
        let work = Work { services: services.clone(), client, asked, ended, stopped };
        let thread = thread::Builder::new().name("hooks".into()).spawn(move || {
            runtime.block_on(work.run());
            // A name that is still being looked up holds nobody up.
            runtime.shutdown_background();
        });
        let thread = thread.map_err(|error| format!("no thread for web services: {error}"))?;
        let thread = Mutex::new(Some((stop, thread)));
        Ok(Some(Arc::new(WebHooks { services, questions, ends, thread })))
    }

    /// Tells the services what has ended and was not told yet, until then at most.
    pub fn finish(&self, until: Instant) {
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        let Some((stop, thread)) = thread else { return };
        // A thread that has ended needs no word, and what it ended with is in the log.
        let _ = stop.send(until);
        let _ = thread.join();
    }
}

impl Hooks for WebHooks {
    fn is_called(&self, call: Call) -> bool {
        self.services.of(call).is_some()
    }

    fn ask(&self, call: Call, facts: &Facts, reply: VerdictReply) {
        let until = Instant::now() + self.services.patience;
        let question = Question { call, facts: facts.clone(), reply, until };
        if let Err(mpsc::error::TrySendError::Full(question) | mpsc::error::TrySendError::Closed(question)) =
            self.questions.try_send(question)
        {
            self.services.complaints.note(call, "too many questions wait for an answer");
            (question.reply)(self.services.without_answer);
        }
    }

    fn tell_done(&self, facts: &Facts) {
        if self.services.done.is_some() && self.ends.try_send(facts.clone()).is_err() {
            self.services.complaints.note(Call::Done, "too many ends wait to be told, this one is not");
        }
    }
}

impl fmt::Debug for WebHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebHooks").finish_non_exhaustive()
    }
}

impl Services {
    /// The request of a call. An error says why there is none.
    fn request(&self, call: Call, facts: &Facts) -> Result<Request<Full<Bytes>>, String> {
        let service = self.of(call).ok_or_else(|| "nobody is to be called".to_owned())?;
        service.request(self.method, call, facts).map_err(|error| error.to_string())
    }

    /// Whom to call.
    fn of(&self, call: Call) -> Option<&Service> {
        match call {
            Call::Connect => self.connect.as_ref(),
            Call::Play => self.play.as_ref(),
            Call::Publish => self.publish.as_ref(),
            Call::Done => self.done.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::mpsc::channel;

    use proto::client::Url;

    use super::*;
    use crate::shard::hooks::ClientId;

    #[test]
    fn who_finds_the_queue_full_is_answered_at_once() {
        // Connections are made to it, and never taken.
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = Url::parse_http(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
        let settings = HttpNotify { on_play: Some(url), timeout_ms: 60_000, ..HttpNotify::default() };
        let hooks = WebHooks::start(&settings).unwrap().unwrap();
        let (sender, answers) = channel();
        let client = ClientId::new(1);
        let facts =
            Facts { address: Ipv4Addr::LOCALHOST.into(), url: String::new(), name: String::new(), client };
        let ask = || {
            let sender = sender.clone();
            hooks.ask(Call::Play, &facts, Box::new(move |verdict| sender.send(verdict).unwrap()));
        };
        const ASKED: usize = 2 * QUESTIONS_MAX;
        (0..ASKED).for_each(|_| ask());
        let refused = answers.try_iter().inspect(|verdict| assert_eq!(*verdict, Verdict::Unanswered)).count();
        // Some are on their way, one waits for its turn.
        assert!((ASKED - QUESTIONS_MAX - 100..=ASKED - QUESTIONS_MAX).contains(&refused), "{refused}");
        hooks.finish(Instant::now());
        ask();
        assert_eq!(answers.recv(), Ok(Verdict::Unanswered));
    }
}
