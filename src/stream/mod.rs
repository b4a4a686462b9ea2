//! One published stream for all its viewers.

pub mod catalog;
pub mod publish;
pub mod window;
