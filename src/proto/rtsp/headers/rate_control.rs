//! `Rate-Control` and `Immediate`, which are yes or no (ONVIF streaming specification sections 6.5.2 and 6.10).

use thiserror::Error;

use crate::rtsp::message::Headers;

/// The value is neither yes nor no: refuse with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it is yes or no")]
pub struct NeitherYesNorNo;

/// What a header that is yes or no says; None when it is not there.
pub fn is_yes(headers: &Headers, name: &str) -> Result<Option<bool>, NeitherYesNorNo> {
    match headers.get(name).map(str::trim) {
        None => Ok(None),
        Some(value) if value.eq_ignore_ascii_case("yes") => Ok(Some(true)),
        Some(value) if value.eq_ignore_ascii_case("no") => Ok(Some(false)),
        Some(_) => Err(NeitherYesNorNo),
    }
}

/// The word for a value.
pub fn yes_or_no(is_yes: bool) -> &'static str {
    if is_yes { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(value: &str) -> Result<Option<bool>, NeitherYesNorNo> {
        let mut headers = Headers::new();
        headers.push("Rate-Control", value);
        is_yes(&headers, "rate-control")
    }

    #[test]
    fn it_is_yes_or_no_or_absent() {
        assert_eq!(
            (read(" Yes "), read("no"), read("0")),
            (Ok(Some(true)), Ok(Some(false)), Err(NeitherYesNorNo))
        );
        assert_eq!(is_yes(&Headers::new(), "Immediate"), Ok(None));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value: bool) {
            prop_assert_eq!(read(yes_or_no(value)), Ok(Some(value)));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "[^\\r\\n]*") {
            let _ = read(&text);
        }
    }
}
