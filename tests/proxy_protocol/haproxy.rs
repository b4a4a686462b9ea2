//! HAProxy in front, as it is: FFmpeg plays and publishes through it.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{FILE, PATIENCE, behind};
use crate::corpus::folder;
use crate::judge;
use crate::server::{Backend, Server, free_ports, on_both_backends, scratch};

struct HaProxy {
    child: Child,
    port: u16,
}

impl HaProxy {
    /// Before a server, speaking a version of the protocol: `send-proxy` or `send-proxy-v2`; it checks the server's
    /// health by the same.
    fn before(server: &Server, version: &str) -> HaProxy {
        let (port, folder) = (free_ports(), scratch("haproxy"));
        let file = folder.join("haproxy.cfg");
        let text = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             listen rtsp\n bind 127.0.0.1:{port}\n server one {} {version} check check-send-proxy inter 100\n",
            server.address()
        );
        fs::write(&file, text).unwrap();
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy is installed");
        let proxy = HaProxy { child, port };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "haproxy does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        proxy
    }

    fn url(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ffmpeg(arguments: &[&str]) {
    let arguments: Vec<_> = ["-v", "error"].iter().chain(arguments).map(|it| (*it).to_owned()).collect();
    judge::run("ffmpeg", &arguments, Duration::from_secs(30)).unwrap();
}

fn ffmpeg_plays_and_publishes_through_haproxy(backend: Backend) {
    for version in ["send-proxy", "send-proxy-v2"] {
        let server = behind(backend).start();
        let proxy = HaProxy::before(&server, version);
        // Without being told to use TCP: it asks for UDP first, and takes TCP when that is refused.
        let url = proxy.url(FILE);
        ffmpeg(&["-i", &url, "-t", "1", "-f", "null", "-"]);
        let file = folder().join(&FILE[1..]).display().to_string();
        let url = proxy.url("/live");
        ffmpeg(&["-i", &file, "-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", &url]);
        let log = server.log();
        let by_proxy = log.lines().filter(|line| line.contains("connection by a proxy"));
        let named = by_proxy.filter(|line| line.contains("peer=127.0.0.1:")).count();
        assert!(named > 2, "{log}");
        assert!(!log.contains("has the proxy say"), "its checks speak the protocol too: {log}");
        assert!(log.lines().filter(|line| line.contains("session begins")).count() >= 2, "{log}");
    }
}

on_both_backends!(;
    "ffmpeg":
    ffmpeg_plays_and_publishes_through_haproxy,
);
