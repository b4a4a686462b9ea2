//! Addresses: who guesses is banned for a while, and who may not connect does not.

use std::thread;
use std::time::{Duration, Instant};

use super::{FILE, PASSWORD, PATIENCE, USER, asking, from, logging_in};
use crate::client::viewer::{Over, Viewer};
use crate::client::{Client, Message};
use crate::server::{Backend, Server, on_both_backends};

/// Guesses a password once, on a connection of its own; does not wait for the answer.
fn guess(server: &Server, number: u32) -> Client {
    let mut client = logging_in(server, FILE, USER, &format!("guess-{number}"));
    client.ask("DESCRIBE", &server.url(FILE), &[]);
    client
}

/// Whether a connection is closed instead of being served.
fn is_turned_away(mut client: Client) -> bool {
    client.try_send("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    match client.next(PATIENCE) {
        Some(Message::Closed) => true,
        Some(Message::Response(answer)) => answer.status != 200,
        other => panic!("{other:?}"),
    }
}

fn who_guesses_too_often_is_banned_for_a_while_and_others_are_not(backend: Backend) {
    let server = asking(backend).setting("ban_after", 4).setting("ban_s", 4).shards(3).start();
    let url = server.url(FILE);
    let client = logging_in(&server, FILE, USER, PASSWORD);
    let mut viewer = Viewer::describe_on(client, &url, Over::Tcp).set_up();
    viewer.play(&[]);
    let idle = Client::connect(server.address());
    // Whatever shards the connections come to, they are counted together.
    let mut guessing: Vec<_> = (0..4).map(|number| guess(&server, number)).collect();
    server.wait_for_log("banned: too many wrong passwords", PATIENCE);
    let banned = Instant::now();
    assert!(server.log().contains("address=127.0.0.1 failures=4 ban_s=4"), "{}", server.log());
    for client in &mut guessing {
        // Also the last one is told.
        let Some(Message::Response(answer)) = client.next(PATIENCE) else { panic!("no answer") };
        assert_eq!(answer.status, 401);
    }
    assert!(is_turned_away(idle), "who has proven nothing goes");
    let is_early = banned.elapsed() < Duration::from_millis(3_500);
    assert!(is_turned_away(Client::connect(server.address())) || !is_early);
    // Another address, and who was let in before.
    from("127.0.0.2", server.address()).request("OPTIONS", "*", &[]).expect(200);
    viewer.pause();
    viewer.play(&[]);
    server.wait_for_log("the ban has ended", PATIENCE);
    assert!(banned.elapsed() >= Duration::from_millis(3_500), "{:?}", banned.elapsed());
    let mut client = logging_in(&server, FILE, USER, PASSWORD);
    client.request("DESCRIBE", &url, &[]).expect(200);
    assert_eq!((server.lines("banned: too many"), server.lines("the ban has ended")), (1, 1));
    assert!(!server.log().contains("guess-"), "{}", server.log());
}

fn without_bans_nobody_is_banned(backend: Backend) {
    let server = asking(backend).setting("ban_after", 0).start();
    let guessing: Vec<_> = (0..30).map(|number| guess(&server, number)).collect();
    logging_in(&server, FILE, USER, PASSWORD).request("DESCRIBE", &server.url(FILE), &[]).expect(200);
    server.wait_for_lines("log-in failed", guessing.len());
    assert_eq!(server.lines("banned"), 0);
}

fn a_neighbour_of_ipv6_is_not_banned_with_an_address_of_ipv4(backend: Backend) {
    let server = asking(backend).ip("127.0.0.1,::1").setting("ban_after", 1).setting("ban_s", 600).start();
    drop(guess(&server, 1));
    server.wait_for_log("banned: too many wrong passwords", PATIENCE);
    thread::sleep(Duration::from_millis(200));
    assert!(is_turned_away(Client::connect(server.address())));
    let url = format!("rtsp://[::1]:{}{FILE}", server.port());
    let address = format!("[::1]:{}", server.port()).parse().unwrap();
    let mut client = Client::logging_in(address, &url, USER, PASSWORD);
    client.request("DESCRIBE", &url, &[]).expect(200);
    let mut client = Client::logging_in(address, &url, USER, "guess");
    client.request("DESCRIBE", &url, &[]).expect(401);
    server.wait_for_log("address=::1", PATIENCE);
    thread::sleep(Duration::from_millis(200));
    assert!(is_turned_away(Client::connect(address)));
}

/// Elements of a configuration.
type Elements = [(&'static str, &'static str)];

fn the_lists_of_addresses_decide_who_may_connect(backend: Backend) {
    let elements = |list: &Elements| -> String {
        list.iter().map(|(name, value)| format!("<{name}>{value}</{name}>\n")).collect()
    };
    let cases: [(&Elements, [bool; 3]); 6] = [
        (&[], [true, true, true]),
        (&[("deny", "127.0.0.2")], [true, false, true]),
        (&[("allow", "127.0.0.2"), ("allow", "::1")], [false, true, true]),
        (&[("allow", "127.0.0.0/8"), ("deny", "127.0.0.2/31")], [true, false, false]),
        (&[("deny", "0.0.0.0/0, ::/0"), ("allow", "127.0.0.2")], [false, true, false]),
        (&[("deny", "::/0")], [true, true, false]),
    ];
    for (list, expected) in cases {
        let server = Server::with(backend).ip("127.0.0.1,::1").xml(&elements(list)).start();
        let v6 = format!("[::1]:{}", server.port()).parse().unwrap();
        let clients =
            [from("127.0.0.1", server.address()), from("127.0.0.2", server.address()), from("::1", v6)];
        assert_eq!(clients.map(|client| !is_turned_away(client)), expected, "{list:?}");
        if expected != [true; 3] {
            server.wait_for_log("turned away: banned, denied or not allowed", PATIENCE);
        }
    }
}

on_both_backends!(
    the_lists_of_addresses_decide_who_may_connect;
    "ffmpeg":
    who_guesses_too_often_is_banned_for_a_while_and_others_are_not,
    without_bans_nobody_is_banned,
    a_neighbour_of_ipv6_is_not_banned_with_an_address_of_ipv4,
);
