//! A door with TLS before a server that has none.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// The authority that has signed the door's certificate.
pub(crate) const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/ca.pem");

/// The door; closed when the test lets go of it.
pub(crate) struct Door {
    child: Child,
    pub(crate) port: u16,
}

impl Door {
    /// Before a server on loopback.
    #[track_caller]
    pub(crate) fn before(port: u16) -> Door {
        let root = env!("CARGO_MANIFEST_DIR");
        let mut child = Command::new("/usr/bin/python3")
            .args([&format!("{root}/tests/upstream/tls.py"), "0", &port.to_string()])
            .args(["cert.pem", "key.pem"].map(|file| format!("{root}/tests/data/tls/{file}")))
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("ready ").and_then(|port| port.parse().ok());
        Door { port: port.unwrap_or_else(|| panic!("{line:?}")), child }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
