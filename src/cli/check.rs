//! `check`: what a configuration means, without running it.

use proto::rtsp::uri::{Target, percent_decode};

use super::args::{Check, environment};
use super::{Failure, overview, say};
use crate::config::{self, Overrides};
use crate::control;

/// Prints the effective configuration, or for `--url` which `<output>` is for it.
pub(super) fn check(args: &Check) -> Result<(), Failure> {
    let overrides = Overrides { environment: environment(), ..Overrides::default() };
    let loaded = config::load(args.file.config.as_deref(), &overrides)?;
    let mut text = overview::overview(&loaded);
    if loaded.settings.multicast {
        // Where there is none that is lacking.
        if let Ok(outlet) = control::outlet(&loaded.settings) {
            text.push_str(&format!("multicast leaves by {outlet}\n"));
        }
    }
    for problem in control::lacking(&loaded.settings, false) {
        text.push_str(&format!("warning: {problem}\n"));
    }
    if let Some(url) = &args.url {
        text.push_str(&overview::rule_for(&loaded.settings, &path_of(url)?));
        text.push('\n');
    }
    say(&text);
    Ok(())
}

/// The path of a URL, decoded and without parameters; a path may lack its first slash.
fn path_of(url: &str) -> Result<String, Failure> {
    let is_whole = url.contains("://") || url.starts_with('/');
    let whole = if is_whole { url.to_owned() } else { format!("/{url}") };
    let target = Target::parse(&whole).map_err(|error| Failure::Other(format!("--url {url}: {error}")))?;
    // A name that was not encoded is meant as it stands.
    let path = percent_decode(&target.path).unwrap_or(target.path);
    Ok(path.trim_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_in_any_url() {
        let path = |url| path_of(url).ok();
        let found = |path: &str| Some(path.to_owned());
        assert_eq!(path("rtsp://192.0.2.1:8554/a%20b/clip.mp4?s=3"), found("a b/clip.mp4"));
        assert_eq!(path("/clip.mp4&t=unicast"), found("clip.mp4"));
        assert_eq!(path("clip.mp4"), found("clip.mp4"));
        assert_eq!(path("rtsp://192.0.2.1"), found(""));
        assert_eq!(path("%C3%A4"), found("ä"));
        assert_eq!(path("100%"), found("100%"));
        assert_eq!(path("http://192.0.2.1/clip.mp4"), None);
    }
}
