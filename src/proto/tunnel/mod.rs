//! RTSP inside of HTTP and of WebSocket: what an HTTP head asks for, which two connections are one tunnel, and the bytes
//! of RTSP out of base64 and frames.

pub mod base64;
pub mod http;
pub mod pairing;
pub mod websocket;
