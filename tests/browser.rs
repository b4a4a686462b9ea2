//! Debian's Chromium without a window, driven through its remote-debugging protocol, which it speaks on a pipe: commands and
//! answers are JSON, a zero byte behind each.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::judge::ffmpeg::Scratch;
use crate::server::scratch;

/// A browser that starts on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A browser with one page; ended with all that it has started.
pub(crate) struct Browser {
    child: Child,
    commands: ChildStdin,
    heard: Receiver<Value>,
    count: u64,
    session: String,
    /// What the page has complained of.
    complaints: Vec<String>,
    _folder: Scratch,
}

impl Browser {
    /// One with an empty page.
    pub(crate) fn start() -> Browser {
        let folder = Scratch(scratch("browser"));
        let mut command = Command::new("sh");
        // Chromium reads commands from descriptor 3 and answers on 4.
        command.args(["-c", "exec 3<&0 4>&1 </dev/null >/dev/null 2>&1; exec chromium \"$@\"", "chromium"]);
        command.args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ]);
        command.args([
            "--mute-audio",
            "--autoplay-policy=no-user-gesture-required",
            "--remote-debugging-pipe",
        ]);
        command.args(["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]);
        command.args(["--ignore-certificate-errors", "--window-size=1280,900"]);
        // A name that is not this machine's: its pages are not secure.
        command.arg("--host-resolver-rules=MAP media.example 127.0.0.1");
        command.arg(format!("--user-data-dir={}", folder.path().display())).arg("about:blank");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().expect("chromium is installed: test.sh does it");
        let (commands, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (said, heard) = channel();
        thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                if said.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let (count, session, complaints) = (0, String::new(), Vec::new());
        let mut browser = Browser { child, commands, heard, count, session, complaints, _folder: folder };
        browser.attach();
        browser
    }

    fn attach(&mut self) {
        let end = Instant::now() + PATIENCE;
        let target = loop {
            let targets = self.call("Target.getTargets", json!({}));
            let targets = targets["targetInfos"].as_array().unwrap().clone();
            match targets.into_iter().find(|target| target["type"] == "page") {
                Some(target) => break target["targetId"].clone(),
                None => assert!(Instant::now() < end, "the browser has no page"),
            }
            thread::sleep(Duration::from_millis(100));
        };
        let attached = self.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        self.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            self.call(domain, json!({}));
        }
    }

    /// Calls a method of the protocol; its result.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.count += 1;
        let mut message = json!({ "id": self.count, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.commands.write_all(&bytes).unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let message = self.heard.recv_timeout(left).expect("the browser answers");
            if message["id"] == self.count {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, event: &Value) {
        let parameters = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(parameters["exceptionDetails"].to_string());
            }
            Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => {
                self.complaints.push(parameters["entry"].to_string());
            }
            _ => {}
        }
    }

    /// Opens a page.
    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// What an expression is, as if a user had clicked; promises are awaited.
    #[track_caller]
    pub(crate) fn ask(&mut self, expression: &str) -> Value {
        let parameters = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true, or something; what it is then.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, expression: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        // What it is about may not be there yet.
        let tried = format!("(() => {{ try {{ return ({expression}) }} catch {{ return false }} }})()");
        loop {
            let value = self.ask(&tried);
            if !matches!(value, Value::Null | Value::Bool(false)) && value != json!(0) && value != json!("") {
                return value;
            }
            if Instant::now() > end {
                let text = self.ask("document.body.innerText");
                panic!("never: {expression}\n{text}\n{:?}", self.complaints);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Clicks the first element that a selector finds, once it is there.
    #[track_caller]
    pub(crate) fn click(&mut self, selector: &str) {
        let selector = json!(selector);
        self.wait_for(&format!("!!document.querySelector({selector})"));
        self.ask(&format!("document.querySelector({selector}).click()"));
    }

    /// Types into a field.
    #[track_caller]
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.wait_for(&format!("!!document.querySelector({selector})"));
        self.ask(&format!("document.querySelector({selector}).value = {text}"));
    }

    /// Presses a key as a user does.
    pub(crate) fn press(&mut self, key: &str) {
        let text = if key == "Enter" { "\r" } else { "" };
        let code = if key == "Enter" { 13 } else { 9 };
        for kind in ["keyDown", "keyUp"] {
            let parameters =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", parameters);
        }
    }

    /// Makes the window as large as that, of a phone or not.
    pub(crate) fn resize(&mut self, width: u32, height: u32, is_phone: bool) {
        let scale = if is_phone { 2 } else { 1 };
        let parameters =
            json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone });
        self.call("Emulation.setDeviceMetricsOverride", parameters);
    }

    /// Has the system dark or light colours.
    pub(crate) fn color(&mut self, scheme: &str) {
        let parameters = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", parameters);
    }

    /// Keeps what the window shows as `target/page/NAME.png`.
    pub(crate) fn picture(&mut self, name: &str) -> PathBuf {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let bytes = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../page");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// What the page has complained of so far: errors of its own, of its policy, and requests that failed.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // What was said before this answer is heard.
        self.ask("1");
        std::mem::take(&mut self.complaints)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-s", "KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}
