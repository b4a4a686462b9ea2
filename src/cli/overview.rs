//! The effective configuration in lines for people.

use std::fmt::Write;

use proto::client::Url;

use crate::config::{
    Api, AudioCodec, AudioFormat, Camera, Choice, Loaded, MetadataSource, Origin, Output, Proxy, Publish,
    Pusher, PusherMode, Settings, Transfer, VideoCodec, VideoFormat, keys,
};

/// All of it, with the origin of each value.
pub(super) fn overview(loaded: &Loaded) -> String {
    let settings = &loaded.settings;
    let mut text = String::new();
    match &loaded.file {
        Some(file) => line(&mut text, format_args!("configuration: {}", file.display())),
        None => line(&mut text, format_args!("configuration: none, defaults")),
    }
    for key in keys() {
        let (value, origin) = ((key.show)(settings), origin(settings.origin(key.name)));
        line(&mut text, format_args!("{:<20} {value:<24} {origin}", key.name));
    }
    let watch = if settings.need_auth { "users" } else { "everybody" };
    line(&mut text, format_args!("{:<20} {watch}", "may watch"));
    line(&mut text, format_args!("{:<20} {}", "may publish", publishers(settings.may_publish())));
    line(&mut text, format_args!("{:<20} {}", "may use the API", stewards(settings.may_steer())));
    for user in &settings.users {
        line(&mut text, format_args!("{:<20} {}: {}", "user", user.name, user.rights()));
    }
    for output in &settings.outputs {
        line(&mut text, format_args!("{:<20} {}", "output", rule(output)));
    }
    for one in &settings.proxies {
        line(&mut text, format_args!("{:<20} {}", "proxy", proxy(one)));
    }
    for one in &settings.pushers {
        line(&mut text, format_args!("{:<20} {}", "pusher", pusher(one)));
    }
    for Camera { index, path, place } in &settings.cameras {
        let place = format_args!("{}:{}", place.file.display(), place.line);
        line(&mut text, format_args!("{:<20} {index}: {} ({place})", "videodevice", path.display()));
    }
    if let Some(back) = &settings.backchannel {
        let (codec, rate, channels) = (back.codec.name(), back.sample_rate, back.channels);
        line(&mut text, format_args!("{:<20} {codec} {rate} Hz, {channels} channels", "backchannel"));
    }
    for one in &settings.metadata_sources {
        line(&mut text, format_args!("{:<20} {}", "metadata_source", metadata_source(one)));
    }
    for warning in &loaded.warnings {
        line(&mut text, format_args!("warning: {warning}"));
    }
    text
}

/// Which `<output>` is for a path, decoded and without parameters.
pub(super) fn rule_for(settings: &Settings, path: &str) -> String {
    let rules = settings.rules();
    let owner = rules.owner_of(path);
    let rule = match rules.rule_for(path, owner) {
        Some(output) => rule(output),
        None => "none, the source's own format".to_string(),
    };
    format!("/{}: {}; output: {rule}", path.trim_matches('/'), owner.name())
}

fn publishers(publish: Publish) -> &'static str {
    match publish {
        Publish::Off => "nobody",
        Publish::Local => "programs on this machine",
        Publish::Auth => "users",
        Publish::On => "everybody",
    }
}

fn stewards(api: Api) -> &'static str {
    match api {
        Api::Off => "nobody",
        Api::Local => "programs on this machine",
        Api::Auth => "users with the permission admin",
        Api::On => "everybody",
    }
}

fn rule(output: &Output) -> String {
    let pattern = output.url.as_deref().unwrap_or("(files and devices)");
    let place = &output.place;
    let live = if output.live { ", live" } else { "" };
    let (video, audio) = (video(&output.format.video), audio(&output.format.audio));
    format!("{pattern}: video {video}, audio {audio}{live} ({}:{})", place.file.display(), place.line)
}

fn video(output: &VideoFormat) -> String {
    let mut text = choice(output.codec, VideoCodec::name).to_string();
    match (output.width, output.height) {
        (Some(width), Some(height)) => text += &format!(" {width}x{height}"),
        (Some(width), None) => text += &format!(" {width} wide"),
        (None, Some(height)) => text += &format!(" {height} high"),
        (None, None) => {}
    }
    text += &output.framerate.map(|rate| format!(" {rate} fps")).unwrap_or_default();
    text + &bitrate(output.bitrate_kbps)
}

fn audio(output: &AudioFormat) -> String {
    let mut text = choice(output.codec, AudioCodec::name).to_string();
    text += &output.sample_rate.map(|rate| format!(" {rate} Hz")).unwrap_or_default();
    text += &output.channels.map(|channels| format!(" {channels} ch")).unwrap_or_default();
    text + &bitrate(output.bitrate_kbps)
}

fn bitrate(kbps: Option<u32>) -> String {
    kbps.map(|kbps| format!(" {kbps} kbit/s")).unwrap_or_default()
}

fn choice<C>(choice: Choice<C>, name: fn(C) -> &'static str) -> &'static str {
    match choice {
        Choice::Keep => "as it is",
        Choice::Drop => "none",
        Choice::As(codec) => name(codec),
    }
}

fn proxy(proxy: &Proxy) -> String {
    let transfer = match proxy.transfer {
        Transfer::Tcp => "TCP",
        Transfer::Udp => "UDP",
        Transfer::Multicast => "MULTICAST",
    };
    let when = if proxy.ondemand { "on demand" } else { "always" };
    // Its password is not shown.
    let url = Url::parse(&proxy.url).or_else(|_| Url::parse_http(&proxy.url));
    let trust = match &url {
        Ok(url) if url.scheme.is_tls() && !proxy.verify => ", whoever it is (verify 0)",
        _ => "",
    };
    let url = url.map_or_else(|error| error.to_string(), |url| url.to_string());
    format!("/{} from {url} over {transfer}, {when}{trust}", proxy.suffix)
}

fn metadata_source(source: &MetadataSource) -> String {
    let MetadataSource { path, file, repeat, socket, .. } = source;
    let file = file.as_ref().map(|file| format!("{} every {} s", file.display(), repeat.as_secs()));
    let socket = socket.as_ref().map(|socket| format!("what is sent to {}", socket.display()));
    let both: Vec<_> = file.into_iter().chain(socket).collect();
    format!("/{path}: {}", both.join(", "))
}

/// One line for each pusher that has ports of its own: where it comes to.
pub(super) fn pushed(settings: &Settings) -> String {
    let with_ports = settings.pushers.iter().filter(|pusher| pusher.mode != PusherMode::Rtsp);
    with_ports.map(|one| format!("pushed: {}\n", pusher(one))).collect()
}

fn pusher(pusher: &Pusher) -> String {
    let mode = match pusher.mode {
        PusherMode::Tcp => "TCP",
        PusherMode::Udp => "UDP",
        PusherMode::Rtsp => "RTSP",
    };
    let port = |port: Option<u16>| port.map(|port| format!(" at port {port}")).unwrap_or_default();
    let video = pusher.video.map(|video| format!(", video {}{}", video.codec.name(), port(video.port)));
    let audio =
        pusher.audio.as_ref().map(|audio| format!(", audio {}{}", audio.codec.name(), port(audio.port)));
    let ip = pusher.ip.as_ref().map(|ip| format!(" of {ip}")).unwrap_or_default();
    let tracks = format!("{}{}{ip}", video.unwrap_or_default(), audio.unwrap_or_default());
    format!("/{} by {mode}{tracks}", pusher.suffix)
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_string(),
        Origin::File(place) => format!("{}:{}", place.file.display(), place.line),
        Origin::Environment => "environment".to_string(),
        Origin::CommandLine => "command line".to_string(),
    }
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, load};

    #[test]
    fn passwords_are_not_shown_however_odd_they_are() {
        let file = std::env::temp_dir().join(format!("overview-{}.xml", std::process::id()));
        let user = |name, secret| format!("<user><username>{name}</username>{secret}</user>");
        let hash = "0123456789abcdef0123456789abcdef";
        let node =
            "<proxy><suffix>a</suffix><url>rtsps://me:s/ec?et@cam/x</url></proxy><need_auth>1</need_auth>"
                .to_owned()
                + &user("ann", "<password>s/ec-too</password><permission>play /a*</permission>".to_owned())
                + &user("bob", format!("<password_hash>{hash}</password_hash>"));
        std::fs::write(&file, format!("<config>{node}</config>")).unwrap();
        let overrides = Overrides::default();
        let text = overview(&load(Some(&file), &overrides).unwrap());
        std::fs::remove_file(&file).unwrap();
        assert!(text.contains("/a from rtsps://me:***@cam/x over TCP") && !text.contains("s/ec"), "{text}");
        assert!(text.contains("user                 ann: play /a*\n") && !text.contains(hash), "{text}");
        assert!(text.contains("may publish          users\n"), "{text}");
    }
}
