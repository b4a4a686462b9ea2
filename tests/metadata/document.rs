//! Documents of metadata as an XML parser reads them, and what ONVIF's schema asks of those with events.

use std::time::Duration;

use proto::rtsp::headers::date::Utc;
use quick_xml::NsReader;
use quick_xml::events::{BytesStart, Event as Xml};
use quick_xml::name::ResolveResult;

use crate::client::rtp::Packet;

const TT: &str = "http://www.onvif.org/ver10/schema";
const WSNT: &str = "http://docs.oasis-open.org/wsn/b-2";

/// An element by its namespace and name, with its attributes and what is inside.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub(super) name: (String, String),
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
    text: String,
}

/// One notification.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    /// Without its prefix.
    pub(super) topic: String,
    pub(super) operation: String,
    /// Since the epoch.
    pub(super) at: Duration,
    pub(super) stream: String,
    pub(super) data: Vec<(String, String)>,
}

impl Event {
    #[track_caller]
    pub(super) fn item(&self, name: &str) -> &str {
        let item = self.data.iter().find(|(other, _)| other == name);
        &item.unwrap_or_else(|| panic!("no {name} in {self:?}")).1
    }
}

impl Element {
    fn attribute(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(other, _)| other == name);
        &found.unwrap_or_else(|| panic!("no {name} in {:?}", self.name)).1
    }

    /// The children, all of which must have that name.
    #[track_caller]
    fn all(&self, namespace: &str, name: &str) -> &[Element] {
        let expected = (namespace.to_owned(), name.to_owned());
        assert!(self.children.iter().all(|child| child.name == expected), "only {name} in {self:?}");
        &self.children
    }

    /// The only child called so.
    #[track_caller]
    fn one(&self, namespace: &str, name: &str) -> &Element {
        let mut found = self.children.iter().filter(|child| child.name == (namespace.into(), name.into()));
        let (first, second) = (found.next(), found.next());
        assert!(second.is_none(), "one {name} in {self:?}");
        first.unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// `tt:SimpleItem`s.
    #[track_caller]
    fn items(&self) -> Vec<(String, String)> {
        let item = |item: &Element| (item.attribute("Name").to_owned(), item.attribute("Value").to_owned());
        self.all(TT, "SimpleItem").iter().map(item).collect()
    }
}

/// The documents in the packets of a track: each ends with the marker, and its packets have one timestamp.
#[track_caller]
pub(super) fn documents(packets: &[Packet]) -> Vec<(u32, Vec<u8>)> {
    let whole = packets.split_inclusive(|packet| packet.marker);
    let whole = whole.filter(|packets| packets.last().is_some_and(|packet| packet.marker));
    whole
        .map(|packets| {
            assert!(packets.iter().all(|packet| packet.timestamp == packets[0].timestamp));
            (packets[0].timestamp, packets.iter().flat_map(|packet| packet.payload.clone()).collect())
        })
        .collect()
}

/// Reads a document whole.
#[track_caller]
pub(super) fn parse(document: &[u8]) -> Element {
    let text = std::str::from_utf8(document).expect("UTF-8");
    let mut reader = NsReader::from_str(text);
    let mut open = vec![Element::default()];
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error} in {text}")) {
            Xml::Start(tag) => open.push(element(&tag, &reader)),
            Xml::Empty(tag) => {
                let element = element(&tag, &reader);
                open.last_mut().unwrap().children.push(element);
            }
            Xml::End(_) => {
                let element = open.pop().unwrap();
                open.last_mut().unwrap().children.push(element);
            }
            Xml::Text(text) => open.last_mut().unwrap().text += &text.xml10_content(),
            Xml::Eof => break,
            _ => {}
        }
    }
    assert_eq!((open.len(), open[0].children.len()), (1, 1), "{text}");
    open.pop().unwrap().children.pop().unwrap()
}

fn element(tag: &BytesStart<'_>, reader: &NsReader<&[u8]>) -> Element {
    let (namespace, local) = reader.resolver().resolve_element(tag.name());
    let namespace = match namespace {
        ResolveResult::Bound(namespace) => namespace.0.to_owned(),
        other => panic!("{other:?} of {}", tag.name().as_ref()),
    };
    let attributes = tag.attributes().map(|attribute| {
        let attribute = attribute.unwrap();
        let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).unwrap();
        (attribute.key.as_ref().to_owned(), value.into_owned())
    });
    let name = (namespace, local.as_ref().to_owned());
    Element { name, attributes: attributes.collect(), ..Element::default() }
}

/// The notifications of a document, whose structure must be that of ONVIF's schema.
#[track_caller]
pub(super) fn events(document: &[u8]) -> Vec<Event> {
    let root = parse(document);
    assert_eq!(root.name, (TT.to_owned(), "MetadataStream".to_owned()));
    let stream = root.one(TT, "Event");
    let notifications = stream.all(WSNT, "NotificationMessage");
    assert!(!notifications.is_empty());
    notifications.iter().map(event).collect()
}

#[track_caller]
fn event(notification: &Element) -> Event {
    let topic = notification.one(WSNT, "Topic");
    assert_eq!(topic.attribute("Dialect"), "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet");
    let message = notification.one(WSNT, "Message").one(TT, "Message");
    let names: Vec<_> = message.children.iter().map(|child| child.name.1.as_str()).collect();
    assert_eq!(names, ["Source", "Data"]);
    let source = message.one(TT, "Source").items();
    assert_eq!((source.len(), source[0].0.as_str()), (1, "Stream"));
    let operation = message.attribute("PropertyOperation").to_owned();
    assert!(["Initialized", "Changed"].contains(&operation.as_str()), "{operation}");
    Event {
        topic: topic.text.split_once(':').expect("a prefix").1.to_owned(),
        operation,
        at: date_time(message.attribute("UtcTime")),
        stream: source[0].1.clone(),
        data: message.one(TT, "Data").items(),
    }
}

/// Reads an `xs:dateTime` in UTC.
#[track_caller]
fn date_time(text: &str) -> Duration {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{text}");
    Utc::parse_clock(&text.replace(['-', ':'], "")).expect("a day of the calendar").0
}
