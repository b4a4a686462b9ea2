//! Datagrams of a source that is pulled.

use std::net::SocketAddr;

use proto::client::PacketKind;
use proto::io::Span;

use super::{Phase, ProxyKey};
use crate::shard::ingest::Arriving;
use crate::shard::turn::Shard;

impl Shard {
    /// Takes what came to the sockets of a track.
    pub(in crate::shard) fn proxy_datagrams(
        &mut self,
        key: ProxyKey,
        Arriving { track, is_media, .. }: Arriving,
        from: SocketAddr,
        span: Span,
        segment: u16,
    ) {
        let at = self.arrival();
        self.with_proxy(key, |shard, proxy| {
            if proxy.talkback.is_some() {
                return proxy.hear_talkback(at.now);
            }
            // They may come before the answer to PLAY.
            shard.begin_stream(proxy);
            let Phase::Running(run) = &mut proxy.phase else { return };
            let (Some(relay), Some(track)) = (proxy.offer.relay(), run.inflow.track_mut(track)) else {
                return;
            };
            if !track.is_from(is_media, from) {
                shard.udp.strangers += 1;
                return;
            }
            let bytes = shard.ports.driver.bytes(span);
            let before = run.numbers;
            track.handle_datagrams(at, relay, (bytes, segment), (is_media, true), &mut run.numbers);
            shard.counted.took(before, run.numbers);
            run.client.handle_media(at.now);
            if run.numbers.bytes > before.bytes {
                proxy.hear(at.now, PacketKind::Rtp);
            }
        });
    }
}
