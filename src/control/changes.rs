//! What came of another configuration, for the log and for whoever has asked for it.

use std::fmt;

use crate::config::{Count, Difference, Problem};
use crate::shard::settings::Listen;

/// What a reload has changed.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// What is obeyed and was not before.
    pub difference: Difference,
    /// Ports that clients can come in by and could not before.
    pub opened: Vec<u16>,
    /// Ports that they can come in by no longer.
    pub closed: Vec<u16>,
    /// Settings that are other ones in the file and stay what they were until the next start.
    pub waiting: Vec<&'static str>,
    /// What was ignored or corrected.
    pub warnings: Vec<Problem>,
}

impl Changes {
    /// What differs, with the ports that are listened on before and after.
    pub fn new(difference: Difference, before: &[Listen], after: &[Listen]) -> Changes {
        Changes {
            difference,
            opened: without(after, before),
            closed: without(before, after),
            ..Changes::default()
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { settings, users, proxies, pushers } = &self.difference;
        let mut parts = Vec::new();
        for (name, Count { added, removed, changed }) in
            [("users", users), ("proxies", proxies), ("pushers", pushers)]
        {
            if added + removed + changed > 0 {
                let changed = if *changed > 0 { format!(", {changed} changed") } else { String::new() };
                parts.push(format!("{name} +{added} -{removed}{changed}"));
            }
        }
        for (what, ports) in [("ports opened", &self.opened), ("ports closed", &self.closed)] {
            if !ports.is_empty() {
                let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
                parts.push(format!("{what} {}", ports.join(" ")));
            }
        }
        if !settings.is_empty() {
            parts.push(settings.join(", "));
        }
        if parts.is_empty() {
            parts.push("nothing has changed".to_owned());
        }
        f.write_str(&parts.join("; "))?;
        match self.waiting.is_empty() {
            true => Ok(()),
            false => write!(f, "; takes effect at the next start: {}", self.waiting.join(", ")),
        }
    }
}

/// The ports of some doors that are not among those of others.
fn without(doors: &[Listen], others: &[Listen]) -> Vec<u16> {
    let is_there = |port: &u16| others.iter().any(|other| other.address.port() == *port);
    let mut ports: Vec<_> =
        doors.iter().map(|door| door.address.port()).filter(|port| !is_there(port)).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_all_that_has_changed_and_all_that_waits() {
        let doors = |ports: [u16; 2]| {
            ports.map(|port| Listen::rtsp(std::net::SocketAddr::from(([127, 0, 0, 1], port))))
        };
        assert_eq!(Changes::default().to_string(), "nothing has changed");
        let difference = Difference {
            settings: vec!["test", "output"],
            users: Count { added: 1, ..Count::default() },
            proxies: Count { changed: 2, ..Count::default() },
            ..Difference::default()
        };
        let changes = Changes {
            waiting: vec!["mtu", "shards"],
            ..Changes::new(difference, &doors([554, 80]), &doors([554, 8_080]))
        };
        assert_eq!(
            changes.to_string(),
            "users +1 -0; proxies +0 -0, 2 changed; ports opened 8080; ports closed 80; test, output; \
             takes effect at the next start: mtu, shards"
        );
    }
}
