//! A document with events, as devices that speak ONVIF write them.

use std::fmt::{Display, Result, Write};

use super::{NOTIFICATION, SCHEMA, TOPICS};
use crate::rtsp::headers::date::Utc;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Whether the source of a stream is there.
    Source,
    /// How much of a stream there is, and for how many.
    Traffic,
    /// Where one viewer's playing of a file stands.
    Playback,
}

impl Topic {
    fn name(self) -> &'static str {
        match self {
            Topic::Source => "rc:Stream/Source",
            Topic::Traffic => "rc:Stream/Traffic",
            Topic::Playback => "rc:Stream/Playback",
        }
    }
}

/// What an event says of a property (ONVIF core specification section 9.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// How it is, for those who begin to listen.
    Initialized,
    /// That it has become another.
    Changed,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Initialized => "Initialized",
            Operation::Changed => "Changed",
        }
    }
}

/// One value of a property, by its name.
pub type Item<'a> = (&'a str, &'a dyn Display);

/// One event.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// What it is about.
    pub topic: Topic,
    /// What it says of that.
    pub operation: Operation,
    /// How it is.
    pub data: &'a [Item<'a>],
}

/// Writes the document of some events of a stream, which are true at `at`.
pub fn write(stream: &str, at: Utc, messages: &[Message<'_>]) -> String {
    let mut out = String::with_capacity(512 + 512 * messages.len());
    // Writing to a string cannot fail.
    let _ = put(&mut out, stream, &at.to_xml(), messages);
    out
}

fn put(out: &mut String, stream: &str, at: &str, messages: &[Message<'_>]) -> Result {
    write!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<tt:MetadataStream xmlns:tt=\"{SCHEMA}\" \
         xmlns:wsnt=\"{NOTIFICATION}\" xmlns:rc=\"{TOPICS}\"><tt:Event>"
    )?;
    for Message { topic, operation, data } in messages {
        write!(
            out,
            "<wsnt:NotificationMessage><wsnt:Topic Dialect=\"{DIALECT}\">{}</wsnt:Topic><wsnt:Message>\
             <tt:Message UtcTime=\"{at}\" PropertyOperation=\"{}\"><tt:Source>",
            topic.name(),
            operation.name()
        )?;
        put_item(out, "Stream", &stream)?;
        out.push_str("</tt:Source><tt:Data>");
        data.iter().try_for_each(|(name, value)| put_item(out, name, *value))?;
        out.push_str("</tt:Data></tt:Message></wsnt:Message></wsnt:NotificationMessage>");
    }
    out.write_str("</tt:Event></tt:MetadataStream>")
}

fn put_item(out: &mut String, name: &str, value: &dyn Display) -> Result {
    write!(out, "<tt:SimpleItem Name=\"{name}\" Value=\"")?;
    write!(Escaped(out), "{value}")?;
    out.write_str("\"/>")
}

/// Writes text as it stands in an attribute. What XML has no way to say is replaced.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> Result {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                // Blanks of other kinds are read as a blank unless they are written so.
                '\t' | '\n' | '\r' => write!(self.0, "&#{};", letter as u32)?,
                letter if super::check::is_character(letter) => self.0.push(letter),
                _ => self.0.push(char::REPLACEMENT_CHARACTER),
            }
        }
        Ok(())
    }
}

/// How the names of topics are read (ONVIF core specification section 9.6.3).
const DIALECT: &str = "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::metadata::check;

    const AT: Utc = Utc(Duration::from_millis(784_887_151_250));

    #[test]
    fn an_event_is_written_as_the_core_specification_has_it() {
        let data: &[Item<'_>] = &[("State", &"Connected"), ("Viewers", &3)];
        let message = Message { topic: Topic::Source, operation: Operation::Changed, data };
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <tt:MetadataStream xmlns:tt=\"http://www.onvif.org/ver10/schema\" \
            xmlns:wsnt=\"http://docs.oasis-open.org/wsn/b-2\" xmlns:rc=\"urn:ringcaster:topics\"><tt:Event>\
            <wsnt:NotificationMessage>\
            <wsnt:Topic Dialect=\"http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet\">rc:Stream/Source\
            </wsnt:Topic><wsnt:Message>\
            <tt:Message UtcTime=\"1994-11-15T08:12:31.250Z\" PropertyOperation=\"Changed\">\
            <tt:Source><tt:SimpleItem Name=\"Stream\" Value=\"a&amp;b\"/></tt:Source>\
            <tt:Data><tt:SimpleItem Name=\"State\" Value=\"Connected\"/>\
            <tt:SimpleItem Name=\"Viewers\" Value=\"3\"/></tt:Data>\
            </tt:Message></wsnt:Message></wsnt:NotificationMessage></tt:Event></tt:MetadataStream>";
        assert_eq!(write("a&b", AT, &[message]), expected);
    }

    proptest! {
        #[test]
        fn whatever_a_stream_is_called_its_document_is_well_formed(name in any::<String>(), value in any::<String>()) {
            let data: &[Item<'_>] = &[("State", &value)];
            let message = Message { topic: Topic::Playback, operation: Operation::Initialized, data };
            let text = write(&name, AT, &[message, message]);
            prop_assert_eq!(check(text.as_bytes()), Ok(()), "{}", text);
        }
    }
}
