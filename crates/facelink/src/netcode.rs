//! A face inside a game's own packets: for games whose netcode (bevy_replicon, lightyear, aeronet, plain UDP) carries it.
//!
//! The bytes are those of [`facelink1`](crate::wire::facelink1), one face each: the first byte is kind and version, a whole face
//! decodes on its own, and a [delta](crate::wire::facelink1::delta) holds what changed since a frame that the other side has
//! acknowledged. Nothing has to arrive, nor in order: send payloads unreliably, 10 to 30 a second.
//!
//! - [`FaceEncoder`]: one for each face and peer. Until the peer acknowledges something, and for one that joins late, every
//!   payload is whole.
//! - [`FaceDecoder`]: one for each face that comes. What it returns is bounded and finite; its errors name the field.
//! - [`Decimator`](crate::timing::Decimator) thins a face to the rate that is sent and keeps its blinks;
//!   [`SourceClock`](crate::timing::SourceClock) and [`Playout`](crate::timing::Playout) show it smoothly at the other end.
//!
//! A server that passes many faces to many players, each as far as its path and its view go, has all of that, with its own
//! packets, in [`relay`](crate::relay).
//!
//! ```
//! use std::time::{Duration, Instant};
//! use facelink::{netcode::{FaceDecoder, FaceEncoder}, performer::Performance, timing::{Decimator, Playout, SourceClock}};
//!
//! let (performance, start) = (Performance::new(7), Instant::now());
//! // The sending side.
//! let (mut decimator, mut encoder) = (Decimator::default(), FaceEncoder::new());
//! // The receiving side.
//! let (mut decoder, mut clock, mut playout) = (FaceDecoder::new(), SourceClock::new(start), Playout::default());
//!
//! let (mut payload, mut sent) = (Vec::new(), 0);
//! for tick in 0..240_u32 {
//!     let captured = Duration::from_millis(16) * tick;
//!     let mut frame = performance.frame_at(captured);
//!     // 20 updates a second of a face at 60.
//!     if !decimator.offer(&mut frame, 20.0, start + captured) {
//!         continue;
//!     }
//!     payload.clear();
//!     encoder.encode(&frame, captured, &mut payload)?;
//!     sent += payload.len();
//!
//!     // The game's packet arrives 30 ms later, and so does its acknowledgement.
//!     let now = start + captured + Duration::from_millis(30);
//!     let face = decoder.decode(&payload)?;
//!     let stamp = clock.record(face.capture_time, now);
//!     playout.push(face, None, &stamp, now, false);
//!     if let Some(number) = decoder.newest() {
//!         encoder.acknowledge(number);
//!     }
//!     assert!(playout.advance(now).is_some());
//! }
//! assert!(sent / 80 < 60, "bytes of a payload, where 52 floats are 208: {}", sent / 80);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::time::Duration;

use crate::{
    frame::FaceFrame,
    wire::facelink1::{
        Clock, Decoder, EncodeError, Facelink1Error,
        delta::{DeltaDecoder, DeltaEncoder},
    },
};

/// Numbers of payloads count by so many a second: the probabilities of deltas are for frames so far apart.
const NUMBERS_PER_SECOND: u128 = 60;

/// Writes one face for one peer.
#[derive(Debug, Default)]
pub struct FaceEncoder {
    delta: DeltaEncoder,
    last: Option<u32>,
}

impl FaceEncoder {
    /// An encoder whose first payloads are whole faces.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the payload of a face to the game's packet and returns its number, which the peer acknowledges. `captured` is when
    /// the face was so, on the game's clock; time stands for the frame's own number and capture time. Faces that are partial, have
    /// weights outside `0..=1` or channels besides the 52 shapes are written whole.
    ///
    /// # Errors
    /// [`EncodeError`], where the frame is not finite or has more than 256 channels; nothing was appended then.
    pub fn encode(&mut self, frame: &FaceFrame, captured: Duration, out: &mut Vec<u8>) -> Result<u32, EncodeError> {
        let by_time = (captured.as_micros() * NUMBERS_PER_SECOND / 1_000_000) as u32;
        let number = match self.last {
            // The clock stands, or was set back.
            Some(last) if by_time.wrapping_sub(last).wrapping_sub(1) >= 1 << 31 => last.wrapping_add(1),
            _ => by_time,
        };
        let frame = FaceFrame { sequence: Some(number.into()), capture_time: Some(captured), ..frame.clone() };
        self.delta.encode("", &frame, Clock::Own, out)?;
        self.last = Some(number);
        Ok(number)
    }

    /// The peer has the payload of this number: by what its decoder says ([`FaceDecoder::newest`]), or because the game's
    /// transport knows that the packet has arrived. Numbers that were not sent, or too long ago, are passed over.
    pub fn acknowledge(&mut self, number: u32) {
        self.delta.acknowledge("", number);
    }

    /// The peer begins anew, with another decoder: payloads are whole until something is acknowledged.
    pub fn restart(&mut self) {
        self.delta.restart();
    }
}

/// Reads one face of one peer.
#[derive(Debug, Default)]
pub struct FaceDecoder {
    whole: Decoder,
    delta: DeltaDecoder,
    newest: Option<u32>,
}

impl FaceDecoder {
    /// A decoder that has no face yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a payload. Its frame has [`FaceFrame::sequence`], the number of the payload, and [`FaceFrame::capture_time`], on the
    /// sender's clock. Payloads may come late, twice and in any order.
    ///
    /// # Errors
    /// [`Facelink1Error`] names the field; nothing has changed then. [`Facelink1Error::Reference`] is a delta to a face that is not
    /// here: [`FaceEncoder::restart`] at the other side ends that. [`Facelink1Error::Count`] is a packet of more than one face.
    pub fn decode(&mut self, payload: &[u8]) -> Result<FaceFrame, Facelink1Error> {
        let face = if DeltaDecoder::is_delta(payload) {
            self.delta.decode(payload)?
        } else {
            let (mut read, mut count) = (None, 0_u8);
            if self.whole.is_full() {
                // Names of channels that one peer may have are used up, and payloads have theirs in full.
                self.whole = Decoder::new();
            }
            self.whole.decode(payload, |face| {
                if !face.repeated {
                    count = count.saturating_add(1);
                    read = Some(face);
                }
            })?;
            let face = read.filter(|_| count == 1).ok_or(Facelink1Error::Count(count))?;
            self.delta.note(&face);
            face
        };
        let number = face.frame.sequence.unwrap_or_default() as u32;
        if self.newest.is_none_or(|newest| number.wrapping_sub(newest) < 1 << 31) {
            self.newest = Some(number);
        }
        Ok(face.frame)
    }

    /// The number of the newest payload that was read, for [`FaceEncoder::acknowledge`] at the other side; `None` before the first.
    pub fn newest(&self) -> Option<u32> {
        self.newest
    }
}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/netcode.md")]
struct Page;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame::Channel, names::Blendshape, performer::Performance};

    fn at(tick: u32) -> Duration {
        Duration::from_millis(50) * tick
    }

    fn payload(encoder: &mut FaceEncoder, frame: &FaceFrame, captured: Duration) -> Vec<u8> {
        let mut out = Vec::new();
        encoder.encode(frame, captured, &mut out).expect("a finite face");
        out
    }

    #[test]
    fn netcode_late_joiner_gets_whole_faces() {
        let performance = Performance::new(3);
        let (mut encoder, mut first) = (FaceEncoder::new(), FaceDecoder::new());
        for tick in 0..20 {
            let bytes = payload(&mut encoder, &performance.frame_at(at(tick)), at(tick));
            assert_eq!(DeltaDecoder::is_delta(&bytes), tick > 0, "{tick}");
            let face = first.decode(&bytes).expect("readable");
            assert_eq!(face.capture_time, Some(at(tick)));
            encoder.acknowledge(first.newest().expect("one was read"));
        }
        // The peer comes back with nothing.
        let mut second = FaceDecoder::new();
        let bytes = payload(&mut encoder, &performance.frame_at(at(20)), at(20));
        assert!(matches!(second.decode(&bytes), Err(Facelink1Error::Reference(_))));
        assert_eq!(second.newest(), None);
        encoder.restart();
        let bytes = payload(&mut encoder, &performance.frame_at(at(21)), at(21));
        second.decode(&bytes).expect("a whole face");
        encoder.acknowledge(second.newest().expect("one was read"));
        let bytes = payload(&mut encoder, &performance.frame_at(at(22)), at(22));
        assert!(DeltaDecoder::is_delta(&bytes));
        second.decode(&bytes).expect("a delta to it");
    }

    #[test]
    fn netcode_payloads_come_in_any_order_and_twice() {
        let performance = Performance::new(3);
        let (mut encoder, mut decoder) = (FaceEncoder::new(), FaceDecoder::new());
        let sent: Vec<_> = (0..30)
            .map(|tick| {
                let frame = performance.frame_at(at(tick));
                let bytes = payload(&mut encoder, &frame, at(tick));
                if tick == 0 {
                    decoder.decode(&bytes).expect("readable");
                    encoder.acknowledge(decoder.newest().expect("one was read"));
                }
                (frame, bytes)
            })
            .collect();
        let in_order = sent.iter().enumerate();
        for (tick, (frame, bytes)) in in_order.clone().rev().chain(in_order) {
            let face = decoder.decode(bytes).expect("readable");
            assert_eq!(face.capture_time, Some(at(tick as u32)));
            for shape in Blendshape::ALL {
                let (is, was) = (face.get(shape).expect("whole"), frame.get(shape).expect("whole"));
                assert!((is - was).abs() <= 0.5 / 255.0 + 1e-6, "{tick} {shape}: {is} {was}");
            }
        }
        assert_eq!(decoder.newest(), Some(29 * 3));
    }

    #[test]
    fn netcode_clock_that_stands_or_is_set_back() {
        let (mut encoder, mut decoder) = (FaceEncoder::new(), FaceDecoder::new());
        let mut numbers = Vec::new();
        for ms in [1000, 1000, 1001, 500, 2000] {
            let bytes = payload(&mut encoder, &FaceFrame::neutral(), Duration::from_millis(ms));
            let face = decoder.decode(&bytes).expect("readable");
            encoder.acknowledge(decoder.newest().expect("one was read"));
            numbers.push(face.sequence.expect("a number"));
            assert_eq!(face.capture_time, Some(Duration::from_millis(ms)));
        }
        assert_eq!(numbers, [60, 61, 62, 63, 120]);
    }

    #[test]
    fn netcode_hostile_payloads_are_refused_whole() {
        let mut decoder = FaceDecoder::new();
        let mut encoder = FaceEncoder::new();
        let whole = payload(&mut encoder, &FaceFrame::neutral(), at(1));
        decoder.decode(&whole).expect("readable");
        encoder.acknowledge(decoder.newest().expect("one was read"));
        let delta = payload(&mut encoder, &FaceFrame::neutral(), at(2));
        for bytes in [&whole, &delta] {
            for end in 0..bytes.len() {
                assert!(decoder.decode(&bytes[..end]).is_err(), "{end} of {}", bytes.len());
            }
            for bit in 0..8 * bytes.len() {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                if let Ok(mut face) = decoder.decode(&changed) {
                    assert!(face.check().is_ok(), "what is read is finite");
                }
            }
        }
        let frame = FaceFrame::neutral();
        let mut two = Vec::new();
        let faces = [("a", &frame), ("b", &frame)];
        crate::wire::facelink1::Encoder::new().encode_many(&faces, Clock::Own, &mut two).expect("encodes");
        assert_eq!(FaceDecoder::new().decode(&two), Err(Facelink1Error::Count(2)));
        // Channels of a peer that has new names for ever.
        let mut decoder = FaceDecoder::new();
        for number in 0..2000_u32 {
            let mut frame = FaceFrame::neutral();
            frame.channels.push(Channel { name: format!("c{number}").into(), value: 0.5 });
            let face = decoder.decode(&payload(&mut encoder, &frame, at(10 + number))).expect("readable");
            assert_eq!(face.channels.len(), 1);
        }
    }
}
