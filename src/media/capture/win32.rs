//! Where the monitors and windows of Windows are.

use std::sync::Once;

use winsafe::prelude::*;
use winsafe::{CreateDXGIFactory, EnumWindows, HDC, HWND, RECT, SetProcessDPIAware, co};

use super::area::{Area, Window};
use crate::media::library::MediaError;

/// The monitors, the primary one first, then from left to right and from above.
pub fn areas() -> Result<Vec<Area>, MediaError> {
    count_pixels();
    let mut found = Vec::new();
    let asked = HDC::NULL.EnumDisplayMonitors(None, |monitor, _, _| {
        if let Ok(info) = monitor.GetMonitorInfo() {
            let name = short(&info.szDevice());
            found.push((info.dwFlags != co::MONITORINFOF::PRIMARY, area(name, info.rcMonitor)));
        }
        true
    });
    asked.map_err(|error| MediaError::Broken(format!("screens cannot be listed: {error}")))?;
    found.sort_by_key(|(is_other, area): &(bool, Area)| (*is_other, area.x, area.y));
    Ok(found.into_iter().map(|(_, area)| area).collect())
}

/// Which of the first graphics adapter's outputs a monitor is at, by its name; None where it is at none of them, or is
/// turned, so that what the output shows is not as people see it.
pub fn output(monitor: &str) -> Option<usize> {
    let factory = CreateDXGIFactory().ok()?;
    let adapter = factory.EnumAdapters().next()?.ok()?;
    let turned = [
        co::DXGI_MODE_ROTATION::ROTATE90,
        co::DXGI_MODE_ROTATION::ROTATE180,
        co::DXGI_MODE_ROTATION::ROTATE270,
    ];
    adapter.EnumOutputs().position(|output| {
        let described = output.and_then(|output| output.GetDesc());
        described.is_ok_and(|it| short(&it.DeviceName()) == monitor && !turned.contains(&it.Rotation))
    })
}

/// The windows that can be seen and have a title, the uppermost first.
pub fn windows() -> Result<Vec<Window>, MediaError> {
    count_pixels();
    let mut found = Vec::new();
    let asked = EnumWindows(|window| {
        found.extend(seen(&window));
        true
    });
    asked.map_err(|error| MediaError::Broken(format!("windows cannot be listed: {error}")))?;
    Ok(found)
}

/// A window with what is inside its frame.
fn seen(window: &HWND) -> Option<Window> {
    if !window.IsWindowVisible() || window.IsIconic() {
        return None;
    }
    let title = window.GetWindowText().ok().filter(|title| !title.is_empty())?;
    let inside = window.GetClientRect().ok().and_then(|inside| window.ClientToScreenRc(inside).ok())?;
    let area = area(title.clone(), inside);
    (area.width > 1 && area.height > 1).then_some(Window { id: 0, title, area })
}

/// A device's name without what all of them begin with.
fn short(device: &str) -> String {
    device.trim_start_matches(r"\\.\").to_owned()
}

fn area(name: String, RECT { left, top, right, bottom }: RECT) -> Area {
    let size = |from: i32, to: i32| u32::try_from(to - from).unwrap_or_default();
    Area { name, x: left, y: top, width: size(left, right), height: size(top, bottom) }
}

/// Has the system count in pixels of the screen, as whoever grabs it does, and not in those of an older one.
fn count_pixels() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = SetProcessDPIAware() {
            tracing::debug!(%error, "a screen that is scaled may be cut");
        }
    });
}
