//! What a new configuration changes, and what of that has to wait for the next start.

use super::keys::keys;
use super::origin::Place;
use super::settings::{Backchannel, Proxy, Pusher, Settings};
use super::user::User;

/// What differs between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Names of the settings that differ, and of nodes of which there is one, or whose order counts.
    pub settings: Vec<&'static str>,
    /// `<user>`s.
    pub users: Count,
    /// `<proxy>`s.
    pub proxies: Count,
    /// `<pusher>`s.
    pub pushers: Count,
}

/// How many nodes of one kind differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Those that are new.
    pub added: usize,
    /// Those that are gone.
    pub removed: usize,
    /// Those that are other than before.
    pub changed: usize,
}

/// Takes the value of a setting over from another configuration.
type Keep = fn(&mut Settings, &Settings);

impl Difference {
    /// What `new` changes of `old`. Where nodes stand in the file makes no difference.
    pub fn between(old: &Settings, new: &Settings) -> Difference {
        let mut settings: Vec<_> =
            keys().filter(|key| (key.show)(old) != (key.show)(new)).map(|key| key.name).collect();
        // What is shown of a URL is without its password.
        if old.http_notify != new.http_notify && !settings.iter().any(|name| name.starts_with("on_")) {
            settings.push("http_notify");
        }
        let outputs = |settings: &Settings| -> Vec<_> {
            settings.outputs.iter().map(|it| (it.url.clone(), it.format, it.live)).collect()
        };
        let own_outputs = |settings: &Settings| -> Vec<_> {
            let proxies = settings.proxies.iter().map(|it| (it.suffix.clone(), it.output.as_ref()));
            let pushers = settings.pushers.iter().map(|it| (it.suffix.clone(), it.output.as_ref()));
            let format = |(path, output): (String, Option<&super::Output>)| {
                output.map(|output| (path, output.format, output.live))
            };
            proxies.chain(pushers).filter_map(format).collect()
        };
        if outputs(old) != outputs(new) || own_outputs(old) != own_outputs(new) {
            settings.push("output");
        }
        let is_same_sound = match (&old.backchannel, &new.backchannel) {
            (Some(old), Some(new)) => *old == Backchannel { place: old.place.clone(), ..new.clone() },
            (old, new) => old.is_none() && new.is_none(),
        };
        if !is_same_sound {
            settings.push("backchannel");
        }
        Difference {
            settings,
            users: Count::of(&old.users, &new.users, |user| &user.name, User::is_like),
            proxies: Count::of(&old.proxies, &new.proxies, |proxy| &proxy.suffix, Proxy::is_like),
            pushers: Count::of(&old.pushers, &new.pushers, |pusher| &pusher.suffix, Pusher::is_like),
        }
    }

    /// Whether nothing differs.
    pub fn is_none(&self) -> bool {
        *self == Difference::default()
    }
}

impl Count {
    fn of<T>(old: &[T], new: &[T], name: fn(&T) -> &str, is_like: fn(&T, &T) -> bool) -> Count {
        let find = |list: &[T], wanted: &T| list.iter().position(|it| name(it) == name(wanted));
        let mut count = Count::default();
        for it in new {
            match find(old, it) {
                None => count.added += 1,
                Some(index) => count.changed += usize::from(!is_like(&old[index], it)),
            }
        }
        count.removed = old.iter().filter(|it| find(new, it).is_none()).count();
        count
    }
}

impl User {
    /// Whether the node says the same, wherever it stands.
    pub fn is_like(&self, other: &User) -> bool {
        *self == User { place: self.place.clone(), ..other.clone() }
    }
}

impl Proxy {
    /// Whether the same is pulled in the same way; the format that it is sent in, and who has written it down, are another
    /// matter.
    pub fn is_like(&self, other: &Proxy) -> bool {
        *self == Proxy { holder: self.holder, output: self.output.clone(), ..other.clone() }
    }
}

impl Pusher {
    /// Whether the same comes in the same way; the format that it is sent in is another matter.
    pub fn is_like(&self, other: &Pusher) -> bool {
        *self == Pusher { place: self.place.clone(), output: self.output.clone(), ..other.clone() }
    }
}

/// Gives a new configuration the values of the one that runs for all that is decided at start; returns the names of those
/// that were others.
pub fn keep_from_start(new: &mut Settings, running: &Settings) -> Vec<&'static str> {
    let mut waiting = Vec::new();
    for (name, keep) in AT_START {
        let before = new.clone();
        keep(new, running);
        if !is_same(&before, new) {
            keep_origin(new, running, name);
            waiting.push(*name);
        }
    }
    waiting
}

/// Whoever has chosen the value that runs has chosen the value that waits no more.
pub fn keep_origin(new: &mut Settings, running: &Settings, name: &'static str) {
    match running.origins.get(name) {
        Some(origin) => drop(new.origins.insert(name, origin.clone())),
        None => drop(new.origins.remove(name)),
    }
}

/// Where nodes stand in the file does not count.
fn is_same(before: &Settings, after: &Settings) -> bool {
    let nowhere = || Place { file: std::path::Path::new("").into(), line: 0, column: 0 };
    let without_places = |settings: &Settings| {
        let mut settings = settings.clone();
        settings.cameras.iter_mut().for_each(|camera| camera.place = nowhere());
        settings.metadata_sources.iter_mut().for_each(|source| source.place = nowhere());
        settings
    };
    without_places(before) == without_places(after)
}

/// What is decided at start: threads and what they are made with, what the packets of running streams keep to, the
/// folder whose files are remembered, devices that are numbered once, sockets with names, what the process may do, and where the log goes.
const AT_START: &[(&str, Keep)] = &[
    ("backend", |new, old| new.backend = old.backend),
    ("shards", |new, old| new.shards = old.shards),
    ("zerocopy", |new, old| new.zero_copy = old.zero_copy),
    ("mtu", |new, old| new.mtu = old.mtu),
    ("udp_port_min", |new, old| new.udp_port_min = old.udp_port_min),
    ("udp_port_max", |new, old| new.udp_port_max = old.udp_port_max),
    ("multicast", |new, old| new.multicast = old.multicast),
    ("multicast_ip_min", |new, old| new.multicast_ip_min = old.multicast_ip_min),
    ("multicast_ip_max", |new, old| new.multicast_ip_max = old.multicast_ip_max),
    ("multicast_ttl", |new, old| new.multicast_ttl = old.multicast_ttl),
    ("multicast_interface", |new, old| new.multicast_interface.clone_from(&old.multicast_interface)),
    ("media_dir", |new, old| new.media_dir.clone_from(&old.media_dir)),
    ("follow_symlinks", |new, old| new.follow_symlinks = old.follow_symlinks),
    ("file_cache_mb", |new, old| new.file_cache_mb = old.file_cache_mb),
    ("transcode_unsupported", |new, old| new.transcode_unsupported = old.transcode_unsupported),
    ("transcode_threads", |new, old| new.transcode_threads = old.transcode_threads),
    ("max_transcodes", |new, old| new.max_transcodes = old.max_transcodes),
    ("hwaccel", |new, old| new.hwaccel = old.hwaccel),
    ("show_cursor", |new, old| new.show_cursor = old.show_cursor),
    ("videodevice", |new, old| new.cameras.clone_from(&old.cameras)),
    ("api_socket", |new, old| new.api_socket.clone_from(&old.api_socket)),
    ("metadata", |new, old| new.metadata = old.metadata),
    ("metadata_source", |new, old| new.metadata_sources.clone_from(&old.metadata_sources)),
    ("state_dir", |new, old| new.state_dir.clone_from(&old.state_dir)),
    ("run_as", |new, old| new.run_as.clone_from(&old.run_as)),
    ("landlock", |new, old| new.landlock = old.landlock),
    ("log_enable", |new, old| new.log_enable = old.log_enable),
    ("log_format", |new, old| new.log_format = old.log_format),
    ("log_file", |new, old| new.log_file.clone_from(&old.log_file)),
    ("log_file_mb", |new, old| new.log_file_mb = old.log_file_mb),
    ("log_files", |new, old| new.log_files = old.log_files),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::origin::Origin;
    use super::super::running::{Overrides, load_bytes};
    use super::*;

    fn read(nodes: &str) -> Settings {
        let xml = format!("<config><media_dir>{}</media_dir>{nodes}</config>", env!("CARGO_MANIFEST_DIR"));
        load_bytes(xml.as_bytes(), Path::new("a.xml"), &Overrides::default()).unwrap().settings
    }

    fn user(name: &str, password: &str) -> String {
        format!("\n<user><username>{name}</username><password>{password}</password></user>")
    }

    fn proxy(suffix: &str, url: &str) -> String {
        format!("\n<proxy><suffix>{suffix}</suffix><url>rtsp://192.0.2.1/{url}</url></proxy>")
    }

    #[test]
    fn what_differs_is_named_and_counted() {
        let old = read(&[user("a", "1"), user("b", "2"), proxy("x", "1"), proxy("y", "1")].concat());
        let nodes = [user("b", "3"), user("c", "1"), user("d", "1"), proxy("y", "1")].concat();
        let new = read(&format!("<max_sessions>7</max_sessions><on_play>http://a:b@h/</on_play>{nodes}"));
        let found = Difference::between(&old, &new);
        assert_eq!(found.settings, ["on_play", "max_sessions"]);
        assert_eq!(found.users, Count { added: 2, removed: 1, changed: 1 });
        assert_eq!(found.proxies, Count { removed: 1, ..Count::default() });
        let secret = read(&format!("<max_sessions>7</max_sessions><on_play>http://a:c@h/</on_play>{nodes}"));
        assert_eq!(Difference::between(&new, &secret).settings, ["http_notify"]);
    }

    #[test]
    fn where_nodes_stand_makes_no_difference() {
        let nodes = [
            &user("a", "1"),
            &proxy("x", "1"),
            "<output><url>*.mp4</url><live>1</live></output>",
            "<backchannel><codec>AAC</codec></backchannel>",
            "<pusher><suffix>p</suffix></pusher>",
        ]
        .concat();
        let found = Difference::between(&read(&nodes), &read(&format!("\n\n{nodes}")));
        assert!(found.is_none(), "{found:?}");
    }

    #[test]
    fn a_format_of_its_own_changes_a_rule_and_not_the_proxy() {
        let node =
            |output: &str| format!("<proxy><suffix>x</suffix><url>rtsp://192.0.2.1/</url>{output}</proxy>");
        let output = "<output><video><codec>JPEG</codec></video></output>";
        let found = Difference::between(&read(&node("")), &read(&node(output)));
        assert_eq!((&found.settings[..], found.proxies), (&["output"][..], Count::default()));
    }

    #[test]
    fn what_is_decided_at_start_is_kept_and_named() {
        let running = read("<mtu>1200</mtu><max_sessions>5</max_sessions>");
        let camera = "<videodevice index=\"1\" path=\"/dev/video7\"/>";
        let mut new = read(&format!("<max_sessions>6</max_sessions><log_file>a.log</log_file>{camera}"));
        assert_eq!(keep_from_start(&mut new, &running), ["mtu", "videodevice", "log_file"]);
        assert_eq!((new.mtu, new.max_sessions, new.log_file.is_none()), (1_200, 6, true));
        assert_eq!((new.origin("mtu"), new.origin("log_file")), (running.origin("mtu"), &Origin::Default));
        assert_eq!(keep_from_start(&mut new, &running), [""; 0]);
    }

    #[test]
    fn whatever_waits_for_a_start_is_a_setting_or_a_node() {
        for (name, _) in AT_START {
            let is_node = ["videodevice", "metadata_source"].contains(name);
            assert!(is_node || keys().any(|key| key.name == *name), "{name}");
        }
    }
}
