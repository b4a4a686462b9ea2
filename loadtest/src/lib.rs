//! A swarm of RTSP clients.
