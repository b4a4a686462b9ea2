//! The command line as it is typed, and what it means.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use loadtest::plan::{Act, Plan, Transport, Way};
use loadtest::process;
use loadtest::publisher::{Publishing, To};
use loadtest::sink::Depth;
use loadtest::source::Content;

/// Who watches.
#[derive(Args, Clone)]
pub(crate) struct Viewers {
    /// What to play, such as rtsp://127.0.0.1:8554/test; several are taken in turn.
    #[arg(long = "url", required = true)]
    pub(crate) urls: Vec<String>,
    /// Count of viewers.
    #[arg(long, default_value_t = 1)]
    pub(crate) viewers: usize,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// How it is watched and measured.
#[derive(Args, Clone)]
pub(crate) struct Common {
    /// How packets come.
    #[arg(long, value_enum, default_value = "tcp")]
    pub(crate) transport: Transport,
    /// Seconds that are measured, after the ramp.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) duration: f64,
    /// Seconds over which the viewers connect.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) ramp: f64,
    /// Receive buffer of each media socket in bytes.
    #[arg(long, default_value_t = 4 << 20)]
    receive_buffer: usize,
    /// How much of merged datagrams is copied.
    #[arg(long, value_enum, default_value = "heads")]
    depth: Depth,
    /// Process of the server, on this machine: adds what it used.
    #[arg(long)]
    pub(crate) server_pid: Option<u32>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What is measured beside the server.
#[derive(Args, Clone, Copy)]
pub(crate) struct Beside {
    /// Plays from the bare send loops as well, for as long: how many times their processor time the server needed.
    #[arg(long, requires = "server_pid")]
    pub(crate) limit: bool,
}

/// Who does not watch as it should.
#[derive(Args, Clone)]
pub(crate) struct Misbehaving {
    /// Viewers that stop reading once all are there; over a connection only.
    #[arg(long, default_value_t = 0)]
    stalled: usize,
    /// Viewers that read at a tenth of the rate from then on; over a connection only.
    #[arg(long, default_value_t = 0)]
    slow: usize,
    /// Viewers that come all at once in the middle of the measured time: how long each is set up, and what the others
    /// notice of it.
    #[arg(long, default_value_t = 0)]
    burst: usize,
}

/// What becomes of the report.
#[derive(Args, Clone)]
pub(crate) struct Output {
    /// What is measured, for the report.
    #[arg(long, default_value = "")]
    pub(crate) label: String,
    /// Prints JSON in place of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Writes JSON to a file as well.
    #[arg(long)]
    pub(crate) save: Option<PathBuf>,
}

/// What is published.
#[derive(Args, Clone)]
pub(crate) struct Stream {
    /// H.264 with start codes, played in a circle, in place of pictures that are made.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Bits a second of made pictures, keyframes excepted.
    #[arg(long, default_value_t = 4e6)]
    bitrate: f64,
    /// Pictures a second.
    #[arg(long, default_value_t = 30.0)]
    fps: f64,
    /// Seconds from keyframe to keyframe of made pictures.
    #[arg(long, default_value_t = 2.0)]
    gop: f64,
}

/// A number of seconds on the command line.
pub(crate) fn seconds(name: &str, value: f64) -> Result<Duration, String> {
    let time = Duration::try_from_secs_f64(value).ok().filter(|time| *time <= TIME_MAX);
    time.ok_or_else(|| format!("--{name} {value}: not a time in seconds, a year at most"))
}

impl Misbehaving {
    pub(crate) fn among(&self, plan: Plan) -> Result<Plan, String> {
        let Misbehaving { stalled, slow, burst } = *self;
        let all = stalled.saturating_add(slow).saturating_add(burst);
        if all > 0 && all >= plan.viewers {
            let viewers = plan.viewers;
            return Err(format!(
                "--stalled {stalled} --slow {slow} --burst {burst}: fewer than the {viewers} viewers"
            ));
        }
        let first = (0..plan.viewers.min(2)).map(|number| plan.transport.way_of(number));
        if stalled + slow > 0 && first.into_iter().any(|way| way != Way::Interleaved) {
            let name = plan.transport.name();
            return Err(format!(
                "--transport {name}: who gets datagrams cannot stall; --stalled and --slow need a connection"
            ));
        }
        Ok(Plan { stalled, slow, burst, ..plan })
    }
}

impl Viewers {
    pub(crate) fn plan(&self, act: Act) -> Result<Plan, String> {
        self.common.plan(self.urls.clone(), self.viewers, act)
    }
}

impl Common {
    pub(crate) fn plan(&self, urls: Vec<String>, viewers: usize, act: Act) -> Result<Plan, String> {
        if viewers == 0 {
            return Err("at least one viewer is needed".into());
        }
        if let Some(pid) = self.server_pid.filter(|pid| !process::exists(*pid)) {
            return Err(format!("--server-pid {pid}: there is no such process"));
        }
        Ok(Plan {
            urls,
            viewers,
            act,
            transport: self.transport,
            ramp: seconds("ramp", self.ramp)?,
            duration: seconds("duration", self.duration)?,
            stalled: 0,
            slow: 0,
            burst: 0,
            receive_buffer: self.receive_buffer,
            spread_s: None,
            depth: self.depth,
        })
    }
}

impl Stream {
    pub(crate) fn content(&self) -> Result<Content, String> {
        let Stream { file, bitrate, fps, gop } = self;
        for (name, value) in [("bitrate", bitrate), ("fps", fps), ("gop", gop)] {
            if !(1e-3..=1e12).contains(value) {
                return Err(format!("--{name} {value}: from 0.001 to 1e12"));
            }
        }
        Ok(Content { bits_per_s: *bitrate, pictures_per_s: *fps, group_s: *gop, file: file.clone() })
    }
}

/// The same as arguments.
pub(crate) fn arguments(content: &Content) -> Vec<OsString> {
    let Content { bits_per_s, pictures_per_s, group_s, file } = content;
    let numbers = [("--bitrate", bits_per_s), ("--fps", pictures_per_s), ("--gop", group_s)];
    let numbers = numbers.into_iter().flat_map(|(name, value)| [name.into(), value.to_string().into()]);
    let file = file.iter().flat_map(|file| ["--file".into(), file.clone().into_os_string()]);
    numbers.chain(file).collect()
}

/// Publishers that send as long as `plan` measures, and stay until its viewers have left.
pub(crate) fn publishing(
    plan: &Plan,
    urls: Vec<String>,
    rtp: Option<SocketAddr>,
    transport: Transport,
    content: Content,
) -> Result<Publishing, String> {
    if transport == Transport::Multicast {
        return Err("multicast: publishers do not send to groups".into());
    }
    let to = match rtp {
        Some(address) => vec![To::Rtp(address)],
        None => urls.into_iter().map(To::Rtsp).collect(),
    };
    // Viewers begin a moment after the first picture and leave a moment after the last.
    let linger = plan.leave() - plan.end() + Duration::from_secs(1);
    Ok(Publishing { to, transport, content, duration: plan.end(), linger })
}

/// No run takes longer.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
