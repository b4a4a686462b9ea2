//! A file as FFmpeg's input: what it reads goes through one descriptor that was opened and checked before.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::slice;

use ffmpeg_next::ffi;

/// Bytes that are read at once where less is asked for. What FFmpeg wants more of, such as most pictures, it has read to
/// where it belongs.
const BUFFER_BYTES: usize = 16 * 1024;

/// Where FFmpeg's callbacks find the file.
struct Source {
    file: File,
    failure: Option<ErrorKind>,
}

/// An `AVIOContext` on a file.
pub(super) struct FileIo {
    context: NonNull<ffi::AVIOContext>,
    source: NonNull<Source>,
}

impl FileIo {
    /// None when memory is short.
    pub(super) fn new(file: File) -> Option<FileIo> {
        // SAFETY: any size may be asked for; null is looked at below.
        let buffer = unsafe { ffi::av_mallocz(BUFFER_BYTES) };
        if buffer.is_null() {
            return None;
        }
        let source = NonNull::from(Box::leak(Box::new(Source { file, failure: None })));
        // SAFETY: the buffer was allocated by FFmpeg with this size and belongs to the context from here on; the
        // callbacks take the pointer to the source, which lives until this value is dropped.
        let context = unsafe {
            ffi::avio_alloc_context(
                buffer.cast(),
                BUFFER_BYTES as c_int,
                0,
                source.as_ptr().cast(),
                Some(read),
                None,
                Some(seek),
            )
        };
        let Some(context) = NonNull::new(context) else {
            // SAFETY: no context took the buffer.
            unsafe { ffi::av_free(buffer) };
            // SAFETY: the pointer came from a box and nobody else has it.
            drop(unsafe { Box::from_raw(source.as_ptr()) });
            return None;
        };
        Some(FileIo { context, source })
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::AVIOContext {
        self.context.as_ptr()
    }

    /// Why the last read failed, if it did.
    pub(super) fn take_failure(&mut self) -> Option<ErrorKind> {
        // SAFETY: the source lives as long as this value, and FFmpeg touches it only during calls that borrow the
        // input, which owns this value, mutably.
        let source = unsafe { self.source.as_mut() };
        source.failure.take()
    }

    /// Whether everything up to the file's end was read and taken.
    pub(super) fn is_at_end(&self) -> bool {
        // SAFETY: the context lives as long as this value.
        let context = unsafe { self.context.as_ref() };
        context.eof_reached != 0 && context.buf_ptr >= context.buf_end
    }
}

impl Drop for FileIo {
    fn drop(&mut self) {
        // SAFETY: the context lives until the next statement but one.
        let context = unsafe { self.context.as_mut() };
        // SAFETY: the field holds the buffer that belongs to the context; it may have grown since.
        unsafe { ffi::av_freep((&raw mut context.buffer).cast()) };
        let mut context = self.context.as_ptr();
        // SAFETY: the context was made by avio_alloc_context and no format context uses it any more, because the
        // input closes its own before it drops this value.
        unsafe { ffi::avio_context_free(&mut context) };
        // SAFETY: the pointer came from a box, and the only other holder was the context.
        drop(unsafe { Box::from_raw(self.source.as_ptr()) });
    }
}

unsafe extern "C" fn read(opaque: *mut c_void, buffer: *mut u8, size: c_int) -> c_int {
    if size <= 0 {
        return ffi::AVERROR_EOF;
    }
    // SAFETY: FFmpeg passes the pointer that `FileIo::new` gave it, one call at a time.
    let source = unsafe { &mut *opaque.cast::<Source>() };
    // SAFETY: FFmpeg's buffer has room for `size` bytes, which may be uninitialized; nobody else uses it during the call.
    let into = unsafe { slice::from_raw_parts_mut(buffer.cast::<MaybeUninit<u8>>(), size as usize) };
    loop {
        match read_into(&source.file, into) {
            Ok(0) => return ffi::AVERROR_EOF,
            Ok(count) => return count as c_int,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                source.failure = Some(error.kind());
                return ffi::AVERROR(ffi::EIO);
            }
        }
    }
}

/// Reads to where bytes may be uninitialized, and touches no more of them than the count that it returns: FFmpeg may still
/// want the others.
#[cfg(unix)]
fn read_into(file: &File, into: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    let (read, _) = rustix::io::read(file, into)?;
    Ok(read.len())
}

#[cfg(not(unix))]
fn read_into(mut file: &File, into: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    use std::io::Read;
    let mut bytes = [0; BUFFER_BYTES];
    let count = file.read(&mut bytes[..into.len().min(BUFFER_BYTES)])?;
    into.iter_mut().zip(&bytes[..count]).for_each(|(to, byte)| _ = to.write(*byte));
    Ok(count)
}

unsafe extern "C" fn seek(opaque: *mut c_void, offset: i64, whence: c_int) -> i64 {
    // SAFETY: FFmpeg passes the pointer that `FileIo::new` gave it, one call at a time.
    let source = unsafe { &mut *opaque.cast::<Source>() };
    // AVSEEK_FORCE may be added to any of them.
    let to = match whence & 0xffff {
        _ if whence & ffi::AVSEEK_SIZE != 0 => {
            let size = source.file.metadata().map(|metadata| metadata.len() as i64);
            return size.unwrap_or(i64::from(ffi::AVERROR(ffi::EIO)));
        }
        0 if offset >= 0 => SeekFrom::Start(offset as u64),
        1 => SeekFrom::Current(offset),
        2 => SeekFrom::End(offset),
        _ => return i64::from(ffi::AVERROR(ffi::EINVAL)),
    };
    source.file.seek(to).map_or(i64::from(ffi::AVERROR(ffi::EIO)), |position| position as i64)
}
