//! SRTP towards viewers: what all viewers of a stream get is protected once, a file's packets for each viewer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use proto::rtp::batch::Batch;
use proto::srtp::{MasterKey, Receiver, Sender, SrtpError, Suite};

use super::heads::renumbered;
use super::numbering::Numbering;

/// Protected batches of a stream that are kept: viewers are at most places near each other.
const SHARED_MAX: usize = 64;

/// Sequence number beyond which nobody new joins under a key: who joins takes numbers not to have come round yet, and
/// most players cannot be told. 4,096 packets, ten seconds of a camera, are left for those who are on their way.
const JOINED_BEFORE: u16 = 0xf000;

/// Protects the packets of one track under one key, for one viewer or for many on one shard.
#[derive(Debug)]
pub struct Protector {
    sender: Sender,
    /// Synchronization source of the latest batch.
    ssrc: Option<u32>,
    kept: VecDeque<(Arc<Batch>, Numbering, Arc<Batch>)>,
    kept_max: usize,
}

/// A key that viewers share.
pub type SharedProtector = Rc<RefCell<Protector>>;

/// SRTP of one track towards one viewer, and back.
#[derive(Debug)]
pub struct Protection {
    /// What we send.
    pub protector: SharedProtector,
    /// What the viewer sends.
    pub receiver: Receiver,
}

impl Protector {
    /// For many viewers, who get the same bytes.
    pub fn shared(master: MasterKey) -> SharedProtector {
        Protector::new(master, SHARED_MAX)
    }

    /// For one viewer with numbers of its own: no other may have this key, which would protect other payloads under the
    /// same numbers.
    pub fn own(master: MasterKey) -> SharedProtector {
        // A large picture leaves in several turns.
        Protector::new(master, 1)
    }

    fn new(master: MasterKey, kept_max: usize) -> SharedProtector {
        let protector =
            Protector { sender: Sender::new(master), ssrc: None, kept: VecDeque::new(), kept_max };
        Rc::new(RefCell::new(protector))
    }

    /// What the same viewer gets from now on, under another key that is its own.
    pub fn renewed(&self, master: MasterKey) -> SharedProtector {
        Rc::new(RefCell::new(Protector {
            sender: self.sender.renewed(master),
            ssrc: self.ssrc,
            kept: VecDeque::new(),
            kept_max: 1,
        }))
    }

    /// How often sequence numbers have come round.
    pub fn roc(&self) -> u32 {
        self.sender.roc()
    }

    /// The key.
    pub fn master(&self) -> &MasterKey {
        self.sender.master()
    }

    /// Whether anything was protected under it.
    pub fn is_used(&self) -> bool {
        self.ssrc.is_some()
    }

    /// Whether one more may join while the stream is at a sequence number.
    pub fn may_be_joined(&self, now_at: u16) -> bool {
        !self.sender.has_come_round() && self.sender.next_sequence().unwrap_or(now_at) < JOINED_BEFORE
    }

    /// Notes a batch of the stream, protected or not.
    pub fn note(&mut self, batch: &Batch) {
        // Counting begins with the first viewer's first packet.
        if self.ssrc.is_some() {
            self.sender.note(batch.sequence().wrapping_add(batch.packets().len() as u16));
        }
    }

    /// A batch as it leaves under one viewer's numbers.
    pub fn protect(&mut self, batch: &Arc<Batch>, numbering: &Numbering) -> Arc<Batch> {
        let is_same =
            |kept: &&(Arc<Batch>, Numbering, Arc<Batch>)| Arc::ptr_eq(&kept.0, batch) && kept.1 == *numbering;
        if let Some((_, _, protected)) = self.kept.iter().rev().find(is_same) {
            return protected.clone();
        }
        if self.ssrc.replace(numbering.ssrc).is_some_and(|before| before != numbering.ssrc) {
            self.sender.restart();
        }
        let is_identity = numbering.is_identity_for(batch);
        let header = |packet: &[u8]| (!is_identity).then(|| renumbered(packet, numbering));
        let protected = Arc::new(self.sender.protect(batch, header));
        if self.kept.len() >= self.kept_max {
            self.kept.pop_front();
        }
        self.kept.push_back((batch.clone(), *numbering, protected.clone()));
        protected
    }

    /// Protects the compound packet that begins at `start` and ends `out`.
    pub fn protect_rtcp(&mut self, out: &mut BytesMut, start: usize) {
        self.sender.protect_rtcp(out, start);
    }

    /// Bytes that each packet becomes longer by.
    pub fn overhead_bytes(&self) -> usize {
        self.sender.overhead_bytes()
    }
}

impl Protection {
    /// How what we send is encrypted.
    pub fn suite(&self) -> Suite {
        self.protector.borrow().master().suite
    }

    /// The plain form of a compound packet of the viewer.
    pub fn open_rtcp(&mut self, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        let mut plain = Vec::with_capacity(packet.len());
        self.receiver.handle_rtcp(packet, &mut plain)?;
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::rtp::batch::{BatchWriter, Meta, Numbering as Canonical};
    use proto::srtp::RANDOM_BYTES;
    use proto::time::MediaTime;

    const SUITES: [Suite; 3] = [Suite::AesCm128HmacSha1, Suite::AeadAes128Gcm, Suite::AeadAes256Gcm];

    fn batch(sequence: u16, count: usize) -> Arc<Batch> {
        let canonical = Canonical { ssrc: 1, payload_type: 96, sequence, timestamp: 1_000 };
        let mut writer = BatchWriter::new(canonical, 0);
        (0..count).for_each(|_| writer.packet(false, &[&[7; 50]]));
        let meta = Meta { track: 0, keyframe: true, dts: MediaTime::ZERO, pts: MediaTime::ZERO };
        Arc::new(writer.finish(meta).unwrap())
    }

    fn key(suite: Suite) -> MasterKey {
        MasterKey::new(suite, [9; RANDOM_BYTES], b"")
    }

    fn read(receiver: &mut Receiver, batch: &Batch) {
        for packet in batch.packets() {
            receiver.handle_rtp(batch.packet(packet), &mut Vec::new()).unwrap();
        }
    }

    #[test]
    fn viewers_with_the_same_numbers_get_the_same_bytes() {
        for suite in SUITES {
            let protector = Protector::shared(key(suite));
            let (one, numbers) = (batch(10, 3), Numbering::identity(1));
            let first = protector.borrow_mut().protect(&one, &numbers);
            assert!(Arc::ptr_eq(&first, &protector.borrow_mut().protect(&one, &numbers)));
            assert_eq!(first.packets().len(), 3);
            assert!(first.trains().len() == 1, "one send");
        }
    }

    #[test]
    fn a_viewer_that_joins_late_reads_on_when_numbers_come_round() {
        for suite in SUITES {
            let protector = Protector::shared(key(suite));
            let numbers = Numbering::identity(1);
            let mut at = 0_u16;
            let mut early = Receiver::new(&key(suite));
            let mut late = None;
            for round in 0..200 {
                let batch = batch(at, 1_000);
                protector.borrow_mut().note(&batch);
                let joinable = protector.borrow().may_be_joined(at);
                // Nobody is let in beyond the bound, or once numbers have come round.
                assert_eq!(joinable, round < 61, "{round}");
                let protected = protector.borrow_mut().protect(&batch, &numbers);
                read(&mut early, &protected);
                if round == 60 {
                    late = Some(Receiver::new(&key(suite)));
                }
                if let Some(late) = &mut late {
                    read(late, &protected);
                }
                at = at.wrapping_add(1_000);
            }
        }
    }

    #[test]
    fn another_key_goes_on_where_the_one_before_was() {
        for suite in SUITES {
            let numbers = Numbering::identity(1);
            let mut protector = Protector::shared(key(suite));
            let mut receiver = Receiver::new(&key(suite));
            let mut on_its_way: Option<Arc<Batch>> = None;
            for round in 0..150_u16 {
                let batch = batch(round.wrapping_mul(1_000), 1_000);
                let protected = protector.borrow_mut().protect(&batch, &numbers);
                if let Some(old) = on_its_way.take() {
                    read(&mut receiver, &old);
                }
                match round {
                    70 => on_its_way = Some(protected),
                    _ => read(&mut receiver, &protected),
                }
                // Numbers have come round by then.
                if round == 70 {
                    let next = MasterKey::new(suite, [10; RANDOM_BYTES], b"next");
                    receiver.renew(&next);
                    let renewed = protector.borrow().renewed(next);
                    protector = renewed;
                    assert_eq!(protector.borrow().roc(), 1);
                }
            }
        }
    }

    #[test]
    fn another_source_counts_from_the_beginning() {
        for suite in SUITES {
            let protector = Protector::own(key(suite));
            let numbers = |ssrc, sequence_delta| Numbering { ssrc, sequence_delta, ..Numbering::identity(1) };
            let one = batch(65_530, 10);
            read(&mut Receiver::new(&key(suite)), &protector.borrow_mut().protect(&one, &numbers(5, 0)));
            let second = batch(10, 10);
            read(&mut Receiver::new(&key(suite)), &protector.borrow_mut().protect(&second, &numbers(6, 3)));
        }
    }
}
