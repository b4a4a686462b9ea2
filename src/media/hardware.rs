//! Does the machine have something that encodes pictures by itself?

use std::fmt;

/// What encodes pictures beside the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardware {
    /// Graphics processors by VA-API.
    Vaapi,
    /// NVIDIA's.
    Nvenc,
    /// Intel's Quick Sync.
    Qsv,
    /// Devices of Video4Linux that turn memory into memory.
    V4l2m2m,
}

/// What is wanted of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The first that works.
    #[default]
    Auto,
    /// None.
    Off,
    /// This one.
    Only(Hardware),
}

impl Hardware {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Hardware; 4] = [Hardware::Nvenc, Hardware::Qsv, Hardware::Vaapi, Hardware::V4l2m2m];

    /// The word the configuration has for it.
    pub fn name(self) -> &'static str {
        match self {
            Hardware::Vaapi => "vaapi",
            Hardware::Nvenc => "nvenc",
            Hardware::Qsv => "qsv",
            Hardware::V4l2m2m => "v4l2m2m",
        }
    }
}

impl fmt::Display for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Wanted {
    /// What a text names.
    pub fn parse(text: &str) -> Option<Wanted> {
        let text = text.to_ascii_lowercase();
        match text.as_str() {
            "auto" => Some(Wanted::Auto),
            "off" => Some(Wanted::Off),
            name => Hardware::ALL.into_iter().find(|kind| kind.name() == name).map(Wanted::Only),
        }
    }

    /// The word the configuration has for it.
    pub fn name(self) -> &'static str {
        match self {
            Wanted::Auto => "auto",
            Wanted::Off => "off",
            Wanted::Only(kind) => kind.name(),
        }
    }
}

/// Chooses what encodes from now on, for as long as the program runs; None is the processor. An error when what is wanted
/// does not work.
#[cfg(feature = "ffmpeg")]
pub fn choose(wanted: Wanted) -> Result<Option<Hardware>, String> {
    super::ffmpeg::hardware::choose(wanted)
}

/// Chooses what encodes from now on; None is the processor. An error when what is wanted does not work.
#[cfg(not(feature = "ffmpeg"))]
pub fn choose(wanted: Wanted) -> Result<Option<Hardware>, String> {
    match wanted {
        Wanted::Only(_) => Err("this build encodes nothing; it lacks the feature ffmpeg".to_owned()),
        Wanted::Auto | Wanted::Off => Ok(None),
    }
}
