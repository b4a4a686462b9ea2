//! The page at `/`, as people use it: in Debian's Chromium. What the windows showed is kept in `target/page`.

mod asked;
mod list;
mod played;
mod steered;
mod still;
mod talked;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::browser::Browser;
use crate::corpus::folder;
use crate::server::{Backend, Builder, Server};

/// A server of the corpus whose HTTP port is open, and whose files go on for ever.
fn server(backend: Backend) -> Builder {
    let server = Server::with(backend).http().media(folder());
    server.setting("loop_nums", -1).setting("api", "local").lifetime(Duration::from_secs(400))
}

/// The URL of a part of the page.
fn page(server: &Server, part: &str) -> String {
    format!("http://{}/{part}", server.http_address())
}

/// A program that is killed when the test lets go of it.
struct Running(Child);

impl Running {
    fn ffmpeg(arguments: &[&str]) -> Running {
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-hide_banner", "-loglevel", "error"]).args(arguments);
        Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Publishes a moving picture with sound, for minutes.
    fn publisher(server: &Server, path: &str) -> Running {
        let pictures = ["-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25"];
        let sound = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"];
        let coding = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25"];
        let rest = ["-pix_fmt", "yuv420p", "-c:a", "aac", "-t", "300"];
        let to = ["-rtsp_transport", "tcp", "-f", "rtsp", &server.url(path)];
        Running::ffmpeg(&[&pictures[..], &sound, &coding, &rest, &to].concat())
    }

    /// Plays a stream by TCP.
    fn player(server: &Server, path: &str) -> Running {
        let url = server.url(path);
        Running::ffmpeg(&["-rtsp_transport", "tcp", "-i", &url, "-c", "copy", "-f", "null", "-"])
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What can be clicked in a card and is not wholly in it: a card hides what does not fit.
const OUTSIDE: &str = "[...document.querySelectorAll('.card')].flatMap(card => {
    const box = card.getBoundingClientRect()
    const isOutside = ({ left, right, top, bottom, width }) => width > 0 &&
        (left < box.left - 1 || right > box.right + 1 || top < box.top - 1 || bottom > box.bottom + 1)
    const isFolded = part => !part.matches('summary') && part.closest('details:not([open])')
    return [...card.querySelectorAll('a, button, input, summary')]
        .filter(part => !isFolded(part) && isOutside(part.getBoundingClientRect()))
        .map(part => `${part.outerHTML.slice(0, 80)} of ${card.innerText.slice(0, 60)}`)
})";

/// Shows the page on a desktop so high and on a phone, light and dark: nothing is wider than the window, and all that can be
/// clicked in a card is in it.
#[track_caller]
fn in_all_windows(browser: &mut Browser, part: &str, height: u32, backend: Backend) {
    for (window, (width, height, is_phone)) in
        [("desktop", (1_280, height, false)), ("phone", (390, 844, true))]
    {
        browser.resize(width, height, is_phone);
        for scheme in ["light", "dark"] {
            browser.color(scheme);
            let fits = browser.ask("document.documentElement.scrollWidth <= innerWidth");
            assert_eq!(fits, true, "{window}");
            assert_eq!(browser.ask(OUTSIDE), serde_json::json!([]), "{part} in {window}");
            browser.picture(&format!("{part}-{window}-{scheme}-{}", backend.name()));
        }
    }
}

/// What a page that plays has shown.
#[derive(Debug)]
struct Shown {
    /// Pictures that differ, within three seconds.
    pictures: u64,
    /// What the player says of itself.
    numbers: Value,
}

/// Waits until it plays, and looks at the canvas for a while: for three seconds, longer where the machine is busy.
#[track_caller]
fn look(browser: &mut Browser) -> Shown {
    browser.wait_for("document.querySelector('canvas')?.player?.numbers().shown > 5");
    let seen = browser.ask(
        "(async () => {
            const canvas = document.querySelector('canvas')
            const small = new OffscreenCanvas(64, 36)
            const brush = small.getContext('2d', { willReadFrequently: true })
            const seen = new Set()
            const began = performance.now()
            const passed = () => performance.now() - began
            while (passed() < 3000 || (seen.size < 15 && passed() < 15000)) {
                brush.drawImage(canvas, 0, 0, 64, 36)
                seen.add(brush.getImageData(0, 0, 64, 36).data.join())
                await new Promise(resolve => setTimeout(resolve, 30))
            }
            return { pictures: seen.size, numbers: canvas.player.numbers() }
        })()",
    );
    Shown { pictures: seen["pictures"].as_u64().unwrap(), numbers: seen["numbers"].clone() }
}

/// Clicks for sound, and waits until some was decoded and heard.
#[track_caller]
fn listen(browser: &mut Browser) {
    browser.click("#sound");
    browser.wait_for(
        "(({ samples, loudest }) => samples > 4000 && loudest > 0.01)(document.querySelector('canvas').player.numbers())",
    );
}
