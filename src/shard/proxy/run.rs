//! When a stream is pulled: begun for the first who wants it, tried again when it is lost, left when nobody wants it.

use std::sync::Arc;
use std::time::Duration;

use proto::io::{Conn, Op, Span};
use proto::time::Time;
use rand::RngExt;

use super::puller::Puller;
use super::{Phase, Proxy, ProxyKey, ProxySpec, Run};
use crate::media::library::Ticket;
use crate::shard::inflow::{Due, Report};
use crate::shard::turn::{Alarm, Shard};
use crate::stream::catalog::{Order, StreamError, StreamName};

/// A source that plays and sends nothing for longer is lost.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(6);

/// While viewers wait for its return, a source is asked at least this often.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Messages that wait for a source that does not read; reports beyond them are left out.
const WAITING_MAX: usize = 64;

impl Shard {
    /// Begins what is pulled whether anybody watches or not.
    pub(in crate::shard) fn start_proxies(&mut self) {
        for key in self.proxies.keys() {
            self.with_proxy(key, |_, _| {});
        }
    }

    /// Obeys what the catalog passes on.
    pub(in crate::shard) fn order_proxy(&mut self, key: ProxyKey, order: Order) {
        let (now, grace) = (self.now, self.settings.source_grace);
        self.with_proxy(key, |_, proxy| match order {
            Order::Subscribe { path, subscriber } => {
                proxy.offer.subscribe(now, path, subscriber);
                // Somebody waits for it: it is not left to the end of a long step.
                if let Phase::Waiting(at) = &mut proxy.phase
                    && at.since(now) > grace
                {
                    *at = now;
                }
            }
            Order::Unsubscribe { stream, shard } => proxy.offer.unsubscribe(stream, shard),
            Order::Want(stream, want) => proxy.offer.want(stream, want),
            Order::Yield { .. } => {}
        });
    }

    /// A connection to another server is open.
    pub(in crate::shard) fn proxy_connected(&mut self, conn: Conn, local: std::net::SocketAddr) {
        if let Some(key) = self.proxies.of_conn(conn) {
            self.with_proxy(key, |shard, proxy| shard.line_opened(proxy, local));
        }
    }

    /// Bytes have come from another server.
    pub(in crate::shard) fn proxy_received(&mut self, conn: Conn, span: Span) {
        let Some(key) = self.proxies.of_conn(conn) else { return };
        self.with_proxy(key, |shard, proxy| shard.line_received(proxy, span));
    }

    /// A connection to another server has ended, or did not come about.
    pub(in crate::shard) fn proxy_ended(&mut self, conn: Conn, error: Option<std::io::Error>) {
        match self.proxies.of_conn(conn) {
            Some(key) => self.with_proxy(key, |shard, proxy| {
                if let (Some(run), Some(error)) = (proxy.run(), error) {
                    run.error = Some(error.to_string());
                }
                shard.line_ended(key, proxy, conn);
            }),
            None => self.end_farewell(conn),
        }
    }

    /// A send to another server is complete.
    pub(in crate::shard) fn proxy_sent(&mut self, conn: Conn) {
        match self.proxies.of_conn(conn) {
            Some(key) => self.with_proxy(key, |shard, proxy| shard.line_sent(proxy)),
            None => self.farewell_sent(conn),
        }
    }

    /// The addresses of another server were looked up.
    pub(in crate::shard) fn proxy_addresses(
        &mut self,
        key: ProxyKey,
        ticket: Ticket,
        answer: Result<Vec<std::net::SocketAddr>, String>,
    ) {
        self.with_proxy(key, |shard, proxy| shard.line_addresses(key, proxy, ticket, answer));
    }

    /// It is time to look at a proxy.
    pub(in crate::shard) fn wake_proxy(&mut self, key: ProxyKey, at: Time) {
        let now = self.now;
        // An entry that an earlier wake-up made stale.
        if self.proxies.slot(key).and_then(|slot| slot.as_ref()?.wake_at) != Some(at) {
            return;
        }
        self.with_proxy(key, |_, proxy| {
            proxy.wake_at = None;
            if let Some(run) = proxy.run()
                && run.client.poll_timeout().is_some_and(|at| at <= now)
            {
                run.client.handle_timeout(now);
            }
        });
    }

    /// Ends what waited for long enough.
    pub(in crate::shard) fn keep_proxies(&mut self) {
        let (now, patience, grace) = (self.now, self.settings.source_start, self.settings.source_grace);
        for key in self.proxies.keys() {
            self.with_proxy(key, |_, proxy| {
                let reason = proxy.failure.clone().unwrap_or_else(|| proxy.what_is_missing().to_owned());
                proxy.offer.refuse_late(now, patience, &StreamError::Unavailable(reason));
                if proxy.lost_at.is_some_and(|at| now.since(at) >= grace) {
                    proxy.end_stream("the source is lost");
                }
            });
        }
        self.end_late_farewells();
    }

    /// Says goodbye to every source.
    pub(in crate::shard) fn stop_proxies(&mut self) {
        for key in self.proxies.keys() {
            let Some(mut proxy) = self.proxies.slot(key).and_then(Option::take) else { continue };
            proxy.end_stream("the server stops");
            self.leave_source(&mut proxy);
        }
    }

    /// Leaves those that are not among these; the catalog asks for them no more.
    pub(in crate::shard) fn retire_proxies(&mut self, specs: &[Arc<ProxySpec>]) {
        for mut proxy in self.proxies.take_others(specs) {
            let reason = "the configuration has changed or removed the proxy";
            if proxy.talkback.is_some() {
                self.end_talkback(&mut proxy, reason);
            } else {
                tracing::info!(path = %proxy.spec.path, source = %proxy.spec.url, "source left: {reason}");
                proxy.failure = None;
                proxy.end_stream(reason);
                self.tell_if_other(&mut proxy, Err(reason));
                for (path, subscriber) in proxy.offer.take_waiting() {
                    // The catalog knows who has the path now.
                    self.ports.catalog.subscribe(&StreamName::plain(path), subscriber);
                }
            }
            self.leave_source(&mut proxy);
        }
    }

    /// Tells those who listen to events how a stream stands, unless nothing has changed.
    pub(super) fn tell_if_other(&self, proxy: &mut Proxy, stands: Result<(), &str>) {
        let stands = stands.map_err(str::to_owned);
        if proxy.talkback.is_some() || proxy.told.as_ref() == Some(&stands) {
            return;
        }
        self.tell_of_proxy(&proxy.spec.path, stands.as_ref().err().map(String::as_str));
        proxy.told = Some(stands);
    }

    fn leave_source(&mut self, proxy: &mut Proxy) {
        let now = self.now;
        if let Some(run) = proxy.run() {
            run.client.teardown(now);
            run.say();
        }
        self.leave_line(proxy);
        self.release_inflow(proxy);
    }

    /// Works on a proxy, then does what follows from it.
    pub(super) fn with_proxy(&mut self, key: ProxyKey, work: impl FnOnce(&mut Shard, &mut Proxy)) {
        let Some(mut proxy) = self.proxies.slot(key).and_then(Option::take) else { return };
        work(self, &mut proxy);
        self.tend(key, &mut proxy);
        if let Some(slot) = self.proxies.slot(key) {
            *slot = Some(proxy);
        }
    }

    /// This attempt is over: the next one comes later, or when somebody wants it.
    pub(super) fn lose_source(&mut self, proxy: &mut Proxy, reason: &str) {
        let now = self.now;
        let (mut error, mut heard) = (None, None);
        if let Some(run) = proxy.run() {
            // A device keeps sessions that nobody ended until their time is over, and has few.
            run.client.teardown(now);
            (error, heard) = (run.error.take(), run.heard);
        }
        let reason = error.unwrap_or_else(|| reason.to_owned());
        self.close_run(proxy);
        let was_there = proxy.lost_at.is_none() && proxy.offer.relay().is_some();
        if was_there {
            proxy.lost_at = Some(heard.unwrap_or(now));
        }
        if let Some(relay) = proxy.offer.relay() {
            relay.note_lost();
        }
        let mut wait = proxy.back_off.next(self.ports.random.random());
        if proxy.lost_at.is_some() {
            wait = wait.min(WAIT_MAX);
        }
        let what = if was_there { "source lost" } else { "source not available" };
        tracing::warn!(path = %proxy.spec.path, source = %proxy.spec.url, %reason, again_in = ?wait, "{what}");
        self.tell_if_other(proxy, Err(reason.as_str()));
        proxy.failure = Some(reason);
        proxy.phase = Phase::Waiting(now + wait);
    }

    /// Gives back all that an attempt took.
    pub(super) fn close_run(&mut self, proxy: &mut Proxy) {
        if let Some(run) = proxy.run() {
            run.say();
        }
        self.leave_line(proxy);
        self.release_inflow(proxy);
        proxy.phase = Phase::Idle;
    }

    /// Gives back the sockets of all tracks.
    pub(super) fn release_inflow(&mut self, proxy: &mut Proxy) {
        let Some(run) = proxy.run() else { return };
        let inflow = std::mem::take(&mut run.inflow);
        let ports = run.ports.take();
        run.tracks.clear();
        for track in &inflow.tracks {
            self.release_way_in(&track.way);
        }
        if let Some((_, pair)) = ports {
            self.release_pair(&pair);
        }
    }

    /// Brings a proxy up to date: what its client says, what is to be sent, when to look again.
    fn tend(&mut self, key: ProxyKey, proxy: &mut Proxy) {
        if proxy.talkback.is_some() {
            return self.tend_talkback(key, proxy);
        }
        self.begin_or_leave(proxy);
        while let Some(event) = proxy.run().and_then(|run| run.client.poll_event()) {
            self.handle_said(key, proxy, event);
        }
        self.check_silence(key, proxy);
        let due = self.look_at_inflow(proxy);
        if let Some(run) = proxy.run() {
            run.say();
        }
        self.flush_line(proxy);
        proxy.offer.serve();
        self.schedule(key, proxy, due);
    }

    fn begin_or_leave(&mut self, proxy: &mut Proxy) {
        let now = self.now;
        let is_wanted = proxy.is_wanted();
        match &mut proxy.phase {
            Phase::Idle if is_wanted && self.stop.is_none() => self.begin_run(proxy),
            Phase::Waiting(at) if *at <= now => {
                proxy.phase = Phase::Idle;
                match is_wanted && self.stop.is_none() {
                    true => self.begin_run(proxy),
                    false => proxy.end_stream("nobody watches"),
                }
            }
            Phase::Running(run) if !is_wanted && !run.is_leaving => {
                run.is_leaving = true;
                let must_wait = run.client.teardown(now);
                tracing::info!(path = %proxy.spec.path, "source left: nobody watches");
                proxy.end_stream("nobody watches");
                self.tell_if_other(proxy, Err("nobody watches"));
                if !must_wait {
                    self.close_run(proxy);
                }
            }
            Phase::Idle | Phase::Waiting(_) | Phase::Running(_) => {}
        }
    }

    fn begin_run(&mut self, proxy: &mut Proxy) {
        let seed = self.ports.random.random();
        let client = Puller::new(self.now, &proxy.spec, proxy.transfer, seed);
        proxy.phase = Phase::Running(Box::new(Run::new(client)));
    }

    /// Passes on what is due of the tracks, and reports on them.
    fn look_at_inflow(&mut self, proxy: &mut Proxy) -> Due {
        let now = self.now;
        let (Phase::Running(run), Some(relay)) = (&mut proxy.phase, proxy.offer.relay()) else {
            return Due::default();
        };
        let Run { inflow, numbers, line, has_begun: true, .. } = &mut **run else { return Due::default() };
        let before = *numbers;
        let mut due = inflow.look(now, relay, numbers);
        self.counted.took(before, *numbers);
        for report in std::mem::take(&mut due.reports) {
            let random = self.ports.random.random();
            match inflow.report(now, report, random, &mut self.heads) {
                Some(Report::Frame(bytes)) if line.waiting() < WAITING_MAX => line.push(bytes),
                Some(Report::Frame(_)) => {}
                Some(Report::Datagram { udp, to, bytes }) => {
                    self.ports.driver.submit(Op::datagram(udp, to, bytes));
                }
                None => {}
            }
        }
        due.wake = due.wake.into_iter().chain(inflow.report_at()).min();
        due
    }

    pub(super) fn schedule(&mut self, key: ProxyKey, proxy: &mut Proxy, due: Due) {
        let at = match &proxy.phase {
            Phase::Idle => return,
            Phase::Waiting(at) => Some(*at),
            Phase::Running(run) => {
                let silence = run.silence_at(self.settings.udp_to_tcp);
                [run.client.poll_timeout(), silence, due.wake].into_iter().flatten().min()
            }
        };
        let soon = self.now + Duration::from_millis(1);
        if let Some(at) = at.map(|at| at.max(soon))
            && proxy.wake_at.is_none_or(|scheduled| at < scheduled)
        {
            proxy.wake_at = Some(at);
            self.set_alarm(at, Alarm::Proxy(key));
        }
    }
}

impl Proxy {
    /// Ends the stream: its viewers are told.
    pub(super) fn end_stream(&mut self, reason: &str) {
        if let Some(mut relay) = self.offer.take() {
            relay.end(&format!(
                "{reason}{}",
                self.failure.as_ref().map_or(String::new(), |why| format!(" ({why})"))
            ));
        }
        self.lost_at = None;
    }

    /// Why nobody can be answered yet.
    fn what_is_missing(&mut self) -> &'static str {
        match self.run() {
            Some(run) if run.heard.is_some() => "the source has not sent yet what is needed to describe it",
            Some(run) if run.plays_since.is_some() => "the source plays and sends nothing",
            _ => "the source does not answer",
        }
    }
}
