//! PLAY: the tracks that are set up, all together.

use std::time::Duration;

use super::describe::Progress;
use super::event::{Event, Start};
use super::machine::{Client, State};
use super::request::Step;
use crate::rtsp::headers::range::Range;
use crate::rtsp::headers::rtp_info::RtpInfo;
use crate::rtsp::message::{Method, Request, Response};

impl Client {
    /// A live presentation is asked for without a range: some servers refuse one that begins at zero.
    pub(super) fn play(&mut self) {
        let all = (!self.presentation.is_live).then(|| Range::npt(Duration::ZERO, None));
        let mut request = Request::new(Method::Play, self.presentation.aggregate.clone());
        if let Some(range) = self.config.range.or(all) {
            request = request.header("Range", range.to_string());
        }
        self.ask(Step::Play, self.with_tag(request));
    }

    pub(super) fn handle_play(&mut self, response: &Response) {
        if !response.status.is_success() {
            return self.refused(Method::Play, response.status);
        }
        self.state = State::Playing;
        let range = response.headers.get("Range").and_then(|range| Range::parse(range).ok());
        let infos: Vec<RtpInfo> =
            response.headers.get_all("RTP-Info").flat_map(RtpInfo::parse_list).take(INFOS_MAX).collect();
        let starts = self.starts(&infos);
        self.emit(Event::Playing { range, starts });
    }

    /// Which entry is which track's: by the URL, by its path, by its end, and at last by their order.
    fn starts(&self, infos: &[RtpInfo]) -> Vec<Start> {
        let ready = self.presentation.tracks.iter();
        let ready: Vec<_> = ready.filter(|track| matches!(track.progress, Progress::Ready(_))).collect();
        let find = |url: &str| {
            let exact = infos.iter().find(|info| info.url == url);
            let same_path = || infos.iter().find(|info| path(&info.url) == path(url));
            let same_end = || infos.iter().find(|info| is_end(url, &info.url));
            exact.or_else(same_path).or_else(same_end)
        };
        let mut found: Vec<_> = ready.iter().map(|track| find(&track.url)).collect();
        if found.iter().all(Option::is_none) && infos.len() == ready.len() {
            found = infos.iter().map(Some).collect();
        }
        let starts = ready.iter().zip(found);
        starts
            .filter_map(|(track, info)| {
                info.map(|info| Start { media: track.media, seq: info.seq, rtptime: info.rtptime })
            })
            .collect()
    }
}

/// What follows the host, without slashes around it.
fn path(url: &str) -> &str {
    let rest =
        url.split_once("://").map_or(url, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    rest.trim_matches('/')
}

/// Whether a URL ends with that relative one.
fn is_end(url: &str, end: &str) -> bool {
    let end = end.trim_matches('/');
    !end.is_empty() && url.strip_suffix(end).is_some_and(|start| start.ends_with('/'))
}

/// As many as a description can have tracks.
const INFOS_MAX: usize = crate::sdp::MEDIA_MAX;
