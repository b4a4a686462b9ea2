//! `<user>`: who may log in, how the password is known, and what it opens.

use std::fmt;

use proto::rtsp::digest::Algorithm;

use super::node::{Node, Report, Wanted};
use super::origin::Place;
use super::settings::Secret;
use super::wildcard::wildcard;

/// One `<user>`.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// `username`.
    pub name: String,
    /// What is known of the password.
    pub password: Password,
    /// `permission`s; none at all means everything.
    pub permissions: Vec<Permission>,
    /// Where the node is.
    pub place: Place,
}

/// What is known of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// `password`: itself.
    Plain(Secret),
    /// `password_hash`: H(user:realm:password) by one or more algorithms, in lower case.
    Hashed(Vec<(Algorithm, Secret)>),
}

/// Something that a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Watch, and talk where a viewer can.
    Play,
    /// Publish.
    Publish,
    /// Manage the server.
    Admin,
}

/// One `<permission>`: actions, and the paths that they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    actions: Vec<Action>,
    /// Patterns without slashes around them; none means every path.
    paths: Vec<String>,
}

impl User {
    /// Whether the user may do something with a path, decoded and without parameters.
    pub fn may(&self, action: Action, path: &str) -> bool {
        self.permissions.is_empty()
            || self.permissions.iter().any(|permission| permission.holds(action, path))
    }

    /// [`Algorithm::secret`] of the user, as far as it is known or can be reckoned.
    pub fn secret(&self, algorithm: Algorithm, realm: &str) -> Option<String> {
        match &self.password {
            Password::Plain(password) => Some(algorithm.secret(&self.name, realm, password.reveal())),
            Password::Hashed(hashes) => {
                let (_, hash) = hashes.iter().find(|(of, _)| *of == algorithm)?;
                Some(hash.reveal().to_owned())
            }
        }
    }

    /// What the user may do, for people.
    pub fn rights(&self) -> String {
        let list: Vec<_> = self.permissions.iter().map(Permission::to_string).collect();
        if list.is_empty() { "everything".to_owned() } else { list.join("; ") }
    }
}

impl Action {
    const ALL: [Action; 3] = [Action::Play, Action::Publish, Action::Admin];

    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Action::Play => "play",
            Action::Publish => "publish",
            Action::Admin => "admin",
        }
    }
}

impl Permission {
    fn holds(&self, action: Action, path: &str) -> bool {
        let path = path.trim_matches('/');
        self.actions.contains(&action)
            && (self.paths.is_empty() || self.paths.iter().any(|pattern| wildcard(pattern, path)))
    }

    /// Words for actions, and paths that begin with a slash so that no mistyped action is taken for one.
    fn parse(text: &str) -> Option<Permission> {
        let mut permission = Permission::default();
        for word in text.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()) {
            match Action::ALL.into_iter().find(|action| word.eq_ignore_ascii_case(action.name())) {
                Some(action) => permission.actions.push(action),
                None => permission.paths.push(word.strip_prefix('/')?.trim_end_matches('/').to_owned()),
            }
        }
        (!permission.actions.is_empty()).then_some(permission)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions: Vec<_> = self.actions.iter().map(|action| action.name()).collect();
        f.write_str(&actions.join(", "))?;
        self.paths.iter().try_for_each(|path| write!(f, " /{path}"))
    }
}

/// `<user>`. None when it is empty or, which is an error, has no name.
pub(super) fn user(node: &Node<'_>, report: &mut Report) -> Option<User> {
    let known = ["username", "password", "password_hash", "permission"];
    node.expect_some_repeated(&known, &["password_hash", "permission"], report);
    if node.is_blank() {
        report.warn(&node.element.place, &node.path, "empty: ignored");
        return None;
    }
    let Some(name) = node.text("username") else {
        let path = format!("{}/username", node.path);
        report.error(node.place_of("username"), &path, "missing; a user needs a name");
        return None;
    };
    let password = password(node, report);
    let permissions = node.values("permission", PERMISSION, Permission::parse, report);
    Some(User { name: name.to_string(), password, permissions, place: node.element.place.clone() })
}

fn password(node: &Node<'_>, report: &mut Report) -> Password {
    let plain = node.text("password");
    let hashes = node.values("password_hash", PASSWORD_HASH, password_hash, report);
    if !hashes.is_empty() && plain.is_some() {
        let path = format!("{}/password", node.path);
        report.error(node.place_of("password"), &path, "beside a password_hash; allowed: one or the other");
    }
    if plain.is_none() && node.text("password_hash").is_none() {
        let path = format!("{}/password", node.path);
        report.warn(node.place_of("password"), &path, "empty: this user needs no password");
    }
    match hashes.is_empty() {
        true => Password::Plain(Secret::from(plain.unwrap_or_default())),
        false => Password::Hashed(hashes),
    }
}

/// The length tells the algorithm.
fn password_hash(text: &str) -> Option<(Algorithm, Secret)> {
    let algorithm = match text.len() {
        32 => Algorithm::MD5,
        64 => Algorithm::SHA_256,
        _ => return None,
    };
    let is_hash = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| (algorithm, Secret::from(text.to_ascii_lowercase().as_str())))
}

const PERMISSION: Wanted =
    Wanted { noun: "a permission", allowed: "play, publish, admin, and paths that begin with /" };
const PASSWORD_HASH: Wanted =
    Wanted { noun: "a hash of a password", allowed: "what rtspserver hash-password prints" };

#[cfg(test)]
mod tests {
    use super::*;

    fn may(permission: &str, action: Action, path: &str) -> bool {
        Permission::parse(permission).unwrap().holds(action, path)
    }

    #[test]
    fn a_permission_is_for_its_actions_and_paths() {
        assert!(may("play", Action::Play, "/any/thing") && may("PLAY,publish", Action::Publish, "a"));
        assert!(!may("play", Action::Publish, "a") && !may("play", Action::Admin, "a"));
        assert!(
            may("play /live/* /cam", Action::Play, "/live/a/b") && may("play /cam/", Action::Play, "cam/")
        );
        assert!(!may("play /live/*", Action::Play, "live") && !may("play /live/*", Action::Play, "alive/x"));
        assert!(!may("play /cam", Action::Play, "cam2") && !may("play /cam", Action::Play, "Cam"));
        assert!(may("publish\n /*/in", Action::Publish, "a/b/in") && may("play /*", Action::Play, "x"));
    }

    #[test]
    fn what_is_neither_action_nor_path_is_no_permission() {
        for wrong in ["", "/live/*", "pulbish", "play live/*", "play, all"] {
            assert_eq!(Permission::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Permission::parse("publish,PLAY /a /b*").unwrap().to_string(), "publish, play /a /b*");
    }
}
