//! Text to value; None means that the text is not one.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use bytes::Bytes;
use proto::client::Url;
use proto::rtsp::digest::Algorithm;

use super::network::AddressRange;
use super::node::Wanted;
use super::settings::{
    BackendChoice, GopCache, Host, LogFormat, LogLevel, Loops, NotifyFail, NotifyMethod, OnRepublish,
    Publish, Srtp, ZeroCopy,
};

/// 0 or 1, and the words for them.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A decimal number from `min` to `max`.
pub(super) fn number<T: FromStr + PartialOrd>(text: &str, min: T, max: T) -> Option<T> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|value| (min..=max).contains(value))
}

/// A port that can be listened on.
pub(super) fn port(text: &str) -> Option<u16> {
    number(text, 1, u16::MAX)
}

/// A port, or None for 0.
pub(super) fn port_or_none(text: &str) -> Option<Option<u16>> {
    number(text, 0, u16::MAX).map(|port| (port > 0).then_some(port))
}

/// Number of plays; -1 is endless, 0 is once.
pub(super) fn loops(text: &str) -> Option<Loops> {
    if text == "-1" {
        return Some(Loops::Endless);
    }
    number(text, 0, u32::MAX).map(|times: u32| Loops::Times(times.max(1)))
}

/// An address or a name.
pub(super) fn host(text: &str) -> Option<Host> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(Host::Address(address));
    }
    // Digits and dots alone can only be a mistyped address.
    let mistyped = bare.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let zoned = bare.split_once('%').is_some_and(|(address, zone)| {
        address.parse::<std::net::Ipv6Addr>().is_ok() && !zone.is_empty() && zone.bytes().all(named)
    });
    let is_name = !bare.is_empty() && bare.len() <= 253 && !mistyped && bare.bytes().all(named);
    (is_name || zoned).then(|| Host::Name(bare.to_string()))
}

/// Addresses or names with commas or spaces between them.
pub(super) fn hosts(text: &str) -> Option<Vec<Host>> {
    text.split([',', ' ']).filter(|part| !part.is_empty()).map(host).collect()
}

/// Addresses or ranges of them with commas or spaces between them.
pub(super) fn ranges(text: &str) -> Option<Vec<AddressRange>> {
    text.split([',', ' ', '\t', '\r', '\n'])
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().ok())
        .collect()
}

/// Origins of pages (RFC 6454 section 6.1) with commas or spaces between them.
pub(super) fn origins(text: &str) -> Option<Vec<String>> {
    let origin = |text: &str| {
        let has_host_alone = |url: String| url.split('/').count() == 3 && !url.contains(['@', '?', '#']);
        let is_origin = text == "null" || url(text, &["http", "https"]).is_some_and(has_host_alone);
        is_origin.then(|| text.to_ascii_lowercase())
    };
    text.split([',', ' ', '\t', '\r', '\n']).filter(|part| !part.is_empty()).map(origin).collect()
}

/// MD5, SHA-256 or both; never none, and none of them twice.
pub(super) fn algorithms(text: &str) -> Option<Vec<Algorithm>> {
    let known = [Algorithm::MD5, Algorithm::SHA_256];
    let mut list = Vec::new();
    for name in text.split([',', ' ']).filter(|name| !name.is_empty()) {
        let algorithm = name.parse().ok().filter(|algorithm| known.contains(algorithm))?;
        if list.contains(&algorithm) {
            return None;
        }
        list.push(algorithm);
    }
    (!list.is_empty()).then_some(list)
}

/// A realm that stands in quotes without escapes, which not every player reads.
pub(super) fn realm(text: &str) -> Option<String> {
    let is_plain = text.chars().all(|c| !c.is_control() && c != '"' && c != '\\');
    (is_plain && !text.is_empty() && text.chars().count() <= 100).then(|| text.to_string())
}

/// A group address.
pub(super) fn group(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().filter(IpAddr::is_multicast)
}

/// Bytes in hexadecimal; never none.
pub(super) fn hexadecimal(text: &str) -> Option<Bytes> {
    if !text.bytes().all(|digit| digit.is_ascii_hexdigit()) || !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok());
    pairs.collect::<Option<Vec<u8>>>().map(Bytes::from)
}

/// A path; never empty.
pub(super) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
}

/// A URL with one of `schemes` and a host.
pub(super) fn url(text: &str, schemes: &[&str]) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let known = schemes.iter().any(|name| scheme.eq_ignore_ascii_case(name));
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let spaced = text.chars().any(|c| c.is_whitespace() || c.is_control());
    (known && !host.is_empty() && !host.starts_with(':') && !spaced).then(|| text.to_string())
}

/// The name of a Unix socket.
pub(super) fn socket(text: &str) -> Option<PathBuf> {
    (text.len() <= SOCKET_BYTES_MAX).then(|| PathBuf::from(text))
}

/// 0 to 5, or the level's name.
pub(super) fn log_level(text: &str) -> Option<LogLevel> {
    match text.to_ascii_lowercase().as_str() {
        "0" | "trace" => Some(LogLevel::Trace),
        "1" | "debug" => Some(LogLevel::Debug),
        "2" | "info" => Some(LogLevel::Info),
        "3" | "warn" => Some(LogLevel::Warn),
        "4" | "error" => Some(LogLevel::Error),
        "5" | "fatal" => Some(LogLevel::Fatal),
        _ => None,
    }
}

/// `text` or `json`.
pub(super) fn log_format(text: &str) -> Option<LogFormat> {
    match text.to_ascii_lowercase().as_str() {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

/// `auto`, `uring` or `fallback`.
pub(super) fn backend(text: &str) -> Option<BackendChoice> {
    match text.to_ascii_lowercase().as_str() {
        "auto" => Some(BackendChoice::Auto),
        "uring" => Some(BackendChoice::Uring),
        "fallback" => Some(BackendChoice::Fallback),
        _ => None,
    }
}

/// `auto`, `on` or `off`.
pub(super) fn zero_copy(text: &str) -> Option<ZeroCopy> {
    match text.to_ascii_lowercase().as_str() {
        "auto" => Some(ZeroCopy::Auto),
        "on" => Some(ZeroCopy::On),
        "off" => Some(ZeroCopy::Off),
        _ => None,
    }
}

pub(super) fn srtp(text: &str) -> Option<Srtp> {
    match text.to_ascii_lowercase().as_str() {
        "aes_cm" => Some(Srtp::AesCm),
        "aes_gcm" => Some(Srtp::AesGcm),
        "aes_gcm_256" => Some(Srtp::AesGcm256),
        "off" => Some(Srtp::Off),
        _ => None,
    }
}

/// `auto`, 0 or 1.
pub(super) fn auto_or_flag(text: &str) -> Option<Option<bool>> {
    if text.eq_ignore_ascii_case("auto") { Some(None) } else { switch(text).map(Some) }
}

/// 0, 1 or 2.
pub(super) fn gop_cache(text: &str) -> Option<GopCache> {
    match text {
        "0" => Some(GopCache::Off),
        "1" => Some(GopCache::CatchUp),
        "2" => Some(GopCache::TrueTimes),
        _ => None,
    }
}

/// `off`, `local`, `auth` or `on`.
pub(super) fn publish(text: &str) -> Option<Publish> {
    match text.to_ascii_lowercase().as_str() {
        "off" => Some(Publish::Off),
        "local" => Some(Publish::Local),
        "auth" => Some(Publish::Auth),
        "on" => Some(Publish::On),
        _ => None,
    }
}

/// `refuse`, `replace` or `stale`.
pub(super) fn on_republish(text: &str) -> Option<OnRepublish> {
    match text.to_ascii_lowercase().as_str() {
        "refuse" => Some(OnRepublish::Refuse),
        "replace" => Some(OnRepublish::Replace),
        "stale" => Some(OnRepublish::Stale),
        _ => None,
    }
}

/// The URL of a web service.
pub(super) fn hook(text: &str) -> Option<Url> {
    Url::parse_http(&url(text, &["http", "https"])?).ok()
}

/// A web service's URL for people: without user, password and query, any of which may be a secret.
pub(super) fn hook_shown(url: &Url) -> String {
    let bare = Url { credentials: None, ..url.clone() }.request_uri();
    let who = if url.credentials.is_some() { "://***@" } else { "://" };
    let shown = match bare.split_once('?') {
        Some((place, _)) => format!("{place}?***"),
        None => bare,
    };
    shown.replacen("://", who, 1)
}

/// `deny` or `allow`.
pub(super) fn notify_fail(text: &str) -> Option<NotifyFail> {
    match text.to_ascii_lowercase().as_str() {
        "deny" => Some(NotifyFail::Deny),
        "allow" => Some(NotifyFail::Allow),
        _ => None,
    }
}

/// `POST` or `GET`.
pub(super) fn notify_method(text: &str) -> Option<NotifyMethod> {
    match text.to_ascii_uppercase().as_str() {
        "POST" => Some(NotifyMethod::Post),
        "GET" => Some(NotifyMethod::Get),
        _ => None,
    }
}

/// What an address of a Unix socket holds (`sun_path` of unix(7), with the zero behind it).
const SOCKET_BYTES_MAX: usize = 107;

/// What such a name is.
pub(super) const SOCKET: Wanted = Wanted { noun: "the name of a socket", allowed: "up to 107 bytes" };
