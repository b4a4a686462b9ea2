//! AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1) of ordinary streams.
//!
//! ```text
//! |object type 5|frequency index 4|channel configuration 4|0 0 0|
//! ```

use bytes::Bytes;

/// Object type of AAC-LC, which nearly all streams have.
pub const LOW_COMPLEXITY: u8 = 2;

/// Sampling frequencies by index (ISO/IEC 14496-3 table 1.18).
pub const FREQUENCIES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// The configuration of frames of 1024 samples; None when the rate has no index, or the channels have no number of
/// their own.
pub fn audio_specific_config(object_type: u8, sample_rate: u32, channels: u8) -> Option<Bytes> {
    let index = FREQUENCIES.iter().position(|&frequency| frequency == sample_rate)? as u16;
    let configuration = match channels {
        1..=6 => channels,
        8 => 7,
        _ => return None,
    };
    let bits = u16::from(object_type & 31) << 11 | index << 7 | u16::from(configuration) << 3;
    Some(Bytes::copy_from_slice(&bits.to_be_bytes()))
}

/// A configuration without the extension that only says that there is none (ISO/IEC 14496-3 section 1.6.6.1): FFmpeg
/// writes it, and players in browsers (media-stream-library 13) read two bytes or fail. It stays below 32 kHz, where a
/// decoder could take silence about spectral band replication for consent.
pub fn without_absent_extension(config: &[u8]) -> &[u8] {
    match config {
        [first, second, 0x56, 0xe5, flag] if flag & 0x80 == 0 => {
            let head = u16::from_be_bytes([*first, *second]);
            let (object_type, index, rest) = (head >> 11, head >> 7 & 15, head & 7);
            let is_plain = object_type == u16::from(LOW_COMPLEXITY) && index <= INDEX_OF_32_KHZ && rest == 0;
            if is_plain { &config[..2] } else { config }
        }
        _ => config,
    }
}

/// In [`FREQUENCIES`].
const INDEX_OF_32_KHZ: u16 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_that_says_that_there_is_none_is_left_out() {
        assert_eq!(without_absent_extension(&[0x11, 0x90, 0x56, 0xe5, 0]), [0x11, 0x90]);
        // It says that there is one; a decoder might look for one; there is none to leave out.
        for config in [&[0x11, 0x90, 0x56, 0xe5, 0x80][..], &[0x15, 0x90, 0x56, 0xe5, 0], &[0x11, 0x90]] {
            assert_eq!(without_absent_extension(config), config);
        }
    }

    #[test]
    fn rate_and_channels_make_the_configuration_that_encoders_write() {
        let config = |rate, channels| audio_specific_config(LOW_COMPLEXITY, rate, channels);
        assert_eq!(config(44_100, 2).as_deref(), Some(&[0x12, 0x10][..]));
        assert_eq!(config(48_000, 1).as_deref(), Some(&[0x11, 0x88][..]));
        assert_eq!(config(8_000, 2).as_deref(), Some(&[0x15, 0x90][..]));
        assert_eq!((config(44_000, 2), config(44_100, 7)), (None, None));
    }
}
