//! What the ONVIF streaming specification adds to RTSP and RTP.

pub mod replay;
