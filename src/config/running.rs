//! The third stage: what runs. Command line before environment before file before default.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::checked::{Checked, check};
use super::keys::{self, Key, keys};
use super::node::nearest;
use super::origin::{Origin, variable};
use super::problem::{ConfigError, Problem};
use super::settings::{Host, Publish, Settings};
use super::steering::Api;
use super::typed;

/// Settings with what there is to say about them.
#[derive(Debug)]
pub struct Loaded {
    /// What runs.
    pub settings: Settings,
    /// The file that was read. None when there is none.
    pub file: Option<PathBuf>,
    /// What was ignored, corrected or is not there yet, each said once at start.
    pub warnings: Vec<Problem>,
}

/// What stands above the file, and who reads it.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Variables of the environment, name and value; only those that begin with `RINGCASTER_` are looked at.
    pub environment: Vec<(String, String)>,
    /// Root settings from the command line: key and text.
    pub command_line: Vec<(&'static str, String)>,
    /// Whether the program that reads it may open less than one that starts (`landlock`, `run_as`): what it may not look into
    /// is for the next start to find out.
    pub is_confined: bool,
}

/// Loads the configuration: `file`, or the first of [`find_file`]'s names in the working folder, or the defaults.
///
/// Errors: the file cannot be read, or anything in it, the environment or the command line is wrong.
pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Loaded, ConfigError> {
    let Some(file) = file.map(Path::to_path_buf).or_else(|| find_file(Path::new(""))) else {
        return Merge::default().finish(None, overrides);
    };
    let bytes = typed::read(&file)
        .map_err(|error| Problem::outside(file.display().to_string(), format!("cannot be read: {error}")))?;
    load_bytes(&bytes, &file, overrides)
}

/// Loads the configuration from bytes, as if they were those of `file`.
pub fn load_bytes(bytes: &[u8], file: &Path, overrides: &Overrides) -> Result<Loaded, ConfigError> {
    let mut merge = Merge::default();
    merge.file(check(&typed::parse(bytes, file)?)?, folder_of(file));
    merge.finish(Some(file.to_path_buf()), overrides)
}

/// The configuration file that is used when none is named.
pub fn find_file(folder: &Path) -> Option<PathBuf> {
    ["rtspserver.xml", "rtspserver.cfg", "config.xml"]
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

#[derive(Default)]
struct Merge {
    settings: Settings,
    origins: BTreeMap<&'static str, Origin>,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Merge {
    fn file(&mut self, checked: Checked, folder: &Path) {
        let mut lists: BTreeMap<&str, String> = BTreeMap::new();
        for value in checked.values {
            if keys::is_list(value.key.name) {
                let list = lists.entry(value.key.name).or_default();
                *list += &format!(" {}", value.text);
                (value.key.set)(&mut self.settings, list);
            } else {
                (value.key.set)(&mut self.settings, &value.text);
            }
            if let Some(path) = path_mut(&mut self.settings, value.key.name) {
                *path = folder.join(&*path);
            }
            self.origins.insert(value.key.name, Origin::File(value.place));
        }
        self.settings.users = checked.users;
        self.settings.outputs = checked.outputs;
        self.settings.proxies = checked.proxies;
        self.settings.pushers = checked.pushers;
        self.settings.cameras = checked.cameras;
        self.settings.backchannel = checked.backchannel;
        let sources = checked.metadata_sources.into_iter();
        self.settings.metadata_sources = sources.map(|source| source.seen_from(folder)).collect();
        self.warnings.extend(checked.warnings);
    }

    fn environment(&mut self, variables: &[(String, String)]) {
        for (name, text) in variables.iter().filter(|(name, _)| name.starts_with("RINGCASTER_")) {
            let Some(key) = keys().find(|key| variable(key.name) == *name) else {
                self.unknown_variable(name);
                continue;
            };
            if !text.trim().is_empty() {
                self.set(key, text.trim(), Origin::Environment, name);
            }
        }
    }

    fn command_line(&mut self, options: &[(&'static str, String)]) {
        for (name, text) in options {
            if let Some(key) = keys::find(name) {
                self.set(key, text, Origin::CommandLine, name);
            }
        }
    }

    fn set(&mut self, key: &'static Key, text: &str, origin: Origin, subject: &str) {
        if (key.set)(&mut self.settings, text) {
            self.origins.insert(key.name, origin);
        } else {
            self.errors.push(Problem::outside(subject, key.refuse(text)));
        }
    }

    fn unknown_variable(&mut self, name: &str) {
        let known: Vec<String> = keys().map(|key| variable(key.name)).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let text = match nearest_upper(name, &known) {
            Some(near) => format!("unknown variable; did you mean {near}?"),
            None => "unknown variable".to_string(),
        };
        self.warnings.push(Problem::outside(name, text));
    }

    /// `media` beside the file if it exists, else the file's folder.
    fn default_media_dir(&mut self) {
        let folder = &self.settings.folder;
        if self.origins.contains_key("media_dir") {
            return;
        }
        let media = folder.join("media");
        self.settings.media_dir = match (media.is_dir(), folder.as_os_str().is_empty()) {
            (true, _) => media,
            (false, false) => folder.clone(),
            (false, true) => PathBuf::from("."),
        };
    }

    fn finish(mut self, file: Option<PathBuf>, overrides: &Overrides) -> Result<Loaded, ConfigError> {
        self.environment(&overrides.environment);
        self.command_line(&overrides.command_line);
        self.settings.folder = file.as_deref().map_or(Path::new(""), folder_of).to_path_buf();
        self.default_media_dir();
        self.settings.origins = self.origins;
        self.errors.extend(contradictions(&self.settings));
        match media_dir(&self.settings, overrides.is_confined) {
            Ok(doubt) => self.warnings.extend(doubt),
            Err(problem) => self.errors.push(problem),
        }
        if !self.errors.is_empty() {
            return Err(ConfigError { problems: self.errors });
        }
        self.warnings.extend(doubts(&self.settings));
        Ok(Loaded { settings: self.settings, file, warnings: self.warnings })
    }
}

/// Values that are right alone and wrong together.
fn contradictions(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |key: &str, text: String| problems.push(settings.problem(key, text));
    if settings.udp_port_max.saturating_sub(settings.udp_port_min) < 1 {
        let text = format!(
            "{} is not above udp_port_min {}; allowed: at least one pair of ports",
            settings.udp_port_max, settings.udp_port_min
        );
        refuse("udp_port_max", text);
    }
    let (min, max) = (settings.multicast_ip_min, settings.multicast_ip_max);
    if min.is_ipv4() != max.is_ipv4() || min > max {
        refuse(
            "multicast_ip_max",
            format!("{max} is below multicast_ip_min {min}; allowed: a range of one family"),
        );
    }
    for (key, group) in [("multicast_ip_min", min), ("multicast_ip_max", max)] {
        if let Some(text) = reserved(group) {
            refuse(key, format!("{group} {text}"));
        }
    }
    if let Some(Host::Address(address)) = &settings.multicast_interface
        && address.is_ipv4() != min.is_ipv4()
    {
        let text = format!(
            "{address} and multicast_ip_min {min} are not of one family; allowed: an address of its family"
        );
        refuse("multicast_interface", text);
    }
    if settings.need_auth && settings.users.is_empty() {
        refuse("need_auth", "1 without a <user>; allowed: 0, or at least one <user>".to_string());
    }
    if settings.publish == Some(Publish::Auth) && settings.users.is_empty() {
        let text = "auth without a <user>; allowed: off, local, on, or at least one <user>";
        refuse("publish", text.to_string());
    }
    if settings.api == Some(Api::Auth) && settings.users.is_empty() {
        refuse("api", "auth without a <user>; allowed: off, local, on, or at least one <user>".to_string());
    }
    if settings.cert_file.is_some() != settings.key_file.is_some() {
        let key = if settings.cert_file.is_some() { "cert_file" } else { "key_file" };
        refuse(key, "cert_file and key_file need each other; allowed: both or neither".to_string());
    }
    for (key, text) in same_ports(settings) {
        refuse(key, text);
    }
    problems
}

/// Whether the folder of files is there to be read; what there is to say where only the next start can tell.
fn media_dir(settings: &Settings, is_confined: bool) -> Result<Option<Problem>, Problem> {
    let Err(error) = std::fs::read_dir(&settings.media_dir) else { return Ok(None) };
    let folder = settings.media_dir.display();
    if is_confined && error.kind() == ErrorKind::PermissionDenied {
        let text = format!("the server that runs may not look into {folder} (landlock, run_as)");
        return Ok(Some(settings.problem("media_dir", text)));
    }
    let text = format!("{folder} cannot be read: {error}; allowed: a folder that can be read");
    Err(settings.problem("media_dir", text))
}

/// Why a group is not for media, and which are.
fn reserved(group: IpAddr) -> Option<&'static str> {
    match group {
        // RFC 5771 section 4.
        IpAddr::V4(group) if group.octets()[..3] == [224, 0, 0] => Some(
            "is for routing alone, which passes it to nobody; allowed: 224.0.1.0 and above, best 239.192.0.0 and above",
        ),
        // RFC 4291 section 2.7: without the flag for groups of one's own they are assigned to protocols.
        IpAddr::V6(group) if group.segments()[0] & 0x00f0 == 0 => {
            Some("belongs to a protocol; allowed: ff10:: and above, such as ff15:: or ff35::")
        }
        IpAddr::V6(group) if group.segments()[0] & 0x000f <= 1 => {
            Some("does not leave this machine; allowed: groups of a wider scope, such as ff15:: or ff35::")
        }
        _ => None,
    }
}

/// Values that are right together and still may not be what was meant.
fn doubts(settings: &Settings) -> Vec<Problem> {
    let mut doubts = Vec::new();
    if !settings.metadata {
        let idle = settings.metadata_sources.iter();
        let text = "ignored while metadata is 0; set metadata to 1";
        doubts.extend(idle.map(|source| Problem::at(&source.place, "config/metadata_source", text)));
    }
    if !settings.has_logins() {
        return doubts;
    }
    for user in &settings.users {
        for algorithm in &settings.auth_algorithms {
            if user.secret(*algorithm, &settings.realm).is_none() {
                let text = format!(
                    "none for {algorithm}, which auth_algorithm has: who answers with it cannot log in as \"{}\"",
                    user.name
                );
                doubts.push(Problem::at(&user.place, "config/user/password_hash", text));
            }
        }
    }
    doubts
}

/// Ports that somebody gave to two doors.
fn same_ports(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut doors = vec![("serverport", settings.server_port)];
    doors.extend(settings.rtsps_port.map(|port| ("rtsps_port", port)));
    doors.extend(settings.rtsp_over_http.then_some(("http_port", settings.http_port)));
    doors.extend(settings.rtsp_over_https.then_some(("https_port", settings.https_port)));
    // A door that was only a default gives way when the port cannot be had.
    doors.retain(|(key, _)| settings.is_named(key));
    let mut found = Vec::new();
    for (index, (key, port)) in doors.iter().enumerate() {
        if let Some((other, _)) = doors[..index].iter().find(|(_, taken)| taken == port) {
            found.push((*key, format!("{port} is {other} too; allowed: a port of its own")));
        }
    }
    found
}

/// The path that a setting stores, for those that are relative to the file's folder.
fn path_mut<'a>(settings: &'a mut Settings, key: &str) -> Option<&'a mut PathBuf> {
    match key {
        "media_dir" => Some(&mut settings.media_dir),
        "cert_file" => settings.cert_file.as_mut(),
        "key_file" => settings.key_file.as_mut(),
        "log_file" => settings.log_file.as_mut(),
        "state_dir" => settings.state_dir.as_mut(),
        "api_socket" => settings.api_socket.as_mut(),
        _ => None,
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

fn nearest_upper<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let lower: Vec<String> = known.iter().map(|known| known.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let near = nearest(name, &lower)?;
    lower.iter().position(|known| *known == near).map(|index| known[index])
}

#[cfg(test)]
mod tests {
    use super::super::settings::{LogLevel, PusherMode};
    use super::super::user::Password;
    use super::*;

    #[test]
    fn the_template_of_happytime_loads_as_it_stands() {
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/samples/happytime-template.xml");
        let loaded = load(Some(&template), &Overrides::default()).unwrap();
        let settings = loaded.settings;
        assert_eq!((settings.server_port, settings.http_port, settings.https_port), (554, 8080, 443));
        assert!(settings.server_ips.is_empty() && settings.metadata && !settings.need_auth);
        assert_eq!(settings.log_level, LogLevel::Debug);
        assert_eq!(settings.users.len(), 2);
        assert_eq!(settings.users[1].password, Password::Plain("123456".into()));
        assert_eq!(settings.outputs.len(), 2);
        assert_eq!(settings.outputs[1].url, None);
        assert!(settings.proxies.is_empty());
        let pusher = &settings.pushers[0];
        assert_eq!(
            (pusher.mode, pusher.video.unwrap().port, pusher.audio.as_ref().unwrap().port),
            (PusherMode::Udp, Some(50001), Some(50002))
        );
        assert!(settings.backchannel.is_some());
        assert!(settings.is_named("serverport"));
        assert!(!settings.is_named("rtsps_port"));
    }
}
