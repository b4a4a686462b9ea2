//! The first stage: XML as typed, a tree of elements that know where they stand.

use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::origin::Place;
use super::problem::Problem;

/// One element with its text and its children.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// Name of the tag.
    pub name: String,
    /// Where its `<` is.
    pub place: Place,
    /// Its text without white space around it; that between children too.
    pub text: String,
    /// Where the text begins; the tag's place when there is none.
    pub text_place: Place,
    /// Names and values of its attributes.
    pub attributes: Vec<(String, String)>,
    /// Elements inside.
    pub children: Vec<Element>,
}

/// Reads a file, but no more of it than shows that it is too large.
pub(super) fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(SIZE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a configuration file's bytes; `file` is its name in messages.
///
/// Errors: too large, not UTF-8, another declared encoding, not well-formed, nested too deeply, an entity that XML
/// itself does not define (nothing outside the file is ever read).
pub fn parse(bytes: &[u8], file: &Path) -> Result<Element, Problem> {
    let file: Arc<Path> = Arc::from(file);
    let text = decode(bytes, &file)?;
    Builder { text, file, seen: Cell::default(), open: Vec::new(), root: None }.run()
}

/// What is open while the tree grows.
struct Builder<'a> {
    text: &'a str,
    file: Arc<Path>,
    /// The last place that was asked for: the next one is behind it, and is not looked for from the beginning.
    seen: Cell<Spot>,
    open: Vec<Element>,
    root: Option<Element>,
}

impl Builder<'_> {
    fn run(mut self) -> Result<Element, Problem> {
        let mut reader = Reader::from_str(self.text);
        // Happytime files carry URLs with a bare `&`.
        reader.config_mut().allow_dangling_amp = true;
        loop {
            let start = offset(reader.buffer_position());
            match reader.read_event() {
                Ok(Event::Eof) => return self.finish(start),
                Ok(event) => self.take(event, start)?,
                Err(error) => {
                    let place = self.place(offset(reader.error_position()));
                    return Err(Problem::in_file(place, format!("not well-formed XML: {error}")));
                }
            }
        }
    }

    fn take(&mut self, event: Event<'_>, start: usize) -> Result<(), Problem> {
        match event {
            Event::Start(tag) => self.start(&tag, start),
            Event::Empty(tag) => {
                self.start(&tag, start)?;
                self.end();
                Ok(())
            }
            Event::End(_) => {
                self.end();
                Ok(())
            }
            Event::Text(text) => self.append(&text.xml10_content(), start),
            Event::CData(data) => self.append(&data.xml10_content(), start),
            Event::GeneralRef(reference) => self.reference(&reference, start),
            Event::Decl(declaration) => self.declaration(&declaration, start),
            Event::Comment(_) | Event::PI(_) | Event::DocType(_) | Event::Eof => Ok(()),
        }
    }

    fn start(&mut self, tag: &BytesStart<'_>, start: usize) -> Result<(), Problem> {
        let place = self.place(start);
        if self.open.is_empty() && self.root.is_some() {
            return Err(Problem::in_file(place, "a second root element; allowed: one <config>"));
        }
        if self.open.len() >= DEPTH_MAX {
            let text = format!("elements are nested too deeply; allowed: {DEPTH_MAX} levels");
            return Err(Problem::in_file(place, text));
        }
        let mut attributes = Vec::new();
        for attribute in tag.attributes() {
            match attribute {
                Ok(attribute) => {
                    // A bare `&` stands for itself, as it does in text.
                    let value = attribute.normalized_value(XmlVersion::Implicit1_0);
                    let value = value.as_deref().unwrap_or(&attribute.value).trim().to_string();
                    attributes.push((attribute.key.as_ref().to_string(), value));
                }
                Err(error) => return Err(Problem::in_file(place, format!("not well-formed XML: {error}"))),
            }
        }
        self.open.push(Element {
            name: tag.name().as_ref().to_string(),
            text: String::new(),
            text_place: place.clone(),
            place,
            attributes,
            children: Vec::new(),
        });
        Ok(())
    }

    fn end(&mut self) {
        // The reader has checked that tags match, so that there is always one open.
        let Some(mut element) = self.open.pop() else { return };
        element.text.truncate(element.text.trim_end().len());
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
    }

    fn append(&mut self, text: &str, start: usize) -> Result<(), Problem> {
        let blank = text.len() - text.trim_start().len();
        let place = self.place(start + blank);
        let is_blank = blank == text.len();
        let Some(element) = self.open.last_mut() else {
            if is_blank {
                return Ok(());
            }
            return Err(Problem::in_file(place, "text outside of the root element <config>"));
        };
        if element.text.is_empty() {
            if !is_blank {
                element.text_place = place;
                element.text.push_str(text.trim_start());
            }
        } else {
            element.text.push_str(text);
        }
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>, start: usize) -> Result<(), Problem> {
        let name = reference.xml10_content();
        let character = match reference.resolve_char_ref() {
            Ok(Some(character)) => Some(character.to_string()),
            Ok(None) => quick_xml::escape::resolve_xml_entity(&name).map(str::to_string),
            Err(_) => None,
        };
        match character {
            Some(text) => self.append(&text, start),
            None => {
                let text =
                    format!("unknown entity \"&{name};\"; allowed: &amp; &lt; &gt; &quot; &apos; &#N; &#xN;");
                Err(Problem::in_file(self.place(start), text))
            }
        }
    }

    fn declaration(&self, declaration: &BytesDecl<'_>, start: usize) -> Result<(), Problem> {
        let Some(Ok(encoding)) = declaration.encoding() else { return Ok(()) };
        let known = ["utf-8", "utf8", "us-ascii", "ascii"];
        if known.iter().any(|name| encoding.eq_ignore_ascii_case(name)) {
            return Ok(());
        }
        let text = format!("encoding \"{encoding}\" is not supported; allowed: utf-8");
        Err(Problem::in_file(self.place(start), text))
    }

    fn finish(mut self, end: usize) -> Result<Element, Problem> {
        if let Some(element) = self.open.pop() {
            let text = format!("not well-formed XML: <{}> is never closed", element.name);
            return Err(Problem::in_file(element.place, text));
        }
        let place = self.place(end);
        self.root.ok_or_else(|| Problem::in_file(place, "no root element; allowed: <config>"))
    }

    fn place(&self, offset: usize) -> Place {
        let spot = self.seen.get().at(self.text.as_bytes(), offset);
        self.seen.set(spot);
        spot.place(&self.file)
    }
}

/// The file as text without its byte order mark.
fn decode<'a>(bytes: &'a [u8], file: &Arc<Path>) -> Result<&'a str, Problem> {
    let first = || Place { file: file.clone(), line: 1, column: 1 };
    if bytes.len() > SIZE_MAX {
        let text = format!("the file is too large; allowed: {SIZE_MAX} bytes");
        return Err(Problem::in_file(first(), text));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Problem::in_file(first(), "the file is UTF-16; allowed: utf-8"));
    }
    let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let spot = Spot::default().at(bytes, error.valid_up_to());
        Problem::in_file(spot.place(file), "not valid UTF-8; allowed: utf-8")
    })
}

/// A byte with its line and column.
#[derive(Clone, Copy)]
struct Spot {
    offset: usize,
    line: u32,
    column: u32,
}

impl Default for Spot {
    fn default() -> Spot {
        Spot { offset: 0, line: 1, column: 1 }
    }
}

impl Spot {
    /// The spot of the byte at `offset`.
    fn at(self, bytes: &[u8], offset: usize) -> Spot {
        let offset = offset.min(bytes.len());
        let Spot { offset: from, mut line, mut column } =
            if offset < self.offset { Spot::default() } else { self };
        for &byte in &bytes[from..offset] {
            if byte == b'\n' {
                line += 1;
                column = 1;
            } else if byte & 0xc0 != 0x80 {
                // The first byte of a character, in UTF-8.
                column += 1;
            }
        }
        Spot { offset, line, column }
    }

    fn place(self, file: &Arc<Path>) -> Place {
        Place { file: file.clone(), line: self.line, column: self.column }
    }
}

/// An offset of the reader, which fits since the file is bounded.
fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// Largest file that is read, in bytes; a larger one is refused.
const SIZE_MAX: usize = 1 << 20;
/// Deepest nesting; the schema needs five levels.
const DEPTH_MAX: usize = 16;
