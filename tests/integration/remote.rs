//! Remote control over the engine's own HTTP.

use std::{net::TcpListener, path::Path, sync::mpsc, thread};

use bevy::{
    prelude::*,
    remote::{RemotePlugin, http::RemoteHttpPlugin},
};
use bevy_facelink::{
    AvatarMapping, DrivenBy, FaceAvatar, FaceExpressions, FaceInput, FaceLinkEndpoint, FaceLinkPlugin, FaceSubjects,
    TakePlayer,
    facelink::{Blendshape, FaceFrame},
};
use serde_json::{Value, json};

use crate::support::{Sender, spawn_node, update_until};

/// An App that is called over HTTP.
struct Remote {
    app: App,
    url: String,
}

impl Remote {
    /// With its assets in this folder.
    fn new(assets: &Path, plugin: FaceLinkPlugin) -> Self {
        // The engine does not say which port it got.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let mut app = App::new();
        app.add_plugins((
            MinimalPlugins,
            AssetPlugin { file_path: assets.display().to_string(), ..default() },
            TransformPlugin,
            // Ours first: the methods are there whatever the order.
            plugin,
            RemotePlugin::default(),
            RemoteHttpPlugin::default().with_port(port),
        ));
        app.init_asset::<Mesh>();
        app.finish();
        app.cleanup();
        Self { app, url: format!("http://127.0.0.1:{port}/") }
    }

    fn offline() -> Self {
        Self::new(Path::new("."), FaceLinkPlugin::without_sockets())
    }

    /// The answer, while the game goes on.
    fn answer(&mut self, method: &str, params: &Value) -> Value {
        let (send, answer) = mpsc::channel();
        let (url, body) = (self.url.clone(), json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}));
        thread::spawn(move || {
            loop {
                match ureq::post(&url).send_json(&body) {
                    Ok(mut response) => break send.send(response.body_mut().read_json::<Value>()),
                    // Its server is not up yet.
                    Err(ureq::Error::Io(_) | ureq::Error::ConnectionFailed) => thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let mut got = None;
        update_until(&mut self.app, method, |_| {
            got = answer.try_recv().ok();
            got.is_some()
        });
        got.expect("an answer").expect("JSON")
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        let mut answer = self.answer(method, params);
        assert!(answer.get("error").is_none(), "{method} {params}: {answer}");
        answer["result"].take()
    }

    fn refused(&mut self, method: &str, params: &Value) -> (i64, String) {
        let answer = self.answer(method, params);
        let error = answer.get("error").unwrap_or_else(|| panic!("{method} {params} is not refused: {answer}"));
        (error["code"].as_i64().expect("a code"), error["message"].as_str().expect("words").to_owned())
    }

    fn show(&mut self, name: &str, jaw: f32) {
        let mut frame = FaceFrame::neutral();
        frame.set(Blendshape::JawOpen, jaw);
        self.app.world().resource::<FaceInput>().send(name, frame).expect("finite numbers");
        self.app.update();
    }
}

#[test]
fn remote_cuts_and_shows_emotions() {
    let mut remote = Remote::offline();
    let avatar = remote.app.world_mut().spawn((Transform::default(), FaceAvatar::default())).id();
    remote.show("Ann", 0.2);
    remote.show("Bea", 0.4);
    let listed = remote.call("facelink.subjects", &json!({}));
    let names: Vec<_> = listed["subjects"].as_array().unwrap().iter().map(|subject| &subject["name"]).collect();
    assert_eq!(names, ["Ann", "Bea"]);
    let ann = &listed["subjects"][0];
    assert_eq!(
        (&ann["live"], &ann["tracked"], &ann["avatars"]),
        (&json!(true), &json!(true), &json!([avatar.to_bits()]))
    );

    assert_eq!(remote.call("facelink.cut", &json!({"subject": "Bea"})), json!({}));
    let bea = remote.app.world().resource::<FaceSubjects>().get("Bea").unwrap();
    update_until(&mut remote.app, "the cut", |app| app.world().get::<DrivenBy>(avatar).is_some_and(|by| by.0 == bea));

    let shown = remote.call("facelink.emotion", &json!({"emotion": "happy", "intensity": 0.5, "subject": "Bea"}));
    assert_eq!(shown, json!({"subjects": ["Bea"]}));
    let happy =
        |app: &App, entity| app.world().get::<FaceExpressions>(entity).unwrap().iter().any(|(name, _)| name == "happy");
    update_until(&mut remote.app, "the emotion", |app| happy(app, bea));
    let ann = remote.app.world().resource::<FaceSubjects>().get("Ann").unwrap();
    assert!(!happy(&remote.app, ann));
    let all = remote.call("facelink.emotion", &json!({"emotion": "happy"}));
    assert_eq!(all, json!({"subjects": ["Ann", "Bea"]}));
}

#[test]
fn remote_records_and_plays_a_take() {
    let assets = tempfile::tempdir().unwrap();
    let mut plugin = FaceLinkPlugin::default().port(0).live_link_face(None).udp_json(None);
    plugin.endpoint.as_mut().unwrap().takes = assets.path().to_owned();
    let mut remote = Remote::new(assets.path(), plugin);
    assert_eq!(remote.call("facelink.record", &json!({}))["take"], Value::Null);
    let (_, message) = remote.refused("facelink.record", &json!({"action": "stop"}));
    assert_eq!(message, "no take is being recorded");

    let begun = remote.call("facelink.record", &json!({"action": "start", "slate": "scene", "take": 7}));
    assert_eq!(
        (&begun["take"]["recording"], &begun["take"]["slate"], &begun["take"]["take"]),
        (&json!(true), &json!("scene"), &json!(7))
    );
    remote.show("Ann", 0.5);
    remote.call("facelink.record", &json!({"action": "mark", "text": "here"}));
    remote.call("facelink.record", &json!({"action": "stop"}));
    while remote.call("facelink.record", &json!({}))["take"]["recording"] == true {}
    let ended = remote.call("facelink.record", &json!({}))["take"].take();
    assert_eq!((&ended["frames"], &ended["error"]), (&json!(1), &Value::Null), "{ended}");
    remote.app.world().resource::<FaceInput>().lose("Ann");
    update_until(&mut remote.app, "no subject", |app| app.world().resource::<FaceSubjects>().is_empty());

    let file = Path::new(ended["file"].as_str().unwrap()).file_name().unwrap().to_str().unwrap();
    let params = json!({"take": file, "looped": true, "speed": 0.5, "subjects": [["Ann", "Bea"]]});
    let played = remote.call("facelink.play", &params)["players"][0].take();
    assert_eq!((&played["take"], &played["state"]), (&json!(file), &json!("loading")));
    let player = played["player"].clone();
    let entity = Entity::from_bits(player.as_u64().unwrap());
    update_until(&mut remote.app, "the face of the take", |app| {
        app.world().resource::<FaceSubjects>().get("Bea").is_some()
    });
    let settings = remote.app.world().get::<TakePlayer>(entity).unwrap();
    assert!(settings.looped && (settings.speed - 0.5).abs() < 1e-9);
    remote.call("facelink.play", &json!({"player": player, "playing": false, "seek_s": 0}));
    let paused = remote.call("facelink.play", &json!({"player": player}))["players"][0].take();
    assert_eq!((&paused["state"], &paused["position_s"]), (&json!("paused"), &json!(0.0)));
    remote.call("facelink.play", &json!({"playing": true, "looped": false, "speed": 4}));
    while remote.call("facelink.play", &json!({}))["players"][0]["state"] != "finished" {}
    assert_eq!(remote.call("facelink.play", &json!({"player": player, "remove": true})), json!({"players": []}));
    let (code, _) = remote.refused("facelink.play", &json!({"player": player}));
    assert_eq!(code, -23401);
}

#[test]
fn remote_calibrates_and_renames() {
    let mut remote = Remote::new(Path::new("."), FaceLinkPlugin::default().port(0).live_link_face(None).udp_json(None));
    let sender = Sender::connect(&remote.app);
    let line = json!({"type": "arkit_data", "subject": "Ann", "blendshapes": {"jawOpen": 0.5}}).to_string();
    let there = |remote: &mut Remote, name: &str| {
        update_until(&mut remote.app, name, |app| {
            sender.send(&line);
            app.world().resource::<FaceSubjects>().get(name).is_some()
        });
    };
    there(&mut remote, "Ann");
    assert_eq!(remote.call("facelink.calibrate", &json!({})), json!({"subjects": ["Ann"]}));
    let calibration =
        |remote: &Remote, name| remote.app.world().resource::<FaceLinkEndpoint>().calibration(name).unwrap();
    assert!(!calibration(&remote, "Ann").is_none());
    let (_, message) = remote.refused("facelink.calibrate", &json!({"what": "head", "subject": "Ann"}));
    assert_eq!(message, "`Ann` has no head");
    let (_, message) = remote.refused("facelink.calibrate", &json!({"what": "range_end"}));
    assert_eq!(message, "no range of motion of `Ann` has begun");
    remote.call("facelink.calibrate", &json!({"what": "range_begin"}));
    remote.call("facelink.calibrate", &json!({"what": "range_cancel"}));
    remote.call("facelink.calibrate", &json!({"what": "reset", "subject": "Ann"}));
    assert!(calibration(&remote, "Ann").is_none());

    remote.call("facelink.rename", &json!({"subject": "Ann", "name": "Lead"}));
    there(&mut remote, "Lead");
    remote.call("facelink.rename", &json!({"subject": "Lead"}));
    there(&mut remote, "Ann");
    remote.call("facelink.enable", &json!({"subject": "Ann", "enabled": false}));
    let live = |app: &App| app.world().resource::<FaceSubjects>().first().is_some();
    update_until(&mut remote.app, "no live subject", |app| !live(app));
    let (_, message) = remote.refused("facelink.calibrate", &json!({"subject": "Ann"}));
    assert_eq!(message, "there is no subject `Ann`");
}

#[test]
fn remote_reads_and_sets_mappings() {
    let mut remote = Remote::offline();
    let avatar = remote.app.world_mut().spawn((Transform::default(), FaceAvatar::of("Ann"))).id();
    let node = spawn_node(remote.app.world_mut(), "Head", &["jawOpen", "eyeBlinkLeft", "Tail"]);
    remote.app.world_mut().entity_mut(avatar).add_child(node);
    let read = |remote: &mut Remote, params: &Value| remote.call("facelink.mapping", params)["avatars"][0].take();
    while read(&mut remote, &json!({}))["preset"] != "arkit" {}
    let bound = read(&mut remote, &json!({"avatar": avatar.to_bits()}));
    assert_eq!((&bound["subject"], &bound["unused"]), (&json!("Ann"), &json!(["Tail"])));
    assert_eq!(bound["matched"].as_array().unwrap().len(), 2);

    read(&mut remote, &json!({"preset": "vrm1"}));
    assert!(remote.app.world().get::<AvatarMapping>(avatar).is_some());
    while read(&mut remote, &json!({}))["matched"] == bound["matched"] {}
    read(&mut remote, &json!({"preset": "auto"}));
    assert!(remote.app.world().get::<AvatarMapping>(avatar).is_none());
    while read(&mut remote, &json!({}))["matched"] != bound["matched"] {}
    assert!(remote.call("facelink.mapping", &json!({}))["presets"].as_array().unwrap().contains(&json!("vrm1")));
}

#[test]
fn remote_refuses_by_the_name_of_the_field() {
    let mut remote = Remote::offline();
    remote.show("Ann", 0.0);
    let node = spawn_node(remote.app.world_mut(), "Head", &["jawOpen"]).to_bits();
    for (method, params, code, message) in [
        ("facelink.cut", json!({}), -32602, "missing field `subject`"),
        ("facelink.cut", json!({"subject": "Zoe"}), -32602, "there is no subject `Zoe`"),
        (
            "facelink.cut",
            json!({"subject": 7}),
            -32602,
            "field `subject`: invalid type: integer `7`, expected a string",
        ),
        (
            "facelink.emotion",
            json!({"emotion": "happy", "intensity": 2}),
            -32602,
            "field `intensity`: 2 is not between 0 and 1",
        ),
        (
            "facelink.emotion",
            json!({"emotion": "happy", "fade_s": -1}),
            -32602,
            "field `fade_s`: -1 is no time, 0 and up, in seconds",
        ),
        ("facelink.emotion", json!({"emotion": ""}), -32602, "field `emotion`: a name must not be empty"),
        ("facelink.subjects", json!({"all": true}), -32602, "field `all`: unknown field `all`, there are no fields"),
        ("facelink.record", json!({}), -23502, "the network's endpoint does not run, which has to do this"),
        ("facelink.calibrate", json!({}), -23502, "the network's endpoint does not run, which has to do this"),
        ("facelink.play", json!({"speed": 9}), -32602, "field `speed`: 9 is not between 0.1 and 4"),
        ("facelink.play", json!({"from_s": 2, "until_s": 1}), -32602, "field `until_s`: is not after `from_s`"),
        ("facelink.play", json!({"take": "#label"}), -32602, "field `take`: "),
        ("facelink.play", json!({"player": node}), -23401, "is no player of a take"),
        ("facelink.mapping", json!({"avatar": node}), -23401, "is no avatar"),
        ("facelink.mapping", json!({"preset": "none"}), -32602, "field `preset`: there is no preset `none`"),
        (
            "facelink.mapping",
            json!({"preset": "arkit", "file": "a.face.ron"}),
            -32602,
            "field `preset`: cannot be given beside `file`",
        ),
    ] {
        let (got, words) = remote.refused(method, &params);
        assert!(got == code && words.contains(message), "{method} {params}: {got} {words}");
    }
    assert_eq!(remote.app.world().resource::<FaceSubjects>().len(), 1);
}

#[test]
fn remote_schemas_are_of_every_method() {
    let mut remote = Remote::offline();
    let schemas = remote.call("facelink.schema", &Value::Null)["methods"].take();
    let mut described: Vec<_> =
        schemas.as_array().unwrap().iter().map(|method| method["method"].as_str().unwrap()).collect();
    let discovered = remote.call("rpc.discover", &json!({}));
    let methods = discovered["methods"].as_array().unwrap().iter().filter_map(|method| method["name"].as_str());
    let mut ours: Vec<_> = methods.filter(|name| name.starts_with("facelink.")).collect();
    described.sort_unstable();
    ours.sort_unstable();
    assert_eq!(described, ours);
    let play = schemas.as_array().unwrap().iter().find(|method| method["method"] == "facelink.play").unwrap();
    assert_eq!(play["params"]["properties"]["speed"]["description"], "Speed, 0.1 to 4.");
    assert_eq!(play["params"]["additionalProperties"], false);
    // The pages name every method.
    let page = include_str!("../../docs/remote.md");
    for method in described {
        assert!(page.contains(&format!("`{method}`")), "docs/remote.md does not have {method}");
    }
}
