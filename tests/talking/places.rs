//! The talker's place at the source is given back however long it was had.

use std::thread;
use std::time::Duration;

use super::door::{Door, Ear};
use super::{describe, say, server, talker};
use crate::client::viewer::Over;
use crate::server::{Backend, on_both_backends};

on_both_backends!(a_talk_longer_than_a_description_is_held_ends_as_any_other);

fn a_talk_longer_than_a_description_is_held_ends_as_any_other(backend: Backend) {
    let door = Door::start(Ear::Lingers);
    let server = server(backend, &door);
    let mut viewer = talker(&server, Over::Tcp);
    viewer.play(&[]);
    // A description is held for ten seconds, and who is silent for five loses the place.
    for round in 0..6 {
        say(&mut viewer, 2, 1, 5 * round..5 * round + 5);
        thread::sleep(Duration::from_secs(2));
    }
    door.wait_for_sound(30);
    assert_eq!(door.tagged("DESCRIBE"), 1, "the talk was interrupted");
    viewer.teardown();
    door.wait_for_asked("TEARDOWN", "", 1);
    // Asks the shard of the source, as the description is not believed any more, while the source takes its time.
    describe(&server, "/door").expect(200);
    let mut next = talker(&server, Over::Tcp);
    next.play(&[]);
    say(&mut next, 2, 2, 0..5);
    door.wait_for_sound(35);
}
