//! What this kernel offers, asked once and by trying.

use std::fmt;
use std::io;

use io_uring::{Probe, opcode};

use super::ring::{Ring, Taskrun};
use super::{UringOptions, socket};

/// What the kernel has of what the driver would use. All else that the driver needs is there, or [`probe`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Completions are prepared only when the thread asks (DEFER_TASKRUN, Linux 6.1). Without it they are prepared at
    /// its next call into the kernel (COOP_TASKRUN).
    pub deferred_taskrun: bool,
    /// Listeners and UDP sockets are registered. Without it they are looked up at every entry.
    pub registered_files: bool,
    /// How trains of datagrams leave.
    pub segments: Segments,
    /// A plain send takes a destination (found from Linux 6.7 on). Without it every datagram has a message header, which
    /// costs 5 % more.
    pub addressed_sends: bool,
    /// Sends can leave pages in place (SEND_ZC, Linux 6.0): over TCP, from 32 kB on.
    pub zero_copy: bool,
    /// A send can take many buffers from a ring (Linux 6.10). The driver uses gather lists instead.
    pub bundles: bool,
    /// Waiting for completions does not count as waiting for a disk (Linux 6.15). Without it, load figures show I/O wait.
    pub honest_wait: bool,
}

/// How trains of datagrams leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segments {
    /// One send a train, cut by the kernel or the device (UDP_SEGMENT, Linux 4.18).
    Kernel,
    /// One send a packet.
    Single,
}

/// Why there is no ring to be had.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// EPERM: by a container's seccomp filter or by the system's setting.
    #[error(
        "io_uring is forbidden here (EPERM): by the sysctl kernel.io_uring_disabled, or by the seccomp filter of the \
         container, which must allow io_uring_setup, io_uring_enter and io_uring_register"
    )]
    Forbidden,
    /// ENOSYS: the kernel is built without it, or a seccomp filter says so.
    #[error(
        "io_uring is absent here (ENOSYS): the kernel is older than Linux 5.1 or built without it, or the seccomp \
         filter of the container hides it"
    )]
    Absent,
    /// The kernel is older than Linux 6.0.
    #[error("this kernel's io_uring lacks {0}; Linux 6.0 has it")]
    Lacks(&'static str),
    /// The ring's memory is above the limit.
    #[error("no memory for a ring (ENOMEM): raise the limit of locked memory (ulimit -l, LimitMEMLOCK)")]
    Memory,
    /// Anything else.
    #[error("io_uring cannot be set up: {0}")]
    System(#[source] io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Refusal::Forbidden,
            Some(libc::ENOSYS) => Refusal::Absent,
            Some(libc::ENOMEM) => Refusal::Memory,
            Some(libc::EINVAL) => Refusal::Lacks("a single issuer or rings of buffers"),
            _ => Refusal::System(error),
        }
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> io::Error {
        let kind = match &refusal {
            Refusal::Forbidden => io::ErrorKind::PermissionDenied,
            Refusal::Absent | Refusal::Lacks(_) => io::ErrorKind::Unsupported,
            Refusal::Memory => io::ErrorKind::OutOfMemory,
            Refusal::System(error) => error.kind(),
        };
        io::Error::new(kind, refusal)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("deferred completions", self.deferred_taskrun, "cooperative ones"),
            ("registered files", self.registered_files, "a look-up an entry"),
            ("UDP trains", self.segments == Segments::Kernel, "a send a packet"),
            ("sends to addresses", self.addressed_sends, "message headers"),
            ("zero-copy sends", self.zero_copy, "copies"),
            ("send bundles", self.bundles, "gather lists"),
            ("honest wait", self.honest_wait, "I/O wait in load figures"),
        ];
        for (name, has, instead) in rows {
            match has {
                true => writeln!(f, "{name}: yes")?,
                false => writeln!(f, "{name}: no, {instead} instead")?,
            }
        }
        Ok(())
    }
}

/// Tries what the driver needs and reports what else there is.
pub fn probe() -> Result<Capabilities, Refusal> {
    let small = UringOptions { entries: 8, completions: 16, ..UringOptions::default() };
    let mut ring = Ring::new(&small)?;
    let mut known = Probe::new();
    ring.ring().submitter().register_probe(&mut known)?;
    // The multishot receive cannot be asked for by number; it came with the zero-copy send.
    let zero_copy = known.is_supported(opcode::SendZc::CODE);
    if !zero_copy {
        return Err(Refusal::Lacks("the multishot receive"));
    }
    super::buffers::Buffers::register(&mut ring, 0, 8, 64)?;
    Ok(Capabilities {
        deferred_taskrun: ring.taskrun() == Taskrun::Deferred,
        registered_files: ring.has_registered_files(),
        segments: if socket::has_segmentation() { Segments::Kernel } else { Segments::Single },
        addressed_sends: ring.sends_to_addresses(),
        zero_copy,
        bundles: ring.ring().params().is_feature_recvsend_bundle(),
        honest_wait: ring.ring().params().is_feature_no_iowait(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has every io_uring_setup of the calling thread fail with `error`, as containers do.
    fn forbid(error: i32) {
        let instruction =
            |code: u32, jump: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: jump, k };
        let filter = [
            // The number of the system call is the first field of what the filter sees.
            instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
            instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, libc::SYS_io_uring_setup as u32),
            instruction(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | error as u32),
            instruction(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
        // SAFETY: no pointers are passed.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
        // SAFETY: the pointer leads to a program, which the kernel copies.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) }, 0);
    }

    #[test]
    fn a_filter_that_forbids_the_ring_is_named() {
        let refusal = |error| {
            let ask = move || {
                forbid(error);
                (probe().unwrap_err(), super::super::UringDriver::new(UringOptions::default()).err())
            };
            std::thread::spawn(ask).join().unwrap()
        };
        let (forbidden, error) = refusal(libc::EPERM);
        assert!(matches!(forbidden, Refusal::Forbidden));
        let text = forbidden.to_string();
        assert!(text.contains("kernel.io_uring_disabled") && text.contains("seccomp"));
        assert_eq!(error.unwrap().to_string(), text);
        let (absent, _) = refusal(libc::ENOSYS);
        assert!(matches!(absent, Refusal::Absent));
        assert!(absent.to_string().contains("seccomp"));
    }
}
