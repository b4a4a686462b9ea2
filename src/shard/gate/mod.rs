//! Who may come in, and what may they do here?

mod access;
mod ask;
mod suspects;
mod visitors;

pub use access::{Access, Login};
pub(super) use ask::decoded;
pub use suspects::{Subject, Suspects, delay, shown};
pub use visitors::Visitors;
