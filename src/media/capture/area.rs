//! Where monitors and windows are on a desktop.

use crate::media::library::MediaError;

/// A part of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// What the system calls it.
    pub name: String,
    /// Pixels from the left.
    pub x: i32,
    /// Lines from above.
    pub y: i32,
    /// Pixels a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

/// A window that can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The system's number for it.
    pub id: u32,
    /// Its title.
    pub title: String,
    /// Where it is.
    pub area: Area,
}

/// The first of these windows that has a text in its title, in whatever letters.
pub fn titled(windows: Vec<Window>, text: &str) -> Result<Window, MediaError> {
    let wanted = text.to_lowercase();
    let found = windows.into_iter().find(|window| window.title.to_lowercase().contains(&wanted));
    found.ok_or_else(|| {
        tracing::info!(title = text, "no window has that in its title");
        MediaError::NotFound
    })
}
