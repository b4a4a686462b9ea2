//! Where the monitors and windows of an X server are.

use x11rb::connection::Connection;
use x11rb::protocol::randr::ConnectionExt as _;
use x11rb::protocol::xproto::{AtomEnum, ConnectionExt as _, MapState, Window as Id};
use x11rb::rust_connection::RustConnection;

use super::area::{Area, Window};
use crate::media::library::MediaError;

/// Windows within windows that are looked at.
const DEPTH_MAX: usize = 3;

/// Longest title that is read, in units of four bytes.
const TITLE_MAX: u32 = 256;

/// The monitors, the primary one first, then from left to right and from above. The whole screen where the server knows none.
pub fn areas() -> Result<Vec<Area>, MediaError> {
    let (connection, screen) = connect()?;
    let root = connection.setup().roots[screen].clone();
    let monitors = connection.randr_get_monitors(root.root, true).ok().and_then(|cookie| cookie.reply().ok());
    let monitors = monitors.map(|reply| reply.monitors).unwrap_or_default();
    let mut found = Vec::new();
    for monitor in monitors.iter().filter(|monitor| monitor.width > 0 && monitor.height > 0) {
        let name = connection.get_atom_name(monitor.name).ok().and_then(|cookie| cookie.reply().ok());
        let name = name.map(|reply| String::from_utf8_lossy(&reply.name).into_owned()).unwrap_or_default();
        let (x, y) = (monitor.x.into(), monitor.y.into());
        let (width, height) = (monitor.width.into(), monitor.height.into());
        found.push((!monitor.primary, Area { name, x, y, width, height }));
    }
    if found.is_empty() {
        let (width, height) = size(&connection, root.root)?;
        return Ok(vec![Area { name: "screen".to_owned(), x: 0, y: 0, width, height }]);
    }
    found.sort_by_key(|(is_other, area)| (*is_other, area.x, area.y));
    Ok(found.into_iter().map(|(_, area)| area).collect())
}

/// The windows that can be seen and have a title.
pub fn windows() -> Result<Vec<Window>, MediaError> {
    let (connection, screen) = connect()?;
    let root = connection.setup().roots[screen].root;
    let mut found = Vec::new();
    look_into(&connection, root, root, 0, &mut found);
    Ok(found)
}

fn connect() -> Result<(RustConnection, usize), MediaError> {
    x11rb::connect(None).map_err(|error| {
        MediaError::Broken(format!(
            "no X server can be reached: {error}; set DISPLAY for the server's process"
        ))
    })
}

fn size(connection: &RustConnection, window: Id) -> Result<(u32, u32), MediaError> {
    let reply = connection.get_geometry(window).ok().and_then(|cookie| cookie.reply().ok());
    let reply = reply.ok_or_else(|| MediaError::Broken("the X server does not tell its size".to_owned()))?;
    Ok((reply.width.into(), reply.height.into()))
}

fn look_into(connection: &RustConnection, root: Id, window: Id, depth: usize, found: &mut Vec<Window>) {
    if depth > 0
        && let Some(title) = title(connection, window)
        && is_seen(connection, window)
        && let Some(area) = area(connection, root, window)
    {
        found.push(Window { id: window, title, area });
        return;
    }
    if depth >= DEPTH_MAX {
        return;
    }
    let Some(tree) = connection.query_tree(window).ok().and_then(|cookie| cookie.reply().ok()) else {
        return;
    };
    // The uppermost first.
    for child in tree.children.iter().rev() {
        look_into(connection, root, *child, depth + 1, found);
    }
}

fn title(connection: &RustConnection, window: Id) -> Option<String> {
    let atom = |name: &[u8]| connection.intern_atom(true, name).ok()?.reply().ok().map(|reply| reply.atom);
    let read = |property: u32| {
        let cookie = connection.get_property(false, window, property, AtomEnum::ANY, 0, TITLE_MAX).ok()?;
        let value = cookie.reply().ok()?.value;
        (!value.is_empty()).then(|| String::from_utf8_lossy(&value).into_owned())
    };
    let modern = atom(b"_NET_WM_NAME").filter(|atom| *atom != 0).and_then(read);
    modern.or_else(|| read(AtomEnum::WM_NAME.into()))
}

fn is_seen(connection: &RustConnection, window: Id) -> bool {
    let attributes = connection.get_window_attributes(window).ok().and_then(|cookie| cookie.reply().ok());
    attributes.is_some_and(|attributes| attributes.map_state == MapState::VIEWABLE)
}

fn area(connection: &RustConnection, root: Id, window: Id) -> Option<Area> {
    let (width, height) = size(connection, window).ok()?;
    let place = connection.translate_coordinates(window, root, 0, 0).ok()?.reply().ok()?;
    Some(Area { name: String::new(), x: place.dst_x.into(), y: place.dst_y.into(), width, height })
}
