//! The `rtspserver` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringcaster::cli::main()
}
