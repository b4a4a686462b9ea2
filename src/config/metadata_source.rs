//! `<metadata_source>`: where documents of metadata for a stream are taken from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::node::{Node, Report, Wanted};
use super::origin::Place;
use super::values;

/// Documents that are added to the metadata of one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataSource {
    /// Path of the stream without the leading slash.
    pub path: String,
    /// A file with the document that is in force.
    pub file: Option<PathBuf>,
    /// From one time that it is sent to the next.
    pub repeat: Duration,
    /// Where programs connect to that send documents.
    pub socket: Option<PathBuf>,
    /// Where the node is.
    pub place: Place,
}

impl MetadataSource {
    /// The same with its paths seen from a folder.
    pub(super) fn seen_from(mut self, folder: &Path) -> MetadataSource {
        for path in self.file.iter_mut().chain(&mut self.socket) {
            *path = folder.join(&*path);
        }
        self
    }
}

/// Reads one. None when it is empty or wrong, which is reported.
pub(super) fn metadata_source(node: &Node<'_>, report: &mut Report) -> Option<MetadataSource> {
    node.expect(&["path", "file", "repeat_s", "socket"], report);
    if node.is_blank() {
        report.warn(&node.element.place, &node.path, "empty: ignored");
        return None;
    }
    let path = node.text("path").unwrap_or_default().trim_matches('/');
    if path.is_empty() {
        let text = "missing; it names the stream, as its URL does behind the host";
        report.error(node.place_of("path"), &format!("{}/path", node.path), text);
    }
    let file = node.text("file").map(PathBuf::from);
    let socket = node.value("socket", values::SOCKET, values::socket, report);
    if node.text("file").is_none() && node.text("socket").is_none() {
        report.error(&node.element.place, &node.path, "has neither file nor socket; allowed: one or both");
    }
    let repeat = node.value("repeat_s", REPEAT, |text| values::number(text, 1, 3_600), report);
    if repeat.is_some() && file.is_none() {
        let text = "only what file holds is sent again; it is ignored";
        report.warn(node.place_of("repeat_s"), &format!("{}/repeat_s", node.path), text);
    }
    Some(MetadataSource {
        path: path.to_owned(),
        file,
        repeat: Duration::from_secs(repeat.unwrap_or(1)),
        socket,
        place: node.element.place.clone(),
    })
}

/// Reports paths and sockets that are named twice.
pub(super) fn taken_twice(sources: &[MetadataSource], report: &mut Report) {
    for (index, source) in sources.iter().enumerate() {
        let before = &sources[..index];
        let refuse = |name: &str, other: &MetadataSource, report: &mut Report| {
            let text = format!("the same as in line {}; allowed: each {name} once", other.place.line);
            report.error(&source.place, &format!("config/metadata_source/{name}"), text);
        };
        if let Some(other) = before.iter().find(|other| other.path == source.path) {
            refuse("path", other, report);
        }
        if let Some(other) =
            before.iter().find(|other| other.socket.is_some() && other.socket == source.socket)
        {
            refuse("socket", other, report);
        }
    }
}

const REPEAT: Wanted = Wanted { noun: "a number of seconds", allowed: "1 to 3600" };
