//! The lines of a session description that tests look at.

/// One `m=` section.
#[derive(Clone, Debug)]
pub(crate) struct Media {
    /// `video`, `audio`, `application`.
    pub(crate) kind: String,
    pub(crate) payload_type: u8,
    /// `H264/90000`.
    pub(crate) rtpmap: Option<String>,
    pub(crate) fmtp: Option<String>,
    /// The URL to SET UP, absolute.
    pub(crate) control: String,
}

impl Media {
    /// Ticks of the RTP clock a second.
    pub(crate) fn clock_rate(&self) -> u32 {
        match &self.rtpmap {
            Some(map) => map.split('/').nth(1).and_then(|rate| rate.parse().ok()).expect("a clock rate"),
            None => match self.payload_type {
                0..=9 => 8_000,
                10 | 11 => 44_100,
                _ => 90_000,
            },
        }
    }

    /// Name of the encoding in upper case.
    pub(crate) fn encoding(&self) -> String {
        let name = match (&self.rtpmap, self.payload_type) {
            (Some(map), _) => map.split('/').next().unwrap_or_default(),
            (None, 0) => "PCMU",
            (None, 8) => "PCMA",
            (None, 9) => "G722",
            (None, 10 | 11) => "L16",
            (None, 14) => "MPA",
            (None, 26) => "JPEG",
            _ => "",
        };
        name.to_uppercase()
    }

    /// A parameter of `a=fmtp`.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let parameters = self.fmtp.as_deref()?.split(';').filter_map(|part| part.trim().split_once('='));
        parameters.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// A session description.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) text: String,
    /// The URL of the whole presentation.
    pub(crate) control: String,
    pub(crate) media: Vec<Media>,
}

impl Description {
    /// Reads a description whose relative control attributes are relative to `base`.
    #[track_caller]
    pub(crate) fn parse(text: &str, base: &str) -> Description {
        let mut description =
            Description { text: text.to_owned(), control: base.to_owned(), media: Vec::new() };
        for line in text.lines() {
            let Some((kind, value)) = line.split_once('=') else { panic!("not a line of SDP: {line:?}") };
            match kind {
                "m" => description.media.push(media(value, base)),
                "a" => {
                    let (name, value) = value.split_once(':').unwrap_or((value, ""));
                    description.attribute(name, value, base);
                }
                _ => {}
            }
        }
        description
    }

    /// The value of a session-level or media-level attribute line, the first of that name.
    pub(crate) fn line(&self, start: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(start))
    }

    fn attribute(&mut self, name: &str, value: &str, base: &str) {
        let behind_type = || value.split_once(' ').map(|(_, rest)| rest.to_owned());
        match (name, self.media.last_mut()) {
            ("control", Some(media)) => media.control = resolve(base, value),
            ("control", None) => self.control = resolve(base, value),
            ("rtpmap", Some(media)) => media.rtpmap = behind_type(),
            ("fmtp", Some(media)) => media.fmtp = behind_type(),
            _ => {}
        }
    }
}

fn media(value: &str, base: &str) -> Media {
    let words: Vec<_> = value.split(' ').collect();
    let payload_type = words[3].parse().expect("a payload type is a number");
    Media { kind: words[0].to_owned(), payload_type, rtpmap: None, fmtp: None, control: base.to_owned() }
}

/// The URL of a control attribute (RFC 2326 section C.1.1).
fn resolve(base: &str, control: &str) -> String {
    if control == "*" {
        return base.to_owned();
    }
    if control.contains("://") {
        return control.to_owned();
    }
    format!("{}/{control}", base.trim_end_matches('/'))
}
