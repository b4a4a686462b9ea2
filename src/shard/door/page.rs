//! The page that a browser gets: what this is and how to play.

use std::net::IpAddr;

use proto::rtsp::message::Request;
use proto::tunnel::http::{Answer, Code};

use crate::shard::connection::Connection;
use crate::shard::request::SERVER;
use crate::shard::settings::{PortKind, Settings};

/// Letters that a host has; what has others goes into no page.
fn is_host(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(is_letter)
}

/// The page at a path; None where there is none.
pub(super) fn page(
    path: &str,
    head: &Request,
    settings: &Settings,
    connection: Option<&Connection>,
) -> Option<Answer> {
    let connection = connection.filter(|_| matches!(path, "/" | "/index.html"))?;
    let own = match connection.local.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    // The name that the browser knows this server by, without the port of this page.
    let asked = head.headers.get("Host").filter(|host| is_host(host)).map(|host| {
        let end = host.rfind(':').filter(|at| !host[*at..].contains(']')).unwrap_or(host.len());
        host[..end].to_owned()
    });
    let host = asked.filter(|host| !host.is_empty()).unwrap_or(own);
    let mut ways = Vec::new();
    if let Some(rtsp) = settings.listen.iter().find(|door| door.kind == PortKind::Rtsp) {
        let port = port_in_url(rtsp.address.port(), 554);
        ways.push(format!("<li><code>ffplay rtsp://{host}{port}/NAME</code></li>"));
    }
    if settings.doors.is_open(connection.port) {
        let port = connection.local.port();
        let (scheme, default, transport) =
            if connection.port.is_tls() { ("wss", 443, "https") } else { ("ws", 80, "http") };
        ways.push(format!(
            "<li><code>ffplay -rtsp_transport {transport} rtsp://{host}:{port}/NAME</code> where only this port \
             is open</li>"
        ));
        let port = port_in_url(port, default);
        ways.push(format!(
            "<li><code>{scheme}://{host}{port}/websocket</code> for players in a web page</li>"
        ));
    }
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{SERVER}</title></head>\n\
         <body><h1>{SERVER}</h1>\n<p>This is an RTSP server. Players such as VLC, ffplay and GStreamer open its \
         streams; NAME is a stream's or a file's.</p>\n<ul>\n{}\n</ul></body></html>\n",
        ways.join("\n")
    );
    let answer = Answer::new(Code::Ok)
        .header("Cache-Control", "no-cache")
        .header("Content-Security-Policy", "default-src 'none'")
        .header("X-Content-Type-Options", "nosniff");
    Some(answer.body("text/html; charset=utf-8", body))
}

fn port_in_url(port: u16, default: u16) -> String {
    if port == default { String::new() } else { format!(":{port}") }
}
