//! One binary for all behaviours; a file for each.

mod client;
mod corpus;
mod house;
mod server;
