//! The driver on io_uring.
#![allow(unsafe_code)]
