//! The users of the configuration, and who is asked for a password.

use std::sync::Arc;
use std::time::Duration;

use proto::rtsp::auth::{Account, Guard, NonceKey};

use crate::config::Settings;
use crate::shard::gate::Access;

/// Whether two configurations ask the same of the same users.
pub fn is_same(a: &Settings, b: &Settings) -> bool {
    let asked = |settings: &Settings| {
        let bans = (settings.ban_after, settings.ban_s);
        (settings.need_auth, settings.has_logins(), settings.auth_basic, bans)
    };
    asked(a) == asked(b)
        && (&a.realm, &a.auth_algorithms) == (&b.realm, &b.auth_algorithms)
        && a.users.len() == b.users.len()
        && a.users.iter().zip(&b.users).all(|(a, b)| a.is_like(b))
}

/// What the shards need to know of users. None where nobody is asked. `key` seals nonces: unpredictable, and the same for
/// all shards.
pub fn access(settings: &Settings, key: [u8; 64]) -> Option<Arc<Access>> {
    if !settings.has_logins() {
        return None;
    }
    let account = |user: &crate::config::User| Account {
        name: user.name.clone(),
        secrets: (settings.auth_algorithms.iter())
            .filter_map(|algorithm| Some((*algorithm, user.secret(*algorithm, &settings.realm)?)))
            .collect(),
    };
    let accounts = settings.users.iter().map(account).collect();
    let algorithms = settings.auth_algorithms.clone();
    Some(Arc::new(Access {
        guard: Guard::new(&settings.realm, algorithms, settings.auth_basic, NonceKey::new(key), accounts),
        users: settings.users.clone(),
        asks_viewers: settings.need_auth,
        ban_after: Some(settings.ban_after).filter(|after| *after > 0),
        ban: Duration::from_secs(settings.ban_s.into()),
    }))
}
