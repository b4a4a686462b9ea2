//! The control thread: starts shards and sources, obeys signals, ends in order.

mod access;
mod addresses;
mod certificate;
mod confine;
mod documents;
mod doors;
mod hooks;
mod http;
mod live;
mod manager;
mod multicast;
mod names;
mod privileges;
mod proxies;
mod pushers;
mod run;
mod shards;
pub mod signals;
mod streams;
pub mod tail;
mod threads;
mod watchdog;

pub use certificate::Certificate;
pub use confine::{Confined, confine};
pub use multicast::{Outlet, outlet};
pub use run::{RunError, Started, devices, run};
