//! A device of FFmpeg's, read without waiting.

use std::ffi::{CStr, CString};
use std::ptr::{self, NonNull};

use ffmpeg_next::ffi;
use ffmpeg_next::format::Pixel;

use super::input::{Dictionary, describe};
use super::packet::Packet;
use super::{Stream, message, silence};

/// A device that is open.
pub struct DeviceInput {
    context: NonNull<ffi::AVFormatContext>,
}

// SAFETY: the context is a heap allocation that is bound to no thread; it is used through `&mut self` only, and no part
// of it is handed out.
unsafe impl Send for DeviceInput {}

impl DeviceInput {
    /// Opens a device by the name of its kind (`x11grab`, `pulse`) and its own.
    pub fn open(kind: &CStr, name: &str, options: &[(&CStr, String)]) -> Result<DeviceInput, String> {
        silence();
        ffmpeg_next::device::register_all();
        let name = CString::new(name).map_err(|_| "the name holds a zero byte")?;
        // SAFETY: the name ends with zero and is only read during the call.
        let format = unsafe { ffi::av_find_input_format(kind.as_ptr()) };
        if format.is_null() {
            return Err(format!("this FFmpeg has no {}", kind.to_string_lossy()));
        }
        // SAFETY: the function has no preconditions.
        let context = unsafe { ffi::avformat_alloc_context() };
        // SAFETY: the pointer is null or was made just before and nobody else has it.
        let Some(fields) = (unsafe { context.as_mut() }) else { return Err("out of memory".into()) };
        // A device that gives nothing must not hold the thread for ever.
        fields.flags |= ffi::AVFMT_FLAG_NONBLOCK;
        let mut dictionary = Dictionary::default();
        for (key, value) in options {
            let value = CString::new(value.as_str()).map_err(|_| "an option holds a zero byte")?;
            dictionary.set(key, &value);
        }
        let mut opened = context;
        // SAFETY: the context is whole, the name ends with zero, the format is FFmpeg's own, and the dictionary is one of
        // FFmpeg's. On failure the context is freed by FFmpeg.
        let code = unsafe {
            ffi::avformat_open_input(
                &mut opened,
                name.as_ptr(),
                format.cast_mut().cast_const(),
                dictionary.as_mut_ptr(),
            )
        };
        let context = NonNull::new(opened).filter(|_| code >= 0).ok_or_else(|| message(code))?;
        Ok(DeviceInput { context })
    }

    /// What it gives, and how pixels lie in pictures that are not coded.
    pub fn stream(&self) -> Option<(Stream, Pixel)> {
        // SAFETY: the context was opened by avformat_open_input and lives as long as this.
        let fields = unsafe { self.context.as_ref() };
        if fields.streams.is_null() || fields.nb_streams == 0 {
            return None;
        }
        // SAFETY: the context holds at least one pointer there.
        let stream = unsafe { *fields.streams };
        // SAFETY: the pointer is to a stream of the open context, which has parameters as long as it lives.
        let parameters = unsafe { (*stream).codecpar };
        // SAFETY: the same.
        let format = unsafe { (*parameters).format };
        let stream = describe(stream);
        let pixel = if stream.kind == proto::track::Kind::Video { pixel(format) } else { Pixel::None };
        Some((stream, pixel))
    }

    /// What comes next; None when nothing is there yet.
    pub fn read(&mut self) -> Result<Option<Packet>, String> {
        let Some(mut packet) = Packet::new() else { return Err("out of memory".into()) };
        // SAFETY: the context is open and the packet is empty.
        let code = unsafe { ffi::av_read_frame(self.context.as_ptr(), packet.as_ptr()) };
        match code {
            0.. => Ok(Some(packet)),
            code if code == ffi::AVERROR(ffi::EAGAIN) => Ok(None),
            code => Err(message(code)),
        }
    }
}

impl Drop for DeviceInput {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        // SAFETY: the context was opened by avformat_open_input and is not used again.
        unsafe { ffi::avformat_close_input(&mut context) };
    }
}

/// The pixel format that FFmpeg has a number for.
fn pixel(format: i32) -> Pixel {
    let known = [
        Pixel::BGRZ,
        Pixel::BGRA,
        Pixel::BGR24,
        Pixel::RGB24,
        Pixel::YUYV422,
        Pixel::UYVY422,
        Pixel::NV12,
        Pixel::YUV420P,
    ];
    known.into_iter().find(|pixel| ffi::AVPixelFormat::from(*pixel) as i32 == format).unwrap_or(Pixel::None)
}

/// A device that sound is written to.
pub struct DeviceOutput {
    context: NonNull<ffi::AVFormatContext>,
    bytes_a_moment: usize,
    /// Moments that were written.
    written: i64,
}

// SAFETY: as for `DeviceInput`.
unsafe impl Send for DeviceOutput {}

impl DeviceOutput {
    /// Opens a device of a kind for samples of 16 bits, little end first.
    pub fn open(
        kind: &CStr,
        name: &str,
        sample_rate: u32,
        channels: u8,
        options: &[(&CStr, String)],
    ) -> Result<DeviceOutput, String> {
        silence();
        ffmpeg_next::device::register_all();
        let name = CString::new(name).map_err(|_| "the name holds a zero byte")?;
        let mut context: *mut ffi::AVFormatContext = ptr::null_mut();
        // SAFETY: both names end with zero and are copied; the context is made by the call.
        let code = unsafe {
            ffi::avformat_alloc_output_context2(&mut context, ptr::null_mut(), kind.as_ptr(), name.as_ptr())
        };
        let context = NonNull::new(context).filter(|_| code >= 0).ok_or_else(|| message(code))?;
        let mut closed = Closed(context);
        // SAFETY: the context was made just before, and the codec may be null.
        let stream = unsafe { ffi::avformat_new_stream(context.as_ptr(), ptr::null()) };
        if stream.is_null() {
            return Err("out of memory".into());
        }
        // SAFETY: the stream was made just before and has parameters as long as it lives.
        let parameters = unsafe { (*stream).codecpar };
        // SAFETY: the same; nobody else has them.
        let fields = unsafe { &mut *parameters };
        fields.codec_type = ffi::AVMediaType::AVMEDIA_TYPE_AUDIO;
        fields.codec_id = ffi::AVCodecID::AV_CODEC_ID_PCM_S16LE;
        fields.format = ffi::AVSampleFormat::AV_SAMPLE_FMT_S16 as i32;
        fields.sample_rate = sample_rate as i32;
        // SAFETY: the layout is part of the parameters.
        unsafe { ffi::av_channel_layout_default(&mut fields.ch_layout, channels.into()) };
        let mut dictionary = Dictionary::default();
        for (key, value) in options {
            let value = CString::new(value.as_str()).map_err(|_| "an option holds a zero byte")?;
            dictionary.set(key, &value);
        }
        // SAFETY: the context has its stream, and the dictionary is one of FFmpeg's.
        let code = unsafe { ffi::avformat_write_header(context.as_ptr(), dictionary.as_mut_ptr()) };
        if code < 0 {
            return Err(message(code));
        }
        closed.forget();
        Ok(DeviceOutput { context, bytes_a_moment: 2 * usize::from(channels), written: 0 })
    }

    /// Writes samples; waits while there is no room.
    pub fn write(&mut self, samples: &[u8]) -> Result<(), String> {
        let Some(mut packet) = Packet::new() else { return Err("out of memory".into()) };
        let size = i32::try_from(samples.len()).map_err(|_| "too many samples")?;
        // SAFETY: the packet is empty.
        if unsafe { ffi::av_new_packet(packet.as_ptr(), size) } < 0 {
            return Err("out of memory".into());
        }
        // SAFETY: the packet was made just before and nobody else has it.
        let fields = unsafe { &mut *packet.as_ptr() };
        // SAFETY: the packet has room for as many bytes as there are samples.
        unsafe { ptr::copy_nonoverlapping(samples.as_ptr(), fields.data, samples.len()) };
        (fields.pts, fields.dts) = (self.written, self.written);
        self.written += (samples.len() / self.bytes_a_moment) as i64;
        // SAFETY: the header was written, and the packet is whole.
        let code = unsafe { ffi::av_write_frame(self.context.as_ptr(), packet.as_ptr()) };
        if code < 0 { Err(message(code)) } else { Ok(()) }
    }
}

impl Drop for DeviceOutput {
    fn drop(&mut self) {
        // SAFETY: the header was written.
        unsafe { ffi::av_write_trailer(self.context.as_ptr()) };
        drop(Closed(self.context));
    }
}

/// Frees an output.
struct Closed(NonNull<ffi::AVFormatContext>);

impl Closed {
    /// Somebody else has it now.
    fn forget(&mut self) {
        self.0 = NonNull::dangling();
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        if self.0 != NonNull::dangling() {
            // SAFETY: the context was made by avformat_alloc_output_context2 and is not used again.
            unsafe { ffi::avformat_free_context(self.0.as_ptr()) };
        }
    }
}

/// The devices of a kind that give something: names to open them by, and what their makers call them.
pub fn sources(kind: &CStr) -> Result<Vec<(String, String)>, String> {
    silence();
    ffmpeg_next::device::register_all();
    // SAFETY: the name ends with zero and is only read during the call.
    let format = unsafe { ffi::av_find_input_format(kind.as_ptr()) };
    if format.is_null() {
        return Err(format!("this FFmpeg has no {}", kind.to_string_lossy()));
    }
    let mut list: *mut ffi::AVDeviceInfoList = ptr::null_mut();
    // SAFETY: the format is FFmpeg's own, a device's name and options may be null, and the list is made by the call.
    let code = unsafe {
        ffi::avdevice_list_input_sources(
            format.cast_mut().cast_const(),
            ptr::null(),
            ptr::null_mut(),
            &mut list,
        )
    };
    listed(list, code)
}

/// The devices of a kind that take something.
pub fn sinks(kind: &CStr) -> Result<Vec<(String, String)>, String> {
    silence();
    ffmpeg_next::device::register_all();
    // SAFETY: the name ends with zero and is only read during the call; the others may be null.
    let format = unsafe { ffi::av_guess_format(kind.as_ptr(), ptr::null(), ptr::null()) };
    if format.is_null() {
        return Err(format!("this FFmpeg has no {}", kind.to_string_lossy()));
    }
    let mut list: *mut ffi::AVDeviceInfoList = ptr::null_mut();
    // SAFETY: the format is FFmpeg's own, a device's name and options may be null, and the list is made by the call.
    let code = unsafe {
        ffi::avdevice_list_output_sinks(
            format.cast_mut().cast_const(),
            ptr::null(),
            ptr::null_mut(),
            &mut list,
        )
    };
    listed(list, code)
}

/// What a list of FFmpeg's holds, which is freed.
fn listed(mut list: *mut ffi::AVDeviceInfoList, code: i32) -> Result<Vec<(String, String)>, String> {
    if code < 0 {
        return Err(message(code));
    }
    // SAFETY: the list was made just before, or the pointer is null.
    let Some(fields) = (unsafe { list.as_ref() }) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for index in 0..fields.nb_devices.max(0) as usize {
        // SAFETY: the list holds `nb_devices` pointers there.
        let place = unsafe { fields.devices.add(index) };
        // SAFETY: the same.
        let device = unsafe { *place };
        // SAFETY: each of them is to a device as long as the list lives.
        let device = unsafe { &*device };
        found.push((text(device.device_name), text(device.device_description)));
    }
    // SAFETY: the list was made by the call before and is not used again.
    unsafe { ffi::avdevice_free_list_devices(&mut list) };
    Ok(found)
}

fn text(pointer: *const std::ffi::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the caller took it from a list of FFmpeg's that it holds, where strings end with zero.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}
