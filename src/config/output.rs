//! `<output>`: the format to send a stream in, and which streams a rule is for.

use std::collections::HashMap;

use super::origin::Place;
use super::settings::Settings;
use super::wildcard::wildcard;
use crate::media::format::Format;

/// One `<output>` node.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// `url`: what it matches. None matches every file and device.
    pub url: Option<String>,
    /// `video` and `audio`.
    pub format: Format,
    /// `live`: whether files that it matches are live channels, all viewers at the same point.
    pub live: bool,
    /// Where the node is.
    pub place: Place,
}

/// Who owns a path; decides which rules can be for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The built-in channel.
    Test,
    /// A screen, camera or sound device, or a combination.
    Device,
    /// A `<proxy>`.
    Proxy,
    /// A `<pusher>`.
    Pusher,
    /// A client that publishes.
    Published,
    /// A file in `media_dir`.
    File,
}

impl Owner {
    /// What it is, for people.
    pub fn name(self) -> &'static str {
        match self {
            Owner::Test => "built-in channel",
            Owner::Device => "device",
            Owner::Proxy => "proxy",
            Owner::Pusher => "pusher",
            Owner::Published => "published stream",
            Owner::File => "file or published stream",
        }
    }
}

impl Output {
    /// Whether anything but the source's own format may be asked for.
    pub fn asks_for_encoding(&self) -> bool {
        self.format != Format::default()
    }

    /// Whether the rule is for `path`, decoded and without parameters, owned by `owner`.
    pub fn matches(&self, path: &str, owner: Owner) -> bool {
        let path = fold(path);
        let Some(pattern) = self.url.as_deref().map(fold) else {
            return matches!(owner, Owner::File | Owner::Device);
        };
        match owner {
            Owner::File => matches_file(&pattern, &path),
            Owner::Device => matches_device(&pattern, &path),
            Owner::Test | Owner::Proxy | Owner::Pusher | Owner::Published => pattern == path,
        }
    }
}

/// The rules of a configuration, and whose paths are whose.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    outputs: Vec<Output>,
    /// Proxies and pushers by path, with rules of their own.
    own: HashMap<String, (Owner, Option<Output>)>,
    has_test: bool,
}

impl Settings {
    /// The rules for the formats that streams are sent in.
    pub fn rules(&self) -> Rules {
        let proxies = self.proxies.iter().map(|proxy| (&proxy.suffix, (Owner::Proxy, proxy.output.clone())));
        let pushers =
            self.pushers.iter().map(|pusher| (&pusher.suffix, (Owner::Pusher, pusher.output.clone())));
        let mut own = HashMap::new();
        for (path, entry) in proxies.chain(pushers) {
            own.entry(path.clone()).or_insert(entry);
        }
        Rules { outputs: self.outputs.clone(), own, has_test: self.test }
    }
}

impl Rules {
    /// The `<output>` for `path`, decoded and without parameters: a proxy's or pusher's own, else the first that matches.
    pub fn rule_for(&self, path: &str, owner: Owner) -> Option<&Output> {
        let own = self.own.get(path.trim_matches('/')).filter(|(own, _)| *own == owner);
        let own = own.and_then(|(_, output)| output.as_ref());
        own.or_else(|| self.outputs.iter().find(|output| output.matches(path, owner)))
    }

    /// Who owns `path` as far as the configuration can tell; a published path looks like a file.
    pub fn owner_of(&self, path: &str) -> Owner {
        let path = path.trim_matches('/');
        if path.eq_ignore_ascii_case("test") && self.has_test {
            Owner::Test
        } else if is_device(path) {
            Owner::Device
        } else {
            self.own.get(path).map_or(Owner::File, |(owner, _)| *owner)
        }
    }

    /// Whether the first rule that is for a file makes it a live channel.
    pub fn is_live_file(&self, name: &str) -> bool {
        self.rule_for(name, Owner::File).is_some_and(|output| output.live)
    }

    /// Whether any file may be a live channel.
    pub fn have_live_files(&self) -> bool {
        self.outputs.iter().any(|output| output.live)
    }

    /// The format that the first rule that is for a file asks for.
    pub fn file_format(&self, name: &str) -> Format {
        self.format(name, Owner::File)
    }

    /// The format that is asked for of the live stream of a path, which is no file's.
    pub fn live_format(&self, path: &str) -> Format {
        let owner = match self.owner_of(path) {
            Owner::File => Owner::Published,
            owner => owner,
        };
        self.format(path, owner)
    }

    fn format(&self, path: &str, owner: Owner) -> Format {
        self.rule_for(path, owner).map_or(Format::default(), |output| output.format)
    }
}

/// Whether `path` is a device or a combination of devices.
pub fn is_device(path: &str) -> bool {
    fold(path).split('+').all(|part| device(part).is_some())
}

/// Kind and index of one device's name in lower case; no index is the first.
fn device(name: &str) -> Option<(&'static str, Option<u32>)> {
    let kind = DEVICES.into_iter().find(|kind| name.starts_with(kind))?;
    let digits = &name[kind.len()..];
    if digits.is_empty() {
        return Some((kind, None));
    }
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten().map(|index| (kind, Some(index)))
}

/// Each part of the pattern must meet the path's part at its place; the path may go on.
fn matches_device(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('+');
    pattern.split('+').all(|wanted| parts.next().is_some_and(|part| matches_device_part(wanted, part)))
}

fn matches_device_part(wanted: &str, part: &str) -> bool {
    match (device(wanted), device(part)) {
        // Without an index the rule is for all devices of the kind.
        (Some((wanted, None)), Some((kind, _))) => wanted == kind,
        (Some((wanted, Some(index))), Some((kind, has))) => wanted == kind && index == has.unwrap_or(0),
        _ => wildcard(wanted, part),
    }
}

/// A pattern with a slash is for the whole path, one without for the name in any folder, a bare word for the extension too.
fn matches_file(pattern: &str, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let subject = if pattern.contains('/') { path } else { name };
    if wildcard(pattern, subject) {
        return true;
    }
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    extension == Some(pattern.strip_prefix('.').unwrap_or(pattern))
}

fn fold(text: &str) -> String {
    text.trim_matches('/').to_lowercase()
}

/// Names of the devices.
const DEVICES: [&str; 3] = ["screenlive", "videodevice", "audiodevice"];

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::config::{Holder, Proxy, Secret, Transfer};

    fn rule(url: &str) -> Output {
        Output {
            url: (!url.is_empty()).then(|| url.to_string()),
            format: Format::default(),
            live: false,
            place: Place { file: Arc::from(Path::new("f.xml")), line: 1, column: 1 },
        }
    }

    fn file(pattern: &str, path: &str) -> bool {
        rule(pattern).matches(path, Owner::File)
    }

    fn device(pattern: &str, path: &str) -> bool {
        rule(pattern).matches(path, Owner::Device)
    }

    #[test]
    fn files_match_by_name_by_extension_and_by_wildcard_in_any_folder_and_case() {
        assert!(file("*.mp4", "/Clip.MP4") && file("mp4", "a/b/clip.mp4") && file(".MP4", "clip.mp4"));
        assert!(file("sample.flv", "shows/Sample.FLV") && file("*", "anything"));
        assert!(file("shows/*.mkv", "shows/one.mkv") && file("a*b*c.mp4", "aXbYbZc.mp4"));
        assert!(!file("mp4", "mp4.mkv") && !file("*.mp4", "clip.mp4.mkv") && !file("mp4", "clip.xmp4"));
        assert!(!file("shows/*.mkv", "other/one.mkv") && !file("sample.flv", "my-sample.flv"));
        assert!(!file("ab*ba", "aba") && !file("screenlive", "screenlive.mp4"));
    }

    #[test]
    fn a_device_without_an_index_stands_for_all_and_combinations_match_by_their_beginning() {
        assert!(device("screenlive", "screenlive") && device("ScreenLive", "screenlive1+audiodevice"));
        assert!(device("screenlive0", "screenlive") && device("videodevice1", "videodevice1+audiodevice1"));
        assert!(device("videodevice+audiodevice1", "videodevice2+audiodevice1"));
        assert!(!device("screenlive1", "screenlive") && !device("audiodevice", "screenlive+audiodevice"));
        assert!(!device("videodevice+audiodevice", "videodevice") && !device("videodevice", "screenlive"));
        assert!(!device("mp4", "screenlive"));
    }

    #[test]
    fn a_rule_without_url_is_for_files_and_devices_only() {
        for (owner, expected) in [
            (Owner::File, true),
            (Owner::Device, true),
            (Owner::Test, false),
            (Owner::Proxy, false),
            (Owner::Pusher, false),
            (Owner::Published, false),
        ] {
            assert_eq!(rule("").matches("gate", owner), expected);
            assert!(owner == Owner::Device || rule("Gate").matches("gate", owner));
            assert!(matches!(owner, Owner::File | Owner::Device) || !rule("*").matches("gate", owner));
        }
    }

    #[test]
    fn the_first_rule_that_matches_is_taken_and_a_proxys_own_before_it() {
        let mut settings =
            Settings { outputs: vec![rule("a.mp4"), rule("mp4"), rule("")], ..Settings::default() };
        let found = |settings: &Settings, path: &str| {
            let rules = settings.rules();
            rules.rule_for(path, rules.owner_of(path)).map(|output| output.url.clone())
        };
        assert_eq!(found(&settings, "/x/a.mp4"), Some(Some("a.mp4".to_string())));
        assert_eq!(found(&settings, "/b.mp4"), Some(Some("mp4".to_string())));
        assert_eq!(found(&settings, "/screenlive"), Some(None));
        assert_eq!(found(&settings, "/test"), None);
        settings.outputs.push(rule("gate"));
        settings.proxies.push(Proxy {
            suffix: "gate".to_string(),
            url: "rtsp://192.0.2.1/".to_string(),
            user: String::new(),
            pass: Secret::default(),
            verify: false,
            backchannel: true,
            transfer: Transfer::Tcp,
            ondemand: true,
            output: None,
            holder: Holder::File,
        });
        assert_eq!(found(&settings, "/gate"), Some(Some("gate".to_string())));
        settings.proxies[0].output = Some(rule(""));
        assert_eq!(found(&settings, "/gate"), Some(None));
    }

    #[test]
    fn devices_are_told_from_files_that_are_named_alike() {
        assert!(
            is_device("screenlive") && is_device("VideoDevice12") && is_device("screenlive1+audiodevice")
        );
        assert!(!is_device("screenlive.mp4") && !is_device("screenlive+") && !is_device("audiodevice1x"));
        assert!(!is_device("") && !is_device("screenlive99999999999"));
    }
}
