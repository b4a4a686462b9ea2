//! The media folder: which names in it are served, and never anything outside of it.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use proto::rtsp::uri::percent_decode;

use super::library::MediaError;

/// Endings of the names that are served. Other files, a configuration with passwords say, are nobody's business.
const EXTENSIONS: &[&str] = &[
    "264", "265", "3g2", "3gp", "aac", "ac3", "aif", "aiff", "asf", "au", "av1", "avi", "avc", "caf", "dts",
    "dv", "f4v", "flac", "flv", "g722", "g726", "g726le", "h261", "h263", "h264", "h265", "hevc", "ivf",
    "m1v", "m2t", "m2ts", "m2v", "m4a", "m4v", "mjpeg", "mjpg", "mka", "mkv", "mov", "mp2", "mp3", "mp4",
    "mpeg", "mpg", "mts", "mxf", "nut", "obu", "oga", "ogg", "ogm", "ogv", "opus", "ps", "qt", "rm", "rmvb",
    "ts", "vob", "w64", "wav", "webm", "wma", "wmv", "y4m",
];

/// How deep sub-folders are listed; deeper ones are served all the same.
const LISTED_DEPTH_MAX: usize = 16;

/// The folder that files are served from.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
    follows_symlinks: bool,
}

/// A file that may be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Its name below the folder, with `/` between the parts.
    pub name: String,
}

impl Folder {
    /// Serves from `root`; links that lead out of it are followed only where `follows_symlinks`.
    pub fn new(root: PathBuf, follows_symlinks: bool) -> Folder {
        Folder { root, follows_symlinks }
    }

    /// The file that a URL's path names: percent-decoded, else as it was written.
    pub fn find(&self, url_path: &str) -> Result<Found, MediaError> {
        let raw = url_path.trim_start_matches('/');
        let decoded = percent_decode(raw).ok();
        let mut result = Err(MediaError::NotFound);
        for name in decoded.as_deref().into_iter().chain(Some(raw)) {
            result = self.find_name(name);
            if !matches!(result, Err(MediaError::NotFound)) {
                break;
            }
        }
        result
    }

    /// The names of up to `limit` files in order, and how many more there are.
    pub fn list(&self, limit: usize) -> io::Result<(Vec<String>, usize)> {
        let mut names = Vec::new();
        self.collect(&self.root, LISTED_DEPTH_MAX, &mut names)?;
        names.sort();
        let more = names.len().saturating_sub(limit);
        names.truncate(limit);
        Ok((names, more))
    }

    fn find_name(&self, name: &str) -> Result<Found, MediaError> {
        let parts: Vec<_> = Path::new(name).components().collect();
        let is_plain = !parts.is_empty() && parts.iter().all(|part| matches!(part, Component::Normal(_)));
        if !is_plain || name.contains('\0') || !is_media(Path::new(name)) {
            return Err(MediaError::NotFound);
        }
        if cfg!(windows) && !is_spelled_so(&self.root, name) {
            return Err(MediaError::NotFound);
        }
        let path = self.root.join(name);
        let real = path.canonicalize().map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => MediaError::Forbidden(format!("{name} may not be read")),
            _ => MediaError::NotFound,
        })?;
        if !real.is_file() {
            return Err(MediaError::NotFound);
        }
        if !self.follows_symlinks && !self.root.canonicalize().is_ok_and(|root| real.starts_with(root)) {
            let reason = format!("{name} leads out of the media folder: set follow_symlinks to allow that");
            return Err(MediaError::Forbidden(reason));
        }
        // However it was spelled: rules and permissions are for one name.
        let parts: Vec<_> = parts.iter().filter_map(|part| part.as_os_str().to_str()).collect();
        Ok(Found { path: real, name: parts.join("/") })
    }

    fn collect(&self, folder: &Path, depth: usize, names: &mut Vec<String>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            // What vanishes or cannot be read meanwhile is not listed.
            let Ok(entry) = entry else { continue };
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth > 0 {
                let _ = self.collect(&path, depth - 1, names);
            } else if is_media(&path)
                && let Ok(below) = path.strip_prefix(&self.root)
                && let Some(name) = below.to_str()
            {
                let name = name.replace(std::path::MAIN_SEPARATOR, "/");
                if kind.is_file() || self.find_name(&name).is_ok() {
                    names.push(name);
                }
            }
        }
        Ok(())
    }
}

/// Whether each part of a name is spelled as its folder has it. Windows finds files by other names too: in another case, by
/// a short name, with dots at the end, between `\`, and streams and devices behind that. Rules and permissions are for one.
fn is_spelled_so(root: &Path, name: &str) -> bool {
    let mut folder = root.to_owned();
    name.split('/').filter(|part| !part.is_empty() && *part != ".").all(|part| {
        let mut entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let is_there = entries.any(|entry| entry.file_name() == part);
        folder.push(part);
        is_there
    })
}

fn is_media(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> (PathBuf, Folder) {
        let base = std::env::temp_dir().join(format!("ringcaster-folder-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&base);
        fs::create_dir_all(base.join("media/sub")).unwrap();
        fs::write(base.join("media/a b.mp4"), b"x").unwrap();
        fs::write(base.join("media/100%25.mp4"), b"x").unwrap();
        fs::write(base.join("media/sub/c.ts"), b"x").unwrap();
        fs::write(base.join("media/notes.xml"), b"x").unwrap();
        fs::write(base.join("secret.mp4"), b"x").unwrap();
        let folder = Folder::new(base.join("media"), false);
        (base, folder)
    }

    #[test]
    fn names_are_found_decoded_and_raw() {
        let (base, folder) = folder("names");
        assert_eq!(folder.find("/a%20b.mp4").unwrap().name, "a b.mp4");
        for spelled in ["/sub/c.ts", "//sub//c.ts", "/sub/./c.ts", "/sub/%2e%2fc.ts"] {
            assert_eq!(folder.find(spelled).unwrap().name, "sub/c.ts", "{spelled}");
        }
        assert_eq!(folder.find("/100%25.mp4").unwrap().name, "100%25.mp4");
        assert_eq!(folder.find("/notes.xml"), Err(MediaError::NotFound));
        assert_eq!(folder.find("/sub"), Err(MediaError::NotFound));
        assert_eq!(folder.find("/"), Err(MediaError::NotFound));
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn nothing_outside_is_found() {
        let (base, folder) = folder("outside");
        for path in
            ["/../secret.mp4", "/%2e%2e/secret.mp4", "/sub/../../secret.mp4", "//secret.mp4", "/./a b.mp4\0"]
        {
            assert_eq!(folder.find(path), Err(MediaError::NotFound), "{path}");
        }
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn names_are_spelled_as_their_folders_have_them() {
        let (base, _) = folder("spelled");
        let is_so = |name: &str| is_spelled_so(&base.join("media"), name);
        assert!(is_so("a b.mp4") && is_so("sub/c.ts") && is_so("sub//./c.ts"));
        for other in
            ["A b.mp4", "sub\\c.ts", "sub/c.ts.", "sub/C.ts", "a b.mp4::$DATA", "../secret.mp4", "nul"]
        {
            assert!(!is_so(other), "{other}");
        }
        fs::remove_dir_all(base).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_out_are_followed_only_when_allowed() {
        let (base, folder) = folder("links");
        std::os::unix::fs::symlink(base.join("secret.mp4"), base.join("media/out.mp4")).unwrap();
        std::os::unix::fs::symlink(base.join("media/sub/c.ts"), base.join("media/in.ts")).unwrap();
        assert!(matches!(folder.find("/out.mp4"), Err(MediaError::Forbidden(_))));
        assert!(folder.find("/in.ts").is_ok());
        assert!(Folder::new(base.join("media"), true).find("/out.mp4").is_ok());
        assert_eq!(folder.list(10).unwrap().0, ["100%25.mp4", "a b.mp4", "in.ts", "sub/c.ts"]);
        assert_eq!(folder.list(1).unwrap().1, 3);
        fs::remove_dir_all(base).unwrap();
    }
}
