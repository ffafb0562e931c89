//! Files and HTTP bodies: takes as CSV, mappings and performers as RON and JSON.

use std::fmt::Write;

use facelink::{
    BLENDSHAPE_COUNT, Blendshape,
    calibration::Performer,
    gesture::{GestureRecognizer, GestureSet},
    mapping::{Face, Format, Mapping, Scratch},
    take::{FrameRate, Take, TakeFrame, gltf, import, jsonl, llf_csv, vrma},
};

use super::{Source, Target, check_face, json::value, name};

pub struct Takes;

fn timecode(source: &mut Source<'_>, number: usize) -> String {
    match source.below(24) {
        0 => source.digits(),
        1 => "10:00:00".to_owned(),
        2 => "99:99:99:99.9".to_owned(),
        3 => "23:59:59:59.999".to_owned(),
        4 => format!("10:00:{:02};{:02}", number / 60 % 60, number % 60),
        5 => "00:00:00:00.000".to_owned(),
        _ => format!("10:00:{:02}:{:02}.{:03}", number / 60 % 60, number % 60, source.below(1000)),
    }
}

impl Target for Takes {
    const NAME: &'static str = "takes";

    fn fresh() -> Self {
        // Columns of another face: reads the presets, which stay in memory.
        let names: Vec<String> = (0..30).map(|i| format!("CTRL_expressions_x{i}")).collect();
        let refused = llf_csv::decode(format!("Timecode,{}\n", names.join(",")).as_bytes());
        assert!(refused.is_err());
        Self
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        let separator = if source.one_in(8) { source.pick(&[";", "\t", "|"]) } else { "," };
        let end = source.pick(&["\n", "\r\n", "\n", "\r"]);
        let mut text = String::new();
        if source.one_in(6) {
            text.push('\u{feff}');
        }
        let mut columns = vec!["Timecode".to_owned(), "BlendShapeCount".to_owned()];
        let count = if source.one_in(4) { source.below(53) } else { 52 };
        columns.extend(Blendshape::ALL.iter().take(count).map(|shape| shape.name().to_owned()));
        for _ in 0..if source.one_in(3) { source.below(12) } else { 0 } {
            columns.push(if source.one_in(2) { name(source) } else { "HeadYaw".to_owned() });
        }
        if source.one_in(8) {
            let len = columns.len();
            columns.swap(source.below(len), source.below(len));
        }
        if source.one_in(200) {
            columns.extend((0..400).map(|i| format!("c{i}")));
        }
        text.push_str(&columns.join(separator));
        text.push_str(end);
        for row in 0..source.count(3, 8, 6) {
            text.push_str(&timecode(source, row));
            let cells = if source.one_in(12) { source.below(90) } else { columns.len() - 1 };
            for cell in 0..cells {
                text.push_str(separator);
                match source.below(600) {
                    0 => text.push_str(&source.digits()),
                    1 => text.push_str(source.pick(&["\"0.5\"", "\"", " 0.5 ", "\"0,5\"", "\"\n\"", "x"])),
                    2 => text.push_str("-0.25"),
                    _ if cell == 0 => text.push_str(source.pick(&["61", "61", "61", "0", "52"])),
                    _ => {
                        let _ = write!(text, "{:.3}", source.weight().clamp(0.0, 1.0));
                    }
                }
            }
            text.push_str(end);
        }
        out.extend_from_slice(text.as_bytes());
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        let Ok(take) = llf_csv::decode(input) else { return false };
        assert!(!take.frames().is_empty());
        for frame in take.frames() {
            check_face(&frame.frame);
        }
        assert!(take.frames().windows(2).all(|pair| pair[0].time <= pair[1].time), "times go forward");
        assert!(take.fps().is_finite());
        check_face(&take.frame_at(take.duration() / 2));
        true
    }
}

/// What other tools made: animations, JSON of Audio2Face, JSON lines. Good files, which the caller changes in places.
pub struct Imports {
    files: Vec<Vec<u8>>,
    take: Take,
}

impl Target for Imports {
    const NAME: &'static str = "imports";

    /// Names are compared with every preset.
    const ONE_OF: u64 = 20;

    fn fresh() -> Self {
        let performance = facelink::performer::Performance::new(1);
        let frame = |i| TakeFrame {
            time: FrameRate::SIXTY.time_of(i),
            frame: performance.frame_at(FrameRate::SIXTY.time_of(i)),
        };
        let Ok(take) = Take::new((0..4).map(frame).collect()) else { panic!("four frames") };
        let mut files = Vec::new();
        for expressions in [vrma::Expressions::Custom, vrma::Expressions::Presets] {
            let mut file = Vec::new();
            assert!(vrma::encode(&take, expressions, &gltf::GltfSettings::default(), &mut file).is_ok());
            files.push(file);
        }
        let model = r#"{"asset":{"version":"2.0"},"nodes":[{"name":"Head","children":[1,2]},{"name":"EyeLeft","matrix":[1,0,0,0,0,1,0,0,0,0,1,0,0,1,0,1]},{"mesh":0,"weights":[0.5]}],"meshes":[{"primitives":[{"targets":[{"POSITION":0}]}],"extras":{"targetNames":["jawOpen"]}}]}"#;
        files.push(model.as_bytes().to_vec());
        let mut file = Vec::new();
        assert!(gltf::glb(&take, Some(model.as_bytes()), &gltf::GltfSettings::default(), &mut file).is_ok());
        files.push(file);
        let mut file = Vec::new();
        assert!(jsonl::encode(&take, &mut file).is_ok());
        files.push(file);
        files.push(br#"{"exportFps": 30.0, "facsNames": ["jawOpen", "mouth_L", "tail"], "weightMat": [[0, 1, 2], [0.5, 0.25, 0]]}"#.to_vec());
        Self { files, take }
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        let file = source.below(self.files.len());
        out.extend_from_slice(&self.files[file]);
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        // As an avatar, too.
        let _ = gltf::glb(&self.take, Some(input), &gltf::GltfSettings::default(), &mut Vec::new());
        let Ok(take) = import::read(input) else { return false };
        for frame in take.frames() {
            check_face(&frame.frame);
        }
        assert!(take.frames().windows(2).all(|pair| pair[0].time <= pair[1].time), "times go forward");
        true
    }
}

pub struct Mappings;

/// A value as RON writes it.
fn ron_value(source: &mut Source<'_>, out: &mut String, depth: usize) {
    match source.below(if depth == 0 { 6 } else { 9 }) {
        0 | 1 => out.push_str(&source.digits()),
        2 => out.push_str(&serde_json::to_string(&name(source)).unwrap_or_default()),
        3 => out.push_str(source.pick(&["true", "false", "None", "Linear", "Max", "()", "'a'", "b\"x\"", "r#\"x\"#"])),
        4 => out.push_str(source.pick(&["/* a */", "/* /* a */", "// a\n", "Some(1)", "Some(Some(Some(None)))"])),
        5 => out.push_str("[]"),
        6 => {
            let (open, close) = source.pick(&[("[", "]"), ("(", ")"), ("Some(", ")"), ("{", "}")]);
            out.push_str(open);
            for _ in 0..source.below(5) {
                if open == "{" || (open == "(" && source.one_in(2)) {
                    out.push_str(source.pick(&["gain", "\"jawOpen\"", "offset", "from", "to", "channel"]));
                    out.push(':');
                }
                ron_value(source, out, depth - 1);
                out.push(',');
            }
            out.push_str(close);
        }
        _ => {
            let deep = if source.one_in(16) { 5_000 } else { source.below(160) };
            let (open, close) = source.pick(&[("[", "]"), ("(", ")"), ("Some(", ")"), ("{1:", "}"), ("(a:", ")")]);
            out.push_str(&open.repeat(deep));
            out.push('1');
            out.push_str(&close.repeat(if source.one_in(4) { source.below(deep + 1) } else { deep }));
        }
    }
}

/// A set that was read can be used, and what starts ends.
fn follow(set: &GestureSet) {
    let Ok(mut recognizer) = GestureRecognizer::new(set) else { panic!("{set:?} was read") };
    let mut active = 0;
    let mut count = |started: bool| {
        active += if started { 1 } else { -1 };
        assert!((0..=64).contains(&active), "{active} active");
    };
    for step in 0..24_u64 {
        let value = if step % 3 == 0 { 1.0 } else { 0.0 };
        let face = Face { weights: &[value; BLENDSHAPE_COUNT], channels: &[], head: [value, -value, 0.0] };
        // Back and forth, and with gaps.
        let now = std::time::Duration::from_millis(step * [16, 400, 3][step as usize % 3]);
        recognizer.update(&face, now, |event| count(event.active));
    }
    recognizer.end(std::time::Duration::MAX, |event| count(event.active));
    assert_eq!(recognizer.active().count(), 0);
    assert_eq!(active, 0);
}

const KEYS: [&str; 15] = [
    "name",
    "about",
    "include",
    "mirror",
    "channels",
    "rules",
    "aside",
    "limits",
    "bones",
    "calibration",
    "name",
    "x",
    "gestures",
    "gestures",
    "without",
];

impl Target for Mappings {
    const NAME: &'static str = "mappings";

    fn fresh() -> Self {
        Self
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        let json = source.one_in(2);
        let mut text = String::from(if json { "{" } else { "(" });
        for i in 0..source.below(8) {
            text.push_str(if i > 0 { "," } else { "" });
            let key = source.pick(&KEYS);
            let _ = if json { write!(text, "\"{key}\":") } else { write!(text, "{key}:") };
            if source.one_in(6) {
                if json {
                    value(source, &mut text, 6)
                } else {
                    ron_value(source, &mut text, 5)
                }
                continue;
            }
            let (from, gain) = (serde_json::to_string(&name(source)).unwrap_or_default(), source.digits());
            let part = match key {
                "include" | "aside" | "without" => format!("[{from}]"),
                "mirror" => "true".to_owned(),
                "channels" if json => format!("{{{from}:{{\"gain\":{gain}}}}}"),
                "channels" => format!("{{{from}:(gain:{gain})}}"),
                "rules" if json => format!("[{{\"from\":{from},\"to\":[{from},[\"b\",0.5]],\"gain\":{gain}}}]"),
                "rules" => format!("[(from:{from},to:[{from},(\"b\",0.5)],curve:Power({gain}),gain:{gain})]"),
                "gestures" if json => format!(
                    "[{{\"name\":\"a\",\"when\":[{{\"from\":{from},\"above\":{gain}}}],\"swings\":{{\"axis\":\"Yaw\",\"degrees\":{gain},\"count\":2,\"within\":1}},\"hold\":{gain}}}]"
                ),
                "gestures" => format!(
                    "[(name:{},when:[(from:{from},above:0.1)],swings:(axis:Pitch,degrees:{gain},count:2,within:{gain}),hold:{gain})]",
                    if source.one_in(2) { &from } else { "\"a_{left}\"" }
                ),
                "limits" if json => format!("[{gain},1]"),
                "limits" => format!("({gain},1)"),
                "bones" if json => format!("{{\"head\":{{\"bone\":{from},\"gain\":{gain}}}}}"),
                "bones" => format!("(head:(bone:{from},gain:{gain}))"),
                _ => from,
            };
            text.push_str(&part);
        }
        text.push_str(if json { "}" } else { ")" });
        out.extend_from_slice(text.as_bytes());
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(input) else { return false };
        let mut accepted = false;
        for format in [Format::Ron, Format::Json] {
            // An error has a place and words.
            match Performer::read(text, format) {
                Ok(_) => accepted = true,
                Err(error) => assert!(error.line > 0 && !error.message.is_empty(), "{error:?}"),
            }
            if let Ok(set) = GestureSet::read(text, format) {
                accepted = true;
                let written = set.write(format);
                match GestureSet::read(&written, format) {
                    Ok(read) => assert_eq!(read, set, "{written}"),
                    Err(error) => panic!("{written}: {error}"),
                }
                follow(&set);
            }
            match Mapping::read(text, format) {
                Ok(mapping) => {
                    accepted = true;
                    // What is written is read as the same.
                    let written = mapping.write(format);
                    match Mapping::read(&written, format) {
                        Ok(read) => assert_eq!(read, mapping, "{written}"),
                        Err(error) => panic!("{written}: {error}"),
                    }
                    let rig = [vec!["jawOpen", "tail", "b", "Fcl_MTH_A"]];
                    if let Ok(resolved) = mapping.resolve(|_| Ok(Mapping::default())) {
                        let (compiled, _) = resolved.compile(&rig);
                        let weights = [1.0; BLENDSHAPE_COUNT];
                        let mut scratch = Scratch::default();
                        compiled.evaluate(&Face { weights: &weights, channels: &[], head: [0.0; 3] }, &mut scratch);
                        let mut weights = compiled.mesh(0, &scratch);
                        assert!(weights.all(|(target, _)| target < rig[0].len()));
                    }
                }
                Err(error) => assert!(error.line > 0 && !error.message.is_empty(), "{error:?}"),
            }
        }
        accepted
    }
}
