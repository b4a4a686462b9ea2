//! A message as it stands on the wire (RFC 3830 section 6).

use super::{
    KEY_AND_SALT_OF_TRAFFIC, KEY_OF_TRAFFIC, Message, NO_VALIDITY, PRE_SHARED, Source, VALID_BY_MKI, VERSION,
    payload, policy,
};
use crate::srtp::Suite;
use crate::time::NtpTime;

/// Bytes of random data that a message is to have at least (section 6.11).
const RAND_BYTES: usize = 16;

impl Message {
    /// The message; `random` is never the same twice.
    pub fn write(&self, now: NtpTime, random: [u8; RAND_BYTES]) -> Vec<u8> {
        let mut out = vec![VERSION, PRE_SHARED, payload::TIMESTAMP, 0];
        out.extend(self.bundle.to_be_bytes());
        // How many crypto sessions, and that they are mapped to sources.
        out.extend([self.sources.len() as u8, 0]);
        for Source { ssrc, roc } in &self.sources {
            out.push(0);
            out.extend(ssrc.to_be_bytes());
            out.extend(roc.to_be_bytes());
        }
        // As NTP in UTC.
        out.extend([payload::RAND, 0]);
        out.extend(now.0.to_be_bytes());
        out.extend([payload::POLICY, RAND_BYTES as u8]);
        out.extend(random);
        self.write_policy(&mut out);
        self.write_key(&mut out);
        out
    }

    fn write_policy(&self, out: &mut Vec<u8>) {
        use policy::*;
        let suite = self.master.suite;
        let common = |cipher, authentication, salt| {
            [
                (CIPHER, cipher),
                (KEY_BYTES, suite.key_bytes() as u8),
                (AUTHENTICATION, authentication),
                (SALT_BYTES, salt),
                (DERIVATION_RATE, 0),
                (ENCRYPTS_RTP, 1),
                (ENCRYPTS_RTCP, 1),
            ]
        };
        let salt = suite.salt_bytes() as u8;
        let parameters = match suite {
            Suite::AesCm128HmacSha1 => {
                let own = [(AUTHENTICATION_KEY_BYTES, 20), (AUTHENTICATES_RTP, 1), (TAG_BYTES, 10)];
                common(AES_CM, HMAC_SHA1, salt).into_iter().chain(own).collect::<Vec<_>>()
            }
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => {
                common(AES_GCM, NO_AUTHENTICATION, salt).into_iter().chain([(AEAD_TAG_BYTES, 16)]).collect()
            }
        };
        // Policy number 0, of SRTP.
        out.extend([payload::KEMAC, 0, 0]);
        out.extend((3 * parameters.len() as u16).to_be_bytes());
        parameters.into_iter().for_each(|(kind, value)| out.extend([kind, 1, value]));
    }

    fn write_key(&self, out: &mut Vec<u8>) {
        let master = &self.master;
        let validity = if master.mki.is_empty() { NO_VALIDITY } else { VALID_BY_MKI };
        // Keys with a name are those of ONVIF, which wants the salt of AES-GCM apart; elsewhere that is not understood.
        let is_apart = validity == VALID_BY_MKI && master.suite != Suite::AesCm128HmacSha1;
        let kind = if is_apart { KEY_AND_SALT_OF_TRAFFIC } else { KEY_OF_TRAFFIC };
        let mut key = vec![payload::LAST, kind << 4 | validity];
        let (own, salt) = (master.key(), master.salt());
        let counted = if is_apart { own.len() } else { own.len() + salt.len() };
        key.extend((counted as u16).to_be_bytes());
        key.extend(own);
        if is_apart {
            key.extend((salt.len() as u16).to_be_bytes());
        }
        key.extend(salt);
        if validity == VALID_BY_MKI {
            key.push(master.mki.len() as u8);
            key.extend(&master.mki);
        }
        // Not encrypted, and not authenticated.
        out.extend([payload::LAST, 0]);
        out.extend((key.len() as u16).to_be_bytes());
        out.extend(key);
        out.push(0);
    }
}
