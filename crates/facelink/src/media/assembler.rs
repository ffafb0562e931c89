//! Packets to whole frames.

use std::collections::BTreeMap;

use super::{
    codec::{MAX_PICTURE, MediaError, PictureCodec},
    depacketize::{self, Depacketizer, Part},
};

/// Packets that wait for a lost one before it is given up: half a second of 2.5 Mbit/s.
const MAX_WAITING: usize = 128;

impl PictureCodec {
    /// Whether frames after this one can be decoded without this packet's: it is of an upper temporal layer. Of H.264 it is
    /// `nal_ref_idc` that shows it, of VP9 the temporal layer.
    pub fn is_upper_layer(self, payload: &[u8]) -> bool {
        match self {
            Self::H264 => depacketize::h264_is_disposable(payload),
            Self::Vp9 => depacketize::vp9_layer(payload) > 0,
        }
    }
}

/// A whole frame of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PictureFrame {
    /// Its bytes, as its [`PictureCodec`] has them.
    pub data: Vec<u8>,
    /// Its RTP timestamp, in steps of [`PICTURE_CLOCK`](super::PICTURE_CLOCK).
    pub timestamp: u32,
    /// Whether it can be decoded alone.
    pub key: bool,
}

#[derive(Debug)]
struct Waiting {
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
}

/// Puts the packets of one picture together: in order, whole frames only, and after a loss none before the next key frame.
#[derive(Debug)]
pub struct PictureAssembler {
    depacketizer: Depacketizer,
    /// Number of the packet that is due; none came before it.
    next: Option<u16>,
    /// Those that came before it, by how far they are ahead of the first packet ever.
    waiting: BTreeMap<u64, Waiting>,
    /// The place of `next` in that count.
    place: u64,
    frame: Option<PictureFrame>,
    /// The frame has lost a part.
    broken: bool,
    needs_key: bool,
    lost: u64,
}

impl PictureAssembler {
    /// For a picture of this codec.
    pub fn new(codec: PictureCodec) -> Self {
        Self {
            depacketizer: Depacketizer::new(codec),
            next: None,
            waiting: BTreeMap::new(),
            place: 0,
            frame: None,
            broken: false,
            needs_key: true,
            lost: 0,
        }
    }

    /// Whether nothing can be decoded before a key frame, which is to be asked for (RFC 4585, 6.3.1).
    pub fn needs_key(&self) -> bool {
        self.needs_key
    }

    /// Begins anew with the next key frame.
    pub fn require_key(&mut self) {
        self.needs_key = true;
    }

    /// Packets that never came.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes a packet: its sequence number, timestamp, marker bit and payload. Frames that it completes are given to `whole`,
    /// oldest first. A repeated packet and one that was given up are ignored.
    ///
    /// # Errors
    /// [`MediaError`]; the frame that the packet belongs to is left out.
    pub fn push(
        &mut self,
        sequence: u16,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
        mut whole: impl FnMut(PictureFrame),
    ) -> Result<(), MediaError> {
        let next = *self.next.get_or_insert(sequence);
        let ahead = sequence.wrapping_sub(next);
        if ahead >= 1 << 15 {
            return Ok(());
        }
        if ahead > 0 {
            let waiting = Waiting { timestamp, marker, payload: payload.to_vec() };
            self.waiting.insert(self.place + u64::from(ahead), waiting);
            if self.waiting.len() > MAX_WAITING {
                self.give_up();
            }
            return self.take_waiting(&mut whole);
        }
        let taken = self.take(timestamp, marker, payload, &mut whole);
        self.advance(1);
        taken.and(self.take_waiting(&mut whole))
    }

    fn advance(&mut self, by: u64) {
        self.place += by;
        self.next = self.next.map(|next| next.wrapping_add(by as u16));
    }

    /// What is due was lost.
    fn give_up(&mut self) {
        let Some(first) = self.waiting.keys().next().copied() else { return };
        let lost = first.saturating_sub(self.place);
        self.lost += lost;
        self.advance(lost);
        self.fail();
    }

    fn fail(&mut self) {
        self.broken = true;
        self.needs_key = true;
        self.depacketizer.reset();
    }

    fn take_waiting(&mut self, whole: &mut impl FnMut(PictureFrame)) -> Result<(), MediaError> {
        let mut done = Ok(());
        while let Some(packet) = self.waiting.remove(&self.place) {
            done = done.and(self.take(packet.timestamp, packet.marker, &packet.payload, whole));
            self.advance(1);
        }
        done
    }

    fn take(
        &mut self,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
        whole: &mut impl FnMut(PictureFrame),
    ) -> Result<(), MediaError> {
        // Padding, by which a sender probes the path.
        if payload.is_empty() {
            return Ok(());
        }
        if self.frame.as_ref().is_some_and(|frame| frame.timestamp != timestamp) {
            self.end(whole);
        }
        let frame = self.frame.get_or_insert_with(|| PictureFrame { data: Vec::new(), timestamp, key: false });
        let taken = self.depacketizer.part(payload).and_then(|Part { key, pieces }| {
            frame.key |= key;
            if frame.data.len() + pieces.iter().map(|piece| piece.len()).sum::<usize>() > MAX_PICTURE {
                return Err(MediaError::TooLarge);
            }
            for piece in pieces {
                frame.data.extend_from_slice(&piece);
            }
            Ok(())
        });
        if taken.is_err() {
            self.fail();
        }
        if marker {
            self.end(whole);
        }
        taken
    }

    fn end(&mut self, whole: &mut impl FnMut(PictureFrame)) {
        let broken = std::mem::take(&mut self.broken);
        let Some(frame) = self.frame.take() else { return };
        if broken || frame.data.is_empty() || (self.needs_key && !frame.key) {
            return;
        }
        self.needs_key = false;
        whole(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(assembler: &mut PictureAssembler, packets: &[(u16, u32, bool, Vec<u8>)]) -> Vec<PictureFrame> {
        let mut frames = Vec::new();
        for (sequence, timestamp, marker, payload) in packets {
            assembler.push(*sequence, *timestamp, *marker, payload, |frame| frames.push(frame)).unwrap();
        }
        frames
    }

    /// Parameter sets together, a key frame in two parts, and a frame in one packet.
    fn h264() -> Vec<(u16, u32, bool, Vec<u8>)> {
        vec![
            (65534, 90, false, vec![24, 0, 2, 0x67, 1, 0, 2, 0x68, 2]),
            (65535, 90, false, vec![0x7c, 0x85, 3, 4]),
            (0, 90, true, vec![0x7c, 0x45, 5]),
            (1, 180, true, vec![0x41, 6]),
        ]
    }

    fn is_h264(frames: &[PictureFrame]) {
        let key = vec![0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 3, 4, 5];
        assert_eq!(frames.len(), 2);
        assert_eq!((&frames[0].data, frames[0].key, frames[0].timestamp), (&key, true, 90));
        assert_eq!((&frames[1].data[..], frames[1].key), (&[0, 0, 0, 1, 0x41, 6][..], false));
    }

    #[test]
    fn picture_h264_is_put_together_as_annex_b() {
        is_h264(&all(&mut PictureAssembler::new(PictureCodec::H264), &h264()));
    }

    #[test]
    fn picture_out_of_order_or_repeated_is_put_in_order() {
        let mut packets = h264();
        packets.swap(1, 2);
        packets.insert(3, packets[0].clone());
        is_h264(&all(&mut PictureAssembler::new(PictureCodec::H264), &packets));
    }

    #[test]
    fn picture_after_a_loss_begins_with_a_key_frame() {
        let mut assembler = PictureAssembler::new(PictureCodec::H264);
        assert!(assembler.needs_key());
        is_h264(&all(&mut assembler, &h264()));
        assert!(!assembler.needs_key());
        // Number 2 never comes.
        let more: Vec<_> = (3..=3 + MAX_WAITING as u16)
            .map(|n| (n, u32::from(n) * 90, true, vec![if n == 100 { 0x65 } else { 0x41 }, 7]))
            .collect();
        let frames = all(&mut assembler, &more);
        assert_eq!(frames.len(), MAX_WAITING + 3 - 99, "from number 100 on");
        assert!(frames[0].key && !assembler.needs_key());
        assert_eq!(assembler.lost(), 1);
    }

    #[test]
    fn picture_vp9_is_put_together_and_shows_its_layers() {
        let mut assembler = PictureAssembler::new(PictureCodec::Vp9);
        // I and B; 15 bits of picture id; then I, P, L, E with layer 1 and its index.
        let packets = [
            (7, 1, false, vec![0x88, 0x81, 2, 10, 11]),
            (8, 1, true, vec![0x84, 0x81, 2, 12]),
            (9, 2, true, vec![0xec, 0x81, 3, 1 << 5, 0, 13]),
        ];
        let frames = all(&mut assembler, &packets);
        assert_eq!(frames[0].data, [10, 11, 12]);
        assert_eq!((frames[0].key, frames[1].key, &frames[1].data[..]), (true, false, &[13][..]));
        let upper: Vec<_> = packets.iter().map(|packet| PictureCodec::Vp9.is_upper_layer(&packet.3)).collect();
        assert_eq!(upper, [false, false, true]);
        assert!(PictureCodec::H264.is_upper_layer(&[0x01, 1]) && !PictureCodec::H264.is_upper_layer(&[0x41, 1]));
    }

    #[test]
    fn picture_of_invalid_packets_never_panics_and_is_bounded() {
        let mut random = fastrand::Rng::with_seed(7);
        for codec in PictureCodec::ALL {
            let mut assembler = PictureAssembler::new(codec);
            for _ in 0..20_000 {
                let payload: Vec<u8> = (0..random.usize(..40)).map(|_| random.u8(..)).collect();
                let _ = codec.is_upper_layer(&payload);
                let _ = assembler.push(random.u16(..), random.u32(..4), random.bool(), &payload, |_| {});
                assert!(assembler.waiting.len() <= MAX_WAITING);
            }
            let mut too_large = Ok(());
            let mut assembler = PictureAssembler::new(PictureCodec::H264);
            for sequence in 0..u16::MAX {
                let part = assembler.push(sequence, 1, false, &[0x41; 1200], |_| {});
                too_large = too_large.and(part);
            }
            assert_eq!(too_large, Err(MediaError::TooLarge));
        }
    }
}
