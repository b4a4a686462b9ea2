//! The control thread: starts shards and sources, obeys signals, ends in order.

mod access;
mod addresses;
mod certificate;
mod changes;
mod confine;
mod documents;
mod doors;
mod hooks;
mod http;
mod live;
mod making;
mod manager;
mod multicast;
mod names;
mod obeyed;
mod privileges;
mod proxies;
mod pushers;
mod reload;
mod run;
mod shards;
pub mod signals;
mod streams;
pub mod tail;
mod threads;
mod watch;
mod watchdog;

pub use certificate::Certificate;
pub use confine::{Confined, confine};
pub use making::devices;
pub use multicast::{Outlet, outlet};
pub use reload::{ReloadError, Rereading};
pub use run::{RunError, Started, run};
