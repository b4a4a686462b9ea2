//! Settings of the program as a service of its machine.

use std::fmt;

use super::keys::{Key, path, put, put_some, switch};
use super::values;

/// What the program may touch.
pub(super) const SERVICE: &[Key] = &[
    Key {
        name: "state_dir",
        noun: "a path",
        allowed: "a folder that can be written",
        set: |s, v| put_some(&mut s.state_dir, values::path(v)),
        show: |s| path(&s.state_dir),
    },
    Key {
        name: "run_as",
        noun: "a user",
        allowed: "a user, or a user and a group as in user:group",
        set: |s, v| put_some(&mut s.run_as, RunAs::parse(v)),
        show: |s| s.run_as.as_ref().map(RunAs::to_string).unwrap_or_default(),
    },
    Key {
        name: "landlock",
        noun: "a switch",
        allowed: "auto, 0, 1",
        set: |s, v| put(&mut s.landlock, values::auto_or_flag(v)),
        show: |s| s.landlock.map_or("auto".to_string(), switch),
    },
];

/// Whom the program runs as once it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAs {
    /// A user's name or number.
    pub user: String,
    /// A group's name or number. None means the user's own.
    pub group: Option<String>,
}

impl RunAs {
    /// `user` or `user:group`.
    fn parse(text: &str) -> Option<RunAs> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let is_whole = is_name(user) && group.is_none_or(is_name);
        is_whole.then(|| RunAs { user: user.to_owned(), group: group.map(str::to_owned) })
    }
}

impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)?;
        self.group.iter().try_for_each(|group| write!(f, ":{group}"))
    }
}

/// What programs that make users let pass (useradd(8)), and numbers.
fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('$').unwrap_or(text);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !text.is_empty() && !text.starts_with(['.', '-']) && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_may_have_a_group_beside() {
        let parsed = |text| RunAs::parse(text).map(|run_as| run_as.to_string());
        for right in ["ringcaster", "ringcaster:video", "1000:44", "_svc", "machine$"] {
            assert_eq!(parsed(right).as_deref(), Some(right));
        }
        for wrong in ["", ":", "a:", ":a", "a b", "a:b:c", "-a", "a/b"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
