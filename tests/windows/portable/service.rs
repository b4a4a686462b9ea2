//! The service: what the README has a person type installs, starts, stops and removes it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::readme::text::chapter;
use crate::server::free_ports;
use crate::windows::Windows;
use crate::windows::wine::{self, Build};

const PATIENCE: Duration = Duration::from_secs(60);

/// A Windows with the program and its configuration in `C:\Ringcaster`.
struct Serving {
    windows: Windows,
    address: SocketAddr,
}

impl Serving {
    fn new() -> Serving {
        let serving =
            Serving { windows: Windows::new(), address: (Ipv4Addr::LOCALHOST, free_ports()).into() };
        wine::keep(serving.windows.0.path());
        serving.types("mkdir C:\\Ringcaster").unwrap();
        fs::copy(wine::program_file(Build::Portable), serving.file("rtspserver.exe")).unwrap();
        let port = serving.address.port();
        serving.configure(&format!(
            "<serverip>127.0.0.1</serverip><serverport>{port}</serverport><rtsp_over_http>0</rtsp_over_http>\
             <rtsp_over_https>0</rtsp_over_https><rtsps_port>0</rtsps_port><shards>1</shards>\
             <udp_port_min>{}</udp_port_min><udp_port_max>{}</udp_port_max>",
            port + 4,
            port + 39
        ));
        serving
    }

    fn configure(&self, settings: &str) {
        fs::write(self.file("rtspserver.xml"), format!("<config>{settings}</config>")).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        wine::drive_c(self.windows.0.path()).join("Ringcaster").join(name)
    }

    /// Has Windows' command interpreter run a line; what it says, and whether that is an error.
    fn types(&self, line: &str) -> Result<String, String> {
        let script = self.windows.0.path().join("typed.bat");
        fs::write(&script, format!("@echo off\r\n{line}\r\nexit %errorlevel%\r\n")).unwrap();
        let mut command = wine::tool(self.windows.0.path());
        let output = command.args(["cmd", "/c", &wine::path(&script)]).stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).replace("\r\n", "\n");
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    fn answers(&self) -> bool {
        TcpStream::connect_timeout(&self.address, Duration::from_millis(200)).is_ok()
    }

    /// Waits until somebody listens, or nobody does.
    #[track_caller]
    fn until(&self, listens: bool) {
        let end = Instant::now() + PATIENCE;
        while self.answers() != listens {
            assert!(Instant::now() < end, "{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("rtspserver.log")).unwrap_or_default()
    }
}

const ABSENT: &str = "rtspserver: there is no service rtspserver: it is not installed\n";

/// Everything with this in it that the README's chapter of Windows has a person type, one command.
fn readme(what: &str) -> String {
    let commands = chapter("Windows").commands;
    let found = commands.iter().find(|command| command.contains(what));
    found.unwrap_or_else(|| panic!("nothing like {what} in {commands:?}")).clone()
}

#[test]
fn windows_starts_and_stops_it_as_a_service() {
    let serving = Serving::new();
    let ours = |words: &str| serving.types(&format!("C:\\Ringcaster\\rtspserver.exe service {words}"));
    let run = ours("run").unwrap_err();
    assert!(run.contains("only Windows itself starts the service"), "{run}");
    let [install, start, stop, uninstall] =
        ["service install", "net start", "net stop", "service uninstall"].map(readme);
    assert_eq!(serving.types(&uninstall), Err(ABSENT.to_owned()));
    serving.types(&readme("icacls")).unwrap();
    let said = serving.types(&install).unwrap();
    assert!(said.contains("its log is C:\\Ringcaster\\rtspserver.log"), "{said}");
    assert!(!serving.answers(), "nobody has started it yet");
    serving.types(&start).unwrap();
    serving.until(true);
    let url = format!("rtsp://{}/test", serving.address);
    Client::connect(serving.address).request("DESCRIBE", &url, &[]).expect(200);
    serving.types(&stop).unwrap();
    serving.until(false);
    let log = serving.log();
    assert!(log.contains("shards=1") && log.contains("stopping"), "{log}");
    // One that runs is stopped first.
    serving.types(&start).unwrap();
    serving.until(true);
    assert_eq!(serving.types(&uninstall), Ok("the service rtspserver is removed\n".to_owned()));
    assert!(!serving.answers() && serving.types(&start).is_err());
    assert_eq!(serving.types(&uninstall), Err(ABSENT.to_owned()));
    // Windows ends and starts again.
    serving.types(&install).unwrap();
    wine::end(serving.windows.0.path());
    assert!(!serving.answers());
    wine::keep(serving.windows.0.path());
    serving.until(true);
}

#[test]
fn a_service_with_a_wrong_configuration_is_not_installed() {
    let serving = Serving::new();
    serving.configure("<mtu>1</mtu>");
    let refused = serving.types(&readme("service install")).unwrap_err();
    let sentence = "config/mtu: \"1\" is not a packet size in bytes; allowed: 576 to 9000\n";
    assert_eq!(refused, format!("rtspserver: C:\\Ringcaster\\rtspserver.xml:1:14: {sentence}"));
    assert!(serving.types(&readme("net start")).is_err());
}
