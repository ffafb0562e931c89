//! Reads the JSON messages of the wire, version 1, into the types of [`message`](super::message).
//!
//! A [`Decoder`] belongs to one connection: keys are read in place, channel names are interned once, and a frame is decoded
//! without allocation. A message with a bad field is refused whole, with an error that names the field; unknown types and
//! fields are ignored and counted.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, Visitor},
};

use super::{
    face_message::FaceReader,
    message::{ClientMessage, PeerMessage, ServerMessage},
    name_table::NameTable,
    sniff::is_padding,
    value::{Skip, Text, at, shorten},
};
pub use super::{
    face_message::{
        FaceKind, FaceMessage, PACKET_SIZE, UpdateWriter, VisemeMessage, Weights, WrittenHead, write_arkit_data,
        write_untyped,
    },
    message::{IceCandidate, IceServer, MAX_BATCH, Welcome},
    name_table::{MAX_NAME, MAX_NAMES, check_name},
};

/// Largest message that is read, bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// Deepest nesting of objects and arrays that is read.
pub const MAX_DEPTH: usize = 32;

/// A message that was refused. Nothing of it was used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// More than [`MAX_MESSAGE`] bytes.
    #[error("message of {0} bytes is larger than the {MAX_MESSAGE} that are read")]
    TooLarge(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("objects and arrays are nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// Not JSON, or not an object.
    #[error("not a JSON object: {0}")]
    Syntax(String),
    /// A field is missing, of the wrong type or out of its range.
    #[error("{kind}: {message}")]
    Field {
        /// The message's `type`, or `message` when it has none.
        kind: String,
        /// The field and the reason.
        message: String,
    },
}

impl JsonError {
    /// The `code` of the `error` message that answers.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too_large",
            Self::TooDeep => "too_deep",
            Self::Syntax(_) => "bad_json",
            Self::Field { .. } => "bad_field",
        }
    }
}

/// Reads the messages of one connection.
#[derive(Debug, Default)]
pub struct Decoder {
    names: NameTable,
    ignored: u64,
}

impl Decoder {
    /// Unknown types and fields that were ignored so far.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Whether no new channel name would be taken any more.
    pub fn is_full(&self) -> bool {
        self.names.is_full()
    }

    /// Reads a message of a client; `None` for a type that clients do not send.
    ///
    /// # Errors
    /// [`JsonError`] when the message is refused; it then has changed nothing but the counters.
    pub fn client<'a>(&mut self, text: &'a str) -> Result<Option<ClientMessage<'a>>, JsonError> {
        let text = trimmed(text);
        let kind = read_kind(text)?;
        let message = self.client_kind(text, kind.as_deref())?;
        self.ignored += u64::from(message.is_none());
        Ok(message)
    }

    /// Reads a message of an endpoint; `None` for a type that endpoints do not send.
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub fn server<'a>(&mut self, text: &'a str) -> Result<Option<ServerMessage<'a>>, JsonError> {
        let text = trimmed(text);
        let kind = read_kind(text)?;
        let message = self.server_kind(text, kind.as_deref())?;
        self.ignored += u64::from(message.is_none());
        Ok(message)
    }

    /// Reads a message of a room peer; `None` for a type that is not known.
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub fn peer<'a>(&mut self, text: &'a str) -> Result<Option<PeerMessage<'a>>, JsonError> {
        let text = trimmed(text);
        let kind = read_kind(text)?;
        // Both directions have a message of this name: room peers send that of a receiver to a sender.
        let of_client = if kind.as_deref() == Some("report") { None } else { self.client_kind(text, kind.as_deref())? };
        let message = match of_client {
            Some(message) => Some(PeerMessage::Client(message)),
            None => self.server_kind(text, kind.as_deref())?.map(PeerMessage::Server),
        };
        self.ignored += u64::from(message.is_none());
        Ok(message)
    }

    fn client_kind<'a>(&mut self, text: &'a str, kind: Option<&str>) -> Result<Option<ClientMessage<'a>>, JsonError> {
        use ClientMessage as C;
        if let Some(face) = FaceKind::from_name(kind) {
            return self.face_kind(text, face).map(|face| Some(C::Face(face)));
        }
        let kind = kind.unwrap_or_default();
        Ok(Some(match kind {
            "hello" => C::Hello(self.fields(text, kind)?),
            "batch_update" => C::BatchUpdate(self.fields(text, kind)?),
            "schema" => C::Schema(self.fields(text, kind)?),
            "set_emotion" => C::SetEmotion(self.fields(text, kind)?),
            "offer" => C::Offer(self.fields(text, kind)?),
            "answer" => C::Answer(self.fields(text, kind)?),
            "ice_candidate" => C::IceCandidate(self.fields(text, kind)?),
            "request_offer" => self.fields(text, kind).map(|Nothing {}| C::RequestOffer)?,
            "join" => C::Join(self.fields(text, kind)?),
            "leave" => self.fields(text, kind).map(|Nothing {}| C::Leave)?,
            "ping" => C::Ping(self.fields(text, kind)?),
            "pong" => C::Pong(self.fields(text, kind)?),
            "get_stats" => self.fields(text, kind).map(|Nothing {}| C::GetStats)?,
            "subscribe" => C::Subscribe(self.fields(text, kind)?),
            "report" => C::Report(self.fields(text, kind)?),
            "ack" => C::Ack(self.fields(text, kind)?),
            "unsubscribe" => C::Unsubscribe(self.fields(text, kind)?),
            _ => return Ok(None),
        }))
    }

    fn server_kind<'a>(&mut self, text: &'a str, kind: Option<&str>) -> Result<Option<ServerMessage<'a>>, JsonError> {
        use ServerMessage as S;
        if let Some(face) = FaceKind::from_name(kind) {
            return self.face_kind(text, face).map(|face| Some(S::Face(face)));
        }
        let kind = kind.unwrap_or_default();
        Ok(Some(match kind {
            "welcome" => S::Welcome(self.fields(text, kind)?),
            "batch_update" => S::BatchUpdate(self.fields(text, kind)?),
            "offer" => S::Offer(self.fields(text, kind)?),
            "answer" => S::Answer(self.fields(text, kind)?),
            "ice_candidate" => S::IceCandidate(self.fields(text, kind)?),
            "ping" => S::Ping(self.fields(text, kind)?),
            "pong" => S::Pong(self.fields(text, kind)?),
            "stats" => {
                let mut stats: serde_json::Map<_, _> = self.fields(text, kind)?;
                stats.remove("type");
                S::Stats(stats)
            }
            "set_rate" => S::SetRate(self.fields(text, kind)?),
            "report" => S::Report(self.fields(text, kind)?),
            "peers" => S::Peers(self.fields(text, kind)?),
            "peer_joined" => S::PeerJoined(self.fields(text, kind)?),
            "peer_left" => S::PeerLeft(self.fields(text, kind)?),
            "subject_lost" => S::SubjectLost(self.fields(text, kind)?),
            "error" => S::Error(self.fields(text, kind)?),
            _ => return Ok(None),
        }))
    }

    /// Reads a face message, such as those of a `batch_update`; `None` for another type.
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub fn face<'a>(&mut self, text: &'a str) -> Result<Option<FaceMessage<'a>>, JsonError> {
        let text = trimmed(text);
        match FaceKind::from_name(read_kind(text)?.as_deref()) {
            Some(kind) => self.face_kind(text, kind).map(Some),
            None => Ok(None),
        }
    }

    fn face_kind<'a>(&mut self, text: &'a str, kind: FaceKind) -> Result<FaceMessage<'a>, JsonError> {
        let known = self.names.len();
        let mut json = serde_json::Deserializer::from_str(text);
        let read = FaceReader { kind, names: &mut self.names }.deserialize(&mut json);
        match read.and_then(|read| json.end().map(|()| read)) {
            Ok((face, ignored)) => {
                self.ignored += ignored;
                Ok(face)
            }
            Err(error) => {
                // A refused message learns no names.
                self.names.truncate(known);
                let kind = kind.name().unwrap_or("message");
                Err(if error.is_data() { field_error(kind, error.to_string()) } else { syntax_error(&error) })
            }
        }
    }

    /// The fields of a message that is no face.
    fn fields<'a, T: Deserialize<'a>>(&mut self, text: &'a str, kind: &str) -> Result<T, JsonError> {
        let mut json = serde_json::Deserializer::from_str(text);
        let mut track = serde_path_to_error::Track::new();
        let mut ignored = 0;
        let mut ignore = |path: serde_ignored::Path<'_>| {
            if let serde_ignored::Path::Map { parent: serde_ignored::Path::Root, key } = path {
                ignored += u64::from(key != "type");
            }
        };
        let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
        let read = T::deserialize(serde_ignored::Deserializer::new(tracked, &mut ignore));
        match read.and_then(|read| json.end().map(|()| read)) {
            Ok(read) => {
                self.ignored += ignored;
                Ok(read)
            }
            Err(error) if error.is_data() => {
                let message = error.to_string();
                let path = track.path().to_string();
                let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
                Err(match missing {
                    Some((field, _)) if path == "." => field_error(kind, format!("field `{field}` is missing")),
                    Some((field, _)) => field_error(kind, format!("field `{path}.{field}` is missing")),
                    None if path == "." => field_error(kind, message),
                    None => field_error(kind, format!("field `{}`: {message}", shorten(&path))),
                })
            }
            Err(error) => Err(syntax_error(&error)),
        }
    }
}

/// The object, without a byte order mark before it or zeros behind it.
fn trimmed(text: &str) -> &str {
    text.trim_matches(is_padding)
}

/// For a message that consists of its `type` alone.
#[derive(Deserialize)]
struct Nothing {}

fn field_error(kind: &str, message: String) -> JsonError {
    JsonError::Field { kind: shorten(kind), message }
}

fn syntax_error(error: &serde_json::Error) -> JsonError {
    JsonError::Syntax(error.to_string())
}

/// Refuses nesting bombs before anything recursive sees them.
fn check_depth(text: &str) -> Result<(), JsonError> {
    // Nearly every message: fewer brackets than would be too deep, however they nest.
    if text.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count() <= MAX_DEPTH {
        return Ok(());
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(JsonError::TooDeep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// The `type` where it comes first and holds no escapes, as most senders write it.
fn leading_kind(text: &str) -> Option<&str> {
    let rest = text.trim_ascii_start().strip_prefix('{')?.trim_ascii_start().strip_prefix("\"type\"")?;
    let rest = rest.trim_ascii_start().strip_prefix(':')?.trim_ascii_start().strip_prefix('"')?;
    let (kind, _) = rest.split_once('"')?;
    kind.bytes().all(|byte| byte != b'\\' && byte >= 0x20).then_some(kind)
}

/// Checks the size and the nesting of a message, and finds its `type`, which decides how the other fields are read and may
/// come last.
fn read_kind(text: &str) -> Result<Option<Cow<'_, str>>, JsonError> {
    if text.len() > MAX_MESSAGE {
        return Err(JsonError::TooLarge(text.len()));
    }
    check_depth(text)?;
    if let Some(kind) = leading_kind(text) {
        return Ok(Some(Cow::Borrowed(kind)));
    }
    struct Probe;
    impl<'de> Visitor<'de> for Probe {
        type Value = Option<Cow<'de, str>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut kind = None;
            while let Some(Text(key)) = map.next_key()? {
                if key == "type" {
                    let Text(name) = map.next_value().map_err(|error| at("type", &error))?;
                    kind = Some(name);
                } else {
                    map.next_value::<Skip>()?;
                }
            }
            Ok(kind)
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Probe).map_err(|error| {
        if error.is_data() && text.trim_start().starts_with('{') {
            field_error("message", error.to_string())
        } else {
            syntax_error(&error)
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        frame::{FaceFrame, HeadPose},
        names::Blendshape,
        wire::viseme::Viseme,
    };

    fn face(text: &str) -> FaceMessage<'_> {
        match Decoder::default().client(text) {
            Ok(Some(ClientMessage::Face(face))) => face,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn refused(text: &str) -> JsonError {
        match Decoder::default().client(text) {
            Err(error) => error,
            Ok(message) => panic!("{text} was read as {message:?}"),
        }
    }

    #[test]
    fn json_arkit_data_is_read() {
        let face = face(
            r#"{"blendshapes":{"jawOpen":0.5,"eyeBlink_L":1,"tail":0.25},"subject":"Ann","frame":7,
               "head":{"rotation":[0,0,0,1],"position":[0,0,0.4]},"timestamp":1700000000,"type":"arkit_data"}"#,
        );
        assert_eq!(face.subject.as_deref(), Some("Ann"));
        assert_eq!(face.frame.get(Blendshape::JawOpen), Some(0.5));
        assert_eq!(face.frame.get(Blendshape::EyeBlinkLeft), Some(1.0));
        assert_eq!(face.frame.get(Blendshape::EyeBlinkRight), None);
        assert_eq!(face.frame.channels.len(), 1);
        assert_eq!(&*face.frame.channels[0].name, "tail");
        assert_eq!(face.frame.sequence, Some(7));
        assert_eq!(face.frame.head.and_then(|head| head.position), Some([0.0, 0.0, 0.4]));
        assert_eq!(face.unix_ms, Some(1_700_000_000_000.0));
        assert!(face.frame.tracked);
    }

    #[test]
    fn json_byte_order_mark_and_zeros_are_left_out() {
        for text in ["\u{feff}{}", "{}\0", "\u{feff} {} \0\0\r\n"] {
            let face = r#"{"type":"arkit_data","blendshapes":{"jaw_L":0.5}}"#;
            let text = text.replace("{}", face);
            assert_eq!(self::face(&text).frame.get(Blendshape::JawLeft), Some(0.5), "{text:?}");
            assert!(matches!(Decoder::default().server(&text), Ok(Some(ServerMessage::Face(_)))));
            assert!(matches!(Decoder::default().peer(&text), Ok(Some(PeerMessage::Client(_)))));
            assert!(matches!(Decoder::default().face(&text), Ok(Some(_))));
        }
        assert!(Decoder::default().client("{\0}").is_err(), "inside, they are wrong");
    }

    #[test]
    fn json_timestamps_are_read() {
        for (text, ms) in [
            ("1700000000.5", 1_700_000_000_500.0),
            ("1700000000500", 1_700_000_000_500.0),
            (r#""2023-11-14T22:13:20.5Z""#, 1_700_000_000_500.0),
            (r#""2023-11-14T23:13:20.500000+01:00""#, 1_700_000_000_500.0),
            (r#""2023-11-14T22:13:20.500000""#, 1_700_000_000_500.0),
        ] {
            let text = format!(r#"{{"blendshapes":{{}},"timestamp":{text}}}"#);
            assert_eq!(face(&text).unix_ms, Some(ms), "{text}");
        }
    }

    #[test]
    fn json_viseme_keeps_its_number() {
        for more in ["", r#","tracked":true"#] {
            let text = format!(r#"{{"type":"viseme_data","viseme":"PP","frame":7{more}}}"#);
            let written = ClientMessage::Face(face(&text)).to_json();
            assert_eq!(face(&written).frame.sequence, Some(7), "{written}");
        }
    }

    #[test]
    fn json_timestamp_too_large_to_round_is_written_as_it_is() {
        let text = r#"{"type":"arkit_data","blendshapes":{"jawOpen":0.5},"timestamp":1e308}"#;
        let read = face(text);
        let written = ClientMessage::Face(read).to_json();
        assert_eq!(face(&written).unix_ms, Some(1e308), "{written}");
    }

    #[test]
    fn json_untyped_objects_of_old_system_are_read() {
        let both = face(r#"{"blendshapes":{"jawOpen":0.3},"viseme":"AA","weight":0.8}"#);
        assert!(both.has_face);
        assert_eq!(both.viseme, Some(VisemeMessage { viseme: Viseme::Aa, weight: 0.8, duration: None }));
        let viseme = face(r#"{"viseme":"PP"}"#);
        assert!(!viseme.has_face);
        assert_eq!(viseme.viseme.map(|v| v.weight), Some(1.0));
    }

    #[test]
    fn json_values_are_clamped_or_refused() {
        assert_eq!(face(r#"{"blendshapes":{"jawOpen":7,"jawLeft":-3}}"#).frame.get(Blendshape::JawOpen), Some(2.0));
        for (text, field) in [
            (r#"{"type":"arkit_data","blendshapes":{"jawOpen":"wide"}}"#, "blendshapes.jawOpen"),
            (r#"{"type":"arkit_data","blendshapes":{"jawOpen":null}}"#, "blendshapes.jawOpen"),
            (r#"{"type":"arkit_data","blendshapes":{"jawOpen":1e300}}"#, "blendshapes.jawOpen"),
            (r#"{"type":"arkit_data","blendshapes":[1,2]}"#, "blendshapes"),
            (r#"{"type":"arkit_data"}"#, "blendshapes"),
            (r#"{"type":"arkit_data","blendshapes":{},"head":{"rotation":[0,0,0,0]}}"#, "head"),
            (r#"{"type":"arkit_data","blendshapes":{},"head":{"rotation":[0,0,0]}}"#, "head"),
            (r#"{"type":"arkit_data","blendshapes":{},"timestamp":"yesterday"}"#, "timestamp"),
            (r#"{"type":"arkit_data","blendshapes":{},"tracked":"yes"}"#, "tracked"),
            (r#"{"type":"arkit_data","blendshapes":{},"subject":""}"#, "subject"),
            (r#"{"type":"viseme_data","viseme":"quux"}"#, "viseme"),
            (r#"{"type":"viseme_data","weight":1}"#, "viseme"),
            (r#"{"type":"blendshape_update"}"#, "data"),
            (r#"{"type":"set_emotion"}"#, "emotion"),
            (r#"{"type":"set_emotion","emotion":"happy","intensity":"very"}"#, "intensity"),
            (r#"{"type":"batch_update","updates":{}}"#, "updates"),
            (r#"{"type":"offer"}"#, "sdp"),
            (r#"{"type":"subscribe","max_fps":0}"#, "max_fps"),
            (r#"{"type":5}"#, "type"),
        ] {
            let error = refused(text);
            assert_eq!(error.code(), "bad_field", "{text}: {error}");
            assert!(error.to_string().contains(&format!("`{field}`")), "{text}: {error}");
        }
        for text in ["", "[]", "7", "\"hi\"", "{", r#"{"blendshapes":{"jawOpen":NaN}}"#] {
            assert_eq!(refused(text).code(), "bad_json", "{text}");
        }
        assert!(refused(r#"{"blendshapes":{"jawOpen":1e999}}"#).to_string().contains("out of range"));
        let bomb = format!(r#"{{"x":{}"#, "[".repeat(1000));
        assert_eq!(refused(&bomb), JsonError::TooDeep);
        let large = format!(r#"{{"type":"arkit_data","blendshapes":{{}},"pad":"{}"}}"#, "x".repeat(MAX_MESSAGE));
        assert_eq!(refused(&large).code(), "too_large");
    }

    #[test]
    fn json_unknown_types_and_fields_are_counted() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.client(r#"{"type":"dance","data":5}"#), Ok(None));
        assert_eq!(decoder.client(r#"{"type":"get_stats","why":[1,{"a":2}]}"#), Ok(Some(ClientMessage::GetStats)));
        assert_eq!(decoder.ignored(), 2);
    }

    #[test]
    fn json_refused_message_learns_no_names() {
        let mut decoder = Decoder::default();
        assert!(decoder.client(r#"{"blendshapes":{"tail":1}}"#).is_ok());
        let names: Vec<String> = (0..MAX_NAMES).map(|i| format!(r#""name{i}":1"#)).collect();
        for _ in 0..3 {
            assert!(decoder.client(&format!(r#"{{"blendshapes":{{{}}}}}"#, names.join(","))).is_err());
            assert!(decoder.client(r#"{"blendshapes":{"ears":1,"nose":null}}"#).is_err());
        }
        assert!(!decoder.is_full());
        assert_eq!(decoder.names.len(), 1);
    }

    #[test]
    fn json_field_error_names_path() {
        for (text, message) in [
            (r#"{"type":"hello","subject":7}"#, "hello: field `subject`: invalid type: integer `7`, expected a string"),
            (r#"{"type":"offer","to":"b"}"#, "offer: field `sdp` is missing"),
            (r#"{"type":"ice_candidate"}"#, "ice_candidate: field `candidate` is missing"),
            (
                r#"{"type":"ice_candidate","candidate":{"sdpMid":"0"}}"#,
                "ice_candidate: field `candidate.candidate` is missing",
            ),
            (
                r#"{"type":"ice_candidate","candidate":{"candidate":"c","sdpMLineIndex":-1}}"#,
                "ice_candidate: field `candidate.sdpMLineIndex`: invalid value",
            ),
            (r#"{"type":"schema","names":["a",""]}"#, "schema: field `names[1]`: a name must not be empty"),
            (r#"{"type":"subscribe","max_fps":-1}"#, "subscribe: field `max_fps`: must be above 0"),
            (r#"{"type":"set_emotion","emotion":"x","fade_ms":[]}"#, "set_emotion: field `fade_ms`: invalid type"),
            (r#"{"type":"hello","reports":null}"#, "hello: field `reports`: invalid type: null"),
        ] {
            let error = refused(text).to_string();
            assert!(error.starts_with(message), "{text}: {error}");
        }
    }

    #[test]
    fn json_names_of_a_connection_are_bounded() {
        let mut decoder = Decoder::default();
        for i in 0..MAX_NAMES {
            assert!(decoder.client(&format!(r#"{{"blendshapes":{{"name{i}":1}}}}"#)).is_ok());
        }
        assert!(decoder.client(r#"{"blendshapes":{"one too many":1}}"#).is_err());
        assert!(decoder.client(r#"{"blendshapes":{"name3":1}}"#).is_ok());
    }

    #[test]
    fn json_messages_round_trip() {
        let mut frame = FaceFrame::neutral();
        frame.set(Blendshape::JawOpen, 0.123_456);
        frame.sequence = Some(9);
        frame.tracked = false;
        let mut text = String::new();
        write_arkit_data(&mut text, &frame, Some("A \"b\""), Some(1_700_000_000_123.5));
        let read = face(&text);
        assert_eq!(read.subject.as_deref(), Some("A \"b\""));
        assert_eq!(read.frame.get(Blendshape::JawOpen), Some(0.1235));
        assert!(read.frame.is_complete() && !read.frame.tracked);
        assert_eq!(read.unix_ms, Some(1_700_000_000_123.5));
    }

    #[test]
    fn json_messages_of_old_senders_are_read() {
        let mut frame = FaceFrame::default();
        frame.set(Blendshape::JawOpen, 0.5);
        let written = |frame: Option<&FaceFrame>, viseme| {
            let mut text = String::new();
            write_untyped(&mut text, frame, viseme, None, None);
            text
        };
        assert_eq!(written(Some(&frame), None), r#"{"blendshapes":{"jawOpen":0.5}}"#);
        assert_eq!(written(None, Some((Viseme::Pp, 0.75))), r#"{"viseme":"PP","weight":0.75}"#);
        let both = written(Some(&frame), Some((Viseme::Aa, 1.0)));
        assert_eq!(both, r#"{"viseme":"aa","weight":1,"blendshapes":{"jawOpen":0.5}}"#);
        let mut named = String::new();
        write_untyped(&mut named, None, Some((Viseme::Oh, 0.25)), Some("Ann"), Some(5e11));
        let face = face(&named);
        assert_eq!((face.subject.as_deref(), face.unix_ms), (Some("Ann"), Some(5e11)));
        assert_eq!(face.viseme, Some(VisemeMessage { viseme: Viseme::Oh, weight: 0.25, duration: None }));
        assert!(!face.has_face);
    }

    proptest! {
        #[test]
        fn json_random_text_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            if let Ok(text) = std::str::from_utf8(&bytes) {
                let _ = Decoder::default().client(text);
                let _ = Decoder::default().server(text);
            }
        }

        #[test]
        fn json_broken_message_never_panics(
            cut in 0_usize..400,
            at in 0_usize..400,
            byte in any::<u8>(),
        ) {
            let mut frame = FaceFrame::neutral();
            frame.head = Some(HeadPose { rotation: [0.0, 0.0, 0.0, 1.0], position: None });
            let mut text = String::new();
            write_arkit_data(&mut text, &frame, Some("Ann"), Some(5.0));
            let mut bytes = text.into_bytes();
            let len = bytes.len();
            bytes[at % len] = byte;
            bytes.truncate(len - cut % len);
            if let Ok(text) = std::str::from_utf8(&bytes)
                && let Ok(Some(ClientMessage::Face(face))) = Decoder::default().client(text)
            {
                prop_assert!(face.frame.weights.iter().all(|w| (-1.0..=2.0).contains(w)));
            }
        }
    }
}
