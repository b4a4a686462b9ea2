//! The control thread: catalog of streams, signals, orderly ends.

mod run;

pub use run::{RunError, Started, run};
