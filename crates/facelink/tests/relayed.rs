//! Faces through a relay to viewers on good and bad networks, in virtual time: what is shown, compared with the true face.

#![expect(clippy::expect_used, reason = "helpers of tests")]

#[path = "../benches/trial/mod.rs"]
mod trial;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use facelink::{
    BLENDSHAPE_COUNT, FaceFrame,
    event::SubjectId,
    relay::{Format, Output, Relay, RelaySettings, Source, Subscription, ViewerStats},
    simulate::network::{Network, NetworkSettings},
    timing::{DelayMeter, LinkReport, LoadMeter, Playout, PlayoutSettings, PresentClock, SourceClock},
    wire::facelink1::{
        Decoder, Face,
        delta::compact::{Acks, CompactDecoder},
    },
};
use trial::{Outcome, Signal, judge, networks};

const HEADERS: usize = 93;
const SOURCE_US: i64 = 16_667;
const DISPLAY_US: i64 = 16_683;
const WARM_UP_US: i64 = 3_000_000;
const UNIX_US: i64 = 1_700_000_000_000_000;

/// One face at a viewer, from packets to the shown face.
struct Shown {
    clock: SourceClock,
    delay: DelayMeter,
    load: LoadMeter,
    playout: Playout,
    newest: Option<u64>,
    frames: Vec<(i64, i64, [f32; BLENDSHAPE_COUNT])>,
}

impl Shown {
    fn new(start: Instant) -> Self {
        Self {
            clock: SourceClock::new(start),
            delay: DelayMeter::default(),
            load: LoadMeter::default(),
            playout: Playout::new(PlayoutSettings::default()),
            newest: None,
            frames: Vec::new(),
        }
    }

    fn take(&mut self, number: u64, frame: FaceFrame, repeated: bool, now: Instant) {
        if repeated && self.newest.is_some_and(|newest| number <= newest.saturating_sub(3)) {
            return;
        }
        let stamp = self.clock.record(frame.capture_time, now);
        if !repeated {
            self.delay.record(&stamp);
        }
        let target = self.delay.quantile_us(0.95) + stamp.interval_us / 2;
        self.load.record(&stamp, Some(number), repeated, target);
        self.newest = self.newest.max(Some(number));
        self.playout.push(frame, None, &stamp, now, repeated);
    }
}

/// A viewer behind a network.
struct Viewer {
    there: Network,
    arriving: Vec<(i64, Vec<u8>)>,
    /// The way back.
    back: Network,
    returning: Vec<(i64, Vec<u16>)>,
    compact: CompactDecoder,
    acks: Acks,
    /// Faces that could not be read.
    missing: usize,
    packets: usize,
    faces: BTreeMap<String, Shown>,
    bytes: usize,
    stats: Vec<ViewerStats>,
}

/// What became of one viewer: its faces as they were shown, bytes a second on the wire, and how the relay saw it over time.
struct Watched {
    faces: Vec<Outcome>,
    bytes_per_s: f32,
    missing: usize,
    packets: usize,
    stats: Vec<ViewerStats>,
}

/// How faces are sent to viewers.
#[derive(Clone, Copy)]
struct How {
    format: Format,
    /// Time between two faces, microseconds.
    apart_us: i64,
    /// Whether viewers acknowledge what they have read.
    acks: bool,
}

const PLAIN: How = How { format: Format::Facelink1, apart_us: 1500, acks: true };

/// Sends `count` faces through a relay to a viewer on each of the networks. `max_fps` of each viewer may change at a time.
fn watch(
    count: u64,
    viewers: &[NetworkSettings],
    seconds: i64,
    how: How,
    change: impl Fn(i64) -> Option<f32>,
) -> Vec<Watched> {
    let signal = Signal::performer();
    let start = Instant::now();
    let instant = |us: i64| start + Duration::from_micros(us.max(0) as u64);
    let mut relay = Relay::new(RelaySettings::default());
    let subscription = |max_fps| Subscription { format: how.format, max_fps, ..Subscription::default() };
    for viewer in 0..viewers.len() as u64 {
        relay.subscribe(viewer, None, subscription(None), start).expect("subscribes");
    }
    let mut viewers: Vec<Viewer> = (1..)
        .zip(viewers)
        .map(|(seed, network)| Viewer {
            there: Network::new(*network, seed),
            arriving: Vec::new(),
            back: Network::new(*network, seed + 100),
            returning: Vec::new(),
            compact: CompactDecoder::new(),
            acks: Acks::default(),
            missing: 0,
            packets: 0,
            faces: BTreeMap::new(),
            bytes: 0,
            stats: Vec::new(),
        })
        .collect();
    let names: Vec<Arc<str>> = (0..count).map(|id| Arc::from(format!("face-{id}"))).collect();
    let (mut next_frame, mut next_render, mut next_report, mut next_stats) = (0_i64, 5_000_i64, 100_000_i64, 0_i64);
    let mut present = PresentClock::default();
    let mut asked = None;
    let end = seconds * 1_000_000;
    loop {
        let (round, id) = (next_frame / count as i64, next_frame % count as i64);
        let frame_at = round * SOURCE_US + id * how.apart_us;
        let due = relay.timeout().map_or(i64::MAX, |due| due.saturating_duration_since(start).as_micros() as i64 + 1);
        let arrival = viewers.iter().flat_map(|viewer| &viewer.arriving).map(|(at, _)| *at).min().unwrap_or(i64::MAX);
        let returning =
            viewers.iter().flat_map(|viewer| &viewer.returning).map(|(at, _)| *at).min().unwrap_or(i64::MAX);
        let now = frame_at.min(due).min(arrival).min(returning).min(next_render).min(next_report).min(next_stats);
        if now > end {
            break;
        }
        if now == arrival {
            for viewer in &mut viewers {
                while let Some(place) = viewer.arriving.iter().position(|(at, _)| *at <= now) {
                    let (_, packet) = viewer.arriving.swap_remove(place);
                    let faces = &mut viewer.faces;
                    let each = |face: Face<'_>| {
                        let shown = faces.entry(face.subject.to_owned()).or_insert_with(|| Shown::new(start));
                        let number = face.frame.sequence.expect("a number");
                        shown.take(number, face.frame, face.repeated, instant(now));
                    };
                    if !CompactDecoder::is_compact(&packet) {
                        Decoder::new().decode(&packet, each).expect("a packet");
                        continue;
                    }
                    let received = viewer.compact.decode(&packet, &mut Decoder::new(), each).expect("a packet");
                    viewer.missing += received.missing;
                    if let Some(acks) = viewer.acks.note(received, instant(now)).filter(|_| how.acks) {
                        let back = viewer.back.send(now, HEADERS + 60);
                        viewer.returning.extend(back.into_iter().map(|at| (at, acks.clone())));
                    }
                }
            }
        } else if now == returning {
            for (key, viewer) in (0..).zip(&mut viewers) {
                while let Some(place) = viewer.returning.iter().position(|(at, _)| *at <= now) {
                    relay.acknowledge(key, &viewer.returning.swap_remove(place).1);
                }
            }
        } else if now == frame_at {
            next_frame += 1;
            let name = &names[id as usize];
            let source = Source { id: SubjectId(id as u64), name, publisher: 1000 + id as u64, room: None };
            let frame = signal.frame_at(now);
            let frame = FaceFrame { sequence: Some(round as u64), ..frame };
            relay.publish(&source, &frame, instant(now), instant(now));
        } else if now == next_render {
            next_render += DISPLAY_US;
            let at = present.tick(instant(now));
            for shown in viewers.iter_mut().flat_map(|viewer| viewer.faces.values_mut()) {
                if let Some(pose) = shown.playout.advance(at).filter(|_| now > WARM_UP_US) {
                    let captured = pose.capture_us.unwrap_or_default() - UNIX_US;
                    shown.frames.push((now, captured, pose.frame.weights));
                }
            }
        } else if now == next_report {
            next_report += 200_000;
            for (key, viewer) in (0..).zip(&mut viewers) {
                if let Some(shown) = viewer.faces.values().next() {
                    relay.report(key, LinkReport::of_delay(shown.load.report(now)), instant(now));
                }
            }
            if change(now) != asked {
                asked = change(now);
                for key in 0..viewers.len() as u64 {
                    relay.subscribe(key, None, subscription(asked), instant(now)).expect("subscribes");
                }
            }
        } else if now == next_stats {
            next_stats += 100_000;
            for (key, viewer) in (0..).zip(&mut viewers) {
                viewer.stats.extend(relay.viewer_stats(key));
            }
        } else {
            let unix = Duration::from_micros((UNIX_US + now) as u64);
            relay.poll(
                instant(now),
                unix,
                |_| true,
                |key, output| {
                    if let (Output::Packet(packet), Some(viewer)) = (output, viewers.get_mut(key as usize)) {
                        viewer.bytes += HEADERS + packet.len();
                        viewer.packets += 1;
                        let arrivals = viewer.there.send(now, HEADERS + packet.len());
                        viewer.arriving.extend(arrivals.into_iter().map(|at| (at, packet.to_vec())));
                    }
                },
            );
        }
    }
    let outcome = |shown: Shown| judge(&signal, &shown.frames, &[], Outcome::default());
    viewers
        .into_iter()
        .map(|viewer| Watched {
            faces: viewer.faces.into_values().map(outcome).collect(),
            bytes_per_s: viewer.bytes as f32 / seconds as f32,
            missing: viewer.missing,
            packets: viewer.packets,
            stats: viewer.stats,
        })
        .collect()
}

fn network(name: &str) -> NetworkSettings {
    networks().into_iter().find(|(known, _)| *known == name).expect("is in the table").1
}

fn describe(name: &str, watched: &Watched) {
    let last = watched.stats.last();
    println!(
        "{name}: {:.0} B/s in {} packets, {} missing, share {:?}, {:?}",
        watched.bytes_per_s,
        watched.packets,
        watched.missing,
        last.map(|l| l.share),
        last.map(|l| &l.layers)
    );
    for face in &watched.faces {
        println!(
            "  age {:?} ms, rms {:.4}, worst {:.3}, pops {:.1}/min, jump {:.3}, blinks {:?}, freeze {:.0} ms",
            face.age_ms, face.rms, face.worst, face.pops, face.jump, face.blinks, face.freeze_ms
        );
    }
}

#[test]
fn relay_thin_viewer_has_what_fits_and_the_clean_one_all() {
    let watched = watch(4, &[network("64 kbit/s"), network("clean"), network("5 % loss")], 60, PLAIN, |_| None);
    for (name, watched) in ["64 kbit/s", "clean", "5 % loss"].into_iter().zip(&watched) {
        describe(name, watched);
    }
    let [thin, clean, lossy] = &watched[..] else { panic!("three viewers") };
    // 8000 bytes a second carry four faces at 15 a second in bundles.
    assert!(thin.bytes_per_s < 9500.0, "{}", thin.bytes_per_s);
    for face in &thin.faces {
        assert_eq!(face.blinks.0, face.blinks.1, "{face:?}");
        assert!(face.blinks.1 > 3 && face.freeze_ms < 1500.0 && face.age_ms.1 < 400.0, "{face:?}");
    }
    for face in &clean.faces {
        assert!(face.age_ms.1 < 60.0 && face.worst < 0.06 && face.pops == 0.0, "{face:?}");
        assert_eq!(face.blinks.0, face.blinks.1);
    }
    assert!(clean.stats.iter().all(|stats| stats.share == 1.0), "the clean one is untouched");
    for face in &lossy.faces {
        assert_eq!(face.blinks.0, face.blinks.1, "{face:?}");
        assert!(face.worst < 0.12 && face.age_ms.1 < 90.0 && face.freeze_ms < 200.0, "{face:?}");
    }
    assert!(lossy.stats.iter().all(|stats| stats.share == 1.0), "loss alone is no full path");
    assert_eq!(lossy.stats.last().map(|stats| stats.redundancy), Some(1));
}

/// The same on 64 kbit/s as what changed: more frames fit.
#[test]
fn relay_thin_viewer_of_compact_bundles_has_more() {
    let of = |format| {
        let how = How { format, ..PLAIN };
        let [thin, clean] =
            <[Watched; 2]>::try_from(watch(4, &[network("64 kbit/s"), network("clean")], 60, how, |_| None))
                .unwrap_or_else(|_| panic!("two viewers"));
        describe("64 kbit/s", &thin);
        assert!(clean.faces.iter().all(|face| face.age_ms.1 < 40.0 && face.worst < 0.02 && face.pops == 0.0));
        assert!(clean.stats.iter().all(|stats| stats.share == 1.0), "the clean one is untouched");
        thin
    };
    let (plain, compact) = (of(Format::Facelink1), of(Format::Compact));
    let mean = |watched: &Watched, of: &dyn Fn(&Outcome) -> f32| {
        watched.faces.iter().map(of).sum::<f32>() / watched.faces.len() as f32
    };
    let (age, rms) = (|face: &Outcome| face.age_ms.0, |face: &Outcome| face.rms);
    assert!(mean(&compact, &age) < mean(&plain, &age) && mean(&compact, &rms) < mean(&plain, &rms));
}

/// The pops of steady layers are those of peaks that move between fewer frames. Before sources that send fewer frames were
/// recognised at once, 60 to 7.5 frames a second had 139 pops a minute and a jump of 0.22.
#[test]
fn relay_layer_changes_do_not_pop() {
    let shown = |rates: &[f32]| {
        // Every two seconds another layer, up and down.
        let change = |now: i64| Some(rates[(now / 2_000_000) as usize % rates.len()]);
        let watched = watch(1, &[network("clean")], 60, PLAIN, change).remove(0);
        describe(&format!("{rates:?}"), &watched);
        let face = &watched.faces[0];
        assert!(face.blinks.0 == face.blinks.1 && face.blinks.1 > 3, "{rates:?}: {:?}", face.blinks);
        let mut in_force: Vec<_> = watched.stats.iter().flat_map(|stats| stats.layers.keys().copied()).collect();
        in_force.sort();
        in_force.dedup();
        assert!(in_force.len() >= rates.len(), "{rates:?}: {in_force:?}");
        (face.pops, face.jump)
    };
    let steady = [60.0, 30.0, 15.0, 7.5].map(|rate| (rate, shown(&[rate])));
    let of = |rate: f32| steady.iter().find(|(known, _)| *known == rate).map_or((0.0, 0.0), |(_, shown)| *shown);
    for pair in [[60.0, 30.0], [60.0, 15.0], [30.0, 15.0], [15.0, 7.5], [30.0, 7.5], [60.0, 7.5]] {
        // 29 changes a minute. Nothing is worse than the lower layer alone, but for a little.
        let ((pops, jump), lower) = (shown(&pair), of(pair[1]));
        assert!(pops <= lower.0 + 10.0, "{pair:?}: {pops} pops a minute, and {lower:?} without changes");
        assert!(jump <= lower.1 + 0.05, "{pair:?}: a jump of {jump}, and {lower:?} without changes");
    }
}

/// 20 faces in step: bytes a second with headers, and what loss does.
#[test]
fn relay_compact_bundles_take_fewer_bytes_and_recover_from_loss() {
    let how = |format, acks| How { format, apart_us: 20, acks };
    let watch = |name: &str, how| {
        let watched = watch(20, &[network(name)], 12, how, |_| None).remove(0);
        describe(name, &Watched { faces: watched.faces[..2].to_vec(), stats: watched.stats.clone(), ..watched });
        watched
    };
    let plain = watch("clean", how(Format::Facelink1, false));
    let whole = watch("clean", how(Format::Compact, false));
    let deltas = watch("clean", how(Format::Compact, true));
    assert!(plain.bytes_per_s > 110_000.0, "{}", plain.bytes_per_s);
    assert!(whole.bytes_per_s < 85_000.0, "{}", whole.bytes_per_s);
    assert!(deltas.bytes_per_s < 35_000.0, "{}", deltas.bytes_per_s);
    for face in plain.faces.iter().chain(&whole.faces).chain(&deltas.faces) {
        assert!(face.worst < 0.02 && face.pops == 0.0 && face.blinks.0 == face.blinks.1, "{face:?}");
    }
    assert_eq!((whole.missing, deltas.missing), (0, 0));
    for (name, limit) in [("5 % loss", 0.05), ("5 % in bursts of 3", 0.12)] {
        let (plain, deltas) = (watch(name, how(Format::Facelink1, false)), watch(name, how(Format::Compact, true)));
        assert!(deltas.bytes_per_s < plain.bytes_per_s * 0.75, "{name}: {} {}", deltas.bytes_per_s, plain.bytes_per_s);
        // A frame that is lost takes at most three others along, until the loss is known; then none.
        assert!(deltas.missing < deltas.packets / 10, "{name}: {} of {}", deltas.missing, deltas.packets * 20);
        for face in &deltas.faces {
            assert!(face.worst < limit && face.freeze_ms < 120.0 && face.blinks.0 == face.blinks.1, "{name}: {face:?}");
        }
    }
}
