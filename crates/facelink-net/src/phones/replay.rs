//! Recorded senders, from bytes to what is shown, in virtual time: `tests/senders`, where README.md describes the files.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use facelink::{
    frame::FaceFrame,
    names::Blendshape,
    source::PhonePort,
    timing::{Playout, micros},
    wire::llf::{self, LlfPacket},
};
use tokio::net::UdpSocket;

use super::{
    context::Phones,
    intake::Intake,
    port_stats::PortCounters,
    protocol::{Io, Sockets},
    serve::{Service, TICK},
};
use crate::{
    config::EndpointConfig,
    doctor::{Doctor, Facts},
    hub::Hub,
    takes::Takes,
};

/// Between two rendered frames, microseconds.
const RENDER_US: i64 = 16_667;
/// Rendered after the last datagram.
const AFTER_US: i64 = 100_000;
/// A value that falls by less than this is not shown backwards, and one that changes by less stands still.
const RIPPLE: f32 = 0.002;
/// An extrapolated value that is taken back.
const TAKEN_BACK: f32 = 0.02;

/// Why a file is none.
type Bad = String;

#[derive(Debug)]
struct Datagram {
    at_us: i64,
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// One thing that has to come of it.
#[derive(Debug)]
enum Expected {
    /// Exactly these faces, at any time.
    Subjects(Vec<String>),
    /// Frames that count as the newest of a face.
    Frames(String, RangeInclusive<u64>),
    /// What is shown of a value never falls, and runs over this range.
    Rises(String, String, RangeInclusive<f32>),
    /// What is shown of a value that moves all the time never stands still for longer, microseconds.
    Moves(String, String, i64),
    /// What is shown of a value stays within these limits.
    Within(String, String, RangeInclusive<f32>),
    /// What is shown of a value at a time.
    At(i64, String, String, RangeInclusive<f32>),
    /// Datagrams, or parts of them, that are refused.
    Refused(RangeInclusive<u64>),
    /// Known messages that carry no face.
    Ignored(RangeInclusive<u64>),
    /// The doctor's advice has this text.
    Advice(String),
    NoAdvice(String),
}

#[derive(Debug)]
struct Recording {
    port: PhonePort,
    datagrams: Vec<Datagram>,
    expected: Vec<Expected>,
}

/// A word or a quoted text.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(text) | Self::Text(text) => text,
        }
    }
}

fn tokens(line: &str) -> Result<Vec<Token>, Bad> {
    let mut tokens = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(first) = chars.next() {
        if first.is_whitespace() {
            continue;
        }
        if first == '#' {
            break;
        }
        let mut text = String::new();
        if first == '"' || first == '\'' {
            loop {
                match chars.next().ok_or("a text is not closed")? {
                    end if end == first => break,
                    '\\' => match chars.next() {
                        Some('n') => text.push('\n'),
                        Some('0') => text.push('\0'),
                        Some(other) => text.push(other),
                        None => return Err("a text is not closed".to_owned()),
                    },
                    other => text.push(other),
                }
            }
            tokens.push(Token::Text(text));
        } else {
            text.push(first);
            while let Some(next) = chars.next_if(|next| !next.is_whitespace()) {
                text.push(next);
            }
            tokens.push(Token::Word(text));
        }
    }
    Ok(tokens)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Bad> {
    text.parse().map_err(|_| format!("`{text}` is no number that fits here"))
}

fn milliseconds(text: &str) -> Result<i64, Bad> {
    Ok((number::<f64>(text)? * 1000.0).round() as i64)
}

fn range<T: std::str::FromStr + Copy>(text: &str) -> Result<RangeInclusive<T>, Bad> {
    match text.split_once("..") {
        Some((low, high)) => Ok(number(low)?..=number(high)?),
        None => Ok(number(text)?..=number(text)?),
    }
}

fn hex(text: &str, bytes: &mut Vec<u8>) -> Result<(), Bad> {
    let digits = text.as_bytes().as_chunks::<2>();
    if !digits.1.is_empty() {
        return Err(format!("`{text}`: half a byte"));
    }
    for pair in digits.0 {
        let pair = std::str::from_utf8(pair).map_err(|_| "not ASCII".to_owned())?;
        bytes.push(u8::from_str_radix(pair, 16).map_err(|_| format!("`{pair}` is no byte"))?);
    }
    Ok(())
}

/// Bytes of a datagram: hexadecimal, texts, `f32:` and `i32:` (big-endian); after `=`, those of the datagram before with
/// `offset:bytes` put in.
fn bytes(parts: &[Token], before: Option<&[u8]>) -> Result<Vec<u8>, Bad> {
    let mut bytes = Vec::new();
    let mut parts = parts.iter();
    if parts.as_slice().first() == Some(&Token::Word("=".to_owned())) {
        parts.next();
        bytes.extend_from_slice(before.ok_or("`=` without a datagram before it")?);
        for part in parts {
            let (offset, patch) = part.text().split_once(':').ok_or("`offset:bytes` is expected after `=`")?;
            let (offset, mut new) = (number::<usize>(offset)?, Vec::new());
            hex(patch, &mut new)?;
            let place = bytes.get_mut(offset..offset + new.len()).ok_or("beyond the datagram before")?;
            place.copy_from_slice(&new);
        }
        return Ok(bytes);
    }
    for part in parts {
        match part {
            Token::Text(text) => bytes.extend_from_slice(text.as_bytes()),
            Token::Word(word) => match word.split_once(':') {
                Some(("f32", value)) => bytes.extend_from_slice(&number::<f32>(value)?.to_be_bytes()),
                Some(("i32", value)) => bytes.extend_from_slice(&number::<i32>(value)?.to_be_bytes()),
                _ => hex(word, &mut bytes)?,
            },
        }
    }
    Ok(bytes)
}

fn address(text: &str) -> Result<SocketAddr, Bad> {
    match text.parse::<u16>() {
        Ok(port) => Ok(SocketAddr::from(([192, 0, 2, 10], port))),
        Err(_) => text.parse().map_err(|_| format!("`{text}` is no port, and no address with one")),
    }
}

fn expected(words: &[Token]) -> Result<Expected, Bad> {
    let words: Vec<_> = words.iter().map(Token::text).collect();
    let own = |text: &str| text.to_owned();
    Ok(match words[..] {
        ["subjects", ref names @ ..] => Expected::Subjects(names.iter().map(|name| own(name)).collect()),
        ["frames", name, count] => Expected::Frames(own(name), range(count)?),
        ["rises", name, value, over] => Expected::Rises(own(name), own(value), range(over)?),
        ["moves", name, value, ms] => Expected::Moves(own(name), own(value), milliseconds(ms)?),
        ["within", name, value, limits] => Expected::Within(own(name), own(value), range(limits)?),
        ["at", ms, name, value, limits] => Expected::At(milliseconds(ms)?, own(name), own(value), range(limits)?),
        ["refused", count] => Expected::Refused(range(count)?),
        ["ignored", count] => Expected::Ignored(range(count)?),
        ["advice", text] => Expected::Advice(own(text)),
        ["no", "advice", text] => Expected::NoAdvice(own(text)),
        _ => return Err(format!("unknown expectation `{}`", words.join(" "))),
    })
}

impl Recording {
    fn read(text: &str) -> Result<Self, Bad> {
        let (mut port, mut datagrams, mut expectations) = (None, Vec::<Datagram>::new(), Vec::new());
        for (place, line) in text.lines().enumerate() {
            let mut read_line = || -> Result<(), Bad> {
                let words = tokens(line)?;
                match words.split_first() {
                    None => {}
                    Some((Token::Word(word), [name])) if word == "port" => {
                        let named = |port: &PhonePort| serde_json::to_value(port).is_ok_and(|n| n == name.text());
                        let found = PhonePort::ALL.into_iter().find(named);
                        port = Some(found.ok_or_else(|| format!("no port `{}`", name.text()))?);
                    }
                    Some((Token::Word(word), rest)) if word == "expect" => expectations.push(expected(rest)?),
                    Some((at, rest)) => {
                        let (from, parts) = rest.split_first().ok_or("a time, a port and bytes are expected")?;
                        let (at_us, from) = (milliseconds(at.text())?, address(from.text())?);
                        let before = datagrams.last();
                        if before.is_some_and(|before| at_us < before.at_us) {
                            return Err("earlier than the line before".to_owned());
                        }
                        let bytes = bytes(parts, before.map(|before| &*before.bytes))?;
                        datagrams.push(Datagram { at_us, from, bytes });
                    }
                }
                Ok(())
            };
            read_line().map_err(|error| format!("line {}: {error}", place + 1))?;
        }
        let port = port.ok_or("no line `port`")?;
        if datagrams.is_empty() || expectations.is_empty() {
            return Err("no datagrams, or nothing expected of them".to_owned());
        }
        Ok(Self { port, datagrams, expected: expectations })
    }
}

/// What was shown of one face.
#[derive(Debug, Default)]
struct Screen {
    playout: Playout,
    frames: u64,
    shown: Vec<(i64, FaceFrame)>,
}

fn value(frame: &FaceFrame, what: &str) -> Option<f32> {
    let head = || frame.head.map(|head| head.rotation);
    // Angles about one axis each: enough for a head that turns about one.
    let angle = |axis: usize| head().map(|q| (2.0 * q[axis].atan2(q[3])).to_degrees());
    match what {
        "tracked" => Some(if frame.tracked { 1.0 } else { 0.0 }),
        "head" => Some(if frame.head.is_some() { 1.0 } else { 0.0 }),
        "pitch" => angle(0).map(|degrees| -degrees),
        "yaw" => angle(1),
        "roll" => angle(2),
        _ => match Blendshape::from_any_name(what).filter(|shape| shape.name() == what) {
            Some(shape) => frame.get(shape),
            None => frame.channels.iter().find(|channel| &*channel.name == what).map(|channel| channel.value),
        },
    }
}

impl Screen {
    fn values(&self, what: &str) -> impl Iterator<Item = (i64, f32)> {
        self.shown.iter().filter_map(move |(at, frame)| Some((*at, value(frame, what)?)))
    }
}

/// What came of it.
struct Outcome {
    screens: BTreeMap<String, Screen>,
    refused: u64,
    ignored: u64,
    advice: Vec<String>,
    /// When the last datagram came.
    end_us: i64,
}

async fn play(recording: &Recording) -> Outcome {
    let start = Instant::now();
    let at = |us: i64| start + Duration::from_micros(us as u64);
    let hub = Arc::new(Hub::new(EndpointConfig::default(), start));
    let sockets = Sockets::new(UdpSocket::bind("127.0.0.1:0").await.unwrap(), None);
    let counters = Arc::new(PortCounters::new(recording.port, sockets.own().unwrap()));
    let phones = Arc::new(Phones::new(hub.clone(), Arc::new(Takes::new(hub.clone())), vec![counters.clone()]));
    let facts = Facts { http: None, https: false, unavailable: Vec::new() };
    let doctor = Doctor::new(phones.clone(), facts);
    let mut service = Service::new(recording.port, hub.config.max_datagrams_per_second, start);
    let mut intake = Intake::new(phones);
    let mut io = Io { sockets: &sockets, intake: &mut intake, counters: &counters };
    let mut screens: BTreeMap<String, Screen> = BTreeMap::new();

    let end_us = recording.datagrams.last().map_or(0, |last| last.at_us);
    let mut datagrams = recording.datagrams.iter().peekable();
    let tick_us = micros(start + TICK, start);
    let (mut next_tick, mut next_render) = (tick_us, RENDER_US);
    loop {
        let arrives = datagrams.peek().map_or(i64::MAX, |next| next.at_us);
        // A microsecond later, for what was rounded down.
        let due = service.deadline().map_or(i64::MAX, |deadline| micros(deadline, start) + 1);
        let now_us = arrives.min(next_tick).min(next_render).min(due);
        if now_us > end_us + AFTER_US {
            break;
        }
        let now = at(now_us);
        if arrives == now_us {
            if let Some(datagram) = datagrams.next() {
                service.on_datagram(&mut io, datagram.from, &datagram.bytes, now);
            }
        } else if due == now_us {
            service.on_timeout(&mut io, now);
        } else if next_tick == now_us {
            next_tick += tick_us;
            service.on_tick(&mut io, now);
            hub.tick(now);
        } else {
            next_render += RENDER_US;
            for received in hub.queues.frames().try_iter() {
                let screen = screens.entry(received.name.to_string()).or_default();
                screen.frames += u64::from(!received.late);
                let saying = received.speech.map(|speech| (speech.viseme, speech.weight));
                match received.stamp {
                    Some(stamp) => {
                        let (at, repeated) = (received.received, received.repeated);
                        screen.playout.push(received.frame, saying, &stamp, at, repeated);
                    }
                    None => screen.playout.put(received.frame, saying),
                }
            }
            for screen in screens.values_mut() {
                if let Some(shown) = screen.playout.advance(now) {
                    screen.shown.push((now_us, shown.frame.clone()));
                }
            }
        }
    }
    let report = doctor.diagnose(None, at(end_us));
    Outcome {
        screens,
        refused: hub.refused.load(Ordering::Relaxed),
        ignored: hub.ignored.load(Ordering::Relaxed),
        advice: report.advice.into_iter().map(|advice| advice.text).collect(),
        end_us,
    }
}

impl Outcome {
    fn screen(&self, name: &str) -> Result<&Screen, Bad> {
        self.screens.get(name).ok_or_else(|| format!("there is no face of this name, but {:?}", self.screens.keys()))
    }

    fn check(&self, expected: &Expected) -> Result<(), Bad> {
        let holds = |holds: bool, found: String| if holds { Ok(()) } else { Err(found) };
        match expected {
            Expected::Subjects(names) => {
                let found: Vec<_> = self.screens.keys().collect();
                holds(found.iter().copied().eq(names), format!("found {found:?}"))
            }
            Expected::Frames(name, count) => {
                let frames = self.screen(name)?.frames;
                holds(count.contains(&frames), format!("{frames} frames"))
            }
            Expected::Rises(name, what, over) => self.rises(self.screen(name)?, what, over),
            Expected::Moves(name, what, most_us) => {
                let mut since: Option<(i64, f32)> = None;
                let (mut longest, mut at) = (0, 0);
                for (now, value) in self.screen(name)?.values(what).take_while(|(now, _)| *now <= self.end_us) {
                    match since {
                        Some((then, last)) if (value - last).abs() < RIPPLE => {
                            if now - then > longest {
                                (longest, at) = (now - then, then);
                            }
                        }
                        _ => since = Some((now, value)),
                    }
                }
                let found = format!("stands still for {} ms after {} ms", longest / 1000, at / 1000);
                holds(since.is_some() && longest <= *most_us, found)
            }
            Expected::Within(name, what, limits) => {
                let mut values = self.screen(name)?.values(what);
                let outside = values.find(|(_, value)| !limits.contains(value));
                holds(outside.is_none(), format!("{outside:?}"))
            }
            Expected::At(at_us, name, what, limits) => {
                let shown = self.screen(name)?.values(what).take_while(|(at, _)| at <= at_us).last();
                holds(shown.is_some_and(|(_, value)| limits.contains(&value)), format!("found {shown:?}"))
            }
            Expected::Refused(count) => holds(count.contains(&self.refused), format!("{} refused", self.refused)),
            Expected::Ignored(count) => holds(count.contains(&self.ignored), format!("{} ignored", self.ignored)),
            Expected::Advice(text) => {
                let found = self.advice.iter().any(|advice| advice.contains(text));
                holds(found, format!("the advice is {:#?}", self.advice))
            }
            Expected::NoAdvice(text) => {
                let found = self.advice.iter().any(|advice| advice.contains(text));
                holds(!found, format!("the advice is {:#?}", self.advice))
            }
        }
    }

    fn rises(&self, screen: &Screen, what: &str, over: &RangeInclusive<f32>) -> Result<(), Bad> {
        let (mut first, mut highest): (Option<f32>, f32) = (None, f32::MIN);
        for (at, value) in screen.values(what) {
            if value < highest - TAKEN_BACK {
                return Err(format!("falls from {highest} to {value} at {} ms", at / 1000));
            }
            first.get_or_insert(value);
            highest = highest.max(value);
        }
        let first = first.ok_or("is never shown")?;
        if first > over.start() + 0.05 || (highest - over.end()).abs() > 0.05 {
            return Err(format!("runs from {first} to {highest}"));
        }
        Ok(())
    }
}

/// Every recording, and what does not hold of it.
#[tokio::test]
async fn senders_recorded_have_expected_outcome() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/senders");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(!files.is_empty(), "no recordings in {}", folder.display());
    let mut failures = String::new();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match Recording::read(&std::fs::read_to_string(&file).unwrap()) {
            Ok(recording) => {
                let outcome = play(&recording).await;
                for expected in &recording.expected {
                    if let Err(found) = outcome.check(expected) {
                        let _ = writeln!(failures, "{name}: {expected:?}: {found}");
                    }
                }
            }
            Err(error) => {
                let _ = writeln!(failures, "{name}: {error}");
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn senders_file_that_cannot_be_read_is_named() {
    let error = |text: &str| Recording::read(text).unwrap_err();
    assert_eq!(error("1 2 00"), "no line `port`");
    assert_eq!(error("port vmc\n1 2 0"), "line 2: `0`: half a byte");
    assert_eq!(error("port vmc\n1 2 00\n0 2 00"), "line 3: earlier than the line before");
    assert_eq!(error("port vmc\n1 2 = 0:00"), "line 2: `=` without a datagram before it");
    assert_eq!(error("port vmc\nexpect luck"), "line 2: unknown expectation `luck`");
    let text =
        "# a comment\nport vmc\n1.5 7 00 'a\\0' f32:1 # one\n2 192.0.2.9:1 = 1:62\nexpect subjects Ann \"Bob B\"";
    let recording = Recording::read(text).unwrap();
    assert_eq!(recording.datagrams[0].bytes, b"\0a\0\x3f\x80\0\0");
    assert_eq!(recording.datagrams[1].bytes, b"\0b\0\x3f\x80\0\0");
    assert_eq!(recording.datagrams[0].at_us, 1500);
    assert_eq!(recording.datagrams[1].from.ip(), IpAddr::from([192, 0, 2, 9]));
}

/// Live Link Face packets of a jaw that opens over five seconds, numbered by `number`, which arrive in order with some jitter.
fn numbered(jitter_us: i64, mut chance: impl FnMut() -> i64, mut number: impl FnMut(i64) -> i64) -> Recording {
    let (mut datagrams, mut last_us) = (Vec::new(), 0);
    for i in 0..300 {
        let mut frame = FaceFrame::default();
        frame.set(Blendshape::JawOpen, i as f32 / 299.0);
        let packet = LlfPacket {
            sub_frame: (i as f32 * 0.0016 + (i % 3) as f32 * 2e-5).fract(),
            ..LlfPacket::new("4C5B2F0E-0D5C-4F4E-9B0A-1D0E6A7C8B9D", "Ann", number(i) as i32, frame)
        };
        let mut bytes = Vec::new();
        llf::encode(&packet, &llf::PROFILE, &mut bytes).unwrap();
        last_us = (i * RENDER_US + chance() % (jitter_us + 1)).max(last_us + 1);
        datagrams.push(Datagram { at_us: last_us, from: SocketAddr::from(([192, 0, 2, 10], 7)), bytes });
    }
    Recording { port: PhonePort::LiveLinkFace, datagrams, expected: Vec::new() }
}

#[tokio::test]
async fn senders_numbers_of_any_kind_freeze_nothing_and_show_nothing_backwards() {
    type Kind = (&'static str, fn(i64, i64) -> i64);
    const KINDS: [Kind; 10] = [
        ("right", |i, _| i),
        ("down", |i, _| (-5 * i).rem_euclid(97)),
        ("by a few", |i, chance| i + chance % 5),
        ("by many", |i, chance| i + chance % 200 - 100),
        ("random", |_, chance| chance % 5000),
        ("constant", |_, _| 7),
        ("every second", |i, _| i / 2),
        ("loop", |i, _| i % 100),
        ("set back at times", |i, _| i - i / 70 * 45),
        ("set ahead at times", |i, _| i + i / 70 * 900),
    ];
    let mut failures = String::new();
    for (name, number) in KINDS {
        for (seed, jitter_us) in (1_u64..5).zip([0, 4_000, 8_000, 15_000]) {
            let mut state = seed;
            let mut chance = move || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as i64
            };
            let mut other = chance;
            let recording = numbered(jitter_us, &mut chance, |i| 1_134_000 + number(i, other()));
            let outcome = play(&recording).await;
            for expected in [
                Expected::Subjects(vec!["Ann".to_owned()]),
                Expected::Rises("Ann".to_owned(), "jawOpen".to_owned(), 0.0..=1.0),
                Expected::Moves("Ann".to_owned(), "jawOpen".to_owned(), 120_000),
            ] {
                if let Err(found) = outcome.check(&expected) {
                    let _ = writeln!(failures, "{name}, jitter of {jitter_us} µs: {expected:?}: {found}");
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}
