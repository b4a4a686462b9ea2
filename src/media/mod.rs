//! Where frames come from: files, the test picture, and later cameras, screens and sound.

pub mod library;
pub mod segment;
