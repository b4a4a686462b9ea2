//! One binary for all behaviours; a file for each.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]
#![allow(
    dead_code,
    reason = "harness, client and judges are tools for more cases than there are at any one time"
)] // Helpers of tests fail as tests do.

mod announcing;
mod bit_exact;
mod browser;
mod channels;
mod client;
mod corpus;
mod crowd;
mod devices;
mod driver;
mod files;
mod hooks;
mod house;
mod joining;
mod judge;
mod limits;
mod load;
mod matrix;
mod metadata;
mod mjpeg;
mod multicast;
mod page;
mod players;
mod playing;
mod privileges;
mod program;
mod proxies;
mod proxy_protocol;
mod published;
mod publishing;
mod pushed;
mod pushing;
mod readme;
mod reloading;
mod replay;
mod reports;
mod requests;
mod robustness;
mod schema;
mod seeking;
mod server;
mod service;
mod sessions;
mod setup;
mod simulation;
mod soak;
mod stalls;
mod steady;
mod steering;
mod talking;
mod tls;
mod transcoding;
mod tunnels;
mod upstream;
mod users;
mod windows;
