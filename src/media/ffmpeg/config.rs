//! Codec parameters as containers hold them: `avcC`, `hvcC`, `av1C`, ADTS headers, start codes.

use bytes::Bytes;
use proto::aac::{FREQUENCIES, audio_specific_config};
use proto::track::Framing;

/// Parameter sets by kind, and how units stand in frames.
#[derive(Debug, Default, PartialEq)]
pub struct ParameterSets {
    /// Video parameter sets (H.265 only).
    pub vps: Vec<Bytes>,
    /// Sequence parameter sets.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets.
    pub pps: Vec<Bytes>,
    /// Bytes of the length before each unit; None for start codes.
    pub length_bytes: Option<u8>,
}

impl ParameterSets {
    /// How units stand in frames.
    pub fn framing(&self) -> Framing {
        self.length_bytes.map_or(Framing::AnnexB, Framing::Length)
    }

    /// Reads `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 section 5.3.3.1) or units behind start codes.
    /// None when it is neither.
    pub fn h264(extradata: &Bytes) -> Option<ParameterSets> {
        if extradata.first() != Some(&1) {
            return Some(ParameterSets::from_h264_units(annex_b(extradata)));
        }
        let mut reader = Reader { bytes: extradata, at: 4 };
        let length_bytes = reader.u8()? & 3;
        let sps_count = reader.u8()? & 31;
        let sps = reader.units(usize::from(sps_count))?;
        let pps_count = reader.u8()?;
        let pps = reader.units(usize::from(pps_count))?;
        Some(ParameterSets { vps: Vec::new(), sps, pps, length_bytes: Some(length_bytes + 1) })
    }

    /// Reads `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 section 8.3.3.1) or units behind start codes.
    /// None when it is neither.
    pub fn h265(extradata: &Bytes) -> Option<ParameterSets> {
        if extradata.first() != Some(&1) {
            return Some(ParameterSets::from_h265_units(annex_b(extradata)));
        }
        let mut reader = Reader { bytes: extradata, at: 21 };
        let length_bytes = reader.u8()? & 3;
        let array_count = reader.u8()?;
        let mut units = Vec::new();
        for _ in 0..array_count {
            reader.u8()?;
            let count = reader.u16()?;
            units.extend(reader.units(usize::from(count))?);
        }
        let sets = ParameterSets::from_h265_units(units.into_iter());
        Some(ParameterSets { length_bytes: Some(length_bytes + 1), ..sets })
    }

    /// The sets among the units of H.264.
    pub fn from_h264_units(units: impl Iterator<Item = Bytes>) -> ParameterSets {
        let mut sets = ParameterSets::default();
        for unit in units {
            match unit.first().map(|header| header & 31) {
                Some(7) => sets.sps.push(unit),
                Some(8) => sets.pps.push(unit),
                _ => {}
            }
        }
        sets
    }

    /// The sets among the units of H.265.
    pub fn from_h265_units(units: impl Iterator<Item = Bytes>) -> ParameterSets {
        let mut sets = ParameterSets::default();
        for unit in units {
            match unit.first().map(|header| header >> 1 & 63) {
                Some(32) => sets.vps.push(unit),
                Some(33) => sets.sps.push(unit),
                Some(34) => sets.pps.push(unit),
                _ => {}
            }
        }
        sets
    }
}

/// Units behind start codes, without copying them.
pub fn annex_b(bytes: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    let mut from = next_start_code(bytes, 0).map(|(_, behind)| behind);
    std::iter::from_fn(move || {
        let begin = from?;
        let next = next_start_code(bytes, begin);
        let end = next.map_or(bytes.len(), |(at, _)| at);
        from = next.map(|(_, behind)| behind);
        let unit = &bytes[begin..end];
        let size = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(bytes.slice(begin..begin + size))
    })
}

/// Where the next `00 00 01` begins and ends.
fn next_start_code(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let at = bytes.get(from..)?.windows(3).position(|window| window == [0, 0, 1])? + from;
    Some((at, at + 3))
}

/// The sequence header unit among the units of AV1 (AV1 specification section 5.3), with header and size. Empty when
/// there is none. Takes `av1C` (AV1 in ISOBMFF section 2.3.3) as well as bare units.
pub fn av1_sequence_header(extradata: &Bytes) -> Bytes {
    const SEQUENCE_HEADER: u8 = 1;
    let mut at = if extradata.first() == Some(&0x81) { 4 } else { 0 };
    while let Some(&header) = extradata.get(at) {
        if header & 2 == 0 {
            break;
        }
        let mut size_at = at + 1 + usize::from(header >> 2 & 1);
        let mut size = 0_usize;
        for place in 0..4 {
            let Some(&byte) = extradata.get(size_at) else { return Bytes::new() };
            size |= usize::from(byte & 0x7f) << (7 * place);
            size_at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let end = size_at + size;
        if end > extradata.len() {
            break;
        }
        if header >> 3 & 15 == SEQUENCE_HEADER {
            return extradata.slice(at..end);
        }
        at = end;
    }
    Bytes::new()
}

/// An ADTS header (ISO/IEC 14496-3 section 1.A.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adts {
    /// Bytes of the header.
    pub size: usize,
    object_type: u8,
    rate_index: u8,
    channel_configuration: u8,
}

impl Adts {
    /// None when there is no such header.
    pub fn parse(frame: &[u8]) -> Option<Adts> {
        let header = frame.get(..7)?;
        if header[0] != 0xff || header[1] & 0xf6 != 0xf0 {
            return None;
        }
        let size = if header[1] & 1 == 1 { 7 } else { 9 };
        let rate_index = header[2] >> 2 & 15;
        if rate_index >= FREQUENCIES.len() as u8 || frame.len() < size {
            return None;
        }
        let channel_configuration = (header[2] & 1) << 2 | header[3] >> 6;
        Some(Adts { size, object_type: (header[2] >> 6) + 1, rate_index, channel_configuration })
    }

    /// AudioSpecificConfig with the same meaning; None when the channels are listed in the frames.
    pub fn config(&self) -> Option<Bytes> {
        audio_specific_config(self.object_type, self.sample_rate(), self.channels())
    }

    /// Samples a second.
    pub fn sample_rate(&self) -> u32 {
        FREQUENCIES[usize::from(self.rate_index)]
    }

    /// Channels.
    pub fn channels(&self) -> u8 {
        if self.channel_configuration == 7 { 8 } else { self.channel_configuration }
    }
}

struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn u8(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    fn units(&mut self, count: usize) -> Option<Vec<Bytes>> {
        let mut units = Vec::new();
        for _ in 0..count {
            let size = usize::from(self.u16()?);
            let end = self.at + size;
            if end > self.bytes.len() {
                return None;
            }
            units.push(self.bytes.slice(self.at..end));
            self.at = end;
        }
        Some(units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn avcc_is_read_and_a_short_one_is_refused() {
        let record = Bytes::from_static(&[1, 66, 0, 30, 0xff, 0xe1, 0, 2, 0x67, 9, 1, 0, 1, 0x68]);
        let sets = ParameterSets::h264(&record).unwrap();
        assert_eq!(sets.framing(), Framing::Length(4));
        assert_eq!((&sets.sps[0][..], &sets.pps[0][..]), (&[0x67, 9][..], &[0x68][..]));
        for size in 1..record.len() {
            assert_eq!(ParameterSets::h264(&record.slice(..size)), None, "{size}");
        }
    }

    #[test]
    fn start_codes_separate_parameter_sets() {
        let extradata = Bytes::from_static(&[0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 1, 6, 3]);
        let sets = ParameterSets::h264(&extradata).unwrap();
        assert_eq!((&sets.sps[0][..], &sets.pps[0][..]), (&[0x67, 1][..], &[0x68, 2][..]));
        assert_eq!(sets.framing(), Framing::AnnexB);
    }

    #[test]
    fn an_adts_header_becomes_a_configuration() {
        // AAC-LC, 44.1 kHz, stereo, without CRC.
        let adts = Adts::parse(&[0xff, 0xf1, 0x50, 0x80, 0x02, 0x1f, 0xfc]).unwrap();
        assert_eq!((adts.size, adts.sample_rate(), adts.channels()), (7, 44_100, 2));
        assert_eq!(&adts.config().unwrap()[..], &[0x12, 0x10]);
        assert_eq!(Adts::parse(&[0x21; 7]), None);
    }

    #[test]
    fn the_sequence_header_is_found_behind_other_units() {
        let record = Bytes::from_static(&[0x81, 0, 0, 0, 0x12, 0, 0x0a, 3, 7, 8, 9]);
        assert_eq!(&av1_sequence_header(&record)[..], &[0x0a, 3, 7, 8, 9]);
        assert!(av1_sequence_header(&record.slice(..9)).is_empty());
        assert!(av1_sequence_header(&Bytes::new()).is_empty());
    }
}
