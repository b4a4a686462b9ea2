//! What is answered when something cannot be had (RFC 9457).

use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::configuration::Finding;

/// Why there is no answer, as `application/problem+json`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// The status of the answer.
    pub(super) status: u16,
    /// What the status means.
    pub(super) title: &'static str,
    /// Why it is so here, and what to change.
    pub(super) detail: String,
    /// What is wrong, one by one, where it is a configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) errors: Vec<Finding>,
    #[serde(skip)]
    #[schema(ignore)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or_default(),
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// There is nothing by that name.
    pub(super) fn not_found(what: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, format!("there is no {what} by this name"))
    }

    /// The client may not.
    pub(super) fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, detail)
    }

    /// The request is wrong.
    pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// A part of the server does not answer.
    pub(super) fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The same with what is wrong, one by one.
    pub(super) fn listing(mut self, errors: Vec<Finding>) -> Problem {
        self.errors = errors;
        self
    }

    /// The same with one header more; a value that cannot stand in one is left out.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Problem {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}
