//! The page for people at `/`: its files, which are in the program, and what it needs to know before it may ask the API.

mod about;
mod files;

use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH,
    REFERRER_POLICY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

pub(super) use self::about::about;
use self::files::{File, INDEX};
use super::problem::Problem;

/// What the page may load, and from where: its own files, what comes by its own WebSocket and the API, and pictures that it
/// has fetched itself. Nothing inline, nothing of another host, and no page around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
pub(super) async fn index(headers: HeaderMap) -> Response {
    answer(&INDEX, &headers)
}

/// One of its files.
pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match files::find(&name) {
        Some(file) => answer(file, &headers),
        None => Problem::not_found("file of the page").into_response(),
    }
}

/// The file, or that the browser has it already: it asks each time, so that a new program brings a new page at once.
fn answer(file: &File, headers: &HeaderMap) -> Response {
    let tag = file.tag();
    let is_known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = is_known.flat_map(|list| list.split(',')).any(|known| known.trim() == tag);
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => file.text.into_response(),
    };
    let fixed: [(HeaderName, &'static str); 4] = [
        (CONTENT_TYPE, file.kind),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}
