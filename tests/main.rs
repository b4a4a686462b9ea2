//! One binary for all behaviours; a file for each.

#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

mod bit_exact;
mod client;
mod corpus;
mod driver;
mod house;
mod judge;
mod program;
mod requests;
mod server;
mod setup;
