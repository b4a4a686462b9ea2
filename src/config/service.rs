//! Settings of the program as a service of its machine.

use super::keys::{Key, path, put_some};
use super::values;

/// What the program may touch.
pub(super) const SERVICE: &[Key] = &[Key {
    name: "state_dir",
    noun: "a path",
    allowed: "a folder that can be written",
    set: |s, v| put_some(&mut s.state_dir, values::path(v)),
    show: |s| path(&s.state_dir),
}];
