use std::{sync::Arc, time::Duration};

use super::{GestureEvent, GestureRecognizer, GestureSet};
use crate::{
    Blendshape, FaceFrame, HeadPose, mapping::Face, performer::Performance, wire::profile::rotation_from_euler,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What a face does over time: each part is a shape, how far, from when, until when. It comes and goes in 80 ms.
#[derive(Default)]
struct Script {
    parts: Vec<(Blendshape, f32, f64, f64)>,
    /// Swings of the head: axis (yaw, pitch), degrees to each side, hertz, from when, until when.
    swings: Vec<(usize, f32, f64, f64, f64)>,
}

/// Seconds in which a shape comes and goes.
const EASE: f64 = 0.08;

impl Script {
    fn show(mut self, shapes: &[(Blendshape, f32)], from: f64, until: f64) -> Self {
        self.parts.extend(shapes.iter().map(|(shape, weight)| (*shape, *weight, from, until)));
        self
    }

    /// As ARKit shows it: the other eye closes by a third.
    fn wink(self, left: bool, from: f64) -> Self {
        use Blendshape::*;
        let (own, other) = if left { (EyeBlinkLeft, EyeBlinkRight) } else { (EyeBlinkRight, EyeBlinkLeft) };
        let cheek = if left { CheekSquintLeft } else { CheekSquintRight };
        self.show(&[(own, 0.85), (other, 0.3), (cheek, 0.5)], from, from + 0.35)
    }

    fn turn(mut self, axis: usize, degrees: f32, hertz: f64, from: f64, until: f64) -> Self {
        self.swings.push((axis, degrees, hertz, from, until));
        self
    }

    fn apply(&self, frame: &mut FaceFrame, t: f64) {
        for (shape, weight, from, until) in &self.parts {
            let share = ((t - from) / EASE).min((until - t) / EASE).clamp(0.0, 1.0) as f32;
            let weights = &mut frame.weights[shape.index()];
            *weights += (weight - *weights) * share;
        }
        let [mut yaw, mut pitch] = [0.0_f32; 2];
        for (axis, degrees, hertz, from, until) in &self.swings {
            if (*from..*until).contains(&t) {
                let angle = degrees.to_radians() * (std::f64::consts::TAU * hertz * (t - from)).sin() as f32;
                *[&mut yaw, &mut pitch][*axis] += angle;
            }
        }
        if !self.swings.is_empty() {
            frame.head = Some(HeadPose { rotation: rotation_from_euler(yaw, pitch, 0.0), position: None });
        }
    }
}

fn recognizer() -> GestureRecognizer {
    GestureRecognizer::new(&GestureSet::default()).unwrap()
}

/// Plays a script over a face at 60 frames a second.
fn play(script: &Script, face: impl Fn(Duration) -> FaceFrame, seconds: f64) -> Vec<GestureEvent> {
    let mut recognizer = recognizer();
    let mut events = Vec::new();
    for number in 0..(seconds * 60.0) as u32 {
        let at = Duration::from_secs(1) * number / 60;
        let mut frame = face(at);
        script.apply(&mut frame, at.as_secs_f64());
        recognizer.update_frame(&frame, at, |event| events.push(event));
    }
    events
}

fn neutral(_: Duration) -> FaceFrame {
    FaceFrame::neutral()
}

/// The names of what started.
fn started(events: &[GestureEvent]) -> Vec<&str> {
    events.iter().filter(|event| event.active).map(|event| &*event.name).collect()
}

#[test]
fn gesture_of_each_kind_starts_and_ends() {
    use Blendshape::*;
    let script = Script::default()
        .wink(true, 1.0)
        .wink(false, 2.0)
        .show(&[(MouthPucker, 0.7), (MouthFunnel, 0.3), (CheekPuff, 0.2)], 3.0, 3.6)
        .show(&[(TongueOut, 0.9), (JawOpen, 0.3)], 4.5, 5.2)
        .show(
            &[
                (BrowInnerUp, 0.8),
                (BrowOuterUpLeft, 0.8),
                (BrowOuterUpRight, 0.7),
                (EyeWideLeft, 0.6),
                (EyeWideRight, 0.6),
                (JawOpen, 0.3),
            ],
            6.0,
            6.6,
        )
        .show(&[(MouthSmileLeft, 0.7), (MouthSmileRight, 0.6)], 7.5, 8.5)
        .turn(1, 6.0, 1.8, 9.5, 11.0)
        .turn(0, 12.0, 1.5, 13.0, 15.0);
    let events = play(&script, neutral, 18.0);
    let all = ["wink_left", "wink_right", "kiss", "tongue_out", "surprise", "smile", "nod", "shake"];
    assert_eq!(started(&events), all);
    let starts = [1.0, 2.0, 3.0, 4.5, 6.0, 7.5, 9.5, 13.0];
    for ((name, from), pair) in all.iter().zip(starts).zip(events.chunks(2)) {
        let [start, end] = pair else { panic!("{events:?}") };
        assert_eq!((&*start.name, start.active, start.lasted), (*name, true, Duration::ZERO));
        assert_eq!(
            (&*end.name, end.active, end.lasted),
            (*name, false, end.at - start.at),
            "each ends before the next"
        );
        let delay = start.at.as_secs_f64() - from;
        let most = if from > 9.0 { 1.5 } else { 0.42 };
        assert!(delay > 0.0 && delay <= most, "{name} was recognised after {delay} s");
    }
}

#[test]
fn gesture_rule_has_hold_hysteresis_release_and_cooldown() {
    let set: GestureSet = r#"(built_in: false, gestures: [(
        name: "jaw", when: [(from: "jawOpen", above: 0.5, hysteresis: 0.2)], hold: 0.1, release: 0.1, cooldown: 0.2,
    )])"#
        .parse()
        .unwrap();
    let mut recognizer = GestureRecognizer::new(&set).unwrap();
    let mut events: Vec<(u64, bool)> = Vec::new();
    let mut now = 0;
    let mut hold = |value: f32, until: u64, events: &mut Vec<(u64, bool)>| {
        let mut weights = [0.0; 52];
        weights[Blendshape::JawOpen.index()] = value;
        let face = Face { weights: &weights, ..Face::default() };
        while now < until {
            recognizer.update(&face, ms(now), |event| {
                assert_eq!(event.at, ms(now));
                events.push((now, event.active));
            });
            now += 10;
        }
    };
    hold(0.6, 50, &mut events);
    hold(0.1, 100, &mut events);
    assert_eq!(events, [], "shorter than the hold time");
    hold(0.5, 150, &mut events);
    hold(0.35, 300, &mut events);
    assert_eq!(events, [(200, true)], "within the hysteresis it holds");
    hold(0.2, 360, &mut events);
    hold(0.31, 400, &mut events);
    assert_eq!(events.len(), 1, "it failed for less than the release time");
    hold(0.29, 510, &mut events);
    assert_eq!(events[1..], [(500, false)]);
    hold(0.9, 1000, &mut events);
    assert_eq!(events[2..], [(800, true)], "the cooldown, then the hold time once more");
}

#[test]
fn gesture_that_excludes_another_waits_for_its_end() {
    let set: GestureSet = r#"(built_in: false, gestures: [
        (name: "a", when: [(from: "jawOpen", above: 0.5)], hold: 0, release: 0),
        (name: "b", when: [(from: "mouthPucker", above: 0.5)], hold: 0, release: 0, not_with: ["a"]),
    ])"#
    .parse()
    .unwrap();
    let mut recognizer = GestureRecognizer::new(&set).unwrap();
    let mut events = Vec::new();
    for (place, [jaw, pucker]) in [[0.9, 0.9], [0.9, 0.9], [0.0, 0.9], [0.9, 0.9]].into_iter().enumerate() {
        let mut weights = [0.0; 52];
        weights[Blendshape::JawOpen.index()] = jaw;
        weights[Blendshape::MouthPucker.index()] = pucker;
        let face = Face { weights: &weights, ..Face::default() };
        recognizer
            .update(&face, ms(16 * place as u64), |event| events.push(format!("{} {}", event.name, event.active)));
    }
    assert_eq!(events, ["a true", "a false", "b true", "a true"]);
    assert_eq!(recognizer.active().map(|name| &**name).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn gesture_blinks_and_half_closed_lids_are_no_winks() {
    use Blendshape::{EyeBlinkLeft, EyeBlinkRight, EyeLookDownLeft, EyeLookDownRight};
    let mut script = Script::default();
    for blink in 0..60 {
        // One lid leads by a frame or two.
        let at = 0.7 * f64::from(blink);
        let lead = f64::from(blink % 3) / 60.0;
        let (left, right) = if blink % 2 == 0 { (0.0, lead) } else { (lead, 0.0) };
        script = script.show(&[(EyeBlinkLeft, 0.95)], at + left, at + left + 0.2);
        script = script.show(&[(EyeBlinkRight, 0.9)], at + right, at + right + 0.2);
    }
    let down = [(EyeBlinkLeft, 0.6), (EyeBlinkRight, 0.45), (EyeLookDownLeft, 0.8), (EyeLookDownRight, 0.8)];
    script = script.show(&down, 43.0, 46.0);
    assert_eq!(started(&play(&script, neutral, 47.0)), [""; 0]);
}

#[test]
fn gesture_slow_or_slanted_head_is_neither_nod_nor_shake() {
    // Looking from side to side and up and down, a turn of 2.5 s and more; and circles.
    let slow = Script::default().turn(0, 25.0, 0.3, 0.0, 20.0).turn(1, 15.0, 0.25, 0.0, 20.0);
    assert_eq!(started(&play(&slow, neutral, 20.0)), [""; 0]);
    let slanted = Script::default().turn(0, 12.0, 1.5, 0.0, 6.0).turn(1, 12.0, 1.5, 0.0, 6.0);
    assert_eq!(started(&play(&slanted, neutral, 6.0)), [""; 0]);
    let once = Script::default().turn(0, 30.0, 0.5, 1.0, 2.0);
    assert_eq!(started(&play(&once, neutral, 5.0)), [""; 0], "one look to the side and back");
}

#[test]
fn gesture_ends_when_the_face_is_lost_and_when_it_is_told_so() {
    let wink = {
        let mut frame = FaceFrame::neutral();
        Script::default().wink(true, -1.0).apply(&mut frame, -0.8);
        frame
    };
    let lost = FaceFrame { tracked: false, ..wink.clone() };
    let mut recognizer = recognizer();
    let mut events: Vec<GestureEvent> = Vec::new();
    for frame in 0..10 {
        recognizer.update_frame(&wink, ms(20 * frame), |event| events.push(event));
    }
    // The tracker loses the face for one frame.
    recognizer.update_frame(&lost, ms(200), |event| events.push(event));
    recognizer.update_frame(&wink, ms(220), |event| events.push(event));
    assert_eq!(events.len(), 1);
    for frame in 12..20 {
        recognizer.update_frame(&lost, ms(20 * frame), |event| events.push(event));
    }
    assert_eq!((events.len(), events[1].at), (2, ms(340)), "after the release time");
    for frame in 40..60 {
        recognizer.update_frame(&wink, ms(20 * frame), |event| events.push(event));
    }
    assert_eq!(events.len(), 3);
    recognizer.end(ms(1190), |event| events.push(event));
    assert_eq!((events[3].active, events[3].at), (false, ms(1190)));
    assert_eq!(recognizer.active().count(), 0);
    recognizer.end(ms(1200), |_| panic!("it has ended"));
}

#[test]
fn gesture_gap_begins_the_hold_time_again_and_a_clock_that_steps_back_everything() {
    let mut wink = FaceFrame::neutral();
    Script::default().wink(true, -1.0).apply(&mut wink, -0.8);
    let mut recognizer = recognizer();
    let mut events: Vec<GestureEvent> = Vec::new();
    let mut at = |time: u64, events: &mut Vec<GestureEvent>| {
        recognizer.update_frame(&wink, ms(time), |event| events.push(event));
    };
    at(0, &mut events);
    at(700, &mut events);
    assert_eq!(events, [], "nothing is known of the time between");
    at(790, &mut events);
    at(750, &mut events);
    assert_eq!(events, [], "a small step back is no time");
    at(810, &mut events);
    assert_eq!(started(&events), ["wink_left"]);
    // A take that begins again.
    at(7_000, &mut events);
    at(0, &mut events);
    assert_eq!((events.len(), events[1].active, events[1].at), (2, false, ms(7_000)));
    at(100, &mut events);
    assert_eq!((events.len(), events[2].at), (3, ms(100)), "without the cooldown of another time");
}

#[test]
fn gesture_channels_beyond_the_shapes_count_too() {
    let set: GestureSet = r#"(built_in: false, gestures: [(name: "ears", when: [(from: "ears", above: 0.5)], hold: 0)])"#
        .parse()
        .unwrap();
    let mut recognizer = GestureRecognizer::new(&set).unwrap();
    let mut frame = FaceFrame::neutral();
    frame.channels.push(crate::Channel { name: Arc::from("ears"), value: 0.7 });
    let mut count = 0;
    recognizer.update_frame(&frame, ms(0), |event| count += u32::from(event.active));
    assert_eq!(count, 1);
}

/// Faces that talk, blink, look about and nod with what they say, for ten minutes, with a gesture every six seconds.
#[test]
fn gestures_among_speech_are_recognised_without_false_alarms() {
    use Blendshape::*;
    const SECONDS: u32 = 120;
    let kinds = ["wink_left", "wink_right", "kiss", "tongue_out", "surprise"];
    let (mut shown, mut hit, mut false_alarms, mut by_name) = (0, 0, 0, std::collections::BTreeMap::new());
    for seed in 0..5 {
        let performance = Performance::new(seed);
        let mut script = Script::default();
        let mut wanted = Vec::new();
        for place in 0..SECONDS / 6 {
            let at = 3.0 + 6.0 * f64::from(place);
            let kind = kinds[((place + seed as u32) % 5) as usize];
            wanted.push((kind, at));
            script = match kind {
                "wink_left" => script.wink(true, at),
                "wink_right" => script.wink(false, at),
                "kiss" => script.show(
                    &[
                        (MouthPucker, 0.75),
                        (MouthFunnel, 0.3),
                        (JawOpen, 0.05),
                        (MouthSmileLeft, 0.0),
                        (MouthSmileRight, 0.0),
                        (TongueOut, 0.0),
                    ],
                    at,
                    at + 0.6,
                ),
                "tongue_out" => script.show(&[(TongueOut, 0.9), (JawOpen, 0.3)], at, at + 0.6),
                _ => script.show(
                    &[
                        (BrowInnerUp, 0.8),
                        (BrowOuterUpLeft, 0.7),
                        (BrowOuterUpRight, 0.7),
                        (EyeWideLeft, 0.6),
                        (EyeWideRight, 0.6),
                        (JawOpen, 0.3),
                    ],
                    at,
                    at + 0.6,
                ),
            };
        }
        let events = play(&script, |at| performance.frame_at(at), f64::from(SECONDS));
        shown += wanted.len();
        for event in events.iter().filter(|event| event.active) {
            let at = event.at.as_secs_f64();
            let near =
                wanted.iter().position(|(kind, from)| *kind == &*event.name && (*from..from + 0.7).contains(&at));
            match near {
                Some(place) => {
                    wanted.swap_remove(place);
                    hit += 1;
                }
                // A performer who is in a good mood does smile.
                None if &*event.name == "smile" => {}
                None => {
                    false_alarms += 1;
                    *by_name.entry(event.name.to_string()).or_insert(0) += 1;
                }
            }
        }
    }
    println!("{hit} of {shown} recognised, {false_alarms} false alarms in {} minutes: {by_name:?}", 5 * SECONDS / 60);
    assert!(hit * 100 >= shown * 98, "{hit} of {shown}");
    assert!(false_alarms <= 1, "{by_name:?}");
}
