//! Real servers as sources: GStreamer's, and our own, also behind each other.
