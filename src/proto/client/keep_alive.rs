//! What keeps a session alive: a request in good time before the server's timeout.

use std::time::Duration;

use super::event::Failure;
use super::machine::Client;
use super::request::{Pending, Step};
use crate::rtsp::message::{Method, Request};
use crate::rtsp::status::Status;
use crate::time::Time;

/// When the next request is due, and which.
#[derive(Debug)]
pub(super) struct KeepAlive {
    interval: Duration,
    /// When the last request was sent, whatever it was.
    sent: Time,
    /// GET_PARAMETER, the only one without side effects that some servers count; OPTIONS where that is not known.
    method: Method,
}

impl KeepAlive {
    pub(super) fn new(now: Time) -> KeepAlive {
        KeepAlive { interval: interval(DEFAULT_TIMEOUT), sent: now, method: Method::GetParameter }
    }

    /// The server has said whether it knows GET_PARAMETER.
    pub(super) fn set_offer(&mut self, has_get_parameter: bool) {
        self.method = if has_get_parameter { Method::GetParameter } else { Method::Options };
    }

    /// The server has said after how long without a sign of life a session ends.
    pub(super) fn set_session_timeout(&mut self, timeout: Duration) {
        self.interval = interval(timeout);
    }

    pub(super) fn handle_sent(&mut self, now: Time) {
        self.sent = now;
    }

    pub(super) fn due(&self) -> Time {
        self.sent + self.interval
    }
}

impl Client {
    pub(super) fn send_keep_alive(&mut self) {
        let request = Request::new(self.keep_alive.method.clone(), self.presentation.aggregate.clone());
        self.ask(Step::KeepAlive, request);
    }

    pub(super) fn handle_keep_alive(&mut self, method: &Method, status: Status) {
        match status {
            _ if status.is_success() => {}
            Status::SESSION_NOT_FOUND => self.fail(Failure::SessionLost),
            _ if *method == Method::GetParameter => self.try_options(),
            // It was answered, and the packets will tell.
            _ => {}
        }
    }

    /// Some devices never answer one of the methods, some neither: as long as anything comes, they live.
    pub(super) fn handle_keep_alive_silence(&mut self, pending: &Pending) {
        if pending.request.method == Method::GetParameter {
            self.try_options();
        } else if self.heard <= pending.sent {
            self.fail(Failure::ResponseTimeout(pending.request.method.clone()));
        }
    }

    fn try_options(&mut self) {
        self.keep_alive.method = Method::Options;
        self.send_keep_alive();
    }
}

/// 5 s before the timeout, or half of it where that is later; a server that says zero means the default.
fn interval(timeout: Duration) -> Duration {
    let timeout = if timeout.is_zero() { DEFAULT_TIMEOUT } else { timeout };
    timeout.saturating_sub(MARGIN).max(timeout / 2)
}

/// RFC 2326 section 12.37.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

const MARGIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_in_good_time() {
        for (timeout, expected) in [(60, 55_000), (20, 15_000), (10, 5_000), (3, 1_500), (0, 55_000)] {
            assert_eq!(interval(Duration::from_secs(timeout)), Duration::from_millis(expected), "{timeout}");
        }
    }
}
