//! Tells when the first picture with which decoding can begin has come whole.

use proto::rtp::header::Header;

use crate::meter::Place;

/// How a keyframe is known in packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 6184: a NAL unit of type 5.
    H264,
    /// RFC 7798: NAL units of types 16 to 21.
    H265,
    /// Every picture is one, as in RFC 2435.
    Intra,
    /// Not known.
    Other,
}

impl Coding {
    /// From the name in `a=rtpmap`, or the static payload type.
    pub fn of(name: &str) -> Coding {
        match name.to_ascii_uppercase().as_str() {
            "H264" => Coding::H264,
            "H265" => Coding::H265,
            "JPEG" | "26" => Coding::Intra,
            _ => Coding::Other,
        }
    }
}

/// Follows the packets of one track up to the end of its first whole keyframe.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    coding: Coding,
    is_keyframe: bool,
    is_whole: bool,
}

impl Watch {
    /// Nothing has come yet.
    pub fn new(coding: Coding) -> Watch {
        Watch { coding, is_keyframe: false, is_whole: false }
    }

    /// Takes a packet; true when it ends the keyframe.
    pub fn take(&mut self, packet: &[u8], place: Place) -> bool {
        match place {
            Place::Begins(0) => (self.is_keyframe, self.is_whole) = (self.coding == Coding::Intra, true),
            // What is missing may be the begin of this unit.
            Place::Begins(_) => (self.is_keyframe, self.is_whole) = (false, false),
            Place::Continues(0) => {}
            Place::Continues(_) | Place::Late => self.is_whole = false,
        }
        let Some((header, payload)) = Header::parse(packet) else { return false };
        self.is_keyframe |= self.begins_keyframe(&packet[payload]);
        header.marker && self.is_keyframe && self.is_whole
    }

    /// Whether a keyframe's slice begins in this packet.
    fn begins_keyframe(&self, payload: &[u8]) -> bool {
        match self.coding {
            Coding::H264 => match payload {
                [head, rest @ ..] if head & 0x1f == 24 => units(rest, 1).any(|unit| unit[0] & 0x1f == 5),
                [head, fragment, ..] if head & 0x1f == 28 => fragment & 0x80 != 0 && fragment & 0x1f == 5,
                [head, ..] => head & 0x1f == 5,
                [] => false,
            },
            Coding::H265 => match payload {
                [head, _, rest @ ..] if head >> 1 & 0x3f == 48 => {
                    units(rest, 2).any(|unit| matches!(unit[0] >> 1 & 0x3f, 16..=21))
                }
                [head, _, fragment, ..] if head >> 1 & 0x3f == 49 => {
                    fragment & 0x80 != 0 && matches!(fragment & 0x3f, 16..=21)
                }
                [head, ..] => matches!(head >> 1 & 0x3f, 16..=21),
                [] => false,
            },
            Coding::Intra | Coding::Other => false,
        }
    }
}

/// The units of an aggregation packet, of at least `least` bytes.
fn units(mut rest: &[u8], least: usize) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (size, behind) = rest.split_first_chunk::<2>()?;
        let (unit, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
        rest = behind;
        Some(unit)
    })
    .filter(move |unit| unit.len() >= least)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(marker: bool, payload: &[u8]) -> Vec<u8> {
        let header = Header { marker, payload_type: 96, sequence: 1, timestamp: 2, ssrc: 3 };
        [&header.to_bytes()[..], payload].concat()
    }

    #[test]
    fn a_keyframe_ends_with_the_marker_of_a_unit_that_came_whole() {
        let mut watch = Watch::new(Coding::H264);
        // The middle of a keyframe, a picture that is none, a keyframe with a gap, a keyframe.
        let steps: [(Place, bool, &[u8], bool); 9] = [
            (Place::Begins(0), false, &[0x7c, 0x05, 1], false),
            (Place::Continues(0), true, &[0x7c, 0x45, 1], false),
            (Place::Begins(0), true, &[0x41, 1], false),
            (Place::Begins(0), false, &[0x7c, 0x85, 1], false),
            (Place::Continues(1), true, &[0x7c, 0x45, 1], false),
            (Place::Begins(3), true, &[0x65, 1], false),
            (Place::Begins(0), false, &[0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 1], false),
            (Place::Continues(0), false, &[0x7c, 0x85, 1], false),
            (Place::Continues(0), true, &[0x7c, 0x45, 1], true),
        ];
        for (index, (place, marker, payload, expected)) in steps.into_iter().enumerate() {
            assert_eq!(watch.take(&packet(marker, payload), place), expected, "step {index}");
        }
    }

    #[test]
    fn other_codings_have_their_own_keyframes() {
        let whole =
            |coding, payload: &[u8]| Watch::new(coding).take(&packet(true, payload), Place::Begins(0));
        assert!(whole(Coding::H264, &[0x78, 0, 1, 0x67, 0, 1, 0x65]));
        assert!(whole(Coding::H265, &[19 << 1, 1, 7]));
        assert!(whole(Coding::H265, &[48 << 1, 1, 0, 2, 33 << 1, 1, 0, 2, 20 << 1, 1]));
        assert!(whole(Coding::H265, &[49 << 1, 1, 0x80 | 19]));
        assert!(!whole(Coding::H265, &[1 << 1, 1, 7]));
        assert!(whole(Coding::Intra, &[0; 9]));
        assert!(!whole(Coding::Other, &[0x65]));
        assert_eq!(["h264", "26", "VP8"].map(Coding::of), [Coding::H264, Coding::Intra, Coding::Other]);
    }

    proptest! {
        #[test]
        fn any_packet_is_read_without_panic(bytes: Vec<u8>, coding in 0..4usize) {
            let coding = [Coding::H264, Coding::H265, Coding::Intra, Coding::Other][coding];
            Watch::new(coding).take(&bytes, Place::Begins(0));
            Watch::new(coding).take(&packet(true, &bytes), Place::Continues(0));
        }
    }
}
