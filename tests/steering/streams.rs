//! What can be watched, as the API tells it.

use super::{Running, get, server, wait_for};
use crate::server::{Backend, on_both_backends};

fn streams_tell_their_source_state_tracks_rate_and_viewers(backend: Backend) {
    let server = server(backend)
        .proxy("gate", "rtsp://127.0.0.1:1/x", &[])
        .xml(
            "<pusher><suffix>studio</suffix><video><codec>H264</codec></video>\
             <transfer><mode>RTSP</mode></transfer></pusher>",
        )
        .start();
    let paths = |list: &serde_json::Value| -> Vec<String> {
        let streams = list["streams"].as_array().unwrap().iter();
        streams
            .map(|it| format!("{} {} {}", it["path"], it["source"], it["state"]).replace('"', ""))
            .collect()
    };
    let list = get(&server, "/api/v1/streams");
    assert_eq!(paths(&list), ["gate proxy idle", "studio pusher idle", "test test idle"]);
    let publisher = Running::publisher(&server, "/live/camera");
    let camera = "/api/v1/streams/live/camera";
    wait_for(&server, "/api/v1/streams", |list| {
        paths(list).iter().any(|it| it == "live/camera publisher running")
    });
    let stream = wait_for(&server, camera, |stream| stream["bits_per_second"].as_u64() > Some(1_000));
    assert_eq!((&stream["viewers"], &stream["tracks"][0]["codec"]), (&0.into(), &"H264".into()));
    assert!(stream["sender"].as_str().unwrap().starts_with("127.0.0.1:"), "{stream}");
    let players = [(); 2].map(|()| Running::player(&server, "/live/camera", "tcp"));
    wait_for(&server, camera, |stream| stream["viewers"] == 2);
    let _test = Running::player(&server, "/test", "udp");
    let test = wait_for(&server, "/api/v1/streams/test", |stream| stream["viewers"] == 1);
    assert_eq!((&test["source"], &test["state"]), (&"test".into(), &"running".into()));
    drop(players);
    wait_for(&server, camera, |stream| stream["viewers"] == 0);
    drop(publisher);
    wait_for(&server, camera, |stream| stream["state"] == "lost");
}

on_both_backends!(streams_tell_their_source_state_tracks_rate_and_viewers);
