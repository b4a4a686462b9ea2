//! Headers before TLS: the proxy passes on what it cannot read.

use super::{FILE, PATIENCE, behind, binary, line, wait_for_lines};
use crate::client::Client;
use crate::client::viewer::{Over, Viewer};
use crate::server::{Backend, on_both_backends};
use crate::tls::ECDSA;
use crate::tls::opener::{Opener, shaken};
use crate::tls::wire::{Manner, Wire};
use crate::tunnels::bridge::{Door, connect};

const MAKES: [fn(&str) -> Vec<u8>; 2] = [line, binary];

fn the_client_that_is_named_before_tls_is_the_peer(backend: Backend) {
    let server = behind(backend).tls(ECDSA[0], ECDSA[1]).start();
    for (number, address) in ["192.0.2.7", "2001:db8::7"].into_iter().enumerate() {
        for make in MAKES {
            for manner in [Manner::Pass, Manner::Drip] {
                let wire = Wire::beginning_with(make(address), server.secure_address(), manner);
                let opener = Opener::before(wire.address, &[]);
                let mut viewer = Viewer::open(opener.address, &server.secure_url(FILE), Over::Tcp);
                wire.turn_to(Manner::Pass);
                viewer.play(&[]);
                assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 5));
                viewer.teardown();
            }
        }
        let peer = ["peer=192.0.2.7:40000", "peer=[2001:db8::7]:40000"][number];
        wait_for_lines(&server, &["session begins", peer], 4);
    }
}

fn both_halves_of_a_tunnel_are_named_before_tls(backend: Backend) {
    let server = behind(backend).tls(ECDSA[0], ECDSA[1]).start();
    for make in MAKES {
        let wire = Wire::beginning_with(make("192.0.2.7"), server.https_address(), Manner::Pass);
        let opener = Opener::before(wire.address, &[]);
        // Of so many one has a half that goes to the other shard.
        for _ in 0..5 {
            let client = connect(opener.address, Door::Http);
            let mut viewer = Viewer::describe_on(client, &server.secure_url(FILE), Over::Tcp).set_up();
            viewer.play(&[]);
            assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 5));
            viewer.teardown();
        }
    }
    wait_for_lines(&server, &["session begins", "peer=192.0.2.7:40000"], 10);
}

fn who_is_denied_is_not_shaken_hands_with(backend: Backend) {
    let server = behind(backend).tls(ECDSA[0], ECDSA[1]).setting("deny", "192.0.2.0/24").start();
    for make in MAKES {
        let denied = Wire::beginning_with(make("192.0.2.7"), server.secure_address(), Manner::Pass);
        let said = shaken(denied.address, &[]);
        assert!(said.contains("no peer certificate available"), "{said}");
        let other = Wire::beginning_with(make("203.0.113.7"), server.secure_address(), Manner::Pass);
        let opener = Opener::before(other.address, &[]);
        Client::connect(opener.address).request("OPTIONS", "*", &[]).expect(200);
    }
    // Without a header there is no handshake either.
    assert!(shaken(server.secure_address(), &[]).contains("no peer certificate available"));
    wait_for_lines(&server, &["closed: proxy_protocol has the proxy say"], 1);
}

on_both_backends!(;
    "tls":
    the_client_that_is_named_before_tls_is_the_peer,
    both_halves_of_a_tunnel_are_named_before_tls,
    who_is_denied_is_not_shaken_hands_with,
);
