//! `<proxy>`s that the file does not have: asked for while the program runs, checked as those of the file are, and written
//! down in a file of their own, in the same words.

use std::fmt::{self, Write as _};
use std::path::Path;

use quick_xml::escape::escape;

use super::checked::built_in;
use super::elements;
use super::node::{Node, Report};
use super::origin::Place;
use super::problem::{ConfigError, Problem};
use super::settings::{Holder, Proxy};
use super::typed::{self, Element};

/// A proxy that is not of the configuration's file.
#[derive(Clone)]
pub struct Addition {
    /// What is pulled.
    pub proxy: Proxy,
    /// The node as it would be typed.
    element: Element,
}

/// What would be typed between two tags; it may hold a password.
#[derive(Clone)]
pub enum Typed {
    /// A value.
    Text(String),
    /// Other elements.
    Children(Vec<(&'static str, Typed)>),
}

impl Addition {
    /// Checks the elements of a node; with what was ignored or corrected. Subjects of errors are as `proxy/url`.
    pub fn check(
        children: Vec<(&'static str, Typed)>,
        is_kept: bool,
    ) -> Result<(Addition, Vec<Problem>), ConfigError> {
        let nowhere = Place { file: Path::new("").into(), line: 0, column: 0 };
        let mut problems = Vec::new();
        let typed = Typed::Children(children);
        say_what_cannot_be_typed(&typed, "proxy", &mut problems);
        let without_place =
            |problems: Vec<Problem>| problems.into_iter().map(|it| Problem { place: None, ..it }).collect();
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        match Addition::of(made("proxy", typed, &nowhere), is_kept) {
            Ok((addition, warnings)) => Ok((addition, without_place(warnings))),
            Err(error) => Err(ConfigError { problems: without_place(error.problems) }),
        }
    }

    /// Reads the file that such proxies are kept in.
    pub fn read(bytes: &[u8], file: &Path) -> Result<Vec<Addition>, ConfigError> {
        let root = typed::parse(bytes, file)?;
        let mut additions: Vec<Addition> = Vec::new();
        for element in root.children {
            if element.name != "proxy" {
                let text = format!("<{}> is not for this file; allowed: <proxy>", element.name);
                return Err(Problem::in_file(element.place, text).into());
            }
            let place = element.place.clone();
            let (addition, _) = Addition::of(element, true)?;
            if additions.iter().any(|other| other.proxy.suffix == addition.proxy.suffix) {
                let text = format!("\"{}\" is there twice; allowed: each suffix once", addition.proxy.suffix);
                return Err(Problem::at(&place, "proxy/suffix", text).into());
            }
            additions.push(addition);
        }
        Ok(additions)
    }

    /// The text of a file that such proxies are kept in.
    pub fn write<'a>(additions: impl Iterator<Item = &'a Addition>) -> String {
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<config>\n");
        for addition in additions {
            write(&addition.element, 1, &mut text);
        }
        text + "</config>\n"
    }

    /// What there is to say where its path is that of a stream of the program's own, which would come first.
    pub fn built_in(&self) -> Option<String> {
        built_in(&self.proxy.suffix)
    }

    fn of(element: Element, is_kept: bool) -> Result<(Addition, Vec<Problem>), ConfigError> {
        let mut report = Report::default();
        let node = Node::root(&element);
        let proxy = elements::proxy(&node, &mut report);
        let refuse = |name: &str, text: String| Problem::at(&element.place, format!("proxy/{name}"), text);
        match proxy {
            Some(proxy) if report.errors.is_empty() => {
                let proxy = Proxy { holder: Holder::Api { is_kept }, ..proxy };
                Ok((Addition { proxy, element }, report.warnings))
            }
            // In the file that switches it off.
            None if report.errors.is_empty() => {
                Err(refuse("url", "missing; the stream needs a source".to_owned()).into())
            }
            _ => Err(ConfigError { problems: report.errors }),
        }
    }
}

/// Without its password.
impl fmt::Debug for Addition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Addition").field(&self.proxy.suffix).finish()
    }
}

fn made(name: &str, typed: Typed, nowhere: &Place) -> Element {
    let (text, children) = match typed {
        Typed::Text(text) => (text, Vec::new()),
        Typed::Children(children) => {
            let children = children.into_iter().map(|(name, typed)| made(name, typed, nowhere));
            (String::new(), children.collect())
        }
    };
    Element {
        name: name.to_owned(),
        place: nowhere.clone(),
        text,
        text_place: nowhere.clone(),
        attributes: Vec::new(),
        children,
    }
}

/// XML has no way to write some characters, and white space around a value is not read: the file would not be what was asked
/// for.
fn say_what_cannot_be_typed(typed: &Typed, path: &str, problems: &mut Vec<Problem>) {
    let text = match typed {
        Typed::Text(text) => text,
        Typed::Children(children) => {
            for (name, child) in children {
                say_what_cannot_be_typed(child, &format!("{path}/{name}"), problems);
            }
            return;
        }
    };
    let has_none = |c: &char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    if let Some(character) = text.chars().find(has_none) {
        problems.push(Problem::outside(path, format!("{character:?} is in it; allowed: what can be typed")));
    } else if text.trim() != text {
        problems.push(Problem::outside(path, "white space is around it; allowed: none"));
    }
    if text.chars().count() > CHARACTERS_MAX {
        problems.push(Problem::outside(path, format!("too long; allowed: {CHARACTERS_MAX} characters")));
    }
}

fn write(element: &Element, depth: usize, text: &mut String) {
    let (name, indent) = (&element.name, "  ".repeat(depth));
    // Writing to a string cannot fail.
    if element.children.is_empty() {
        let _ = writeln!(text, "{indent}<{name}>{}</{name}>", escape(&element.text));
        return;
    }
    let _ = writeln!(text, "{indent}<{name}>");
    for child in &element.children {
        write(child, depth + 1, text);
    }
    let _ = writeln!(text, "{indent}</{name}>");
}

/// Of one value: more than any URL or password has.
pub const CHARACTERS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::super::settings::Transfer;
    use super::*;

    fn text(value: &str) -> Typed {
        Typed::Text(value.to_owned())
    }

    fn refused(children: Vec<(&'static str, Typed)>) -> String {
        Addition::check(children, false).unwrap_err().to_string()
    }

    #[test]
    fn what_is_asked_for_is_checked_as_in_the_file_and_errors_name_the_setting() {
        let output = Typed::Children(vec![("video", Typed::Children(vec![("codec", text("H266"))]))]);
        let wrong = vec![
            ("suffix", text("a b")),
            ("url", text("ftp://x/")),
            ("transfer", text("PIGEON")),
            ("output", output),
        ];
        let said = refused(wrong);
        for part in ["proxy/suffix: ", "proxy/url: ", "proxy/transfer: ", "proxy/output/video/codec: "] {
            assert!(said.contains(part), "{said}");
        }
        assert!(refused(vec![("suffix", text("a"))]).starts_with("proxy/url: missing"));
        let taken =
            Addition::check(vec![("suffix", text("test")), ("url", text("rtsp://h/"))], false).unwrap().0;
        assert!(taken.built_in().is_some_and(|text| text.contains("\"test\" belongs to a built-in stream")));
        let odd = vec![("suffix", text("a")), ("url", text("rtsp://h/")), ("pass", text("a\u{1}b"))];
        assert!(refused(odd).starts_with("proxy/pass: "));
        for (name, value) in
            [("suffix", "a\n"), ("suffix", "\u{a0}a"), ("user", " ann"), ("pass", "\t"), ("pass", "b ")]
        {
            let mut around = vec![("suffix", text("a")), ("url", text("rtsp://h/"))];
            around.retain(|(other, _)| *other != name);
            around.push((name, text(value)));
            assert!(refused(around).starts_with(&format!("proxy/{name}: ")), "{name} {value:?}");
        }
        let long = vec![("suffix", text(&"a".repeat(5_000))), ("url", text("rtsp://h/"))];
        assert_eq!(refused(long), "proxy/suffix: too long; allowed: 1024 characters");
    }

    #[test]
    fn what_is_written_down_is_read_as_it_was() {
        let rate = Typed::Children(vec![("framerate", text("12.5"))]);
        let node = |suffix: &str, pass: &str| {
            let children = vec![
                ("suffix", text(suffix)),
                ("url", text("rtsp://h/?a=1&b=<2>")),
                ("pass", text(pass)),
                ("transfer", text("udp")),
                ("output", Typed::Children(vec![("video", rate.clone())])),
            ];
            Addition::check(children, true).unwrap().0
        };
        let odd = [node("gate/ü", "<&>\"' ]]> &amp; ä"), node("b", "two  spaces")];
        let written = Addition::write(odd.iter());
        let read = Addition::read(written.as_bytes(), Path::new("kept.xml")).unwrap();
        assert_eq!(read.len(), 2);
        for (read, asked) in read.iter().zip(&odd) {
            assert!(read.proxy.is_like(&asked.proxy), "{written}");
            assert_eq!(
                (read.proxy.holder, read.proxy.transfer),
                (Holder::Api { is_kept: true }, Transfer::Udp)
            );
            let format = |addition: &Addition| addition.proxy.output.as_ref().map(|output| output.format);
            assert_eq!(format(read), format(asked));
        }
        assert_eq!(read[1].proxy.pass.reveal(), "two  spaces");
        assert!(Addition::read(b"<config></config>", Path::new("kept.xml")).unwrap().is_empty());
    }

    #[test]
    fn a_file_that_somebody_else_has_written_is_refused_where_it_is_wrong() {
        let read = |nodes: &str| {
            let text = format!("<config>\n{nodes}</config>");
            Addition::read(text.as_bytes(), Path::new("kept.xml")).unwrap_err().to_string()
        };
        let proxy = "<proxy><suffix>a</suffix><url>rtsp://h/</url></proxy>\n";
        assert!(read(&proxy.repeat(2)).starts_with("kept.xml:3:1: proxy/suffix: \"a\" is there twice"));
        assert!(read("<user/>").starts_with("kept.xml:2:1: <user> is not for this file"));
        assert!(read("<proxy><suffix>a</suffix><url/></proxy>").contains("proxy/url: missing"));
    }
}
