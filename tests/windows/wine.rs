//! Wine, which runs programs of Windows here; each server has a Windows of its own.

use std::fs;
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
    let file = program_file(build);
    assert!(file.exists(), "{} is missing, which fallback/windows/build.sh makes", file.display());
    let mut command = tool(folder);
    command.arg(file);
    command
}

/// What runs programs of Windows in the Windows of a folder, by their names.
pub(crate) fn tool(folder: &Path) -> Command {
    for needed in [made().join("prefix"), WINE.into()] {
        assert!(needed.exists(), "{} is missing, which fallback/windows/build.sh makes", needed.display());
    }
    let prefix = prefix(folder);
    if !prefix.exists() {
        copy(&made().join("prefix"), &prefix);
    }
    let mut command = Command::new(WINE);
    command.env_remove("DISPLAY").env_remove("RUST_LOG").env("WINEDEBUG", "-all");
    command.env("WINEPREFIX", prefix).env("WINESERVER", WINESERVER);
    command
}

/// Keeps the Windows of a folder running until its end: by itself it ends with the last program that is no service.
pub(super) fn keep(folder: &Path) {
    let mut start = tool(folder);
    start.args(["cmd", "/c", "ver"]);
    let kept = Command::new(WINESERVER).arg("-p").env("WINEPREFIX", prefix(folder)).status();
    assert!(kept.is_ok_and(|status| status.success()), "{}", folder.display());
    // What Windows itself runs keeps the output of whoever has started it.
    let started = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(started.is_ok_and(|status| status.success()), "{}", folder.display());
}

/// Copies a Windows. Its files are shared, but for those of the registry: Wine writes into a file that has several names.
fn copy(from: &Path, to: &Path) {
    let linked = Command::new("cp").arg("-al").arg(from).arg(to).status();
    assert!(linked.is_ok_and(|status| status.success()), "{}", to.display());
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        if name.to_str().is_some_and(|name| name.ends_with(".reg")) {
            fs::remove_file(to.join(&name)).unwrap();
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// Ends the Windows of a folder, with all that runs there.
pub(crate) fn end(folder: &Path) {
    let mut end = Command::new(WINESERVER);
    end.args(["-k", "-w"]).env("WINEPREFIX", prefix(folder));
    let _ = end.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// A whole path as Windows has it: Wine's drive Z is everything.
pub(crate) fn path(path: &Path) -> String {
    format!("Z:{}", path.to_str().expect("the path is UTF-8").replace('/', "\\"))
}

/// What the Windows of a folder has as drive C.
pub(super) fn drive_c(folder: &Path) -> PathBuf {
    prefix(folder).join("drive_c")
}

fn prefix(folder: &Path) -> PathBuf {
    folder.join("windows")
}

fn made() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("windows")
}

/// Where it is.
pub(super) fn program_file(build: Build) -> PathBuf {
    let folder = match build {
        Build::Full => "full",
        Build::Portable => "portable",
    };
    made().join(folder).join("rtspserver.exe")
}
