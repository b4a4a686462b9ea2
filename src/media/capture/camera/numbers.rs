//! Which camera has which number: the configuration's, else one that it keeps while the program runs, even where it is
//! unplugged and comes back under another file.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::PathBuf;

/// A camera that the configuration gives a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The number.
    pub index: u32,
    /// Its device file, or a link to it.
    pub path: PathBuf,
}

/// A camera that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its device file.
    pub path: PathBuf,
    /// What its maker calls it.
    pub name: String,
    /// Where it is plugged in.
    pub bus: String,
    /// The name that udev gives it, which stays with the camera, or else with the place where it is plugged in.
    pub link: Option<PathBuf>,
    /// What tells it from all others, today and when it comes back.
    pub identity: String,
}

/// What it is called, its file, and what stays the same of it.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stays = self.link.as_ref().map_or(self.bus.clone(), |link| link.display().to_string());
        write!(f, "{}, {}, {stays}", self.name, self.path.display())
    }
}

/// Numbers of cameras.
pub struct Numbers {
    mapped: Vec<Mapped>,
    /// Number, identity and name of those that were seen.
    known: Vec<(u32, String, String)>,
}

impl Numbers {
    /// Nobody has a number but those that the configuration names.
    pub fn new(mapped: Vec<Mapped>) -> Numbers {
        Numbers { mapped, known: Vec::new() }
    }

    /// What the configuration has under a number.
    pub fn mapped(&self, index: u32) -> Option<&Mapped> {
        self.mapped.iter().find(|mapped| mapped.index == index)
    }

    /// Name of a camera that has had this number, whether it is there or not.
    pub fn name_of(&self, index: u32) -> Option<&str> {
        self.known.iter().find(|(known, ..)| *known == index).map(|(_, _, name)| name.as_str())
    }

    /// Numbers of those that are there, as places in `found`: those that are new take the lowest that nobody has had.
    pub fn assign(&mut self, found: &[Node]) -> Vec<(u32, usize)> {
        let mut seats = Vec::new();
        let mut seated = HashSet::new();
        for mapped in &self.mapped {
            let path = fs::canonicalize(&mapped.path).unwrap_or_else(|_| mapped.path.clone());
            if let Some(at) = found.iter().position(|node| node.path == path) {
                seats.push((mapped.index, at));
                seated.insert(at);
            }
        }
        for (at, node) in found.iter().enumerate().filter(|(at, _)| !seated.contains(at)) {
            let known = self.known.iter().find(|(_, identity, _)| *identity == node.identity);
            let index = match known {
                Some((index, ..)) => *index,
                None => {
                    let index = self.lowest_free();
                    self.known.push((index, node.identity.clone(), node.name.clone()));
                    index
                }
            };
            seats.push((index, at));
        }
        seats
    }

    fn lowest_free(&self) -> u32 {
        let taken: HashSet<u32> = self.known.iter().map(|(index, ..)| *index).collect();
        (0..=u32::MAX)
            .find(|index| !taken.contains(index) && self.mapped(*index).is_none())
            .unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u32, identity: &str) -> Node {
        Node {
            path: PathBuf::from(format!("/dev/video-of-a-test{number}")),
            name: identity.to_owned(),
            bus: String::new(),
            link: None,
            identity: identity.to_owned(),
        }
    }

    fn seats(numbers: &mut Numbers, found: &[Node]) -> Vec<String> {
        let seats = numbers.assign(found);
        let mut seats: Vec<_> =
            seats.iter().map(|(index, at)| format!("{index} {}", found[*at].identity)).collect();
        seats.sort();
        seats
    }

    #[test]
    fn a_camera_keeps_its_number_while_it_is_away_and_under_another_file() {
        let mut numbers = Numbers::new(Vec::new());
        assert_eq!(seats(&mut numbers, &[node(0, "door"), node(1, "desk")]), ["0 door", "1 desk"]);
        assert_eq!(seats(&mut numbers, &[node(1, "desk")]), ["1 desk"]);
        assert_eq!((numbers.name_of(0), numbers.name_of(2)), (Some("door"), None));
        let back = [node(1, "desk"), node(2, "new"), node(3, "door")];
        assert_eq!(seats(&mut numbers, &back), ["0 door", "1 desk", "2 new"]);
    }

    #[test]
    fn the_configuration_comes_first_and_others_take_what_is_left() {
        let mapped = |index, number| Mapped { index, path: node(number, "").path };
        let mut numbers = Numbers::new(vec![mapped(1, 0), mapped(5, 9)]);
        let found = [node(0, "door"), node(1, "desk"), node(2, "yard")];
        assert_eq!(seats(&mut numbers, &found), ["0 desk", "1 door", "2 yard"]);
        assert_eq!(numbers.mapped(5).map(|mapped| mapped.index), Some(5));
        assert_eq!(numbers.name_of(1), None);
    }
}
