//! Who may come in, and how many: those who may no longer are ended, all others stay.

use super::{FILE, PATIENCE, Subject, goes_on, is_over, serving, user, watch};
use crate::client::Client;
use crate::client::publisher::{Publisher, SDP};
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::server::{Backend, on_both_backends};
use crate::users::from;

fn asking(backend: Backend) -> Subject {
    Subject::start(serving(backend).setting("need_auth", 1).xml(&user("keeper", "secret-1", "play, publish")))
}

/// A viewer who has logged in.
#[track_caller]
fn logged_in(subject: &Subject, name: &str, password: &str, over: Over) -> Viewer {
    let url = subject.server.url(FILE);
    let client = Client::logging_in(subject.server.address(), &url, name, password);
    watch(Viewer::describe_on(client, &url, over).set_up())
}

/// Whether a name and a password are taken.
fn gets_in(subject: &Subject, name: &str, password: &str) -> bool {
    let url = subject.server.url(FILE);
    let mut client = Client::logging_in(subject.server.address(), &url, name, password);
    client.request("DESCRIBE", &url, &[]).status == 200
}

fn users_come_and_go_and_those_who_stay_notice_nothing(backend: Backend) {
    let subject = asking(backend);
    let mut kept = BOTH.map(|over| logged_in(&subject, "keeper", "secret-1", over));
    assert!(!gets_in(&subject, "guest", "secret-2"));
    // In front of the other: numbers of users change.
    let before = subject.base.replace("<user>", &format!("{}<user>", user("guest", "secret-2", "play")));
    let changes = subject.reload_whole(&format!("{before}\n</config>"));
    assert!(changes.contains("users +1 -0"), "{changes}");
    let mut guests = BOTH.map(|over| logged_in(&subject, "guest", "secret-2", over));
    kept.iter_mut().for_each(goes_on);
    let changes = subject.reload("");
    assert!(changes.contains("users +0 -1"), "{changes}");
    guests.iter_mut().for_each(is_over);
    assert!(!gets_in(&subject, "guest", "secret-2"));
    for viewer in &mut kept {
        goes_on(viewer);
        // What the connection has proven holds, and so does the nonce that it was given.
        let url = viewer.url.clone();
        viewer.client.request("DESCRIBE", &url, &[]).expect(200);
        viewer.teardown();
    }
}

fn another_password_and_a_permission_that_is_gone_end_what_they_were_for(backend: Backend) {
    let subject = asking(backend);
    let others = [user("a", "old", "play"), user("b", "same", "play"), user("c", "same", "play")].concat();
    subject.reload(&others);
    let [mut a, mut b, mut c] = [("a", "old"), ("b", "same"), ("c", "same")]
        .map(|(name, pass)| logged_in(&subject, name, pass, Over::Tcp));
    let others =
        [user("a", "new", "play"), user("b", "same", "play /live/*"), user("c", "same", "play /*.mp4")]
            .concat();
    let changes = subject.reload(&others);
    assert!(changes.contains("users +0 -0, 3 changed"), "{changes}");
    is_over(&mut a);
    is_over(&mut b);
    goes_on(&mut c);
    assert!(gets_in(&subject, "a", "new") && !gets_in(&subject, "a", "old"));
    assert!(!gets_in(&subject, "b", "same") && gets_in(&subject, "c", "same"));
}

fn who_never_said_a_name_is_ended_where_one_is_asked_for(backend: Backend) {
    let subject = Subject::start(serving(backend));
    let mut viewers = BOTH.map(|over| subject.watch(FILE, over));
    let keeper = user("keeper", "secret-1", "play");
    subject.reload(&keeper);
    viewers.iter_mut().for_each(goes_on);
    subject.reload(&format!("<need_auth>1</need_auth>{keeper}"));
    viewers.iter_mut().for_each(is_over);
    assert_eq!(subject.status(FILE), 401);
    let mut viewer = logged_in(&subject, "keeper", "secret-1", Over::Udp);
    subject.reload("");
    goes_on(&mut viewer);
    assert_eq!(subject.status(FILE), 200);
}

fn addresses_that_are_denied_are_turned_out(backend: Backend) {
    let subject = Subject::start(serving(backend));
    let mut kept = BOTH.map(|over| subject.watch(FILE, over));
    let url = subject.server.url(FILE);
    let denied = || from("127.0.0.2", subject.server.address());
    let mut turned_out = watch(Viewer::describe_on(denied(), &url, Over::Tcp).set_up());
    let mut idle = denied();
    idle.request("OPTIONS", "*", &[]).expect(200);
    subject.reload("<deny>127.0.0.2</deny>");
    is_over(&mut turned_out);
    assert!(turned_out.client.is_closed_within(PATIENCE) && idle.is_closed_within(PATIENCE));
    assert!(denied().is_closed_within(PATIENCE));
    kept.iter_mut().for_each(goes_on);
    subject.reload("");
    denied().request("OPTIONS", "*", &[]).expect(200);
    kept.iter_mut().for_each(goes_on);
}

fn another_bound_is_for_those_who_come_next(backend: Backend) {
    let subject = Subject::start(serving(backend).setting("max_sessions", 1));
    let url = subject.server.url(FILE);
    let set_up = || {
        let mut viewer = Viewer::describe(subject.server.address(), &url, Over::Tcp);
        let control = viewer.description.media[0].control.clone();
        let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
        let status = viewer.client.request("SETUP", &control, &transport).status;
        (viewer, status)
    };
    let mut first = subject.watch(FILE, Over::Udp);
    assert_eq!(set_up().1, 453);
    subject.reload("<max_sessions>3</max_sessions>");
    let held = [set_up(), set_up()];
    assert_eq!([held[0].1, held[1].1, set_up().1], [200, 200, 453]);
    subject.reload("");
    goes_on(&mut first);
    drop(held);
    assert_eq!(set_up().1, 453, "those who are there count");
    goes_on(&mut first);
}

fn who_may_not_publish_any_more_is_ended_and_viewers_are_told(backend: Backend) {
    let subject = Subject::start(serving(backend).setting("source_grace_s", 0));
    let url = subject.server.url("/live/camera");
    let mut publisher = Publisher::start(subject.server.address(), &url, Over::Tcp);
    publisher.picture(0, true);
    let mut viewer = Viewer::open(subject.server.address(), &url, Over::Tcp);
    viewer.play(&[]);
    subject.reload("<publish>local</publish>");
    publisher.picture(1, false);
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() >= 6));
    subject.reload("<publish>off</publish>");
    assert!(publisher.client.is_closed_within(PATIENCE));
    is_over(&mut viewer);
    assert_eq!(Publisher::announce(subject.server.address(), &url, SDP).1.status, 403);
}

on_both_backends!(
    who_may_not_publish_any_more_is_ended_and_viewers_are_told;
    "ffmpeg":
    users_come_and_go_and_those_who_stay_notice_nothing,
    another_password_and_a_permission_that_is_gone_end_what_they_were_for,
    who_never_said_a_name_is_ended_where_one_is_asked_for,
    addresses_that_are_denied_are_turned_out,
    another_bound_is_for_those_who_come_next,
);
