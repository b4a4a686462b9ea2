//! One binary for all behaviours; a file for each.

mod house;
