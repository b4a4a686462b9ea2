//! What a PipeWire daemon gives: its microphones, and the screens that a Wayland desktop hands out through its portal.
//!
//! - `nodes`: which microphones there are.
//! - `running`: a stream of PipeWire's on a thread of its own.
//! - `formats`: what is asked of it, in PipeWire's words.
//! - `microphone`, `screen`: captures; `pictures`: what a screen's stream leaves.
//! - `portal`: asks the desktop's user for a screen.

mod formats;
mod microphone;
mod nodes;
mod pictures;
mod portal;
mod running;
mod screen;

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::microphone::Microphone;
use self::nodes::Node;
use self::portal::Portal;
use self::screen::Screen;
use super::{Capture, Device, Found};
use crate::media::format::Framerate;
use crate::media::library::MediaError;

/// Screens that viewers can ask a desktop's user for: each is a question of its own.
const SCREENS_MAX: u32 = 8;

/// How long a number stays with a microphone that is gone: daemons that start again find one after the other.
const GONE_MAX: Duration = Duration::from_secs(60);

/// The microphones of PipeWire, which are counted in the order of their names: it outlives a restart and a replug.
#[derive(Debug, Default)]
pub struct Microphones {
    /// Those that were opened, by their numbers. Where there are any, none is looked for by another door.
    opened: Mutex<HashMap<u32, Opened>>,
}

/// A microphone that has a number.
#[derive(Debug)]
struct Opened {
    name: String,
    /// Since when it was not there; None while it is.
    gone: Option<Instant>,
}

/// The screens of a Wayland desktop.
#[derive(Debug)]
pub struct Desktop {
    portal: Arc<Portal>,
}

impl Microphones {
    /// None is open.
    pub fn new() -> Microphones {
        Microphones::default()
    }

    /// Opens one. None where PipeWire does not run or knows of none: another door may.
    pub fn open(&self, index: u32) -> Option<Result<Box<dyn Capture>, MediaError>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let were_heard = !opened.is_empty();
        let found = match nodes::microphones() {
            Ok(found) => found,
            Err(error) if were_heard => return Some(Err(MediaError::Broken(error))),
            Err(error) => {
                tracing::debug!(%error, "microphones are looked for beside PipeWire");
                return None;
            }
        };
        if found.is_empty() && !were_heard {
            return None;
        }
        let node = match numbered(&mut opened, index, &found) {
            Ok(node) => node,
            Err(error) => return Some(Err(error)),
        };
        drop(opened);
        Some(Microphone::open(node).map(|microphone| Box::new(microphone) as Box<dyn Capture>))
    }

    /// All of them. None where PipeWire does not run or knows of none.
    pub fn list(&self) -> Option<Vec<Found>> {
        let found = nodes::microphones().ok().filter(|found| !found.is_empty())?;
        let found = found.into_iter().enumerate().map(|(index, node)| {
            let description = format!("{} ({})", node.description, node.name);
            Found { device: Device::Microphone(index as u32), description }
        });
        Some(found.collect())
    }
}

impl Desktop {
    /// A desktop, on whose screens the pointer is seen or not.
    pub fn new(has_pointer: bool) -> Desktop {
        Desktop { portal: Arc::new(Portal::new(has_pointer)) }
    }

    /// Whether screens come from here: in a Wayland session, where an X server has no more than its own windows to show,
    /// and where there is no X server but the bus of a session.
    pub fn is_there() -> bool {
        is_set("WAYLAND_DISPLAY") || (!is_set("DISPLAY") && has_session_bus())
    }

    /// Opens a screen, which the desktop's user chooses unless that was done before.
    pub fn open(&self, index: u32, rate: Framerate) -> Result<Box<dyn Capture>, MediaError> {
        if index >= SCREENS_MAX {
            tracing::info!(index, "no such screen; users of a desktop are asked for {SCREENS_MAX} at most");
            return Err(MediaError::NotFound);
        }
        Ok(Box::new(Screen::open(&self.portal, index, rate)?))
    }

    /// What the portal offers: which screens there are is its secret.
    pub fn list(&self) -> Vec<Result<Found, String>> {
        let version = match portal::version() {
            Ok(version) => version,
            Err(error) => return vec![Err(format!("screens: {error}"))],
        };
        let last = SCREENS_MAX - 1;
        let description = format!(
            "what the desktop's user chooses when it is first watched (ScreenCast portal, version {version}); \
             /screenlive1 to /screenlive{last} are choices of their own"
        );
        vec![Ok(Found { device: Device::Screen(0), description })]
    }
}

/// The microphone that has a number, or gets it.
fn numbered<'a>(
    opened: &mut HashMap<u32, Opened>,
    index: u32,
    found: &'a [Node],
) -> Result<&'a Node, MediaError> {
    if let Some(before) = opened.get_mut(&index) {
        if let Some(node) = found.iter().find(|node| node.name == before.name) {
            before.gone = None;
            return Ok(node);
        }
        if before.gone.get_or_insert_with(Instant::now).elapsed() < GONE_MAX {
            return Err(MediaError::Broken(format!("{} is not there any more", before.name)));
        }
    }
    let Some(node) = found.get(index as usize) else {
        let names: Vec<_> = found.iter().map(|node| node.name.as_str()).collect();
        tracing::info!(index, "no such microphone; there are {}: {}", names.len(), names.join(", "));
        return Err(MediaError::NotFound);
    };
    opened.insert(index, Opened { name: node.name.clone(), gone: None });
    Ok(node)
}

fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}

fn has_session_bus() -> bool {
    let beside = env::var_os("XDG_RUNTIME_DIR").map(|folder| PathBuf::from(folder).join("bus"));
    is_set("DBUS_SESSION_BUS_ADDRESS") || beside.is_some_and(|bus| bus.exists())
}

/// Whether a daemon could answer. libpipewire is asked only then: where it finds none, it says so on standard error.
fn has_daemon() -> bool {
    let remote = env::var("PIPEWIRE_REMOTE").ok().filter(|remote| !remote.is_empty());
    let remote = remote.unwrap_or_else(|| "pipewire-0".to_owned());
    let folders = ["PIPEWIRE_RUNTIME_DIR", "XDG_RUNTIME_DIR"].into_iter().filter_map(env::var_os);
    let folders = folders.map(PathBuf::from).chain([PathBuf::from("/run/pipewire")]);
    Path::new(&remote).is_absolute() || folders.into_iter().any(|folder| folder.join(&remote).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> Vec<Node> {
        let node = |name: &&str| Node { id: 0, name: (*name).to_owned(), description: String::new() };
        names.iter().map(node).collect()
    }

    #[test]
    fn a_microphone_keeps_its_number_while_it_is_gone_and_loses_it_in_the_end() {
        let mut opened: HashMap<u32, Opened> = HashMap::new();
        let mut name = |index: u32, names: &[&str], age: Duration| {
            if let Some(gone) = opened.get_mut(&index).and_then(|before| before.gone.as_mut()) {
                *gone = gone.checked_sub(age).unwrap();
            }
            numbered(&mut opened, index, &nodes(names)).map(|node| node.name.clone())
        };
        let (now, later) = (Duration::ZERO, GONE_MAX);
        assert_eq!(name(0, &["a", "b"], now).unwrap(), "a");
        assert_eq!(name(1, &["a", "b"], now).unwrap(), "b");
        assert_eq!(name(2, &["a", "b"], now), Err(MediaError::NotFound));
        // The daemon was started again, and has not found all of them.
        assert!(matches!(name(0, &["b"], now), Err(MediaError::Broken(_))));
        assert_eq!(name(1, &["b"], now).unwrap(), "b");
        assert_eq!(name(0, &["0", "a", "b"], later).unwrap(), "a");
        // What never comes back is not waited for.
        assert!(matches!(name(0, &["b"], now), Err(MediaError::Broken(_))));
        assert_eq!(name(0, &["b"], later).unwrap(), "b");
    }
}
