//! Takes documents of metadata in (`<metadata_source>`): files are looked at, programs send to sockets. One thread does it
//! for all, and checks each document before anybody sees it.

mod file;
mod socket;

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use self::file::Watched;
use self::socket::Door;
use crate::config::MetadataSource;
use crate::media::documents::{Channel, Documents};

/// The sources at work; they end when this is dropped.
pub struct Intake {
    documents: Arc<Documents>,
    thread: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Intake {
    /// Opens the sockets and starts to look at the files. An error names the setting to change.
    pub fn start(sources: &[MetadataSource]) -> Result<Intake, String> {
        let (mut channels, mut files, mut doors) = (Vec::new(), Vec::new(), Vec::new());
        for MetadataSource { path, file, repeat, socket, .. } in sources {
            let channel = Arc::new(Channel::new(*repeat));
            if let Some(file) = file {
                files.push(Watched::new(path, file, channel.clone()));
            }
            if let Some(socket) = socket {
                doors.push(Door::open(path, socket, channel.clone())?);
            }
            channels.push((path.clone(), channel));
        }
        let documents = Arc::new(Documents::new(channels));
        if sources.is_empty() {
            return Ok(Intake { documents, thread: None });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("documents of metadata cannot be taken: {error}"))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("documents".into()).spawn(move || {
            runtime.block_on(async {
                tokio::spawn(file::watch(files));
                for door in doors {
                    tokio::spawn(door.serve());
                }
                let _ = stopped.await;
            });
            // Sockets are closed, and their names go.
            drop(runtime);
        });
        let thread = thread.map_err(|error| format!("no thread for documents of metadata: {error}"))?;
        Ok(Intake { documents, thread: Some((stop, thread)) })
    }

    /// What comes in.
    pub fn documents(&self) -> Arc<Documents> {
        self.documents.clone()
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            // A thread that has ended needs no word, and what it ended with is in the log.
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}
