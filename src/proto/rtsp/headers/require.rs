//! Option tags: `Require`, `Proxy-Require`, `Supported`, `Unsupported` (RFC 2326 sections 12.27, 12.32, 12.40).

use crate::rtsp::message::Headers;

/// Asks for a track that takes sound (ONVIF streaming specification section 5.3).
pub const BACKCHANNEL: &str = "www.onvif.org/ver20/backchannel";

/// Asks for a recording's own times in its packets, and ways to play it that RTSP alone has not (ONVIF streaming
/// specification section 6.4).
pub const REPLAY: &str = "onvif-replay";

/// The tags of all headers of that name, in order.
pub fn tags<'a>(headers: &'a Headers, name: &str) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).flat_map(|value| value.split(',')).map(str::trim).filter(|tag| !tag.is_empty())
}

/// Whether `Require` names that tag.
pub fn has(headers: &Headers, wanted: &str) -> bool {
    tags(headers, "Require").any(|tag| tag.eq_ignore_ascii_case(wanted))
}

/// What `Require` and `Proxy-Require` ask for beyond the known tags, as `Unsupported` lists it beside status 551;
/// None when nothing is missing. Tags are compared in any case.
pub fn unsupported(headers: &Headers, known: &[&str]) -> Option<String> {
    let asked = tags(headers, "Require").chain(tags(headers, "Proxy-Require"));
    let missing: Vec<&str> =
        asked.filter(|tag| !known.iter().any(|known| known.eq_ignore_ascii_case(tag))).collect();
    if missing.is_empty() { None } else { Some(missing.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_unknown_tags_are_listed() {
        let mut headers = Headers::new();
        headers.push("Require", "play.basic, funky-feature,");
        headers.push("require", "other");
        headers.push("Proxy-Require", "gzip");
        assert_eq!(unsupported(&headers, &["Play.Basic"]).as_deref(), Some("funky-feature, other, gzip"));
        assert_eq!(unsupported(&headers, &["play.basic", "other", "gzip", "funky-feature"]), None);
        assert_eq!(unsupported(&Headers::new(), &[]), None);
        assert!(has(&headers, "Funky-Feature") && has(&headers, "other") && !has(&headers, "gzip"));
    }
}
