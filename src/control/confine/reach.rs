//! The folders that the program needs, from its settings, its environment and what libraries read on their own.

use std::env;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::config::{Loaded, Settings};

/// Paths by what is done below them; those that do not exist are left out later.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Code, which libraries load when they need it: drivers of encoders, modules of PipeWire and ALSA.
    pub(super) programs: Vec<PathBuf>,
    /// What is read.
    pub(super) read: Vec<PathBuf>,
    /// Device files.
    pub(super) devices: Vec<PathBuf>,
    /// What the program writes itself.
    pub(super) own: Vec<PathBuf>,
    /// Where nothing is done but a file removed.
    pub(super) removed: Vec<PathBuf>,
    /// Whether all files may be read.
    pub(super) reads_all: bool,
}

impl Reach {
    /// What a server with this configuration needs; it removes `pid_file` at its end.
    pub(super) fn of(loaded: &Loaded, pid_file: Option<&Path>) -> Reach {
        let settings = &loaded.settings;
        let mut reach = Reach {
            // Where it is asked for by name, links that lead out of the folders lead nowhere.
            reads_all: settings.follow_symlinks && settings.landlock.is_none(),
            ..Reach::default()
        };
        reach.programs.extend(PROGRAMS.iter().map(PathBuf::from));
        reach.programs.extend(variables(PROGRAMS_NAMED));
        reach.programs.extend(env::current_exe());
        reach.read.extend(SYSTEM.iter().map(PathBuf::from));
        reach.read.extend(variables(READ_NAMED));
        reach.devices.push("/dev".into());
        // It is read again while the program runs, and what is named may be a link.
        reach.read.extend(loaded.file.iter().filter_map(|file| Some(folder_of(&file.canonicalize().ok()?))));
        reach.of_settings(settings, pid_file);
        reach.of_user();
        reach
    }

    fn of_settings(&mut self, settings: &Settings, pid_file: Option<&Path>) {
        self.read.push(settings.media_dir.clone());
        // The whole folder: a file that an editor puts in the place of another is a new one.
        self.read.push(folder(&settings.folder));
        for file in settings.cert_file.iter().chain(&settings.key_file) {
            self.read.push(folder_of(file));
            // Renewed certificates are new files, and what is named often a link to the latest.
            self.read.extend(file.canonicalize().map(|file| folder_of(&file)));
        }
        for source in &settings.metadata_sources {
            self.read.extend(source.file.as_deref().map(folder_of));
            self.own.extend(source.socket.as_deref().map(folder_of));
        }
        self.own.push(folder(settings.state_folder()));
        self.own.extend(settings.api_socket.as_deref().map(folder_of));
        self.own.extend(settings.log_file.as_deref().map(folder_of));
        self.removed.extend(pid_file.map(folder_of));
    }

    /// What libraries keep for the user that the program runs as: the way to X servers, PulseAudio and PipeWire.
    fn of_user(&mut self) {
        let absolute = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute("HOME");
        let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
        self.read.extend([".Xauthority", ".asoundrc", ".config/pipewire"].into_iter().filter_map(in_home));
        self.own.extend(in_home(".config/pulse"));
        self.own.extend(absolute("XDG_RUNTIME_DIR"));
        self.own.push("/dev/shm".into());
        let state = absolute("XDG_STATE_HOME").or_else(|| in_home(".local/state"));
        let has_portal =
            env::var_os("WAYLAND_DISPLAY").is_some() || env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some();
        if let Some(state) = state.filter(|_| has_portal) {
            // Once confined, nobody could make it.
            let state = state.join("ringcaster");
            let _ = DirBuilder::new().recursive(true).mode(0o700).create(&state);
            self.own.push(state);
        }
    }
}

/// The paths in variables of the environment, with colons between them.
fn variables(names: &[&str]) -> Vec<PathBuf> {
    let values = names.iter().filter_map(env::var_os);
    values
        .flat_map(|value| env::split_paths(&value).collect::<Vec<_>>())
        .filter(|path| path.is_absolute())
        .collect()
}

fn folder_of(file: &Path) -> PathBuf {
    folder(file.parent().unwrap_or(Path::new("")))
}

/// A folder by a name that can be opened.
fn folder(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

/// Where systems have their libraries.
const PROGRAMS: &[&str] = &["/usr", "/lib", "/lib64", "/opt", "/nix", "/gnu", "/run/opengl-driver"];
const PROGRAMS_NAMED: &[&str] =
    &["LD_LIBRARY_PATH", "LIBVA_DRIVERS_PATH", "PIPEWIRE_MODULE_DIR", "SPA_PLUGIN_DIR"];
/// Names, time zones, trusted certificates, sound systems, and what the kernel tells of devices. `/etc` as a whole, and the
/// folders of those who write `resolv.conf`, as files in them are replaced while the program runs.
const SYSTEM: &[&str] = &[
    "/etc",
    "/proc",
    "/sys",
    "/run/udev",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/connman",
    "/var/lib/ca-certificates",
    "/var/lib/dbus",
];
const READ_NAMED: &[&str] = &[
    "XAUTHORITY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "ALSA_CONFIG_PATH",
    "PIPEWIRE_CONFIG_DIR",
    "PULSE_COOKIE",
];
