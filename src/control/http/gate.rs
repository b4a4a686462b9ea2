//! Who may use the API: by address, by name and password, and by the web page that asks.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Extension, Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use proto::rtsp::auth::{Line, Verdict};
use proto::rtsp::message;

use super::problem::Problem;
use super::snapshot;
use super::state::{App, Obeyed};
use crate::config::{Action, Api};
use crate::control::host::host_name;
use crate::shard::gate::{Access, Subject, shown};
use crate::shard::steering::Caller;

/// Paths that say nothing but that the server is there, and the page with what it needs to begin: whoever may connect may
/// ask.
const OPEN: [&str; 4] = ["/healthz", "/readyz", "/", "/index.html"];

/// What is below this is open as well: the page's own files.
const OPEN_BELOW: &str = "/page/";

/// Whether a client may use the API.
pub(super) enum Standing {
    /// It may.
    Open,
    /// It may once it has logged in as one of these users.
    LogIn(Arc<Access>),
    /// It may not, and this is why.
    Closed(&'static str),
}

/// What is known of who is at the other end of a connection.
#[derive(Debug)]
pub(super) struct Client {
    caller: Caller,
    line: Mutex<Line>,
    /// Whether it has proven who it is: a ban of its address is for others.
    is_known: AtomicBool,
    /// Whether the system has let it in: nobody asks it anything.
    is_trusted: bool,
}

impl Client {
    pub(super) fn new(caller: Caller) -> Client {
        let line = if caller.is_private { Line::private } else { Line::new };
        let line = Mutex::new(line(rand::random()));
        Client { caller, line, is_known: AtomicBool::new(false), is_trusted: false }
    }

    /// One who has opened the socket of `api_socket`, which the system lets only some do.
    pub(super) fn of_socket() -> Client {
        let caller = Caller { peer: (Ipv4Addr::LOCALHOST, 0).into(), is_local: true, is_private: true };
        Client { is_trusted: true, ..Client::new(caller) }
    }
}

/// Lets a request pass or refuses it.
pub(super) async fn pass(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Arc<Client>>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    // Who passes it on may go by the one, and what follows here by the other (RFC 9112 section 3.2).
    if head.headers.get_all(HOST).iter().nth(1).is_some() {
        return Problem::bad_request("a request has one Host").into_response();
    }
    let path = head.uri.path();
    let is_open = OPEN.contains(&path) || path.starts_with(OPEN_BELOW);
    if !is_open && let Err(problem) = admit(&app, &client, &head).await {
        tracing::debug!(peer = %client.caller.peer, method = %head.method, uri = %head.uri,
            status = problem.status, reason = problem.detail, "refused");
        return problem.into_response();
    }
    next.run(Request::from_parts(head, body)).await
}

async fn admit(app: &App, client: &Client, head: &Parts) -> Result<(), Problem> {
    let headers = &head.headers;
    if (!head.method.is_safe() || snapshot::may_start(&head.uri)) && !is_of_own_page(headers) {
        return Err(Problem::forbidden("pages of other origins may not change anything here"));
    }
    match standing(&app.obeyed(), client, headers) {
        Standing::Open => Ok(()),
        Standing::LogIn(access) => log_in(app, client, &access, head).await,
        Standing::Closed(detail) => Err(Problem::forbidden(detail)),
    }
}

/// Whether a client may use the API, as far as its address and the name that it asked for tell.
pub(super) fn standing(obeyed: &Obeyed, client: &Client, headers: &HeaderMap) -> Standing {
    if client.is_trusted {
        return Standing::Open;
    }
    match obeyed.settings.may_steer() {
        Api::Off => Standing::Closed("api is off"),
        Api::Local if !client.caller.is_local => Standing::Closed(
            "api is local: ask on the machine itself, or set api to auth and give a user the permission admin",
        ),
        Api::Local | Api::On if !is_named_as_here(headers, host_name().as_deref()) => Standing::Closed(
            "no password is asked for (api): ask by localhost, an address or the name that this machine has itself, not by another one",
        ),
        Api::Local | Api::On => Standing::Open,
        Api::Auth => match &obeyed.access {
            Some(access) => Standing::LogIn(access.clone()),
            None => Standing::Closed("api is auth, and there is no user"),
        },
    }
}

/// Lets a user in who may manage the server.
async fn log_in(app: &App, client: &Client, access: &Access, head: &Parts) -> Result<(), Problem> {
    let peer = client.caller.peer;
    if !client.is_known.load(Ordering::Relaxed) && app.is_banned(peer.ip()) {
        let problem = Problem::forbidden("too many wrong passwords came from this address");
        return Err(problem.header(CONNECTION, "close"));
    }
    let asked = as_message(head);
    let now = app.now();
    let (verdict, challenges) = {
        let mut line = client.line.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = access.guard.verify(now, &mut line, &asked);
        let challenges = access.guard.challenges(now, &line, verdict == Verdict::Stale);
        (verdict, challenges)
    };
    let challenge = |detail: &str| {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, detail);
        challenges.iter().fold(problem, |problem, it| problem.header(WWW_AUTHENTICATE, it))
    };
    match verdict {
        Verdict::Proven(user) if access.may(user, Action::Admin, "") => {
            client.is_known.store(true, Ordering::Relaxed);
            Ok(())
        }
        Verdict::Proven(user) => {
            let user = access.guard.name(user).unwrap_or_default();
            tracing::info!(%peer, ?user, "not permitted to use the API");
            Err(Problem::forbidden("the user needs the permission admin, for every path"))
        }
        Verdict::Absent | Verdict::Stale => Err(challenge("a user with the permission admin is asked for")),
        Verdict::Wrong { user } => {
            let user = shown(&user);
            tracing::warn!(%peer, ?user, method = %head.method, path = head.uri.path(), "log-in failed");
            let patience = app.suspect(access, Subject::of(peer.ip()));
            tokio::time::sleep(patience).await;
            // The next guess comes on a connection of its own, which a ban keeps out.
            Err(challenge("name or password is wrong").header(CONNECTION, "close"))
        }
    }
}

/// As far as passwords are about it.
fn as_message(head: &Parts) -> message::Request {
    let uri = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let asked = message::Request::new(head.method.as_str().into(), uri);
    let given = head.headers.get_all(AUTHORIZATION).iter().filter_map(|value| value.to_str().ok());
    given.fold(asked, |asked, value| asked.header("Authorization", value))
}

/// Whether a request that changes something comes from a program, or from a page of this server's own. Browsers tell
/// the origin of whatever is no GET and no HEAD (RFC 6454, Fetch section 3.2).
fn is_of_own_page(headers: &HeaderMap) -> bool {
    let is_foreign_site = |site: &str| !matches!(site, "same-origin" | "none");
    if text(headers, "sec-fetch-site").is_some_and(is_foreign_site) {
        return false;
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let own = text(headers, HOST.as_str());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.zip(own).is_some_and(|((_, origin), own)| origin.eq_ignore_ascii_case(own))
}

/// Whether a request was sent to an address, to the name that is always this machine, or to the one that it has itself: a name
/// that somebody else has made lead here would let that one's pages in (DNS rebinding).
fn is_named_as_here(headers: &HeaderMap, own: Option<&str>) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.to_ascii_lowercase();
    // Networks without a name server have it below `local` (RFC 6762), where nobody from elsewhere can have a name.
    let names = [Some(name.as_str()), name.strip_suffix(".local")];
    let is = |known: &str| names.iter().flatten().any(|name| known.eq_ignore_ascii_case(name));
    name == "localhost" || name.parse::<IpAddr>().is_ok() || own.is_some_and(is)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn pages_of_other_origins_are_told_from_our_own_and_from_programs() {
        let own = |list: &[_]| is_of_own_page(&headers(list));
        assert!(own(&[("host", "a:80")]) && own(&[("host", "a:80"), ("origin", "http://A:80")]));
        assert!(!own(&[("host", "a:80"), ("origin", "http://b")]) && !own(&[("origin", "null")]));
        assert!(!own(&[("host", "a:80"), ("origin", "http://a:80"), ("sec-fetch-site", "same-site")]));
        assert!(
            !own(&[("host", "a"), ("sec-fetch-site", "cross-site")]) && own(&[("sec-fetch-site", "none")])
        );
        assert!(!own(&[("host", "a:80"), ("origin", "http://a")]), "another port is another origin");
    }

    #[test]
    fn addresses_localhost_and_its_own_name_are_names_of_this_machine_whoever_asks() {
        let here = |host| is_named_as_here(&headers(&[("host", host)]), Some("Gate"));
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "localhost",
            "LocalHost:1",
            "gate",
            "GATE:8080",
            "gate.local:8080",
        ] {
            assert!(here(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "localhost.local",
            "",
            ".local",
            "[x]",
            "gate.evil.example",
            "agate",
            "gate.local.evil.example",
        ] {
            assert!(!here(host), "{host}");
        }
        assert!(is_named_as_here(&HeaderMap::new(), None));
        assert!(!is_named_as_here(&headers(&[("host", "gate")]), None));
    }
}
