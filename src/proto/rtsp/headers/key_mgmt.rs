//! `KeyMgmt` (RFC 4567 section 3.2): the keys of a track, told in SETUP; and its like in descriptions, `a=key-mgmt`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{split_unquoted, unquote};

/// The longest message of MIKEY that is looked at, in base64.
const DATA_LETTERS_MAX: usize = 8 * 1024;

/// The keys of one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMgmt {
    /// What they are for: the URL of a track.
    pub uri: String,
    /// A message of MIKEY.
    pub mikey: Vec<u8>,
}

impl KeyMgmt {
    /// The first message of MIKEY in a header; other protocols are left out.
    pub fn parse(value: &str) -> Option<KeyMgmt> {
        split_unquoted(value, ',').find_map(|entry| {
            let (mut is_mikey, mut uri, mut data) = (false, "", None);
            for parameter in split_unquoted(entry, ';') {
                let (name, value) = parameter.split_once('=')?;
                let value = unquote(value.trim());
                match name.trim().to_ascii_lowercase().as_str() {
                    "prot" => is_mikey = value.eq_ignore_ascii_case("mikey"),
                    "uri" => uri = value,
                    "data" => data = Some(value),
                    _ => {}
                }
            }
            let mikey = decode(data.filter(|_| is_mikey)?)?;
            Some(KeyMgmt { uri: uri.to_owned(), mikey })
        })
    }

    /// The message of MIKEY in the value of an attribute `key-mgmt` of a description.
    pub fn parse_attribute(value: &str) -> Option<Vec<u8>> {
        let (protocol, data) = value.trim().split_once(' ')?;
        if protocol.eq_ignore_ascii_case("mikey") { decode(data.trim()) } else { None }
    }

    /// The message of MIKEY in the value of a parameter `mikey` (ONVIF streaming specification, key management).
    pub fn parse_parameter(value: &str) -> Option<Vec<u8>> {
        decode(value.trim())
    }

    /// The value of a parameter `mikey`.
    pub fn parameter(mikey: &[u8]) -> String {
        STANDARD.encode(mikey)
    }

    /// The value of an attribute of a description.
    pub fn attribute(mikey: &[u8]) -> String {
        format!("mikey {}", STANDARD.encode(mikey))
    }
}

impl fmt::Display for KeyMgmt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "prot=mikey;uri=\"{}\";data=\"{}\"", self.uri, STANDARD.encode(&self.mikey))
    }
}

fn decode(data: &str) -> Option<Vec<u8>> {
    if data.len() > DATA_LETTERS_MAX {
        return None;
    }
    STANDARD.decode(data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_players_write_is_read() {
        let read = |value| KeyMgmt::parse(value).map(|read| (read.uri, read.mikey));
        let expected = Some(("rtsp://h/a;b,c/trackID=0".to_owned(), b"abc".to_vec()));
        assert_eq!(read("prot=mikey; uri=\"rtsp://h/a;b,c/trackID=0\"; data=\"YWJj\""), expected);
        assert_eq!(
            read("prot=other;data=\"eA==\",prot=MIKEY;uri=\"rtsp://h/a;b,c/trackID=0\";data=YWJj"),
            expected
        );
        assert_eq!(read("prot=mikey;uri=\"x\""), None);
        assert_eq!(read("prot=mikey;data=\"???\""), None);
        assert_eq!(KeyMgmt::parse_attribute("mikey YWJj"), Some(b"abc".to_vec()));
        assert_eq!(KeyMgmt::parse_attribute("other YWJj"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(uri in "[a-z:/;,=]{0,20}", mikey in proptest::collection::vec(any::<u8>(), 1..200)) {
            let written = KeyMgmt { uri, mikey };
            let attribute = KeyMgmt::attribute(&written.mikey);
            prop_assert_eq!(KeyMgmt::parse_attribute(&attribute), Some(written.mikey.clone()));
            let parameter = KeyMgmt::parameter(&written.mikey);
            prop_assert_eq!(KeyMgmt::parse_parameter(&parameter), Some(written.mikey.clone()));
            prop_assert_eq!(KeyMgmt::parse(&written.to_string()), Some(written));
        }

        #[test]
        fn any_text_is_read_without_panic(text: String) {
            let _ = (KeyMgmt::parse(&text), KeyMgmt::parse_attribute(&text), KeyMgmt::parse_parameter(&text));
        }
    }
}
