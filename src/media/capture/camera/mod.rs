//! Which camera is meant, in which of its modes is it opened, and how do its pictures come?
//!
//! - [`numbers`]: which of those that are there has which number.
//! - [`mode`]: the mode nearest to what is wanted. [`coding`]: what its pictures are.
//! - [`coded`]: pictures that the camera itself has coded.
//! - [`scan`], [`modes`], [`device`] and [`buffers`] talk to V4L2: what there is, what it can do, one that is open, and
//!   its pictures.

pub mod buffers;
pub mod coded;
pub mod coding;
pub mod device;
pub mod mode;
pub mod modes;
pub mod numbers;
pub mod scan;

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::device::Camera;
pub use self::numbers::Mapped;
use self::numbers::{Node, Numbers};
use self::scan::Scan;
pub use self::scan::coder;
use super::wanted::Wanted;
use super::{Capture, Device, Found};
use crate::media::library::MediaError;

/// The cameras of this machine.
pub struct Cameras {
    numbers: Mutex<Numbers>,
    /// Size of each, by its identity, as it was before anybody asked for another.
    usual: Mutex<HashMap<String, (u32, u32)>>,
}

impl Cameras {
    /// Some of them have a number of their own.
    pub fn new(mapped: Vec<Mapped>) -> Cameras {
        Cameras { numbers: Mutex::new(Numbers::new(mapped)), usual: Mutex::default() }
    }

    /// Opens one in the mode nearest to what is wanted. [`MediaError::NotFound`] where no camera ever had the number, and the
    /// log says which there are.
    pub fn open(&self, index: u32, wanted: &Wanted) -> Result<Box<dyn Capture>, MediaError> {
        let node = self.find(index)?;
        let usual = lock(&self.usual).get(&node.identity).copied();
        let (camera, usual) = Camera::open(&node, wanted, usual)?;
        lock(&self.usual).insert(node.identity, usual);
        Ok(Box::new(camera))
    }

    /// All that there are, with their modes.
    pub fn list(&self) -> Vec<Result<Found, String>> {
        let scan = Scan::run();
        let mut seats = lock(&self.numbers).assign(&scan.nodes);
        seats.sort_unstable_by_key(|(index, _)| *index);
        let found = seats.into_iter().filter_map(|(index, at)| Some((index, scan.nodes.get(at)?)));
        let mut all: Vec<_> = found
            .map(|(index, node)| {
                let lines = modes_of(node).unwrap_or_default();
                let description = [vec![node.to_string()], lines].concat().join("\n");
                Ok(Found { device: Device::Camera(index), description })
            })
            .collect();
        all.extend(scan.refused.iter().map(|refusal| Err(format!("cameras: {refusal}"))));
        if all.is_empty() {
            all.push(Err("cameras: there is no /dev/video0".to_owned()));
        }
        all
    }

    fn find(&self, index: u32) -> Result<Node, MediaError> {
        let mut numbers = lock(&self.numbers);
        if let Some(mapped) = numbers.mapped(index) {
            let path = mapped.path.display();
            return match scan::node(&mapped.path) {
                Ok(node) => Ok(node),
                Err(_) if !mapped.path.exists() => Err(MediaError::Broken(format!(
                    "the camera {path} of <videodevice index=\"{index}\"> is not plugged in"
                ))),
                Err(refusal) => Err(refusal),
            };
        }
        let scan = Scan::run();
        let seats = numbers.assign(&scan.nodes);
        let seat = seats.iter().find(|(seat, _)| *seat == index);
        if let Some(node) = seat.and_then(|(_, at)| scan.nodes.get(*at)) {
            return Ok(node.clone());
        }
        if let Some(name) = numbers.name_of(index) {
            return Err(MediaError::Broken(format!("the camera \"{name}\" is not plugged in")));
        }
        if let Some(refusal) = scan.refused.into_iter().next() {
            return Err(MediaError::Forbidden(refusal));
        }
        let names: Vec<_> = scan.nodes.iter().map(ToString::to_string).collect();
        tracing::info!(index, "no such camera; there are {}: {}", names.len(), names.join(", "));
        Err(MediaError::NotFound)
    }
}

/// What one can do, in lines for people.
fn modes_of(node: &Node) -> Result<Vec<String>, MediaError> {
    let device = scan::opened(&node.path)?;
    guarded(&node.path, || modes::in_lines(&device))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `ENODEV`, what calls fail with once a camera was unplugged.
const GONE: i32 = 19;

/// Calls the driver. The crate panics over what it does not know of a driver's answers: a camera must not end its thread
/// without a word.
fn guarded<T>(path: &Path, act: impl FnOnce() -> io::Result<T>) -> Result<T, MediaError> {
    let file = path.display();
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.raw_os_error() == Some(GONE) => {
            Err(MediaError::Broken(format!("the camera {file} is not plugged in")))
        }
        Ok(Err(error)) => Err(MediaError::Broken(format!("{file} cannot be used: {error}"))),
        Err(_) => Err(MediaError::Broken(format!("{file} answers what is not understood"))),
    }
}
