//! One binary for all behaviours; a file for each.

mod bit_exact;
mod client;
mod corpus;
mod driver;
mod house;
mod judge;
mod program;
mod server;
mod simulation;
