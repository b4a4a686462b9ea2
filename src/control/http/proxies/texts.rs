//! What the texts of a proxy that is to be may hold, as patterns for its description: exactly what is taken, but for a password
//! in a URL that has signs in it which should be escaped there, and for what only looks like an IPv6 address.

use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

use crate::config::CHARACTERS_MAX;

/// White space, as ranges of a pattern; what of it is a control character as well stands below.
const SPACES: &str = r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";

/// What cannot be typed.
const UNTYPED: &str = r"\u0000-\u001f\u007f-\u009f\ufffe\uffff";

/// 0 to 65535.
const PORT: &str = "0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

/// A part of an IPv6 address.
const PART: &str = "[0-9A-Fa-f]{1,4}";

pub(super) fn path() -> Schema {
    let pattern = format!("^/*[^/&?#%{SPACES}{UNTYPED}][^&?#%{SPACES}{UNTYPED}]*$");
    text(
        "Its path, slashes in it included: without white space, control characters and `&?#%`.",
        pattern,
        Need::Must,
    )
}

pub(super) fn url() -> Schema {
    let scheme = format!("({})", any_case(&["rtsp", "rtsps", "http", "https"]));
    let user = format!(r"([^/?#\[\]{SPACES}{UNTYPED}]*@)?");
    let host = format!(r#"({}|[^:@/?#"<>\[\]{SPACES}{UNTYPED}]+)"#, ipv6());
    let rest = format!("([/?#][^{SPACES}{UNTYPED}]*)?");
    let pattern = format!("^{scheme}://{user}{host}(:({PORT})?)?{rest}$");
    text("Where it is: `rtsp`, `rtsps`, `http` or `https`, with a host.", pattern, Need::Must)
}

pub(super) fn user() -> Schema {
    free("Name for the source.")
}

pub(super) fn pass() -> Schema {
    free("Password for the source.")
}

pub(super) fn transfer() -> Schema {
    let words = ["TCP", "UDP", "MULTICAST"];
    word(
        "`TCP`, `UDP` or `MULTICAST`: the transport that is asked for first; TCP where nothing is said.",
        &words,
    )
}

pub(super) fn video_codec() -> Schema {
    let words = ["H264", "H265", "MP4", "JPEG", "MJPEG", "NONE"];
    word("`H264`, `H265`, `MP4` or `JPEG`; `NONE` leaves pictures out.", &words)
}

pub(super) fn audio_codec() -> Schema {
    let words = ["G711A", "G711U", "G711", "PCMA", "PCMU", "G722", "G726", "AAC", "OPUS", "NONE"];
    word("`G711A`, `G711U`, `G722`, `G726`, `AAC` or `OPUS`; `NONE` leaves sound out.", &words)
}

/// An IPv6 address, perhaps with a zone: where parts of zeros are left out there are up to seven others.
fn ipv6() -> String {
    let shortened = |before: usize| format!("({PART}:){{1,{before}}}(:{PART}){{1,{}}}", 7 - before);
    let inside: Vec<_> = (1..=6).map(shortened).collect();
    let inside = inside.join("|");
    format!(
        r"\[(({PART}:){{7}}{PART}|({PART}:){{1,7}}:|{inside}|:((:{PART}){{1,7}}|:))(%25[-0-9A-Za-z._~]+)?\]"
    )
}

/// Whether a text has to be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Must,
    May,
}

fn text(description: &str, pattern: String, need: Need) -> Schema {
    let kind = match need {
        Need::Must => Type::String.into(),
        Need::May => SchemaType::from_iter([Type::String, Type::Null]),
    };
    let object = ObjectBuilder::new().schema_type(kind).description(Some(description));
    object.max_length(Some(CHARACTERS_MAX)).pattern(Some(pattern)).into()
}

/// Anything without white space around it.
fn free(description: &str) -> Schema {
    let pattern = format!("^([^{SPACES}{UNTYPED}]([^{UNTYPED}]*[^{SPACES}{UNTYPED}])?)?$");
    text(description, pattern, Need::May)
}

/// One of some words, or nothing.
fn word(description: &str, words: &[&str]) -> Schema {
    text(description, format!("^({})?$", any_case(words)), Need::May)
}

/// Some words, with small and with large letters.
fn any_case(words: &[&str]) -> String {
    let letter = |c: char| match c.is_ascii_alphabetic() {
        true => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
        false => c.to_string(),
    };
    let words: Vec<String> = words.iter().map(|word| word.chars().map(letter).collect()).collect();
    words.join("|")
}
