//! Resources by curl, on every port and in TLS.

use super::{curl, exchange, get, http, server};
use crate::server::{Backend, on_both_backends};

fn every_port_answers_who_asks_for_the_api(backend: Backend) {
    let server = server(backend).tls("p256-cert.pem", "p256-key.pem").start();
    let doors = [
        format!("http://{}", server.address()),
        format!("http://{}", server.http_address()),
        format!("https://{}", server.secure_address()),
        format!("https://{}", server.https_address()),
    ];
    for door in doors {
        let healthy = curl(&format!("{door}/healthz"), &[]).expect(200);
        assert_eq!((healthy.body.as_str(), healthy.kind.starts_with("text/plain")), ("ok\n", true), "{door}");
        assert_eq!(curl(&format!("{door}/readyz"), &[]).expect(200).body, "ready\n");
        let stats = curl(&format!("{door}/api/v1/stats"), &[]).expect(200);
        assert_eq!(stats.kind, "application/json");
        assert_eq!(stats.json()["shards"].as_array().unwrap().len(), 2);
        let name = if backend == Backend::Uring { "io_uring" } else { "tokio" };
        assert_eq!(stats.json()["backend"], name);
        // One connection serves one request after the other.
        let url = format!("{door}/api/v1/sessions");
        let list = curl(&url, &[&url, &url]).expect(200);
        assert_eq!(list.connections, 0, "the last of three came on the connection of the first");
        curl(&url, &["--http1.0"]).expect(200);
        let head = curl(&url, &["-I"]).expect(200);
        assert!(
            head.body.contains("content-length: ") && head.body.contains("server: Ringcaster/"),
            "{head:?}"
        );
        let options = curl(&url, &["-X", "OPTIONS", "-i"]).expect(204);
        assert!(options.body.contains("allow: GET,HEAD"), "{options:?}");
        curl(&url, &["-X", "PUT"]).expect_problem(405, "PUT is not for this resource");
        curl(&format!("{door}/api/v1/nothing"), &[]).expect_problem(404, "no resource");
        curl(&format!("{door}/api/v1/sessions/0123456789ABCDEF"), &[]).expect_problem(404, "no session");
        curl(&format!("{door}/api/v1/sessions/FF23456789ABCDEF"), &["-X", "DELETE"])
            .expect_problem(404, "no session");
        curl(&format!("{door}/api/v1/streams/no/such"), &[]).expect_problem(404, "no stream");
        curl(&format!("{door}/api/v1/sessions?limit=0"), &[]).expect_problem(400, "limit is 1 to 1000");
        curl(&format!("{door}/api/v1/sessions?limit=x"), &[]).expect_problem(400, "limit");
        // What is no resource is still what it was.
        assert!(curl(&format!("{door}/"), &[]).expect(200).body.contains("<title>Ringcaster</title>"));
        curl(&format!("{door}/apiary"), &[]).expect(404);
    }
}

fn who_closes_its_side_behind_the_question_is_answered(backend: Backend) {
    use std::io::{Read, Write};
    let server = server(backend).start();
    let mut stream = std::net::TcpStream::connect(server.http_address()).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok\n"), "{answer}");
    // Two questions at once, the second of which is the last.
    let both = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answers = exchange(server.address(), both.as_bytes());
    assert!(answers.contains("ok\n") && answers.ends_with("ready\n"), "{answers}");
}

fn files_are_listed_in_parts_and_described(backend: Backend) {
    let server = server(backend).start();
    let mut names = Vec::new();
    let mut after = String::new();
    loop {
        let part = get(&server, &format!("/api/v1/files?limit=7{after}"));
        let files = part["files"].as_array().unwrap();
        assert!(files.len() <= 7);
        names.extend(files.iter().map(|file| file["path"].as_str().unwrap().to_owned()));
        let Some(next) = part["next"].as_str() else {
            assert_eq!(part["total"], names.len());
            break;
        };
        after = format!("&after={next}");
    }
    assert!(names.is_sorted() && names.iter().any(|name| name == "h264_aac.mp4"), "{names:?}");
    let file = get(&server, "/api/v1/files/h264_aac.mp4");
    assert_eq!((&file["path"], &file["seekable"]), (&"h264_aac.mp4".into(), &true.into()));
    assert_eq!(
        (&file["tracks"][0]["codec"], &file["tracks"][1]["codec"]),
        (&"H264".into(), &"MPEG4-GENERIC".into())
    );
    assert!(file["duration_s"].as_f64().unwrap() > 1.0 && file["tracks"][0]["width"].as_u64().unwrap() > 0);
    curl(&http(&server, "/api/v1/files/none.mp4"), &[]).expect_problem(404, "no file");
    curl(&http(&server, "/api/v1/files/..%2f..%2fetc%2fpasswd"), &[]).expect(404);
    let devices = get(&server, "/api/v1/devices");
    assert!(devices["devices"].is_array() && devices["missing"].is_array(), "{devices}");
}

fn a_configuration_is_shown_without_passwords_and_another_is_checked(backend: Backend) {
    let secret = "s3cret-of-somebody";
    let user = format!(
        "<user><username>ann</username><password>{secret}</password><permission>play</permission></user>"
    );
    let server = server(backend)
        .xml(&user)
        .proxy("gate", &format!("rtsp://me:{secret}@192.0.2.1/x"), &[])
        .proxy("yard", "rtsp://192.0.2.2/x", &[("user", "me"), ("pass", secret)])
        .start();
    let config = get(&server, "/api/v1/config");
    assert!(!config.to_string().contains(secret), "{config}");
    assert_eq!(config["users"][0]["name"], "ann");
    assert_eq!(config["settings"]["mtu"]["value"], "1400");
    assert_eq!(config["settings"]["mtu"]["origin"], "default");
    assert_eq!(config["settings"]["serverport"]["origin"], "file");
    assert_eq!(config["proxies"][0]["url"], "rtsp://me:***@192.0.2.1/x");
    assert_eq!(config["file"].as_str(), server.configuration_file().to_str());
    let check = |xml: &str| {
        let url = http(&server, "/api/v1/config/check");
        curl(&url, &["-H", "Content-Type: application/xml", "--data-binary", xml]).expect(200).json()
    };
    let right = check("<config><mtu>1200</mtu><nonsense/></config>");
    assert_eq!((&right["valid"], &right["errors"]), (&true.into(), &serde_json::json!([])));
    assert!(right["warnings"][0]["text"].as_str().unwrap().contains("unknown element"), "{right}");
    let wrong = check("<config>\n<mtu>12</mtu><serverport>x</serverport></config>");
    assert_eq!((&wrong["valid"], &wrong["errors"][0]["line"]), (&false.into(), &2.into()));
    assert_eq!(wrong["errors"][1]["subject"], "config/serverport");
    assert_eq!(check("no XML at all")["valid"], false);
    let url = http(&server, "/api/v1/config/check");
    curl(&url, &["-X", "POST"]).expect_problem(400, "no configuration in the request");
    let large = "x".repeat(100_000);
    let file = server.configuration_file().with_extension("large");
    std::fs::write(&file, large.repeat(20)).unwrap();
    let from = format!("@{}", file.display());
    curl(&url, &["--data-binary", &from]).expect_problem(413, "1 MiB");
    assert_eq!(get(&server, "/api/v1/config")["settings"]["mtu"]["value"], "1400", "nothing has changed");
}

on_both_backends!(
    who_closes_its_side_behind_the_question_is_answered,
    a_configuration_is_shown_without_passwords_and_another_is_checked;
    "ffmpeg":
    files_are_listed_in_parts_and_described;
    "tls":
    every_port_answers_who_asks_for_the_api,
);
