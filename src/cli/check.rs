//! `check`: what a configuration means, without running it.

use super::args::{Check, environment};
use super::{Failure, overview};
use crate::config::{self, Overrides};

/// Prints the effective configuration, or for `--url` which `<output>` is for it.
pub(super) fn check(args: &Check) -> Result<(), Failure> {
    let overrides = Overrides { environment: environment(), command_line: Vec::new() };
    let loaded = config::load(args.file.config.as_deref(), &overrides)?;
    print!("{}", overview::overview(&loaded));
    if let Some(url) = &args.url {
        println!("{}", overview::rule_for(&loaded.settings, &path_of(url)));
    }
    Ok(())
}

/// The path of a URL, decoded and without parameters.
fn path_of(url: &str) -> String {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => url,
    };
    let end = path.find(['?', '&', '#']).unwrap_or(path.len());
    decode(&path[..end]).trim_matches('/').to_string()
}

/// Percent-decodes; what is no escape stays.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let escape = (bytes[index] == b'%').then(|| text.get(index + 1..index + 3)).flatten();
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                index += 3;
            }
            None => {
                decoded.push(bytes[index]);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_in_any_url() {
        assert_eq!(path_of("rtsp://192.0.2.1:8554/a%20b/clip.mp4?s=3"), "a b/clip.mp4");
        assert_eq!(path_of("/clip.mp4&t=unicast"), "clip.mp4");
        assert_eq!(path_of("clip.mp4"), "clip.mp4");
        assert_eq!(path_of("rtsp://192.0.2.1"), "");
        assert_eq!(path_of("100%"), "100%");
        assert_eq!(path_of("%zz%C3%A4%"), "%zzä%");
    }
}
