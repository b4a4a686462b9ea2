//! One thread: its listeners, connections, sessions and ring.
