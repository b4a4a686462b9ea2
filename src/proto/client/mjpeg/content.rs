//! What a response says it holds (RFC 9110 section 8.3, RFC 2046 section 5.1).

use crate::rtsp::message::Headers;

/// What the body of a response is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Pictures without end, each in a part of its own.
    Parts {
        /// The boundary without the dashes before it; empty when there is none.
        boundary: String,
    },
    /// One picture.
    Snapshot,
}

impl Content {
    /// What `Content-Type` says; the error is its value when that is no picture's.
    pub(super) fn of(headers: &Headers) -> Result<Content, String> {
        let value = headers.get("Content-Type").unwrap_or_default();
        let (media_type, parameters) = value.split_once(';').unwrap_or((value, ""));
        match media_type.trim().to_ascii_lowercase().as_str() {
            "image/jpeg" | "image/jpg" | "image/pjpeg" => Ok(Content::Snapshot),
            // Pictures one behind the other, as some cameras name them.
            "video/mjpeg" | "video/x-mjpeg" | "video/x-motion-jpeg" => {
                Ok(Content::Parts { boundary: "".into() })
            }
            other if other.starts_with("multipart/") => Ok(Content::Parts { boundary: boundary(parameters) }),
            _ => Err(value.chars().take(VALUE_CHARACTERS_MAX).collect()),
        }
    }
}

/// The parameter of that name, with or without quotes. Some cameras count the two dashes that precede the boundary in
/// the body as part of it, others do not, and so none are.
fn boundary(parameters: &str) -> String {
    let mut pairs = parameters.split(';').filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"));
    let value = value.map_or("", |(_, value)| value.trim().trim_matches('"'));
    value.trim_start_matches('-').to_owned()
}

/// Of a foreign type, in the error.
const VALUE_CHARACTERS_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Result<Content, String> {
        let mut headers = Headers::new();
        headers.push("content-type", value);
        Content::of(&headers)
    }

    #[test]
    fn the_boundary_is_read_in_every_spelling() {
        for (value, expected) in [
            ("multipart/x-mixed-replace; boundary=foo", "foo"),
            ("multipart/x-mixed-replace;boundary=--foo", "foo"),
            ("Multipart/X-Mixed-Replace; Boundary=\"--foo\"; x=y", "foo"),
            ("multipart/mixed; charset=x; boundary = foo=bar ;", "foo=bar"),
            ("multipart/x-mixed-replace; boundary=", ""),
            ("multipart/x-mixed-replace; boundary=----", ""),
            ("multipart/x-mixed-replace", ""),
            ("video/x-motion-jpeg", ""),
        ] {
            assert_eq!(of(value), Ok(Content::Parts { boundary: expected.into() }), "{value}");
        }
    }

    #[test]
    fn a_picture_is_told_from_what_is_none() {
        assert_eq!(of("image/JPEG; x=y"), Ok(Content::Snapshot));
        assert_eq!(of("image/jpg"), Ok(Content::Snapshot));
        assert_eq!(of("text/html; charset=utf-8"), Err("text/html; charset=utf-8".into()));
        assert_eq!(of(&"x".repeat(1_000)), Err("x".repeat(80)));
        assert_eq!(Content::of(&Headers::new()), Err("".into()));
    }
}
