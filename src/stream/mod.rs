//! One published stream for all its viewers.
