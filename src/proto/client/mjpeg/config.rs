//! What a client of Motion JPEG is to fetch.

use std::time::Duration;

use super::super::config::RESPONSE_TIMEOUT;
use super::super::credentials::Credentials;
use super::super::url::Url;

/// What is to be fetched, by whom, and how patiently.
#[derive(Clone, Debug)]
pub struct MjpegConfig {
    /// The stream or snapshot, of [`Url::parse_http`].
    pub url: Url,
    /// Who asks; None = whom the URL names.
    pub credentials: Option<Credentials>,
    /// The value of `User-Agent`; empty = the header is left out.
    pub user_agent: String,
    /// How long the server may take to be connected to, and to answer.
    pub response_timeout: Duration,
    /// How long nothing may come while it plays; a picture must be whole within four times that. Cameras that send a
    /// picture only when something moves pause for some seconds.
    pub silence_timeout: Duration,
    /// Unpredictable for others; the client's nonces are made of it.
    pub seed: u64,
}

impl MjpegConfig {
    /// That URL with the usual patience.
    pub fn new(url: Url, seed: u64) -> MjpegConfig {
        MjpegConfig {
            url,
            credentials: None,
            user_agent: String::new(),
            response_timeout: RESPONSE_TIMEOUT,
            silence_timeout: SILENCE_TIMEOUT,
            seed,
        }
    }
}

const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);
