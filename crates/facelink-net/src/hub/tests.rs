#![cfg(feature = "phones")]

use std::time::Duration;

use facelink::{
    Blendshape,
    calibration::Calibration,
    wire::{json::VisemeMessage, viseme::Viseme},
};

use super::*;

struct Scene {
    hub: Hub,
    start: Instant,
}

impl Scene {
    fn new() -> Self {
        Self::with(SubjectRules::default())
    }

    fn with(subjects: SubjectRules) -> Self {
        let start = Instant::now();
        Self { hub: Hub::new(EndpointConfig { subjects, ..EndpointConfig::default() }, start), start }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn connect(&self, id: &str) -> ConnectionKey {
        let counters = Arc::default();
        self.hub.connect(SourceKind::WebSocket, id.into(), None, counters, AuthLevel::Exempt, self.start).expect("room")
    }

    fn send(&self, key: ConnectionKey, subject: &str, jaw: f32, ms: u64) -> Result<SubjectId, Refused> {
        let mut frame = FaceFrame::neutral();
        frame.set(Blendshape::JawOpen, jaw);
        self.hub
            .ingest(&Update { frame: Some(&frame), ..Update::new(key, SourceKind::WebSocket, subject) }, self.at(ms))
    }

    /// What has come out: name and jaw of each frame.
    fn frames(&self) -> Vec<(String, f32)> {
        let frames = self.hub.queues.frames().try_iter();
        frames.map(|frame| (frame.name.to_string(), frame.frame.get(Blendshape::JawOpen).unwrap_or(-1.0))).collect()
    }

    /// Subjects that came and went, and emotions.
    fn events(&self) -> Vec<String> {
        let events = self.hub.queues.events().try_iter();
        let told = events.filter_map(|event| match event {
            LinkEvent::SubjectAppeared { name, .. } => Some(format!("+{name}")),
            LinkEvent::SubjectLost { name, reason, .. } => Some(format!("-{name} {reason}")),
            LinkEvent::Emotion { name, emotion, .. } => Some(format!("{name} {}", emotion.name)),
            LinkEvent::Gesture { name, gesture, active, .. } => Some(format!("{name} {gesture} {active}")),
            _ => None,
        });
        told.collect()
    }

    fn listed(&self, ms: u64) -> Vec<(String, String, bool, u64)> {
        let subjects = self.hub.stats(self.at(ms)).subjects;
        let line = |s: crate::stats::SubjectStats| (s.name.to_string(), s.source_name.to_string(), s.enabled, s.frames);
        subjects.into_iter().map(line).collect()
    }

    fn enable(&self, name: &str, enabled: bool) {
        self.hub.enable_subject(name, enabled, self.at(0)).expect("a subject");
    }

    fn rename(&self, name: &str, to: &str) {
        self.hub.rename_subject(name, Some(to), self.at(0)).expect("a subject");
    }
}

fn named(name: &str, jaw: f32) -> (String, f32) {
    (name.to_owned(), jaw)
}

#[test]
fn subject_disabled_is_counted_and_goes_nowhere() {
    let scene = Scene::new();
    let gestures = r#"(built_in: false, gestures: [(name: "jaw", when: [(from: "jawOpen", above: 0.6)], hold: 0)])"#;
    let recognizer = GestureRecognizer::new(&gestures.parse().expect("rules")).expect("rules");
    scene.hub.set_gestures(Some(recognizer), scene.start);
    let mut published = scene.hub.queues.subscribe();
    let key = scene.connect("a");
    let first = scene.send(key, "Ann", 0.75, 0).expect("taken");
    assert_eq!(scene.events(), ["+Ann", "Ann jaw true"]);
    scene.enable("Ann", false);
    assert_eq!(scene.events(), ["Ann jaw false", "-Ann disabled"]);
    assert_eq!(scene.frames(), [named("Ann", 0.75)]);
    while published.try_recv().is_ok() {}

    for frame in 1..=30 {
        scene.send(key, "Ann", 0.75, 16 * frame).expect("taken");
    }
    let viseme = VisemeMessage { viseme: Viseme::Aa, weight: 1.0, duration: Some(Duration::from_millis(5)) };
    let said = Update { viseme: Some(viseme), ..Update::new(key, SourceKind::WebSocket, "Ann") };
    scene.hub.ingest(&said, scene.at(500)).expect("taken");
    let emotion = Emotion { name: "happy".into(), intensity: 1.0, fade: None, duration: None };
    scene
        .hub
        .ingest_emotion(&Update::new(key, SourceKind::WebSocket, "Ann"), emotion.clone(), scene.at(500))
        .expect("taken");
    scene.hub.tick(scene.at(600));
    assert!(scene.frames().is_empty() && scene.events().is_empty());
    assert!(published.try_recv().is_err(), "neither outputs nor relays are given it");
    assert!(scene.hub.newest().is_empty() && scene.hub.live(None).is_empty());
    let listed = scene.listed(600);
    assert!(matches!(&listed[..], [(name, _, false, frames)] if name == "Ann" && *frames >= 31), "{listed:?}");
    assert!(scene.hub.stats(scene.at(600)).subjects[0].fps > 20.0, "its figures go on");

    scene.enable("Ann", true);
    let again = scene.send(key, "Ann", 0.25, 700).expect("taken");
    assert_eq!((scene.events(), scene.frames()), (vec!["+Ann".to_owned()], vec![named("Ann", 0.25)]));
    assert!(again > first, "an engine tells it from the one that has left");
    scene.hub.ingest_emotion(&Update::new(key, SourceKind::WebSocket, "Ann"), emotion, scene.at(700)).expect("taken");
    assert_eq!(scene.events(), ["Ann happy"]);
    // Switched off, it ends in silence.
    scene.enable("Ann", false);
    scene.events();
    scene.hub.disconnect(key, "gone", true, scene.at(800));
    scene.hub.tick(scene.at(3000));
    assert!(scene.listed(3000).is_empty() && scene.events().is_empty());
    let key = scene.connect("b");
    scene.send(key, "Ann", 0.25, 3000).expect("taken");
    assert_eq!(scene.listed(3000), [("Ann".to_owned(), "Ann".to_owned(), false, 1)], "it is remembered");
}

#[test]
fn subject_renamed_keeps_figures_calibration_and_rule() {
    let scene = Scene::new();
    let key = scene.connect("a");
    for frame in 0..10 {
        scene.send(key, "iPhone", 0.5, 16 * frame).expect("taken");
    }
    scene.hub.subjects().calibrate("iPhone", Calibration::set_neutral).expect("a subject");
    scene.frames();
    scene.events();
    scene.rename("iPhone", "Hero");
    assert_eq!(scene.events(), ["-iPhone renamed"]);
    assert_eq!(scene.listed(160), [("Hero".to_owned(), "iPhone".to_owned(), true, 10)]);
    scene.send(key, "iPhone", 0.5, 160).expect("taken");
    assert_eq!(scene.events(), ["+Hero"]);
    assert_eq!(scene.frames(), [named("Hero", 0.0)], "it is calibrated still");
    let emotion = Emotion { name: "sad".into(), intensity: 1.0, fade: None, duration: None };
    scene
        .hub
        .ingest_emotion(&Update::new(key, SourceKind::WebSocket, "iPhone"), emotion, scene.at(170))
        .expect("taken");
    assert_eq!(scene.events(), ["Hero sad"]);
    scene.frames();
    // Goodbyes and new names of a client are about what it sends.
    assert_eq!(scene.hub.source_name_of(key, |name| name == "iPhone").as_deref(), Some("iPhone"));
    scene.hub.release(key, "iPhone", scene.at(180));
    scene.hub.tick(scene.at(1300));
    assert_eq!(scene.events(), ["-Hero disconnected"]);

    let key = scene.connect("b");
    scene.send(key, "iPhone", 0.5, 2000).expect("taken");
    assert_eq!((scene.events(), scene.frames()), (vec!["+Hero".to_owned()], vec![named("Hero", 0.0)]));
    scene.hub.rename_subject("Hero", None, scene.at(2000)).expect("a subject");
    scene.send(key, "iPhone", 0.5, 2016).expect("taken");
    assert_eq!(
        (scene.events(), scene.frames()),
        (vec!["-Hero renamed".to_owned(), "+iPhone".to_owned()], vec![named("iPhone", 0.0)])
    );
    assert_eq!(scene.hub.subjects().rules(), &SubjectRules::default());
}

#[test]
fn subjects_exchange_their_names() {
    let scene = Scene::new();
    let (a, b) = (scene.connect("a"), scene.connect("b"));
    let both = |ms| {
        scene.send(a, "Ann", 0.25, ms).expect("taken");
        scene.send(b, "Bob", 0.75, ms).expect("taken");
    };
    both(0);
    scene.hub.subjects().calibrate("Bob", Calibration::set_neutral).expect("a subject");
    scene.frames();
    let mut rules = SubjectRules::default();
    rules.call("Ann", "Bob").expect("a rule");
    rules.call("Bob", "Ann").expect("a rule");
    scene.hub.set_subject_rules(rules, scene.at(10));
    both(16);
    assert_eq!(scene.frames(), [named("Bob", 0.25), named("Ann", 0.0)], "calibration is the performer's");
    // Also when they come again.
    scene.hub.disconnect(b, "gone", true, scene.at(20));
    scene.hub.tick(scene.at(2000));
    let b = scene.connect("c");
    scene.send(b, "Bob", 0.75, 2000).expect("taken");
    assert_eq!(scene.frames(), [named("Ann", 0.0)]);
}

#[test]
fn subject_alias_shows_the_newest_source_and_falls_back() {
    let scene = Scene::new();
    let (old, new) = (scene.connect("old"), scene.connect("new"));
    scene.send(old, "left phone", 0.1, 0).expect("taken");
    scene.send(new, "right phone", 0.2, 0).expect("taken");
    scene.rename("left phone", "Hero");
    scene.hub.alias_subject("right phone", "Hero", scene.at(0)).expect("a subject");
    let both = |ms| (scene.send(old, "left phone", 0.1, ms), scene.send(new, "right phone", 0.2, ms));
    let (of_old, of_new) = both(16);
    assert!(of_old.is_ok() && of_new.is_ok(), "the first one that comes");
    scene.frames();
    assert!(matches!(both(32), (Err(Refused::Standby), Ok(_))));
    assert_eq!(scene.frames(), [named("Hero", 0.2)]);
    assert_eq!(scene.listed(32).len(), 1);
    // The newer one falls silent.
    for ms in [500, 1000, 1040] {
        let taken = scene.send(old, "left phone", 0.1, ms).is_ok();
        assert_eq!(taken, ms > 1032, "{ms}");
    }
    assert_eq!(scene.frames(), [named("Hero", 0.1)]);
    assert_eq!(scene.listed(1040)[0].1, "left phone");
    assert!(both(1056).1.is_ok(), "and is back");
    // Both are renamed, and each gets its own name back.
    scene.rename("Hero", "Villain");
    let _ = both(1072);
    scene.hub.rename_subject("Villain", None, scene.at(1080)).expect("a subject");
    scene.frames();
    let _ = both(1088);
    assert_eq!(scene.frames(), [named("left phone", 0.1), named("right phone", 0.2)]);
}

#[test]
fn subject_alias_of_two_faces_on_one_connection() {
    let mut rules = SubjectRules::default();
    rules.call("a", "Hero").expect("a rule");
    rules.call("b", "Hero").expect("a rule");
    let scene = Scene::with(rules);
    let key = scene.connect("a");
    for frame in 0..5 {
        let _ = scene.send(key, "a", 0.1, 16 * frame);
        let _ = scene.send(key, "b", 0.2, 16 * frame);
    }
    assert_eq!(scene.frames(), vec![named("Hero", 0.1); 5], "they do not alternate");
    scene.send(key, "b", 0.2, 2000).expect("the other one is silent");
}

#[test]
fn subject_rules_errors() {
    let scene = Scene::new();
    let (a, b) = (scene.connect("a"), scene.connect("b"));
    scene.send(a, "Ann", 0.1, 0).expect("taken");
    scene.send(b, "Bob", 0.1, 0).expect("taken");
    let (hub, now) = (&scene.hub, scene.at(0));
    let unknown = Err(SubjectError::Unknown("Eve".to_owned()));
    assert_eq!(hub.enable_subject("Eve", false, now), unknown);
    assert_eq!(hub.rename_subject("Eve", Some("Ann"), now), unknown);
    assert_eq!(hub.alias_subject("Eve", "Ann", now), unknown);
    assert_eq!(hub.rename_subject("Ann", Some("Bob"), now), Err(SubjectError::Taken("Bob".to_owned())));
    assert!(matches!(hub.rename_subject("Ann", Some(""), now), Err(SubjectError::Name(_))));
    assert!(matches!(hub.alias_subject("Ann", "a\u{7}", now), Err(SubjectError::Name(_))));
    assert_eq!(hub.subjects().rules(), &SubjectRules::default());
    scene.events();
    assert_eq!(hub.rename_subject("Ann", Some("Ann"), now), Ok(()));
    assert!(scene.events().is_empty(), "it is called so already");
    // A name that was given is taken while its source is away, too.
    scene.rename("Ann", "Hero");
    hub.disconnect(a, "gone", true, now);
    hub.tick(scene.at(3000));
    assert_eq!(hub.rename_subject("Bob", Some("Hero"), now), Err(SubjectError::Taken("Hero".to_owned())));
    assert_eq!(hub.rename_subject("Hero", Some("Ann"), now), Ok(()), "a rule may be changed before its source is back");
}
