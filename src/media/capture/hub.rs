//! One capture of a device for all who want it: opened by the first, closed after the last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::wanted::Wanted;
use super::{Device, Devices, Form, Taken};
use crate::media::format::Format;
use crate::media::library::MediaError;

/// Coded pictures and stretches of sound that wait for one who wants them. What comes beyond is left out for it.
const WAITING_MAX: usize = 32;

/// Pictures that are not coded and wait: they are large, and the latest are of use.
const PICTURES_MAX: usize = 2;

/// All captures.
pub struct Hub {
    devices: Arc<dyn Devices>,
    running: Mutex<HashMap<Device, Weak<Shared>>>,
    /// Devices that a thread is with: some systems let it wait for ever.
    held: Arc<Mutex<HashMap<Device, usize>>>,
}

/// What a capture tells.
#[derive(Clone, Debug)]
pub enum Event {
    /// Something was taken.
    Taken(Taken),
    /// Nothing more comes.
    Lost(MediaError),
}

/// Somebody's share of a capture.
pub struct Tap {
    /// What comes of it.
    pub events: Receiver<Event>,
    _shared: Arc<Shared>,
}

struct Shared {
    takers: Mutex<Vec<Sender<Event>>>,
    wanted: Mutex<Wanted>,
}

impl Hub {
    /// No capture yet.
    pub fn new(devices: Arc<dyn Devices>) -> Hub {
        Hub { devices, running: Mutex::default(), held: Arc::default() }
    }

    /// The devices.
    pub fn devices(&self) -> &dyn Devices {
        &*self.devices
    }

    /// A share of a device's capture, which begins if there is none. Whether it can be opened is told as an event.
    pub fn tap(&self, device: &Device, wanted: &Format) -> Result<Tap, MediaError> {
        let (sender, events) = bounded(WAITING_MAX);
        let wanted = Wanted::of(device, wanted);
        let mut running = lock(&self.running);
        running.retain(|_, shared| shared.strong_count() > 0);
        if let Some(shared) = running.get(device).and_then(Weak::upgrade)
            && shared.add(&sender, &wanted)
        {
            return Ok(Tap { events, _shared: shared });
        }
        let held = Held::take(&self.held, device).ok_or_else(|| {
            MediaError::Broken(format!("{device} does not answer, and is waited for already"))
        })?;
        let shared = Arc::new(Shared { takers: Mutex::new(vec![sender]), wanted: Mutex::new(wanted) });
        let (devices, device) = (self.devices.clone(), device.clone());
        running.insert(device.clone(), Arc::downgrade(&shared));
        let weak = Arc::downgrade(&shared);
        thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || {
                let _held = held;
                capture(&*devices, &device, &weak);
            })
            .map_err(|error| MediaError::Broken(format!("no thread for a device: {error}")))?;
        Ok(Tap { events, _shared: shared })
    }
}

impl Shared {
    /// Adds somebody, unless the capture has ended.
    fn add(&self, sender: &Sender<Event>, wanted: &Wanted) -> bool {
        let mut takers = lock(&self.takers);
        if takers.is_empty() {
            return false;
        }
        takers.push(sender.clone());
        lock(&self.wanted).join(wanted);
        true
    }

    /// Hands something to all who still want it; false when nobody does.
    fn hand_out(&self, event: &Event) -> bool {
        let is_large = matches!(event, Event::Taken(Taken { form: Form::Pixels(_), .. }));
        let mut takers = lock(&self.takers);
        takers.retain(|taker| {
            // Who has gone has taken what waited along.
            if is_large && taker.len() >= PICTURES_MAX {
                return true;
            }
            !matches!(taker.try_send(event.clone()), Err(TrySendError::Disconnected(_)))
        });
        !takers.is_empty()
    }

    /// Tells all that nothing more comes. Nobody can be added afterwards.
    fn end(&self, error: &MediaError) {
        for taker in lock(&self.takers).drain(..) {
            let _ = taker.try_send(Event::Lost(error.clone()));
        }
    }
}

/// Takes of a device until nobody wants anything more.
fn capture(devices: &dyn Devices, device: &Device, shared: &Weak<Shared>) {
    // Those who wait are told, whatever ends this.
    let _end = End(shared);
    let end = |error: &MediaError| {
        if let Some(shared) = shared.upgrade() {
            shared.end(error);
        }
    };
    'open: loop {
        let Some(mut opened_for) = shared.upgrade().map(|shared| *lock(&shared.wanted)) else { return };
        let mut capture = match devices.open(device, &opened_for) {
            Ok(capture) => capture,
            Err(error) => return end(&error),
        };
        tracing::info!(%device, "device opened");
        loop {
            let taken = capture.take();
            let Some(shared) = shared.upgrade() else {
                tracing::info!(%device, "device closed: nobody watches");
                return;
            };
            match taken {
                Ok(Some(taken)) => {
                    if !shared.hand_out(&Event::Taken(taken)) {
                        // Nobody is left, and who comes now begins anew.
                        tracing::info!(%device, "device closed: nobody watches");
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%device, %error, "device lost");
                    return shared.end(&error);
                }
            }
            let wanted = *lock(&shared.wanted);
            if wanted != opened_for {
                if !capture.suits(&wanted) {
                    tracing::info!(%device, "device closed: more is wanted of it");
                    continue 'open;
                }
                opened_for = wanted;
            }
        }
    }
}

/// A thread is with a device, until this is dropped.
struct Held(Arc<Mutex<HashMap<Device, usize>>>, Device);

/// Threads that may be with one device: one that was just left may still be closing it.
const HELD_MAX: usize = 3;

impl Held {
    fn take(all: &Arc<Mutex<HashMap<Device, usize>>>, device: &Device) -> Option<Held> {
        let mut held = lock(all);
        let count = held.entry(device.clone()).or_default();
        if *count >= HELD_MAX {
            return None;
        }
        *count += 1;
        Some(Held(all.clone(), device.clone()))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = lock(&self.0);
        if let Some(count) = held.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.1);
            }
        }
    }
}

/// Ends a capture that has not said why.
struct End<'a>(&'a Weak<Shared>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.end(&MediaError::Broken("its capture has ended".to_owned()));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use proto::track::{Codec, Track};

    use super::super::{Capture, Found, Pixels, Shape};
    use super::*;
    use crate::media::format::Framerate;

    /// A device that can be unplugged.
    #[derive(Default)]
    struct Plug {
        opened: AtomicUsize,
        closed: Arc<AtomicUsize>,
        is_out: Arc<AtomicU32>,
        /// What it gives; None for coded pictures.
        shape: Option<Shape>,
        /// The highest rate that it was told while it was open, where it can be told one.
        hastened: Option<Arc<AtomicU32>>,
    }

    struct Plugged {
        closed: Arc<AtomicUsize>,
        is_out: Arc<AtomicU32>,
        thousandths: u32,
        form: Form,
        hastened: Option<Arc<AtomicU32>>,
    }

    impl Devices for Plug {
        fn open(&self, _: &Device, wanted: &Wanted) -> Result<Box<dyn Capture>, MediaError> {
            if self.is_out.load(Ordering::SeqCst) == 1 {
                return Err(MediaError::NotFound);
            }
            self.opened.fetch_add(1, Ordering::SeqCst);
            let (closed, is_out, hastened) =
                (self.closed.clone(), self.is_out.clone(), self.hastened.clone());
            let form = match self.shape {
                Some(shape) => Form::Pixels(shape),
                None => Form::Track(Track::new(Codec::Jpeg, 0)),
            };
            let thousandths = wanted.thousandths();
            Ok(Box::new(Plugged { closed, is_out, thousandths, form, hastened }))
        }

        fn list(&self) -> Vec<Result<Found, String>> {
            Vec::new()
        }
    }

    impl Capture for Plugged {
        fn take(&mut self) -> Result<Option<Taken>, MediaError> {
            thread::sleep(Duration::from_millis(1));
            if self.is_out.load(Ordering::SeqCst) == 1 {
                return Err(MediaError::Broken("unplugged".to_owned()));
            }
            let (form, payload) = (self.form.clone(), Bytes::from_static(b"x"));
            Ok(Some(Taken { form, at: Instant::now(), keyframe: true, payload }))
        }

        fn suits(&mut self, wanted: &Wanted) -> bool {
            if let Some(hastened) = &self.hastened {
                hastened.store(wanted.thousandths(), Ordering::SeqCst);
                self.thousandths = wanted.thousandths();
            }
            wanted.thousandths() <= self.thousandths
        }
    }

    impl Drop for Plugged {
        fn drop(&mut self) {
            self.closed.fetch_add(1, Ordering::SeqCst);
        }
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    fn next(tap: &Tap) -> Event {
        tap.events.recv_timeout(PATIENCE).unwrap()
    }

    #[test]
    fn all_share_one_capture_which_ends_with_the_last() {
        let plug = Arc::new(Plug::default());
        let hub = Hub::new(plug.clone());
        let (first, second) = (
            hub.tap(&Device::Camera(0), &Format::default()).unwrap(),
            hub.tap(&Device::Camera(0), &Format::default()).unwrap(),
        );
        assert!(matches!((next(&first), next(&second)), (Event::Taken(_), Event::Taken(_))));
        drop(first);
        assert!(matches!(next(&second), Event::Taken(_)));
        assert_eq!((plug.opened.load(Ordering::SeqCst), plug.closed.load(Ordering::SeqCst)), (1, 0));
        drop(second);
        let end = Instant::now() + PATIENCE;
        while plug.closed.load(Ordering::SeqCst) == 0 {
            assert!(Instant::now() < end);
            thread::sleep(Duration::from_millis(2));
        }
        let again = hub.tap(&Device::Camera(0), &Format::default()).unwrap();
        assert!(matches!(next(&again), Event::Taken(_)));
        assert_eq!(plug.opened.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn all_are_told_that_a_device_is_lost_and_it_can_be_opened_again() {
        let plug = Arc::new(Plug::default());
        let hub = Hub::new(plug.clone());
        let tap = hub.tap(&Device::Camera(0), &Format::default()).unwrap();
        assert!(matches!(next(&tap), Event::Taken(_)));
        plug.is_out.store(1, Ordering::SeqCst);
        let lost = tap.events.iter().find_map(|event| match event {
            Event::Lost(error) => Some(error),
            Event::Taken(_) => None,
        });
        assert_eq!(lost, Some(MediaError::Broken("unplugged".to_owned())));
        let refused = hub.tap(&Device::Camera(0), &Format::default()).unwrap();
        assert!(matches!(next(&refused), Event::Lost(MediaError::NotFound)));
        plug.is_out.store(0, Ordering::SeqCst);
        let again = hub.tap(&Device::Camera(0), &Format::default()).unwrap();
        assert!(matches!(next(&again), Event::Taken(_)));
    }

    #[test]
    fn a_device_that_can_give_more_pictures_is_not_opened_again_for_that() {
        let hastened = Arc::new(AtomicU32::new(0));
        let plug = Arc::new(Plug { hastened: Some(hastened.clone()), ..Plug::default() });
        let hub = Hub::new(plug.clone());
        let at = |rate: u32| {
            let mut format = Format::default();
            format.video.framerate = Some(Framerate::whole(rate));
            hub.tap(&Device::Camera(0), &format).unwrap()
        };
        let slow = at(10);
        next(&slow);
        let fast = at(30);
        let end = Instant::now() + PATIENCE;
        while hastened.load(Ordering::SeqCst) != 30_000 {
            next(&fast);
            assert!(Instant::now() < end);
        }
        assert!(matches!(next(&slow), Event::Taken(_)));
        assert_eq!(plug.opened.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn who_wants_more_pictures_than_come_has_the_device_opened_again() {
        let plug = Arc::new(Plug::default());
        let hub = Hub::new(plug.clone());
        let at = |rate: f64| {
            let mut format = Format::default();
            format.video.framerate = Framerate::new(rate);
            format
        };
        let slow = hub.tap(&Device::Camera(0), &at(10.0)).unwrap();
        next(&slow);
        let fast = hub.tap(&Device::Camera(0), &at(30.0)).unwrap();
        let end = Instant::now() + PATIENCE;
        while plug.opened.load(Ordering::SeqCst) < 2 {
            next(&fast);
            assert!(Instant::now() < end);
        }
        assert!(matches!(next(&slow), Event::Taken(_)));
    }

    /// Counts what waits for one who takes nothing, once as much has come as `given` says.
    fn waiting(shape: Option<Shape>, given: usize) -> usize {
        let plug = Arc::new(Plug { shape, ..Plug::default() });
        let hub = Hub::new(plug);
        let slow = hub.tap(&Device::Camera(0), &Format::default()).unwrap();
        let fast = hub.tap(&Device::Camera(0), &Format::default()).unwrap();
        for _ in 0..given {
            next(&fast);
        }
        slow.events.len()
    }

    #[test]
    fn pictures_that_are_not_coded_do_not_pile_up_and_coded_ones_wait() {
        let shape = Shape { pixels: Pixels::Gray8, width: 1, height: 1 };
        assert_eq!(waiting(Some(shape), 3 * WAITING_MAX), PICTURES_MAX);
        assert_eq!(waiting(None, 3 * WAITING_MAX), WAITING_MAX);
    }
}
