//! What it says at a terminal, and what it reads.

use std::fs;
use std::process::{Command, Stdio};

use crate::judge::ffmpeg::Scratch;
use crate::windows::Windows;
use crate::windows::wine::{self, Build};

/// What the program says at its end, with its exit code.
fn said(folder: &Scratch, words: &[&str]) -> (Option<i32>, String) {
    ended(wine::program(Build::Portable, folder.path()).args(words), folder)
}

/// The same of any program that is run in a folder.
fn ended(command: &mut Command, folder: &Scratch) -> (Option<i32>, String) {
    let output = command.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).replace("\r\n", "\n"))
}

/// Configurations that are wrong, each in its own way.
const WRONG: [&str; 8] = [
    "<serverport>abc</serverport>\r\n<mtu>1</mtu>",
    "<mtu>1300",
    "<mtu>1300</mtv>",
    "<proxy><suffix>gate</suffix><url>ftp://192.0.2.7/a</url></proxy>",
    "<pusher><suffix>studio</suffix><transfer><mode>SCTP</mode></transfer></pusher>",
    "<multicast_ip_min>192.0.2.1</multicast_ip_min>",
    "<udp_port_min>9000</udp_port_min>\r\n<udp_port_max>8000</udp_port_max>",
    "<output><video><codec>H269</codec></video></output>",
];

#[test]
fn what_is_wrong_is_said_as_on_linux() {
    let folder = Windows::new();
    let file = folder.0.path().join("rtspserver.xml");
    for elements in WRONG {
        fs::write(&file, format!("<config>\r\n{elements}\r\n</config>\r\n")).unwrap();
        for words in [&["check"][..], &[]] {
            let mut on_linux = Command::new(env!("CARGO_BIN_EXE_rtspserver"));
            let expected = ended(on_linux.args(words).env_remove("RUST_LOG"), &folder.0);
            assert_eq!(expected.0, Some(2), "{elements}: {}", expected.1);
            assert_eq!(said(&folder.0, words), expected, "{elements}");
        }
    }
    // Why a folder cannot be read is what the system says.
    fs::write(&file, "<config>\r\n<media_dir>nowhere</media_dir>\r\n</config>\r\n").unwrap();
    let (code, text) = said(&folder.0, &[]);
    let begins =
        text.starts_with("rtspserver: rtspserver.xml:2:12: config/media_dir: nowhere cannot be read: ");
    assert!(code == Some(2) && begins, "{text}");
}

#[test]
fn configurations_are_read_as_editors_of_windows_write_them() {
    let folder = Windows::new();
    let settings =
        "\u{feff}<config>\r\n<mtu>1300</mtu>\r\n<media_dir>C:\\windows</media_dir>\r\n</config>\r\n";
    fs::write(folder.0.path().join("rtspserver.xml"), settings).unwrap();
    let (code, text) = said(&folder.0, &["check"]);
    let has = |line: &[&str]| text.lines().any(|found| found.split_whitespace().eq(line.iter().copied()));
    assert_eq!(code, Some(0), "{text}");
    assert!(has(&["mtu", "1300", "rtspserver.xml:2"]), "{text}");
    assert!(has(&["media_dir", "C:\\windows", "rtspserver.xml:3"]), "{text}");
}

#[test]
fn what_only_linux_has_is_refused_with_what_there_is_instead() {
    let folder = Windows::new();
    let instead = "rtspserver: Windows has services in place of --daemon: install one with `rtspserver service install`\n";
    assert_eq!(said(&folder.0, &["--daemon"]), (Some(1), instead.to_owned()));
}
