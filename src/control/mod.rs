//! The control thread: starts shards and sources, obeys signals, ends in order.

mod access;
mod addresses;
mod certificate;
mod documents;
mod doors;
mod hooks;
mod http;
mod live;
mod multicast;
mod names;
mod proxies;
mod pushers;
mod run;
mod shards;
mod streams;
mod threads;

pub use certificate::Certificate;
pub use multicast::{Outlet, outlet};
pub use run::{RunError, Started, devices, run};
