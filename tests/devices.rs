//! The machine's own eyes and ears as streams.

mod camera;
mod machine;
mod portal;
mod screen;
mod session;
mod sound;
mod talk;
mod template;
