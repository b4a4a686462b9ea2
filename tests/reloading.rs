//! The configuration is read again (SIGHUP, `<reload>`, the API): what differs is applied, who is not touched notices nothing, and a
//! wrong file changes nothing.

mod access;
mod added;
mod asked;
mod confined;
mod crowd;
mod file;
mod kept;
mod ports;
mod refused;
mod streams;

use std::fs;
use std::time::Duration;

use crate::client::Client;
use crate::client::viewer::{Over, Viewer};
use crate::corpus::folder;
use crate::server::{Backend, Builder, Server};

/// A file with pictures and sound.
const FILE: &str = "/h264_aac.mp4";

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

const RELOADED: &str = "configuration reloaded: ";
const STAYS: &str = "the configuration stays as it was: ";

/// A server of the corpus, whose files play for ever.
fn serving(backend: Backend) -> Builder {
    Server::with(backend).media(folder()).setting("loop_nums", -1).lifetime(Duration::from_secs(180))
}

/// A server with the configuration that it was started with.
struct Subject {
    server: Server,
    /// Without the last line.
    base: String,
}

impl Subject {
    fn start(builder: Builder) -> Subject {
        let server = builder.start();
        let base = fs::read_to_string(server.configuration_file()).unwrap();
        let base = base.trim_end().strip_suffix("</config>").unwrap().trim_end().to_owned();
        Subject { server, base }
    }

    /// The configuration of the start with nodes behind it.
    fn with(&self, nodes: &str) -> String {
        format!("{}\n{nodes}\n</config>\n", self.base)
    }

    fn write(&self, xml: &str) {
        fs::write(self.server.configuration_file(), xml).unwrap();
    }

    /// Has the configuration of the start read, with nodes behind it; what the log says of it.
    #[track_caller]
    fn reload(&self, nodes: &str) -> String {
        self.reload_whole(&self.with(nodes))
    }

    /// The same with another configuration.
    #[track_caller]
    fn reload_whole(&self, xml: &str) -> String {
        self.read_again(xml, RELOADED)
    }

    /// Has a configuration read that cannot be had; why.
    #[track_caller]
    fn refuse(&self, xml: &str) -> String {
        self.read_again(xml, STAYS)
    }

    /// What the log says behind the words that the reading of a configuration ends with.
    #[track_caller]
    fn read_again(&self, xml: &str, end: &str) -> String {
        let before = self.server.lines(end);
        self.write(xml);
        self.server.signal("HUP");
        self.server.wait_for_lines(end, before + 1);
        let log = self.server.log();
        let line = log.lines().rfind(|line| line.contains(end)).unwrap();
        line.split_once(end).unwrap().1.to_owned()
    }

    #[track_caller]
    fn watch(&self, path: &str, over: Over) -> Viewer {
        watch(Viewer::open(self.server.address(), &self.server.url(path), over))
    }

    /// The status that DESCRIBE of a path is answered with.
    fn status(&self, path: &str) -> u16 {
        Client::connect(self.server.address()).request("DESCRIBE", &self.server.url(path), &[]).status
    }
}

/// Plays until something has come.
#[track_caller]
fn watch(mut viewer: Viewer) -> Viewer {
    viewer.play(&[]);
    goes_on(&mut viewer);
    viewer
}

/// Sees that a viewer gets more, and has lost nothing.
#[track_caller]
fn goes_on(viewer: &mut Viewer) {
    // What has come meanwhile is no proof.
    viewer.receive_until(Duration::from_millis(100), |_| false);
    let counts: Vec<_> = viewer.tracks.iter().map(|track| track.packets.len()).collect();
    let more = |viewer: &Viewer| {
        viewer.tracks.iter().zip(&counts).all(|(track, count)| track.packets.len() > count + 5)
    };
    assert!(viewer.receive_until(PATIENCE, more), "nothing more comes");
    for track in &viewer.tracks {
        assert_eq!(track.gaps(), []);
        assert!(!track.has_ended());
    }
}

/// Sees that a viewer is told that it is over.
#[track_caller]
fn is_over(viewer: &mut Viewer) {
    viewer.receive_all(PATIENCE);
}

/// A `<user>` with one permission, or all.
fn user(name: &str, password: &str, permission: &str) -> String {
    format!(
        "<user><username>{name}</username><password>{password}</password><permission>{permission}</permission></user>\n"
    )
}

/// A `<proxy>`.
fn proxy(suffix: &str, url: &str, nodes: &str) -> String {
    format!("<proxy><suffix>{suffix}</suffix><url>{url}</url>{nodes}</proxy>\n")
}
