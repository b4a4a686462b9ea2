//! Does a request prove that one of the server's users made it? Challenges and time go in, a verdict comes out.

mod guard;
mod nonce;
#[cfg(test)]
mod tests;

pub use guard::{Account, Guard, Line, Verdict};
pub use nonce::{NONCE_LIFE, Nonce, NonceKey};
