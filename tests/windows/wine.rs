//! Wine, which runs programs of Windows here; each server has a Windows of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What `fallback/windows/build.sh` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// With FFmpeg and TLS.
    Full,
    /// Without what needs other libraries.
    Portable,
}

/// How long a Windows may take to start, with the program.
pub(crate) const START: Duration = Duration::from_secs(60);

/// Where Debian has them.
const WINE: &str = "/usr/lib/wine/wine64";
const WINESERVER: &str = "/usr/lib/wine/wineserver64";

/// The program, in the Windows of a folder, which is made where there is none.
pub(crate) fn program(build: Build, folder: &Path) -> Command {
    for needed in [program_file(build), made().join("prefix"), WINE.into()] {
        assert!(needed.exists(), "{} is missing, which fallback/windows/build.sh makes", needed.display());
    }
    let prefix = folder.join("windows");
    if !prefix.exists() {
        // Files are shared: Wine writes new ones in place of those that it changes.
        let mut copy = Command::new("cp");
        copy.arg("-al").arg(made().join("prefix")).arg(&prefix);
        assert!(copy.status().unwrap().success(), "{}", prefix.display());
    }
    let mut command = Command::new(WINE);
    command.arg(program_file(build));
    command.env_remove("DISPLAY").env_remove("RUST_LOG").env("WINEDEBUG", "-all");
    command.env("WINEPREFIX", prefix).env("WINESERVER", WINESERVER);
    command
}

/// Ends the Windows of a folder, with all that runs there.
pub(crate) fn end(folder: &Path) {
    let mut end = Command::new(WINESERVER);
    end.args(["-k", "-w"]).env("WINEPREFIX", folder.join("windows"));
    let _ = end.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// A whole path as Windows has it: Wine's drive Z is everything.
pub(crate) fn path(path: &Path) -> String {
    format!("Z:{}", path.to_str().expect("the path is UTF-8").replace('/', "\\"))
}

fn made() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("windows")
}

fn program_file(build: Build) -> PathBuf {
    let folder = match build {
        Build::Full => "full",
        Build::Portable => "portable",
    };
    made().join(folder).join("rtspserver.exe")
}
