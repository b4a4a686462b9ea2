//! Requests, and the response that belongs to each.

use bytes::BytesMut;

use super::event::{Event, Failure};
use super::machine::Client;
use crate::rtsp::headers::session::Session;
use crate::rtsp::message::{Headers, Method, Request, Response};
use crate::rtsp::status::Status;
use crate::time::Time;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Options,
    Describe,
    /// Of the track with that index.
    Setup(usize),
    Play,
    KeepAlive,
    Teardown,
}

/// A request that waits for its response.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) step: Step,
    /// Without the headers that every sending adds.
    pub(super) request: Request,
    pub(super) cseq: u32,
    /// How often it was sent again for a 401.
    pub(super) retries: u32,
    pub(super) sent: Time,
    pub(super) deadline: Time,
}

impl Client {
    /// Sends a request; its response is handled by its step. A request before it that was not answered is given up.
    pub(super) fn ask(&mut self, step: Step, request: Request) {
        self.send(step, request, 0);
    }

    fn send(&mut self, step: Step, request: Request, retries: u32) {
        self.cseq = self.cseq.wrapping_add(1);
        let mut headers = Headers::new();
        headers.push("CSeq", self.cseq.to_string());
        if let Some(authorization) = self.authenticator.authorization(&request.method, &request.uri) {
            headers.push("Authorization", authorization);
        }
        if !self.config.user_agent.is_empty() {
            headers.push("User-Agent", self.config.user_agent.as_str());
        }
        if let Some(session) = &self.session {
            headers.push("Session", session.as_str());
        }
        request.headers.iter().for_each(|(name, value)| headers.push(name.to_owned(), value));
        let mut out = BytesMut::new();
        let whole = Request { headers, ..request.clone() };
        whole.write(&mut out);
        self.transmit(out.freeze());

        let (cseq, sent) = (self.cseq, self.now);
        let deadline = sent + self.config.response_timeout;
        self.keep_alive.handle_sent(sent);
        self.pending = Some(Pending { step, request, cseq, retries, sent, deadline });
    }

    /// Finds the request that a response answers. One that answers none, such as a keep-alive's that was given up, is
    /// ignored; one without a number is taken for the answer, since there is but one question.
    pub(super) fn handle_response(&mut self, response: Response) {
        if (100..200).contains(&response.status.0) {
            return;
        }
        let number = response.headers.get("CSeq").map(|cseq| cseq.trim().parse::<u32>());
        let is_answer = |pending: &mut Pending| number.as_ref().is_none_or(|n| n == &Ok(pending.cseq));
        let Some(pending) = self.pending.take_if(is_answer) else { return };
        if response.status == Status::UNAUTHORIZED {
            return match self.authenticator.handle_challenge(&response.headers, pending.retries) {
                Ok(()) => self.send(pending.step, pending.request, pending.retries + 1),
                Err(error) => self.fail(error.into()),
            };
        }
        self.handle_answer(pending, &response);
    }

    fn handle_answer(&mut self, pending: Pending, response: &Response) {
        let Pending { step, request, .. } = pending;
        if response.status.is_success() {
            self.take_session(step, &response.headers);
        }
        let may_redirect = !matches!(step, Step::KeepAlive | Step::Teardown);
        if may_redirect && is_redirect(response.status) {
            return self.redirect(response.headers.get("Location"));
        }
        match step {
            Step::Options => self.handle_options(response),
            Step::Describe => self.handle_described(&request, response),
            Step::Setup(index) => self.handle_setup(index, response),
            Step::Play => self.handle_play(response),
            Step::KeepAlive => self.handle_keep_alive(&request.method, response.status),
            Step::Teardown => self.finish(Event::Ended),
        }
    }

    /// A request was not answered in time.
    pub(super) fn handle_silence(&mut self, pending: Pending) {
        match pending.step {
            Step::KeepAlive => self.handle_keep_alive_silence(&pending),
            Step::Teardown => self.finish(Event::Ended),
            _ => self.fail(Failure::ResponseTimeout(pending.request.method)),
        }
    }

    /// The identifier comes with the first SETUP; its timeout with any response.
    fn take_session(&mut self, step: Step, headers: &Headers) {
        let Some(session) = headers.get("Session").and_then(Session::parse) else { return };
        if matches!(step, Step::Setup(_)) && self.session.is_none() {
            self.session = Some(session.id.clone());
        }
        if let Some(timeout) = session.timeout
            && self.session.as_ref() == Some(&session.id)
        {
            self.keep_alive.set_session_timeout(timeout);
        }
    }

    /// Ends because a request was refused.
    pub(super) fn refused(&mut self, method: Method, status: Status) {
        self.fail(Failure::Refused { method, status });
    }
}

/// Of the class 3xx what leads elsewhere.
pub(super) fn is_redirect(status: Status) -> bool {
    matches!(status.0, 300..=303 | 307 | 308)
}
