//! End-to-end encrypted packets and bundles of them: nothing is opened that a member has not sealed so, and nothing twice.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use facelink::{
    FaceFrame,
    seal::{Opened, Opener, RoomKey, RoomKeys, Sealer},
    wire::{
        facelink1::Clock,
        sealed::{packets, put_item},
    },
};

use super::{Source, Target, check_face, face};

/// Another stream each time.
fn stream() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub struct Sealed {
    sealers: [(RoomKeys, Sealer); 2],
    keys: RoomKeys,
    opener: Opener,
    /// Packets that members have sealed and that are not opened yet.
    genuine: HashSet<Vec<u8>>,
    last: Vec<Vec<u8>>,
    now: Instant,
}

impl Sealed {
    fn seal(&mut self, source: &mut Source<'_>) -> Vec<u8> {
        self.now += Duration::from_millis(16);
        let (keys, sealer) = &mut self.sealers[usize::from(source.one_in(8))];
        let mut packet = Vec::new();
        let subject = source.pick(&["Ann", "Bob", ""]);
        let sealed = if source.one_in(6) {
            sealer.seal_message(keys, subject, r#"{"type":"viseme_data","viseme":"aa"}"#, &mut packet)
        } else {
            sealer.set_redundancy(source.byte() % 4);
            sealer.seal(keys, subject, &face(source), Clock::Unix, self.now, &mut packet)
        };
        if sealed.is_err() {
            assert!(packet.is_empty());
        }
        packet
    }
}

impl Target for Sealed {
    const NAME: &'static str = "sealed";
    /// What was sealed is kept, to compare with.
    const KEPT: u64 = 4 * 1024 * 1024;

    fn fresh() -> Self {
        let key = |seed: u8| RoomKeys::new(RoomKey::from_bytes([seed; 32]));
        Self {
            sealers: [(key(1), Sealer::new(stream)), (key(2), Sealer::new(stream))],
            keys: key(1),
            opener: Opener::new(),
            genuine: HashSet::new(),
            last: Vec::new(),
            now: Instant::now(),
        }
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        let fresh = (0..source.pick(&[1, 1, 1, 3])).map(|_| self.seal(source)).filter(|packet| !packet.is_empty());
        let mut fresh: Vec<_> = fresh.collect();
        if self.genuine.len() > 256 {
            self.genuine = self.last.iter().cloned().collect();
        }
        self.genuine.extend(fresh.iter().cloned());
        if source.one_in(8) {
            fresh.append(&mut self.last);
        }
        self.last.clone_from(&fresh);
        if let [packet] = &fresh[..] {
            out.extend_from_slice(packet);
        } else {
            for packet in &fresh {
                put_item(out, packet, source.number() as u16);
            }
        }
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        let inside: Vec<_> = packets(input).filter_map(Result::ok).map(|packet| packet.bytes.to_vec()).collect();
        let before = self.opener.stats().opened;
        let mut numbers = HashSet::new();
        let read = self.opener.open(input, &mut self.keys, self.now, |opened| match opened {
            Opened::Face { face, layer: _, stream, .. } => {
                check_face(&face.frame);
                assert!(face.repeated || numbers.insert((stream, face.frame.sequence)));
            }
            Opened::Message { text, .. } => assert!(text.contains("viseme")),
            _ => {}
        });
        let opened = self.opener.stats().opened - before;
        let genuine = inside.iter().filter(|packet| self.genuine.remove(*packet)).count() as u64;
        assert!(opened <= genuine, "{opened} opened of {genuine} that were sealed");
        read.is_ok()
    }

    fn check_state(&mut self) {
        let (keys, sealer) = &mut self.sealers[0];
        let mut packet = Vec::new();
        self.now += Duration::from_millis(16);
        let sealed = sealer.seal(keys, "good", &FaceFrame::neutral(), Clock::Own, self.now, &mut packet);
        let mut faces = 0;
        let read = self.opener.open(&packet, &mut self.keys, self.now, |_| faces += 1);
        assert!(sealed.is_ok() && read.is_ok() && faces > 0, "{sealed:?} {read:?}");
    }
}
