//! The `loadtest` program: reads the command line, runs the swarm, prints the report.

#[cfg(target_os = "linux")]
mod command;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    command::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    // The clients run on io_uring; there is nothing to fall back on.
    std::process::ExitCode::from(2)
}
