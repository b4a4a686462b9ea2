//! By which interface multicast leaves, as it is said at start.

use super::{PATIENCE, on_loopback, on_loopback_in};
use crate::client::Client;
use crate::server::{Backend, Server, on_both_backends};

fn the_interface_is_tried_and_named_at_start(backend: Backend) {
    for name in ["lo", "127.0.0.1"] {
        let [first, last] = super::groups();
        let server = on_loopback_in(backend, [first, last]).setting("multicast_interface", name).start();
        server
            .wait_for_log(&format!("multicast leaves by lo (127.0.0.1): groups {first} to {last}"), PATIENCE);
    }
}

fn an_interface_that_is_not_there_keeps_the_server_from_starting(backend: Backend) {
    for name in ["eth99", "192.0.2.77"] {
        let server = on_loopback(backend).setting("multicast_interface", name);
        let ended = server.run_to_end(PATIENCE);
        assert_eq!(ended.status.code(), Some(1));
        let line = format!("\"{name}\" is no interface with an IPv4 address; there are");
        assert!(ended.output.contains(&line) && ended.output.contains("lo (127.0.0.1)"), "{}", ended.output);
        assert!(ended.output.contains("multicast_interface, "), "{}", ended.output);
    }
}

fn multicast_that_is_off_needs_no_interface(backend: Backend) {
    let server = Server::with(backend).setting("multicast_interface", "eth99").start();
    Client::connect(server.address()).request("DESCRIBE", &server.url("/test"), &[]).expect(200);
}

on_both_backends!(
    the_interface_is_tried_and_named_at_start,
    an_interface_that_is_not_there_keeps_the_server_from_starting,
    multicast_that_is_off_needs_no_interface,
);
