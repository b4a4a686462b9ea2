//! Pictures made without an encoder: H.264 whose macroblocks are samples as they are (I_PCM), or skipped.
//!
//! Any decoder shows them, and their size is what it shall be: 384 bytes for every macroblock that is not skipped.

use crate::bits::BitWriter;

/// Makes the pictures of one stream. A keyframe has all of its macroblocks, another picture as many as its size asks
/// for; which ones moves from picture to picture.
#[derive(Clone, Debug)]
pub struct Painter {
    /// Macroblocks of a picture that is no keyframe.
    blocks: usize,
    /// Pictures from keyframe to keyframe.
    group: u32,
    /// Number of the next picture.
    next: u32,
}

/// One picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Its slice, a NAL unit without start code.
    pub slice: Vec<u8>,
    /// Whether decoding can begin here.
    pub is_keyframe: bool,
}

impl Painter {
    /// Pictures of about `picture_bytes`, keyframes excepted, which have their full size; a keyframe every `group`.
    pub fn new(picture_bytes: usize, group: u32) -> Painter {
        let blocks = picture_bytes.div_ceil(BLOCK_BYTES).clamp(1, BLOCKS);
        Painter { blocks, group: group.max(1), next: 0 }
    }

    /// The next picture.
    pub fn paint(&mut self) -> Picture {
        let in_group = self.next % self.group;
        let is_keyframe = in_group == 0;
        let mut bits = BitWriter::default();
        bits.bits(if is_keyframe { 0x65 } else { 0x41 }, 8);
        write_head(&mut bits, self.next / self.group, in_group);
        let shade = (self.next % 200) as u8 + 16;
        if is_keyframe {
            for block in 0..BLOCKS {
                // I_PCM among intra macroblocks: mb_type 25.
                bits.unsigned(25);
                bits.bytes(&samples(shade, block));
            }
        } else {
            let first = (self.next as usize * 7) % (BLOCKS - self.blocks + 1);
            for (index, block) in (first..first + self.blocks).enumerate() {
                // mb_skip_run, then I_PCM behind the five types of inter macroblocks: mb_type 30.
                bits.unsigned(if index == 0 { first as u32 } else { 0 });
                bits.unsigned(30);
                bits.bytes(&samples(shade, block));
            }
            let behind = BLOCKS - first - self.blocks;
            if behind > 0 {
                bits.unsigned(behind as u32);
            }
        }
        self.next = self.next.wrapping_add(1);
        Picture { slice: bits.finish(), is_keyframe }
    }
}

/// Slice header (section 7.3.3) for the sets below.
fn write_head(bits: &mut BitWriter, group: u32, in_group: u32) {
    let is_keyframe = in_group == 0;
    bits.unsigned(0); // first_mb_in_slice
    bits.unsigned(if is_keyframe { 7 } else { 5 }); // slice_type: I or P, in the whole picture
    bits.unsigned(0); // pic_parameter_set_id
    bits.bits(in_group % FRAME_NUMBERS, FRAME_NUMBER_BITS); // frame_num
    if is_keyframe {
        // Differs between keyframes that follow each other.
        bits.unsigned(group % 2); // idr_pic_id
        bits.bits(0, 2); // no_output_of_prior_pics_flag, long_term_reference_flag
    } else {
        bits.bits(0, 1); // num_ref_idx_active_override_flag
        bits.bits(0, 1); // ref_pic_list_modification_flag_l0
        bits.bits(0, 1); // adaptive_ref_pic_marking_mode_flag
    }
    bits.signed(0); // slice_qp_delta
    bits.unsigned(1); // disable_deblocking_filter_idc
}

/// The samples of a macroblock: a pattern that no two of them share, without zeros, so that no start code is emulated.
fn samples(shade: u8, block: usize) -> [u8; 384] {
    let mut samples = [128; 384];
    for (at, sample) in samples[..256].iter_mut().enumerate() {
        *sample = shade.wrapping_add((block * 13 + at * 5) as u8) | 1;
    }
    samples
}

/// The sequence parameter set: Baseline, 320 by 240, one reference picture, no picture order but that of decoding.
pub fn sequence_set() -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.bits(0x67, 8);
    bits.bits(66, 8); // profile_idc
    bits.bits(0xc0, 8); // constraint_set0_flag, constraint_set1_flag
    bits.bits(40, 8); // level_idc: its bit rate holds the samples
    bits.unsigned(0); // seq_parameter_set_id
    bits.unsigned(u32::from(FRAME_NUMBER_BITS) - 4); // log2_max_frame_num_minus4
    bits.unsigned(2); // pic_order_cnt_type: as decoded
    bits.unsigned(1); // max_num_ref_frames
    bits.bits(0, 1); // gaps_in_frame_num_value_allowed_flag
    bits.unsigned(WIDTH_BLOCKS as u32 - 1);
    bits.unsigned(HEIGHT_BLOCKS as u32 - 1);
    bits.bits(1, 1); // frame_mbs_only_flag
    bits.bits(1, 1); // direct_8x8_inference_flag
    bits.bits(0, 1); // frame_cropping_flag
    bits.bits(0, 1); // vui_parameters_present_flag
    bits.finish()
}

/// The picture parameter set: one slice, CAVLC, deblocking as the slice says.
pub fn picture_set() -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.bits(0x68, 8);
    bits.unsigned(0); // pic_parameter_set_id
    bits.unsigned(0); // seq_parameter_set_id
    bits.bits(0, 1); // entropy_coding_mode_flag
    bits.bits(0, 1); // bottom_field_pic_order_in_frame_present_flag
    bits.unsigned(0); // num_slice_groups_minus1
    bits.unsigned(0); // num_ref_idx_l0_default_active_minus1
    bits.unsigned(0); // num_ref_idx_l1_default_active_minus1
    bits.bits(0, 1); // weighted_pred_flag
    bits.bits(0, 2); // weighted_bipred_idc
    bits.signed(0); // pic_init_qp_minus26
    bits.signed(0); // pic_init_qs_minus26
    bits.signed(0); // chroma_qp_index_offset
    bits.bits(1, 1); // deblocking_filter_control_present_flag
    bits.bits(0, 1); // constrained_intra_pred_flag
    bits.bits(0, 1); // redundant_pic_cnt_present_flag
    bits.finish()
}

/// Bytes of a macroblock: 16 by 16 luma samples, two times 8 by 8 chroma samples, and the bits in front, made whole.
const BLOCK_BYTES: usize = 384 + 2;

const WIDTH_BLOCKS: usize = 20;
const HEIGHT_BLOCKS: usize = 15;
const BLOCKS: usize = WIDTH_BLOCKS * HEIGHT_BLOCKS;

const FRAME_NUMBER_BITS: u8 = 16;
const FRAME_NUMBERS: u32 = 1 << FRAME_NUMBER_BITS;

/// Bytes of a keyframe, which is also the most that another picture can have.
pub const PICTURE_BYTES_MAX: usize = BLOCKS * BLOCK_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_have_their_size_and_no_start_code_within() {
        let mut painter = Painter::new(16_600, 60);
        for number in 0..150 {
            let picture = painter.paint();
            assert_eq!(picture.is_keyframe, number % 60 == 0);
            let expected = if picture.is_keyframe { PICTURE_BYTES_MAX } else { 16_600 };
            assert!(picture.slice.len().abs_diff(expected) <= expected / 40, "{}", picture.slice.len());
            assert!(!picture.slice.windows(3).any(|bytes| bytes[..2] == [0, 0] && bytes[2] <= 3));
        }
        for set in [sequence_set(), picture_set()] {
            assert!(!set.windows(3).any(|bytes| bytes[..2] == [0, 0] && bytes[2] <= 3));
        }
    }
}
