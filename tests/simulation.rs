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

/// Seeds that are known to fail and wait to be looked into. The list may only shrink.
const FAILING: &[u64] = &[
    34, 79, 116, 124, 144, 248, 249, 264, 281, 335, 394, 401, 412, 454, 508, 511, 520, 548, 576, 600, 607,
    612, 635, 649, 685, 690, 710, 719, 724, 725, 734, 757, 809, 827, 829, 832, 854, 871, 904, 914, 928, 950,
    968, 974, 990,
];

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

/// A soak on demand: RINGCASTER_SEEDS=<from>..<to> says which seeds.
#[test]
fn seeds_that_are_asked_for_pass() {
    let Ok(range) = std::env::var("RINGCASTER_SEEDS") else { return };
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
    let played: Vec<_> = seeds.clone().map(|seed| (seed, play(seed))).collect();
    let is_known = |seed: &u64| FAILING.contains(seed);
    let failed: Vec<_> =
        played.iter().filter(|(_, outcome)| outcome.is_none()).map(|(seed, _)| *seed).collect();
    let fresh: Vec<_> = failed.iter().filter(|seed| !is_known(seed)).collect();
    let mended: Vec<_> = seeds.clone().filter(|seed| is_known(seed) && !failed.contains(seed)).collect();
    println!(
        "{} of {} seeds fail, as known; mended, so take them off the list: {mended:?}",
        failed.len(),
        played.len()
    );
    assert!(fresh.is_empty(), "seeds that fail: {fresh:?}");
    let outcomes: Vec<Outcome> = played.into_iter().filter_map(|(_, outcome)| outcome).collect();
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
