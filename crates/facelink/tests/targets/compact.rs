//! The project's own binary frames: `facelink1`, its deltas and compact bundles, and plain floats with and without a schema.

use std::time::Duration;

use facelink::{
    BLENDSHAPE_COUNT, FaceFrame,
    wire::{
        facelink1::{
            self, Clock, Decoder, Encoder,
            delta::{
                DeltaDecoder, DeltaEncoder,
                compact::{CompactBundle, CompactDecoder, CompactFace, Item, Reference},
            },
        },
        float32,
    },
};

use super::{Source, Target, check_face, face, name};

pub struct Facelink1 {
    encoder: Encoder,
    decoder: Decoder,
    good: Vec<u8>,
}

impl Target for Facelink1 {
    const NAME: &'static str = "facelink1";

    fn fresh() -> Self {
        let mut good = Vec::new();
        let mut frame = FaceFrame::neutral();
        frame.set(facelink::Blendshape::JawOpen, 0.5);
        if let Err(error) = Encoder::new().encode("good", &frame, Clock::Unix, &mut good) {
            panic!("{error}");
        }
        Self { encoder: Encoder::new(), decoder: Decoder::new(), good }
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        if source.one_in(16) {
            self.encoder.set_redundancy(source.byte() % 4);
            let names: Vec<String> = (0..source.below(12)).map(|_| name(source)).collect();
            if self.encoder.set_schema(&names).is_ok() && source.one_in(2) {
                // Or the schema was lost.
                let _ = self.decoder.set_schema(&names);
            }
        }
        let clock = source.pick(&[Clock::Unix, Clock::Own]);
        let subject = source.pick(&["Ann", "Bob", "", "Eve"]);
        if self.encoder.encode(subject, &face(source), clock, out).is_err() {
            out.clear();
        }
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        let mut faces = 0;
        let read = self.decoder.decode(input, |face| {
            faces += 1;
            assert!(face.subject.len() <= facelink1::MAX_NAME);
            check_face(&face.frame);
        });
        assert!(read.is_ok() || faces == 0, "nothing of a refused packet is used");
        assert!(faces <= facelink1::MAX_FACES * (1 + usize::from(facelink1::MAX_REDUNDANCY)));
        if self.decoder.is_full() {
            self.decoder = Decoder::new();
        }
        read.is_ok()
    }

    fn check_state(&mut self) {
        let mut jaw = None;
        let read = self.decoder.decode(&self.good, |face| jaw = face.frame.get(facelink::Blendshape::JawOpen));
        assert!(read.is_ok() && jaw.is_some_and(|jaw| (jaw - 0.5).abs() < 0.01), "{read:?}");
    }
}

pub struct Deltas {
    encoder: DeltaEncoder,
    plain: Decoder,
    decoder: DeltaDecoder,
    number: u32,
}

impl Target for Deltas {
    const NAME: &'static str = "deltas";

    fn fresh() -> Self {
        Self { encoder: DeltaEncoder::new(), plain: Decoder::new(), decoder: DeltaDecoder::new(), number: 0 }
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        self.number = self.number.wrapping_add(source.pick(&[1, 1, 1, 1, 2, 40]));
        let mut frame = FaceFrame { sequence: Some(self.number.into()), ..face(source) };
        if !source.one_in(12) {
            // What a delta can hold.
            frame.channels.clear();
            frame.present = (1 << BLENDSHAPE_COUNT) - 1;
            frame.weights.iter_mut().for_each(|weight| *weight = weight.clamp(0.0, 1.0));
        }
        let subject = source.pick(&["Ann", "Ann", "Bob", ""]);
        if self.encoder.encode(subject, &frame, Clock::Own, out).is_err() {
            out.clear();
        }
        match source.below(8) {
            0 => self.encoder.restart(),
            1 => self.encoder.acknowledge(subject, source.number()),
            2 | 3 => {}
            _ => self.encoder.acknowledge(subject, self.number),
        }
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        if !DeltaDecoder::is_delta(input) {
            let Self { plain, decoder, .. } = self;
            let read = plain.decode(input, |face| {
                check_face(&face.frame);
                decoder.note(&face);
            });
            if plain.is_full() {
                *plain = Decoder::new();
            }
            return read.is_ok();
        }
        match self.decoder.decode(input) {
            Ok(face) => {
                check_face(&face.frame);
                assert!(face.subject.len() <= facelink1::MAX_NAME);
                true
            }
            Err(_) => false,
        }
    }

    fn check_state(&mut self) {
        // A frame and a delta upon it, of a subject that no other frame names, are read as by a decoder that saw
        // nothing.
        let (mut encoder, mut first, mut second) = (DeltaEncoder::new(), Vec::new(), Vec::new());
        let mut frame = FaceFrame { sequence: Some(1), ..FaceFrame::neutral() };
        let plain = encoder.encode("good", &frame, Clock::Own, &mut first);
        encoder.acknowledge("good", 1);
        frame.sequence = Some(2);
        frame.set(facelink::Blendshape::JawOpen, 0.5);
        let delta = encoder.encode("good", &frame, Clock::Own, &mut second);
        assert_eq!((plain, delta), (Ok(false), Ok(true)));
        assert!(self.decode(&first), "a plain frame");
        match self.decoder.decode(&second) {
            Ok(face) => assert!((face.frame.weights[facelink::Blendshape::JawOpen.index()] - 0.5).abs() < 0.01),
            Err(error) => panic!("a delta upon it: {error}"),
        }
    }
}

pub struct Float32 {
    schema: Option<float32::Schema>,
}

impl Target for Float32 {
    const NAME: &'static str = "float32";

    fn fresh() -> Self {
        Self { schema: None }
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        if source.one_in(8) {
            let count = source.count(70, 16, 600);
            let names: Vec<String> =
                (0..count).map(|i| if source.one_in(64) { name(source) } else { format!("n{i}") }).collect();
            self.schema = float32::Schema::new(&names).ok();
        }
        let usual = self.schema.as_ref().map_or(source.pick(&[52, 61]), float32::Schema::len);
        let count = if source.one_in(8) { source.below(700) } else { usual };
        let strange = source.one_in(4);
        for _ in 0..count {
            let value = if strange { source.float() } else { source.weight() };
            out.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        if let Ok(frame) = float32::decode(input, None) {
            check_face(&frame);
        }
        match float32::decode(input, self.schema.as_ref()) {
            Ok(frame) => {
                check_face(&frame);
                assert!(self.schema.as_ref().is_none_or(|schema| schema.len() == input.len() / 4));
                true
            }
            Err(_) => false,
        }
    }
}

/// Compact bundles, written as a relay writes them.
pub struct CompactBundles {
    bundle: CompactBundle,
    plain: Decoder,
    decoder: CompactDecoder,
    number: u64,
    /// The last frame, and where it was sent.
    last: Option<(CompactFace, Reference)>,
}

impl Target for CompactBundles {
    const NAME: &'static str = "compact";
    /// Of 1024 subjects, the last 64 frames.
    const KEPT: u64 = 12 * 1024 * 1024;

    fn fresh() -> Self {
        Self {
            bundle: CompactBundle::default(),
            plain: Decoder::new(),
            decoder: CompactDecoder::new(),
            number: 0,
            last: None,
        }
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        self.number += source.pick(&[1_u64, 1, 1, 1, 2, 40]);
        let mut frame = face(source);
        if !source.one_in(12) {
            frame.channels.clear();
            frame.present = (1 << BLENDSHAPE_COUNT) - 1;
            frame.weights.iter_mut().for_each(|weight| *weight = weight.clamp(0.0, 1.0));
        }
        let captured = Duration::from_micros(16_667 * self.number);
        let Ok(face) = CompactFace::new(&frame, captured) else { return };
        let number = self.bundle.number();
        self.bundle.begin(number, captured + Duration::from_millis(source.pick(&[0, 1, 3, 500])));
        let since = self.last.as_ref().filter(|_| !source.one_in(6));
        let changes = since.and_then(|(since, at)| Some((self.bundle.changes(&face, since)?, Some(*at))));
        let (body, reference) = changes.unwrap_or_else(|| (self.bundle.whole(&face), None));
        let (id, name) = source.pick(&[(1, Some("Ann")), (1, Some("Ann")), (1, None), (2, Some("Bob")), (900, None)]);
        let item =
            Item { id, name, number: self.number, face: &face, body: &body, reference, repeated: source.one_in(5) };
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        let packet = self.bundle.push(&item, &mut put);
        self.bundle.finish(&mut put);
        let at = packet.map(|packet| Reference { packet, number: self.number });
        self.last = at.filter(|_| id == 1).map(|at| (face, at));
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        let read = self.decoder.decode(input, &mut self.plain, |face| {
            check_face(&face.frame);
            assert!(face.subject.len() <= facelink1::MAX_NAME && face.clock == Some(Clock::Unix));
        });
        if self.plain.is_full() {
            self.plain = Decoder::new();
        }
        read.is_ok()
    }
}
