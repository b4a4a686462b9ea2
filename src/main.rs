//! The `rtspserver` program.

fn main() {}
