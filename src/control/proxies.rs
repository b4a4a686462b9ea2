//! The streams that the configuration has the shards pull from elsewhere.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use proto::client::{Credentials, Transfer, Url};

use crate::config::{self, Proxy, Settings};
use crate::shard::proxy::ProxySpec;
use crate::shard::tls::TlsConfig;
use crate::stream::catalog::{Reserved, ShardIndex};

/// Names for the streams of the configuration, none of them given twice.
#[derive(Debug)]
pub struct Tenures(u64);

impl Default for Tenures {
    /// Far from those of publishers.
    fn default() -> Tenures {
        Tenures(1 << 63)
    }
}

impl Tenures {
    /// The next.
    pub fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// What each `<proxy>` asks for, and the shard that will pull it. `before` is what runs, with the nodes that it was made
/// of: what is as it was is the same.
pub fn proxies(
    settings: &Settings,
    shards: u16,
    before: (&[Proxy], &[Arc<ProxySpec>]),
    tenures: &mut Tenures,
) -> Vec<Arc<ProxySpec>> {
    let trusting = TlsConfig::new(false);
    let verifying = settings.proxies.iter().any(|proxy| proxy.verify).then(|| TlsConfig::new(true));
    let running = |proxy: &Proxy| {
        before.0.iter().find(|other| other.is_like(proxy))?;
        before.1.iter().find(|spec| *spec.path == *proxy.suffix).cloned()
    };
    let specs = settings.proxies.iter().filter_map(|proxy| {
        if let Some(spec) = running(proxy) {
            return Some(spec);
        }
        let url = match Url::parse(&proxy.url).or_else(|_| Url::parse_http(&proxy.url)) {
            Ok(url) => url,
            Err(error) => {
                tracing::error!(suffix = %proxy.suffix, %error, "proxy/url cannot be used");
                return None;
            }
        };
        let is_rtsp = !url.scheme.is_http();
        Some(Arc::new(ProxySpec {
            path: proxy.suffix.as_str().into(),
            tenure: tenures.next(),
            home: home(&proxy.suffix, shards),
            url,
            credentials: credentials(proxy),
            transfer: match proxy.transfer {
                config::Transfer::Tcp => Transfer::Tcp,
                config::Transfer::Udp => Transfer::Udp,
                config::Transfer::Multicast => Transfer::Multicast,
            },
            is_on_demand: proxy.ondemand,
            backchannel: proxy.backchannel && is_rtsp,
            tls: verifying.as_ref().filter(|_| proxy.verify).unwrap_or(&trusting).clone(),
        }))
    });
    specs.collect()
}

/// Their paths, which nobody else may have.
pub fn reserved(proxies: &[Arc<ProxySpec>]) -> Vec<Reserved> {
    let reserve = |spec: &Arc<ProxySpec>| Reserved {
        path: spec.path.clone(),
        tenure: spec.tenure,
        home: spec.home,
        is_published: false,
    };
    proxies.iter().map(reserve).collect()
}

/// The shard that a stream of the configuration comes to: always the same one, and others for others.
pub(in crate::control) fn home(path: &str, shards: u16) -> ShardIndex {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    (hasher.finish() % u64::from(shards.max(1))) as ShardIndex
}

fn credentials(proxy: &Proxy) -> Option<Credentials> {
    let credentials = Credentials { user: proxy.user.clone(), password: proxy.pass.reveal().to_owned() };
    (!credentials.is_empty()).then_some(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_spread_over_the_shards() {
        let mut counts = [0; 4];
        for index in 0..400 {
            counts[usize::from(home(&format!("camera{index}"), 4))] += 1;
        }
        assert!(counts.iter().all(|count| (60..140).contains(count)), "{counts:?}");
    }
}
