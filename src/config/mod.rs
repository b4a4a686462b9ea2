//! The configuration: XML as typed, as checked, as running.
