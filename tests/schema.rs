//! The schema of the configuration takes and refuses what the program takes and refuses. xmllint is the judge.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringcaster::config::{self, Overrides, keys};

use crate::server::scratch;

/// The files among `files` that the schema refuses.
fn refused(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut command = Command::new("xmllint");
    command.args(["--noout", "--schema"]).arg(folder().join("rtspserver.xsd"));
    let output = command.args(files).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let of = |line: &str, end: &str| line.strip_suffix(end).map(PathBuf::from);
    let refused: BTreeSet<_> = said.lines().filter_map(|line| of(line, " fails to validate")).collect();
    let taken = said.lines().filter(|line| line.ends_with(" validates")).count();
    assert_eq!(refused.len() + taken, files.len(), "every file was judged:\n{said}");
    refused
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// Whether the program takes a file: what its values mean together, and where its folders are, is not the schema's to know.
fn is_taken(file: &Path) -> bool {
    let Err(error) = config::load(Some(file), &Overrides::default()) else { return true };
    error.problems.iter().all(|problem| !problem.text.contains(" is not a"))
}

/// Texts to try for a setting: all numbers and words that its description names and those beside them, and nonsense.
fn texts(allowed: &str) -> BTreeSet<String> {
    let words =
        allowed.split(|c: char| c.is_whitespace() || ",()".contains(c)).filter(|word| !word.is_empty());
    let mut texts: BTreeSet<String> = words.map(str::to_owned).collect();
    let numbers: Vec<i64> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    texts.extend(
        numbers.iter().flat_map(|number| [number - 1, *number, number + 1]).map(|number| number.to_string()),
    );
    texts
        .extend(texts.iter().flat_map(|text| [text.to_lowercase(), text.to_uppercase()]).collect::<Vec<_>>());
    texts.extend(NONSENSE.iter().map(|text| (*text).to_owned()));
    texts
}

/// What nearly every setting refuses, and what some settings take.
const NONSENSE: &[&str] = &[
    "nonsense!",
    "-1",
    "-2",
    "+1",
    "1.5",
    "1e2",
    "0x10",
    "99999999999",
    "auto",
    "a b",
    "a,b",
    "10.0.0.1",
    "10.0.0.256",
    "10.0.0.1/24",
    "10.0.0.1/33",
    "::1",
    "2001:db8::/32",
    "fe80::1%eth0",
    "239.1.2.3",
    "ff15::1",
    "1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7",
    "::ffff:10.0.0.1",
    "224.1.1.1",
    "http://h/",
    "https://u:p@h:1/a?b",
    "http://",
    "http://:80/",
    "HTTP://h",
    "https://h.example",
    "ftp://h/",
    "null",
    "MD5 SHA-256",
    "sha-256,md5",
    "MD5 MD5",
    "a\"b",
    "a\\b",
    "localhost",
    "bridge-1",
    "[::1]",
    "root",
    "root:video",
    "a:b:c",
    ":video",
];

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[test]
fn the_schema_takes_every_file_that_comes_with_the_program() {
    let mut files = vec![folder().join("rtspserver.xml"), folder().join("debian/rtspserver.xml")];
    files.extend(fs::read_dir(folder().join("samples")).unwrap().map(|entry| entry.unwrap().path()));
    assert_eq!(refused(&files), BTreeSet::new());
}

#[test]
fn the_schema_takes_of_every_setting_the_values_that_the_program_takes() {
    let scratch = scratch("schema");
    let mut files = Vec::new();
    for key in keys() {
        for (number, text) in texts(key.allowed).iter().enumerate() {
            let file = scratch.join(format!("{}-{number}.xml", key.name));
            fs::write(&file, format!("<config><{0}>{1}</{0}></config>\n", key.name, escaped(text))).unwrap();
            files.push((file, key, text.clone()));
        }
    }
    let paths: Vec<_> = files.iter().map(|(file, ..)| file.clone()).collect();
    let refused = refused(&paths);
    let mut wrong = String::new();
    let mut taken = 0;
    for (file, key, text) in &files {
        let (program, schema) = (key.takes(text), !refused.contains(file));
        taken += usize::from(program);
        if program != schema {
            writeln!(wrong, "{} {text:?}: program {program}, schema {schema}", key.name).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(taken > keys().count() && refused.len() > 10 * keys().count(), "{taken} {}", refused.len());
    fs::remove_dir_all(scratch).unwrap();
}

/// Elements with children, right and wrong; in place of `*` a value.
const ELEMENTS: &[(&str, &[&str])] = &[
    ("<user><username>a</username><password>*</password></user>", &["x", ""]),
    (
        "<user><username>a</username><password_hash>*</password_hash></user>",
        &["00112233445566778899aabbccddeeff", "0011", "x"],
    ),
    (
        "<user><username>a</username><permission>*</permission></user>",
        &["play", "PLAY,publish /a", "/a", "/a play", "jump"],
    ),
    ("<output><url>*.mp4</url><live>*</live></output>", &["1", "2"]),
    ("<output><video><codec>*</codec></video></output>", &["H264", "h265", "none", "mjpeg", "", "VP8"]),
    ("<output><video><width>*</width></video></output>", &["0", "16384", "16385", "-1"]),
    (
        "<output><video><framerate>*</framerate></video></output>",
        &["0", "29.97", ".5", "240", "240.1", "1e2", "x"],
    ),
    ("<output><video><bitrate>*</bitrate></video></output>", &["1000000", "1000001"]),
    ("<output><audio><codec>*</codec></audio></output>", &["G711A", "pcmu", "OPUS", "MP3"]),
    ("<output><audio><samplerate>*</samplerate></audio></output>", &["0", "44100", "44000"]),
    ("<output><audio><channels>*</channels></audio></output>", &["2", "3"]),
    ("<proxy><suffix>*</suffix><url>rtsp://h/</url></proxy>", &["a", "a/b", "a b", "a?b", "a#b", "a%b"]),
    (
        "<proxy><suffix>a</suffix><url>*</url></proxy>",
        &[
            "rtsp://h/a?b",
            "RTSPS://h",
            "https://h/",
            "rtsp://u:p@s@h/",
            "rtsp://u@:5/",
            "",
            "rtsp://",
            "h",
            "udp://h/",
        ],
    ),
    (
        "<proxy><suffix>a</suffix><url>rtsp://h/</url><transfer>*</transfer></proxy>",
        &["udp", "MULTICAST", "SCTP"],
    ),
    ("<proxy><suffix>a</suffix><url>rtsp://h/</url><ondemand>*</ondemand></proxy>", &["0", "yes", "2"]),
    ("<proxy><suffix>a</suffix><url>rtsp://h/</url><verify>*</verify></proxy>", &["0", "2"]),
    ("<proxy><suffix>a</suffix><url>rtsp://h/</url><backchannel>*</backchannel></proxy>", &["0", "2"]),
    ("<pusher><suffix>a</suffix><video><codec>*</codec></video></pusher>", &["H264", "x"]),
    (
        "<pusher><suffix>a</suffix><audio><codec>AAC</codec><config>*</config></audio></pusher>",
        &["1210", "121", "xy"],
    ),
    (
        "<pusher><suffix>a</suffix><audio><codec>G726</codec><bitrate>*</bitrate></audio></pusher>",
        &["16", "40", "64"],
    ),
    (
        "<pusher><suffix>a</suffix><audio><codec>G726</codec><bitorder>*</bitorder></audio></pusher>",
        &["lsb", "MSB", "x"],
    ),
    (
        "<pusher><suffix>a</suffix><transfer><mode>*</mode></transfer><video><codec>H264</codec></video></pusher>",
        &["RTSP", "SCTP"],
    ),
    (
        "<pusher><suffix>a</suffix><transfer><ip>*</ip></transfer></pusher>",
        &["10.0.0.1", "::1", "host", "a b"],
    ),
    (
        "<pusher><suffix>a</suffix><video><codec>H264</codec></video><transfer><mode>UDP</mode><vport>*</vport></transfer></pusher>",
        &["1", "65535", "0", "65536"],
    ),
    ("<backchannel><codec>*</codec></backchannel>", &["G711U", "none", "MP3"]),
    ("<backchannel><talkers>*</talkers></backchannel>", &["1", "16", "0", "17"]),
    (
        "<metadata_source><path>a</path><file>a.xml</file><repeat_s>*</repeat_s></metadata_source>",
        &["1", "3600", "0", "3601"],
    ),
    ("<http_notify><on_play>*</on_play></http_notify>", &["http://h/", "h"]),
    ("<http_notify><notify_timeout_ms>*</notify_timeout_ms></http_notify>", &["100", "99"]),
    ("<videodevice index=\"*\" path=\"/dev/video0\"/>", &["0", "255", "256", "x"]),
    ("<videodevice index=\"0\" path=\"*\"/>", &["/dev/video0", "video0"]),
];

#[test]
fn the_schema_takes_of_nodes_with_children_what_the_program_takes() {
    let scratch = scratch("schema");
    fs::create_dir_all(scratch.join("media")).unwrap();
    let mut files = Vec::new();
    for (element, values) in ELEMENTS {
        for value in *values {
            let file = scratch.join(format!("{}.xml", files.len()));
            // A pattern of files has a star of its own, which comes first.
            let element = element.replacen("*.mp4", "mp4", 1).replace('*', value);
            fs::write(&file, format!("<config>{element}</config>\n")).unwrap();
            files.push((file, element));
        }
    }
    let paths: Vec<_> = files.iter().map(|(file, _)| file.clone()).collect();
    let refused = refused(&paths);
    let mut wrong = String::new();
    for (file, element) in &files {
        let (program, schema) = (is_taken(file), !refused.contains(file));
        if program != schema {
            writeln!(wrong, "{element}: program {program}, schema {schema}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(
        refused.len() > ELEMENTS.len() / 2 && refused.len() < files.len() / 2 + ELEMENTS.len(),
        "{}",
        refused.len()
    );
    fs::remove_dir_all(scratch).unwrap();
}

#[test]
fn the_schema_refuses_what_no_element_is_called() {
    let scratch = scratch("schema");
    let file = scratch.join("unknown.xml");
    fs::write(&file, "<config><server_port>554</server_port></config>\n").unwrap();
    assert_eq!(refused(std::slice::from_ref(&file)), BTreeSet::from([file.clone()]));
    fs::remove_dir_all(scratch).unwrap();
}

#[test]
fn the_schema_has_no_setting_that_the_program_lacks() {
    const NODES: [&str; 8] =
        ["http_notify", "user", "output", "proxy", "pusher", "videodevice", "backchannel", "metadata_source"];
    let schema = fs::read_to_string(folder().join("rtspserver.xsd")).unwrap();
    let (_, root) = schema.split_once("<xs:complexType name=\"config\">").unwrap();
    let (root, _) = root.split_once("</xs:complexType>").unwrap();
    let names = root.split("<xs:element name=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let names: Vec<_> = names.filter(|name| !NODES.contains(name)).collect();
    let known: BTreeSet<_> = keys().map(|key| key.name).collect();
    assert_eq!(names.iter().copied().collect::<BTreeSet<_>>(), known);
    assert_eq!(names.len(), known.len(), "a setting stands in the schema twice: {names:?}");
}
