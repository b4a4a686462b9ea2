//! Whole shards on a network in memory, under a virtual clock, among players whose every deed and every mishap
//! follows from a seed. Each seed is 60 seconds of it.
//!
//! A seed that fails is played again with `RINGCASTER_SEED=<seed> cargo test simulation`, which also prints what was
//! sent.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod content;
mod dialogue;
mod faults;
mod flow;
mod habits;
mod judge;
mod library;
mod player;
mod rules;
mod session;
mod streams;
mod world;

use std::ops::Range;
use std::panic::catch_unwind;

use world::Outcome;

#[test]
fn seeds_0_to_249_pass() {
    pass(0..250);
}

#[test]
fn seeds_250_to_499_pass() {
    pass(250..500);
}

#[test]
fn seeds_500_to_749_pass() {
    pass(500..750);
}

#[test]
fn seeds_750_to_999_pass() {
    pass(750..1_000);
}

#[test]
fn a_seed_names_one_course_of_events() {
    let hashes = [world::play(7, false).hash, world::play(7, false).hash, world::play(8, false).hash];
    assert_eq!(hashes[0], hashes[1]);
    assert_ne!(hashes[0], hashes[2]);
}

#[test]
#[ignore = "a soak: RINGCASTER_SEEDS=<from>..<to> says which seeds"]
fn more_seeds_pass() {
    let range = std::env::var("RINGCASTER_SEEDS").unwrap_or("1000..10000".to_owned());
    let (from, to) = range.split_once("..").expect("RINGCASTER_SEEDS is <from>..<to>");
    pass(from.parse().unwrap()..to.parse().unwrap());
}

/// Plays seeds; every kind of fault must have come up in one of twenty.
fn pass(seeds: Range<u64>) {
    if let Ok(seed) = std::env::var("RINGCASTER_SEED") {
        let seed = seed.parse().expect("RINGCASTER_SEED is a number");
        if seeds.contains(&seed) {
            println!("{:?}", world::play(seed, true));
        }
        return;
    }
    let outcomes: Vec<Outcome> = seeds.clone().filter_map(play).collect();
    let failed = (seeds.end - seeds.start) as usize - outcomes.len();
    assert_eq!(failed, 0, "seeds of {seeds:?} that fail");
    let total = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    println!(
        "seeds {seeds:?}: {} sessions, {} replies, {} packets",
        total(|outcome| outcome.sessions),
        total(|outcome| outcome.replies),
        total(|outcome| outcome.packets)
    );
    for kind in faults::ALL {
        let met = outcomes.iter().filter(|outcome| outcome.faults.get(&kind).is_some_and(|count| *count > 0));
        let met = met.count();
        println!("{kind:?}: {met} of {} seeds", outcomes.len());
        assert!(met * 20 >= outcomes.len(), "{kind:?} came up in {met} of {} seeds only", outcomes.len());
    }
}

/// Plays one seed; None when it fails, and then says how to see it again.
fn play(seed: u64) -> Option<Outcome> {
    let played = catch_unwind(|| world::play(seed, false));
    if played.is_err() {
        println!("seed {seed} fails; to see it again: RINGCASTER_SEED={seed} cargo test simulation");
    }
    played.ok()
}
