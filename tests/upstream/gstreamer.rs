//! GStreamer's RTSP server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::corpus::Recipe;
use crate::server::free_ports;

/// GStreamer's server with a file and a live channel; ended when the test lets go of it.
pub(crate) struct GstServer {
    child: Child,
    address: String,
    port: u16,
}

impl GstServer {
    /// A server on loopback; `options` are those of `gst_server.py` behind the file.
    pub(crate) fn start(recipe: &Recipe, options: &[&str]) -> GstServer {
        GstServer::start_at("127.0.0.1", free_ports(), recipe, options)
    }

    /// The same at that address, in the network of the calling thread.
    #[track_caller]
    pub(crate) fn start_at(address: &str, port: u16, recipe: &Recipe, options: &[&str]) -> GstServer {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstream/gst_server.py");
        let file = recipe.path();
        let words = [&[file.to_str().unwrap()], options].concat();
        GstServer::launch(script, address, port, &words)
    }

    /// The one that the load test measures, and where it takes plain RTP.
    pub(crate) fn measured(recipe: &Recipe) -> (GstServer, String) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/loadtest/peers/gstreamer.py");
        let (address, port) = ("127.0.0.1", free_ports());
        let (rtp, file) = (port + 2, recipe.path());
        let server = GstServer::launch(script, address, port, &[&rtp.to_string(), file.to_str().unwrap()]);
        (server, format!("{address}:{rtp}"))
    }

    #[track_caller]
    fn launch(script: &str, address: &str, port: u16, words: &[&str]) -> GstServer {
        // Debian's own Python: another one in the path does not know GStreamer.
        let mut command = Command::new("/usr/bin/python3");
        command.args([script, address, &port.to_string()]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("Debian's Python is there");
        let mut line = String::new();
        let output = child.stdout.take().expect("standard output is a pipe");
        BufReader::new(output).read_line(&mut line).unwrap();
        let server = GstServer { child, address: address.to_owned(), port };
        assert_eq!(line, "ready\n", "GStreamer's server has started: gir1.2-gst-rtsp-server-1.0 is needed");
        server
    }

    /// The URL of the file or of the live channel, with what precedes the host.
    pub(crate) fn url(&self, userinfo: &str, path: &str) -> String {
        format!("rtsp://{userinfo}{}:{}{path}", self.address, self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for GstServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
