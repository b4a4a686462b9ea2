//! The machine's own eyes and ears as streams.

mod portal;
mod screen;
mod session;
mod sound;
mod talk;
