//! The server's side of a session: connection, state and timers.
