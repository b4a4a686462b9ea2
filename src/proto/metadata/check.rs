//! Is that a document of metadata? Others write it, and every viewer's parser gets it as it is.
//!
//! Checked is what XML 1.0 and its namespaces ask of a document without a DTD. A DTD is refused: with entities of its own
//! a small document becomes a large one where it is read.

use quick_xml::NsReader;
use quick_xml::errors::Error;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::name::{Namespace, NamespaceResolver, ResolveResult};
use thiserror::Error;

use super::{DOCUMENT_BYTES_MAX, SCHEMA};

/// What the root element is called.
const ROOT: &str = "MetadataStream";

/// How deeply elements may be nested.
const DEPTH_MAX: usize = 128;

/// Why a document is not passed on. Positions are bytes from its start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckError {
    /// It is larger than [`DOCUMENT_BYTES_MAX`].
    #[error("it is larger than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge,
    /// It is not in the only encoding that is taken.
    #[error("it is not UTF-8, at byte {0}")]
    NotUtf8(usize),
    /// It is no XML.
    #[error("it is not well-formed, at byte {at}: {what}")]
    IllFormed {
        /// Where.
        at: u64,
        /// What is wrong there.
        what: String,
    },
    /// It is another kind of document.
    #[error("its root element is not MetadataStream of {SCHEMA}")]
    OtherRoot,
}

/// Whether these bytes are a document that may be passed on.
pub fn check(bytes: &[u8]) -> Result<(), CheckError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(CheckError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| CheckError::NotUtf8(error.valid_up_to()))?;
    if let Some((at, letter)) = text.char_indices().find(|(_, letter)| !is_character(*letter)) {
        let what = format!("{letter:?} is not a character of XML");
        return Err(CheckError::IllFormed { at: at as u64, what });
    }
    Walk { depth: 0, has_root: false }.run(text)
}

/// Whether XML 1.0 has this character (section 2.2).
pub(super) fn is_character(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

struct Walk {
    depth: usize,
    has_root: bool,
}

/// What is wrong, or that the root is another.
enum Wrong {
    What(String),
    Root,
}

impl<E: std::error::Error> From<E> for Wrong {
    fn from(error: E) -> Wrong {
        Wrong::What(error.to_string())
    }
}

impl Walk {
    fn run(mut self, text: &str) -> Result<(), CheckError> {
        let mut reader = NsReader::from_str(text);
        reader.config_mut().check_comments = true;
        let mut is_first = true;
        loop {
            let at = reader.buffer_position();
            let event = reader.read_event().map_err(|error: Error| CheckError::IllFormed {
                at: reader.error_position(),
                what: error.to_string(),
            })?;
            if matches!(event, Event::Eof) {
                return self.finish(at);
            }
            self.take(&event, is_first, reader.resolver()).map_err(|wrong| match wrong {
                Wrong::What(what) => CheckError::IllFormed { at, what },
                Wrong::Root => CheckError::OtherRoot,
            })?;
            is_first = false;
        }
    }

    fn take(&mut self, event: &Event<'_>, is_first: bool, resolver: &NamespaceResolver) -> Result<(), Wrong> {
        let wrong = |what: &str| Err(Wrong::What(what.to_owned()));
        match event {
            Event::Start(tag) => {
                self.start(tag, resolver)?;
                self.depth += 1;
            }
            Event::Empty(tag) => self.start(tag, resolver)?,
            // The reader has checked that tags match.
            Event::End(_) => self.depth = self.depth.saturating_sub(1),
            Event::Text(text) if text.contains("]]>") => return wrong("]]> in text"),
            Event::Text(text) if self.depth == 0 && !is_blank(text) => {
                return wrong("text outside of the root element");
            }
            Event::CData(_) | Event::GeneralRef(_) if self.depth == 0 => {
                return wrong("text outside of the root element");
            }
            Event::GeneralRef(reference) => check_reference(reference)?,
            Event::Decl(declaration) if is_first => check_declaration(declaration)?,
            Event::Decl(_) => return wrong("<?xml is not at the start"),
            Event::DocType(_) => return wrong("a DTD, which is not taken"),
            Event::PI(instruction) if !is_name(instruction.target()) => return wrong("<? without a name"),
            Event::PI(instruction) if instruction.target().eq_ignore_ascii_case("xml") => {
                return wrong("<?xml is not at the start");
            }
            Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::PI(_) | Event::Eof => {}
        }
        Ok(())
    }

    fn start(&mut self, tag: &BytesStart<'_>, resolver: &NamespaceResolver) -> Result<(), Wrong> {
        let wrong = |what: String| Err(Wrong::What(what));
        let name = tag.name();
        if !is_qualified_name(name.as_ref()) {
            return wrong(format!("\"{}\" is no name of an element", name.as_ref()));
        }
        if self.depth >= DEPTH_MAX {
            return wrong(format!("elements are nested more than {DEPTH_MAX} deep"));
        }
        check_attributes(tag, resolver)?;
        let (namespace, local) = resolver.resolve_element(name);
        if let ResolveResult::Unknown(prefix) = namespace {
            return wrong(format!("nothing says what the prefix \"{prefix}\" means"));
        }
        if self.depth == 0 {
            if self.has_root {
                return wrong("a second root element".to_owned());
            }
            self.has_root = true;
            if namespace != ResolveResult::Bound(Namespace(SCHEMA)) || local.as_ref() != ROOT {
                return Err(Wrong::Root);
            }
        }
        Ok(())
    }

    fn finish(self, at: u64) -> Result<(), CheckError> {
        let what = match (self.has_root, self.depth) {
            (false, _) => "there is no element",
            (true, 0) => return Ok(()),
            (true, _) => "an element is never closed",
        };
        Err(CheckError::IllFormed { at, what: what.to_owned() })
    }
}

fn check_attributes(tag: &BytesStart<'_>, resolver: &NamespaceResolver) -> Result<(), Wrong> {
    let wrong = |what: String| Err(Wrong::What(what));
    for attribute in tag.attributes() {
        let attribute = attribute?;
        let (name, value) = (attribute.key.as_ref(), attribute.value.as_ref());
        if !is_qualified_name(name) {
            return wrong(format!("\"{name}\" is no name of an attribute"));
        }
        if value.contains('<') {
            return wrong(format!("< in the value of \"{name}\""));
        }
        for reference in value.split('&').skip(1) {
            match reference.split_once(';') {
                Some((reference, _)) => check_reference(&BytesRef::new(reference))?,
                None => return wrong(format!("& alone in the value of \"{name}\"")),
            }
        }
        if let ResolveResult::Unknown(prefix) = resolver.resolve_attribute(attribute.key).0 {
            return wrong(format!("nothing says what the prefix \"{prefix}\" means"));
        }
    }
    Ok(())
}

fn check_reference(reference: &BytesRef<'_>) -> Result<(), Wrong> {
    let is_known = match reference.resolve_char_ref()? {
        Some(letter) => is_character(letter),
        None => resolve_xml_entity(reference).is_some(),
    };
    if is_known { Ok(()) } else { Err(Wrong::What(format!("&{};", reference.as_ref()))) }
}

fn check_declaration(declaration: &BytesDecl<'_>) -> Result<(), Wrong> {
    let version = declaration.version()?;
    if version != "1.0" {
        return Err(Wrong::What(format!("version {version}; taken is 1.0")));
    }
    match declaration.encoding().transpose()? {
        Some(encoding) if !["utf-8", "us-ascii"].iter().any(|known| encoding.eq_ignore_ascii_case(known)) => {
            Err(Wrong::What(format!("encoding {encoding}; taken is UTF-8")))
        }
        _ => Ok(()),
    }
}

/// White space of XML, or the mark that a file in UTF-8 may begin with.
fn is_blank(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// A name with or without a prefix (Namespaces in XML 1.0 section 4).
fn is_qualified_name(name: &str) -> bool {
    let (prefix, local) = name.split_once(':').map_or((None, name), |(prefix, local)| (Some(prefix), local));
    prefix.is_none_or(is_name) && is_name(local)
}

/// A name without a colon. Of letters beyond ASCII all are taken.
fn is_name(name: &str) -> bool {
    let begins = |letter: char| letter.is_ascii_alphabetic() || letter == '_' || !letter.is_ascii();
    name.starts_with(begins)
        && name.chars().all(|letter| begins(letter) || letter.is_ascii_digit() || matches!(letter, '-' | '.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn root(inside: &str) -> String {
        format!("<tt:MetadataStream xmlns:tt=\"{SCHEMA}\">{inside}</tt:MetadataStream>")
    }

    #[test]
    fn documents_as_cameras_write_them_are_taken() {
        for document in [
            root(""),
            format!("<MetadataStream xmlns='{SCHEMA}'/>"),
            format!("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<!-- a --><?a b?>{}\n", root("")),
            root(
                "<tt:VideoAnalytics><tt:Frame UtcTime=\"2026-01-01T00:00:00Z\" x='a &lt; &#66;'/></tt:VideoAnalytics>",
            ),
            root("a &amp; b &#x42; <![CDATA[ < & ]]> \u{fc}"),
            root("<a xmlns=\"urn:a\" xmlns:b=\"urn:b\" b:c=\"d\"><b:\u{fc}-1.x/></a>"),
        ] {
            assert_eq!(check(document.as_bytes()), Ok(()), "{document}");
        }
    }

    #[test]
    fn what_is_no_xml_is_refused() {
        let schema = format!("xmlns:tt=\"{SCHEMA}\"");
        for document in [
            String::new(),
            "  ".into(),
            "text".into(),
            format!("<tt:MetadataStream {schema}>"),
            format!("<tt:MetadataStream {schema}></tt:Other>"),
            "<tt:MetadataStream/>".into(),
            root("") + &root(""),
            root("") + "text",
            root("") + "&amp;",
            format!("text{}", root("")),
            format!(" <?xml version=\"1.0\"?>{}", root("")),
            format!("<?xml version=\"1.1\"?>{}", root("")),
            format!("<?xml version=\"1.0\" encoding=\"latin1\"?>{}", root("")),
            format!("<!DOCTYPE a [<!ENTITY b \"c\">]>{}", root("")),
            root("&b;"),
            root("&"),
            root("&#0;"),
            root("&#8;"),
            root("]]>"),
            root("<a b=\"c\" b=\"d\"/>"),
            root("<a b=c/>"),
            root("<a b/>"),
            root("<a b=\"<\"/>"),
            root("<a b=\"&c;\"/>"),
            root("<a b=\"&\"/>"),
            root("<a x:b=\"c\"/>"),
            root("<x:a/>"),
            root("<1/>"),
            root("<a:b:c/>"),
            root("<!-- a -- b -->"),
            root("<? a?>"),
            root("\u{1}"),
            root("\u{ffff}"),
            root(&("<a>".repeat(DEPTH_MAX + 1) + &"</a>".repeat(DEPTH_MAX + 1))),
        ] {
            let refused = check(document.as_bytes());
            assert!(matches!(refused, Err(CheckError::IllFormed { .. })), "{document}: {refused:?}");
        }
        assert_eq!(check(b"<a>\xff</a>"), Err(CheckError::NotUtf8(3)));
        assert_eq!(check(&vec![b' '; DOCUMENT_BYTES_MAX + 1]), Err(CheckError::TooLarge));
    }

    #[test]
    fn another_document_is_refused() {
        for document in ["<a/>", "<MetadataStream/>", "<a:MetadataStream xmlns:a=\"urn:a\"/>"] {
            assert_eq!(check(document.as_bytes()), Err(CheckError::OtherRoot), "{document}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = check(&bytes);
        }

        #[test]
        fn any_markup_is_looked_at_without_a_panic(text in "[<>/!?&;:='\" a#xm\\[\\]-]{0,60}") {
            let _ = check(root(&text).as_bytes());
            let _ = check(text.as_bytes());
        }
    }
}
