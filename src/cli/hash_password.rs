//! `hash-password`: what a configuration may hold in place of a password.

use std::io::{self, BufRead, IsTerminal};

use proto::rtsp::digest::Algorithm;

use super::args::HashPassword;
use super::{Failure, platform, say};

/// Reads a line from the standard input, unseen where that is a terminal, and prints a `<password_hash>` for each
/// algorithm that `auth_algorithm` may name.
pub(super) fn hash_password(args: &HashPassword) -> Result<(), Failure> {
    let password = read().map_err(|error| Failure::Other(format!("no password can be read: {error}")))?;
    if password.is_empty() {
        return Err(Failure::Other("no password was given on the standard input".to_string()));
    }
    let mut text = String::new();
    for algorithm in [Algorithm::MD5, Algorithm::SHA_256] {
        let hash = algorithm.secret(&args.user, &args.realm, &password);
        text += &format!("<password_hash>{hash}</password_hash>\n");
    }
    say(&text);
    Ok(())
}

fn read() -> io::Result<String> {
    let mut line = String::new();
    let input = io::stdin();
    if input.is_terminal() {
        eprint!("password: ");
        platform::unseen(|| input.lock().read_line(&mut line))?;
        eprintln!();
    } else {
        input.lock().read_line(&mut line)?;
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_string())
}
