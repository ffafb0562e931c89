//! JSON messages: every type with every field, right and wrong values, nesting, escapes and keys that come twice.

use facelink::wire::{
    json::{Decoder, FaceMessage, MAX_MESSAGE},
    message::{ClientMessage, PeerMessage, ServerMessage},
};

use super::{Source, Target, check_face, face, name};

pub struct Json {
    client: Decoder,
    server: Decoder,
    peer: Decoder,
    again: Decoder,
}

/// A value of any type, nested up to `depth`.
pub fn value(source: &mut Source<'_>, out: &mut String, depth: usize) {
    match source.below(if depth == 0 { 5 } else { 8 }) {
        0 => out.push_str(&source.digits()),
        1 => string(source, out),
        2 => out.push_str(source.pick(&["true", "false", "null"])),
        3 => out.push_str(&source.number().to_string()),
        4 => out.push_str("[]"),
        5 => {
            out.push('[');
            for i in 0..source.below(5) {
                out.push_str(if i > 0 { "," } else { "" });
                value(source, out, depth - 1);
            }
            out.push(']');
        }
        6 => {
            out.push('{');
            for i in 0..source.below(5) {
                out.push_str(if i > 0 { "," } else { "" });
                string(source, out);
                out.push(':');
                value(source, out, depth - 1);
            }
            out.push('}');
        }
        _ => {
            let deep = if source.one_in(16) { 20_000 } else { source.below(140) };
            let (open, close) = source.pick(&[("[", "]"), ("{\"a\":", "}")]);
            out.push_str(&open.repeat(deep));
            out.push('1');
            out.push_str(&close.repeat(if source.one_in(4) { source.below(deep + 1) } else { deep }));
        }
    }
}

fn string(source: &mut Source<'_>, out: &mut String) {
    const RAW: [&str; 8] =
        [r#""a\u0041\n""#, r#""\ud800""#, r#""\ud83d\ude00""#, r#""\x""#, "\"\t\"", r#"" "#, r#""\"""#, r#""ä\u0000""#];
    if source.one_in(64) {
        out.push_str(source.pick(&RAW));
    } else {
        out.push_str(&serde_json::to_string(&name(source)).unwrap_or_default());
    }
}

/// `{name: weight}`.
pub fn weights(source: &mut Source<'_>, out: &mut String) {
    out.push('{');
    let count = if source.one_in(64) { 600 } else { source.below(70) };
    for i in 0..count {
        out.push_str(if i > 0 { "," } else { "" });
        string(source, out);
        out.push(':');
        if source.one_in(256) { value(source, out, 2) } else { out.push_str(&source.good_digits()) }
    }
    out.push('}');
}

fn names(source: &mut Source<'_>, out: &mut String) {
    out.push('[');
    for i in 0..source.count(8, 16, 700) {
        out.push_str(if i > 0 { "," } else { "" });
        string(source, out);
    }
    out.push(']');
}

const TYPES: [&str; 31] = [
    "arkit_data",
    "blendshape_update",
    "viseme_data",
    "batch_update",
    "hello",
    "schema",
    "set_emotion",
    "offer",
    "answer",
    "ice_candidate",
    "request_offer",
    "join",
    "leave",
    "ping",
    "pong",
    "get_stats",
    "subscribe",
    "unsubscribe",
    "welcome",
    "stats",
    "set_rate",
    "report",
    "peers",
    "peer_joined",
    "peer_left",
    "subject_lost",
    "error",
    "dance",
    "",
    "arkit_data",
    "arkit_data",
];
const FIELDS: [&str; 42] = [
    "blendshapes",
    "data",
    "head",
    "tracked",
    "frame",
    "timestamp",
    "viseme",
    "weight",
    "duration_ms",
    "fade_ms",
    "emotion",
    "intensity",
    "subject",
    "token",
    "binary",
    "client",
    "resume",
    "reports",
    "delta",
    "names",
    "sdp",
    "to",
    "from",
    "candidate",
    "room",
    "t",
    "server_time",
    "client_time",
    "max_fps",
    "own",
    "updates",
    "connection_id",
    "version",
    "ice_servers",
    "resumed",
    "fps",
    "redundancy",
    "ack",
    "peers",
    "peer",
    "code",
    "message",
];

fn field(source: &mut Source<'_>, key: &str, out: &mut String, depth: usize) {
    if source.one_in(24) {
        return value(source, out, 4);
    }
    match key {
        "blendshapes" | "data" => weights(source, out),
        "head" => {
            out.push_str(r#"{"rotation":["#);
            for i in 0..4 + source.below(8) / 7 {
                out.push_str(if i > 0 { "," } else { "" });
                out.push_str(&if i == 3 { "1".to_owned() } else { source.digits() });
            }
            out.push_str(r#"],"position":"#);
            if source.one_in(2) { out.push_str("[0,0.5,1]}") } else { out.push_str("null}") }
        }
        "tracked" | "reports" | "delta" | "own" | "resumed" => out.push_str(source.pick(&["true", "false"])),
        "viseme" => out.push_str(source.pick(&["\"aa\"", "\"PP\"", "\"X\"", "\"HH\"", "\"quux\""])),
        "timestamp" if source.one_in(2) => out.push_str(source.pick(&[
            "\"2023-11-14T22:13:20.5Z\"",
            "\"2023-11-14T22:13:20\"",
            "\"-009999-01-01T00:00:00Z\"",
            "\"9999-12-31T23:59:60+25:59\"",
            "1700000000.5",
            "1700000000500",
        ])),
        "frame" | "timestamp" | "weight" | "duration_ms" | "fade_ms" | "intensity" | "server_time" | "client_time"
        | "max_fps" | "fps" | "redundancy" | "ack" => {
            let digits = if source.one_in(3) { source.digits() } else { source.number().to_string() };
            out.push_str(&digits);
        }
        "names" | "peers" => names(source, out),
        "candidate" => {
            out.push_str(r#"{"candidate":"#);
            string(source, out);
            out.push_str(source.pick(&["}", r#","sdpMid":"0","sdpMLineIndex":0}"#, r#","sdpMLineIndex":-1}"#]));
        }
        "ice_servers" => out.push_str(source.pick(&[
            "[]",
            r#"[{"urls":"stun:s"}]"#,
            r#"[{"urls":["turn:t"],"username":"u","credential":"c"}]"#,
            r#"[{"urls":[[[]]]}]"#,
        ])),
        "updates" if depth < 3 => {
            out.push('[');
            for i in 0..source.count(4, 16, 200) {
                out.push_str(if i > 0 { "," } else { "" });
                if i < 4 { message(source, out, depth + 1) } else { out.push_str("{}") }
            }
            out.push(']');
        }
        "t" => value(source, out, 2),
        _ => string(source, out),
    }
}

fn message(source: &mut Source<'_>, out: &mut String, depth: usize) {
    let kind = source.pick(&TYPES);
    let before = source.below(3) > 0;
    let tag = |out: &mut String| out.push_str(&format!(r#""type":"{kind}""#));
    out.push('{');
    let mut separator = "";
    if before && !kind.is_empty() {
        tag(out);
        separator = ",";
    }
    // The fields of this type are the likely ones.
    let usual: &[&str] = match kind {
        "arkit_data" | "" => &["blendshapes", "head", "frame", "subject", "timestamp", "tracked"],
        "blendshape_update" => &["data", "head", "frame", "subject", "timestamp"],
        "viseme_data" => &["viseme", "weight", "duration_ms", "subject"],
        "batch_update" => &["updates", "timestamp"],
        "hello" => &["subject", "token", "binary", "client", "resume", "reports", "delta"],
        "schema" => &["names"],
        "set_emotion" => &["emotion", "intensity", "fade_ms", "duration_ms", "subject"],
        "offer" | "answer" => &["sdp", "to", "from"],
        "ice_candidate" => &["candidate", "to"],
        "join" => &["room"],
        "ping" | "pong" => &["t", "server_time", "client_time"],
        "subscribe" => &["subject", "max_fps", "binary", "own"],
        "welcome" => &["connection_id", "version", "ice_servers", "resumed", "delta", "subject"],
        "set_rate" | "report" => &["fps", "redundancy", "ack", "subject"],
        "peers" => &["peers", "room"],
        "peer_joined" | "peer_left" => &["peer"],
        "subject_lost" | "unsubscribe" => &["subject"],
        "error" => &["code", "message"],
        _ => &FIELDS,
    };
    for place in 0..source.below(usual.len() + 3) {
        let key = if source.one_in(12) { source.pick(&FIELDS) } else { usual[place % usual.len()] };
        out.push_str(separator);
        separator = ",";
        out.push_str(&format!("\"{key}\":"));
        field(source, key, out, depth);
    }
    if !before && !kind.is_empty() {
        out.push_str(separator);
        tag(out);
    }
    out.push('}');
}

fn check(face: &FaceMessage<'_>) {
    check_face(&face.frame);
    assert!(face.unix_ms.is_none_or(f64::is_finite));
    assert!(face.viseme.is_none_or(|viseme| (0.0..=1.0).contains(&viseme.weight)));
    assert!(face.subject.as_ref().is_none_or(|name| (1..=128).contains(&name.len())));
}

/// Whether a message is written as it is read: but for faces with a head, which is normalised each time, and times before
/// 1973, which are read as seconds.
fn is_exact(face: &FaceMessage<'_>) -> bool {
    face.frame.head.is_none() && face.unix_ms.is_none_or(|ms| ms.abs() >= 1e12)
}

/// Whether every number is short enough to be read exactly: `serde_json` may be off by the last of 17 digits.
fn is_short(text: &str) -> bool {
    let digits = text.split(|letter: char| !(letter.is_ascii_digit() || letter == '.')).map(str::len).max();
    digits.is_none_or(|digits| digits < 15) && !text.contains("e+") && !text.contains("e-")
}

impl Target for Json {
    const NAME: &'static str = "json";

    fn fresh() -> Self {
        Self {
            client: Decoder::default(),
            server: Decoder::default(),
            peer: Decoder::default(),
            again: Decoder::default(),
        }
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        let mut text = String::new();
        match source.below(16) {
            0 => value(source, &mut text, 6),
            1 => facelink::wire::json::write_arkit_data(&mut text, &face(source), Some("Ann"), Some(1.7e12)),
            _ => message(source, &mut text, 0),
        }
        out.extend_from_slice(text.as_bytes());
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(input) else { return false };
        // As an endpoint does for UDP: the table of names must not fill up for good.
        for decoder in [&mut self.client, &mut self.server, &mut self.peer, &mut self.again] {
            if decoder.is_full() {
                *decoder = Decoder::default();
            }
        }
        let client = self.client.client(text);
        let server = self.server.server(text);
        let peer = self.peer.peer(text);
        if let Ok(Some(message)) = &client {
            if let ClientMessage::Face(face) = message {
                check(face);
            }
            if let ClientMessage::BatchUpdate(batch) = message {
                for update in &batch.updates {
                    if let Ok(Some(face)) = self.again.face(update.get()) {
                        check(&face);
                    }
                }
            }
            if !matches!(message, ClientMessage::Face(face) if !is_exact(face)) {
                let written = message.to_json();
                match self.again.client(&written) {
                    Ok(Some(read)) => assert!(read.to_json() == written || !is_short(&written), "{written}: {read:?}"),
                    // It has room for fewer names than a message may have.
                    Err(_) if self.again.is_full() || written.len() > MAX_MESSAGE => {}
                    other => panic!("{written} is read as {other:?}"),
                }
            }
            // But for reports, which both sides send: between room peers, they are a receiver's.
            let is_servers = matches!(peer, Ok(Some(PeerMessage::Server(_))));
            assert_eq!(is_servers, matches!(message, ClientMessage::Report(_)) && peer.is_ok(), "{peer:?}");
        }
        if let Ok(Some(message)) = &server
            && !matches!(message, ServerMessage::Face(face) if !is_exact(face))
        {
            let written = message.to_json();
            match self.again.server(&written) {
                Ok(Some(read)) => assert!(read.to_json() == written || !is_short(&written), "{written}: {read:?}"),
                Err(_) if self.again.is_full() || written.len() > MAX_MESSAGE => {}
                other => panic!("{written} is read as {other:?}"),
            }
        }
        matches!(client, Ok(Some(_))) || matches!(server, Ok(Some(_)))
    }

    fn check_state(&mut self) {
        if self.client.is_full() {
            return;
        }
        let good = r#"{"type":"arkit_data","blendshapes":{"jawOpen":0.5,"eyeBlink_L":1,"tail":0.25}}"#;
        match self.client.client(good) {
            Ok(Some(ClientMessage::Face(face))) => {
                assert_eq!(face.frame.get(facelink::Blendshape::JawOpen), Some(0.5));
                assert_eq!(face.frame.present.count_ones(), 2);
                assert_eq!((face.frame.channels.len(), &*face.frame.channels[0].name), (1, "tail"));
            }
            other => panic!("a good message is read as {other:?}"),
        }
    }
}
