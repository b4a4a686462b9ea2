//! Memory of a graphics processor that pictures are put into before it encodes them (VA-API).

use std::ptr::{self, NonNull};

use ffmpeg_next::ffi;
use ffmpeg_next::frame::Video;

use super::{message, silence};

/// Pictures that the processor works on at once, at the most.
const PICTURES_MAX: i32 = 8;

/// A buffer of FFmpeg's that is counted.
struct Counted(NonNull<ffi::AVBufferRef>);

// SAFETY: such a buffer is counted atomically, and what is in it is made for being used by any thread.
unsafe impl Send for Counted {}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut pointer = self.0.as_ptr();
        // SAFETY: the reference is ours and is not used again.
        unsafe { ffi::av_buffer_unref(&mut pointer) };
    }
}

/// Room for pictures of one size.
pub struct Pictures {
    frames: Counted,
}

impl Pictures {
    /// Room on the first graphics processor that there is.
    pub fn new(width: u32, height: u32) -> Result<Pictures, String> {
        silence();
        let mut device: *mut ffi::AVBufferRef = ptr::null_mut();
        let kind = ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_VAAPI;
        // SAFETY: the device is made by the call; its name and options may be null.
        let code = unsafe { ffi::av_hwdevice_ctx_create(&mut device, kind, ptr::null(), ptr::null_mut(), 0) };
        let device = NonNull::new(device).filter(|_| code >= 0).map(Counted).ok_or_else(|| message(code))?;
        // SAFETY: the device was opened just before.
        let frames = unsafe { ffi::av_hwframe_ctx_alloc(device.0.as_ptr()) };
        let frames = NonNull::new(frames).map(Counted).ok_or("out of memory")?;
        // SAFETY: what was made just before begins with such fields, and nobody else has it.
        let context = unsafe { (*frames.0.as_ptr()).data }.cast::<ffi::AVHWFramesContext>();
        // SAFETY: the same.
        let fields = unsafe { &mut *context };
        fields.format = ffi::AVPixelFormat::AV_PIX_FMT_VAAPI;
        fields.sw_format = ffi::AVPixelFormat::AV_PIX_FMT_NV12;
        (fields.width, fields.height) = (width as i32, height as i32);
        fields.initial_pool_size = PICTURES_MAX;
        // SAFETY: the fields that it needs are set.
        let code = unsafe { ffi::av_hwframe_ctx_init(frames.0.as_ptr()) };
        if code < 0 { Err(message(code)) } else { Ok(Pictures { frames }) }
    }

    /// Has an encoder that is not open take pictures from there.
    pub fn attach(&self, codec: &mut ffmpeg_next::codec::context::Context) {
        // SAFETY: the reference is ours.
        let reference = unsafe { ffi::av_buffer_ref(self.frames.0.as_ptr()) };
        // SAFETY: the context is ours and is not open.
        let pointer = unsafe { codec.as_mut_ptr() };
        // SAFETY: the same; the context frees the reference.
        unsafe { (*pointer).hw_frames_ctx = reference };
    }

    /// A copy of a picture there.
    pub fn upload(&self, picture: &Video) -> Result<Video, String> {
        let mut copy = Video::empty();
        // SAFETY: the frame lives as long as the pointer is used.
        let to = unsafe { copy.as_mut_ptr() };
        // SAFETY: the same.
        let from = unsafe { picture.as_ptr() };
        // SAFETY: the frame is empty.
        let code = unsafe { ffi::av_hwframe_get_buffer(self.frames.0.as_ptr(), to, 0) };
        if code < 0 {
            return Err(message(code));
        }
        // SAFETY: both frames have their memory, of the same size.
        let code = unsafe { ffi::av_hwframe_transfer_data(to, from, 0) };
        if code < 0 {
            return Err(message(code));
        }
        copy.set_pts(picture.pts());
        copy.set_kind(picture.kind());
        Ok(copy)
    }
}
