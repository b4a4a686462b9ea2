//! Who is measured, and how it is started and ended.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Suite;
use super::cells::{Cell, Scenario};
use super::media::Media;
use super::network::Open;
use crate::limit::Loop;
use crate::line::Security;
use crate::plan::Transport;

/// Something that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// This server on io_uring.
    Ring,
    /// This server on its fallback.
    Fallback,
    /// GStreamer's server.
    Gstreamer,
    /// A bare send loop.
    Bare(Loop),
}

impl Contestant {
    /// Its name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Contestant::Ring => "ringcaster",
            Contestant::Fallback => "ringcaster fallback",
            Contestant::Gstreamer => "gst-rtsp-server",
            Contestant::Bare(by) => by.name(),
        }
    }

    fn program(&self) -> &'static str {
        match self {
            Contestant::Ring | Contestant::Fallback => "rtspserver",
            Contestant::Gstreamer => "GStreamer's server (python3-gi gir1.2-gst-rtsp-server-1.0)",
            Contestant::Bare(_) => "the bare server",
        }
    }
}

/// A contestant that serves; ended with this.
pub(super) struct Running {
    child: Child,
    contestant: Contestant,
    address: SocketAddr,
    /// Where viewers come to; None where that is the same.
    secure: Option<SocketAddr>,
    /// Where it takes plain RTP in place of a publisher.
    pub(super) rtp: Option<SocketAddr>,
    /// From its start until it took a connection, in milliseconds.
    pub(super) start_ms: f64,
    folder: PathBuf,
}

impl Running {
    pub(super) fn start(
        Cell { contestant, scenario, transport, .. }: &Cell,
        suite: &Suite,
        network: &Open,
        media: &Media,
    ) -> io::Result<Running> {
        let ip = network.server();
        let [port, rtp] = free_ports()?;
        let folder = std::env::temp_dir().join(format!("loadtest-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let mut command = match contestant {
            Contestant::Ring | Contestant::Fallback => {
                let backend = if *contestant == Contestant::Ring { "uring" } else { "fallback" };
                let cache_mb = match scenario {
                    Scenario::File { cache_mb, .. } => Some(*cache_mb),
                    _ => None,
                };
                let file = configuration(network, media, &folder, port, *transport, cache_mb)?;
                let mut command = network.command(&suite.server);
                command.args(["serve", "--backend", backend, "-c"]).arg(file);
                command
            }
            Contestant::Gstreamer => {
                let script = folder.join("gstreamer.py");
                fs::write(&script, GSTREAMER)?;
                // Debian's own Python: another one in the path does not know GStreamer.
                let mut command = network.command("/usr/bin/python3");
                command.arg(script).args([ip.to_string(), port.to_string(), rtp.to_string()]);
                command.args(media.path("clip.mp4"));
                command
            }
            Contestant::Bare(by) => {
                let own = fs::read_link("/proc/self/exe")?;
                let mut command = network.command(own);
                command.args(["bare", "--loop", &by.argument(), "--listen"]).arg(format!("{ip}:{port}"));
                command
            }
        };
        let log = suite.folder.join(format!("{}.log", contestant.name().replace(' ', "-")));
        let log = File::options().create(true).append(true).open(log)?;
        let began = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| io::Error::other(format!("{}: {error}", command.get_program().display())))?;
        let address = SocketAddr::new(ip, port);
        let rtp = (*contestant == Contestant::Gstreamer).then(|| SocketAddr::new(ip, rtp));
        let is_ours = matches!(contestant, Contestant::Ring | Contestant::Fallback);
        let is_secure = is_ours && transport.security() == Security::Tls;
        let secure = is_secure.then(|| SocketAddr::new(ip, port + 1));
        let contestant = contestant.clone();
        let mut running = Running { child, contestant, address, secure, rtp, start_ms: 0.0, folder };
        running.start_ms = running.wait(began)?;
        Ok(running)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where viewers play what is published.
    pub(super) fn live_url(&self) -> String {
        match self.secure {
            Some(address) => format!("rtsps://{address}/live/camera"),
            None => self.publish_url(),
        }
    }

    /// Where it is published.
    pub(super) fn publish_url(&self) -> String {
        let name = if self.rtp.is_some() { "live" } else { "live/camera" };
        format!("rtsp://{}/{name}", self.address)
    }

    /// A stream that is there without a publisher.
    pub(super) fn static_url(&self) -> String {
        match self.contestant {
            Contestant::Ring | Contestant::Fallback | Contestant::Gstreamer => self.file_url("clip.mp4"),
            Contestant::Bare(_) => self.live_url(),
        }
    }

    pub(super) fn file_url(&self, name: &str) -> String {
        let name = if self.contestant == Contestant::Gstreamer { "file" } else { name };
        format!("rtsp://{}/{name}", self.address)
    }

    /// Waits until it takes connections.
    fn wait(&mut self, began: Instant) -> io::Result<f64> {
        while TcpStream::connect_timeout(&self.address, Duration::from_millis(200)).is_err() {
            if self.child.try_wait()?.is_some() || began.elapsed() > START_PATIENCE {
                let program = self.contestant.program();
                return Err(io::Error::other(format!("{program} does not listen on {}", self.address)));
            }
            thread::sleep(Duration::from_millis(1));
        }
        let start_ms = began.elapsed().as_secs_f64() * 1e3;
        // Whatever it says must not fill its pipe.
        if let Some(output) = self.child.stdout.take() {
            thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).for_each(drop));
        }
        // What it does behind its start, such as looking through a folder, is not what is measured.
        thread::sleep(SETTLE);
        match self.child.try_wait()? {
            None => Ok(start_ms),
            Some(_) => Err(io::Error::other(format!("{} has ended at once", self.contestant.program()))),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Writes what our server is to do: the doors that viewers do not come by are closed.
fn configuration(
    network: &Open,
    media: &Media,
    folder: &Path,
    port: u16,
    transport: Transport,
    cache_mb: Option<u32>,
) -> io::Result<PathBuf> {
    let file = folder.join("rtspserver.xml");
    let media = media.folder().display().to_string();
    let is_secure = transport.security() == Security::Tls;
    let is_tunnel = matches!(transport, Transport::Http | Transport::Ws);
    let is_multicast = transport == Transport::Multicast;
    let open = |is_open: bool| u8::from(is_open).to_string();
    let settings = [
        ("serverip", network.server().to_string()),
        ("serverport", port.to_string()),
        ("rtsp_over_http", open(is_tunnel)),
        ("http_port", (port + 1).to_string()),
        ("rtsp_over_https", open(is_secure)),
        ("rtsps_port", if is_secure { (port + 1).to_string() } else { "0".into() }),
        ("https_port", (port + 3).to_string()),
        ("multicast", open(is_multicast)),
        ("multicast_interface", network.server().to_string()),
        ("log_level", "3".into()),
        ("media_dir", media.replace('&', "&amp;").replace('<', "&lt;")),
    ];
    let cache = cache_mb.map(|size| ("file_cache_mb", size.to_string()));
    let nodes = settings.iter().chain(&cache);
    let nodes: String = nodes.map(|(name, value)| format!("<{name}>{value}</{name}>")).collect();
    fs::write(&file, format!("<config>{nodes}</config>\n"))?;
    Ok(file)
}

/// Two ports that nobody listens on, below those that the kernel gives to clients; others than last time, so that the
/// connections that one contestant leaves behind are not the next one's trouble.
fn free_ports() -> io::Result<[u16; 2]> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let any: IpAddr = [0, 0, 0, 0].into();
    let first = std::process::id() as u16;
    for _ in 0..PORT_BLOCKS {
        let block = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORT_BLOCKS;
        let port = PORT_FIRST + 4 * block;
        if TcpListener::bind((any, port)).is_ok() {
            return Ok([port, port + 2]);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port"))
}

/// Behind the ports that the server under test takes for UDP, 20,000 to 29,999.
const PORT_FIRST: u16 = 30_000;

/// Up to the kernel's own, from 32,768 on.
const PORT_BLOCKS: u16 = 690;

const GSTREAMER: &str = include_str!("../../peers/gstreamer.py");

/// How long a contestant may take to listen.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// How long it is left alone then.
const SETTLE: Duration = Duration::from_millis(500);
