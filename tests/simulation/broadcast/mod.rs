//! Publishers with mishaps, viewers of what they send, whole shards between them: every stream must go on for its
//! viewers as if nothing had happened, or end.

mod caller;
mod history;
mod hour;
mod ledger;
mod mishaps;
mod publisher;
mod rules;
mod source;
mod viewer;
mod watch;
mod world;

use super::faults::OF_PUBLISHERS;
use super::{asked_for, pass};

#[test]
fn publishers_of_seeds_0_to_249_pass() {
    pass(0..250, &OF_PUBLISHERS, world::play);
}

#[test]
fn publishers_of_seeds_250_to_499_pass() {
    pass(250..500, &OF_PUBLISHERS, world::play);
}

#[test]
fn publishers_of_seeds_500_to_749_pass() {
    pass(500..750, &OF_PUBLISHERS, world::play);
}

#[test]
fn publishers_of_seeds_750_to_999_pass() {
    pass(750..1_000, &OF_PUBLISHERS, world::play);
}

#[test]
fn a_seed_names_one_course_of_events() {
    let hashes = [7, 7, 8].map(|seed| world::play(seed, false).hash);
    assert_eq!(hashes[0], hashes[1]);
    assert_ne!(hashes[0], hashes[2]);
}

/// A seed again, with everything that was asked and sent: RINGCASTER_SEED=<seed> says which.
#[test]
fn a_seed_that_is_asked_for_passes() {
    if let Some(seed) = asked_for() {
        println!("{:?}", world::play(seed, true));
    }
}

/// A soak on demand: RINGCASTER_SEEDS=<from>..<to> says which seeds.
#[test]
fn seeds_that_are_asked_for_pass() {
    if let Some(seeds) = super::range_asked_for() {
        pass(seeds, &OF_PUBLISHERS, world::play);
    }
}
