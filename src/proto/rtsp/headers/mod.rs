//! The headers that carry a grammar of their own, one file each: parse and write together.

mod auth_words;
pub mod authorization;
pub mod cseq;
pub mod date;
pub mod frames;
pub mod key_mgmt;
pub mod range;
pub mod rate_control;
pub mod require;
pub mod rtp_info;
pub mod scale;
pub mod session;
pub mod transport;
pub mod www_authenticate;

/// Splits at `separator`, but not inside double quotes.
pub(super) fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

/// Takes the double quotes off a value, as far as it has them, and the blanks around it.
pub(super) fn unquote(value: &str) -> &str {
    let value = value.trim();
    let value = value.strip_prefix('"').unwrap_or(value);
    value.strip_suffix('"').unwrap_or(value).trim()
}
