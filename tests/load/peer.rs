//! The same scenarios against another server: GStreamer's, as the suite starts it.

use super::{Report, program};
use crate::corpus::Recipe;
use crate::upstream::gstreamer::GstServer;

#[test]
fn gstreamers_server_is_measured_by_every_scenario() {
    program();
    let (server, rtp) = GstServer::measured(Recipe::named("h264_aac.mp4"));
    let (file, live, record) = (server.url("", "/file"), server.url("", "/live"), server.url("", "/record"));
    let report = Report::of(&["publish", "--url", &record, "--duration", "1"]);
    assert_eq!(report.number("to_the_end"), 1.0);
    let report =
        Report::of(&["fanout", "--url", &live, "--rtp", &rtp, "--viewers", "2", "--duration", "1.5"]);
    assert_eq!((report.number("played"), report.number("silent")), (2.0, 0.0));
    let two = ["--url", &file, "--viewers", "2", "--duration", "1"];
    for scenario in [
        &["play"][..],
        &["play", "--transport", "udp"],
        &["files", "--spread", "0.2"],
        &["stall", "--stalled", "1"],
    ] {
        let report = Report::of(&[scenario, &two[..]].concat());
        assert_eq!((report.number("played"), report.number("silent")), (2.0, 0.0), "{scenario:?}");
    }
    let report = Report::of(&[&["idle"], &two[..]].concat());
    assert_eq!((report.number("played"), report.number("packets")), (2.0, 0.0));
    let report = Report::of(&[&["churn"], &two[..]].concat());
    assert!(report.number("sessions") >= 1.0);
}
