//! A tap between a player and the server: what the player really asks for, what it is answered, and which packets
//! come in between.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::rtp::Packet;
use crate::client::{Message, Response, parse};
use crate::judge::Verdict;
use crate::playing::rtp_info;

/// A relay of RTSP connections that keeps what passes.
pub(crate) struct Wiretap {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    stop: Arc<AtomicBool>,
}

/// What has passed, in this order.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// From the player.
    Request(Request),
    /// From the server.
    Answer(Response),
    /// RTP from the server, on its channel.
    Packet(u8, Packet),
}

/// A request of a player.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    head: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The begin of its `Range`, in seconds.
    pub(crate) fn start(&self) -> Option<f64> {
        self.header("Range")?.strip_prefix("npt=")?.split('-').next()?.parse().ok()
    }
}

impl Wiretap {
    /// Listens on a port of its own and relays to `server`.
    pub(crate) fn before(server: SocketAddr) -> Wiretap {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (keep, end) = (heard.clone(), stop.clone());
        thread::spawn(move || {
            for player in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let server = TcpStream::connect(server).expect("the server accepts");
                for stream in [&player, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                let (from_player, to_player) = (player.try_clone().unwrap(), player);
                let (from_server, to_server) = (server.try_clone().unwrap(), server);
                let (mine, other) = (keep.clone(), keep.clone());
                thread::spawn(move || relay(from_player, to_server, &mine));
                thread::spawn(move || relay(from_server, to_player, &other));
            }
        });
        Wiretap { address, heard, stop }
    }

    /// The URL of a path that leads through the tap.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("rtsp://{}{path}", self.address)
    }

    /// Everything that has passed.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Requests of a method that were met, with their answers, in order.
    pub(crate) fn met(&self, method: &str) -> Vec<(Request, Response)> {
        let mut asked: HashMap<String, Request> = HashMap::new();
        let mut met = Vec::new();
        for heard in self.heard() {
            match heard {
                Heard::Request(request) => {
                    let cseq = request.header("CSeq").expect("players number requests").to_owned();
                    asked.insert(cseq, request);
                }
                Heard::Answer(answer) if answer.status == 200 => {
                    let cseq = answer.header("CSeq").expect("the server repeats numbers");
                    let request = asked.remove(cseq).expect("an answer has a request");
                    if request.method == method {
                        met.push((request, answer));
                    }
                }
                _ => {}
            }
        }
        met
    }

    /// The methods of all requests but signs of life, in order.
    pub(crate) fn methods(&self) -> Vec<String> {
        let requests = self.heard().into_iter().filter_map(|heard| match heard {
            Heard::Request(request) => Some(request.method),
            _ => None,
        });
        requests.filter(|method| method != "GET_PARAMETER" && method != "OPTIONS").collect()
    }

    /// The same up to TEARDOWN. FFmpeg does not wait for its answer: it may have ended when that is still on its way.
    pub(crate) fn methods_to_teardown(&self) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && !self.methods().iter().any(|method| method == "TEARDOWN") {
            thread::sleep(Duration::from_millis(5));
        }
        self.methods()
    }

    /// Checks packets between requests, over TCP: sequence numbers of every track have no gap, timestamps no break, and
    /// the `RTP-Info` of each PLAY names the packet that follows it.
    pub(crate) fn check_packets(&self, clock_rates: &[u32]) -> Verdict {
        let mut last: HashMap<u8, Packet> = HashMap::new();
        let mut announced: HashMap<u8, u16> = HashMap::new();
        for heard in self.heard() {
            match heard {
                Heard::Answer(answer) if answer.status == 200 && answer.header("RTP-Info").is_some() => {
                    for (track, info) in rtp_info(&answer).into_iter().enumerate() {
                        announced.insert(2 * track as u8, info.1.ok_or("RTP-Info without seq")?);
                    }
                }
                Heard::Packet(channel, packet) => {
                    let found = packet.sequence;
                    if let Some(wanted) = announced.remove(&channel)
                        && wanted != found
                    {
                        return Err(format!("RTP-Info of channel {channel} tells {wanted}, {found} comes"));
                    }
                    if let Some(before) = last.get(&channel) {
                        let rate = clock_rates[usize::from(channel / 2)];
                        follows(before, &packet, rate)
                            .map_err(|problem| format!("channel {channel}: {problem}"))?;
                    }
                    last.insert(channel, packet);
                }
                _ => {}
            }
        }
        if last.len() == clock_rates.len() { Ok(()) } else { Err(format!("{} tracks came", last.len())) }
    }

    /// Checks that no packet comes between the answer to a PAUSE and the next PLAY, over TCP.
    pub(crate) fn check_silence_while_paused(&self) -> Verdict {
        let mut asked = HashMap::new();
        let mut is_paused = false;
        for heard in self.heard() {
            match heard {
                Heard::Request(request) => {
                    is_paused &= request.method != "PLAY";
                    asked.insert(request.header("CSeq").map(str::to_owned), request.method);
                }
                Heard::Answer(answer) => {
                    let method = asked.get(&answer.header("CSeq").map(str::to_owned));
                    is_paused |= method.is_some_and(|method| method == "PAUSE") && answer.status == 200;
                }
                Heard::Packet(channel, _) if is_paused => {
                    return Err(format!("a packet on channel {channel} while paused"));
                }
                Heard::Packet(..) => {}
            }
        }
        Ok(())
    }

    /// How far the timestamps of the first track have advanced since the last answer to PLAY, and how long that took;
    /// over TCP, in seconds.
    pub(crate) fn last_stretch(&self, rate: u32) -> (f64, f64) {
        let heard = self.heard();
        let began = heard
            .iter()
            .rposition(|heard| matches!(heard, Heard::Answer(answer) if answer.header("RTP-Info").is_some()));
        let packets: Vec<_> = heard[began.unwrap_or(0)..]
            .iter()
            .filter_map(|heard| if let Heard::Packet(0, packet) = heard { Some(packet) } else { None })
            .collect();
        let (Some(first), Some(last)) = (packets.first(), packets.last()) else { return (0.0, 0.0) };
        let ticks = last.timestamp.wrapping_sub(first.timestamp);
        (f64::from(ticks) / f64::from(rate), (last.at - first.at).as_secs_f64())
    }
}

impl Drop for Wiretap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Whether a packet goes on where another one ended.
fn follows(before: &Packet, packet: &Packet, rate: u32) -> Verdict {
    if packet.sequence != before.sequence.wrapping_add(1) || packet.ssrc != before.ssrc {
        let pair = [(before.ssrc, before.sequence), (packet.ssrc, packet.sequence)];
        return Err(format!("source and sequence number break: {pair:?}"));
    }
    // Pictures come in decoding order; more than half a second is no order but a jump.
    let step = packet.timestamp.wrapping_sub(before.timestamp) as i32;
    if step.unsigned_abs() > rate / 2 {
        return Err(format!("a step of {step} ticks of {rate}"));
    }
    Ok(())
}

fn relay(mut from: TcpStream, mut to: TcpStream, heard: &Mutex<Vec<Heard>>) {
    let mut pending = Vec::new();
    let mut buffer = vec![0; 65_536];
    while let Ok(size @ 1..) = from.read(&mut buffer) {
        pending.extend_from_slice(&buffer[..size]);
        let mut used = 0;
        while let Some((message, size)) = parse(&pending[used..]) {
            used += size;
            keep(message, heard);
        }
        pending.drain(..used);
        // Only behind its record: an answer may come at once.
        if to.write_all(&buffer[..size]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn keep(message: Message, heard: &Mutex<Vec<Heard>>) {
    let heard_now = match message {
        Message::Response(answer) => Heard::Answer(answer),
        Message::Request(head) => {
            let method = head.split(' ').next().unwrap_or_default().to_owned();
            Heard::Request(Request { method, head })
        }
        Message::Frame { channel, data } if channel % 2 == 0 => {
            Heard::Packet(channel, Packet::parse(&data, Instant::now()))
        }
        Message::Frame { .. } | Message::Closed => return,
    };
    heard.lock().unwrap().push(heard_now);
}
