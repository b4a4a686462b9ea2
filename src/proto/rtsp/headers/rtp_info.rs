//! `RTP-Info` (RFC 2326 section 12.33).

use std::fmt;

/// What a PLAY response says of one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpInfo {
    /// The track's URL. Players compare it as text with the one they sent in SETUP: repeat that one.
    pub url: String,
    /// Sequence number of the next packet; None before the first packet is known.
    pub seq: Option<u16>,
    /// RTP timestamp that belongs to the start of the response's `Range`; None when unknown.
    pub rtptime: Option<u32>,
}

impl RtpInfo {
    /// Reads the header's value; entries without a URL and parameters that cannot be read are left out.
    pub fn parse_list(value: &str) -> Vec<RtpInfo> {
        entries(value).filter_map(RtpInfo::parse).collect()
    }

    /// The header's value for several tracks.
    pub fn write_list(list: &[RtpInfo]) -> String {
        let entries: Vec<String> = list.iter().map(RtpInfo::to_string).collect();
        entries.join(",")
    }

    fn parse(entry: &str) -> Option<RtpInfo> {
        let (mut url, mut seq, mut rtptime) = (None, None, None);
        for parameter in entry.split(';') {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            let (name, value) = (name.trim(), super::unquote(value));
            if name.eq_ignore_ascii_case("url") {
                url = Some(value.to_owned()).filter(|url| !url.is_empty());
            } else if name.eq_ignore_ascii_case("seq") {
                seq = value.parse().ok();
            } else if name.eq_ignore_ascii_case("rtptime") {
                rtptime = value.parse().ok();
            }
        }
        Some(RtpInfo { url: url?, seq, rtptime })
    }
}

/// A comma ends an entry where the next one begins with `url=`: some servers leave commas in URLs.
fn entries(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.match_indices(',').map(|(at, _)| at).find(|at| {
            text[at + 1..].trim_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case("url="))
        });
        rest = end.map(|end| &text[end + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

/// One entry. A comma, semicolon or space in the URL is percent-encoded, since FFmpeg ends the URL there, and a quote,
/// which readers strip.
impl fmt::Display for RtpInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("url=")?;
        for piece in self.url.split_inclusive(ENCODED) {
            let text = piece.trim_end_matches(ENCODED);
            f.write_str(text)?;
            for byte in piece[text.len()..].bytes() {
                write!(f, "%{byte:02X}")?;
            }
        }
        if let Some(seq) = self.seq {
            write!(f, ";seq={seq}")?;
        }
        if let Some(rtptime) = self.rtptime {
            write!(f, ";rtptime={rtptime}")?;
        }
        Ok(())
    }
}

/// What never stands in a URL as it is.
const ENCODED: [char; 4] = [',', ';', ' ', '"'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_written_and_read() {
        let list = [
            RtpInfo {
                url: "rtsp://h/a/?x=1/trackID=0".into(),
                seq: Some(65_535),
                rtptime: Some(4_294_967_295),
            },
            RtpInfo { url: "rtsp://h/a/trackID=1".into(), seq: None, rtptime: Some(0) },
        ];
        let text = RtpInfo::write_list(&list);
        assert_eq!(
            text,
            "url=rtsp://h/a/?x=1/trackID=0;seq=65535;rtptime=4294967295,url=rtsp://h/a/trackID=1;rtptime=0"
        );
        assert_eq!(RtpInfo::parse_list(&text), list);
    }

    #[test]
    fn a_comma_in_a_url_is_no_end() {
        let got =
            RtpInfo::parse_list("url=rtsp://h/a,b;seq=1 , URL=\"rtsp://h/c\" ; seq=70000;rtptime=x,,url=");
        let entry = |url: &str, seq| RtpInfo { url: url.into(), seq, rtptime: None };
        assert_eq!(got, [entry("rtsp://h/a,b", Some(1)), entry("rtsp://h/c", None)]);
        assert_eq!(entry("/a, b;", None).to_string(), "url=/a%2C%20b%3B");
    }

    #[test]
    fn a_url_of_quotes_is_not_lost() {
        let got = RtpInfo::parse_list("url=\"\"\"\";seq=1");
        assert_eq!(got.len(), 1);
        assert_eq!(RtpInfo::parse_list(&RtpInfo::write_list(&got)).len(), 1, "{got:?}");
    }
}
