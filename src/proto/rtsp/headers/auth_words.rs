//! The words of `WWW-Authenticate` and `Authorization`: schemes and parameters (RFC 7235 section 2.1).
//!
//! Cameras forget commas, leave blanks around `=`, open quotes that they do not close and quote what needs none: all
//! of it is read. What cannot be a word is skipped.

use std::fmt;

/// One word of a list of challenges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word<'a> {
    /// Begins a challenge.
    Scheme(&'a str),
    /// Belongs to the challenge before it. The name as it stands, the value without quotes.
    Parameter(&'a str, String),
}

/// The words of a header's value, in order.
pub(super) struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    pub(super) fn new(value: &'a str) -> Words<'a> {
        Words(value)
    }

    /// Reads the value of a parameter behind its `=`.
    fn value(&mut self) -> String {
        let text = self.0.trim_start();
        let Some(quoted) = text.strip_prefix('"') else {
            let (value, rest) = text.split_at(text.find(',').unwrap_or(text.len()));
            self.0 = rest;
            return value.trim().to_owned();
        };
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &quoted[at + 1..];
                    return value;
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        // The quote is never closed: it reaches to the end.
        self.0 = "";
        value
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let text = self.0.trim_start_matches(|c: char| c.is_whitespace() || ",;=\"".contains(c));
        let end = text.find(|c: char| c.is_whitespace() || ",;=\"".contains(c)).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        if word.is_empty() {
            return None;
        }
        match rest.trim_start().strip_prefix('=') {
            Some(rest) => {
                self.0 = rest;
                Some(Word::Parameter(word, self.value()))
            }
            None => {
                self.0 = rest;
                Some(Word::Scheme(word))
            }
        }
    }
}

/// A quoted string; what would end it is escaped.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for piece in self.0.split_inclusive(['"', '\\']) {
            let plain = piece.trim_end_matches(['"', '\\']);
            f.write_str(plain)?;
            if plain.len() < piece.len() {
                write!(f, "\\{}", &piece[plain.len()..])?;
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(value: &str) -> Vec<(String, Option<String>)> {
        let split = |word| match word {
            Word::Scheme(name) => (String::from(name), None),
            Word::Parameter(name, value) => (name.to_owned(), Some(value)),
        };
        Words::new(value).map(split).collect()
    }

    fn parameter(name: &str, value: &str) -> (String, Option<String>) {
        (name.to_owned(), Some(value.to_owned()))
    }

    #[test]
    fn odd_spacing_and_quoting_are_read() {
        let expected = [("Digest".to_owned(), None), parameter("realm", "a, b"), parameter("nonce", "c")];
        for value in [
            r#"Digest realm="a, b", nonce="c""#,
            r#"  Digest   realm = "a, b" ,nonce=c  "#,
            r#"Digest,realm="a, b"nonce="c",,"#,
            r#"Digest realm="a, b"; nonce="c"#,
        ] {
            assert_eq!(words(value), expected, "{value}");
        }
        assert_eq!(
            words(r#"Basic realm=IP Camera, x="\"\\""#)[1..],
            [parameter("realm", "IP Camera"), parameter("x", "\"\\")]
        );
        assert_eq!(words(" ,= \""), []);
    }

    proptest! {
        #[test]
        fn any_text_ends_and_what_is_quoted_is_read(text in ".{0,40}", value in ".{0,20}") {
            prop_assert!(words(&text).len() <= text.len());
            prop_assert_eq!(words(&format!("a={}", Quoted(&value))), [parameter("a", &value)]);
        }
    }
}
