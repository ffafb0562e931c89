//! Relays on a mesh in virtual time.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    Blendshape, FaceFrame,
    event::SubjectId,
    relay::Source,
    wire::{
        facelink1::{Clock, Encoder},
        sealed::{self, KeyId, Kind, Layer, StreamId},
    },
};

const UNIX: Duration = Duration::from_secs(1_700_000_000);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn jaw(value: f32) -> FaceFrame {
    let mut frame = FaceFrame::neutral();
    frame.set(Blendshape::JawOpen, value);
    frame
}

/// Relays and the network between them, on which everything arrives at once where there is a way.
struct World {
    start: Instant,
    now: Duration,
    relays: Vec<Mesh>,
    /// Tokens of presence, by the relay that declared them.
    tokens: Vec<(usize, String)>,
    /// What each relay subscribes to: keys, and the face.
    watches: Vec<BTreeMap<String, Announced>>,
    /// Relays that are not reached, each from all others.
    cut: Vec<usize>,
    /// Copies in which a frame arrives.
    copies: usize,
    /// Weights of `jawOpen` that arrived at each relay, by subject.
    got: Vec<Vec<(String, f32)>>,
    unwatched: Vec<(usize, String, Cause)>,
    /// Names that each relay's viewers want; all without one.
    wanted: Vec<Option<Vec<&'static str>>>,
}

impl World {
    fn new(relays: usize) -> Self {
        let mut world = Self {
            start: Instant::now(),
            now: Duration::ZERO,
            relays: (1..=relays).map(|id| Mesh::new(RelayId(id as u128), MeshSettings::default())).collect(),
            tokens: Vec::new(),
            watches: vec![BTreeMap::new(); relays],
            cut: Vec::new(),
            copies: 1,
            got: vec![Vec::new(); relays],
            unwatched: Vec::new(),
            wanted: vec![None; relays],
        };
        for relay in 0..relays {
            world.declare(relay, Presence::Relay(world.relays[relay].id()).to_string());
        }
        world
    }

    fn at(&self) -> Instant {
        self.start + self.now
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        from == to || !(self.cut.contains(&from) || self.cut.contains(&to))
    }

    fn declare(&mut self, by: usize, key: String) {
        let at = self.at();
        for to in 0..self.relays.len() {
            if self.reaches(by, to) {
                self.relays[to].appeared(&key, at).expect("a token of ours");
            }
        }
        self.tokens.push((by, key));
    }

    fn undeclare(&mut self, by: usize, key: &str) {
        let at = self.at();
        self.tokens.retain(|(_, token)| token != key);
        for to in 0..self.relays.len() {
            if self.reaches(by, to) {
                self.relays[to].vanished(key, at);
            }
        }
    }

    /// A relay is reached no longer by the others, nor they by it.
    fn cut(&mut self, relay: usize) {
        self.cut.push(relay);
        let at = self.at();
        for (by, key) in self.tokens.clone() {
            for to in 0..self.relays.len() {
                if by != to && (by == relay || to == relay) {
                    self.relays[to].vanished(&key, at);
                }
            }
        }
        self.settle();
    }

    fn mend(&mut self) {
        let (at, cut) = (self.at(), std::mem::take(&mut self.cut));
        for (by, key) in self.tokens.clone() {
            for to in 0..self.relays.len() {
                if by != to && (cut.contains(&by) || cut.contains(&to)) {
                    self.relays[to].appeared(&key, at).expect("a token of ours");
                }
            }
        }
        self.settle();
    }

    fn deliver(&mut self, by: usize, key: &str, packet: &[u8]) {
        let at = self.at();
        for to in 0..self.relays.len() {
            let Some(face) = self.watches[to].get(key).filter(|_| self.reaches(by, to)) else { continue };
            for _ in 0..self.copies {
                match self.relays[to].receive(face.relay, &face.subject, packet, at) {
                    Ok(Received::Face(frame)) => {
                        self.got[to]
                            .push((face.subject.to_string(), frame.get(Blendshape::JawOpen).expect("a weight")));
                    }
                    Ok(Received::Sealed(sealed)) => {
                        assert_eq!(sealed.bytes, packet);
                        self.got[to].push((face.subject.to_string(), sealed.counter as f32));
                    }
                    Err(refusal) => assert_eq!(refusal, Refusal::Duplicate),
                }
            }
        }
    }

    /// Does what is due at every relay.
    fn settle(&mut self) {
        for _ in 0..4 {
            for by in 0..self.relays.len() {
                let (at, wanted) = (self.at(), self.wanted[by].clone());
                let wants =
                    |name: &str, _: Option<&Arc<str>>| wanted.as_ref().is_none_or(|names| names.contains(&name));
                while let Some(action) = self.relays[by].poll(at, wants) {
                    match action {
                        Action::Announce(face) => self.declare(by, Presence::Face(face).to_string()),
                        Action::Withdraw(face) => self.undeclare(by, &Presence::Face(face).to_string()),
                        Action::Repeat { key, packet } => self.deliver(by, &key, &packet),
                        Action::Watch(face) => {
                            self.watches[by].insert(frames_key(face.relay, &face.subject), face);
                        }
                        Action::Ask(face) => {
                            let key = frames_key(face.relay, &face.subject);
                            let asked = face.relay.0 as usize - 1;
                            let newest = self.relays[asked].newest(&key).filter(|_| self.reaches(by, asked));
                            if let Some(packet) = newest {
                                // Others do not hear the answer.
                                let watches =
                                    std::mem::replace(&mut self.watches, vec![BTreeMap::new(); self.got.len()]);
                                self.watches[by].clone_from(&watches[by]);
                                self.deliver(asked, &key, &packet);
                                self.watches = watches;
                            }
                        }
                        Action::Unwatch { face, cause } => {
                            self.watches[by].remove(&frames_key(face.relay, &face.subject));
                            self.unwatched.push((by, face.subject.to_string(), cause));
                        }
                    }
                }
            }
        }
    }

    /// Lets time pass, 10 ms at a time.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += ms(10);
            self.settle();
        }
    }

    fn publish(&mut self, by: usize, id: u64, name: &str, room: Option<&str>, value: f32) {
        let (name, room): (Arc<str>, Option<Arc<str>>) = (name.into(), room.map(Into::into));
        let source = Source { id: SubjectId(id), name: &name, publisher: 1, room: room.as_ref() };
        let times = (UNIX + self.now, self.at());
        let (key, packet) = self.relays[by].publish(&source, &jaw(value), times.0, times).expect("a packet");
        self.settle();
        self.deliver(by, &key, &packet);
    }

    fn take(&mut self, at: usize) -> Vec<f32> {
        std::mem::take(&mut self.got[at]).into_iter().map(|(_, jaw)| (jaw * 100.0).round() / 100.0).collect()
    }
}

#[test]
fn mesh_frames_reach_every_relay_once() {
    let mut world = World::new(3);
    world.copies = 2;
    for value in [0.25, 0.5, 0.75] {
        world.publish(0, 7, "Ann", None, value);
        world.pass(ms(20));
    }
    for at in [1, 2] {
        assert_eq!(world.take(at), [0.25, 0.5, 0.75], "{at}");
        let stats = world.relays[at].stats();
        assert_eq!((stats.frames_in, stats.missing, stats.relays, stats.faces_in), (3, 0, 2, 1));
        // Each came twice, and the first by the query too.
        assert_eq!(stats.duplicates, 5);
    }
    assert!(world.take(0).is_empty(), "and does not come back");
    assert_eq!((world.relays[0].stats().frames_out, world.relays[0].stats().faces_out), (3, 1));
}

#[test]
fn mesh_late_watcher_has_the_newest_face_at_once() {
    let mut world = World::new(2);
    world.wanted[1] = Some(Vec::new());
    for i in 0..100 {
        world.publish(0, 7, "Ann", None, i as f32 / 100.0);
        world.pass(ms(20));
    }
    assert!(world.take(1).is_empty(), "no viewer watches there, and nothing is sent there");
    world.wanted[1] = Some(vec!["Ann"]);
    world.relays[1].reconsider();
    world.settle();
    assert_eq!(world.take(1), [0.99]);
    world.publish(0, 7, "Ann", None, 0.5);
    assert_eq!(world.take(1), [0.5]);
    world.wanted[1] = Some(Vec::new());
    world.relays[1].reconsider();
    world.settle();
    assert_eq!(world.unwatched, [(1, "Ann".to_owned(), Cause::Unwanted)]);
}

#[test]
fn mesh_last_frame_is_repeated_once_for_who_missed_it() {
    let mut world = World::new(2);
    world.publish(0, 7, "Ann", None, 0.25);
    assert_eq!(world.take(1), [0.25]);
    // The next one is lost in the network.
    let watches = std::mem::take(&mut world.watches[1]);
    world.publish(0, 7, "Ann", None, 0.5);
    world.watches[1] = watches;
    world.pass(ms(400));
    assert!(world.take(1).is_empty());
    world.pass(ms(2000));
    assert_eq!(world.take(1), [0.5]);
    assert_eq!(world.relays[1].stats().duplicates, 1, "the answer to the query");
}

#[test]
fn mesh_missing_frames_are_counted_and_late_ones_taken() {
    let (mut from, mut to) =
        (Mesh::new(RelayId(1), MeshSettings::default()), Mesh::new(RelayId(2), MeshSettings::default()));
    let (start, name) = (Instant::now(), Arc::from("Ann"));
    let source = Source { id: SubjectId(7), name: &name, publisher: 1, room: None };
    let mut packets = Vec::new();
    for i in 0..10_u64 {
        let (_, packet) = from.publish(&source, &jaw(0.5), UNIX, (UNIX, start + ms(i))).expect("a packet");
        packets.push(packet);
    }
    let Some(Action::Announce(face)) = from.poll(start, |_, _| true) else { panic!("announced") };
    to.appeared(&Presence::Face(face).to_string(), start).expect("taken");
    assert!(to.poll(start, |_, _| true).is_some());
    // The first one that comes is taken for the start: what is before it is no loss.
    for (place, missing) in [(2, 0), (3, 0), (7, 3), (5, 2), (9, 3)] {
        let taken = to.receive(RelayId(1), "Ann", &packets[place], start);
        assert!(taken.is_ok(), "{place}: {taken:?}");
        assert_eq!(to.stats().missing, missing, "{place}");
        assert_eq!(to.receive(RelayId(1), "Ann", &packets[place], start).err(), Some(Refusal::Duplicate));
    }
}

#[test]
fn mesh_name_at_two_relays_is_that_of_the_first() {
    let mut world = World::new(3);
    let both = |world: &mut World| {
        world.publish(0, 7, "Ann", None, 0.25);
        world.publish(1, 8, "Ann", None, 0.75);
        world.pass(ms(16));
    };
    world.publish(0, 7, "Ann", None, 0.25);
    world.pass(ms(16));
    for _ in 0..50 {
        both(&mut world);
    }
    let third = world.take(2);
    assert!(third.len() >= 50 && third.iter().all(|jaw| *jaw == 0.25), "{third:?}");
    // Each of the two shows its own, once it has one.
    assert!(world.take(0).is_empty());
    assert_eq!(world.take(1), [0.25, 0.25]);
    assert_eq!(world.unwatched, [(1, "Ann".to_owned(), Cause::Replaced)]);
    world.unwatched.clear();

    // The first falls silent: after a second the others see the second.
    for _ in 0..80 {
        world.publish(1, 8, "Ann", None, 0.5);
        world.pass(ms(16));
    }
    let third = world.take(2);
    assert!(third.len() > 10 && third.iter().all(|jaw| *jaw == 0.5), "{third:?}");
    let first = world.take(0);
    assert!(first.len() > 10 && first.iter().all(|jaw| *jaw == 0.5), "and so does its own relay: {first:?}");
    assert_eq!(world.unwatched, [(2, "Ann".to_owned(), Cause::Replaced)]);

    // It comes back: at its own relay at once, elsewhere it is now the later one.
    for _ in 0..20 {
        both(&mut world);
    }
    assert!(world.take(2).iter().all(|jaw| *jaw == 0.75));
    assert!(world.take(0).len() <= 1);
}

#[test]
fn mesh_lost_face_goes_and_unreachable_one_may_come_back() {
    let mut world = World::new(3);
    world.publish(0, 7, "Ann", None, 0.25);
    world.publish(0, 9, "Bob", None, 0.25);
    world.relays[0].lose(SubjectId(9));
    world.settle();
    assert!(world.unwatched.is_empty(), "for a moment, its relay may have gone too");
    world.pass(ms(250));
    let lost = [(1, "Bob".to_owned(), Cause::Withdrawn), (2, "Bob".to_owned(), Cause::Withdrawn)];
    assert_eq!(world.unwatched, lost);
    world.unwatched.clear();
    world.got = vec![Vec::new(); 3];

    // All links of the first are cut, and mended before anything is given up.
    world.cut(0);
    world.pass(ms(100));
    world.mend();
    world.pass(ms(300));
    assert!(world.unwatched.is_empty());
    world.publish(0, 7, "Ann", None, 0.5);
    assert_eq!((world.take(1), world.take(2)), (vec![0.5], vec![0.5]));

    world.cut(0);
    world.pass(ms(2500));
    assert_eq!((&*world.unwatched, world.relays[1].stats().relays), (&[][..], 1));
    world.publish(0, 7, "Ann", None, 0.6);
    world.publish(0, 7, "Ann", None, 0.75);
    world.mend();
    // The newest, though it was published while there was no way; and nothing twice.
    assert_eq!((world.take(1), world.take(2)), (vec![0.75], vec![0.75]));
    world.cut(0);
    world.pass(ms(2500));
    world.mend();
    assert_eq!((world.take(1), world.take(2)), (vec![], vec![]));
    assert_eq!((world.relays[1].stats().missing, &*world.unwatched), (0, &[][..]));

    world.cut(0);
    world.pass(ms(6000));
    let lost = [(1, "Ann".to_owned(), Cause::Unreachable), (2, "Ann".to_owned(), Cause::Unreachable)];
    assert_eq!(world.unwatched, lost);
    world.mend();
    world.publish(0, 7, "Ann", None, 0.5);
    assert_eq!((world.take(1), world.take(2)), (vec![0.5], vec![0.5]));
}

#[test]
fn mesh_relay_that_says_goodbye_is_not_waited_for() {
    let mut world = World::new(2);
    world.publish(0, 7, "Ann", None, 0.25);
    world.declare(0, Presence::Leaving(RelayId(1)).to_string());
    world.settle();
    assert!(world.unwatched.is_empty());
    world.cut(0);
    assert_eq!(world.unwatched, [(1, "Ann".to_owned(), Cause::Withdrawn)]);
}

#[test]
fn mesh_relay_that_does_not_answer_is_asked_again() {
    let mut world = World::new(2);
    world.publish(0, 7, "Ann", None, 0.25);
    world.take(1);
    world.cut(0);
    world.publish(0, 7, "Ann", None, 0.5);
    // The tokens are there again before there is a way for the question.
    let (at, tokens) = (world.at(), world.tokens.clone());
    for (_, key) in tokens.iter().filter(|(by, _)| *by == 0) {
        world.relays[1].appeared(key, at).expect("a token of ours");
    }
    world.pass(ms(500));
    world.cut.clear();
    world.pass(ms(400));
    assert!(world.take(1).is_empty());
    world.pass(ms(200));
    assert_eq!(world.take(1), [0.5]);
}

#[test]
fn mesh_relay_that_is_gone_makes_room_for_its_successor() {
    let mut world = World::new(3);
    world.publish(0, 7, "Ann", None, 0.25);
    world.publish(1, 8, "Ann", None, 0.75);
    world.take(2);
    world.cut(0);
    world.publish(1, 8, "Ann", None, 0.5);
    assert_eq!(world.take(2), [0.75, 0.5], "at once, for there is another of this name");
}

#[test]
fn mesh_subject_that_comes_anew_is_taken() {
    let mut world = World::new(2);
    for i in 0..200 {
        world.publish(0, 7, "Ann", None, 0.25 + 0.25 * (i % 2) as f32);
        world.pass(ms(10));
    }
    world.relays[0].lose(SubjectId(7));
    world.pass(ms(300));
    world.take(1);
    // Another subject of this name, soon enough for the other relay to remember the first.
    world.publish(0, 8, "Ann", None, 0.75);
    world.publish(0, 8, "Ann", None, 1.0);
    assert_eq!(world.take(1), [0.75, 1.0]);
    assert_eq!(world.relays[1].stats().missing, 0);
}

#[test]
fn mesh_face_that_changes_its_room_is_watched_there() {
    let mut world = World::new(2);
    world.publish(0, 7, "Ann", Some("stage"), 0.25);
    assert_eq!(world.watches[1].values().next().and_then(|face| face.room.as_deref()), Some("stage"));
    world.publish(0, 7, "Ann", None, 0.5);
    assert_eq!(world.watches[1].values().map(|face| face.room.as_deref()).collect::<Vec<_>>(), [None]);
    world.pass(ms(300));
    assert_eq!(world.take(1), [0.25, 0.5]);
    assert_eq!(world.tokens.len(), 3, "the announcement of the room was withdrawn: {:?}", world.tokens);
}

#[test]
fn mesh_sealed_packets_pass_as_they_are() {
    let mut world = World::new(2);
    world.copies = 2;
    let name = Arc::from("~secret");
    let source = Source { id: SubjectId(7), name: &name, publisher: 1, room: None };
    for (counter, stream) in [(0_u64, 7), (1, 7), (0, 8), (2, 7), (2, 7), (1, 8)] {
        let mut packet = Vec::new();
        sealed::put_clear(Kind::Face(Layer::Base), KeyId::new(StreamId::from_random(stream), 1), counter, &mut packet);
        packet.extend([0x5C; 100]);
        let at = world.at();
        let (key, packet) = world.relays[0].publish_sealed(&source, &packet, (UNIX, at)).expect("a packet");
        world.settle();
        world.deliver(0, &key, &packet);
    }
    let got: Vec<f32> = world.got[1].iter().map(|(_, counter)| *counter).collect();
    assert_eq!(got, [0.0, 1.0, 0.0, 2.0, 1.0]);
}

#[test]
fn mesh_what_others_send_is_bounded_and_counted() {
    let settings = MeshSettings {
        max_relays: 4,
        max_faces_per_relay: 8,
        max_faces_in: 10,
        max_faces_out: 2,
        max_fps: 100.0,
        ..MeshSettings::default()
    };
    let (mut mesh, start) = (Mesh::new(RelayId(1), settings), Instant::now());
    let token = |relay: u128, name: &str| {
        let face = Announced { relay: RelayId(relay), room: None, subject: name.into(), since_ms: 1 };
        Presence::Face(face).to_string()
    };
    for relay in 2..100 {
        for face in 0..20 {
            let _ = mesh.appeared(&token(relay, &format!("face {relay} {face}")), start);
        }
    }
    let stats = mesh.stats();
    assert_eq!((stats.relays, stats.faces), (4, 32));
    assert_eq!(stats.refused.too_many, 98 * 20 - 32);
    let mut watches = 0;
    while let Some(action) = mesh.poll(start, |_, _| true) {
        watches += u64::from(matches!(action, Action::Watch(_)));
    }
    assert_eq!((watches, mesh.stats().faces_in), (10, 10));

    let name = "face 2 0";
    let packet = |faces: &[(&str, u64)]| {
        let frames: Vec<_> = faces.iter().map(|(_, n)| FaceFrame { sequence: Some(*n), ..jaw(0.5) }).collect();
        let faces: Vec<_> = faces.iter().zip(&frames).map(|((name, _), frame)| (*name, frame)).collect();
        let mut bytes = Vec::new();
        Encoder::new().encode_many(&faces, Clock::Unix, &mut bytes).expect("encodes");
        bytes
    };
    let mut sealed = vec![0xF4; 3];
    sealed.resize(20_000, 0);
    for (bytes, refusal) in [
        (packet(&[("another", 1)]), Refusal::Malformed),
        (packet(&[(name, 1), (name, 2)]), Refusal::Malformed),
        (packet(&[(name, 1), ("another", 1)]), Refusal::Malformed),
        (packet(&[("", 1)]), Refusal::Malformed),
        (packet(&[(name, 1)])[..20].to_vec(), Refusal::Malformed),
        (Vec::new(), Refusal::Malformed),
        (b"{\"type\":\"arkit_data\"}".to_vec(), Refusal::Malformed),
        (vec![0xF4, 1, 2], Refusal::Malformed),
        (sealed, Refusal::TooLarge),
        (vec![0xF1; 70_000], Refusal::TooLarge),
    ] {
        assert_eq!(mesh.receive(RelayId(2), name, &bytes, start).err(), Some(refusal), "{} bytes", bytes.len());
    }
    let good = packet(&[(name, 1)]);
    assert_eq!(mesh.receive(RelayId(3), name, &good, start).err(), Some(Refusal::Unwatched));
    assert_eq!(mesh.receive(RelayId(2), "face 2 19", &good, start).err(), Some(Refusal::Unwatched));
    // A flood: as many as are allowed in 10 seconds, whatever comes.
    let mut taken = 0;
    for i in 0..100_000_u64 {
        let at = start + Duration::from_micros(100 * i);
        taken += u64::from(mesh.receive(RelayId(2), name, &packet(&[(name, i + 1)]), at).is_ok());
    }
    assert!((950..=1030).contains(&taken), "{taken}");
    assert_eq!(mesh.stats().refused.too_fast, 100_000 - taken);

    let publish = |mesh: &mut Mesh, id: u64| {
        let name = Arc::from(format!("own {id}"));
        let source = Source { id: SubjectId(id), name: &name, publisher: 1, room: None };
        mesh.publish(&source, &jaw(0.5), UNIX, (UNIX, start)).is_some()
    };
    assert_eq!([1, 2, 3].map(|id| publish(&mut mesh, id)), [true, true, false]);
    assert!(mesh.appeared("facelink/1/presence/x/../..", start).is_err());
    mesh.vanished("other/key", start);
    assert_eq!(mesh.stats().refused.malformed, 8 + 2);
}
