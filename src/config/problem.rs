//! What is wrong with a configuration, said so that it can be put right.

use std::fmt;

use super::origin::Place;

/// One thing that is wrong or doubtful, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; None when it is not about the file.
    pub place: Option<Place>,
    /// The element as `config/output/video/codec`, or the variable or option; None when it is about the whole file.
    pub subject: Option<String>,
    /// What is wrong, and what is allowed.
    pub text: String,
}

/// A configuration that cannot be run; every problem found in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one, in the order of the file.
    pub problems: Vec<Problem>,
}

impl Problem {
    /// A problem of the element `subject` at `place`.
    pub fn at(place: &Place, subject: impl Into<String>, text: impl Into<String>) -> Problem {
        Problem { place: Some(place.clone()), subject: Some(subject.into()), text: text.into() }
    }

    /// A problem of the file's text at `place`.
    pub fn in_file(place: Place, text: impl Into<String>) -> Problem {
        Problem { place: Some(place), subject: None, text: text.into() }
    }

    /// A problem of `subject`, which is not in the file.
    pub fn outside(subject: impl Into<String>, text: impl Into<String>) -> Problem {
        Problem { place: None, subject: Some(subject.into()), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if let Some(subject) = &self.subject {
            write!(f, "{subject}: ")?;
        }
        f.write_str(&self.text)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> ConfigError {
        ConfigError { problems: vec![problem] }
    }
}
