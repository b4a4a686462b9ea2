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
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

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

/// Plays seeds; every kind of fault must have come up in one of twenty.
fn pass(seeds: Range<u64>) {
    if let Ok(seed) = std::env::var("RINGCASTER_SEED") {
        let seed = seed.parse().expect("RINGCASTER_SEED is a number");
        if seeds.contains(&seed) {
            println!("{:?}", play(seed, true));
        }
        return;
    }
    let outcomes: Vec<Outcome> = seeds.clone().map(|seed| play(seed, false)).collect();
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

fn play(seed: u64, traces: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| world::play(seed, traces))).unwrap_or_else(|panic| {
        println!("seed {seed} fails; to see it again: RINGCASTER_SEED={seed} cargo test simulation");
        resume_unwind(panic)
    })
}
