//! The nodes with children: outputs, proxies, pushers, the backchannel.

use proto::client::Url;
use proto::track::BitOrder;

use super::node::{Node, Report, Wanted};
use super::output::Output;
use super::settings::{
    Backchannel, Holder, Proxy, Pusher, PusherAudio, PusherMode, PusherVideo, Secret, Transfer,
};
use super::values;
use crate::media::format::{
    AudioCodec, AudioFormat, BITRATE_KBPS_MAX, Choice, Format, Framerate, PIXELS_MAX, SAMPLE_RATES,
    VideoCodec, VideoFormat,
};

/// `<output>`; one inside a proxy or pusher has no `url`.
pub(super) fn output(node: &Node<'_>, report: &mut Report) -> Output {
    let is_rule = node.path == "config/output";
    let known: &[&str] = if is_rule { &["url", "video", "audio", "live"] } else { &["video", "audio"] };
    node.expect(known, report);
    Output {
        url: node.text("url").filter(|_| is_rule).map(str::to_string),
        format: Format {
            video: node.child("video").map(|node| video_output(&node, report)).unwrap_or_default(),
            audio: node.child("audio").map(|node| audio_output(&node, report)).unwrap_or_default(),
        },
        live: is_rule && node.value("live", SWITCH, values::switch, report).unwrap_or(false),
        place: node.element.place.clone(),
    }
}

/// `<proxy>`. None when it is switched off by an empty `url` or, which is reported, wrong.
pub(super) fn proxy(node: &Node<'_>, report: &mut Report) -> Option<Proxy> {
    let known = ["suffix", "url", "user", "pass", "transfer", "ondemand", "verify", "backchannel", "output"];
    node.expect(&known, report);
    if node.text("url").is_none() {
        report.warn(node.place_of("url"), &format!("{}/url", node.path), "empty: this proxy is switched off");
        return None;
    }
    let suffix = suffix(node, report);
    let url = node.value("url", SOURCE, source_url, report);
    let transfer = node.value("transfer", TRANSFER, transfer, report).unwrap_or_default();
    let ondemand = node.value("ondemand", SWITCH, values::switch, report).unwrap_or(true);
    let verify = node.value("verify", SWITCH, values::switch, report).unwrap_or(false);
    let backchannel = node.value("backchannel", SWITCH, values::switch, report).unwrap_or(true);
    let output = node.child("output").map(|node| output(&node, report));
    Some(Proxy {
        suffix: suffix?,
        url: url?,
        user: node.text("user").unwrap_or_default().to_string(),
        pass: Secret::from(node.text("pass").unwrap_or_default()),
        transfer,
        ondemand,
        verify,
        backchannel,
        output,
        holder: Holder::File,
    })
}

/// `<pusher>`. None when it is empty or wrong, which is reported.
pub(super) fn pusher(node: &Node<'_>, report: &mut Report) -> Option<Pusher> {
    node.expect(&["suffix", "video", "audio", "transfer", "output"], report);
    if node.is_blank() {
        report.warn(&node.element.place, &node.path, "empty: ignored");
        return None;
    }
    let suffix = suffix(node, report);
    let transfer = node.child("transfer");
    if let Some(transfer) = &transfer {
        transfer.expect(&["mode", "ip", "vport", "aport"], report);
    }
    let mode = transfer.as_ref().and_then(|node| node.value("mode", MODE, mode, report)).unwrap_or_default();
    let mut video = node.child("video").and_then(|node| pusher_video(&node, report));
    let mut audio = node.child("audio").and_then(|node| pusher_audio(&node, report));
    let carrier = transfer.as_ref().unwrap_or(node);
    if let Some(video) = &mut video {
        video.port = pusher_port(carrier, "vport", mode, report);
    }
    if let Some(audio) = &mut audio {
        audio.port = pusher_port(carrier, "aport", mode, report);
    }
    if mode != PusherMode::Rtsp && video.is_none() && audio.is_none() {
        report.error(
            &node.element.place,
            &node.path,
            "no track; a pusher in this mode needs a video or audio codec",
        );
    }
    let ports = (video.and_then(|video| video.port), audio.as_ref().and_then(|audio| audio.port));
    if let (Some(vport), Some(aport)) = ports
        && vport == aport
    {
        report.error(carrier.place_of("aport"), &format!("{}/aport", carrier.path), "the same port as vport");
    }
    Some(Pusher {
        suffix: suffix?,
        mode,
        ip: transfer.as_ref().and_then(|node| node.value("ip", HOST, values::host, report)),
        video,
        audio,
        output: node.child("output").map(|node| output(&node, report)),
        place: node.element.place.clone(),
    })
}

/// `<backchannel>`. None when its codec is `NONE`.
pub(super) fn backchannel(node: &Node<'_>, report: &mut Report) -> Option<Backchannel> {
    node.expect(&["codec", "samplerate", "channels", "device", "talkers"], report);
    let codec = match audio_codec(node, report) {
        Choice::Keep => AudioCodec::G711U,
        Choice::Drop => return None,
        Choice::As(codec) => codec,
    };
    let (rate, channels) = sound(node, Some(codec), report);
    Some(Backchannel {
        codec,
        sample_rate: rate.unwrap_or(codec.clamp_rate(8_000)),
        channels: channels.unwrap_or(1),
        device: node.text("device").unwrap_or_default().to_string(),
        talkers: node.value("talkers", TALKERS, talkers, report).unwrap_or(1),
        place: node.element.place.clone(),
    })
}

fn video_output(node: &Node<'_>, report: &mut Report) -> VideoFormat {
    node.expect(&["codec", "width", "height", "framerate", "bitrate"], report);
    VideoFormat {
        codec: video_codec(node, report),
        width: node.value("width", PIXELS, pixels, report).filter(|&width| width > 0),
        height: node.value("height", PIXELS, pixels, report).filter(|&height| height > 0),
        framerate: node
            .value("framerate", FRAMERATE, Framerate::parse, report)
            .filter(|&rate| rate != Framerate::default()),
        bitrate_kbps: node.value("bitrate", BITRATE, bitrate, report).filter(|&bitrate| bitrate > 0),
    }
}

fn audio_output(node: &Node<'_>, report: &mut Report) -> AudioFormat {
    node.expect(&["codec", "samplerate", "channels", "bitrate"], report);
    let codec = audio_codec(node, report);
    let named = if let Choice::As(codec) = codec { Some(codec) } else { None };
    let (sample_rate, channels) = sound(node, named, report);
    let bitrate_kbps = node.value("bitrate", BITRATE, bitrate, report).filter(|&bitrate| bitrate > 0);
    AudioFormat { codec, sample_rate, channels, bitrate_kbps }
}

fn pusher_video(node: &Node<'_>, report: &mut Report) -> Option<PusherVideo> {
    node.expect(&["codec"], report);
    match video_codec(node, report) {
        Choice::As(codec) => Some(PusherVideo { codec, port: None }),
        Choice::Drop => None,
        Choice::Keep => {
            report.warn(&node.element.place, &node.path, "no codec: this pusher has no video");
            None
        }
    }
}

fn pusher_audio(node: &Node<'_>, report: &mut Report) -> Option<PusherAudio> {
    node.expect(&["codec", "samplerate", "channels", "config", "bitrate", "bitorder"], report);
    let codec = audio_codec(node, report);
    let named = if let Choice::As(codec) = codec { Some(codec) } else { None };
    let (rate, channels) = sound(node, named, report);
    for (name, of) in
        [("config", AudioCodec::Aac), ("bitrate", AudioCodec::G726), ("bitorder", AudioCodec::G726)]
    {
        if named != Some(of) && node.text(name).is_some() {
            let text = format!("only {} has it; it is ignored", of.name());
            report.warn(node.place_of(name), &format!("{}/{name}", node.path), text);
        }
    }
    let config = node.value("config", AAC_CONFIG, values::hexadecimal, report);
    match codec {
        Choice::As(codec) => Some(PusherAudio {
            codec,
            sample_rate: rate.unwrap_or(codec.clamp_rate(8_000)),
            channels: channels.unwrap_or(1),
            config: config.filter(|_| codec == AudioCodec::Aac),
            g726_bits: node.value("bitrate", G726_BITRATE, g726_bits, report).unwrap_or(4),
            g726_order: node.value("bitorder", BIT_ORDER, bit_order, report).unwrap_or(BitOrder::LeastFirst),
            port: None,
        }),
        Choice::Drop => None,
        Choice::Keep => {
            report.warn(&node.element.place, &node.path, "no codec: this pusher has no audio");
            None
        }
    }
}

/// Sample rate and channels, clamped to what `codec` carries.
fn sound(node: &Node<'_>, codec: Option<AudioCodec>, report: &mut Report) -> (Option<u32>, Option<u8>) {
    let rate = node.value("samplerate", SAMPLE_RATE, sample_rate, report).filter(|&rate| rate > 0);
    let channels =
        node.value("channels", CHANNELS, |text| values::number(text, 0, 2), report).filter(|&n: &u8| n > 0);
    let Some(codec) = codec else { return (rate, channels) };
    let clamped =
        (rate.map(|rate| codec.clamp_rate(rate)), channels.map(|channels| codec.clamp_channels(channels)));
    let name = codec.name();
    if let (Some(asked), Some(rate)) = (rate, clamped.0)
        && asked != rate
    {
        let text = format!("{name} does not carry {asked} Hz; {rate} is used");
        report.warn(node.place_of("samplerate"), &format!("{}/samplerate", node.path), text);
    }
    if let (Some(asked), Some(channels)) = (channels, clamped.1)
        && asked != channels
    {
        let text = format!("{name} does not carry {asked} channels; {channels} is used");
        report.warn(node.place_of("channels"), &format!("{}/channels", node.path), text);
    }
    clamped
}

/// The path of a proxy or pusher without slashes around it. None when it is missing or wrong, which is reported.
fn suffix(node: &Node<'_>, report: &mut Report) -> Option<String> {
    let path = format!("{}/suffix", node.path);
    let text = node.text("suffix").unwrap_or_default().trim_matches('/');
    if text.is_empty() {
        report.error(node.place_of("suffix"), &path, "missing; the stream needs a path");
        return None;
    }
    if let Some(wrong) = text.chars().find(|&c| c.is_whitespace() || c.is_control() || "&?#%".contains(c)) {
        let sentence =
            format!("\"{text}\" is not a path; allowed: any characters but spaces & ? # %, found {wrong:?}");
        report.error(node.place_of("suffix"), &path, sentence);
        return None;
    }
    Some(text.to_string())
}

fn pusher_port(node: &Node<'_>, name: &str, mode: PusherMode, report: &mut Report) -> Option<u16> {
    let port = node.value(name, PORT, values::port, report);
    if mode == PusherMode::Rtsp {
        return None;
    }
    if node.text(name).is_none() {
        let text = "missing; a track in TCP or UDP mode needs a port; allowed: 1 to 65535";
        report.error(node.place_of(name), &format!("{}/{name}", node.path), text);
    }
    port
}

fn video_codec(node: &Node<'_>, report: &mut Report) -> Choice<VideoCodec> {
    let codec = node.value("codec", VIDEO_CODEC, |text| Choice::parse(text, VideoCodec::parse), report);
    codec.unwrap_or_default()
}

fn audio_codec(node: &Node<'_>, report: &mut Report) -> Choice<AudioCodec> {
    let codec = node.value("codec", AUDIO_CODEC, |text| Choice::parse(text, AudioCodec::parse), report);
    codec.unwrap_or_default()
}

fn source_url(text: &str) -> Option<String> {
    let is_fetched = Url::parse(text).is_ok() || Url::parse_http(text).is_ok();
    values::url(text, &SOURCE_SCHEMES).filter(|_| is_fetched)
}

fn transfer(text: &str) -> Option<Transfer> {
    match text.to_ascii_uppercase().as_str() {
        "TCP" => Some(Transfer::Tcp),
        "UDP" => Some(Transfer::Udp),
        "MULTICAST" => Some(Transfer::Multicast),
        _ => None,
    }
}

fn mode(text: &str) -> Option<PusherMode> {
    match text.to_ascii_uppercase().as_str() {
        "TCP" => Some(PusherMode::Tcp),
        "UDP" => Some(PusherMode::Udp),
        "RTSP" => Some(PusherMode::Rtsp),
        _ => None,
    }
}

/// Bits of a codeword: 8000 of them a second make the bit rate.
fn g726_bits(text: &str) -> Option<u8> {
    match text {
        "16" => Some(2),
        "24" => Some(3),
        "32" => Some(4),
        "40" => Some(5),
        _ => None,
    }
}

fn bit_order(text: &str) -> Option<BitOrder> {
    match text.to_ascii_uppercase().as_str() {
        "LSB" => Some(BitOrder::LeastFirst),
        "MSB" => Some(BitOrder::MostFirst),
        _ => None,
    }
}

fn talkers(text: &str) -> Option<u8> {
    values::number(text, 1, TALKERS_MAX)
}

fn pixels(text: &str) -> Option<u32> {
    values::number(text, 0, PIXELS_MAX)
}

fn bitrate(text: &str) -> Option<u32> {
    values::number(text, 0, BITRATE_KBPS_MAX)
}

fn sample_rate(text: &str) -> Option<u32> {
    let rate = values::number(text, 0, 48_000)?;
    (rate == 0 || SAMPLE_RATES.contains(&rate)).then_some(rate)
}

/// URL schemes that a proxy can pull from.
const SOURCE_SCHEMES: [&str; 4] = ["rtsp", "rtsps", "http", "https"];

const SWITCH: Wanted = Wanted { noun: "a switch", allowed: "0 or 1" };
const PORT: Wanted = Wanted { noun: "a port", allowed: "1 to 65535" };
const HOST: Wanted = Wanted { noun: "an address or a name", allowed: "an IPv4 or IPv6 address, a host name" };
const SOURCE: Wanted = Wanted { noun: "a URL", allowed: "rtsp://, rtsps://, http:// or https:// and a host" };
const TRANSFER: Wanted = Wanted { noun: "a transport", allowed: "TCP, UDP, MULTICAST" };
const MODE: Wanted = Wanted { noun: "a mode", allowed: "TCP, UDP, RTSP" };
/// Each has a thread.
const TALKERS_MAX: u8 = 16;
const TALKERS: Wanted = Wanted { noun: "a number of talkers", allowed: "1 to 16" };
const PIXELS: Wanted = Wanted { noun: "a number of pixels", allowed: "0 (the source's) to 16384" };
const FRAMERATE: Wanted = Wanted { noun: "a frame rate", allowed: "0 (the source's) to 240" };
const BITRATE: Wanted = Wanted { noun: "a bit rate in kbit/s", allowed: "0 (automatic) to 1000000" };
const CHANNELS: Wanted =
    Wanted { noun: "a number of channels", allowed: "0 (the source's), 1 mono, 2 stereo" };
const SAMPLE_RATE: Wanted = Wanted {
    noun: "a sample rate",
    allowed: "0 (the source's), 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000",
};
const AAC_CONFIG: Wanted =
    Wanted { noun: "an AudioSpecificConfig", allowed: "pairs of hexadecimal digits, such as 1210" };
const G726_BITRATE: Wanted = Wanted { noun: "a bit rate of G.726 in kbit/s", allowed: "16, 24, 32, 40" };
const BIT_ORDER: Wanted =
    Wanted { noun: "an order of bits", allowed: "LSB (as RFC 3551 has it), MSB (as AAL2 has it)" };
const VIDEO_CODEC: Wanted =
    Wanted { noun: "a video codec", allowed: "H264, H265, MP4, JPEG, NONE, or empty" };
const AUDIO_CODEC: Wanted =
    Wanted { noun: "an audio codec", allowed: "G711A, G711U, G722, G726, AAC, OPUS, NONE, or empty" };
