//! Who may see and steer the server by its API.

use super::keys::{Key, path, put, put_some};
use super::settings::Settings;
use super::values;

/// Who may use the API and read the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Nobody.
    Off,
    /// Clients on this machine.
    Local,
    /// Users with the permission `admin`.
    Auth,
    /// Every client.
    On,
}

impl Api {
    const ALL: [Api; 4] = [Api::Off, Api::Local, Api::Auth, Api::On];

    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Api::Off => "off",
            Api::Local => "local",
            Api::Auth => "auth",
            Api::On => "on",
        }
    }
}

impl Settings {
    /// Who may use the API: who asks viewers for passwords asks for them here as well, unless told otherwise.
    pub fn may_steer(&self) -> Api {
        self.api.unwrap_or(if self.need_auth { Api::Auth } else { Api::Local })
    }
}

pub(super) const STEERING: &[Key] = &[
    Key {
        name: "api",
        noun: "a group of clients",
        allowed: "off, local, auth, on",
        set: |s, v| {
            let word = Api::ALL.into_iter().find(|api| v.eq_ignore_ascii_case(api.name()));
            put(&mut s.api, word.map(Some))
        },
        show: |s| s.api.map(|api| api.name().to_string()).unwrap_or_default(),
    },
    Key {
        name: "api_socket",
        noun: values::SOCKET.noun,
        allowed: values::SOCKET.allowed,
        set: |s, v| put_some(&mut s.api_socket, values::socket(v)),
        show: |s| path(&s.api_socket),
    },
];
