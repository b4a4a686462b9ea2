//! ONVIF metadata (ONVIF streaming specification section 5.1.2.1.1): the marker is on the last packet of a document.

use super::assembly::Assembly;
use super::{DepacketizeError, PayloadFormat};
use crate::rtp::header::Header;

pub(super) struct Metadata;

impl PayloadFormat for Metadata {
    fn handle(&mut self, _: &Header, payload: &[u8], out: &mut Assembly) -> Result<(), DepacketizeError> {
        // Each document stands for itself.
        out.mark_keyframe();
        out.put(payload)
    }
}
