//! One client that comes, takes one packet, goes and comes again.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use proto::rtsp::message::{Method, Request};
use tokio::time::{sleep, timeout};

use crate::connection::{Connection, DialogueError};
use crate::counter::Shared;
use crate::meter::{Live, Tally, record};
use crate::plan::Plan;
use crate::sink::{Datagrams, Depth};
use crate::sockets::Ending;
use crate::viewer;

/// Comes and goes until the end of the plan; what was counted. After some failures in a row it gives up: the rate would
/// be that of failing.
pub async fn run(number: usize, server: SocketAddr, shared: Shared) -> Tally {
    let tally = Rc::new(RefCell::new(Tally::default()));
    Live::count(&shared.live.ready, 1);
    let end = shared.began + shared.plan.end();
    let mut failed_in_a_row = 0;
    while Instant::now() < end && failed_in_a_row < FAILURES_MAX {
        let began = Instant::now();
        if let Err(error) = session(number, server, &shared.plan, &shared, &tally).await {
            failed_in_a_row += 1;
            fail(&mut tally.borrow_mut(), error.to_string(), failed_in_a_row == FAILURES_MAX);
            sleep(FAILURE_PAUSE).await;
            continue;
        }
        failed_in_a_row = 0;
        let now = Instant::now();
        if shared.is_steady(now) {
            record(&mut shared.meter.borrow_mut().sessions, now - began);
        }
        Live::count(&shared.live.sessions, 1);
    }
    tally.take()
}

fn fail(tally: &mut Tally, reason: String, gives_up: bool) {
    *tally.session_failures.entry(reason.clone()).or_default() += 1;
    tally.failure = gives_up.then_some(reason);
}

/// From connect to the answer to TEARDOWN.
async fn session(
    number: usize,
    server: SocketAddr,
    plan: &Plan,
    shared: &Shared,
    tally: &RefCell<Tally>,
) -> Result<(), DialogueError> {
    let began = Instant::now();
    let mut connection = Connection::open(server, plan.transport, 0, Ending::Abrupt).await?;
    let description = connection.describe(plan.url_of(number)).await?;
    // One track: what one costs is what is asked for.
    let track = description.tracks.iter().find(|track| track.is_video).unwrap_or(&description.tracks[0]);
    let way = plan.transport.way_of(number);
    // Whoever comes and goes joins a group and leaves it.
    let ports = viewer::set_up_track(&mut connection, track, 0, way, 0, |_| true).await?;
    let rtp = ports.map(|ports| Datagrams::new(ports.rtp)).transpose()?;
    let asked = Instant::now();
    connection.ask(Request::new(Method::Play, description.control.clone())).await?;
    record(&mut shared.meter.borrow_mut().set_ups, began.elapsed());
    let mut bytes = 0;
    match &rtp {
        Some(rtp) => {
            let first = rtp.receive(|| Depth::Heads, |merged| bytes += merged.size);
            let late = DialogueError::Incomplete("PLAY: no packet came");
            timeout(PACKET_PATIENCE, first).await.map_err(|_| late)??;
        }
        None => {
            let late = DialogueError::Incomplete("PLAY: no packet came");
            bytes = timeout(PACKET_PATIENCE, connection.packet()).await.map_err(|_| late)??.len();
        }
    }
    record(&mut shared.meter.borrow_mut().first_packets, asked.elapsed());
    {
        let mut tally = tally.borrow_mut();
        tally.packets += 1;
        tally.bytes += bytes as u64;
        tally.first_packet.get_or_insert(asked.elapsed());
    }
    connection.ask(Request::new(Method::Teardown, description.control)).await?;
    Ok(())
}

/// How long the first packet may take: a source may have to start.
const PACKET_PATIENCE: Duration = Duration::from_secs(10);

/// Failures in a row behind which a client gives up.
const FAILURES_MAX: u32 = 20;

/// How long a client waits behind a failure.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);
