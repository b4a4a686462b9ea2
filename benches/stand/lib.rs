//! What the benchmarks of the send path share: the frame, passive viewers, a network of their own, and the measuring.

pub mod compare;
pub mod frame;
pub mod measure;
pub mod network;
pub mod sinks;
pub mod sys;
