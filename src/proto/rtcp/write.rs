//! Compound packets to bytes (RFC 3550 section 6.1): a report first, then the source's name, then the rest.

use bytes::BufMut;

use super::report::{ReportBlock, SenderInfo};
use super::{CNAME, feedback_format, packet_type};

/// Appends a sender's report and its name.
pub fn sender_report(out: &mut impl BufMut, info: &SenderInfo, cname: &str) {
    sender_report_with(out, info, &[], cname);
}

/// Appends the report of a sender that also receives, and its name. Of more than 31 blocks the first 31 are written.
pub fn sender_report_with(out: &mut impl BufMut, info: &SenderInfo, blocks: &[ReportBlock], cname: &str) {
    let blocks = &blocks[..blocks.len().min(BLOCKS_MAX)];
    put_head(out, blocks.len() as u8, packet_type::SENDER_REPORT, 24 + blocks.len() * ReportBlock::BYTES);
    out.put_u32(info.ssrc);
    out.put_u64(info.ntp.0);
    out.put_u32(info.rtp);
    out.put_u32(info.packets);
    out.put_u32(info.octets);
    blocks.iter().for_each(|block| block.write(out));
    put_name(out, info.ssrc, cname);
}

/// Appends a receiver's report and its name. Of more than 31 blocks the first 31 are written.
pub fn receiver_report(out: &mut impl BufMut, ssrc: u32, blocks: &[ReportBlock], cname: &str) {
    let blocks = &blocks[..blocks.len().min(BLOCKS_MAX)];
    put_head(out, blocks.len() as u8, packet_type::RECEIVER_REPORT, 4 + blocks.len() * ReportBlock::BYTES);
    out.put_u32(ssrc);
    blocks.iter().for_each(|block| block.write(out));
    put_name(out, ssrc, cname);
}

/// Appends the last words of a sender: report, name and goodbye, with an empty reason left out.
pub fn bye(out: &mut impl BufMut, info: &SenderInfo, cname: &str, reason: &str) {
    sender_report(out, info, cname);
    put_bye(out, info.ssrc, reason);
}

/// Appends the last words of a receiver: report, name and goodbye, with an empty reason left out.
pub fn receiver_bye(out: &mut impl BufMut, ssrc: u32, cname: &str, reason: &str) {
    receiver_report(out, ssrc, &[], cname);
    put_bye(out, ssrc, reason);
}

/// Appends a request for a keyframe after a lost picture, behind a report (RFC 4585 section 6.3.1).
pub fn pli(out: &mut impl BufMut, sender: u32, media: u32) {
    put_head(out, feedback_format::PICTURE_LOSS_INDICATION, packet_type::PAYLOAD_FEEDBACK, 8);
    out.put_u32(sender);
    out.put_u32(media);
}

/// Appends a request for a keyframe, behind a report (RFC 5104 section 4.3.1). A new request has the next number,
/// a repetition the same.
pub fn fir(out: &mut impl BufMut, sender: u32, media: u32, number: u8) {
    put_head(out, feedback_format::FULL_INTRA_REQUEST, packet_type::PAYLOAD_FEEDBACK, 16);
    out.put_u32(sender);
    // The media source of the head is unused and zero.
    out.put_u32(0);
    out.put_u32(media);
    out.put_u32(u32::from(number) << 24);
}

fn put_bye(out: &mut impl BufMut, ssrc: u32, reason: &str) {
    let reason = cut(reason);
    let size = if reason.is_empty() { 4 } else { 5 + reason.len() };
    put_head(out, 1, packet_type::BYE, size.next_multiple_of(4));
    out.put_u32(ssrc);
    if !reason.is_empty() {
        put_text(out, reason);
        out.put_bytes(0, size.next_multiple_of(4) - size);
    }
}

fn put_name(out: &mut impl BufMut, ssrc: u32, cname: &str) {
    let cname = cut(cname);
    // Source, type, length, text, and at least one zero.
    let size = 4 + 2 + cname.len();
    let padded = (size + 1).next_multiple_of(4);
    put_head(out, 1, packet_type::SOURCE_DESCRIPTION, padded);
    out.put_u32(ssrc);
    out.put_u8(CNAME);
    put_text(out, cname);
    out.put_bytes(0, padded - size);
}

/// Length and text, which [`cut`] has made fit.
fn put_text(out: &mut impl BufMut, text: &str) {
    out.put_u8(text.len() as u8);
    out.put_slice(text.as_bytes());
}

fn put_head(out: &mut impl BufMut, count: u8, packet_type: u8, body_bytes: usize) {
    out.put_u8(0x80 | count);
    out.put_u8(packet_type);
    out.put_u16((body_bytes / 4) as u16);
}

/// As much of a text as one byte can count.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What five bits can count.
const BLOCKS_MAX: usize = 31;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::parse::{Compound, Packet};
    use crate::time::NtpTime;
    use proptest::prelude::*;

    prop_compose! {
        fn any_block()(
            (ssrc, fraction_lost, highest_sequence) in any::<(u32, u8, u32)>(),
            cumulative_lost in -0x80_0000i32..0x80_0000,
            (jitter, last_sr, delay_since_last_sr) in any::<(u32, u32, u32)>(),
        ) -> ReportBlock {
            ReportBlock {
                ssrc, fraction_lost, cumulative_lost, highest_sequence, jitter, last_sr, delay_since_last_sr,
            }
        }
    }

    prop_compose! {
        fn any_info()((ssrc, ntp, rtp, packets, octets) in any::<(u32, u64, u32, u32, u32)>()) -> SenderInfo {
            SenderInfo { ssrc, ntp: NtpTime(ntp), rtp, packets, octets }
        }
    }

    fn assert_name(packet: Option<Packet<'_>>, ssrc: u32, cname: &str) {
        let Some(Packet::SourceDescription(names)) = packet else { panic!("{packet:?}") };
        assert_eq!(names.iter().collect::<Vec<_>>(), [(ssrc, Some(cname.as_bytes()))]);
    }

    proptest! {
        #[test]
        fn reports_are_read_as_written(
            info in any_info(),
            list in prop::collection::vec(any_block(), 0..32),
            cname in "[a-z@0-9]{0,60}",
        ) {
            let mut out = Vec::new();
            sender_report_with(&mut out, &info, &list, &cname);
            let mut packets = Compound::parse(&out).unwrap().iter();
            let Some(Packet::SenderReport { info: got, blocks }) = packets.next() else { panic!() };
            prop_assert_eq!(got, info);
            prop_assert_eq!(blocks.iter().collect::<Vec<_>>(), list.clone());
            assert_name(packets.next(), info.ssrc, &cname);
            prop_assert_eq!(packets.next(), None);

            let mut out = Vec::new();
            receiver_report(&mut out, info.ssrc, &list, &cname);
            let mut packets = Compound::parse(&out).unwrap().iter();
            let Some(Packet::ReceiverReport { ssrc, blocks }) = packets.next() else { panic!() };
            prop_assert_eq!(ssrc, info.ssrc);
            prop_assert_eq!(blocks.iter().collect::<Vec<_>>(), list);
            assert_name(packets.next(), info.ssrc, &cname);
        }

        #[test]
        fn goodbyes_are_read_as_written(info in any_info(), reason in "[a-z]{0,300}") {
            let mut out = Vec::new();
            bye(&mut out, &info, "c", &reason);
            let last = Compound::parse(&out).unwrap().iter().nth(2);
            let Some(Packet::Bye { ssrcs, reason: got }) = last else { panic!("{last:?}") };
            prop_assert_eq!(ssrcs.iter().collect::<Vec<_>>(), [info.ssrc]);
            let kept = &reason.as_bytes()[..reason.len().min(255)];
            prop_assert_eq!(got.unwrap_or_default(), kept);
        }
    }

    #[test]
    fn requests_for_keyframes_follow_a_report() {
        let mut out = bytes::BytesMut::new();
        receiver_report(&mut out, 1, &[], "x");
        pli(&mut out, 1, 2);
        fir(&mut out, 1, 2, 250);
        let got: Vec<_> = Compound::parse(&out).unwrap().iter().collect();
        assert_eq!(got[2], Packet::PictureLossIndication { sender: 1, media: 2 });
        let Packet::FullIntraRequest { sender: 1, entries } = got[3] else { panic!() };
        assert_eq!(entries.iter().collect::<Vec<_>>(), [(2, 250)]);
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        let mut out = Vec::new();
        let name = "\u{e4}".repeat(200);
        receiver_bye(&mut out, 1, &name, "");
        let mut packets = Compound::parse(&out).unwrap().iter();
        assert_name(packets.nth(1), 1, &"\u{e4}".repeat(127));
        assert!(matches!(packets.next(), Some(Packet::Bye { reason: None, .. })));
    }

    #[test]
    fn many_blocks_are_cut_to_what_a_report_holds() {
        let mut out = Vec::new();
        receiver_report(&mut out, 1, &[ReportBlock::default(); 40], "x");
        let Some(Packet::ReceiverReport { blocks, .. }) = Compound::parse(&out).unwrap().iter().next() else {
            panic!()
        };
        assert_eq!(blocks.iter().count(), 31);
    }
}
