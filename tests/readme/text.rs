//! The README as a reader takes it: chapters with commands and pieces of configuration.

use std::fs;
use std::path::Path;

/// A part of the README below one heading.
pub(crate) struct Chapter {
    pub(crate) name: String,
    /// What is to be typed, without comments.
    pub(crate) commands: Vec<String>,
    /// What is to stand in the configuration.
    pub(crate) xml: String,
    /// All of it.
    pub(crate) text: String,
}

/// The whole README.
pub(crate) fn chapters() -> Vec<Chapter> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let mut chapters = Vec::new();
    for part in text.split("\n## ").skip(1) {
        let (name, body) = part.split_once('\n').unwrap();
        let mut chapter =
            Chapter { name: name.into(), commands: Vec::new(), xml: String::new(), text: body.into() };
        for line in body.lines().filter_map(|line| line.strip_prefix("    ")) {
            let line = line.trim();
            if line.starts_with('<') {
                chapter.xml.push_str(line);
            } else {
                let command = line.split("  #").next().unwrap_or_default().trim();
                chapter.commands.push(command.into());
            }
        }
        chapters.push(chapter);
    }
    chapters
}

/// One chapter; a test that names none has nothing to do.
pub(crate) fn chapter(name: &str) -> Chapter {
    chapters().into_iter().find(|chapter| chapter.name == name).expect("the README has the chapter")
}
