//! A packet that owns its bytes.

use std::ptr::NonNull;
use std::slice;

use bytes::Bytes;
use ffmpeg_next::codec::packet::Ref;
use ffmpeg_next::ffi;

/// One packet of a stream; freed when dropped.
pub struct Packet(NonNull<ffi::AVPacket>);

// SAFETY: a packet's buffer is reference-counted atomically and is written by nobody after the demuxer handed it
// out, so that its last owner may drop it on any thread.
unsafe impl Send for Packet {}

impl Packet {
    /// An empty packet; None when memory is short.
    pub(super) fn new() -> Option<Packet> {
        // SAFETY: the function has no preconditions.
        NonNull::new(unsafe { ffi::av_packet_alloc() }).map(Packet)
    }

    pub(super) fn as_ptr(&mut self) -> *mut ffi::AVPacket {
        self.0.as_ptr()
    }

    fn get(&self) -> &ffi::AVPacket {
        // SAFETY: the pointer came from av_packet_alloc and is freed only by Drop.
        unsafe { self.0.as_ref() }
    }

    /// Index of its stream.
    pub fn stream(&self) -> usize {
        self.get().stream_index as usize
    }

    /// Presentation time in the stream's time base.
    pub fn pts(&self) -> Option<i64> {
        known(self.get().pts)
    }

    /// Decoding time in the stream's time base.
    pub fn dts(&self) -> Option<i64> {
        known(self.get().dts)
    }

    /// Duration in the stream's time base; zero when unknown.
    pub fn duration(&self) -> i64 {
        self.get().duration.max(0)
    }

    /// Whether decoding can begin here.
    pub fn is_key(&self) -> bool {
        self.get().flags & ffi::AV_PKT_FLAG_KEY != 0
    }

    /// Whether the demuxer knows that something is missing in it.
    pub fn is_corrupt(&self) -> bool {
        self.get().flags & ffi::AV_PKT_FLAG_CORRUPT != 0
    }

    /// Where it begins in the file.
    pub fn byte(&self) -> Option<u64> {
        u64::try_from(self.get().pos).ok()
    }

    /// Its bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

/// For decoders, which read it alone.
impl Ref for Packet {
    fn as_ptr(&self) -> *const ffi::AVPacket {
        self.0.as_ptr()
    }
}

impl AsRef<[u8]> for Packet {
    fn as_ref(&self) -> &[u8] {
        let packet = self.get();
        if packet.data.is_null() || packet.size <= 0 {
            return &[];
        }
        // SAFETY: FFmpeg keeps `size` initialized bytes at `data` as long as the packet holds its reference.
        unsafe { slice::from_raw_parts(packet.data, packet.size as usize) }
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        let mut packet = self.0.as_ptr();
        // SAFETY: the pointer came from av_packet_alloc and is not used again.
        unsafe { ffi::av_packet_free(&mut packet) };
    }
}

pub(super) fn known(time: i64) -> Option<i64> {
    (time != ffi::AV_NOPTS_VALUE).then_some(time)
}
