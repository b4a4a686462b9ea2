//! Reading a typed element: its children by name, its values by type, everything odd into the report.

use super::origin::Place;
use super::problem::Problem;
use super::typed::Element;

/// What has been found wrong or doubtful so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What makes the configuration unusable.
    pub(super) errors: Vec<Problem>,
    /// What is doubtful, corrected or ignored.
    pub(super) warnings: Vec<Problem>,
}

/// An element with its path from the root.
#[derive(Clone)]
pub(super) struct Node<'a> {
    /// The element.
    pub(super) element: &'a Element,
    /// Its path, such as `config/output/video`.
    pub(super) path: String,
}

/// What a value must be, for the sentence that refuses it.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// What it is, with its article.
    pub(super) noun: &'static str,
    /// What is allowed.
    pub(super) allowed: &'static str,
}

impl Wanted {
    /// The sentence about a text that is not one.
    fn refuse(&self, text: &str) -> String {
        format!("\"{text}\" is not {}; allowed: {}", self.noun, self.allowed)
    }
}

impl Report {
    pub(super) fn error(&mut self, place: &Place, path: &str, text: impl Into<String>) {
        self.errors.push(Problem::at(place, path, text));
    }

    pub(super) fn warn(&mut self, place: &Place, path: &str, text: impl Into<String>) {
        self.warnings.push(Problem::at(place, path, text));
    }
}

impl<'a> Node<'a> {
    /// The root.
    pub(super) fn root(element: &'a Element) -> Node<'a> {
        Node { element, path: element.name.clone() }
    }

    /// All children, with their paths.
    pub(super) fn children(&self) -> impl Iterator<Item = Node<'a>> {
        let path = self.path.clone();
        self.element
            .children
            .iter()
            .map(move |element| Node { element, path: format!("{path}/{}", element.name) })
    }

    /// The child called `name`; of several the last.
    pub(super) fn child(&self, name: &str) -> Option<Node<'a>> {
        self.children().filter(|node| node.element.name == name).last()
    }

    /// Whether there is no text anywhere in it, as in a node that a template left open.
    pub(super) fn is_blank(&self) -> bool {
        self.element.text.is_empty() && self.children().all(|child| child.is_blank())
    }

    /// Text of the child called `name`; None when it is absent or empty.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        let text = self.child(name)?.element.text.as_str();
        (!text.is_empty()).then_some(text)
    }

    /// Where the child called `name` is, else where this element is.
    pub(super) fn place_of(&self, name: &str) -> &'a Place {
        let child = self.element.children.iter().rev().find(|child| child.name == name);
        child.map_or(&self.element.place, |child| &child.text_place)
    }

    /// Value of the child called `name`; None when it is absent, empty or, which is reported, not one.
    pub(super) fn value<T>(
        &self,
        name: &str,
        wanted: Wanted,
        parse: impl Fn(&str) -> Option<T>,
        report: &mut Report,
    ) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(text);
        if value.is_none() {
            report.error(self.place_of(name), &format!("{}/{name}", self.path), wanted.refuse(text));
        }
        value
    }

    /// Values of all children called `name`; those that are not one are reported and left out.
    pub(super) fn values<T>(
        &self,
        name: &str,
        wanted: Wanted,
        parse: impl Fn(&str) -> Option<T>,
        report: &mut Report,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for node in self.children().filter(|node| node.element.name == name) {
            let text = node.element.text.as_str();
            match parse(text) {
                Some(value) => values.push(value),
                None if text.is_empty() => {}
                None => report.error(&node.element.text_place, &node.path, wanted.refuse(text)),
            }
        }
        values
    }

    /// Reports children that are not in `known`, repeated ones, attributes and loose text.
    pub(super) fn expect(&self, known: &[&'static str], report: &mut Report) {
        self.expect_some_repeated(known, &[], report);
    }

    /// The same where some children may be repeated.
    pub(super) fn expect_some_repeated(
        &self,
        known: &[&'static str],
        repeatable: &[&'static str],
        report: &mut Report,
    ) {
        self.expect_plain(report);
        if !self.element.text.is_empty() {
            report.warn(&self.element.text_place, &self.path, "text between the elements is ignored");
        }
        for (index, node) in self.children().enumerate() {
            let name = node.element.name.as_str();
            if !known.contains(&name) {
                node.unknown(known, report);
                continue;
            }
            let repeated = self.element.children[..index].iter().any(|other| other.name == name);
            if repeated && !repeatable.contains(&name) {
                report.warn(&node.element.place, &node.path, "named before; this one is used");
            }
        }
    }

    /// Reports attributes, which nearly all elements have none of.
    pub(super) fn expect_plain(&self, report: &mut Report) {
        self.expect_attributes(&[], report);
    }

    /// Reports attributes that are not in `known`.
    pub(super) fn expect_attributes(&self, known: &[&str], report: &mut Report) {
        for (attribute, _) in &self.element.attributes {
            if !known.contains(&attribute.as_str()) {
                let text = format!("attribute \"{attribute}\" is ignored");
                report.warn(&self.element.place, &self.path, text);
            }
        }
    }

    /// Value of the attribute called `name`; None when it is absent, or, which is reported, not one. It must be there.
    pub(super) fn attribute<T>(
        &self,
        name: &str,
        wanted: Wanted,
        parse: impl Fn(&str) -> Option<T>,
        report: &mut Report,
    ) -> Option<T> {
        let found = self.element.attributes.iter().find(|(attribute, _)| attribute == name);
        let text = found.map_or("", |(_, value)| value);
        let value = parse(text);
        if value.is_none() {
            let path = format!("{}/@{name}", self.path);
            report.error(&self.element.place, &path, wanted.refuse(text));
        }
        value
    }

    /// Reports this element as one that its parent does not have, with the nearest of `known`.
    pub(super) fn unknown(&self, known: &[&'static str], report: &mut Report) {
        let text = match nearest(&self.element.name, known) {
            Some(name) => format!("unknown element; did you mean <{name}>?"),
            None => "unknown element".to_string(),
        };
        report.warn(&self.element.place, &self.path, text);
    }
}

/// The name nearest to `name`, if it is near enough to be meant.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = name.to_ascii_lowercase();
    let near_enough = (name.chars().count() / 3).max(1);
    let scored = known.iter().map(|known| (distance(&name, known), *known));
    scored
        .filter(|(distance, _)| *distance <= near_enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
