//! What an RFC would judge, or what every room must share the word for.
//!
//! RTSP, SDP, RTP and RTCP as pure state and pure bytes: nothing here knows a clock, a socket, a
//! thread or a file. Time is an argument, input arrives through `handle_…`, output leaves through
//! `poll_…`.

pub mod aac;
pub mod client;
pub mod frame;
pub mod histogram;
pub mod io;
pub mod metadata;
pub mod mikey;
pub mod onvif;
pub mod pcap;
pub mod proxy_protocol;
pub mod rtcp;
pub mod rtp;
pub mod rtsp;
pub mod sdp;
pub mod srtp;
pub mod time;
pub mod track;
pub mod tunnel;
