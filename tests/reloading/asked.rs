//! The API reads the file again: it says what has changed, what waits, and what is wrong.

use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{FILE, PATIENCE, Subject, goes_on, proxy, serving, user};
use crate::client::viewer::{BOTH, Over};
use crate::server::{Backend, on_both_backends};
use crate::steering::{Answer, curl, get, http};

const RELOAD: &str = "/api/v1/config/reload";

impl Subject {
    /// Writes a configuration and asks for it.
    #[track_caller]
    fn ask(&self, xml: &str, arguments: &[&str]) -> Answer {
        self.write(xml);
        curl(&http(&self.server, RELOAD), &[&["-X", "POST"][..], arguments].concat())
    }
}

fn the_answer_tells_what_has_changed_and_what_waits_for_the_next_start(backend: Backend) {
    let subject = Subject::start(serving(backend).http());
    let mut viewers = BOTH.map(|over| subject.watch(FILE, over));
    let port = subject.server.port() + 2;
    let nodes = [
        user("a", "b", "play"),
        proxy("other", "rtsp://127.0.0.1:1/", ""),
        format!("<rtsps_port>{port}</rtsps_port><max_sessions>9</max_sessions><mtu>1200</mtu>"),
        "<mistake>1</mistake>".to_owned(),
    ];
    let told = subject.ask(&subject.with(&nodes.concat()), &[]).expect(200).json();
    assert_eq!(told["settings"], json!(["rtsps_port", "max_sessions"]));
    let one = json!({"added": 1, "removed": 0, "changed": 0});
    let none = json!({"added": 0, "removed": 0, "changed": 0});
    assert_eq!((&told["users"], &told["proxies"], &told["pushers"]), (&one, &one, &none));
    assert_eq!((&told["ports_opened"], &told["ports_closed"]), (&json!([port]), &json!([])));
    assert_eq!(told["at_next_start"], json!(["mtu"]));
    let is_mistake = |warning: &Value| warning["subject"] == "config/mistake";
    assert!(told["warnings"].as_array().unwrap().iter().any(is_mistake), "{told}");
    // What is obeyed is what the API tells of, and what waits is not obeyed.
    let config = get(&subject.server, "/api/v1/config");
    let value = |name: &str| config["settings"][name]["value"].clone();
    assert_eq!((value("max_sessions"), value("mtu")), (json!("9"), json!("1400")));
    assert_eq!((&config["users"][0]["name"], &config["proxies"][0]["path"]), (&json!("a"), &json!("other")));
    let told = subject.ask(&subject.with(""), &[]).expect(200).json();
    assert_eq!((&told["ports_closed"], &told["at_next_start"]), (&json!([port]), &json!([])));
    assert_eq!(get(&subject.server, "/api/v1/config")["users"], json!([]));
    viewers.iter_mut().for_each(goes_on);
}

fn what_is_wrong_is_listed_with_line_and_column_and_nothing_changes(backend: Backend) {
    let subject = Subject::start(serving(backend).http());
    let mut viewer = subject.watch(FILE, Over::Tcp);
    let line = subject.base.lines().count() + 1;
    let wrong = "<test>0</test><max_sessions>many</max_sessions>\n<mtu>1</mtu>";
    let problem = subject.ask(&subject.with(wrong), &[]).expect(422).json();
    let errors: Vec<_> = problem["errors"].as_array().unwrap().iter().collect();
    let places = |error: &Value| json!([error["subject"], error["line"], error["column"]]);
    assert_eq!(
        errors.iter().map(|error| places(error)).collect::<Vec<_>>(),
        [json!(["config/max_sessions", line, 29]), json!(["config/mtu", line + 1, 6])]
    );
    assert!(errors[0]["text"].as_str().unwrap().contains("\"many\" is not"), "{problem}");
    // What is right by itself and cannot be had.
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let nodes = format!("<test>0</test><rtsps_port>{port}</rtsps_port>");
    let problem = subject.ask(&subject.with(&nodes), &[]).expect(422).json();
    let text = problem["errors"][0]["text"].as_str().unwrap();
    assert!(text.contains("rtsps_port") && text.contains("is in use"), "{problem}");
    assert_eq!(subject.status("/test"), 200);
    goes_on(&mut viewer);
}

fn who_may_use_the_api_changes_with_the_file(backend: Backend) {
    let subject = Subject::start(serving(backend).http());
    let url = http(&subject.server, "/api/v1/events");
    let arguments = ["-sN", "-D", "-", &url];
    let mut listening = Command::new("curl").args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut heard = BufReader::new(listening.stdout.take().unwrap());
    let mut first = String::new();
    heard.read_line(&mut first).unwrap();
    assert!(first.contains(" 200 "), "{first}");
    let only_admins = format!("<api>auth</api>{}", user("root", "secret", "admin"));
    subject.ask(&subject.with(&only_admins), &[]).expect(200);
    // Who listened has proven nothing.
    let ended = thread::spawn(move || io::copy(&mut heard, &mut io::sink()).unwrap());
    let end = Instant::now() + PATIENCE;
    while !ended.is_finished() {
        assert!(Instant::now() < end, "events are told to who may not ask");
        thread::sleep(Duration::from_millis(10));
    }
    listening.wait().unwrap();
    subject.ask(&subject.with(""), &[]).expect(401);
    curl(&http(&subject.server, "/api/v1/config"), &[]).expect(401);
    let admin = ["--digest", "-u", "root:secret"];
    subject.ask(&subject.with("<api>off</api>"), &admin).expect(200);
    curl(&http(&subject.server, "/api/v1/config"), &admin).expect(403);
    subject.reload("");
    get(&subject.server, "/api/v1/config");
}

fn many_who_ask_at_once_are_answered_one_after_the_other(backend: Backend) {
    let subject = Subject::start(serving(backend).http());
    let mut viewer = subject.watch(FILE, Over::Udp);
    let url = http(&subject.server, RELOAD);
    let asking = (0..12).map(|_| {
        let url = url.clone();
        thread::spawn(move || curl(&url, &["-X", "POST"]).status)
    });
    let statuses: Vec<_> = asking.collect::<Vec<_>>().into_iter().map(|it| it.join().unwrap()).collect();
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    goes_on(&mut viewer);
}

on_both_backends!(
    who_may_use_the_api_changes_with_the_file;
    "ffmpeg":
    the_answer_tells_what_has_changed_and_what_waits_for_the_next_start,
    what_is_wrong_is_listed_with_line_and_column_and_nothing_changes,
    many_who_ask_at_once_are_answered_one_after_the_other,
);
