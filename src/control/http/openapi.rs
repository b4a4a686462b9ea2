//! The description of the API (OpenAPI 3.1), made of the functions that answer and the types that they answer with.

use axum::Json;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi};

use super::problem::Problem;
use super::{
    configuration, devices, dump, events, files, health, log, metrics, proxies, reload, sessions, snapshot,
    stats, streams,
};

/// What every resource but those of health may answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is there to be described")]
pub(super) enum Refusals {
    /// The request cannot be understood.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(#[to_schema] Problem),
    /// Name and password of a user with the permission `admin` are asked for.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] Problem),
    /// The client may not.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] Problem),
    /// It took too long; what was asked for may still be done.
    #[response(status = 408, content_type = "application/problem+json")]
    TooLong(#[to_schema] Problem),
    /// A part of the server does not answer, or too many ask.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Ringcaster", description = "See and steer an RTSP server.", license(name = "MIT OR Apache-2.0")),
    paths(
        streams::list, streams::one, sessions::list, sessions::one, sessions::end, dump::dump, proxies::list, proxies::one, proxies::add,
        proxies::change, proxies::remove, files::list, files::one,
        devices::list, stats::stats, configuration::effective, configuration::check, reload::reload, events::listen, snapshot::still,
        log::tail, document,
        metrics::metrics, health::healthz, health::readyz
    ),
    security((), ("basic" = []), ("digest" = [])),
    modifiers(&Ways)
)]
struct Document;

/// The ways to log in where that is asked for.
struct Ways;

impl Modify for Ways {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        for (name, scheme) in [("basic", HttpAuthScheme::Basic), ("digest", HttpAuthScheme::Digest)] {
            components.add_security_scheme(name, SecurityScheme::Http(Http::new(scheme)));
        }
    }
}

/// Describes the API.
#[utoipa::path(get, path = "/api/v1/openapi.json", operation_id = "get_description", tag = "openapi", responses(
    (status = 200, description = "This document", body = Object), Refusals))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
