//! `Session` (RFC 2326 section 12.37).

use std::fmt;
use std::time::Duration;

/// A session's identifier and, in responses, after how long without a sign of life it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Opaque to the client.
    pub id: String,
    /// In whole seconds; None when not given: 60 s.
    pub timeout: Option<Duration>,
}

impl Session {
    /// Reads the header's value. Clients repeat our `;timeout=` in requests and add blanks and parameters of their
    /// own: all behind the identifier but a timeout that can be read is ignored. None without an identifier of visible
    /// ASCII characters.
    pub fn parse(value: &str) -> Option<Session> {
        let value = value.trim();
        let (id, rest) = value.split_at(value.find([';', ',', ' ', '\t']).unwrap_or(value.len()));
        if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let timeout = rest.split([';', ',']).find_map(|parameter| {
            let (name, seconds) = parameter.split_once('=')?;
            let seconds = seconds.trim().trim_matches('"');
            let end = seconds.find(|c: char| !c.is_ascii_digit()).unwrap_or(seconds.len());
            name.trim().eq_ignore_ascii_case("timeout").then_some(&seconds[..end])?.parse::<u32>().ok()
        });
        let timeout = timeout.map(|seconds| Duration::from_secs(u64::from(seconds)));
        Some(Session { id: id.to_owned(), timeout })
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        match self.timeout {
            Some(timeout) => write!(f, ";timeout={}", timeout.as_secs()),
            None => Ok(()),
        }
    }
}

/// Longer than any server's; a longer one names no session of ours.
const ID_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identifier_is_found_whatever_follows() {
        let read =
            |value| Session::parse(value).map(|session| (session.id, session.timeout.map(|t| t.as_secs())));
        let id = |timeout| Some(("AbC-12$".to_owned(), timeout));
        assert_eq!(read("AbC-12$"), id(None));
        assert_eq!(read(" AbC-12$ ;timeout=60"), id(Some(60)));
        assert_eq!(read("AbC-12$;TimeOut = 30s"), id(Some(30)));
        assert_eq!(read("AbC-12$;x=y; timeout=\"20\";"), id(Some(20)));
        assert_eq!(read("AbC-12$;timeout=;"), id(None));
        assert_eq!(read("AbC-12$, other"), id(None));
        assert_eq!(read(""), None);
        assert_eq!(read(";timeout=60"), None);
        assert_eq!(read("a\nb"), None);
        assert_eq!(read("\u{e4}"), None);
    }

    #[test]
    fn what_is_written_is_read() {
        let session = Session { id: "1234".into(), timeout: Some(Duration::from_secs(60)) };
        assert_eq!(session.to_string(), "1234;timeout=60");
        assert_eq!(Session::parse(&session.to_string()), Some(session));
    }
}
