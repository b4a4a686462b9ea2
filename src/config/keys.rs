//! The table of settings that have one value: name, what it takes, how it is set and shown.
//!
//! File, environment, command line, `check` and the messages all read this table, so that a setting is described once.

use std::path::PathBuf;

use proto::client::Url;

use super::making::MAKING;
use super::service::SERVICE;
use super::settings::{
    BackendChoice, GopCache, Host, LogFormat, LogLevel, Loops, NotifyFail, NotifyMethod, OnRepublish,
    Settings, Srtp, ZeroCopy,
};
use super::steering::STEERING;
use super::values;

/// One setting of the root.
pub struct Key {
    /// Name of its element; upper case behind `RINGCASTER_` it is its variable.
    pub name: &'static str,
    /// What a value is, with its article.
    pub noun: &'static str,
    /// What is allowed.
    pub allowed: &'static str,
    /// Stores the value of a text that is not empty; false when it is not one.
    pub(super) set: fn(&mut Settings, &str) -> bool,
    /// The value as it would be typed; empty when nothing is set.
    pub show: fn(&Settings) -> String,
}

/// All settings that have one value, in the order in which they are documented.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    let parts = [NETWORK, FILES, MAKING, MULTICAST, ACCESS, STEERING, SESSIONS, PROGRAM, SERVICE];
    parts.into_iter().flatten()
}

/// Whether a setting is a list, whose element may be repeated.
pub(super) fn is_list(name: &str) -> bool {
    ["serverip", "ws_origin", "allow", "deny", "proxy_protocol"].contains(&name)
}

/// The setting called `name`.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    keys().find(|key| key.name == name)
}

impl Key {
    /// Whether a text that is not empty is a value.
    pub fn takes(&self, text: &str) -> bool {
        (self.set)(&mut Settings::default(), text)
    }

    /// The sentence about a text that is not a value.
    pub(super) fn refuse(&self, text: &str) -> String {
        format!("\"{text}\" is not {}; allowed: {}", self.noun, self.allowed)
    }
}

/// Doors.
const NETWORK: &[Key] = &[
    Key {
        name: "serverip",
        noun: "an address or a name",
        allowed: "IPv4 or IPv6 addresses, host names, 0.0.0.0 for all of IPv4, :: for all of IPv6",
        set: |s, v| put(&mut s.server_ips, values::hosts(v)),
        show: |s| shown(&s.server_ips),
    },
    Key {
        name: "serverport",
        noun: "a port",
        allowed: "1 to 65535",
        set: |s, v| put(&mut s.server_port, values::port(v)),
        show: |s| s.server_port.to_string(),
    },
    Key {
        name: "rtsps_port",
        noun: "a port",
        allowed: "0 (closed) to 65535",
        set: |s, v| put(&mut s.rtsps_port, values::port_or_none(v)),
        show: |s| s.rtsps_port.unwrap_or(0).to_string(),
    },
    Key {
        name: "rtsp_over_http",
        noun: SWITCH,
        allowed: SWITCH_ALLOWED,
        set: |s, v| put(&mut s.rtsp_over_http, values::switch(v)),
        show: |s| switch(s.rtsp_over_http),
    },
    Key {
        name: "http_port",
        noun: "a port",
        allowed: "1 to 65535",
        set: |s, v| put(&mut s.http_port, values::port(v)),
        show: |s| s.http_port.to_string(),
    },
    Key {
        name: "ws_origin",
        noun: "a list of origins",
        allowed: "http:// or https:// with a host and no path, null for pages without an origin",
        set: |s, v| put(&mut s.ws_origins, values::origins(v)),
        show: |s| shown(&s.ws_origins),
    },
    Key {
        name: "rtsp_over_https",
        noun: SWITCH,
        allowed: SWITCH_ALLOWED,
        set: |s, v| put(&mut s.rtsp_over_https, values::switch(v)),
        show: |s| switch(s.rtsp_over_https),
    },
    Key {
        name: "https_port",
        noun: "a port",
        allowed: "1 to 65535",
        set: |s, v| put(&mut s.https_port, values::port(v)),
        show: |s| s.https_port.to_string(),
    },
    Key {
        name: "cert_file",
        noun: "a path",
        allowed: "a PEM file",
        set: |s, v| put_some(&mut s.cert_file, values::path(v)),
        show: |s| path(&s.cert_file),
    },
    Key {
        name: "key_file",
        noun: "a path",
        allowed: "a PEM file",
        set: |s, v| put_some(&mut s.key_file, values::path(v)),
        show: |s| path(&s.key_file),
    },
    Key {
        name: "srtp",
        noun: "a way to encrypt media",
        allowed: "aes_cm, aes_gcm, aes_gcm_256, off",
        set: |s, v| put(&mut s.srtp, values::srtp(v)),
        show: |s| match s.srtp {
            Srtp::AesCm => "aes_cm".to_string(),
            Srtp::AesGcm => "aes_gcm".to_string(),
            Srtp::AesGcm256 => "aes_gcm_256".to_string(),
            Srtp::Off => "off".to_string(),
        },
    },
    Key {
        name: "srtp_mki",
        noun: "a switch",
        allowed: "auto, 0, 1",
        set: |s, v| put(&mut s.srtp_mki, values::auto_or_flag(v)),
        show: |s| s.srtp_mki.map_or("auto".to_string(), |is_on| u8::from(is_on).to_string()),
    },
];

/// Files and built-in streams.
const FILES: &[Key] = &[
    Key {
        name: "media_dir",
        noun: "a path",
        allowed: "a folder",
        set: |s, v| put(&mut s.media_dir, values::path(v)),
        show: |s| s.media_dir.display().to_string(),
    },
    Key {
        name: "follow_symlinks",
        noun: SWITCH,
        allowed: SWITCH_ALLOWED,
        set: |s, v| put(&mut s.follow_symlinks, values::switch(v)),
        show: |s| switch(s.follow_symlinks),
    },
    Key {
        name: "loop_nums",
        noun: "a number of plays",
        allowed: "-1 (endless), 0 (once) to 4294967295",
        set: |s, v| put(&mut s.loops, values::loops(v)),
        show: |s| match s.loops {
            Loops::Times(times) => times.to_string(),
            Loops::Endless => "-1".to_string(),
        },
    },
    Key {
        name: "file_cache_mb",
        noun: "a size in MiB",
        allowed: "16 to 1048576",
        set: |s, v| put(&mut s.file_cache_mb, values::number(v, 16, 1_048_576)),
        show: |s| s.file_cache_mb.to_string(),
    },
    Key {
        name: "test",
        noun: SWITCH,
        allowed: SWITCH_ALLOWED,
        set: |s, v| put(&mut s.test, values::switch(v)),
        show: |s| switch(s.test),
    },
    Key {
        name: "metadata",
        noun: SWITCH,
        allowed: SWITCH_ALLOWED,
        set: |s, v| put(&mut s.metadata, values::switch(v)),
        show: |s| switch(s.metadata),
    },
];

/// Datagrams, to groups and to single viewers.
const MULTICAST: &[Key] = &[
    Key {
        name: "multicast",
        noun: SWITCH,
        allowed: SWITCH_ALLOWED,
        set: |s, v| put(&mut s.multicast, values::switch(v)),
        show: |s| switch(s.multicast),
    },
    Key {
        name: "multicast_ip_min",
        noun: "a multicast address",
        allowed: "224.0.0.0 to 239.255.255.255, or ff00:: and above",
        set: |s, v| put(&mut s.multicast_ip_min, values::group(v)),
        show: |s| s.multicast_ip_min.to_string(),
    },
    Key {
        name: "multicast_ip_max",
        noun: "a multicast address",
        allowed: "224.0.0.0 to 239.255.255.255, or ff00:: and above",
        set: |s, v| put(&mut s.multicast_ip_max, values::group(v)),
        show: |s| s.multicast_ip_max.to_string(),
    },
    Key {
        name: "multicast_ttl",
        noun: "a number of hops",
        allowed: "1 to 255",
        set: |s, v| put(&mut s.multicast_ttl, values::number(v, 1, 255)),
        show: |s| s.multicast_ttl.to_string(),
    },
    Key {
        name: "multicast_interface",
        noun: "an interface",
        allowed: "a name such as eth0, or an address of this machine",
        set: |s, v| put_some(&mut s.multicast_interface, values::host(v)),
        show: |s| s.multicast_interface.as_ref().map(Host::to_string).unwrap_or_default(),
    },
    Key {
        name: "udp_port_min",
        noun: "a port",
        allowed: "1024 to 65535",
        set: |s, v| put(&mut s.udp_port_min, values::number(v, 1024, u16::MAX)),
        show: |s| s.udp_port_min.to_string(),
    },
    Key {
        name: "udp_port_max",
        noun: "a port",
        allowed: "1024 to 65535",
        set: |s, v| put(&mut s.udp_port_max, values::number(v, 1024, u16::MAX)),
        show: |s| s.udp_port_max.to_string(),
    },
    Key {
        name: "mtu",
        noun: "a packet size in bytes",
        allowed: "576 to 9000",
        set: |s, v| put(&mut s.mtu, values::number(v, 576, 9000)),
        show: |s| s.mtu.to_string(),
    },
];

/// Who may come in.
const ACCESS: &[Key] = &[
    Key {
        name: "need_auth",
        noun: SWITCH,
        allowed: SWITCH_ALLOWED,
        set: |s, v| put(&mut s.need_auth, values::switch(v)),
        show: |s| switch(s.need_auth),
    },
    Key {
        name: "realm",
        noun: "a name of what passwords are for",
        allowed: "up to 100 characters without \" and \\",
        set: |s, v| put(&mut s.realm, values::realm(v)),
        show: |s| s.realm.clone(),
    },
    Key {
        name: "auth_algorithm",
        noun: "a list of hash functions",
        allowed: "MD5, SHA-256, or both in the order in which they are offered",
        set: |s, v| put(&mut s.auth_algorithms, values::algorithms(v)),
        show: |s| shown(&s.auth_algorithms),
    },
    Key {
        name: "auth_basic",
        noun: SWITCH,
        allowed: SWITCH_ALLOWED,
        set: |s, v| put(&mut s.auth_basic, values::switch(v)),
        show: |s| switch(s.auth_basic),
    },
    Key {
        name: "ban_after",
        noun: "a number of wrong passwords",
        allowed: "0 (never) to 1000000",
        set: |s, v| put(&mut s.ban_after, values::number(v, 0, 1_000_000)),
        show: |s| s.ban_after.to_string(),
    },
    Key {
        name: "ban_s",
        noun: "a time in seconds",
        allowed: "1 to 86400",
        set: |s, v| put(&mut s.ban_s, values::number(v, 1, 86_400)),
        show: |s| s.ban_s.to_string(),
    },
    Key {
        name: "allow",
        noun: "a list of addresses",
        allowed: RANGES_ALLOWED,
        set: |s, v| put(&mut s.allow, values::ranges(v)),
        show: |s| shown(&s.allow),
    },
    Key {
        name: "deny",
        noun: "a list of addresses",
        allowed: RANGES_ALLOWED,
        set: |s, v| put(&mut s.deny, values::ranges(v)),
        show: |s| shown(&s.deny),
    },
    Key {
        name: "proxy_protocol",
        noun: "a list of addresses",
        allowed: RANGES_ALLOWED,
        set: |s, v| put(&mut s.proxy_protocol, values::ranges(v)),
        show: |s| shown(&s.proxy_protocol),
    },
    Key {
        name: "on_connect",
        noun: "a URL",
        allowed: "http:// or https:// and a host",
        set: |s, v| put_some(&mut s.http_notify.on_connect, values::hook(v)),
        show: |s| hook(&s.http_notify.on_connect),
    },
    Key {
        name: "on_play",
        noun: "a URL",
        allowed: "http:// or https:// and a host",
        set: |s, v| put_some(&mut s.http_notify.on_play, values::hook(v)),
        show: |s| hook(&s.http_notify.on_play),
    },
    Key {
        name: "on_publish",
        noun: "a URL",
        allowed: "http:// or https:// and a host",
        set: |s, v| put_some(&mut s.http_notify.on_publish, values::hook(v)),
        show: |s| hook(&s.http_notify.on_publish),
    },
    Key {
        name: "on_done",
        noun: "a URL",
        allowed: "http:// or https:// and a host",
        set: |s, v| put_some(&mut s.http_notify.on_done, values::hook(v)),
        show: |s| hook(&s.http_notify.on_done),
    },
    Key {
        name: "notify_method",
        noun: "a method",
        allowed: "POST, GET",
        set: |s, v| put(&mut s.http_notify.method, values::notify_method(v)),
        show: |s| match s.http_notify.method {
            NotifyMethod::Post => "POST".to_string(),
            NotifyMethod::Get => "GET".to_string(),
        },
    },
    Key {
        name: "notify_timeout_ms",
        noun: "a time in milliseconds",
        allowed: "100 to 60000",
        set: |s, v| put(&mut s.http_notify.timeout_ms, values::number(v, 100, 60_000)),
        show: |s| s.http_notify.timeout_ms.to_string(),
    },
    Key {
        name: "notify_fail",
        noun: "a word for what becomes of the client",
        allowed: "deny, allow",
        set: |s, v| put(&mut s.http_notify.fail, values::notify_fail(v)),
        show: |s| match s.http_notify.fail {
            NotifyFail::Deny => "deny".to_string(),
            NotifyFail::Allow => "allow".to_string(),
        },
    },
];

/// Sessions and live streams.
const SESSIONS: &[Key] = &[
    Key {
        name: "session_timeout",
        noun: "a time in seconds",
        allowed: "0 (never) to 86400",
        set: |s, v| put(&mut s.session_timeout_s, values::number(v, 0, 86_400)),
        show: |s| s.session_timeout_s.to_string(),
    },
    Key {
        name: "max_sessions",
        noun: "a number of sessions",
        allowed: "0 (no bound) to 1000000",
        set: |s, v| put(&mut s.max_sessions, values::number(v, 0, 1_000_000)),
        show: |s| s.max_sessions.to_string(),
    },
    Key {
        name: "max_sessions_per_ip",
        noun: "a number of sessions",
        allowed: "0 (no bound) to 1000000",
        set: |s, v| put(&mut s.max_sessions_per_ip, values::number(v, 0, 1_000_000)),
        show: |s| s.max_sessions_per_ip.to_string(),
    },
    Key {
        name: "max_connections",
        noun: "a number of connections",
        allowed: "0 (no bound) to 1000000",
        set: |s, v| put(&mut s.max_connections, values::number(v, 0, 1_000_000)),
        show: |s| s.max_connections.to_string(),
    },
    Key {
        name: "max_bitrate_mbps",
        noun: "a rate in Mbit/s",
        allowed: "0 (no bound) to 1000000",
        set: |s, v| put(&mut s.max_bitrate_mbps, values::number(v, 0, 1_000_000)),
        show: |s| s.max_bitrate_mbps.to_string(),
    },
    Key {
        name: "gop_cache",
        noun: "a way to start",
        allowed: "0 (next keyframe), 1 (cached keyframe, catching up), 2 (cached keyframe, true times)",
        set: |s, v| put(&mut s.gop_cache, values::gop_cache(v)),
        show: |s| match s.gop_cache {
            GopCache::Off => "0".to_string(),
            GopCache::CatchUp => "1".to_string(),
            GopCache::TrueTimes => "2".to_string(),
        },
    },
    Key {
        name: "gop_cache_s",
        noun: "a time in seconds",
        allowed: "1 to 300",
        set: |s, v| put(&mut s.gop_cache_s, values::number(v, 1, 300)),
        show: |s| s.gop_cache_s.to_string(),
    },
    Key {
        name: "gop_cache_mb",
        noun: "a size in MiB",
        allowed: "1 to 1024",
        set: |s, v| put(&mut s.gop_cache_mb, values::number(v, 1, 1024)),
        show: |s| s.gop_cache_mb.to_string(),
    },
    Key {
        name: "slow_reader_ms",
        noun: "a time in milliseconds",
        allowed: "100 to 60000",
        set: |s, v| put(&mut s.slow_reader_ms, values::number(v, 100, 60_000)),
        show: |s| s.slow_reader_ms.to_string(),
    },
    Key {
        name: "publish",
        noun: "a group of clients",
        allowed: "off, local, auth, on",
        set: |s, v| put_some(&mut s.publish, values::publish(v)),
        show: |s| s.publish.map(|publish| publish.name().to_string()).unwrap_or_default(),
    },
    Key {
        name: "on_republish",
        noun: "a rule",
        allowed: "refuse, replace, stale",
        set: |s, v| put(&mut s.on_republish, values::on_republish(v)),
        show: |s| match s.on_republish {
            OnRepublish::Refuse => "refuse".to_string(),
            OnRepublish::Replace => "replace".to_string(),
            OnRepublish::Stale => "stale".to_string(),
        },
    },
    Key {
        name: "source_grace_s",
        noun: "a time in seconds",
        allowed: "0 to 3600",
        set: |s, v| put(&mut s.source_grace_s, values::number(v, 0, 3600)),
        show: |s| s.source_grace_s.to_string(),
    },
    Key {
        name: "source_start_ms",
        noun: "a time in milliseconds",
        allowed: "100 to 60000",
        set: |s, v| put(&mut s.source_start_ms, values::number(v, 100, 60_000)),
        show: |s| s.source_start_ms.to_string(),
    },
    Key {
        name: "ondemand_close_s",
        noun: "a time in seconds",
        allowed: "0 to 3600",
        set: |s, v| put(&mut s.ondemand_close_s, values::number(v, 0, 3600)),
        show: |s| s.ondemand_close_s.to_string(),
    },
    Key {
        name: "udp_to_tcp_ms",
        noun: "a time in milliseconds",
        allowed: "500 to 60000",
        set: |s, v| put(&mut s.udp_to_tcp_ms, values::number(v, 500, 60_000)),
        show: |s| s.udp_to_tcp_ms.to_string(),
    },
    Key {
        name: "shutdown_s",
        noun: "a time in seconds",
        allowed: "0 to 60",
        set: |s, v| put(&mut s.shutdown_s, values::number(v, 0, 60)),
        show: |s| s.shutdown_s.to_string(),
    },
];

/// The program itself.
const PROGRAM: &[Key] = &[
    Key {
        name: "backend",
        noun: "a backend",
        allowed: "auto, uring, fallback",
        set: |s, v| put(&mut s.backend, values::backend(v)),
        show: |s| match s.backend {
            BackendChoice::Auto => "auto".to_string(),
            BackendChoice::Uring => "uring".to_string(),
            BackendChoice::Fallback => "fallback".to_string(),
        },
    },
    Key {
        name: "shards",
        noun: "a number of threads",
        allowed: "0 (one per core) to 256",
        set: |s, v| put(&mut s.shards, values::number(v, 0, 256).map(|n: u16| (n > 0).then_some(n))),
        show: |s| s.shards.unwrap_or(0).to_string(),
    },
    Key {
        name: "zerocopy",
        noun: "a way to send",
        allowed: "auto, on, off",
        set: |s, v| put(&mut s.zero_copy, values::zero_copy(v)),
        show: |s| match s.zero_copy {
            ZeroCopy::Auto => "auto".to_string(),
            ZeroCopy::On => "on".to_string(),
            ZeroCopy::Off => "off".to_string(),
        },
    },
    Key {
        name: "reload",
        noun: SWITCH,
        allowed: SWITCH_ALLOWED,
        set: |s, v| put(&mut s.reload, values::switch(v)),
        show: |s| switch(s.reload),
    },
    Key {
        name: "log_enable",
        noun: SWITCH,
        allowed: SWITCH_ALLOWED,
        set: |s, v| put(&mut s.log_enable, values::switch(v)),
        show: |s| switch(s.log_enable),
    },
    Key {
        name: "log_level",
        noun: "a level",
        allowed: "0 TRACE, 1 DEBUG, 2 INFO, 3 WARN, 4 ERROR, 5 FATAL",
        set: |s, v| put(&mut s.log_level, values::log_level(v)),
        show: |s| level_number(s.log_level).to_string(),
    },
    Key {
        name: "log_format",
        noun: "a format",
        allowed: "text, json",
        set: |s, v| put(&mut s.log_format, values::log_format(v)),
        show: |s| match s.log_format {
            LogFormat::Text => "text".to_string(),
            LogFormat::Json => "json".to_string(),
        },
    },
    Key {
        name: "log_file",
        noun: "a path",
        allowed: "a file that can be written",
        set: |s, v| put_some(&mut s.log_file, values::path(v)),
        show: |s| path(&s.log_file),
    },
    Key {
        name: "log_file_mb",
        noun: "a size in MiB",
        allowed: "1 to 4096",
        set: |s, v| put(&mut s.log_file_mb, values::number(v, 1, 4096)),
        show: |s| s.log_file_mb.to_string(),
    },
    Key {
        name: "log_files",
        noun: "a number of files",
        allowed: "1 to 100",
        set: |s, v| put(&mut s.log_files, values::number(v, 1, 100)),
        show: |s| s.log_files.to_string(),
    },
];

pub(super) fn put<T>(slot: &mut T, value: Option<T>) -> bool {
    let Some(value) = value else { return false };
    *slot = value;
    true
}

pub(super) fn put_some<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    put(slot, value.map(Some))
}

pub(super) fn switch(on: bool) -> String {
    if on { "1".to_string() } else { "0".to_string() }
}

fn shown(list: &[impl ToString]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

pub(super) fn path(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
}

/// Without what it may hold of a secret.
fn hook(url: &Option<Url>) -> String {
    url.as_ref().map(values::hook_shown).unwrap_or_default()
}

fn level_number(level: LogLevel) -> u8 {
    match level {
        LogLevel::Trace => 0,
        LogLevel::Debug => 1,
        LogLevel::Info => 2,
        LogLevel::Warn => 3,
        LogLevel::Error => 4,
        LogLevel::Fatal => 5,
    }
}

pub(super) const SWITCH: &str = "a switch";
pub(super) const SWITCH_ALLOWED: &str = "0 or 1";
const RANGES_ALLOWED: &str = "IPv4 or IPv6 addresses, and ranges such as 192.0.2.0/24 and 2001:db8::/32";
