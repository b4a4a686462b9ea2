//! The control thread: catalog of streams, signals, orderly ends.
