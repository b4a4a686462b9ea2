//! Requests of the server, and our answers.

use super::event::Failure;
use super::machine::Client;
use crate::rtsp::headers::cseq::cseq;
use crate::rtsp::message::{Method, Request, Response};
use crate::rtsp::status::Status;

impl Client {
    pub(super) fn handle_request(&mut self, request: &Request) {
        let Some(cseq) = cseq(&request.headers) else { return self.refuse(None) };
        let status = match &request.method {
            // An empty SET_PARAMETER or GET_PARAMETER asks whether we are there.
            Method::Options | Method::Teardown => Status::OK,
            Method::GetParameter | Method::SetParameter if request.body.is_empty() => Status::OK,
            Method::Redirect if request.headers.get("Location").is_some() => Status::OK,
            Method::Redirect => Status::BAD_REQUEST,
            _ => Status::NOT_IMPLEMENTED,
        };
        let mut response = Response::new(status).header("CSeq", cseq);
        if request.method == Method::Options || status == Status::NOT_IMPLEMENTED {
            response = response.header("Public", "OPTIONS, GET_PARAMETER, SET_PARAMETER, REDIRECT, TEARDOWN");
        }
        self.answer(&response);
        match &request.method {
            Method::Redirect if status == Status::OK => self.redirect(request.headers.get("Location")),
            // RFC 7826 section 13.7.2.
            Method::Teardown => self.fail(Failure::SessionLost),
            _ => {}
        }
    }

    /// Refuses what is no request.
    pub(super) fn refuse(&mut self, cseq: Option<&str>) {
        let response = Response::new(Status::BAD_REQUEST);
        let response = cseq.map_or(response.clone(), |cseq| response.header("CSeq", cseq));
        self.answer(&response);
    }

    fn answer(&mut self, response: &Response) {
        self.transmit(response.to_bytes());
        if self.is_flooded() {
            self.fail(Failure::Flooded);
        }
    }
}
