//! One thread: its listeners, connections, sessions and driver. [`Shard::turn`] is the unit of work.

mod announce;
mod catch_up;
mod census;
mod client_ports;
mod connection;
mod datagrams;
mod describe;
mod file;
pub mod inbox;
mod inflow;
mod ingest;
pub mod limits;
mod live;
pub mod names;
mod offer;
mod parameters;
mod play;
mod ports;
pub mod proxy;
mod publications;
mod pump;
pub mod pusher;
mod record;
mod reports;
mod request;
mod resolve;
mod session;
pub mod settings;
mod setup;
mod teardown;
mod turn;

pub use census::Census;
pub use client_ports::ClientPorts;
pub use ports::Ports;
pub use session::SessionId;
pub use turn::Shard;
