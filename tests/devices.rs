//! The machine's own eyes and ears as streams.

mod screen;
mod sound;
mod talk;
mod template;
