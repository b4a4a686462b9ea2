//! `CSeq` (RFC 2326 section 12.17).

use crate::rtsp::message::Headers;

/// The number as the peer wrote it, to be repeated in the response; None when it is missing, given twice or no
/// number: the request is then refused with 400.
pub fn cseq(headers: &Headers) -> Option<&str> {
    let mut values = headers.get_all("CSeq");
    let value = values.next()?;
    let number = (1..=20).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    (number && values.next().is_none()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_number_is_a_cseq() {
        let read = |values: &[&str]| {
            let mut headers = Headers::new();
            values.iter().for_each(|value| headers.push("cseq", *value));
            cseq(&headers).map(str::to_owned)
        };
        assert_eq!(read(&["007"]).as_deref(), Some("007"));
        for wrong in [&[][..], &[""], &["-1"], &["1a"], &["1 2"], &["1", "1"], &["123456789012345678901"]] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
