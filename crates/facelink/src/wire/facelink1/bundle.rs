//! Packets of faces that were written once for many readers.
//!
//! A relay writes a frame of a face once, as [`FaceBytes`]; a [`Bundle`] puts such faces into packets for one reader, each
//! with a number of that reader's own, and repeats earlier frames where the reader's path loses packets. The bytes are the
//! same as those of an [`Encoder`](super::Encoder).

use std::ops::Range;

use super::{
    Clock, EncodeError, MAGIC, MAX_FACES, MAX_REDUNDANCY, REPEATED, REPEATED_SHIFT, TIME, Written, check, put, put_face,
};
use crate::frame::FaceFrame;

/// Largest packet of a [`Bundle`], bytes: with the headers of IP, UDP, DTLS and SCTP it is one datagram on nearly every path. A
/// face that is larger on its own has a packet for itself.
pub const MAX_BUNDLE: usize = 1200;

/// One frame of a face, written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaceBytes {
    bytes: Box<[u8]>,
    own: u16,
    sequence_at: usize,
    body: Range<usize>,
    time: Option<u64>,
}

impl FaceBytes {
    /// Writes a frame; its sequence number is of no account.
    ///
    /// # Errors
    /// [`EncodeError`] for what cannot be written, as [`Encoder::encode`](super::Encoder::encode).
    pub fn new(subject: &str, frame: &FaceFrame, clock: Clock) -> Result<Self, EncodeError> {
        let room = check(subject, frame)?;
        if room > super::MAX_PACKET {
            return Err(EncodeError::TooLarge(room));
        }
        // `check` has seen that it fits.
        let time = frame.capture_time.and_then(|time| u64::try_from(time.as_micros()).ok());
        let mut out = Vec::with_capacity(160);
        let stamped = time.map(|time| (time, clock));
        let Written { own, sequence_at, body } = put_face(subject, (Some(0), stamped), 0, frame, None, &mut out)?;
        Ok(Self { bytes: out.into(), own, sequence_at, body, time })
    }

    /// Its length in a packet, bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a face has at least its flags.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What it takes to repeat it, bytes.
    fn repeated_len(&self) -> usize {
        let delta = if self.time.is_some() { 4 } else { 0 };
        2 + 1 + delta + self.body.len()
    }
}

/// An earlier frame that a face repeats: how far its number lies back, and the frame.
pub type Repeat<'a> = (u8, &'a FaceBytes);

/// Puts faces into packets of at most [`MAX_BUNDLE`] bytes.
#[derive(Debug, Default)]
pub struct Bundle {
    packet: Vec<u8>,
}

impl Bundle {
    /// Adds a face with this number, and the frames that it repeats, newest first; of those as many as the face may have. When
    /// it does not fit into the packet that has been begun, that packet is given to `full`, and another one is begun.
    pub fn push(&mut self, face: &FaceBytes, sequence: u32, repeats: &[Repeat<'_>], mut full: impl FnMut(&[u8])) {
        let mut usable: [Option<(u8, Option<u32>, &FaceBytes)>; MAX_REDUNDANCY as usize] = Default::default();
        let (mut count, mut farthest, mut length) = (0, 0, face.len());
        for (distance, past) in repeats {
            let delta = match (face.time, past.time) {
                (_, None) => None,
                (Some(now), Some(then)) => match now.checked_sub(then).and_then(|delta| u32::try_from(delta).ok()) {
                    Some(delta) => Some(delta),
                    None => continue,
                },
                (None, Some(_)) => continue,
            };
            let longer = length + past.repeated_len();
            if *distance <= farthest || count == usable.len() || longer > MAX_BUNDLE / 2 {
                continue;
            }
            usable[count] = Some((*distance, delta, past));
            (count, farthest, length) = (count + 1, *distance, longer);
        }
        if !self.packet.is_empty()
            && (self.packet.len() + length > MAX_BUNDLE || usize::from(self.packet[1]) == MAX_FACES)
        {
            self.finish(&mut full);
        }
        if self.packet.is_empty() {
            self.packet.extend_from_slice(&[MAGIC, 0]);
        }
        self.packet[1] += 1;
        let start = self.packet.len();
        self.packet.extend_from_slice(&face.bytes);
        let flags = u16::from_le_bytes([face.bytes[0], face.bytes[1]]) & !REPEATED | (count as u16) << REPEATED_SHIFT;
        self.packet[start..start + 2].copy_from_slice(&flags.to_le_bytes());
        let number = start + face.sequence_at;
        self.packet[number..number + 4].copy_from_slice(&sequence.to_le_bytes());
        for (distance, delta, past) in usable.into_iter().flatten().rev() {
            let flags = if delta.is_some() { past.own } else { past.own & !TIME };
            // Writing to memory does not fail.
            let _ = put(flags, &mut self.packet).and_then(|()| put(distance, &mut self.packet));
            if let Some(delta) = delta {
                let _ = put(delta, &mut self.packet);
            }
            self.packet.extend_from_slice(&past.bytes[past.body.clone()]);
        }
    }

    /// Gives the packet that was begun, if there is one.
    pub fn finish(&mut self, mut full: impl FnMut(&[u8])) {
        if !self.packet.is_empty() {
            full(&self.packet);
            self.packet.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        performer::Performance,
        wire::facelink1::{Decoder, Encoder, Face},
    };

    fn frame(number: u64) -> FaceFrame {
        let at = Duration::from_millis(16 * number);
        FaceFrame { sequence: Some(number), capture_time: Some(at), ..Performance::new(3).frame_at(at) }
    }

    fn faces(packet: &[u8]) -> Vec<(String, Option<u64>, bool)> {
        let mut faces = Vec::new();
        let each = |face: Face<'_>| faces.push((face.subject.to_owned(), face.frame.sequence, face.repeated));
        Decoder::new().decode(packet, each).expect("decodes");
        faces
    }

    #[test]
    fn bundle_writes_what_the_encoder_writes() {
        let mut encoder = Encoder::new();
        encoder.set_redundancy(2);
        let written: Vec<_> = (0..4).map(|i| FaceBytes::new("Ann", &frame(i), Clock::Unix).expect("a face")).collect();
        for i in 0..4_usize {
            let mut wanted = Vec::new();
            encoder.encode("Ann", &frame(i as u64), Clock::Unix, &mut wanted).expect("encodes");
            let repeats: Vec<Repeat<'_>> =
                (1..=2).filter(|back| *back <= i).map(|back| (back as u8, &written[i - back])).collect();
            let mut bundle = Bundle::default();
            bundle.push(&written[i], i as u32, &repeats, |_| panic!("it fits"));
            let mut got = Vec::new();
            bundle.finish(|packet| got = packet.to_vec());
            assert_eq!(got, wanted, "frame {i}");
        }
    }

    #[test]
    fn bundle_splits_at_its_size_and_count() {
        let small = FaceBytes::new("a", &FaceFrame::default(), Clock::Unix).expect("a face");
        let large = FaceBytes::new("Ann", &frame(7), Clock::Unix).expect("a face");
        for (face, in_first) in [(&small, MAX_FACES), (&large, (MAX_BUNDLE - 2) / large.len())] {
            let (mut bundle, mut packets) = (Bundle::default(), Vec::new());
            for number in 0..100 {
                bundle.push(face, number, &[], |packet| packets.push(packet.to_vec()));
            }
            bundle.finish(|packet| packets.push(packet.to_vec()));
            assert_eq!(faces(&packets[0]).len(), in_first);
            assert!(packets.iter().all(|packet| packet.len() <= MAX_BUNDLE));
            let numbers: Vec<_> = packets.iter().flat_map(|packet| faces(packet)).filter_map(|(_, n, _)| n).collect();
            assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn bundle_face_beyond_its_size_is_alone() {
        let mut huge = frame(1);
        for i in 0..256 {
            huge.channels.push(crate::frame::Channel { name: format!("channel {i}").into(), value: 0.5 });
        }
        let (huge, small) = (FaceBytes::new("big", &huge, Clock::Unix).expect("a face"), frame(1));
        let small = FaceBytes::new("Ann", &small, Clock::Unix).expect("a face");
        let (mut bundle, mut packets) = (Bundle::default(), Vec::new());
        for face in [&small, &huge, &small] {
            bundle.push(face, 0, &[(1, &small)], |packet| packets.push(packet.to_vec()));
        }
        bundle.finish(|packet| packets.push(packet.to_vec()));
        assert_eq!(packets.iter().map(|packet| faces(packet).len()).collect::<Vec<_>>(), [2, 1, 2]);
    }
}
