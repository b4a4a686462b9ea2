//! The machine's own eyes and ears as streams.

mod camera;
mod machine;
mod screen;
mod sound;
mod talk;
mod template;
