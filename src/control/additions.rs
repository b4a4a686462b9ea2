//! The proxies that the API has added: they stand beside those of the file, which comes first, and those that are to be kept
//! are written down in the state folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::private;
use crate::config::{Addition, Holder, Proxy, Settings};

/// Where those are that are kept. Only who runs the server may read it: it holds passwords.
const FILE: &str = "rtspserver-proxies.xml";

/// How many there may be.
const COUNT_MAX: usize = 1_000;

/// Bytes of the file at most: it is read as a configuration is.
const FILE_BYTES_MAX: usize = 1 << 20;

/// What is to become of one path.
#[derive(Debug)]
pub enum Edit {
    /// A proxy comes, where there is none.
    Add(Addition),
    /// One that was added becomes another.
    Change(Addition),
    /// One that was added goes.
    Remove(String),
}

/// Why it cannot.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// There is no such proxy.
    #[error("there is no proxy by this name")]
    Absent,
    /// There is one already.
    #[error("there is a proxy \"{0}\" already: change it by PUT")]
    Taken(String),
    /// The path is that of a node of the file.
    #[error("the configuration has a <{1}> \"{0}\": change it there")]
    OfFile(String, &'static str),
    /// The path is that of a stream of the program's own.
    #[error("{0}: take another path")]
    BuiltIn(String),
    /// There are as many as there may be.
    #[error("{COUNT_MAX} proxies have been added: remove one, or write them into the configuration")]
    TooMany,
    /// It cannot be written down; nothing has changed.
    #[error("keep: {} cannot be written: {}", .0.display(), .1)]
    Unkept(PathBuf, io::Error),
    /// What is kept must not be written over.
    #[error("keep: {0}")]
    Spoilt(String),
}

/// All that were added.
#[derive(Debug)]
pub struct Additions {
    list: Vec<Addition>,
    file: PathBuf,
    /// Why the file is left alone; None where it is ours.
    spoilt: Option<String>,
}

impl Additions {
    /// Those that are kept in a folder. The log says why there are none where the file is wrong; it is left as it is.
    pub fn open(folder: &Path) -> Additions {
        let file = folder.join(FILE);
        let read = match fs::read(&file) {
            Ok(bytes) => Addition::read(&bytes, &file).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(format!("{} cannot be read: {error}", file.display())),
        };
        match read {
            Ok(list) => {
                if !list.is_empty() {
                    tracing::info!(count = list.len(), file = %file.display(), "proxies that the API has added are back");
                }
                Additions { list, file, spoilt: None }
            }
            Err(error) => {
                tracing::error!(
                    "{error}: proxies that the API has added are not back; put the file right or remove it"
                );
                Additions { list: Vec::new(), file, spoilt: Some(error) }
            }
        }
    }

    /// Puts them beside the proxies of the file. Where that has the path, it comes first.
    pub fn join(&self, settings: &mut Settings) {
        settings.proxies.retain(|proxy| proxy.holder == Holder::File);
        let taken: Vec<_> = self.list.iter().map(|it| owner(settings, &it.proxy.suffix)).collect();
        for (addition, owner) in self.list.iter().zip(taken) {
            let path = &addition.proxy.suffix;
            match owner {
                None => settings.proxies.push(addition.proxy.clone()),
                Some(node) => tracing::warn!(
                    %path,
                    "the configuration has a <{node}> at this path: the proxy that the API has added waits until it has none"
                ),
            }
        }
    }

    /// What they are after a change. `settings` are those that run.
    pub fn after(&self, edit: Edit, settings: &Settings) -> Result<Additions, EditError> {
        let path = match &edit {
            Edit::Add(addition) | Edit::Change(addition) => {
                if let Some(text) = addition.built_in() {
                    return Err(EditError::BuiltIn(text));
                }
                &addition.proxy.suffix
            }
            Edit::Remove(path) => path,
        };
        if let Some(node) = owner(settings, path) {
            return Err(EditError::OfFile(path.clone(), node));
        }
        let mut list = self.list.clone();
        let index = list.iter().position(|it| it.proxy.suffix == *path);
        match (edit, index) {
            (Edit::Add(addition), None) if list.len() < COUNT_MAX => list.push(addition),
            (Edit::Add(_), None) => return Err(EditError::TooMany),
            (Edit::Add(addition), Some(_)) => return Err(EditError::Taken(addition.proxy.suffix)),
            (Edit::Change(addition), Some(index)) => list[index] = addition,
            (Edit::Remove(_), Some(index)) => drop(list.remove(index)),
            (Edit::Change(_) | Edit::Remove(_), None) => return Err(EditError::Absent),
        }
        Ok(Additions { list, file: self.file.clone(), spoilt: self.spoilt.clone() })
    }

    /// Writes down those that are to be kept, if they are others than before.
    pub fn keep(&self, before: &Additions) -> Result<(), EditError> {
        let text = self.text();
        if text == before.text() {
            return Ok(());
        }
        if let Some(error) = &self.spoilt {
            return Err(EditError::Spoilt(format!("{error}: put the file right or remove it, and restart")));
        }
        let unkept = |error| EditError::Unkept(self.file.clone(), error);
        match text {
            Some(text) if text.len() > FILE_BYTES_MAX => {
                Err(unkept(io::Error::other(format!("it would have more than {FILE_BYTES_MAX} bytes"))))
            }
            Some(text) => private::replace(&self.file, &text).map_err(unkept),
            None => match fs::remove_file(&self.file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unkept(error)),
                _ => Ok(()),
            },
        }
    }

    /// What the file holds; None where there is none.
    fn text(&self) -> Option<String> {
        let is_kept = |it: &&Addition| it.proxy.holder == Holder::Api { is_kept: true };
        let mut kept = self.list.iter().filter(is_kept).peekable();
        kept.peek()?;
        Some(Addition::write(kept))
    }
}

/// The kind of node that the file has at a path; None where it has none.
fn owner(settings: &Settings, path: &str) -> Option<&'static str> {
    let is_of_file = |proxy: &Proxy| proxy.holder == Holder::File && proxy.suffix == *path;
    if settings.proxies.iter().any(is_of_file) {
        return Some("proxy");
    }
    settings.pushers.iter().any(|pusher| pusher.suffix == *path).then_some("pusher")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Typed;

    fn addition(path: &str, is_kept: bool) -> Addition {
        let text = |text: &str| Typed::Text(text.to_owned());
        let children = vec![("suffix", text(path)), ("url", text("rtsp://192.0.2.1/x"))];
        Addition::check(children, is_kept).unwrap().0
    }

    fn none() -> Additions {
        Additions { list: Vec::new(), file: PathBuf::new(), spoilt: None }
    }

    fn paths(settings: &Settings) -> Vec<&str> {
        settings.proxies.iter().map(|proxy| proxy.suffix.as_str()).collect()
    }

    #[test]
    fn a_path_is_of_one_of_them_alone_and_the_file_comes_first() {
        let mut settings = Settings::default();
        let mut proxy = addition("gate", false).proxy;
        proxy.holder = Holder::File;
        settings.proxies.push(proxy);
        let say = |error: EditError| error.to_string();
        let edit = none().after(Edit::Add(addition("gate", false)), &settings).map_err(say);
        assert_eq!(edit.unwrap_err(), "the configuration has a <proxy> \"gate\": change it there");
        let one = none().after(Edit::Add(addition("yard", false)), &settings).unwrap();
        assert!(matches!(
            one.after(Edit::Add(addition("yard", true)), &settings),
            Err(EditError::Taken(path)) if path == "yard"
        ));
        one.join(&mut settings);
        assert_eq!(paths(&settings), ["gate", "yard"]);
        // The file gets it as well, and loses it again.
        settings.proxies[1].holder = Holder::File;
        one.join(&mut settings);
        assert_eq!(settings.proxies.len(), 2);
        settings.proxies.truncate(1);
        one.join(&mut settings);
        assert_eq!(paths(&settings), ["gate", "yard"]);
        let none_left = one.after(Edit::Remove("yard".to_owned()), &settings).unwrap();
        none_left.join(&mut settings);
        assert_eq!(paths(&settings), ["gate"]);
        let gone = none_left.after(Edit::Remove("yard".to_owned()), &settings);
        assert!(matches!(gone, Err(EditError::Absent)));
    }

    #[test]
    fn there_is_a_bound_to_their_number() {
        let full = Additions { list: vec![addition("a", false); COUNT_MAX], ..none() };
        let more = full.after(Edit::Add(addition("b", false)), &Settings::default());
        assert!(matches!(more, Err(EditError::TooMany)));
    }

    #[test]
    fn a_file_is_written_only_for_what_is_kept_and_a_wrong_one_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("ringcaster-additions-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(FILE);
        let settings = Settings::default();
        let empty = Additions::open(&folder);
        let passing = empty.after(Edit::Add(addition("a", false)), &settings).unwrap();
        passing.keep(&empty).unwrap();
        assert!(!file.exists());
        let both = passing.after(Edit::Add(addition("b", true)), &settings).unwrap();
        both.keep(&passing).unwrap();
        let read = Additions::open(&folder);
        assert_eq!(read.list.iter().map(|it| it.proxy.suffix.as_str()).collect::<Vec<_>>(), ["b"]);
        let neither = read.after(Edit::Remove("b".to_owned()), &settings).unwrap();
        neither.keep(&read).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::write(&file, "no XML").unwrap();
        let spoilt = Additions::open(&folder);
        let more = spoilt.after(Edit::Add(addition("c", true)), &settings).unwrap();
        assert!(matches!(more.keep(&spoilt), Err(EditError::Spoilt(_))));
        assert_eq!(fs::read(&file).unwrap(), b"no XML");
        fs::remove_dir_all(&folder).unwrap();
    }
}
