//! Runtimes, each used in the cheapest way its own socket types allow.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use ringcaster_benches::compare::{Maker, Variant};
use ringcaster_benches::frame::{Frame, SEGMENT};
use ringcaster_benches::sinks::{TcpSinks, UdpSinks};

use crate::loops::{accept, udp};

pub const UDP: &[Maker<UdpSinks>] = &[
    Maker { name: "tokio+gso", make: |sinks| Ok(Box::new(TokioUdp::new(sinks)?)) },
    Maker { name: "tokio-uring+gso", make: |sinks| Ok(Box::new(TokioUringUdp::new(sinks)?)) },
    Maker { name: "glommio+gso", make: |sinks| Ok(Box::new(GlommioUdp::new(sinks)?)) },
];

pub const TCP: &[Maker<TcpSinks>] = &[
    Maker { name: "tokio", make: |sinks| Ok(Box::new(TokioTcp::new(sinks)?)) },
    Maker { name: "tokio-uring", make: |sinks| Ok(Box::new(TokioUringTcp::new(sinks)?)) },
    Maker { name: "glommio", make: |sinks| Ok(Box::new(GlommioTcp::new(sinks)?)) },
];

/// A UDP socket on which every send is a train of the frame's segments: for runtimes that pass no control message.
fn segmenting() -> io::Result<UdpSocket> {
    let socket = udp()?;
    bare::sys::set(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, i32::from(SEGMENT))?;
    Ok(socket)
}

fn whole(sent: usize, size: usize) -> io::Result<()> {
    if sent == size { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Runs futures side by side until all are done.
async fn all<F: Future<Output = io::Result<()>>>(futures: Vec<F>) -> io::Result<()> {
    let mut waiting: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    poll_fn(move |cx: &mut Context| {
        let mut failed = None;
        waiting.retain_mut(|future| match future.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(result) => {
                failed = failed.take().or(result.err());
                false
            }
        });
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if waiting.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    })
    .await
}

/// Operations under way at once, where they are collected before the kernel sees them.
const OPERATIONS_AT_ONCE: usize = 256;

struct TokioUdp {
    runtime: tokio::runtime::Runtime,
    socket: tokio::net::UdpSocket,
    viewers: Vec<SocketAddr>,
}

impl TokioUdp {
    fn new(sinks: &UdpSinks) -> io::Result<TokioUdp> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let socket = {
            let _context = runtime.enter();
            tokio::net::UdpSocket::from_std(segmenting()?)?
        };
        Ok(TokioUdp { runtime, socket, viewers: sinks.addresses().to_vec() })
    }
}

impl Variant for TokioUdp {
    fn name(&self) -> &'static str {
        "tokio+gso"
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.runtime.block_on(async {
            for viewer in &self.viewers {
                whole(self.socket.send_to(frame.rtp(), viewer).await?, frame.rtp().len())?;
            }
            Ok(())
        })
    }
}

struct TokioTcp {
    runtime: tokio::runtime::Runtime,
    streams: Vec<tokio::net::TcpStream>,
}

impl TokioTcp {
    fn new(sinks: &TcpSinks) -> io::Result<TokioTcp> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let streams = {
            let _context = runtime.enter();
            let register = |stream: std::net::TcpStream| {
                stream.set_nonblocking(true)?;
                tokio::net::TcpStream::from_std(stream)
            };
            accept(sinks)?.into_iter().map(register).collect::<io::Result<_>>()?
        };
        Ok(TokioTcp { runtime, streams })
    }
}

impl Variant for TokioTcp {
    fn name(&self) -> &'static str {
        "tokio"
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        use tokio::io::AsyncWriteExt;
        self.runtime.block_on(async {
            for stream in &mut self.streams {
                stream.write_all(frame.interleaved()).await?;
            }
            Ok(())
        })
    }
}

fn tokio_uring_runtime() -> io::Result<tokio_uring::Runtime> {
    let mut builder = tokio_uring::builder();
    builder.entries(2048);
    tokio_uring::Runtime::new(&builder)
}

/// Bytes that an operation of tokio-uring can own.
struct Shared(Bytes);

// SAFETY: the bytes lie on the heap and stay where they are while they are owned.
unsafe impl tokio_uring::buf::IoBuf for Shared {
    fn stable_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.0.len()
    }

    fn bytes_total(&self) -> usize {
        self.0.len()
    }
}

struct TokioUringUdp {
    socket: Rc<tokio_uring::net::UdpSocket>,
    viewers: Vec<SocketAddr>,
    runtime: tokio_uring::Runtime,
}

impl TokioUringUdp {
    fn new(sinks: &UdpSinks) -> io::Result<TokioUringUdp> {
        let runtime = tokio_uring_runtime()?;
        let socket = segmenting()?;
        socket.set_nonblocking(false)?;
        let socket = runtime.block_on(async { tokio_uring::net::UdpSocket::from_std(socket) });
        Ok(TokioUringUdp { socket: Rc::new(socket), viewers: sinks.addresses().to_vec(), runtime })
    }
}

impl Variant for TokioUringUdp {
    fn name(&self) -> &'static str {
        "tokio-uring+gso"
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.runtime.block_on(async {
            for viewers in self.viewers.chunks(OPERATIONS_AT_ONCE) {
                let send = |viewer: &SocketAddr| {
                    let (socket, bytes, to) = (self.socket.clone(), Shared(frame.rtp().clone()), *viewer);
                    async move {
                        let size = bytes.0.len();
                        whole(socket.send_to(bytes, to).await.0?, size)
                    }
                };
                all(viewers.iter().map(send).collect()).await?;
            }
            Ok(())
        })
    }
}

struct TokioUringTcp {
    streams: Vec<Rc<tokio_uring::net::TcpStream>>,
    runtime: tokio_uring::Runtime,
}

impl TokioUringTcp {
    fn new(sinks: &TcpSinks) -> io::Result<TokioUringTcp> {
        let runtime = tokio_uring_runtime()?;
        let streams = accept(sinks)?;
        let streams = runtime.block_on(async {
            let streams = streams.into_iter().map(tokio_uring::net::TcpStream::from_std);
            streams.map(Rc::new).collect()
        });
        Ok(TokioUringTcp { streams, runtime })
    }
}

impl Variant for TokioUringTcp {
    fn name(&self) -> &'static str {
        "tokio-uring"
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.runtime.block_on(async {
            for streams in self.streams.chunks(OPERATIONS_AT_ONCE) {
                let send = |stream: &Rc<tokio_uring::net::TcpStream>| {
                    let (stream, bytes) = (stream.clone(), Shared(frame.interleaved().clone()));
                    async move { stream.write_all(bytes).await.0 }
                };
                all(streams.iter().map(send).collect()).await?;
            }
            Ok(())
        })
    }
}

fn glommio_executor() -> io::Result<glommio::LocalExecutor> {
    let builder = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound);
    builder.io_memory(1 << 20).make().map_err(|error| io::Error::other(error.to_string()))
}

struct GlommioUdp {
    socket: glommio::net::UdpSocket,
    viewers: Vec<SocketAddr>,
    executor: glommio::LocalExecutor,
}

impl GlommioUdp {
    fn new(sinks: &UdpSinks) -> io::Result<GlommioUdp> {
        let executor = glommio_executor()?;
        let socket = executor.run(async {
            let fd = segmenting()?.into_raw_fd();
            // SAFETY: the descriptor was given up just before and has no other owner.
            Ok::<_, io::Error>(unsafe { glommio::net::UdpSocket::from_raw_fd(fd) })
        })?;
        Ok(GlommioUdp { socket, viewers: sinks.addresses().to_vec(), executor })
    }
}

impl Variant for GlommioUdp {
    fn name(&self) -> &'static str {
        "glommio+gso"
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.executor.run(async {
            for viewer in &self.viewers {
                let sent = self.socket.send_to(frame.rtp(), viewer).await;
                whole(sent.map_err(|error| io::Error::other(error.to_string()))?, frame.rtp().len())?;
            }
            Ok(())
        })
    }
}

struct GlommioTcp {
    streams: Vec<glommio::net::TcpStream>,
    executor: glommio::LocalExecutor,
}

impl GlommioTcp {
    fn new(sinks: &TcpSinks) -> io::Result<GlommioTcp> {
        let executor = glommio_executor()?;
        let streams = accept(sinks)?;
        let streams = executor.run(async {
            let take = |stream: std::net::TcpStream| {
                let fd = stream.into_raw_fd();
                // SAFETY: the descriptor was given up just before and has no other owner.
                unsafe { glommio::net::TcpStream::from_raw_fd(fd) }
            };
            streams.into_iter().map(take).collect()
        });
        Ok(GlommioTcp { streams, executor })
    }
}

impl Variant for GlommioTcp {
    fn name(&self) -> &'static str {
        "glommio"
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.executor.run(async {
            for stream in &mut self.streams {
                write_all(stream, frame.interleaved()).await?;
            }
            Ok(())
        })
    }
}

async fn write_all(stream: &mut glommio::net::TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    use futures_io::AsyncWrite;
    while !bytes.is_empty() {
        let written = poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes)).await?;
        bytes = &bytes[written..];
    }
    Ok(())
}
