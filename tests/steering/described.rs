//! The description of the API says what the API does.

use serde_json::Value;

use super::{curl, get, http, server};
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
