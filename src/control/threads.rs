//! Where threads run, and which of them come first.

use crate::stream::catalog::ShardIndex;

/// Ties the thread to one of the processors that the program may use; without leave it floats.
pub fn pin(index: ShardIndex) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let Ok(allowed) = sched_getaffinity(None) else { return };
        let processors: Vec<_> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
        if processors.len() < 2 {
            return;
        }
        let mut own = CpuSet::new();
        own.set(processors[usize::from(index) % processors.len()]);
        let _ = sched_setaffinity(None, &own);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = index;
}

/// Lets the calling thread stand back behind the shards: reading ahead may wait.
pub fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 10) {
        tracing::debug!(%error, "media threads keep their priority");
    }
}
