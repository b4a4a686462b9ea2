//! `stats`: what has been done since the start, and what there is now.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::Refusals;
use super::problem::Problem;
use super::process;
use super::state::App;
use crate::shard::steering::{Question, Totals};

/// The whole server.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Stats {
    /// Version of the program.
    version: &'static str,
    /// What does the sockets: `io_uring` or `tokio`.
    backend: &'static str,
    /// Seconds since the start.
    uptime_s: f64,
    /// Processor time in seconds; null where the system does not tell.
    cpu_s: Option<f64>,
    /// Bytes of memory; null where the system does not tell.
    memory_bytes: Option<u64>,
    /// Connections that ask for the API.
    api_connections: usize,
    /// Of all shards together.
    all: ShardStats,
    /// Of each shard.
    shards: Vec<ShardStats>,
}

/// What shards have counted since the start, and what they hold.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(super) struct ShardStats {
    /// Connections that there are.
    connections: usize,
    /// Sessions that there are.
    sessions: usize,
    /// Connections that were let in.
    connections_accepted: u64,
    /// Clients that were turned away: banned, denied, or beyond a bound.
    refused: u64,
    /// Wrong passwords.
    log_ins_failed: u64,
    /// Sessions that began.
    sessions_begun: u64,
    /// Sessions that ended.
    sessions_ended: u64,
    /// Bytes of media that were sent.
    bytes_sent: u64,
    /// Bytes of media that publishers, proxies and pushers have brought.
    bytes_received: u64,
    /// Packets of publishers, proxies and pushers that have not come, by the gaps in their numbers.
    inbound_packets_lost: u64,
    /// Packets that viewers have reported as lost.
    packets_lost: u64,
    /// Pictures and pieces of sound that were left out for viewers who were too slow.
    frames_shed: u64,
}

/// Tells what the server has done and holds.
#[utoipa::path(get, path = "/api/v1/stats", operation_id = "get_stats", tag = "stats", responses(
    (status = 200, description = "The numbers", body = Stats), Refusals))]
pub(super) async fn stats(State(app): State<Arc<App>>) -> Result<Json<Stats>, Problem> {
    let shards: Vec<_> = app.ask_all(Question::Totals).await?.into_iter().map(ShardStats::from).collect();
    let mut all = shards.iter().fold(ShardStats::default(), ShardStats::with);
    all.log_ins_failed += app.log_ins_failed.load(Ordering::Relaxed);
    Ok(Json(Stats {
        version: env!("CARGO_PKG_VERSION"),
        backend: app.program()?.backend,
        uptime_s: app.uptime().as_millis() as f64 / 1e3,
        cpu_s: process::cpu_time().map(|time| time.as_millis() as f64 / 1e3),
        memory_bytes: process::memory_bytes(),
        api_connections: app.connection_count(),
        all,
        shards,
    }))
}

impl ShardStats {
    fn with(self, other: &ShardStats) -> ShardStats {
        ShardStats {
            connections: self.connections + other.connections,
            sessions: self.sessions + other.sessions,
            connections_accepted: self.connections_accepted + other.connections_accepted,
            refused: self.refused + other.refused,
            log_ins_failed: self.log_ins_failed + other.log_ins_failed,
            sessions_begun: self.sessions_begun + other.sessions_begun,
            sessions_ended: self.sessions_ended + other.sessions_ended,
            bytes_sent: self.bytes_sent + other.bytes_sent,
            bytes_received: self.bytes_received + other.bytes_received,
            inbound_packets_lost: self.inbound_packets_lost + other.inbound_packets_lost,
            packets_lost: self.packets_lost + other.packets_lost,
            frames_shed: self.frames_shed + other.frames_shed,
        }
    }
}

impl From<Totals> for ShardStats {
    fn from(totals: Totals) -> ShardStats {
        ShardStats {
            connections: totals.connections,
            sessions: totals.sessions,
            connections_accepted: totals.connections_accepted,
            refused: totals.refused,
            log_ins_failed: totals.log_ins_failed,
            sessions_begun: totals.sessions_begun,
            sessions_ended: totals.sessions_ended,
            bytes_sent: totals.bytes_sent,
            bytes_received: totals.bytes_received,
            inbound_packets_lost: totals.packets_missing,
            packets_lost: totals.packets_lost,
            frames_shed: totals.batches_shed,
        }
    }
}
