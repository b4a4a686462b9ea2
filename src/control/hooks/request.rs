//! One call as a request of HTTP: the arguments `protocol call addr url name clientid`, as a form or in the query.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use hyper::{Method, Request, Uri};
use proto::client::Url;
use proto::rtsp::headers::authorization::Authorization;
use proto::rtsp::uri::percent_encode;

use crate::config::NotifyMethod;
use crate::shard::hooks::{Call, Facts};

/// What requests say of their sender.
const AGENT: &str = concat!("Ringcaster/", env!("CARGO_PKG_VERSION"));

/// One web service.
pub struct Service {
    /// Without user, password and fragment.
    url: String,
    is_tls: bool,
    /// The value of `Authorization`.
    authorization: Option<String>,
}

impl Service {
    /// The service at a URL. An error when no request can be made of it.
    pub fn new(url: &Url) -> Result<Service, String> {
        let bare = Url { credentials: None, ..url.clone() }.request_uri();
        let bare = bare.split('#').next().unwrap_or_default().to_owned();
        bare.parse::<Uri>().map_err(|error| format!("a URL of http_notify cannot be called: {error}"))?;
        let authorization = url.credentials.as_ref().map(|credentials| {
            let (user, password) = (credentials.user.clone(), credentials.password.clone());
            Authorization::Basic { user, password }.to_string()
        });
        Ok(Service { url: bare, is_tls: url.scheme.is_tls(), authorization })
    }

    /// Whether it is behind TLS.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The request of a call.
    pub fn request(
        &self,
        method: NotifyMethod,
        call: Call,
        facts: &Facts,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let arguments = arguments(call, facts);
        let mut request = Request::builder().header(USER_AGENT, AGENT);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        match method {
            NotifyMethod::Post => (request.method(Method::POST).uri(&self.url))
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Full::from(arguments)),
            NotifyMethod::Get => {
                let sign = if self.url.contains('?') { '&' } else { '?' };
                request
                    .method(Method::GET)
                    .uri(format!("{}{sign}{arguments}", self.url))
                    .body(Full::default())
            }
        }
    }
}

/// The arguments. Every value is encoded, so that nothing that a client chose can end it and begin another.
fn arguments(call: Call, facts: &Facts) -> String {
    let (address, client) = (facts.address.to_string(), facts.client.to_string());
    let values = [
        ("protocol", "rtsp"),
        ("call", call.name()),
        ("addr", &address),
        ("url", &facts.url),
        ("name", &facts.name),
        ("clientid", &client),
    ];
    values.map(|(name, value)| format!("{name}={}", percent_encode(value))).join("&")
}
