//! What leaves next for one viewer, and what is shed.
