//! Request URLs: which server, which path, which parameters, which track (RFC 2326 section 3.2).

use std::borrow::Cow;
use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use thiserror::Error;

/// What precedes `://`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `rtsp`, and `rtspt` or `rtspu`, which some players pass on: RTSP over TCP.
    Rtsp,
    /// `rtsps`: RTSP over TLS.
    Rtsps,
}

impl Scheme {
    /// The scheme of that name in any case; None for another protocol's.
    pub fn from_name(name: &str) -> Option<Scheme> {
        match name.to_ascii_lowercase().as_str() {
            "rtsp" | "rtspt" | "rtspu" => Some(Scheme::Rtsp),
            "rtsps" => Some(Scheme::Rtsps),
            _ => None,
        }
    }

    /// The scheme's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Rtsp => "rtsp",
            Scheme::Rtsps => "rtsps",
        }
    }

    /// The port when the URL names none (RFC 2326 section 3.2, RFC 7826 section 4.2).
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Rtsp => 554,
            Scheme::Rtsps => 322,
        }
    }
}

/// Why a URL names nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UriError {
    /// Neither `rtsp://`, `rtsps://`, a path from `/` nor `*`.
    #[error("the URL is neither rtsp://, rtsps://, an absolute path nor *")]
    Scheme,
    /// Neither `http://` nor `https://`.
    #[error("the URL is neither http:// nor https://")]
    HttpScheme,
    /// The part before the path is broken: an open bracket or a port that is no number.
    #[error("the URL's host or port is malformed")]
    Authority,
    /// A percent-encoded part is not UTF-8 or holds a zero byte.
    #[error("the URL's percent-encoding does not give a text")]
    Encoding,
}

/// A request URL, taken apart.
///
/// Parameters follow the first `&` or `?` of the path. The control suffix `trackID=N` is found wherever a client
/// puts it: `path?query/trackID=0` (FFmpeg, live555), `path/trackID=0?query` (GStreamer), `path/?query/trackID=0`,
/// with or without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// None for an absolute path and for `*`.
    pub scheme: Option<Scheme>,
    /// Name or address, an IPv6 address without its brackets and with its zone; None when the URL has none.
    pub host: Option<String>,
    /// None when the URL has none.
    pub port: Option<u16>,
    /// The path up to its parameters, percent-encoded as it came, without track and without a slash at the end
    /// unless it is `/` alone; `*` for the server itself.
    pub path: String,
    /// The path with what could be parameters, but without the track: a file's name may hold `&` or `?`.
    pub raw_path: String,
    /// Names and values, percent-decoded, in order; the value is empty without `=`.
    pub parameters: Vec<(String, String)>,
    /// Number of the track that a control suffix names; None when the URL means the whole presentation.
    pub track: Option<u8>,
}

impl Target {
    /// Takes a URL apart. User and password in it are ignored. Errors: [`UriError::Scheme`], [`UriError::Authority`].
    pub fn parse(uri: &str) -> Result<Target, UriError> {
        if uri == "*" {
            return Ok(Target::from_path(None, None, None, "*"));
        }
        if uri.starts_with('/') {
            return Ok(Target::from_path(None, None, None, uri));
        }
        let (scheme, rest) = uri.split_once("://").ok_or(UriError::Scheme)?;
        let scheme = Scheme::from_name(scheme).ok_or(UriError::Scheme)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = parse_authority(authority)?;
        Ok(Target::from_path(Some(scheme), host, port, path))
    }

    fn from_path(scheme: Option<Scheme>, host: Option<String>, port: Option<u16>, whole: &str) -> Target {
        let (whole, track) = take_track(whole);
        let mut whole = whole.trim_end_matches('/').to_owned();
        if whole.starts_with(['&', '?', '#']) {
            whole.insert(0, '/');
        }
        let (path, rest) = whole.split_at(whole.find(SEPARATORS).unwrap_or(whole.len()));
        let or_root = |path: &str| if path.is_empty() { "/".to_owned() } else { path.to_owned() };
        Target {
            scheme,
            host,
            port,
            path: or_root(path.trim_end_matches('/')),
            raw_path: or_root(&whole),
            parameters: parse_parameters(rest),
            track,
        }
    }

    /// Whether the URL is `*`: the server, not one of its presentations.
    pub fn is_server(&self) -> bool {
        self.path == "*"
    }

    /// Whether both name the same presentation with the same parameters, in whatever spelling a client gave the base
    /// back: host, track, `?` or `&` and slashes at the end do not count.
    pub fn is_same_presentation(&self, other: &Target) -> bool {
        self.path == other.path && self.parameters == other.parameters
    }

    /// The first parameter of that name in any case; None when there is none.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Every way to read the path: the whole as a name first, then cut at each `&` or `?` from the last to the first,
    /// with the parameters behind the cut. Of more than eight cuts only the first eight count, so that a URL cannot
    /// ask for thousands of look-ups. Paths are percent-encoded as they came.
    pub fn readings(&self) -> impl Iterator<Item = (&str, Vec<(String, String)>)> {
        let raw = self.raw_path.as_str();
        let mut cuts = [0; 8];
        let mut count = 0;
        for (cut, (at, _)) in cuts.iter_mut().zip(raw.match_indices(SEPARATORS)) {
            *cut = at;
            count += 1;
        }
        let whole = std::iter::once((raw, Vec::new()));
        whole.chain(cuts.into_iter().take(count).rev().map(move |at| {
            let path = raw[..at].trim_end_matches('/');
            (if path.is_empty() { "/" } else { path }, parse_parameters(&raw[at..]))
        }))
    }

    /// The base for the relative control attributes of a description, as `Content-Base` gives it (RFC 2326 section
    /// C.1.1): the request URL without track, every `?` made `&`, with a slash at its end.
    ///
    /// Behind `path?query/` FFmpeg and live555 append the control attribute as text, GStreamer replaces what follows
    /// the path's last slash (1.22) or puts it before the `?` (others). Behind `path&query/` all of them do the same.
    pub fn content_base(&self) -> String {
        self.content_base_of(&self.path)
    }

    /// The same when the file found is `name`, one of [`Target::readings`]: the `&`, `?` and `#` in it are
    /// percent-encoded, so that it stays a name whatever the client makes of the base.
    pub fn content_base_of(&self, name: &str) -> String {
        let mut base = self.origin();
        for character in name.trim_end_matches('/').chars() {
            match character {
                '&' => base.push_str("%26"),
                '?' => base.push_str("%3F"),
                '#' => base.push_str("%23"),
                other => base.push(other),
            }
        }
        let rest = self.raw_path.strip_prefix(name).unwrap_or_default().trim_start_matches('/');
        if name.is_empty() || name == "/" {
            base.push('/');
        }
        base.push_str(&rest.replace('?', "&"));
        if !base.ends_with('/') {
            base.push('/');
        }
        base
    }

    /// The URL as a web service reads one: without user, password and track, its parameters behind one `?` and with `&`
    /// between them.
    pub fn to_web(&self) -> String {
        let mut url = self.origin();
        url.push_str(&self.path);
        let rest = self.raw_path.strip_prefix(self.path.as_str()).unwrap_or_default();
        let pieces = rest.split(SEPARATORS).map(|piece| piece.trim_end_matches('/'));
        for (index, piece) in pieces.filter(|piece| !piece.is_empty()).enumerate() {
            url.push(if index == 0 { '?' } else { '&' });
            url.push_str(piece);
        }
        url
    }

    /// Scheme, host and port; empty when the URL was a path alone.
    fn origin(&self) -> String {
        let mut origin = String::new();
        let Some(host) = &self.host else { return origin };
        origin.push_str(self.scheme.unwrap_or(Scheme::Rtsp).as_str());
        origin.push_str("://");
        if host.contains(':') {
            // The sign before a zone is percent-encoded in a URL (RFC 6874).
            let _ = write!(origin, "[{}]", host.replace('%', "%25"));
        } else {
            origin.push_str(host);
        }
        if let Some(port) = self.port {
            let _ = write!(origin, ":{port}");
        }
        origin
    }
}

/// A URL for a log: what could be a user and a password is left out, however oddly it is written.
pub fn redacted(uri: &str) -> Cow<'_, str> {
    match (uri.split_once("://"), uri.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => Cow::Owned(format!("{scheme}://***@{place}")),
        _ => Cow::Borrowed(uri),
    }
}

/// A name as a path of a URL: all that could end the path, or stand for something else in it, is encoded.
pub fn percent_encode(name: &str) -> String {
    utf8_percent_encode(name, NAME).to_string()
}

/// What a name may hold as it is: unreserved characters (RFC 3986 section 2.3) and the slash between its parts.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Percent-decodes a path or a part of it. Error: [`UriError::Encoding`] for what no file name can be.
pub fn percent_decode(text: &str) -> Result<String, UriError> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| UriError::Encoding)?;
    if decoded.contains('\0') { Err(UriError::Encoding) } else { Ok(decoded.into_owned()) }
}

/// Either begins and either divides the parameters.
const SEPARATORS: [char; 2] = ['&', '?'];

/// Host and port of what stands between `://` and the path; user and password are skipped.
pub(crate) fn parse_authority(authority: &str) -> Result<(Option<String>, Option<u16>), UriError> {
    // A password may hold an `@` of its own.
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) =
                rest.split_once(']').filter(|(host, _)| is_ipv6(host)).ok_or(UriError::Authority)?;
            (host.replace("%25", "%"), port)
        }
        None => {
            let (host, port) = place.split_at(place.find(':').unwrap_or(place.len()));
            if host.contains(|c: char| c.is_ascii_control() || " \"<>[]".contains(c)) {
                return Err(UriError::Authority);
            }
            (host.to_owned(), port)
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return Err(UriError::Authority),
        Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| UriError::Authority)?)
        }
        Some(_) => return Err(UriError::Authority),
    };
    // A port of no host is of no use.
    if host.is_empty() { Ok((None, None)) } else { Ok((Some(host), port)) }
}

/// Whether it looks like an IPv6 address, perhaps with a zone (RFC 6874).
fn is_ipv6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').unwrap_or((host, ""));
    let zone_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"%-._~".contains(&byte);
    address.contains(':')
        && address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte))
        && zone.bytes().all(zone_byte)
}

/// Cuts the last control suffix out of a path and gives its number.
fn take_track(path: &str) -> (String, Option<u8>) {
    // The same length as the path: only ASCII letters change.
    let lower = path.to_ascii_lowercase();
    for (at, word) in lower.rmatch_indices("/trackid=") {
        let rest = &path[at + word.len()..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let Ok(track) = rest[..digits].parse() else { continue };
        let behind = rest[digits..].trim_start_matches('/');
        if behind.is_empty() || behind.starts_with(SEPARATORS) {
            return (format!("{}{behind}", &path[..at]), Some(track));
        }
    }
    (path.to_owned(), None)
}

fn parse_parameters(text: &str) -> Vec<(String, String)> {
    let pieces = text.split(SEPARATORS).map(|piece| piece.trim_end_matches('/'));
    pieces
        .filter(|piece| !piece.is_empty())
        .map(|piece| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            (decode_lossy(name), decode_lossy(value))
        })
        .collect()
}

fn decode_lossy(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> Target {
        Target::parse(uri).unwrap()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_web_service_reads_the_url_that_was_meant() {
        let web = |uri: &str| target(uri).to_web();
        assert_eq!(web("rtsp://u:p@h:554/a%20b?t=1&u=%26/trackID=0"), "rtsp://h:554/a%20b?t=1&u=%26");
        assert_eq!(web("rtsp://h/a&t=1&u=2/"), "rtsp://h/a?t=1&u=2");
        assert_eq!(web("rtsp://h/a/?t=1"), "rtsp://h/a?t=1");
        assert_eq!((web("*"), web("/a/trackID=1")), ("*".to_owned(), "/a".to_owned()));
    }

    #[test]
    fn the_track_is_found_in_every_client_style() {
        let styles = [
            ("/dir/a.mp4", None),
            ("/dir/a.mp4/", None),
            ("/dir/a.mp4?t=unicast", None),
            ("/dir/a.mp4?t=unicast/", None),
            ("/dir/a.mp4/?t=unicast", None),
            ("/dir/a.mp4/?t=unicast/", None),
            ("/dir/a.mp4/trackID=1", Some(1)),
            ("/dir/a.mp4//trackID=1/", Some(1)),
            ("/dir/a.mp4?t=unicast/trackID=1", Some(1)),
            ("/dir/a.mp4/?t=unicast/trackID=1", Some(1)),
            ("/dir/a.mp4/trackID=1?t=unicast", Some(1)),
            ("/dir/a.mp4/trackID=1/?t=unicast/", Some(1)),
            ("/dir/a.mp4//trackID=1?t=unicast/", Some(1)),
            ("/dir/a.mp4&t=unicast", None),
            ("/dir/a.mp4&t=unicast/trackID=1", Some(1)),
            ("/dir/a.mp4/&t=unicast/TrackID=1/", Some(1)),
            ("/dir/a.mp4/trackid=1&t=unicast", Some(1)),
        ];
        for (path, track) in styles {
            let got = target(&format!("rtsp://host:8554{path}"));
            assert_eq!((got.path.as_str(), got.track), ("/dir/a.mp4", track), "{path}");
            let asked = if path.contains("unicast") { pairs(&[("t", "unicast")]) } else { Vec::new() };
            assert_eq!(got.parameters, asked, "{path}");
            assert_eq!((got.host.as_deref(), got.port), (Some("host"), Some(8554)));
        }
    }

    #[test]
    fn what_only_looks_like_a_track_is_path() {
        for path in
            ["/trackID=x", "/a/trackID=1x", "/a/trackID=256", "/a/trackID=", "/atrackID=1", "/a/trackID=1/b"]
        {
            let got = target(path);
            assert_eq!((got.path.as_str(), got.track), (path, None));
        }
    }

    #[test]
    fn parameters_follow_either_sign_and_are_decoded() {
        let got = target("rtsp://h/test.mp4&t=unicast&p=udp&ve=H264&w=640");
        assert_eq!(got.path, "/test.mp4");
        assert_eq!(got.parameters, pairs(&[("t", "unicast"), ("p", "udp"), ("ve", "H264"), ("w", "640")]));
        assert_eq!(got.parameter("VE"), Some("H264"));
        let got = target("rtsp://h/x?a=%26%3D&flag&&=&b=1=2");
        assert_eq!(got.parameters, pairs(&[("a", "&="), ("flag", ""), ("", ""), ("b", "1=2")]));
    }

    #[test]
    fn a_password_in_a_url_is_not_for_the_log() {
        for uri in
            ["rtsp://u:secret@h/a", "rtsp://u:sec@ret@h/a", "rtsp://u:sec/ret@h/a", "rtsp://secret@h/a"]
        {
            assert_eq!(redacted(uri), "rtsp://***@h/a");
        }
        for uri in ["rtsp://h/a", "/a@b", "*"] {
            assert_eq!(redacted(uri), uri);
        }
    }

    #[test]
    fn a_raw_name_can_be_tried_before_its_cuts() {
        let got = target("/R&B?.mp4&w=1/trackID=0");
        assert_eq!((got.path.as_str(), got.raw_path.as_str()), ("/R", "/R&B?.mp4&w=1"));
        let readings: Vec<_> = got.readings().map(|(path, parameters)| (path, parameters.len())).collect();
        assert_eq!(readings, [("/R&B?.mp4&w=1", 0), ("/R&B?.mp4", 1), ("/R&B", 2), ("/R", 3)]);
        assert_eq!(target(&format!("/{}", "&a".repeat(4000))).readings().count(), 9);
    }

    #[test]
    fn authorities_in_every_form() {
        let cases = [
            ("rtsp://h", Some("h"), None),
            ("RTSPS://h:/", Some("h"), None),
            ("rtsp://u:p@ss@h:1/", Some("h"), Some(1)),
            ("rtsp://[::1]:554/a", Some("::1"), Some(554)),
            ("rtsp://u@[fe80::1%25eth0]/a", Some("fe80::1%eth0"), None),
            ("rtsp://h?x=1", Some("h"), None),
            ("rtsp:///a", None, None),
            ("rtsp://u@:1/a", None, None),
        ];
        for (uri, host, port) in cases {
            let got = target(uri);
            assert_eq!((got.host.as_deref(), got.port), (host, port), "{uri}");
        }
        for uri in [
            "rtsp://[::1/a",
            "rtsp://[::1]x/",
            "rtsp://h:99999/",
            "rtsp://h:1:2/",
            "rtsp://h:-1/",
            "rtsp://[h]/",
            "rtsp://a b/",
        ] {
            assert_eq!(Target::parse(uri), Err(UriError::Authority), "{uri}");
        }
        for uri in ["", "a", "http://h/", "rtsp:/h", "**"] {
            assert_eq!(Target::parse(uri), Err(UriError::Scheme), "{uri}");
        }
        assert!(target("*").is_server());
        assert_eq!(target("rtsp://h").path, "/");
        assert_eq!(target("rtsp://h/?x=1").path, "/");
        assert_eq!(target("/trackID=1&x=1").raw_path, "/&x=1");
    }

    #[test]
    fn every_client_reaches_the_track_from_the_content_base() {
        let uris = [
            "rtsp://h:1/d/a",
            "rtsp://h/a/",
            "rtsp://[::1]/a?x=1?y=2",
            "rtsp://h/a&x=1&y=2",
            "rtsp://h?x",
            "/a/?x",
        ];
        for uri in uris {
            let asked = target(uri);
            let base = asked.content_base();
            assert!(!base.contains('?') && base.ends_with('/'), "{base}");
            let got = target(&format!("{base}trackID=3"));
            assert_eq!((&got.host, got.port, &got.path), (&asked.host, asked.port, &asked.path), "{base}");
            assert_eq!((got.parameters, got.track), (asked.parameters, Some(3)), "{base}");
            assert_eq!(target(&base).content_base(), base);
            assert!(target(&base).is_same_presentation(&target(uri)), "{base}");
        }
        assert!(!target("/a?x=1").is_same_presentation(&target("/a?x=2")));
        assert_eq!(target("rtsp://u:p@h:1/a.mp4?x=1/trackID=0").content_base(), "rtsp://h:1/a.mp4&x=1/");
        assert_eq!(target("rtsp://h").content_base(), "rtsp://h/");
        assert_eq!(target("rtsp://[fe80::1%25eth0]/a").content_base(), "rtsp://[fe80::1%25eth0]/a/");
        assert_eq!(target("rtsp://h?x=1").content_base(), "rtsp://h/&x=1/");
    }

    #[test]
    fn a_name_with_separators_keeps_them_through_the_base() {
        let asked = target("rtsp://h/R&B?#1.mp4&w=1");
        let name = asked.readings().nth(1).unwrap().0;
        assert_eq!(name, "/R&B?#1.mp4");
        let base = asked.content_base_of(name);
        assert_eq!(base, "rtsp://h/R%26B%3F%231.mp4&w=1/");
        let got = target(&format!("{base}trackID=0"));
        assert_eq!(percent_decode(&got.path), Ok("/R&B?#1.mp4".into()));
        assert_eq!(got.parameters, pairs(&[("w", "1")]));
    }

    #[test]
    fn decoding_refuses_what_is_no_name() {
        assert_eq!(percent_decode("/a%20b%C3%BC+"), Ok("/a b\u{fc}+".into()));
        assert_eq!(percent_decode("/100%"), Ok("/100%".into()));
        assert_eq!(percent_decode("/%00"), Err(UriError::Encoding));
        assert_eq!(percent_decode("/%ff"), Err(UriError::Encoding));
    }
}
