//! Phones' formats: Live Link Face, the mocap apps as text and in binary, VTube Studio, and their detection.

use std::time::{Duration, Instant};

use facelink::{
    Blendshape, FaceFrame,
    wire::{
        fmv3::{self, Encoding, Kind, Message, Part, Reassembler, Schema, Terms},
        llf, mocap_text, sniff, vtube_studio,
    },
};

use super::{Source, Target, check_face, face, json::value, name};

pub struct LiveLinkFace;

impl Target for LiveLinkFace {
    const NAME: &'static str = "live_link_face";

    fn fresh() -> Self {
        Self
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        out.push(if source.one_in(16) { source.byte() } else { llf::VERSION });
        for _ in 0..2 {
            let text = name(source);
            let stated = if source.one_in(12) { source.number() } else { text.len() as u32 };
            out.extend_from_slice(&stated.to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(&source.number().to_be_bytes());
        out.extend_from_slice(&source.float().to_be_bytes());
        for _ in 0..2 {
            let rate = if source.one_in(2) { source.number() } else { 60 };
            out.extend_from_slice(&rate.to_be_bytes());
        }
        let count = if source.one_in(4) { source.byte() } else { source.pick(&[0, 52, 61, 61, 61, 61]) };
        out.push(count);
        let strange = source.one_in(4);
        for _ in 0..if source.one_in(12) { source.below(256) } else { count.into() } {
            let curve = if strange { source.float() } else { source.weight() };
            out.extend_from_slice(&curve.to_be_bytes());
        }
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        let Ok(packet) = llf::decode(input, &llf::PROFILE) else { return false };
        check_face(&packet.frame);
        assert!(packet.subject.len() <= llf::MAX_TEXT_LEN && packet.device_id.len() <= llf::MAX_TEXT_LEN);
        assert!(!packet.subject.chars().any(char::is_control), "a subject's name: {:?}", packet.subject);
        // Its contents can be written again, and read back the same.
        let mut again = Vec::new();
        if let Err(error) = llf::encode(&packet, &llf::PROFILE, &mut again) {
            panic!("{packet:?}: {error}");
        }
        match llf::decode(&again, &llf::PROFILE) {
            Ok(read) => assert_eq!((read.subject, read.frame.tracked), (packet.subject, packet.frame.tracked)),
            Err(error) => panic!("{packet:?}: {error}"),
        }
        true
    }
}

pub struct MocapText(mocap_text::Decoder);

impl Target for MocapText {
    const NAME: &'static str = "mocap_text";

    fn fresh() -> Self {
        Self(mocap_text::Decoder::new())
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        if source.one_in(4) {
            let dialect =
                source.pick(&[mocap_text::Dialect::V1, mocap_text::Dialect::V2, mocap_text::Dialect::Facemotion3d]);
            let writer = mocap_text::Writer::new(dialect).shuffled(source.number().into());
            // A channel whose name holds a separator is refused; that is an input too.
            let _ = writer.write(&face(source), &mocap_text::PROFILE, out);
            return;
        }
        let mut text = String::new();
        for _ in 0..source.count(70, 32, 700) {
            match source.below(16) {
                0 | 1 => {
                    text.push_str(source.pick(&["=", "", " ", "\0"]));
                    text.push_str(source.pick(&["head", "leftEye", "rightEye", "nose", ""]));
                    text.push('#');
                    let other = source.below(15);
                    let count = source.pick(&[3, 6, 6, other]);
                    let (commas, separator) = (source.one_in(3), if source.one_in(8) { ";" } else { "," });
                    for i in 0..count {
                        text.push_str(if i > 0 { separator } else { "" });
                        if commas {
                            // As a country writes it that has a decimal comma.
                            let number = format!("{}", 90.0 * source.weight());
                            text.push_str(&number.replace('.', ","));
                        } else {
                            text.push_str(&source.digits());
                        }
                    }
                }
                2 => {
                    text.push_str(source.pick(&["trackingStatus-1", "trackingStatus&0", "trackingStatus-x", "-", "&"]))
                }
                _ => {
                    text.push_str(&name(source));
                    text.push_str(source.pick(&["-", "&", "-", "&", ""]));
                    match source.below(5) {
                        1 => text.push_str(&format!("{},{}", source.below(101), source.below(1000))),
                        0 => text.push_str(&source.digits()),
                        _ => text.push_str(&source.below(200).to_string()),
                    }
                }
            }
            text.push('|');
        }
        if source.one_in(3) {
            text.push_str(mocap_text::FRAME_END);
        }
        if source.one_in(8) {
            text.insert(0, '\u{feff}');
            text.push('\0');
        }
        out.extend_from_slice(text.as_bytes());
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        let Ok(frame) = self.0.decode(input) else { return false };
        check_face(&mocap_text::PROFILE.apply(frame.face));
        true
    }

    fn check_state(&mut self) {
        match self.0.decode(b"trackingStatus-1|jawOpen-50|eyeBlink_L-100|=head#1,2,3,4,5,6|") {
            Ok(read) => {
                let frame = read.face.frame;
                assert_eq!((frame.get(Blendshape::JawOpen), frame.present.count_ones()), (Some(0.5), 2));
            }
            // Names beyond the most that are kept are left out.
            Err(error) => panic!("{error}"),
        }
    }
}

pub struct VTubeStudio(vtube_studio::Decoder);

fn vector(source: &mut Source<'_>, out: &mut String) {
    if source.one_in(12) {
        return value(source, out, 3);
    }
    let keys = if source.one_in(8) { ["x", "y", "y"] } else { ["x", "y", "z"] };
    let parts = keys.map(|key| format!("\"{key}\":{}", source.digits()));
    out.push_str(&format!("{{{}}}", parts.join(",")));
}

impl Target for VTubeStudio {
    const NAME: &'static str = "vtube_studio";

    fn fresh() -> Self {
        Self(vtube_studio::Decoder::default())
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        if source.one_in(8) {
            let _ = vtube_studio::encode(&face(source), 1.7e12, &vtube_studio::PROFILE, out);
            return;
        }
        let mut text = String::from("{");
        for i in 0..1 + source.below(10) {
            text.push_str(if i > 0 { "," } else { "" });
            let key = source.pick(&[
                "FaceFound",
                "FaceFound",
                "BlendShapes",
                "BlendShapes",
                "Timestamp",
                "Hotkey",
                "Rotation",
                "Position",
                "EyeLeft",
                "EyeRight",
                "VNyanPos",
                "time",
                "sendForSeconds",
                "sentBy",
                "ports",
                "messageType",
            ]);
            text.push_str(&format!("\"{key}\":"));
            match key {
                "FaceFound" if !source.one_in(8) => text.push_str(source.pick(&["true", "true", "false"])),
                "BlendShapes" if !source.one_in(12) => {
                    text.push('[');
                    for i in 0..source.count(60, 64, 600) {
                        text.push_str(if i > 0 { "," } else { "" });
                        if source.one_in(512) {
                            value(source, &mut text, 2);
                            continue;
                        }
                        let name = serde_json::to_string(&name(source)).unwrap_or_default();
                        let (k, v) = (format!("\"k\":{name}"), format!("\"v\":{}", source.good_digits()));
                        let pair = if source.one_in(8) { [v, k] } else { [k, v] };
                        text.push_str(&format!("{{{}}}", pair.join(",")));
                    }
                    text.push(']');
                }
                "Rotation" | "Position" | "EyeLeft" | "EyeRight" => vector(source, &mut text),
                "Timestamp" | "Hotkey" if !source.one_in(4) => text.push_str(&source.digits()),
                _ => value(source, &mut text, 5),
            }
        }
        text.push('}');
        out.extend_from_slice(text.as_bytes());
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        if let Ok(request) = vtube_studio::Request::decode(input) {
            assert!(vtube_studio::LEASE.contains(&request.lease));
            assert!(request.ports.len() <= vtube_studio::MAX_PORTS);
            assert!(request.sent_by.len() <= vtube_studio::MAX_SENT_BY);
        }
        let Ok(frame) = self.0.decode(input) else { return false };
        assert!(frame.unix_ms.is_none_or(f64::is_finite));
        assert!(frame.hotkey.is_none_or(|key| (1..=8).contains(&key)));
        check_face(&vtube_studio::PROFILE.apply(frame.face));
        true
    }

    fn check_state(&mut self) {
        let good = br#"{"Timestamp":1,"Hotkey":-1,"FaceFound":true,"BlendShapes":[{"k":"JawOpen","v":0.5}]}"#;
        match self.0.decode(good) {
            Ok(read) => {
                let frame = read.face.frame;
                assert_eq!((frame.get(Blendshape::JawOpen), frame.present.count_ones()), (Some(0.5), 1));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

pub struct Fmv3 {
    start: Instant,
    count: u64,
    parts: Reassembler,
    schema: Option<Schema>,
    /// The phone's own, to compare with what arrived.
    phone: Schema,
    number: u32,
    /// Datagrams that are still to come.
    waiting: Vec<Vec<u8>>,
}

fn schema(source: &mut Source<'_>) -> Schema {
    let encoding = source.pick(&[Encoding::I16, Encoding::I32]);
    let names: Vec<String> = (0..source.below(90)).map(|_| name(source)).collect();
    let names = names.iter().map(String::as_str);
    match Schema::new(1 + source.number() % 3, Terms::default(), "iFacialMocap", encoding, names) {
        Ok(schema) => schema,
        Err(_) => usual_schema(),
    }
}

fn usual_schema() -> Schema {
    let names = Blendshape::ALL.map(Blendshape::name);
    match Schema::new(1, Terms::default(), "iFacialMocap", Encoding::I16, names) {
        Ok(schema) => schema,
        Err(error) => panic!("the names of ARKit: {error}"),
    }
}

/// The body of a schema, written by hand: JSON that the library would not write.
fn schema_body(source: &mut Source<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&u64::from(source.number()).to_le_bytes());
    let (fps, len, lease) = (source.pick(&[60_u16, 30, 0, 61]), source.pick(&[1200_u16, 576, 65_535]), source.number());
    body.extend_from_slice(&fps.to_le_bytes());
    body.extend_from_slice(&len.to_le_bytes());
    body.extend_from_slice(&(if source.one_in(4) { lease } else { 10_000 }).to_le_bytes());
    body.extend_from_slice(&(if source.one_in(12) { source.number() } else { fmv3::REVISION }).to_le_bytes());
    let mut json = String::from("{");
    let fields = [
        ("schema_version", "1"),
        ("app", "\"iFacialMocap\""),
        ("profile", "\"x\""),
        ("blend_encoding", "\"i16\""),
        ("blend_unit", "\"percent\""),
        ("pose_layout", "\"head_rxyz_pxyz_rightEye_rxyz_leftEye_rxyz\""),
        ("rotation_unit", "\"degree\""),
        ("position_unit", "\"meter\""),
    ];
    for (key, usual) in fields {
        if source.one_in(48) {
            continue;
        }
        json.push_str(&format!("\"{key}\":"));
        if source.one_in(32) {
            value(source, &mut json, 4)
        } else {
            json.push_str(usual)
        }
        json.push(',');
    }
    if source.one_in(4) {
        json.push_str("\"more\":");
        value(source, &mut json, 6);
        json.push(',');
    }
    json.push_str("\"blend_names\":[");
    for i in 0..source.count(60, 64, 5000) {
        json.push_str(if i > 0 { "," } else { "" });
        json.push_str(&serde_json::to_string(&format!("{}{i}", name(source))).unwrap_or_default());
    }
    json.push_str("]}");
    body.extend_from_slice(json.as_bytes());
    body
}

impl Fmv3 {
    fn send(&mut self, source: &mut Source<'_>, message: &Message<'_>) {
        let datagram = source.pick(&[fmv3::SCHEMA_DATAGRAM, 1200, 64, 45]);
        let parts = message.parts(datagram).min(600);
        for part in 0..parts {
            let mut out = Vec::new();
            message.write_part(datagram, part, &mut out);
            match source.below(16) {
                0 => {}
                1 => self.waiting.extend([out.clone(), out]),
                _ => self.waiting.push(out),
            }
        }
        // Out of order.
        for _ in 0..source.below(4) {
            let len = self.waiting.len();
            if len == 0 {
                break;
            }
            self.waiting.swap(source.below(len), source.below(len));
        }
    }
}

impl Target for Fmv3 {
    const NAME: &'static str = "fmv3";

    fn fresh() -> Self {
        Self {
            start: Instant::now(),
            count: 0,
            parts: Reassembler::new(),
            schema: None,
            phone: usual_schema(),
            number: 0,
            waiting: Vec::new(),
        }
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        if self.waiting.is_empty() {
            let session = 1 + u64::from(source.number() % 3);
            match source.below(8) {
                0 => {
                    self.phone = schema(source);
                    if let Ok(body) = self.phone.body() {
                        let message = Message::new(Kind::Schema, session).with_schema(self.phone.id).with_body(&body);
                        self.send(source, &message);
                    }
                }
                1 => {
                    let body = schema_body(source);
                    let message = Message::new(Kind::Schema, session).with_schema(1).with_body(&body);
                    self.send(source, &message);
                }
                2 => {
                    let kind = source.pick(&Kind::ALL);
                    let body: Vec<u8> = (0..source.below(60)).map(|_| source.byte()).collect();
                    self.send(source, &Message::new(kind, session).with_schema(1).with_body(&body));
                }
                _ => {
                    self.number = self.number.wrapping_add(source.pick(&[1, 1, 1, 2, 0, u32::MAX]));
                    let mut body = Vec::new();
                    let _ = self.phone.encode(&face(source), &fmv3::PROFILE, &mut body);
                    let flags = source.pick(&[fmv3::FLAG_TRACKED, fmv3::FLAG_TRACKED, 0, 3, 255]);
                    let message = Message::new(Kind::Frame, session).with_schema(self.phone.id).with_body(&body);
                    self.send(source, &Message { flags, ..message.with_sequence(self.number) });
                }
            }
        }
        if let Some(datagram) = self.waiting.pop() {
            out.extend_from_slice(&datagram);
        }
        if source.one_in(16) && out.len() >= fmv3::HEADER_LEN {
            // A field of the header.
            let (at, len) = source.pick(&[(4, 1), (8, 8), (16, 4), (20, 4), (28, 4), (32, 2), (34, 2), (36, 4)]);
            let number = u64::from(source.number()).to_le_bytes();
            out[at..at + len].copy_from_slice(&number[..len]);
        }
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        self.count += 1;
        let now = self.start + Duration::from_millis(7 * self.count);
        let inspected = fmv3::inspect(input);
        let Ok(part) = Part::read(input) else {
            assert!(inspected.is_err());
            return false;
        };
        let taken = self.parts.take(part, now);
        assert!(self.parts.len() <= fmv3::MAX_SETS);
        match taken {
            Ok(Some((header, body))) => {
                assert_eq!(body.len(), header.total as usize);
                match header.kind {
                    Kind::Schema => match Schema::read(header.schema, &body) {
                        Ok(schema) => {
                            assert!(schema.len() <= fmv3::MAX_NAMES);
                            self.schema = Some(schema);
                            true
                        }
                        Err(_) => false,
                    },
                    Kind::Frame => match self.schema.as_ref().map(|schema| schema.decode(&header, &body)) {
                        Some(Ok(face)) => {
                            check_face(&fmv3::PROFILE.apply(face));
                            true
                        }
                        Some(Err(_)) => false,
                        None => true,
                    },
                    Kind::Error => fmv3::error_text(&body).is_ok(),
                    Kind::Hello => fmv3::Hello::read(&body).is_ok(),
                    _ => true,
                }
            }
            Ok(None) => true,
            Err(_) => false,
        }
    }

    fn check_state(&mut self) {
        // A frame of the schema that is known is read as before.
        let Some(schema) = &self.schema else { return };
        let (mut body, mut out) = (Vec::new(), Vec::new());
        if schema.encode(&FaceFrame::neutral(), &fmv3::PROFILE, &mut body).is_err() {
            panic!("a neutral face is encoded");
        }
        Message::new(Kind::Frame, 99).with_schema(schema.id).with_body(&body).write(&mut out);
        let read = Part::read(&out).map(|part| schema.decode(&part.header, part.chunk));
        assert!(matches!(read, Ok(Ok(_))), "{read:?}");
    }
}

pub struct Sniff;

impl Target for Sniff {
    const NAME: &'static str = "sniff";

    fn fresh() -> Self {
        Self
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(source.pick(&[
            &b"#bundle\0"[..],
            b"FMV3",
            b"/W\0\0",
            b"\x06\0\0\0",
            b"{\"Timestamp\":1,\"Hotkey\":-1}",
            b"  {\"a\":1}",
            b"jawOpen-5|",
            b"=head#1,2|",
            b"",
        ]));
        out.extend((0..source.below(40)).map(|_| source.byte()));
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        sniff::sniff(input).is_some()
    }
}
