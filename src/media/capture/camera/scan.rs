//! Which cameras are there: the device files that give pictures, and the names by which they are known again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use v4l::Device;
use v4l::capability::{Capabilities, Flags};

use super::numbers::Node;
use super::{GONE, guarded};
use crate::media::library::MediaError;

/// Where device files are, and what those of cameras are called before their number.
const FOLDER: &str = "/dev";
const FILE: &str = "video";

/// Where udev keeps names that stay: first those of the camera, then those of the place where it is plugged in.
const LINKS: [&str; 2] = ["/dev/v4l/by-id", "/dev/v4l/by-path"];

/// What the system tells of each device file.
const ABOUT: &str = "/sys/class/video4linux";

/// What was found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Cameras, in the order of their files' numbers.
    pub nodes: Vec<Node>,
    /// A sentence for each file that may not be looked at.
    pub refused: Vec<String>,
}

impl Scan {
    /// Looks at all device files.
    pub fn run() -> Scan {
        let mut scan = Scan::default();
        for path in files() {
            match node(&path) {
                Ok(node) => scan.nodes.push(node),
                Err(MediaError::Forbidden(refusal)) => scan.refused.push(refusal),
                // It gives no pictures, or has just gone.
                Err(_) => {}
            }
        }
        scan
    }
}

/// Device files of video, by their numbers.
fn files() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(FOLDER) else { return Vec::new() };
    let mut files: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name();
            let digits = name.to_str()?.strip_prefix(FILE)?;
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            Some((digits.parse().ok().filter(|_| is_number)?, entry.path()))
        })
        .collect();
    files.sort_unstable();
    files.into_iter().map(|(_, path)| path).collect()
}

/// The camera behind a device file or a link to one. An error where it is none.
pub fn node(path: &Path) -> Result<Node, MediaError> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let device = opened(&path)?;
    let Capabilities { card: name, bus, capabilities, .. } = guarded(&path, || device.query_caps())?;
    let needed = Flags::VIDEO_CAPTURE | Flags::STREAMING;
    if !capabilities.contains(needed) || capabilities.contains(Flags::TOUCH) {
        return Err(MediaError::Unsupported(format!("{} is no camera", path.display())));
    }
    let link = link(&path);
    let by_id = link.as_ref().filter(|link| link.starts_with(LINKS[0]));
    let identity = match by_id {
        Some(link) => link.display().to_string(),
        None => format!("{name} {bus} {}", number_within(&path)),
    };
    Ok(Node { path, name, bus, link, identity })
}

/// Whether FFmpeg may look for an encoder among the devices of Video4Linux; else the reason. FFmpeg 5.1 crashes over a
/// device that takes pictures and gives them back as they are (v4l2loopback), which it mistakes for one.
pub fn coder() -> Result<(), String> {
    let mut has_coder = false;
    for path in files() {
        let Ok(about) = opened(&path).and_then(|device| guarded(&path, || device.query_caps())) else {
            continue;
        };
        let is_coder = about.capabilities.intersects(Flags::VIDEO_M2M | Flags::VIDEO_M2M_MPLANE);
        if !is_coder && about.capabilities.contains(Flags::VIDEO_CAPTURE | Flags::VIDEO_OUTPUT) {
            return Err(format!("{} is there, which FFmpeg mistakes for an encoder", path.display()));
        }
        has_coder |= is_coder;
    }
    if has_coder { Ok(()) } else { Err("there is no device that encodes".to_owned()) }
}

/// Which of the files of one camera this is: some have one for pictures in colour and one for those in the dark.
fn number_within(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default();
    let number = fs::read_to_string(Path::new(ABOUT).join(file).join("index"));
    number.unwrap_or_default().trim().to_owned()
}

/// The name that stays, of a device file.
fn link(path: &Path) -> Option<PathBuf> {
    LINKS.iter().find_map(|folder| {
        let links = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        let mut links: Vec<_> =
            links.filter(|link| fs::canonicalize(link).is_ok_and(|target| target == path)).collect();
        links.sort_unstable();
        links.into_iter().next()
    })
}

/// Opens a device file. The error says what to do.
pub fn opened(path: &Path) -> Result<Device, MediaError> {
    let file = path.display();
    Device::with_path(path).map_err(|error| match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::PermissionDenied, _) => MediaError::Forbidden(format!(
            "no permission for {file}: let the server's user be in the group that owns it (video)"
        )),
        (io::ErrorKind::NotFound, _) | (_, Some(GONE)) => {
            MediaError::Broken(format!("the camera {file} is not plugged in"))
        }
        (io::ErrorKind::ResourceBusy, _) => MediaError::Broken(in_use(path)),
        _ => MediaError::Broken(format!("{file} cannot be opened: {error}")),
    })
}

/// The sentence about a camera that another program has.
pub fn in_use(path: &Path) -> String {
    format!("{} is in use by another program", path.display())
}
