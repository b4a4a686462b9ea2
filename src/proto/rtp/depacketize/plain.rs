//! Formats whose payload is a frame as it is: Opus, G.711, G.722, G.726, L16 and those that are not known.

use super::assembly::Assembly;
use super::{DepacketizeError, PayloadFormat};
use crate::rtp::header::Header;

pub(super) struct Plain;

impl PayloadFormat for Plain {
    fn handle(
        &mut self,
        header: &Header,
        payload: &[u8],
        out: &mut Assembly,
    ) -> Result<(), DepacketizeError> {
        out.emit(header.timestamp, payload);
        Ok(())
    }
}
