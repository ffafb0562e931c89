use super::*;

const WHOLE: &str = r#"(
    version: 1,
    name: "Show",
    network: (
        lan: true, port: 9000, token: Env("SHOW_TOKEN"), key: File("room.key"), tls: Off,
        allowed_origins: ["https://show.example"],
        ice_servers: [(urls: ["turn:192.0.2.1:3478"], username: "ann", credential: Env("TURN"))],
        live_link_face: None, udp_json: 0, phones: Ports({ ifacialmocap: 0, vmc: 39539 }),
        call: [(address: "192.0.2.7", app: ifacialmocap)],
        profiles: {},
        connect: [(url: "ws://192.0.2.9:8765")],
        vmc_out: [(to: "127.0.0.1:39540", subject: "Hero", names: PerfectSync)],
        vrchat_out: [(to: "127.0.0.1:9000", prefix: "FT/", mapping: File("own.face.ron")), (to: "192.0.2.8:9000", max_fps: 30)],
        osc_control: true, obs: (url: "ws://192.0.2.5", password: Env("OBS"), starts_takes: true, names_files: false), takes: "shows", takes_with_phones: true, pictures: false,
    ),
    simulated_phones: [(app: live_link_face, subject: "Ann", seed: 3), (app: vmc, subject: "Bob", fps: 30)],
    virtual_subjects: [(name: "Hero", parts: [(subject: "Ann"), (subject: "Bob", groups: ["jaw"], priority: 5)])],
    avatars: [
        (name: "left", model: "avatars/aria.glb", subject: "Hero", mapping: "m.face.ron", position: (-0.2, 0.0, 0.0), idle: true),
        (name: "right", gain: 0.5, head: false),
    ],
    takes: [(file: "takes/a.mcap", looped: true, speed: 0.5, subjects: { "Ann": "Ghost" })],
    playout: (mode: Fixed(80.0)),
    subjects: { "Bob": (playout: (mode: Latest, filter: true)), "iPhone": (as: "Bob"), "Extra": (enabled: false) },
    gestures: Rules((without: ["smile"], gestures: [(name: "jaw", when: [(from: "jawOpen", above: 0.6)])])),
    timecode: (from: Ltc("Line 1"), rate: "29.97", all: true),
    budget: (ms: 2.0),
)"#;

#[test]
fn session_file_is_read_and_written_whole() {
    let read = SessionFile::read(WHOLE).unwrap();
    assert_eq!(read.unknown, Vec::<String>::new());
    let file = read.file;
    let network = file.network.as_ref().unwrap();
    assert_eq!((network.live_link_face, network.udp_json), (None, Some(0)));
    assert_eq!(network.phones, Phones::Ports([(PhonePort::IFacialMocap, 0), (PhonePort::Vmc, 39539)].into()));
    assert_eq!(file.virtual_subjects[0].parts[0].groups, GroupSet::ALL);
    assert_eq!(file.simulated_phones[0].fps, 60.0);
    assert_eq!(file.playout.as_ref().unwrap().settings().mode, PlayoutMode::Fixed(Duration::from_millis(80)));
    assert_eq!(SessionFile::read(&file.write()).unwrap(), Read { file, unknown: Vec::new() });
}

#[test]
fn session_file_empty_has_defaults() {
    let file = SessionFile::read("()").unwrap().file;
    assert_eq!(file, SessionFile::default());
    assert_eq!(SessionFile::read(&file.write()).unwrap().file, file);
    let network = SessionFile::read("(network: ())").unwrap().file.network;
    assert_eq!(network, Some(SessionNetwork::default()));
    assert_eq!(Playout::default().settings(), PlayoutSettings::default());
    assert_eq!(Playout::of(&PlayoutSettings::default(), None), Playout::default());
}

#[test]
fn session_file_unknown_fields_are_reported() {
    let text = r#"(hat: "red", avatars: [(name: "a", feather: (1, [2]))], network: (quantum: true))"#;
    let read = SessionFile::read(text).unwrap();
    assert_eq!(read.file.avatars[0].name, "a");
    let mut unknown = read.unknown;
    unknown.sort();
    assert_eq!(unknown, ["avatars[0].feather", "hat", "network.quantum"]);
}

#[test]
fn session_file_error_names_the_field() {
    for (text, field, message) in [
        ("(version: 2)", "version", "later version"),
        ("(avatars: [()])", "avatars[0].name", "needs a name"),
        (r#"(avatars: [(name: "a"), (name: "a")])"#, "avatars[1].name", "another avatar"),
        (r#"(avatars: [(name: "a", scale: 0)])"#, "avatars[0].scale", "above 0"),
        (r#"(avatars: [(name: "a", yaw: NaN)])"#, "avatars[0].position, yaw or gain", "finite"),
        (r#"(avatars: [(name: "a", gain: "high")])"#, "avatars[0].gain", ""),
        (r#"(takes: [(file: "a", speed: 9)])"#, "takes[0].speed", "0.1 to 4"),
        (r#"(takes: [(file: "a", from: 2, until: 1)])"#, "takes[0].until", "after"),
        (r#"(takes: [(file: "a", from: 1e300)])"#, "takes[0].from", "seconds"),
        (r#"(simulated_phones: [(app: websocket, subject: "a")])"#, "simulated_phones[0].app", "no phone app"),
        (r#"(simulated_phones: [(app: vmc, subject: "a", fps: 0)])"#, "simulated_phones[0].fps", "1 to 240"),
        (r#"(virtual_subjects: [(name: "a", parts: [(subject: "a")])])"#, "virtual_subjects[0].parts", "itself"),
        ("(network: (phones: Ports({ udp_json: 1 })))", "network.phones", "field of its own"),
        (r#"(network: (profiles: { "fax": () }))"#, "network.profiles[\"fax\"]", "no app"),
        ("(network: (port: 70000))", "network.port", ""),
        ("(playout: (mode: Fixed(-1)))", "playout", "10000"),
        (r#"(subjects: { "Ann": (playout: (most_ms: inf)) })"#, "subjects[\"Ann\"].playout", "10000"),
        (r#"(subjects: { "Ann": (as: " ") })"#, "subjects[\"Ann\"].as", "empty"),
        (r#"(subjects: { "Ann": (as: 7) })"#, "subjects.Ann.as", ""),
        (r#"(subjects: { "": () })"#, "subjects[\"\"]", "empty"),
        ("(budget: (ms: 0))", "budget.ms", "above 0"),
        (r#"(gestures: Rules((without: ["grin"])))"#, "gestures.Rules.without", "no built-in gesture"),
        (r#"(gestures: Rules((gestures: [(name: "a b")])))"#, "gestures.Rules.gestures[0].name", "letters"),
        (r#"(gestures: Every)"#, "gestures", "Every"),
        (r#"(network: (vrchat_out: [(to: "nowhere")]))"#, "network.vrchat_out[0].to", ""),
        (
            r#"(network: (vrchat_out: [(to: "127.0.0.1:9", prefix: "a b")]))"#,
            "network.vrchat_out[0].prefix",
            "OSC address",
        ),
        (r#"(network: (vrchat_out: [(to: "127.0.0.1:9", max_fps: 0)]))"#, "network.vrchat_out[0].max_fps", "1 to 240"),
        (
            r#"(network: (vrchat_out: [(to: "127.0.0.1:9", mapping: Rules((include: ["absent"])))]))"#,
            "network.vrchat_out[0].mapping",
            "absent",
        ),
        ("(avatars: ", "avatars", ""),
    ] {
        let error = SessionFile::read(text).expect_err(text);
        assert!(error.field == field && error.message.contains(message), "{text}: {error}");
    }
}

#[test]
fn session_file_subject_rules() {
    let mut file = SessionFile::read(WHOLE).unwrap().file;
    let rules = file.subject_rules();
    assert_eq!(rules.names().collect::<Vec<_>>(), [("iPhone", "Bob")]);
    assert_eq!(rules.disabled().collect::<Vec<_>>(), ["Extra"]);
    assert_eq!(file.playout_of("Bob").map(|playout| playout.mode), Some(Mode::Latest));
    file.set_subject_rules(&rules);
    assert_eq!(file, SessionFile::read(WHOLE).unwrap().file);

    let mut other = SubjectRules::default();
    other.call("Bob", "Bobby").unwrap();
    other.call("Cem", "Bobby").unwrap();
    other.set_enabled("Bobby", false).unwrap();
    file.set_subject_rules(&other);
    assert_eq!(file.subject_rules(), other);
    assert_eq!(file.subjects.keys().collect::<Vec<_>>(), ["Bob", "Cem"], "what says nothing is not written");
    assert_eq!(file.playout_of("Bobby").map(|playout| playout.mode), Some(Mode::Latest), "it goes with the source");
    assert_eq!(file.playout_of("Bob"), None);
}

#[test]
fn session_file_changes_are_named() {
    let before = SessionFile::read(WHOLE).unwrap().file;
    assert_eq!(changes(&before, &before), Vec::<String>::new());
    let mut after = before.clone();
    after.network.as_mut().unwrap().port = 9001;
    after.avatars[0].gain = 0.15;
    after.avatars[0].position = (-0.17, 0.0, 0.1);
    after.avatars.remove(1);
    after.takes.push(PlayedTake { file: "b.mcap".into(), ..PlayedTake::default() });
    after.budget = None;
    after.subjects.entry("Bob".into()).or_default().enabled = false;
    after.network.as_mut().unwrap().vrchat_out[1].max_fps = 60.0;
    let found = changes(&before, &after);
    let gestures = SessionFile { gestures: Some(Gestures::BuiltIn), ..SessionFile::default() };
    assert_eq!(changes(&SessionFile::default(), &gestures), ["gestures: default -> \"BuiltIn\""]);
    assert_eq!(
        found,
        [
            "avatars[left].gain: 1.0 -> 0.15",
            "avatars[left].position: (-0.2, 0.0, 0.0) -> (-0.17, 0.0, 0.1)",
            "avatars[right]: removed",
            "budget: {\"ms\":2.0,\"nearest\":4} -> default",
            "network.port: 9000 -> 9001",
            "network.vrchat_out[192.0.2.8:9000].max_fps: 30.0 -> default",
            "subjects.Bob.enabled: default -> false",
            "takes[b.mcap]: added",
        ]
    );
}
