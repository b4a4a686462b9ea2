//! The second stage: every value parsed, every node known, or a list of what is wrong.

use super::camera::{self, Camera};
use super::elements;
use super::keys::{self, Key};
use super::metadata_source::{self, MetadataSource};
use super::node::{Node, Report};
use super::origin::Place;
use super::output::{Output, is_device};
use super::problem::{ConfigError, Problem};
use super::settings::{Backchannel, Proxy, Pusher};
use super::typed::Element;
use super::user::{self, User};

/// A file whose values are right, each on its own.
pub struct Checked {
    /// Values of root settings as typed, each one that its key takes.
    pub(super) values: Vec<Value>,
    /// `<user>`s.
    pub(super) users: Vec<User>,
    /// `<output>`s.
    pub(super) outputs: Vec<Output>,
    /// `<proxy>`s that are switched on.
    pub(super) proxies: Vec<Proxy>,
    /// `<pusher>`s.
    pub(super) pushers: Vec<Pusher>,
    /// `<videodevice>`s.
    pub(super) cameras: Vec<Camera>,
    /// `<backchannel>`.
    pub(super) backchannel: Option<Backchannel>,
    /// `<metadata_source>`s.
    pub(super) metadata_sources: Vec<MetadataSource>,
    /// What was ignored or corrected.
    pub warnings: Vec<Problem>,
}

/// One root setting of the file.
pub(super) struct Value {
    /// Which.
    pub(super) key: &'static Key,
    /// Its text, not empty.
    pub(super) text: String,
    /// Where the text is.
    pub(super) place: Place,
}

/// Checks the tree of a file; errors carry every problem in it.
pub fn check(root: &Element) -> Result<Checked, ConfigError> {
    let mut walk = Walk::default();
    let node = Node::root(root);
    if root.name != "config" {
        let text = format!("the root element is <{}>; allowed: <config>", root.name);
        return Err(Problem::in_file(root.place.clone(), text).into());
    }
    node.expect_plain(&mut walk.report);
    if !root.text.is_empty() {
        walk.report.warn(&root.text_place, &node.path, "text between the elements is ignored");
    }
    for child in node.children() {
        walk.child(&child);
    }
    walk.names_taken_twice();
    walk.ports_taken_twice();
    metadata_source::taken_twice(&walk.metadata_sources, &mut walk.report);
    walk.finish()
}

/// What the walk through the children of the root has gathered.
#[derive(Default)]
struct Walk {
    report: Report,
    values: Vec<Value>,
    users: Vec<User>,
    outputs: Vec<Output>,
    proxies: Vec<Proxy>,
    pushers: Vec<Pusher>,
    cameras: Vec<Camera>,
    backchannel: Option<Backchannel>,
    metadata_sources: Vec<MetadataSource>,
    /// Suffixes of proxies and pushers, those of switched-off ones too.
    suffixes: Vec<(String, Place, String)>,
}

impl Walk {
    fn child(&mut self, node: &Node<'_>) {
        match node.element.name.as_str() {
            "user" => self.user(node),
            "output" => {
                let output = elements::output(node, &mut self.report);
                self.outputs.push(output);
            }
            "proxy" => {
                self.suffix(node);
                self.proxies.extend(elements::proxy(node, &mut self.report));
            }
            "pusher" => {
                self.suffix(node);
                self.pushers.extend(elements::pusher(node, &mut self.report));
            }
            "videodevice" => {
                self.cameras.extend(camera::camera(node, &self.cameras, &mut self.report));
            }
            "backchannel" => self.backchannel = elements::backchannel(node, &mut self.report),
            "metadata_source" => {
                self.metadata_sources.extend(metadata_source::metadata_source(node, &mut self.report));
            }
            "http_notify" => self.http_notify(node),
            name => match keys::find(name) {
                Some(key) => self.value(key, node),
                None => node.unknown(&root_names(), &mut self.report),
            },
        }
    }

    fn value(&mut self, key: &'static Key, node: &Node<'_>) {
        node.expect_plain(&mut self.report);
        if let Some(child) = node.children().next() {
            self.report.warn(&child.element.place, &child.path, "unknown element");
        }
        let text = node.element.text.as_str();
        if text.is_empty() {
            return;
        }
        let place = &node.element.text_place;
        if !key.takes(text) {
            self.report.error(place, &node.path, key.refuse(text));
            return;
        }
        if !keys::is_list(key.name) && self.values.iter().any(|value| value.key.name == key.name) {
            self.report.warn(&node.element.place, &node.path, "named before; this one is used");
        }
        self.values.push(Value { key, text: text.to_string(), place: place.clone() });
    }

    fn user(&mut self, node: &Node<'_>) {
        let Some(user) = user::user(node, &mut self.report) else { return };
        if self.users.iter().any(|other| other.name == user.name) {
            let text = format!("\"{}\" is named before; the first password holds", user.name);
            self.report.warn(node.place_of("username"), &format!("{}/username", node.path), text);
            return;
        }
        self.users.push(user);
    }

    fn http_notify(&mut self, node: &Node<'_>) {
        node.expect(&HOOKS, &mut self.report);
        for child in node.children() {
            if let Some(key) = keys::find(&child.element.name).filter(|key| HOOKS.contains(&key.name)) {
                self.value(key, &child);
            }
        }
    }

    fn suffix(&mut self, node: &Node<'_>) {
        if let Some(suffix) = node.text("suffix") {
            let path = format!("{}/suffix", node.path);
            self.suffixes.push((suffix.trim_matches('/').to_string(), node.place_of("suffix").clone(), path));
        }
    }

    /// A path has one owner: twice is an error, one that a built-in stream owns is doubtful.
    fn names_taken_twice(&mut self) {
        for (index, (suffix, place, path)) in self.suffixes.iter().enumerate() {
            if let Some((_, first, _)) = self.suffixes[..index].iter().find(|(other, ..)| other == suffix) {
                let text = format!("\"{suffix}\" is taken in line {}; allowed: each suffix once", first.line);
                self.report.error(place, path, text);
            }
            if let Some(text) = built_in(suffix) {
                self.report.warn(place, path, text);
            }
        }
    }

    /// A port carries one track of one pusher.
    fn ports_taken_twice(&mut self) {
        for (index, pusher) in self.pushers.iter().enumerate() {
            for other in &self.pushers[..index] {
                let is_apart = pusher.mode != other.mode
                    || matches!((&pusher.ip, &other.ip), (Some(ip), Some(other)) if ip != other);
                let shared = pusher.ports().find(|(_, port)| other.ports().any(|(_, taken)| taken == *port));
                if let (false, Some((name, port))) = (is_apart, shared) {
                    let text = format!(
                        "{port} is a port of the pusher in line {}; allowed: a port of its own",
                        other.place.line
                    );
                    let path = format!("config/pusher/transfer/{name}");
                    self.report.error(&pusher.place, &path, text);
                }
            }
        }
    }

    fn finish(self) -> Result<Checked, ConfigError> {
        if !self.report.errors.is_empty() {
            let mut problems = self.report.errors;
            problems.sort_by_key(|problem| problem.place.as_ref().map(|place| (place.line, place.column)));
            return Err(ConfigError { problems });
        }
        Ok(Checked {
            values: self.values,
            users: self.users,
            outputs: self.outputs,
            proxies: self.proxies,
            pushers: self.pushers,
            cameras: self.cameras,
            backchannel: self.backchannel,
            metadata_sources: self.metadata_sources,
            warnings: self.report.warnings,
        })
    }
}

/// What there is to say of a path that a stream of the program's own has.
pub(super) fn built_in(suffix: &str) -> Option<String> {
    let is_built_in = suffix.eq_ignore_ascii_case("test") || is_device(suffix);
    is_built_in.then(|| format!("\"{suffix}\" belongs to a built-in stream, which comes first"))
}

/// Every name that the root knows.
fn root_names() -> Vec<&'static str> {
    keys::keys().map(|key| key.name).chain(NODES).collect()
}

/// Nodes of the root that have children or attributes.
const NODES: [&str; 8] =
    ["user", "output", "proxy", "pusher", "videodevice", "backchannel", "metadata_source", "http_notify"];
/// Children of `<http_notify>`, which are taken directly under the root as well.
const HOOKS: [&str; 7] =
    ["on_connect", "on_play", "on_publish", "on_done", "notify_method", "notify_timeout_ms", "notify_fail"];
