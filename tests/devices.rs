//! The machine's own eyes and ears as streams.

mod camera;
mod machine;
mod portal;
pub(crate) mod screen;
pub(crate) mod session;
pub(crate) mod sound;
pub(crate) mod talk;
pub(crate) mod template;
mod told;
