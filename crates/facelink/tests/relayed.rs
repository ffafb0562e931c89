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
    wire::facelink1::Decoder,
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
    faces: BTreeMap<String, Shown>,
    bytes: usize,
    stats: Vec<ViewerStats>,
}

/// What became of one viewer: its faces as they were shown, bytes a second on the wire, and how the relay saw it over time.
struct Watched {
    faces: Vec<Outcome>,
    bytes_per_s: f32,
    stats: Vec<ViewerStats>,
}

/// Sends `count` faces through a relay to a viewer on each of the networks. `max_fps` of each viewer may change at a time.
fn watch(count: u64, viewers: &[NetworkSettings], seconds: i64, change: impl Fn(i64) -> Option<f32>) -> Vec<Watched> {
    let signal = Signal::performer();
    let start = Instant::now();
    let instant = |us: i64| start + Duration::from_micros(us.max(0) as u64);
    let mut relay = Relay::new(RelaySettings::default());
    let subscription = |max_fps| Subscription { format: Format::Facelink1, max_fps, ..Subscription::default() };
    for viewer in 0..viewers.len() as u64 {
        relay.subscribe(viewer, None, subscription(None), start).expect("subscribes");
    }
    let mut viewers: Vec<Viewer> = (1..)
        .zip(viewers)
        .map(|(seed, network)| Viewer {
            there: Network::new(*network, seed),
            arriving: Vec::new(),
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
        // Faces of one round, a millisecond and a half apart.
        let (round, id) = (next_frame / count as i64, next_frame % count as i64);
        let frame_at = round * SOURCE_US + id * 1500;
        let due = relay.timeout().map_or(i64::MAX, |due| due.saturating_duration_since(start).as_micros() as i64 + 1);
        let arrival = viewers.iter().flat_map(|viewer| &viewer.arriving).map(|(at, _)| *at).min().unwrap_or(i64::MAX);
        let now = frame_at.min(due).min(arrival).min(next_render).min(next_report).min(next_stats);
        if now > end {
            break;
        }
        if now == arrival {
            for viewer in &mut viewers {
                while let Some(place) = viewer.arriving.iter().position(|(at, _)| *at <= now) {
                    let (_, packet) = viewer.arriving.swap_remove(place);
                    let faces = &mut viewer.faces;
                    let each = |face: facelink::wire::facelink1::Face<'_>| {
                        let shown = faces.entry(face.subject.to_owned()).or_insert_with(|| Shown::new(start));
                        let number = face.frame.sequence.expect("a number");
                        shown.take(number, face.frame, face.repeated, instant(now));
                    };
                    Decoder::new().decode(&packet, each).expect("a packet");
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
        "{name}: {:.0} B/s, share {:?}, {:?}",
        watched.bytes_per_s,
        last.map(|l| l.share),
        last.map(|l| &l.layers)
    );
    for face in &watched.faces {
        println!(
            "  age {:?} ms, rms {:.4}, worst {:.3}, pops {:.1}/min, blinks {:?}, freeze {:.0} ms",
            face.age_ms, face.rms, face.worst, face.pops, face.blinks, face.freeze_ms
        );
    }
}

#[test]
fn relay_thin_viewer_has_what_fits_and_the_clean_one_all() {
    let watched = watch(4, &[network("64 kbit/s"), network("clean"), network("5 % loss")], 60, |_| None);
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

/// The pops of steady layers are those of peaks that move between fewer frames.
#[test]
fn relay_layer_changes_do_not_pop() {
    let pops = |rates: &[f32]| {
        // Every two seconds another layer, up and down.
        let change = |now: i64| Some(rates[(now / 2_000_000) as usize % rates.len()]);
        let watched = watch(1, &[network("clean")], 60, change).remove(0);
        describe(&format!("{rates:?}"), &watched);
        let face = &watched.faces[0];
        assert!(face.blinks.0 == face.blinks.1 && face.blinks.1 > 3, "{rates:?}: {:?}", face.blinks);
        let mut in_force: Vec<_> = watched.stats.iter().flat_map(|stats| stats.layers.keys().copied()).collect();
        in_force.sort();
        in_force.dedup();
        assert!(in_force.len() >= rates.len(), "{rates:?}: {in_force:?}");
        face.pops
    };
    let steady = [60.0, 30.0, 15.0, 7.5].map(|rate| (rate, pops(&[rate])));
    let of = |rate: f32| steady.iter().find(|(known, _)| *known == rate).map_or(0.0, |(_, pops)| *pops);
    for pair in [[60.0, 30.0], [60.0, 15.0], [30.0, 15.0], [15.0, 7.5]] {
        let (changing, wanted) = (pops(&pair), (of(pair[0]) + of(pair[1])) / 2.0);
        // 29 changes a minute.
        assert!(changing <= wanted + 7.0, "{pair:?}: {changing} a minute, and {wanted} without changes");
    }
}
