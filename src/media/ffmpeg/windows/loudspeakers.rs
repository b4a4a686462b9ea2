//! Loudspeakers of Windows (WASAPI), each on a thread of its own: what belongs to one must stay there.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use wasapi::{AudioClient, AudioRenderClient, Direction, WasapiError};

use super::sound::{self, BYTES_A_MOMENT};
use crate::media::library::MediaError;
use crate::media::playback::Loudspeaker;

/// While there is no room it is looked for this often.
const LOOK: Duration = Duration::from_millis(5);

/// A loudspeaker that is open. Its thread ends with it, when all was heard.
struct Speaker {
    samples: SyncSender<Vec<u8>>,
    ended: Receiver<String>,
}

/// Opens one by its name; empty is the system's own choice.
pub(in crate::media::ffmpeg) fn open(name: &str) -> Result<Box<dyn Loudspeaker>, MediaError> {
    let refused = |error: String| {
        MediaError::Broken(format!("no loudspeaker can be opened ({error}); set backchannel/device"))
    };
    let (samples, waiting) = sync_channel(0);
    let (opened, is_open) = sync_channel(1);
    let (end, ended) = sync_channel(1);
    let name = name.to_owned();
    let play = move || {
        let output = match Output::open(&name) {
            Ok(output) => output,
            Err(error) => {
                // Whoever opens it waits for this.
                let _ = opened.send(Err(error.to_string()));
                return;
            }
        };
        let _ = opened.send(Ok(()));
        if let Err(error) = output.play(&waiting) {
            let _ = end.send(error.to_string());
        }
    };
    thread::Builder::new().name("wasapi".into()).spawn(play).map_err(|error| refused(error.to_string()))?;
    match is_open.recv() {
        Ok(Ok(())) => Ok(Box::new(Speaker { samples, ended })),
        Ok(Err(error)) => Err(refused(error)),
        Err(error) => Err(refused(error.to_string())),
    }
}

/// Names and descriptions of all.
pub(in crate::media::ffmpeg) fn list() -> Result<Vec<(String, String)>, String> {
    sound::list(Direction::Render).map_err(|error| error.to_string())
}

impl Loudspeaker for Speaker {
    fn play(&mut self, samples: &[i16]) -> Result<(), MediaError> {
        let bytes = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        self.samples.send(bytes).map_err(|_| {
            let error = self.ended.recv().unwrap_or_default();
            MediaError::Broken(format!("the loudspeaker is lost: {error}"))
        })
    }
}

/// The device, on its thread.
struct Output {
    client: AudioClient,
    render: AudioRenderClient,
}

impl Output {
    fn open(name: &str) -> Result<Output, WasapiError> {
        let client = sound::open(Direction::Render, name)?;
        let render = client.get_audiorenderclient()?;
        client.start_stream()?;
        Ok(Output { client, render })
    }

    /// Plays what comes until nobody sends any more, and waits until it was heard.
    fn play(&self, waiting: &Receiver<Vec<u8>>) -> Result<(), WasapiError> {
        for samples in waiting {
            let mut rest = &samples[..];
            while rest.len() >= BYTES_A_MOMENT {
                let room = self.client.get_available_space_in_frames()? as usize;
                let moments = room.min(rest.len() / BYTES_A_MOMENT);
                if moments == 0 {
                    thread::sleep(LOOK);
                    continue;
                }
                let (now, later) = rest.split_at(moments * BYTES_A_MOMENT);
                self.render.write_to_device(moments, now, None)?;
                rest = later;
            }
        }
        while self.client.get_current_padding()? > 0 {
            thread::sleep(LOOK);
        }
        self.client.stop_stream()
    }
}
