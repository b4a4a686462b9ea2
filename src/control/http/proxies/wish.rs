//! A proxy as it is asked for: what a `<proxy>` node has, in JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

use crate::config::{Addition, AudioCodec, Choice, ConfigError, Problem, Typed, VideoCodec};
use crate::media::format::{Format, SAMPLE_RATES};

/// A stream to pull from elsewhere. What is left out is as in the configuration.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control::http) struct ProxyWish {
    /// Where it is: `rtsp`, `rtsps`, `http` or `https`, with a host.
    #[schema(
        max_length = 4096,
        pattern = "^(rtsps?|https?)://([!-.0-9;=A-Z_a-z~]+@)?[0-9A-Za-z]([-.0-9A-Za-z]*[0-9A-Za-z])?(:[1-9][0-9]{0,3})?(/[!-~]*)?$"
    )]
    url: String,
    /// Name for the source.
    #[schema(max_length = 4096, pattern = r"^[^\u0000-\u001f\u007f-\u009f\ufffe\uffff]*$")]
    user: Option<String>,
    /// Password for the source.
    #[schema(max_length = 4096, pattern = r"^[^\u0000-\u001f\u007f-\u009f\ufffe\uffff]*$")]
    pass: Option<String>,
    /// `TCP`, `UDP` or `MULTICAST`: the transport that is asked for first; TCP where nothing is said.
    #[schema(pattern = "^(TCP|UDP|MULTICAST)?$")]
    transfer: Option<String>,
    /// Whether it is pulled only while somebody watches; it is where nothing is said.
    ondemand: Option<bool>,
    /// Whether a source in TLS must prove who it is; it need not where nothing is said.
    verify: Option<bool>,
    /// Whether viewers may talk to its source; they may where nothing is said.
    backchannel: Option<bool>,
    /// The format to send it in; the source's where nothing is said.
    output: Option<ProxyOutput>,
    /// Whether it is there again after a restart. It is written, with its password, into a file in the state folder that
    /// only who runs the server can read.
    #[serde(default)]
    keep: bool,
}

/// A format.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control::http) struct ProxyOutput {
    /// Pictures.
    video: Option<ProxyVideo>,
    /// Sound.
    audio: Option<ProxyAudio>,
}

/// The format of pictures; what is left out or 0 is the source's.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProxyVideo {
    /// `H264`, `H265`, `MP4` or `JPEG`; `NONE` leaves pictures out.
    #[schema(pattern = "^(H264|H265|MP4|JPEG|NONE)?$")]
    codec: Option<String>,
    /// Pixels a line.
    #[schema(maximum = 16384)]
    width: Option<u32>,
    /// Lines.
    #[schema(maximum = 16384)]
    height: Option<u32>,
    /// Pictures a second, to the thousandth.
    #[schema(minimum = 0, maximum = 240)]
    framerate: Option<f64>,
    /// Kilobits a second.
    #[schema(maximum = 1000000)]
    bitrate: Option<u32>,
}

/// The format of sound; what is left out or 0 is the source's.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProxyAudio {
    /// `G711A`, `G711U`, `G722`, `G726`, `AAC` or `OPUS`; `NONE` leaves sound out.
    #[schema(pattern = "^(G711A|G711U|G722|G726|AAC|OPUS|NONE)?$")]
    codec: Option<String>,
    /// Samples a second.
    #[schema(schema_with = sample_rates)]
    samplerate: Option<u32>,
    /// 1 or 2.
    #[schema(maximum = 2)]
    channels: Option<u8>,
    /// Kilobits a second.
    #[schema(maximum = 1000000)]
    bitrate: Option<u32>,
}

impl ProxyWish {
    /// Checks it as a node of the configuration is.
    pub(in crate::control::http) fn check(self, path: &str) -> Result<(Addition, Vec<Problem>), ConfigError> {
        let switch = |it: Option<bool>| it.map(|it| Typed::Text(u8::from(it).to_string()));
        let text = |it: Option<String>| it.map(Typed::Text);
        let children = [
            ("suffix", text(Some(path.to_owned()))),
            ("url", text(Some(self.url))),
            ("user", text(self.user)),
            ("pass", text(self.pass)),
            ("transfer", text(self.transfer)),
            ("ondemand", switch(self.ondemand)),
            ("verify", switch(self.verify)),
            ("backchannel", switch(self.backchannel)),
            ("output", self.output.map(ProxyOutput::typed)),
        ];
        Addition::check(said(children), self.keep)
    }
}

impl ProxyOutput {
    /// What a format asks for.
    pub(super) fn of(format: &Format) -> ProxyOutput {
        let Format { video, audio } = format;
        let word = |choice: Choice<&'static str>| match choice {
            Choice::Keep => None,
            Choice::Drop => Some("NONE".to_owned()),
            Choice::As(name) => Some(name.to_owned()),
        };
        let pictures = ProxyVideo {
            codec: word(video.codec.map(VideoCodec::name)),
            width: video.width,
            height: video.height,
            framerate: video.framerate.map(|rate| f64::from(rate.thousandths()) / 1e3),
            bitrate: video.bitrate_kbps,
        };
        let sound = ProxyAudio {
            codec: word(audio.codec.map(AudioCodec::name)),
            samplerate: audio.sample_rate,
            channels: audio.channels,
            bitrate: audio.bitrate_kbps,
        };
        ProxyOutput { video: Some(pictures), audio: Some(sound) }
    }

    fn typed(self) -> Typed {
        let children =
            [("video", self.video.map(ProxyVideo::typed)), ("audio", self.audio.map(ProxyAudio::typed))];
        Typed::Children(said(children))
    }
}

impl ProxyVideo {
    fn typed(self) -> Typed {
        // The bound of what is written down is a thousandth.
        let rate = self.framerate.map(|rate| Typed::Text(format!("{rate:.3}")));
        Typed::Children(said([
            ("codec", self.codec.map(Typed::Text)),
            ("width", number(self.width)),
            ("height", number(self.height)),
            ("framerate", rate),
            ("bitrate", number(self.bitrate)),
        ]))
    }
}

impl ProxyAudio {
    fn typed(self) -> Typed {
        Typed::Children(said([
            ("codec", self.codec.map(Typed::Text)),
            ("samplerate", number(self.samplerate)),
            ("channels", number(self.channels)),
            ("bitrate", number(self.bitrate)),
        ]))
    }
}

fn number(number: Option<impl ToString>) -> Option<Typed> {
    number.map(|number| Typed::Text(number.to_string()))
}

/// Those that something is said of.
fn said<const N: usize>(children: [(&'static str, Option<Typed>); N]) -> Vec<(&'static str, Typed)> {
    children.into_iter().filter_map(|(name, typed)| Some((name, typed?))).collect()
}

fn sample_rates() -> Schema {
    let rates = std::iter::once(0).chain(SAMPLE_RATES).map(Some).chain([None]);
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
        .description(Some("Samples a second."))
        .enum_values(Some(rates))
        .into()
}
