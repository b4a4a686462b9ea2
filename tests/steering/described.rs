//! The description of the API says what the API does.

use serde_json::{Value, json};

use super::{PATIENCE, curl, get, http, server};
use crate::judge::run;
use crate::server::Backend;

/// Every reference in a document leads somewhere in it.
fn follow(whole: &Value, value: &Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                let pointer = reference.strip_prefix('#').expect("within the document");
                assert!(whole.pointer(pointer).is_some(), "{reference}");
            }
            map.values().for_each(|value| follow(whole, value));
        }
        Value::Array(list) => list.iter().for_each(|value| follow(whole, value)),
        _ => {}
    }
}

/// The schema that a value is of.
fn resolved<'a>(whole: &'a Value, schema: &'a Value) -> &'a Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => resolved(whole, whole.pointer(&reference[1..]).unwrap()),
        None => schema,
    }
}

/// Whether a value has the properties that its schema tells, and no others.
fn agrees(whole: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = resolved(whole, schema);
    match value {
        Value::Object(map) if schema.get("properties").is_some() => {
            let known = schema["properties"].as_object().unwrap();
            for (name, value) in map {
                let schema = known.get(name).unwrap_or_else(|| panic!("{at}/{name} is not described"));
                agrees(whole, schema, value, &format!("{at}/{name}"));
            }
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(map.contains_key(name.as_str().unwrap()), "{at}/{name} is missing");
            }
        }
        Value::Array(list) => list.iter().for_each(|one| agrees(whole, &schema["items"], one, at)),
        other => {
            let words = schema.get("enum").and_then(Value::as_array);
            assert!(words.is_none_or(|words| words.contains(other)), "{at}: {other} is none of {words:?}");
        }
    }
}

#[test]
fn every_described_path_answers_as_described() {
    let server = server(Backend::Fallback).start();
    let whole = get(&server, "/api/v1/openapi.json");
    assert!(whole["openapi"].as_str().unwrap().starts_with("3.1"));
    follow(&whole, &whole);
    let paths = whole["paths"].as_object().unwrap();
    assert!(paths.len() >= 15, "{:?}", paths.keys());
    let operations = paths.values().flat_map(|methods| methods.as_object().unwrap().values());
    let names: Vec<_> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    let unique: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "{names:?}");
    for (path, methods) in paths {
        let asked = path.replace("files/{path}", "files/h264_aac.mp4").replace("{path}", "test");
        let asked = asked.replace("{id}", "0123456789ABCDEF");
        for (method, operation) in methods.as_object().unwrap() {
            if path.ends_with("/events") {
                continue;
            }
            let body: &[&str] = if method == "post" { &["--data-binary", "<config/>"] } else { &[] };
            let name = method.to_uppercase();
            let arguments = [&["-X", &name][..], body].concat();
            let answer = curl(&http(&server, &asked), &arguments);
            let described = &operation["responses"][answer.status.to_string()];
            assert!(described.is_object(), "{method} {asked}: {answer:?}");
            let kind = answer.kind.split(';').next().unwrap();
            if answer.kind.ends_with("json") {
                let schema = &described["content"][kind]["schema"];
                assert!(schema.is_object(), "{method} {asked}: {described}");
                agrees(&whole, schema, &answer.json(), &asked);
            } else if !answer.body.is_empty() {
                assert!(described["content"][kind].is_object(), "{method} {asked}: {kind}");
            }
        }
    }
}

/// Whether a pattern of the description is for each of some texts, by Python.
fn matching(pattern: &str, texts: &[String]) -> Vec<bool> {
    // Where a `$` stands, Python takes a line's end as well.
    let program = "import json, re, sys; pattern, texts = json.loads(sys.argv[1]); \
        print(json.dumps([bool(re.search(pattern[:-1] + r'\\Z', text)) for text in texts]))";
    assert!(pattern.starts_with('^') && pattern.ends_with('$'), "{pattern}");
    let arguments = ["-c".to_owned(), program.to_owned(), json!([pattern, texts]).to_string()];
    let output = run("/usr/bin/python3", &arguments, PATIENCE).unwrap();
    let matching: Vec<bool> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(matching.contains(&true) && matching.contains(&false), "{pattern}");
    matching
}

/// Characters of every kind, of which some are not for paths or not for XML.
fn characters() -> impl Iterator<Item = char> {
    let odd = "\u{85}\u{9f}\u{a0}\u{1680}\u{2000}\u{200a}\u{200b}\u{2028}\u{2029}\u{202f}\u{205f}\u{2060}\u{3000}\u{feff}";
    let rare = "\u{fffd}\u{fffe}\u{ffff}\u{1ffff}\u{7f}";
    ('\0'..='0').chain(":?@[\\]~é".chars()).chain(odd.chars()).chain(rare.chars())
}

/// URLs of sources, and what is none.
const URLS: &str = "rtsp://h|RTSPS://H:322/x?y|http://10.0.0.1/a@b|https://[fe80::1%25eth0]:1/|rtsp://u:p@h|rtsp://u@v@h/|\
    rtsp://h:|rtsp://h:00554/|rtsp://h:65535|rtsp://h:65536|rtsp://h:x|rtsp://h:1:2|rtsp://a_b.c-d/|rtsp://é/ü|rtsp://T*|\
    rtsp://[::]|rtsp://[::1]:8554|rtsp://[2001:db8::7:8]/x|rtsp://[1:2:3:4:5:6:7:8]|rtsp://[1::]|rtsp://[::1|rtsp://[x]/|rtsp://[1.2.3.4]/|rtsp://h]/|rtsp://<h>/|rtsp://h?x|rtsp://h#x|rtsp://|rtsp:///x|rtsp://@|\
    rtsp://u@|rtsp://:554|rtsp:/h|ftp://h|h|rtsp://a b|rtsp://h/a b|rtsp://h/\u{7f}|rtsp://h/\u{a0}| rtsp://h|rtsp://h\n|";

#[test]
fn what_is_described_of_a_proxy_is_what_is_taken() {
    let server = server(Backend::Fallback).start();
    let whole = get(&server, "/api/v1/openapi.json");
    let adding = &whole["paths"]["/api/v1/proxies/{path}"]["post"];
    let path = adding["parameters"][0]["schema"]["pattern"].as_str().unwrap();
    let around: Vec<_> =
        characters().flat_map(|c| [format!("{c}a"), format!("a{c}b"), format!("a{c}")]).collect();
    let ask = |path: &str, wish: Value| {
        let escaped: String = path.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let url = http(&server, &format!("/api/v1/proxies/{escaped}"));
        let answer =
            curl(&url, &["-H", "Content-Type: application/json", "--data-binary", &wish.to_string()]);
        // What is there already may be added as well.
        assert!([201, 409, 422].contains(&answer.status), "{path:?}: {answer:?}");
        answer.status != 422
    };
    for (text, is_described) in around.iter().zip(matching(path, &around)) {
        assert_eq!(ask(text, json!({"url": "rtsp://192.0.2.2/x"})), is_described, "the path {text:?}");
    }
    let words = |words: &str| words.split('|').map(str::to_owned).collect::<Vec<_>>();
    let wish = |name: &str, value: &str| match name {
        "url" => json!({"url": value}),
        "video" | "audio" => json!({"url": "rtsp://192.0.2.2/x", "output": {name: {"codec": value}}}),
        _ => json!({"url": "rtsp://192.0.2.2/x", name: value}),
    };
    for (at, name, texts) in [
        ("ProxyWish/properties/user", "user", around.clone()),
        ("ProxyWish/properties/pass", "pass", around.clone()),
        ("ProxyWish/properties/url", "url", words(URLS)),
        ("ProxyWish/properties/transfer", "transfer", words("|TCP|udp|Multicast|HTTP|TCP ")),
        ("ProxyVideo/properties/codec", "video", words("|H264|h265|mp4|MJPEG|Jpeg|none|H266| H264")),
        (
            "ProxyAudio/properties/codec",
            "audio",
            words("|aac|OPUS|g711|G711A|PCMU|pcma|G722|G726|none|mp3|AAC\t"),
        ),
    ] {
        let schema = whole.pointer(&format!("/components/schemas/{at}")).unwrap();
        let described = matching(schema["pattern"].as_str().unwrap(), &texts);
        for (text, is_described) in texts.iter().zip(described) {
            assert_eq!(ask("one", wish(name, text)), is_described, "{name} {text:?}");
        }
    }
}

#[test]
fn a_number_of_a_query_is_taken_up_to_its_described_bounds_and_refused_beyond_them() {
    let server = server(Backend::Fallback).start();
    let whole = get(&server, "/api/v1/openapi.json");
    let mut tried = 0;
    for (path, methods) in whole["paths"].as_object().unwrap() {
        for parameter in methods["get"]["parameters"].as_array().into_iter().flatten() {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let kind = schema["type"].to_string();
            if !kind.contains("integer") && !kind.contains("number") {
                continue;
            }
            let [least, most] = ["minimum", "maximum"].map(|bound| schema[bound].as_f64());
            let [least, most] =
                [least, most].map(|bound| bound.unwrap_or_else(|| panic!("{path} {name}: {schema}")));
            let asked = path.replace("{path}", "h264_aac.mp4");
            let status = |value: f64| {
                curl(&http(&server, &format!("{asked}?{name}={value}")), &["-o", "/dev/null"]).status
            };
            for (value, is_taken) in [(least, true), (most, true), (least - 1.0, false), (most + 1.0, false)]
            {
                assert_eq!(status(value) == 400, !is_taken, "{asked}?{name}={value}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 4 * 5, "{tried}");
}
