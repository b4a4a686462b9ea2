//! An open container.

use std::ffi::{CStr, CString, c_char, c_int};
use std::fs::File;
use std::ptr::{self, NonNull};
use std::slice;

use bytes::Bytes;
use ffmpeg_next::codec::Id;
use ffmpeg_next::ffi;
use proto::track::Kind;

use super::io::FileIo;
use super::packet::{Packet, known};
use super::parameters::Parameters;
use super::{message, silence};

/// What the container says about one of its streams.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Pictures, sound or something else.
    pub kind: Kind,
    /// Codec.
    pub codec: Id,
    /// Whether it is a cover picture instead of a film.
    pub is_cover: bool,
    /// Seconds of one tick, as a fraction.
    pub time_base: (i64, i64),
    /// Codec parameters as the container holds them.
    pub extradata: Bytes,
    /// Picture size in pixels; None for sound, or when unknown.
    pub size: Option<(u32, u32)>,
    /// Pictures a second; None for sound, or when unknown.
    pub framerate: Option<f64>,
    /// Pictures that are decoded before the first one is shown.
    pub reorder: usize,
    /// Samples a second; zero when unknown.
    pub sample_rate: u32,
    /// Channels; zero when unknown.
    pub channels: u32,
    /// Average bits a second; None when unknown.
    pub bitrate: Option<u64>,
    /// Bits of one codeword; zero when unknown.
    pub codeword_bits: u32,
    /// Codec profile; negative when unknown.
    pub profile: i32,
}

/// What reading yields.
pub enum Next {
    /// A packet.
    Packet(Packet),
    /// The file ends, or nothing behind this place can be understood.
    End,
    /// The file cannot be read any more.
    Failed(String),
}

/// A file that is read packet by packet.
pub struct Input {
    context: NonNull<ffi::AVFormatContext>,
    io: FileIo,
}

// SAFETY: the context, its streams and its input are heap allocations that are bound to no thread; they are used
// through `&mut self` only, and no part of them is handed out.
unsafe impl Send for Input {}

/// How many damaged places in a row are stepped over.
const DAMAGE_MAX: u32 = 64;

impl Input {
    /// Opens a container and finds out about its streams. `name` helps to recognize formats that have no signature;
    /// `format` forces one. Whatever the file refers to, only the file itself is read.
    pub fn open(
        file: File,
        name: &str,
        format: Option<&CStr>,
        options: &[(&CStr, &CStr)],
    ) -> Result<Input, String> {
        silence();
        let io = FileIo::new(file).ok_or("out of memory")?;
        let name = CString::new(name).map_err(|_| "the name holds a zero byte")?;
        let format = match format {
            // SAFETY: the name ends with zero and is only read during the call.
            Some(format) => unsafe { ffi::av_find_input_format(format.as_ptr()) },
            None => ptr::null(),
        };
        // SAFETY: the function has no preconditions.
        let context = unsafe { ffi::avformat_alloc_context() };
        // SAFETY: the pointer is null or was made just before and nobody else has it.
        let Some(fields) = (unsafe { context.as_mut() }) else { return Err("out of memory".into()) };
        fields.pb = io.as_ptr();
        fields.flags |= ffi::AVFMT_FLAG_CUSTOM_IO;
        fields.io_open = Some(refuse);
        let mut dictionary = Dictionary::default();
        // Some demuxers (concat) open what they refer to without asking `io_open`.
        dictionary.set(c"protocol_whitelist", c"none");
        for (key, value) in options {
            dictionary.set(key, value);
        }
        let mut opened = context;
        // SAFETY: the context is whole, the name ends with zero, the format is null or FFmpeg's own, and the
        // dictionary is one of FFmpeg's. On failure the context is freed by FFmpeg.
        let code = unsafe {
            ffi::avformat_open_input(
                &mut opened,
                name.as_ptr(),
                format.cast_mut().cast_const(),
                &mut dictionary.0,
            )
        };
        let context = NonNull::new(opened).filter(|_| code >= 0).ok_or_else(|| message(code))?;
        let mut input = Input { context, io };
        if input.needs_no_parser() {
            // SAFETY: the context was opened just before and nobody else has it.
            unsafe { input.context.as_mut() }.flags |= ffi::AVFMT_FLAG_NOPARSE;
        }
        // SAFETY: the context was opened just before.
        let code = unsafe { ffi::avformat_find_stream_info(input.context.as_ptr(), ptr::null_mut()) };
        if code < 0 && input.stream_pointers().is_empty() {
            return Err(message(code));
        }
        if let Some(failure) = input.io.take_failure() {
            return Err(failure.to_string());
        }
        Ok(input)
    }

    /// Whether packets come without FFmpeg's having looked into them. [`Packet::is_key`] is what the container says then,
    /// right or wrong.
    pub fn is_unparsed(&self) -> bool {
        self.fields().flags & ffi::AVFMT_FLAG_NOPARSE != 0
    }

    /// Whether packets are whole frames with their times. FFmpeg would make a parser anew behind every jump, which costs
    /// as much as reading a second of the file.
    fn needs_no_parser(&self) -> bool {
        let is_mp4 = self.format_name().contains("mp4");
        let is_whole = |stream: &Stream| match stream.kind {
            Kind::Video => stream.is_cover || matches!(stream.codec, Id::H264 | Id::HEVC),
            // How long Opus in Matroska is tells the parser alone.
            Kind::Audio if stream.codec == Id::OPUS => is_mp4,
            Kind::Audio => matches!(stream.codec, Id::AAC | Id::PCM_ALAW | Id::PCM_MULAW),
            Kind::Application => true,
        };
        let streams = self.streams();
        let tells_all = is_mp4 || self.format_name().contains("matroska");
        tells_all && streams.iter().any(|stream| stream.kind == Kind::Video) && streams.iter().all(is_whole)
    }

    /// The next packet of any stream that was not discarded.
    pub fn read(&mut self) -> Next {
        let mut damage = 0;
        loop {
            let Some(mut packet) = Packet::new() else { return Next::Failed("out of memory".into()) };
            // SAFETY: the context is open and the packet is empty.
            let code = unsafe { ffi::av_read_frame(self.context.as_ptr(), packet.as_ptr()) };
            if code >= 0 {
                return Next::Packet(packet);
            }
            if let Some(failure) = self.io.take_failure() {
                return Next::Failed(failure.to_string());
            }
            damage += 1;
            if code == ffi::AVERROR_EOF || self.io.is_at_end() || damage > DAMAGE_MAX {
                return Next::End;
            }
        }
    }

    /// Whether everything up to the file's end was read.
    pub fn is_at_end(&self) -> bool {
        self.io.is_at_end()
    }

    /// Goes to the keyframe of `stream` at or before `time`, in the stream's time base.
    pub fn seek(&mut self, stream: usize, time: i64) -> Result<(), String> {
        self.seek_with(stream as c_int, time, ffi::AVSEEK_FLAG_BACKWARD)
    }

    /// Goes to a byte of the file.
    pub fn seek_byte(&mut self, byte: u64) -> Result<(), String> {
        self.seek_with(-1, i64::try_from(byte).unwrap_or(i64::MAX), ffi::AVSEEK_FLAG_BYTE)
    }

    fn seek_with(&mut self, stream: c_int, target: i64, flags: c_int) -> Result<(), String> {
        // SAFETY: the context is open; a stream that does not exist is refused by FFmpeg.
        let code = unsafe { ffi::av_seek_frame(self.context.as_ptr(), stream, target, flags) };
        if code < 0 { Err(message(code)) } else { Ok(()) }
    }

    /// Reads no further packets of a stream.
    pub fn discard(&mut self, stream: usize) {
        let Some(&pointer) = self.stream_pointers().get(stream) else { return };
        // SAFETY: streams live as long as their context, which is borrowed mutably.
        unsafe { &mut *pointer }.discard = ffi::AVDiscard::AVDISCARD_ALL;
    }

    /// All streams in the container's order.
    pub fn streams(&self) -> Vec<Stream> {
        self.stream_pointers().iter().map(|stream| describe(*stream)).collect()
    }

    /// What the decoder of a stream must know.
    pub fn parameters(&self, stream: usize) -> Option<Parameters> {
        self.stream_pointers().get(stream).and_then(|stream| Parameters::of(*stream))
    }

    /// Short names of the format, separated by commas.
    pub fn format_name(&self) -> &str {
        // SAFETY: an open context has an input format, which is a constant of FFmpeg.
        let format = unsafe { &*self.fields().iformat };
        // SAFETY: the name is a constant that ends with zero.
        unsafe { CStr::from_ptr(format.name) }.to_str().unwrap_or("")
    }

    /// The earliest presentation time of any stream, in microseconds; None when unknown.
    pub fn start_micros(&self) -> Option<i64> {
        known(self.fields().start_time)
    }

    /// Length in microseconds; None when unknown.
    pub fn duration_micros(&self) -> Option<u64> {
        known(self.fields().duration)
            .and_then(|duration| u64::try_from(duration).ok())
            .filter(|micros| *micros > 0)
    }

    /// Whether the length was computed from the average bit rate.
    pub fn has_estimated_duration(&self) -> bool {
        use ffi::AVDurationEstimationMethod::AVFMT_DURATION_FROM_BITRATE;
        self.fields().duration_estimation_method == AVFMT_DURATION_FROM_BITRATE
    }

    /// What the container says of itself under a name; None when that is nothing, or no text.
    pub fn said_of(&self, name: &CStr) -> Option<&str> {
        // SAFETY: the dictionary belongs to the context, which lives as long as this value, and the name ends with zero.
        let entry = unsafe { ffi::av_dict_get(self.fields().metadata, name.as_ptr(), std::ptr::null(), 0) };
        // SAFETY: an entry lies in the dictionary, which nobody changes.
        let value = unsafe { entry.as_ref() }?.value;
        if value.is_null() {
            return None;
        }
        // SAFETY: values of a dictionary end with zero.
        unsafe { CStr::from_ptr(value) }.to_str().ok()
    }

    fn fields(&self) -> &ffi::AVFormatContext {
        // SAFETY: the context lives as long as this value.
        unsafe { self.context.as_ref() }
    }

    fn stream_pointers(&self) -> &[*mut ffi::AVStream] {
        let fields = self.fields();
        if fields.streams.is_null() {
            return &[];
        }
        // SAFETY: the context holds `nb_streams` pointers there, all of them to streams.
        unsafe { slice::from_raw_parts(fields.streams, fields.nb_streams as usize) }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        // SAFETY: the context was opened by avformat_open_input and is not used again. The custom input is left
        // alone and dropped afterwards.
        unsafe { ffi::avformat_close_input(&mut context) };
    }
}

/// Options for opening.
pub(super) struct Dictionary(*mut ffi::AVDictionary);

impl Default for Dictionary {
    fn default() -> Dictionary {
        Dictionary(ptr::null_mut())
    }
}

impl Dictionary {
    pub(super) fn set(&mut self, key: &CStr, value: &CStr) {
        // SAFETY: both strings end with zero and are copied; the dictionary is null or one of FFmpeg's.
        unsafe { ffi::av_dict_set(&mut self.0, key.as_ptr(), value.as_ptr(), 0) };
    }
}

impl Dictionary {
    pub(super) fn as_mut_ptr(&mut self) -> *mut *mut ffi::AVDictionary {
        &mut self.0
    }
}

impl Drop for Dictionary {
    fn drop(&mut self) {
        // SAFETY: the dictionary is null or one of FFmpeg's, and is not used again.
        unsafe { ffi::av_dict_free(&mut self.0) };
    }
}

/// Refuses to open what a container refers to: a file in the media folder must not name another one.
unsafe extern "C" fn refuse(
    _: *mut ffi::AVFormatContext,
    _: *mut *mut ffi::AVIOContext,
    _: *const c_char,
    _: c_int,
    _: *mut *mut ffi::AVDictionary,
) -> c_int {
    ffi::AVERROR(ffi::EPERM)
}

pub(super) fn describe(stream: *const ffi::AVStream) -> Stream {
    // SAFETY: the caller took the pointer from an open context that it borrows.
    let stream = unsafe { &*stream };
    // SAFETY: every stream has parameters as long as it lives.
    let parameters = unsafe { &*stream.codecpar };
    let kind = match parameters.codec_type {
        ffi::AVMediaType::AVMEDIA_TYPE_VIDEO => Kind::Video,
        ffi::AVMediaType::AVMEDIA_TYPE_AUDIO => Kind::Audio,
        _ => Kind::Application,
    };
    let extradata = if parameters.extradata.is_null() || parameters.extradata_size <= 0 {
        Bytes::new()
    } else {
        // SAFETY: the container holds `extradata_size` bytes there; they are copied at once.
        let bytes =
            unsafe { slice::from_raw_parts(parameters.extradata, parameters.extradata_size as usize) };
        Bytes::copy_from_slice(bytes)
    };
    let (width, height) = (parameters.width.max(0) as u32, parameters.height.max(0) as u32);
    let framerate = ratio(stream.r_frame_rate).or_else(|| ratio(stream.avg_frame_rate));
    Stream {
        kind,
        codec: Id::from(parameters.codec_id),
        is_cover: stream.disposition & ffi::AV_DISPOSITION_ATTACHED_PIC != 0,
        time_base: (i64::from(stream.time_base.num.max(1)), i64::from(stream.time_base.den.max(1))),
        extradata,
        size: (width > 0 && height > 0).then_some((width, height)),
        framerate: framerate.filter(|_| kind == Kind::Video),
        reorder: parameters.video_delay.clamp(0, 16) as usize,
        sample_rate: parameters.sample_rate.max(0) as u32,
        channels: parameters.ch_layout.nb_channels.max(0) as u32,
        bitrate: u64::try_from(parameters.bit_rate).ok().filter(|rate| *rate > 0),
        codeword_bits: parameters.bits_per_coded_sample.max(0) as u32,
        profile: parameters.profile,
    }
}

fn ratio(value: ffi::AVRational) -> Option<f64> {
    (value.num > 0 && value.den > 0).then(|| f64::from(value.num) / f64::from(value.den))
}
