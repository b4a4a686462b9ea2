//! Where a value came from.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A position in the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named by the user.
    pub file: Arc<Path>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// Who chose a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: it is the default.
    #[default]
    Default,
    /// The configuration file.
    File(Place),
    /// The environment variable `RINGCASTER_<KEY>`.
    Environment,
    /// An option or argument of the program.
    CommandLine,
}

impl Origin {
    /// Whether somebody asked for the value; a default may be replaced when it cannot be had.
    pub fn is_named(&self) -> bool {
        *self != Origin::Default
    }

    /// The setting `key` with its origin, for messages: `serverport, rtspserver.xml:6`.
    pub fn cite(&self, key: &str) -> String {
        match self {
            Origin::Default => format!("{key}, default"),
            Origin::File(place) => format!("{key}, {}:{}", place.file.display(), place.line),
            Origin::Environment => format!("{key}, {}", variable(key)),
            Origin::CommandLine => format!("{key}, command line"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Name of the environment variable that sets `key`.
pub fn variable(key: &str) -> String {
    format!("RINGCASTER_{}", key.to_ascii_uppercase())
}
