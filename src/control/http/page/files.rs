//! The files of the page, as they are in the program.

use std::hash::{DefaultHasher, Hash, Hasher};

/// One file.
pub(super) struct File {
    name: &'static str,
    /// Its type.
    pub(super) kind: &'static str,
    /// What is in it.
    pub(super) text: &'static str,
}

/// The page itself.
pub(super) const INDEX: File =
    File { name: "index.html", kind: "text/html; charset=utf-8", text: include_str!("web/index.html") };

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($kind:ident $name:literal),+ $(,)?) => {
        [$(File { name: $name, kind: $kind, text: include_str!(concat!("web/", $name)) }),+]
    };
}

static FILES: [File; 37] = files![
    JS "aac.js",
    JS "account.js",
    JS "api.js",
    JS "av1.js",
    JS "card.js",
    JS "charts.js",
    JS "clock.js",
    JS "codecs.js",
    JS "config.js",
    JS "devices.js",
    JS "digest.js",
    JS "dom.js",
    SVG "icon.svg",
    JS "jpeg.js",
    JS "links.js",
    JS "log.js",
    JS "main.js",
    JS "md5.js",
    JS "microphone.js",
    JS "nal.js",
    JS "overview.js",
    CSS "page.css",
    JS "player.js",
    JS "proxies.js",
    JS "rtp.js",
    JS "rtsp.js",
    JS "screen.js",
    JS "sdp.js",
    JS "server.js",
    JS "sessions.js",
    JS "sha256.js",
    JS "speaker.js",
    JS "talk.js",
    JS "urls.js",
    JS "vpx.js",
    JS "watch.js",
    JS "words.js",
];

/// The file by a name.
pub(super) fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

impl File {
    /// Names what is in it, for `ETag`.
    pub(super) fn tag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.text.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }
}
