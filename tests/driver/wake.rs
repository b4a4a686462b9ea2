//! When a turn ends.

use std::io::Write;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::time::{NtpTime, Time};

use super::rig::{Make, Rig};

/// The wall clock goes at a pace of its own, until it is looked at again.
const SLACK: Duration = Duration::from_secs(1);

pub fn a_waker_ends_a_turn_from_another_thread(make: Make<'_>) {
    let mut driver = make();
    let mut events = Vec::new();
    let (ask, asked) = channel::<()>();
    let waker = driver.waker();
    let other = thread::spawn(move || {
        let mut calls = 0;
        while asked.recv().is_ok() {
            // Sometimes before the turn sleeps, sometimes in its sleep.
            thread::sleep(Duration::from_micros(calls % 7 * 100));
            waker.wake_by_ref();
            calls += 1;
        }
    });
    for _ in 0..300 {
        ask.send(()).unwrap();
        driver.turn(None, &mut events).unwrap();
    }
    assert!(events.is_empty(), "a call is no event: {events:?}");
    drop(ask);
    other.join().unwrap();
}

pub fn a_wake_before_the_turn_is_not_lost(make: Make<'_>) {
    let mut driver = make();
    let waker = driver.waker();
    waker.wake_by_ref();
    waker.wake_by_ref();
    waker.wake_by_ref();
    driver.turn(None, &mut Vec::new()).unwrap();
    // Several calls are one: the next turn lasts until its time.
    let until = driver.now() + Duration::from_millis(30);
    while driver.now() < until {
        driver.turn(Some(until), &mut Vec::new()).unwrap();
    }
    waker.wake();
    driver.turn(None, &mut Vec::new()).unwrap();
}

pub fn a_turn_ends_at_its_time(make: Make<'_>) {
    let mut driver = make();
    let mut events = Vec::new();
    for millis in [1, 3, 20] {
        let until = driver.now() + Duration::from_millis(millis);
        driver.turn(Some(until), &mut events).unwrap();
        assert!(events.is_empty());
        assert!(driver.now() >= until, "{millis} ms are over");
    }
}

pub fn a_time_in_the_past_only_looks(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let mut events = Vec::new();
    for _ in 0..100 {
        rig.driver.turn(Some(Time::ZERO), &mut events).unwrap();
        assert!(events.is_empty());
    }
    let (conn, mut client) = rig.connect();
    client.write_all(b"found without waiting").unwrap();
    rig.until(|rig| {
        rig.turn(Duration::ZERO);
        (!rig.received(conn).is_empty()).then_some(())
    });
}

pub fn the_clock_stands_between_two_turns(make: Make<'_>) {
    let mut driver = make();
    let (now, wall) = (driver.now(), driver.wall());
    thread::sleep(Duration::from_millis(5));
    assert_eq!((driver.now(), driver.wall()), (now, wall));
    driver.turn(Some(Time::ZERO), &mut Vec::new()).unwrap();
    assert!(driver.now() >= now + Duration::from_millis(5));
    assert!(driver.wall() > wall);
}

pub fn both_clocks_tell_of_one_moment(make: Make<'_>) {
    let present = || NtpTime::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
    let mut driver = make();
    let begin = driver.now();
    let mut apart = Vec::new();
    for _ in 0..10_000 {
        let before = present();
        driver.turn(Some(Time::ZERO), &mut Vec::new()).unwrap();
        let (wall, after) = (driver.wall(), present());
        let is_present = before < wall + SLACK && wall < after + SLACK;
        assert!(is_present, "{before:?}, {wall:?}, {after:?}");
        apart.push(wall.to_unix().as_nanos() as i128 - i128::from(driver.now().as_nanos()));
    }
    // Read one behind the other, they would be as far apart as the thread was held up. The wall clock is looked at anew once
    // a second; what is rounded is a nanosecond.
    let steps = apart.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) > 2).count();
    let looks = driver.now().since(begin).as_secs() as usize + 1;
    assert!(steps <= looks, "{steps} times the clocks went apart");
}
