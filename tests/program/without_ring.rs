//! Linux that forbids io_uring, as containers do: by a filter of system calls (seccomp).

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Folder, doors, said};
use crate::client::viewer::{BOTH, Viewer};
use crate::server::free_ports;

const PATIENCE: Duration = Duration::from_secs(20);

/// The number of `io_uring_setup`, the same on all machines (asm-generic/unistd.h).
const IO_URING_SETUP: u32 = 425;

/// What a container answers.
const EPERM: u32 = 1;

/// The program under the filter, in a folder.
fn command(folder: &Folder, words: &[&str]) -> Command {
    // Of linux/bpf_common.h and linux/seccomp.h: load the number; if it is that one, refuse; else allow.
    let steps: [(u16, u8, u8, u32); 4] = [
        (0x20, 0, 0, 0),
        (0x15, 0, 1, IO_URING_SETUP),
        (0x06, 0, 0, 0x0005_0000 | EPERM),
        (0x06, 0, 0, 0x7fff_0000),
    ];
    let mut filter = Vec::new();
    for (code, yes, no, value) in steps {
        filter.extend(code.to_ne_bytes());
        filter.extend([yes, no]);
        filter.extend(value.to_ne_bytes());
    }
    fs::write(folder.0.join("filter"), filter).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "exec bwrap --die-with-parent --dev-bind / / --seccomp 3 -- \"$0\" \"$@\" 3<filter"]);
    command.arg(env!("CARGO_BIN_EXE_rtspserver")).args(words);
    command.current_dir(&folder.0).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Ended when the test lets go of it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn where_io_uring_is_forbidden_the_fallback_serves_and_says_so() {
    let folder = Folder::new();
    let port = free_ports();
    folder.configure(&doors(port));
    let server = command(&folder, &[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut server = Running(server.expect("sh is there"));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < end, "nobody listens");
        thread::sleep(Duration::from_millis(20));
    }
    for over in BOTH {
        let mut viewer = Viewer::open(address, &format!("rtsp://{address}/test"), over);
        viewer.play(&[]);
        let is_seen = |viewer: &Viewer| viewer.tracks.iter().all(|track| track.units().len() >= 25);
        assert!(viewer.receive_until(PATIENCE, is_seen), "{over:?}");
        viewer.teardown();
    }
    let _ = server.0.kill();
    let mut log = String::new();
    server.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("the fallback serves")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("io_uring is forbidden here (EPERM)"), "{log}");
    assert!(log.contains("backend=\"tokio\""), "{log}");
}

#[test]
fn who_asks_for_io_uring_where_it_is_forbidden_is_told_why_there_is_none() {
    let folder = Folder::new();
    folder.configure(&doors(free_ports()));
    let output = command(&folder, &["--backend", "uring"]).output().unwrap();
    let text = said(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("io_uring is forbidden here (EPERM)") && text.contains("--backend fallback"),
        "{text}"
    );
}
