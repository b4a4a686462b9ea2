//! The test channel without a codec library: H.264 whose macroblocks are bare samples (I_PCM), and a G.711 tone.

use std::f64::consts::TAU;
use std::time::Duration;

use bytes::Bytes;
use proto::frame::Frame;
use proto::track::{Codec, Framing, Law, Track};

use super::canvas::Canvas;
use crate::media::library::MediaError;
use crate::media::source::{Demand, Pace, Source};

/// Picture size in macroblocks of 16 pixels: 64x48, about 1 Mbit/s at 25 pictures a second.
const MACROBLOCKS: (usize, usize) = (4, 3);

/// Pictures a second.
const FRAMERATE: u32 = 25;

/// Samples of 20 ms of sound at 8 kHz.
const SOUND_SAMPLES: usize = 160;

/// Hertz of the tone.
const TONE: f64 = 440.0;

/// The source of the bare test channel.
#[derive(Default)]
pub struct PcmSource;

impl PcmSource {
    /// A source at its first picture.
    pub fn new() -> PcmSource {
        PcmSource
    }

    /// The picture at `index`, an IDR picture as all of them.
    pub fn picture(canvas: &mut Canvas, index: u64) -> Frame {
        canvas.draw(Duration::from_millis(index * 1000 / u64::from(FRAMERATE)));
        let ticks = 90_000 / FRAMERATE;
        let pts = index as i64 * i64::from(ticks);
        let unit = escape(0x65, &slice(canvas, (index % 2) as u32));
        let mut payload = Vec::with_capacity(unit.len() + 4);
        payload.extend_from_slice(&(unit.len() as u32).to_be_bytes());
        payload.extend_from_slice(&unit);
        Frame { track: 0, pts, dts: pts, duration: ticks, keyframe: true, payload: payload.into() }
    }

    /// The 20 ms of sound at `index`.
    pub fn sound(index: u64) -> Frame {
        let first = index * SOUND_SAMPLES as u64;
        let law = |sample: u64| {
            // The tone repeats every second, so that the argument stays small.
            let phase = (sample % 8_000) as f64 * TONE / 8_000.0;
            mu_law(((phase * TAU).sin() * 8_000.0) as i16)
        };
        let payload: Vec<u8> = (first..first + SOUND_SAMPLES as u64).map(law).collect();
        let pts = first as i64;
        Frame {
            track: 1,
            pts,
            dts: pts,
            duration: SOUND_SAMPLES as u32,
            keyframe: true,
            payload: payload.into(),
        }
    }
}

impl Source for PcmSource {
    fn tracks(&mut self) -> Result<Vec<Track>, MediaError> {
        let (columns, rows) = MACROBLOCKS;
        let sps = vec![Bytes::from(escape(0x67, &sequence_set()))];
        let pps = vec![Bytes::from(escape(0x68, &picture_set()))];
        let mut video = Track::new(Codec::H264 { sps, pps, framing: Framing::Length(4) }, 0);
        video.size = Some((columns as u32 * 16, rows as u32 * 16));
        video.framerate = Some(f64::from(FRAMERATE));
        let sound = Codec::G711 { law: Law::Mu, sample_rate: 8_000, channels: 1 };
        Ok(vec![video, Track::new(sound, 1)])
    }

    fn run(self: Box<Self>, sink: &mut dyn FnMut(Option<Frame>) -> Demand) -> Result<(), MediaError> {
        let mut canvas = Canvas::new(MACROBLOCKS.0 * 16, MACROBLOCKS.1 * 16);
        let mut pace = Pace::start();
        for index in 0.. {
            pace.wait_until(Duration::from_millis(20 * index));
            // Every second 20 ms has a picture.
            if index % 2 == 0 && sink(Some(PcmSource::picture(&mut canvas, index / 2))) == Demand::Nothing {
                break;
            }
            if sink(Some(PcmSource::sound(index))) == Demand::Nothing {
                break;
            }
        }
        Ok(())
    }
}

/// Writes the bit strings of ITU-T H.264 section 7.2.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    // Bits used of the last byte; 0 when it is full.
    used: u8,
}

impl Bits {
    fn put(&mut self, value: u32, count: u8) {
        for place in (0..count).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> place & 1) as u8) << (7 - self.used);
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// Unsigned Exp-Golomb code (section 9.1).
    fn put_ue(&mut self, value: u32) {
        let size = 32 - (value + 1).leading_zeros() as u8;
        self.put(0, size - 1);
        self.put(value + 1, size);
    }

    fn align(&mut self) {
        self.used = 0;
    }

    /// The stop bit and what fills its byte (section 7.3.2.11).
    fn finish(mut self) -> Vec<u8> {
        self.put(1, 1);
        self.bytes
    }
}

/// Section 7.3.2.1.1.
fn sequence_set() -> Vec<u8> {
    let mut bits = Bits::default();
    // Baseline, constraint_set0 and 1, level 3.
    bits.put(0x42_c0_1e, 24);
    bits.put_ue(0); // seq_parameter_set_id
    bits.put_ue(0); // log2_max_frame_num_minus4
    bits.put_ue(2); // pic_order_cnt_type: output order is decoding order
    bits.put_ue(1); // max_num_ref_frames
    bits.put(0, 1); // gaps_in_frame_num_value_allowed_flag
    bits.put_ue(MACROBLOCKS.0 as u32 - 1);
    bits.put_ue(MACROBLOCKS.1 as u32 - 1);
    bits.put(1, 1); // frame_mbs_only_flag
    bits.put(1, 1); // direct_8x8_inference_flag
    bits.put(0, 1); // frame_cropping_flag
    bits.put(0, 1); // vui_parameters_present_flag
    bits.finish()
}

/// Section 7.3.2.2.
fn picture_set() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put_ue(0); // pic_parameter_set_id
    bits.put_ue(0); // seq_parameter_set_id
    bits.put(0, 2); // CAVLC; no field orders in slices
    bits.put_ue(0); // num_slice_groups_minus1
    bits.put_ue(0); // num_ref_idx_l0_default_active_minus1
    bits.put_ue(0); // num_ref_idx_l1_default_active_minus1
    bits.put(0, 3); // no weighted prediction
    bits.put_ue(0); // pic_init_qp_minus26
    bits.put_ue(0); // pic_init_qs_minus26
    bits.put_ue(0); // chroma_qp_index_offset
    bits.put(0b100, 3); // deblocking_filter_control_present_flag; nothing else
    bits.finish()
}

/// Sections 7.3.3 and 7.3.5: one slice, whose macroblocks are all I_PCM.
fn slice(canvas: &Canvas, idr_pic_id: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put_ue(0); // first_mb_in_slice
    bits.put_ue(7); // slice_type: I, and so are all slices of the picture
    bits.put_ue(0); // pic_parameter_set_id
    bits.put(0, 4); // frame_num
    bits.put_ue(idr_pic_id);
    bits.put(0, 2); // no_output_of_prior_pics_flag, long_term_reference_flag
    bits.put_ue(0); // slice_qp_delta
    bits.put_ue(1); // disable_deblocking_filter_idc
    for row in 0..MACROBLOCKS.1 {
        for column in 0..MACROBLOCKS.0 {
            bits.put_ue(25); // mb_type: I_PCM
            bits.align();
            put_block(&mut bits, &canvas.luma, canvas.width, (column, row), 16);
            put_block(&mut bits, &canvas.blue, canvas.width / 2, (column, row), 8);
            put_block(&mut bits, &canvas.red, canvas.width / 2, (column, row), 8);
        }
    }
    bits.finish()
}

fn put_block(bits: &mut Bits, plane: &[u8], width: usize, (column, row): (usize, usize), side: usize) {
    for line in 0..side {
        let from = (row * side + line) * width + column * side;
        bits.bytes.extend_from_slice(&plane[from..from + side]);
    }
}

/// A NAL unit: its header, then the payload with emulation prevention (section 7.4.1).
fn escape(header: u8, payload: &[u8]) -> Vec<u8> {
    let mut unit = Vec::with_capacity(payload.len() + 16);
    unit.push(header);
    let mut zeros = 0;
    for &byte in payload {
        if zeros == 2 && byte <= 3 {
            unit.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        unit.push(byte);
    }
    unit
}

/// Mu-law codeword of a sample (ITU-T G.711).
fn mu_law(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    let magnitude = i32::from(sample).abs().min(32_635) + BIAS;
    let exponent = 24 - magnitude.leading_zeros() as i32;
    let mantissa = magnitude >> (exponent + 3) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | exponent << 4 | mantissa) as u8
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn mu_law_codewords_are_those_of_the_standard() {
        for (sample, word) in [(0, 0xff), (-1, 0x7f), (32_767, 0x80), (-32_768, 0x00), (1_000, 0xce)] {
            assert_eq!(mu_law(sample), word, "{sample}");
        }
    }

    #[test]
    fn a_start_code_cannot_appear_in_a_unit() {
        assert_eq!(escape(0x65, &[0, 0, 0, 0, 0, 1]), [0x65, 0, 0, 3, 0, 0, 3, 0, 1]);
    }

    #[test]
    fn a_decoder_shows_exactly_what_was_drawn() {
        let mut source = PcmSource::new();
        let tracks = source.tracks().unwrap();
        let Codec::H264 { sps, pps, .. } = &tracks[0].codec else { panic!("the first track is H.264") };
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        let mut canvas = Canvas::new(64, 48);
        for unit in sps.iter().chain(pps) {
            stream.extend_from_slice(&[&[0, 0, 0, 1], &unit[..]].concat());
        }
        for index in 0..50 {
            let frame = PcmSource::picture(&mut canvas, index);
            stream.extend_from_slice(&[&[0, 0, 0, 1], &frame.payload[4..]].concat());
            expected.extend_from_slice(&[&canvas.luma[..], &canvas.blue, &canvas.red].concat());
        }
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "h264", "-i", "-", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: there is no ffmpeg program");
            return;
        };
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || input.write_all(&stream));
        let decoded = child.wait_with_output().unwrap().stdout;
        writer.join().unwrap().unwrap();
        assert_eq!(decoded.len(), expected.len());
        assert!(decoded == expected, "the samples differ");
    }

    #[test]
    fn it_runs_until_the_sink_stops_it() {
        let mut frames = Vec::new();
        let source = Box::new(PcmSource::new());
        let mut sink = |frame: Option<Frame>| {
            let frame = frame.expect("it never only asks");
            frames.push((frame.track, frame.pts));
            if frames.len() == 4 { Demand::Nothing } else { Demand::More }
        };
        source.run(&mut sink).unwrap();
        assert_eq!(frames, [(0, 0), (1, 0), (1, 160), (0, 3_600)]);
    }
}
