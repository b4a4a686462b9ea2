//! Pictures that come over HTTP: passed on as they are, or made anew by the media threads where RTP does not carry them.

use std::fmt;

use bytes::Bytes;
use proto::client::PacketKind;
use proto::rtp::packetize::PacketizeError;
use proto::time::Time;

use super::puller::Away;
use super::{Phase, Proxy, ProxyKey};
use crate::media::library::{MediaError, Ticket};
use crate::shard::turn::{Asker, Shard};

impl Shard {
    /// Takes a picture that has come. One that comes while another is made anew waits for it, or gives way to a later
    /// one: what is passed on is of the present.
    pub(super) fn take_picture(&mut self, key: ProxyKey, proxy: &mut Proxy, picture: Bytes) {
        let now = self.now;
        let Phase::Running(run) = &mut proxy.phase else { return };
        run.numbers.bytes += picture.len() as u64;
        self.counted.bytes_received += picture.len() as u64;
        let Some(pictures) = &mut run.pictures else { return };
        let Some(away) = &mut pictures.away else {
            return self.pass_picture(key, proxy, now, picture);
        };
        if away.next.replace((now, picture)).is_some() {
            pictures.skipped += 1;
            if pictures.skipped.is_power_of_two() {
                let (path, count) = (&proxy.spec.path, pictures.skipped);
                tracing::warn!(
                    %path,
                    count,
                    "pictures of a source are left out: the machine is too slow to make all of them anew"
                );
            }
        }
    }

    /// The media threads have made a picture anew, or cannot.
    pub(in crate::shard) fn picture_rewritten(&mut self, ticket: Ticket, answer: Result<Bytes, MediaError>) {
        let Some(Asker::Picture(key)) = self.waiting.remove(&ticket) else { return };
        self.with_proxy(key, |shard, proxy| {
            let Phase::Running(run) = &mut proxy.phase else { return };
            let Some(pictures) = &mut run.pictures else { return };
            // Of an earlier attempt.
            let Some(away) = pictures.away.take_if(|away| away.ticket == ticket) else { return };
            let passed = answer.map_err(|error| error.to_string()).and_then(|picture| {
                shard.send_picture(proxy, away.came, picture).map_err(|error| error.to_string())
            });
            if let Err(error) = passed {
                proxy.leave_picture_out(&error);
            }
            if let Some((came, next)) = away.next {
                shard.pass_picture(key, proxy, came, next);
            }
        });
    }

    fn pass_picture(&mut self, key: ProxyKey, proxy: &mut Proxy, came: Time, picture: Bytes) {
        match self.send_picture(proxy, came, picture.clone()) {
            Err(PacketizeError::Unsupported(reason)) => self.send_away(key, proxy, came, picture, reason),
            Err(error) => proxy.leave_picture_out(&error),
            Ok(()) => {}
        }
    }

    fn send_picture(&mut self, proxy: &mut Proxy, came: Time, picture: Bytes) -> Result<(), PacketizeError> {
        let now = self.now;
        let Phase::Running(run) = &mut proxy.phase else { return Ok(()) };
        let (Some(relay), Some(pictures)) = (proxy.offer.relay(), &mut run.pictures) else { return Ok(()) };
        pictures.pass(now, came, picture, relay)?;
        proxy.hear(now, PacketKind::Rtp);
        Ok(())
    }

    /// Has a picture made anew. Decoding is nothing for this thread.
    fn send_away(&mut self, key: ProxyKey, proxy: &mut Proxy, came: Time, picture: Bytes, reason: &str) {
        let (ticket, reply) = self.ticket(Asker::Picture(key));
        let Phase::Running(run) = &mut proxy.phase else { return };
        let Some(pictures) = &mut run.pictures else { return };
        if !std::mem::replace(&mut pictures.has_said, true) {
            let path = &proxy.spec.path;
            tracing::info!(%path, reason, "pictures of a source that RTP does not carry are made anew");
        }
        pictures.away = Some(Away { ticket, came, next: None });
        self.ports.library.rewrite(picture, ticket, &reply);
    }
}

impl Proxy {
    fn leave_picture_out(&mut self, error: &dyn fmt::Display) {
        let Phase::Running(run) = &mut self.phase else { return };
        run.numbers.malformed += 1;
        // The first, second, fourth, eighth such picture and so on.
        if run.numbers.malformed.is_power_of_two() {
            let (path, count) = (&self.spec.path, run.numbers.malformed);
            tracing::warn!(%path, %error, count, "pictures of a source are left out");
        }
    }
}
