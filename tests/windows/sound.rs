//! Sound: Wine speaks to a sound server of Linux, which tests can listen to.

use super::{FULL, wine};
use crate::client::Client;
use crate::client::viewer::{Over, Viewer};
use crate::devices::sound::{TONES, heard, session};
use crate::devices::talk::{name, payload_type, said, tagged, talked_to};

#[test]
fn what_a_viewer_says_is_heard_on_a_loudspeaker() {
    let server = talked_to(FULL, "G711U", "").environment("PULSE_SINK", &name(FULL)).start();
    let client = tagged(Client::connect(server.address()));
    let mut viewer = Viewer::describe_on(client, &server.url("/test"), Over::Tcp).set_up();
    let payload_type = payload_type(&viewer, "PCMU/8000");
    viewer.play(&[]);
    let of_tone = said(FULL, &mut viewer, payload_type, "-c:a pcm_mulaw -ar 8000 -ac 1");
    assert!(of_tone > 0.7, "{of_tone}");
}

#[test]
fn a_microphone_is_a_stream() {
    let server = session().server(FULL).start();
    Client::connect(server.address()).request("DESCRIBE", &server.url("/audiodevice99"), &[]).expect(404);
    server.wait_for_log("no such microphone; there are", wine::START);
    let log = server.log();
    let line = log.lines().find(|line| line.contains("no such microphone")).unwrap();
    let (_, names) = line.split_once(": ").unwrap();
    let index = names.split(", ").position(|name| name.starts_with("Microphone 1"));
    let index = index.unwrap_or_else(|| panic!("{line}"));
    let (_, of_tone) = heard(&server.url(&format!("/audiodevice{index}")), Over::Tcp, TONES[1]);
    assert!(of_tone > 0.7, "{of_tone}");
}
