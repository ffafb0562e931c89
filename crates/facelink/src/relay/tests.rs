//! Publishers and viewers in virtual time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    Blendshape, FaceFrame,
    event::SubjectId,
    performer::Performance,
    timing::{DelayReport, LinkReport},
    wire::facelink1::{Decoder, Face, bundle::MAX_BUNDLE},
};

const UNIX: Duration = Duration::from_secs(1_700_000_000);
const FRAME_US: u64 = 16_667;

fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

fn facelink1() -> Subscription {
    Subscription { format: Format::Facelink1, ..Subscription::default() }
}

/// A frame of a face as a viewer had it.
#[derive(Clone, Debug)]
struct Got {
    subject: String,
    number: u64,
    at: Duration,
    jaw: f32,
    captured: Option<Duration>,
    repeated: bool,
}

/// A relay, whose publishers and viewers have numbers.
struct World {
    relay: Relay,
    start: Instant,
    now: Duration,
    /// Frames, packet sizes and lost subjects by viewer.
    got: HashMap<u64, Vec<Got>>,
    packets: HashMap<u64, Vec<(Duration, usize)>>,
    texts: HashMap<u64, Vec<String>>,
    lost: HashMap<u64, Vec<String>>,
    /// Viewers whose packets do not leave.
    stuck: Vec<u64>,
}

impl World {
    fn new() -> Self {
        Self {
            relay: Relay::new(RelaySettings::default()),
            start: Instant::now(),
            now: Duration::ZERO,
            got: HashMap::new(),
            packets: HashMap::new(),
            texts: HashMap::new(),
            lost: HashMap::new(),
            stuck: Vec::new(),
        }
    }

    fn now(&self) -> Instant {
        self.start + self.now
    }

    /// Lets time pass until then.
    fn until(&mut self, end: Duration) {
        while let Some(due) = self.relay.timeout().map(|due| due.saturating_duration_since(self.start)) {
            if due > end {
                break;
            }
            // A relay that is due at once for ever would stand still here.
            self.now = self.now.max(due) + us(1);
            self.poll();
        }
        self.now = self.now.max(end);
    }

    fn poll(&mut self) {
        let Self { relay, start, now, got, packets, texts, lost, stuck } = self;
        relay.poll(
            *start + *now,
            UNIX + *now,
            |viewer| !stuck.contains(&viewer),
            |viewer, output| match output {
                Output::Packet(packet) => {
                    packets.entry(viewer).or_default().push((*now, packet.len()));
                    let each = |face: Face<'_>| {
                        got.entry(viewer).or_default().push(Got {
                            subject: face.subject.to_owned(),
                            number: face.frame.sequence.expect("a number"),
                            at: *now,
                            jaw: face.frame.weights[Blendshape::JawOpen.index()],
                            captured: face.frame.capture_time,
                            repeated: face.repeated,
                        });
                    };
                    Decoder::new().decode(packet, each).expect("a packet");
                }
                Output::Text(text) => texts.entry(viewer).or_default().push(text.to_owned()),
                Output::Lost(name) => lost.entry(viewer).or_default().push(name.to_owned()),
            },
        );
    }

    fn publish(&mut self, id: u64, frame: &FaceFrame) {
        self.publish_in(id, None, frame);
    }

    /// Subject `face-ID` of the connection 1000 + ID.
    fn publish_in(&mut self, id: u64, room: Option<&str>, frame: &FaceFrame) {
        let (name, room) = (Arc::from(format!("face-{id}")), room.map(Arc::from));
        let source = Source { id: SubjectId(id), name: &name, publisher: 1000 + id, room: room.as_ref() };
        let now = self.now();
        self.relay.publish(&source, frame, now, now);
    }

    fn subscribe(&mut self, viewer: u64, subject: Option<&str>, subscription: Subscription) {
        let now = self.now();
        self.relay.subscribe(viewer, subject, subscription, now).expect("subscribes");
    }

    fn got(&self, viewer: u64) -> &[Got] {
        self.got.get(&viewer).map_or(&[], Vec::as_slice)
    }

    /// How many frames of each subject a viewer had since then.
    fn counts(&self, viewer: u64, since: Duration) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for got in self.got(viewer).iter().filter(|got| got.at >= since) {
            *counts.entry(&*got.subject).or_insert(0) += 1;
        }
        counts
    }
}

fn jaw(number: u64, weight: f32) -> FaceFrame {
    let mut frame = FaceFrame { sequence: Some(number), ..FaceFrame::neutral() };
    frame.set(Blendshape::JawOpen, weight);
    frame
}

fn queue(ms: f32) -> LinkReport {
    LinkReport::of_delay(DelayReport { standing_ms: ms, median_ms: ms, high_ms: ms, ..DelayReport::default() })
}

/// Runs faces at 60 frames a second, 20 µs apart, for so long; `each` is called before every round.
fn run(world: &mut World, faces: u64, length: Duration, each: impl FnMut(&mut World, u64)) {
    run_apart(world, faces, 20, length, each);
}

/// The same, so many microseconds apart.
fn run_apart(world: &mut World, faces: u64, apart_us: u64, length: Duration, mut each: impl FnMut(&mut World, u64)) {
    let performances: Vec<_> = (0..faces).map(Performance::new).collect();
    let (begin, rounds) = (world.now, length.as_micros() as u64 / FRAME_US);
    for round in 0..rounds {
        each(world, round);
        for (id, performance) in (0..faces).zip(&performances) {
            world.until(begin + us(round * FRAME_US + id * apart_us));
            let at = world.now;
            world.publish(id, &FaceFrame { sequence: Some(round), ..performance.frame_at(at) });
        }
        world.until(begin + us((round + 1) * FRAME_US));
    }
}

#[test]
fn relay_late_viewer_has_every_face_at_once() {
    let mut world = World::new();
    world.subscribe(9, Some("nothing"), facelink1());
    for id in 0..30 {
        world.publish(id, &jaw(7, 0.5));
    }
    world.until(Duration::from_secs(60));
    assert!(world.got(9).is_empty());
    world.subscribe(1, None, facelink1());
    world.until(Duration::from_secs(60) + us(1100));
    let mut names: Vec<_> = world.got(1).iter().map(|got| got.subject.clone()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 30);
    assert!(world.packets[&1].iter().all(|(_, size)| *size <= MAX_BUNDLE));
    assert_eq!(world.packets[&1].len(), 2, "of 30 faces of 71 bytes 16 go into a packet");
}

#[test]
fn relay_faces_of_a_tick_share_packets() {
    let mut world = World::new();
    for viewer in 1..=3 {
        world.subscribe(viewer, None, facelink1());
    }
    run(&mut world, 20, Duration::from_secs(5), |_, _| {});
    let rounds = 5_000_000 / FRAME_US;
    for viewer in 1..=3 {
        let counts = world.counts(viewer, Duration::ZERO);
        assert!(counts.len() == 20 && counts.values().all(|count| *count == rounds as usize), "{counts:?}");
        let packets = &world.packets[&viewer];
        assert!(packets.len() as u64 <= rounds * 2, "{}", packets.len());
        assert!(packets.iter().all(|(_, size)| *size <= MAX_BUNDLE));
        let numbers: Vec<_> =
            world.got(viewer).iter().filter(|got| got.subject == "face-3").map(|got| got.number).collect();
        assert_eq!(numbers, (0..rounds).collect::<Vec<_>>(), "in order, none twice");
        // No frame waits longer than the others need to come.
        let late = world.got(viewer).iter().filter_map(|got| got.at.checked_sub(got.captured? - UNIX)).max();
        assert!(late.is_some_and(|late| late < us(950)), "{late:?}");
    }
    let stats = world.relay.stats();
    assert_eq!((stats.viewers, stats.publishers, stats.faces, stats.subscriptions), (3, 20, 20, 60));
    assert_eq!(stats.sent.frames, 60 * rounds);
    assert_eq!(stats.sent.thinned.total(), 0);
    assert_eq!(stats.layers, BTreeMap::from([(Layer::All, 60)]));
}

/// Packets a second of all viewers together, and the longest time that a frame waited, of 20 faces so far apart.
fn pace_of(viewers: u64, apart_us: u64) -> (f64, Duration) {
    let mut world = World::new();
    for viewer in 1..=viewers {
        world.subscribe(viewer, None, facelink1());
    }
    run_apart(&mut world, 20, apart_us, Duration::from_millis(200), |_, _| {});
    let begin = world.now;
    run_apart(&mut world, 20, apart_us, Duration::from_millis(500), |_, _| {});
    let (mut packets, mut longest) = (0, Duration::ZERO);
    for viewer in 1..=viewers {
        packets += world.packets[&viewer].iter().filter(|(at, _)| *at >= begin).count();
        let waits = world.got(viewer).iter().filter(|got| got.at >= begin && !got.repeated);
        longest = waits.filter_map(|got| got.at.checked_sub(got.captured? - UNIX)).fold(longest, Duration::max);
    }
    (packets as f64 * 1e6 / (500_000 / FRAME_US * FRAME_US) as f64, longest)
}

#[test]
fn relay_faces_in_step_do_not_wait_for_the_packets_of_other_viewers() {
    for viewers in [1, 10, 50, 100] {
        let (packets, longest) = pace_of(viewers, 5);
        assert!(packets <= viewers as f64 * 122.0, "{viewers}: {packets}");
        assert!(longest <= us(850), "{viewers}: {longest:?}");
    }
    // Slowly written ones, and so many viewers that each has one packet in a 60th of a second.
    let (packets, longest) = pace_of(200, 30);
    assert!(packets <= 200.0 * 122.0 && longest <= us(1600), "{packets} {longest:?}");
}

#[test]
fn relay_faces_apart_share_what_may_be_sent() {
    let most = f64::from(RelaySettings::default().max_packets_per_second);
    for (viewers, wait) in [(1, 2500), (10, 2500), (50, 4700), (100, 9000)] {
        let (packets, longest) = pace_of(viewers, 833);
        let most = most.min(viewers as f64 * 500.0);
        assert!(packets <= most * 1.02, "{viewers}: {packets}");
        assert!(longest <= us(wait), "{viewers}: {longest:?}");
    }
}

#[test]
fn relay_subscriptions_by_name_pattern_room_and_owner() {
    let mut world = World::new();
    world.subscribe(1, Some("face-1*"), facelink1());
    world.subscribe(2, Some("face-2"), facelink1());
    world.subscribe(3, None, Subscription { room: RoomFilter::Named("stage".into()), ..facelink1() });
    world.subscribe(4, None, Subscription { room: RoomFilter::Own, ..facelink1() });
    world.subscribe(1002, None, Subscription { own: false, ..facelink1() });
    for round in 0..40 {
        if round == 20 {
            world.relay.set_room(4, Some("stage".into()), world.start + world.now);
        }
        for id in [1, 2, 10] {
            world.publish_in(id, (id == 2).then_some("stage"), &jaw(round, 0.1));
        }
        world.until(us((round + 1) * FRAME_US));
    }
    let names = |viewer| world.counts(viewer, Duration::ZERO).into_keys().collect::<Vec<_>>();
    assert_eq!(names(1), ["face-1", "face-10"]);
    assert_eq!(names(2), ["face-2"]);
    assert_eq!(names(3), ["face-2"]);
    assert_eq!((names(4), world.counts(4, Duration::ZERO)["face-2"]), (vec!["face-2"], 20));
    assert_eq!(names(1002), ["face-1", "face-10"]);
    // It leaves the room: the face goes on without it.
    for id in [1, 2] {
        world.relay.lose(SubjectId(id), world.start + world.now);
    }
    world.until(Duration::from_secs(2));
    assert_eq!(world.lost[&2], ["face-2"]);
    assert_eq!(world.lost[&1], ["face-1"]);
    for viewer in [1, 2, 3, 4, 1002] {
        world.relay.unsubscribe(viewer, None);
    }
    assert!(world.relay.is_idle() && world.relay.timeout().is_none());
}

#[test]
fn relay_rate_is_the_largest_layer_that_was_asked() {
    let mut world = World::new();
    for (viewer, fps) in [(1, 60.0), (2, 30.0), (3, 15.0), (4, 24.0), (5, 7.5), (6, 1.0)] {
        world.subscribe(viewer, None, Subscription { max_fps: Some(fps), ..facelink1() });
    }
    run(&mut world, 1, Duration::from_secs(10), |_, _| {});
    for (viewer, wanted) in [(1, 600), (2, 300), (3, 150), (4, 150), (5, 75), (6, 10)] {
        let got: Vec<_> = world.got(viewer).iter().filter(|got| !got.repeated).collect();
        assert!(got.len().abs_diff(wanted) <= 2 + wanted / 50, "{viewer}: {}", got.len());
        assert!(got.windows(2).all(|pair| pair[0].number + 1 == pair[1].number), "{viewer}: nothing looks lost");
        let thinned = world.relay.viewer_stats(viewer).expect("a viewer").sent.thinned;
        assert_eq!((thinned.path, thinned.replaced), (0, 0), "{viewer}");
        assert!(thinned.asked as usize + got.len() >= 585, "{viewer}: {thinned:?}");
    }
}

#[test]
fn relay_frame_lost_before_it_looks_lost_behind_it() {
    let mut world = World::new();
    world.subscribe(1, None, facelink1());
    for number in [10, 11, 13, 14, 3, 4, 5, 90_000, 90_001] {
        world.publish(1, &jaw(number, 0.1));
        world.until(world.now + us(FRAME_US));
    }
    let numbers: Vec<_> = world.got(1).iter().map(|got| got.number).collect();
    assert_eq!(numbers, [10, 11, 13, 14, 15, 16, 17, 18, 19]);
}

#[test]
fn relay_face_that_stops_is_shown_as_it_stopped() {
    let mut world = World::new();
    world.subscribe(1, None, Subscription { max_fps: Some(15.0), ..facelink1() });
    world.subscribe(2, None, Subscription { max_fps: Some(15.0), ..Subscription::default() });
    for number in 0..30 {
        world.publish(1, &jaw(number, number as f32 / 100.0));
        world.until(world.now + us(FRAME_US));
    }
    world.until(Duration::from_secs(30));
    let last = world.got(1).last().expect("frames");
    assert!((last.jaw - 0.29).abs() < 0.003, "{last:?}");
    let again = world.got(1).iter().filter(|got| got.number == last.number).count();
    assert_eq!(again, 2, "once more, for a packet that was lost");
    assert!(world.texts[&2].last().expect("updates").contains("\"jawOpen\":0.29"));
    assert_eq!(world.texts[&2].iter().filter(|text| text.contains("\"jawOpen\":0.29")).count(), 1);
}

/// A viewer whose path queues what it is sent, and who says so.
fn share_of(faces: u64, queue_ms: impl Fn(u64) -> f32, seconds: u64) -> (World, ViewerStats) {
    let mut world = World::new();
    world.subscribe(1, None, facelink1());
    world.subscribe(2, None, facelink1());
    run(&mut world, faces, Duration::from_secs(seconds), |world, round| {
        if round.is_multiple_of(12) {
            let now = world.now();
            world.relay.report(1, queue(queue_ms(round)), now);
        }
    });
    let stats = world.relay.viewer_stats(1).expect("a viewer");
    (world, stats)
}

#[test]
fn relay_thin_path_has_less_and_the_others_all() {
    let (world, stats) = share_of(4, |_| 80.0, 10);
    assert!(stats.share < 0.2, "{stats:?}");
    assert!(stats.layers.keys().all(|layer| *layer <= Layer::High), "{stats:?}");
    let bytes = |viewer| {
        let since = world.packets[&viewer].iter().filter(|(at, _)| *at >= Duration::from_secs(8));
        since.map(|(_, size)| size + 93).sum::<usize>() / 2
    };
    // Four faces at 60 Hz take 4 x 60 x 181 bytes a second in packets of their own.
    assert!(bytes(1) < 4 * 60 * 181 / 5, "{}", bytes(1));
    assert!(world.counts(1, Duration::from_secs(8)).values().all(|count| *count >= 14), "none is left out");
    assert!(world.counts(2, Duration::from_secs(8)).values().all(|count| *count >= 118), "the clean one is untouched");
    assert!(stats.sent.thinned.path > 0 && stats.sent.thinned.asked == 0, "{stats:?}");
    let (_, recovered) = share_of(4, |round| if round < 120 { 80.0 } else { 0.0 }, 40);
    assert_eq!((recovered.share, recovered.layers), (1.0, BTreeMap::from([(Layer::All, 4)])));
}

#[test]
fn relay_face_that_speaks_or_is_near_goes_first() {
    let mut world = World::new();
    world.subscribe(1, None, facelink1());
    world.subscribe(1, Some("face-5"), Subscription { priority: 1.0, ..facelink1() });
    for round in 0..600_u64 {
        if round.is_multiple_of(12) {
            let now = world.now();
            world.relay.report(1, queue(60.0), now);
        }
        for id in 0..30 {
            let open = if id == 3 { 0.3 + 0.3 * (round as f32 * 0.5).sin() } else { 0.1 };
            world.publish(id, &jaw(round, open));
        }
        world.until(us((round + 1) * FRAME_US));
    }
    let counts = world.counts(1, Duration::from_secs(8));
    assert!(counts["face-3"] > 100 && counts["face-5"] > 100, "{counts:?}");
    let listeners = counts.iter().filter(|(name, _)| !["face-3", "face-5"].contains(name));
    assert!(listeners.clone().all(|(_, count)| (28..70).contains(count)), "{counts:?}");
}

#[test]
fn relay_viewer_that_does_not_read_costs_the_others_nothing() {
    let mut world = World::new();
    for viewer in 1..=3 {
        world.subscribe(viewer, None, facelink1());
    }
    world.stuck = vec![2];
    run(&mut world, 3, Duration::from_secs(5), |_, _| {});
    assert!(world.got(2).is_empty());
    let share = world.relay.viewer_stats(2).expect("a viewer").share;
    assert!(share < 0.5, "{share}");
    for viewer in [1, 3] {
        assert!(world.counts(viewer, Duration::ZERO).values().all(|count| *count == 299), "{viewer}");
    }
    world.stuck.clear();
    run(&mut world, 3, Duration::from_secs(1), |_, _| {});
    let first = world.got(2).first().expect("frames again");
    assert!(first.captured.is_some_and(|at| at > UNIX + us(4_900_000)), "the newest, not the oldest: {first:?}");
}

#[test]
fn relay_hostile_viewer_and_publisher_are_bounded() {
    let mut world = World::new();
    world.subscribe(1, None, facelink1());
    let now = world.now();
    let mut refused = 0;
    for i in 0..5000 {
        let subject = if i % 2 == 0 { format!("*a{i}*b*c*") } else { format!("x{i}") };
        refused += usize::from(world.relay.subscribe(2, Some(&subject), facelink1(), now).is_err());
    }
    assert_eq!(refused, 5000 - MAX_SUBSCRIPTIONS);
    for viewer in 0..10_000 {
        let _ = world.relay.subscribe(100 + viewer, Some("x"), facelink1(), now);
    }
    for id in 100..5000 {
        world.publish(id, &jaw(0, 0.1));
    }
    let stats = world.relay.stats();
    assert_eq!((stats.faces, stats.viewers), (1024, 4096));
    for viewer in 0..10_000 {
        world.relay.leave(100 + viewer);
    }
    // A flood of frames of one face is one frame for each packet.
    world.until(Duration::from_secs(1));
    let before = world.packets[&1].len();
    for number in 0..10_000 {
        world.publish(100, &jaw(number, 0.1));
        world.until(world.now + us(10));
    }
    let packets = world.packets[&1].len() - before;
    assert!(packets <= 120, "{packets} packets in a tenth of a second");
    let thinned = world.relay.viewer_stats(1).expect("a viewer").sent.thinned;
    assert!(thinned.replaced > 9000, "{thinned:?}");
}

#[test]
fn relay_repeats_frames_where_packets_are_lost() {
    let mut world = World::new();
    world.subscribe(1, None, facelink1());
    run(&mut world, 2, Duration::from_secs(4), |world, round| {
        if round.is_multiple_of(12) {
            let now = world.now();
            let mut report = queue(0.0);
            (report.delay.loss, report.loss) = (Some(0.05), Some(0.05));
            world.relay.report(1, report, now);
        }
    });
    assert_eq!(world.relay.viewer_stats(1).expect("a viewer").redundancy, 1);
    let late: Vec<_> = world.got(1).iter().filter(|got| got.at > Duration::from_secs(2)).collect();
    let (repeated, own) =
        (late.iter().filter(|got| got.repeated).count(), late.iter().filter(|got| !got.repeated).count());
    assert!(repeated.abs_diff(own) <= 4, "{repeated} {own}");
}

#[test]
fn relay_sealed_faces_pass_unread_and_are_thinned_by_layer() {
    use crate::wire::sealed::{self, KeyId, Kind, Layer as Sealed, StreamId};

    let mut relay = Relay::new(RelaySettings::default());
    let start = Instant::now();
    let sealed_format = || Subscription { format: Format::Sealed, ..Subscription::default() };
    relay.subscribe(1, None, sealed_format(), start).expect("subscribes");
    relay.subscribe(2, None, Subscription { max_fps: Some(15.0), ..sealed_format() }, start).expect("subscribes");
    relay.subscribe(3, None, facelink1(), start).expect("subscribes");
    let names: Vec<Arc<str>> = (0..6).map(|id| Arc::from(format!("~{id}"))).collect();
    let mut got: HashMap<u64, Vec<(u64, Kind, u64, u16)>> = HashMap::new();
    for round in 0..120_u64 {
        let now = start + us(round * FRAME_US);
        for (id, name) in (0..).zip(&names) {
            let layer = [Sealed::Base, Sealed::Top, Sealed::Middle, Sealed::Top][round as usize % 4];
            let kinds = [Some(Kind::Face(layer)), (round % 10 == 3).then_some(Kind::Message)];
            for (place, kind) in kinds.into_iter().flatten().enumerate() {
                let mut bytes = Vec::new();
                let key_id = KeyId::new(StreamId::from_random(id), 0);
                sealed::put_clear(kind, key_id, round * 2 + place as u64, &mut bytes);
                bytes.extend([0x5C; 100]);
                let packet = sealed::Packet::parse(&bytes).expect("a packet");
                let source = Source { id: SubjectId(id), name, publisher: 9, room: None };
                assert!(relay.publish_sealed(&source, &packet, now));
            }
        }
        relay.poll(
            now + us(1100),
            UNIX,
            |_| true,
            |viewer, output| {
                let Output::Packet(bundle) = output else { panic!("{output:?}") };
                assert!(bundle.len() <= MAX_BUNDLE && bundle[0] == 0xF8);
                for packet in sealed::packets(bundle) {
                    let packet = packet.expect("a packet");
                    let item = (packet.stream().get(), packet.kind, packet.counter, packet.left_out);
                    got.entry(viewer).or_default().push(item);
                }
            },
        );
    }
    let faces = |viewer: u64| got[&viewer].iter().filter(|(_, kind, ..)| *kind != Kind::Message).collect::<Vec<_>>();
    let messages = |viewer: u64| got[&viewer].iter().filter(|(_, kind, ..)| *kind == Kind::Message).count();
    assert_eq!((faces(1).len(), messages(1)), (720, 72));
    assert!(faces(1).iter().all(|(.., left_out)| *left_out == 0));
    assert_eq!((faces(2).len(), messages(2)), (180, 72), "a quarter of the frames, and every message");
    assert!(faces(2).iter().all(|(_, kind, ..)| *kind == Kind::Face(Sealed::Base)));
    let stream = StreamId::from_random(3).get();
    let of_one: Vec<_> = faces(2).into_iter().filter(|(of, ..)| *of == stream).collect();
    let wanted = |(place, (_, _, counter, left_out)): (usize, &&(u64, Kind, u64, u16))| {
        *counter == place as u64 * 8 && *left_out == place as u16 * 3
    };
    assert!(of_one.iter().enumerate().all(wanted), "{of_one:?}");
    assert_eq!(got.get(&3), None, "without the key there is nothing to see");
}

#[test]
fn relay_publish_allocates_nothing() {
    let mut relay = Relay::new(RelaySettings::default());
    let start = Instant::now();
    relay.subscribe(1, Some("other"), facelink1(), start).expect("subscribes");
    let performance = Performance::new(4);
    let frames: Vec<_> = (0..800).map(|i| performance.frame_at(Duration::from_millis(16 * i))).collect();
    let name = Arc::from("Ann");
    let mut publish = |range: std::ops::Range<usize>| {
        for i in range {
            let at = start + us(FRAME_US * i as u64);
            let source = Source { id: SubjectId(1), name: &name, publisher: 2, room: None };
            relay.publish(&source, &frames[i], at, at);
        }
    };
    publish(0..400);
    assert_eq!(allocation_counter::measure(|| publish(400..800)).count_total, 0);
}
