//! How often the source is asked for the talker's place, and what is left of that: neither a long talk nor a viewer who
//! pauses and plays without end is at its cost.

use std::thread;
use std::time::{Duration, Instant};

use super::door::{Door, Ear};
use super::lone::LoneShard;
use super::{describe, say, server, tagged, talker};
use crate::client::viewer::{Over, Viewer};
use crate::server::{Backend, on_both_backends};

on_both_backends!(
    a_talk_longer_than_a_description_is_held_ends_as_any_other,
    a_viewer_who_plays_and_pauses_without_end_does_not_flood_the_source,
    viewers_who_come_and_go_do_not_flood_the_source,
    a_place_that_was_asked_for_and_left_leaves_no_question_behind,
);

/// How many connections of talkers a source may have seen since then: one a second.
fn connections_max(since: Instant) -> usize {
    1 + since.elapsed().as_secs() as usize
}

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

fn a_viewer_who_plays_and_pauses_without_end_does_not_flood_the_source(backend: Backend) {
    let door = Door::start(Ear::Tcp);
    let server = server(backend, &door);
    let begun = Instant::now();
    let mut viewer = talker(&server, Over::Tcp);
    while begun.elapsed() < Duration::from_secs(3) {
        viewer.play(&[]);
        viewer.pause();
        thread::sleep(Duration::from_millis(10));
    }
    let asked = door.tagged("DESCRIBE");
    assert!(asked <= connections_max(begun), "{asked} connections in {:?}", begun.elapsed());
    // The place is to be had as before.
    viewer.play(&[]);
    let end = Instant::now() + Duration::from_secs(10);
    while door.heard().len() < 5 {
        say(&mut viewer, 2, 1, 0..5);
        assert!(Instant::now() < end, "the talker is not heard again");
    }
}

fn viewers_who_come_and_go_do_not_flood_the_source(backend: Backend) {
    let door = Door::start(Ear::Tcp);
    let server = server(backend, &door);
    let begun = Instant::now();
    for ssrc in 0..4 {
        // Each is let in, the later ones after a while.
        let mut viewer = talker(&server, Over::Tcp);
        viewer.play(&[]);
        say(&mut viewer, 2, ssrc, 0..2);
        door.wait_for_sound(2 * (1 + ssrc as usize));
        viewer.teardown();
    }
    let asked = door.tagged("DESCRIBE");
    assert!(asked <= connections_max(begun), "{asked} connections in {:?}", begun.elapsed());
}

fn a_place_that_was_asked_for_and_left_leaves_no_question_behind(backend: Backend) {
    let door = Door::start(Ear::Lingers);
    let shard = LoneShard::start(backend, &door);
    let url = shard.url();
    let mut viewer = Viewer::describe_on(tagged(shard.address()), &url, Over::Tcp);
    viewer.setup(1);
    viewer.play(&[]);
    viewer.pause();
    // The place may be asked for once a second. The source is still busy with the end of the talk before.
    thread::sleep(Duration::from_millis(1_100));
    for _ in 0..3 {
        viewer.client.ask("PLAY", &url, &[]);
        viewer.client.ask("PAUSE", &url, &[]);
        viewer.client.response().expect(200);
        viewer.client.response().expect(200);
    }
    let end = Instant::now() + Duration::from_secs(10);
    while shard.questions() > 0 {
        assert!(Instant::now() < end, "{} questions are never answered", shard.questions());
        thread::sleep(Duration::from_millis(20));
    }
}
