//! iFacialMocap (v1 and v2) and Facemotion3d: one frame as one line of text, over UDP or TCP.
//!
//! # Text
//! Fields are separated by bars, in an order that changes with every start of the app:
//!
//! ```text
//! trackingStatus&1|eyeBlink_L&12|jawOpen&40|…|=head#rx,ry,rz,px,py,pz|rightEye#rx,ry,rz|leftEye#rx,ry,rz|
//! ```
//!
//! A name and an integer percentage are joined by `-` in v1 and by `&` in v2 and Facemotion3d; below zero there is only
//! v2, though `browDown_L--3` is read too. iFacialMocap names paired shapes `eyeBlink_L`, Facemotion3d `eyeBlinkLeft`.
//! Over TCP every frame ends with [`FRAME_END`], over UDP none does.
//!
//! # Values
//! Head and eyes are degrees about x, y, z; the head's position is metres before the camera. See [`PROFILE`].
//!
//! `trackingStatus`, in newer apps, is 0 while the app has lost the face. Neither time nor frame number is sent.
//!
//! Frames are met in the wild with fields missing and with rubbish at their end, such as the tail of the frame before. A
//! field that makes no sense is therefore left out and counted rather than the frame refused, the first of two fields of
//! one name counts, and behind the head and eyes no new names are learnt.
//!
//! Programs in C# write numbers as their country does: `head#20,25,-3,5,...` has twelve parts where six numbers belong, which
//! are read as pairs. Where the parts are neither the numbers nor pairs, the field is left out: no head is better than
//! another one.
//!
//! Sources are listed in `docs/sources/ifacialmocap.md` and `docs/sources/facemotion3d.md`.

use std::io::Write;

use smallvec::SmallVec;

use super::{
    name_table::{NameTable, Resolved, is_name},
    profile::{AngleUnit, AxisFlip, EulerOrder, RotationProfile, SourceFace, SourceProfile, SourceRotation},
    sniff::is_padding,
};
use crate::{
    frame::{Channel, FaceFrame, MAX_CHANNELS},
    names::{BLENDSHAPE_COUNT, Blendshape},
};

/// Asks iFacialMocap to send v1 to port 49983 of the caller; goes to [`IFACIALMOCAP_PORT`] of the phone.
pub const START_V1: &str = "iFacialMocap_sahuasouryya9218sauhuiayeta91555dy3719";
/// The same for v2, which apps before 1.1.8 answer with v1.
pub const START_V2: &str = "iFacialMocap_sahuasouryya9218sauhuiayeta91555dy3719|sendDataVersion=v2";
/// Asks iFacialMocap to connect to TCP port 49986 of the caller.
pub const START_TCP: &str = "iFacialMocap_UDPTCP_sahuasouryya9218sauhuiayeta91555dy3719";
/// Ends what [`START_TCP`] began.
pub const STOP_TCP: &str = "iFacialMocap_UDPTCPSTOP_sahuasouryya9218sauhuiayeta91555dy3719";
/// Asks Facemotion3d to send; goes to [`FACEMOTION3D_PORT`] of the phone.
pub const START_FACEMOTION3D: &str = "FACEMOTION3D_OtherStreaming";
/// Ends what [`START_FACEMOTION3D`] began.
pub const STOP_FACEMOTION3D: &str = "StopStreaming_FACEMOTION3D";
/// The UDP port that iFacialMocap listens on, and the one that both apps send to.
pub const IFACIALMOCAP_PORT: u16 = 49983;
/// The UDP port that Facemotion3d listens on.
pub const FACEMOTION3D_PORT: u16 = 49993;
/// The TCP port that iFacialMocap connects to.
pub const TCP_PORT: u16 = 49986;
/// What ends a frame over TCP.
pub const FRAME_END: &str = "___iFacialMocap";
/// Longest frame that is read, in bytes. The app's are about a thousand.
pub const MAX_FRAME_LEN: usize = 16 * 1024;

/// Most fields of a frame that are looked at.
const MAX_FIELDS: usize = 1024;
/// A percentage further from zero than this cannot be a weight: the field is something else.
const PERCENT_LIMIT: f32 = 1000.0;
/// An angle further from zero than this, in degrees, cannot be one of a head or an eye.
const DEGREES_LIMIT: f32 = 360.0;
/// No head is further from the camera than this, in metres.
const METRES_LIMIT: f32 = 100.0;

/// What both apps mean by their numbers, in text as in `FMV3`: degrees that turn about z, then x, then y, and metres.
///
/// For the eyes, positive x looks down and positive y to the performer's left, and the order is proven by real frames:
/// with it, and no other, the eyes do not roll. The head is taken to be the same.
pub const PROFILE: SourceProfile =
    SourceProfile { head: DEGREES_DOWN_AND_LEFT, eyes: DEGREES_DOWN_AND_LEFT, ..SourceProfile::PLAIN };

const DEGREES_DOWN_AND_LEFT: RotationProfile = RotationProfile {
    flip: AxisFlip { yaw: false, pitch: true, roll: false },
    order: EulerOrder::Yxz,
    unit: AngleUnit::Degrees,
    ..RotationProfile::DEFAULT
};

/// Which app a frame's names are those of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MocapApp {
    /// iFacialMocap: `eyeBlink_L`.
    IFacialMocap,
    /// Facemotion3d: `eyeBlinkLeft`, and shapes of its own that begin with `FM_`.
    Facemotion3d,
}

/// Why a text was refused, or a frame could not be written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MocapError {
    /// More than [`MAX_FRAME_LEN`] bytes.
    #[error("a frame of {0} bytes is longer than the {MAX_FRAME_LEN} that are read")]
    TooLong(usize),
    /// Neither a shape nor a head, an eye or `trackingStatus` is in it.
    #[error("no shape, `head`, eye or `trackingStatus` in {fields} fields")]
    NoFace {
        /// Fields that were looked at.
        fields: usize,
    },
    /// A number that is written is not finite.
    #[error("{field} is {value}, which is no number that can be written")]
    Value {
        /// The field.
        field: String,
        /// The value received.
        value: f32,
    },
    /// A channel's name would be read as something else.
    #[error("channel `{0}` cannot be written: its name is empty or holds one of `|&-#=,`")]
    Name(String),
}

/// One frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MocapFrame {
    /// Whose names it uses; `None` when both apps would spell them so.
    pub app: Option<MocapApp>,
    /// The face; not tracked when `trackingStatus` says so. Shapes that were left out are not given.
    pub face: SourceFace,
    /// Whether the app reports that it sees the face; older apps do not report it.
    pub tracking_status: Option<bool>,
}

/// Reads the frames of one sender. It remembers names, so that a frame costs no allocation once they are known, unless
/// it has more than eight channels besides the 52 shapes.
#[derive(Debug, Default)]
pub struct Decoder {
    names: NameTable,
    /// The sender's numbers have decimal commas.
    commas: bool,
    /// The last frame had numbers whose commas are not clear.
    unclear: bool,
    ignored: u64,
}

impl Decoder {
    /// Knows no names yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fields that made no sense and were left out, since the start.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Whether the last frame had a head or an eye whose decimal commas cannot be told from those between its numbers: some
    /// numbers have a fraction and others have none. It was left out.
    pub fn has_unclear_commas(&self) -> bool {
        self.unclear
    }

    /// Reads one frame, with or without [`FRAME_END`].
    ///
    /// # Errors
    /// [`MocapError`] when it is too long, or nothing in it is a face's. A field that makes no sense is no error: it is
    /// left out and counted.
    pub fn decode(&mut self, frame: &[u8]) -> Result<MocapFrame, MocapError> {
        if frame.len() > MAX_FRAME_LEN {
            return Err(MocapError::TooLong(frame.len()));
        }
        let text = match std::str::from_utf8(frame) {
            Ok(text) => text,
            Err(error) => {
                self.ignored += 1;
                frame.get(..error.valid_up_to()).and_then(|good| std::str::from_utf8(good).ok()).unwrap_or_default()
            }
        };
        let text = text.trim_matches(is_padding);
        let text = text.strip_suffix(FRAME_END).unwrap_or(text);
        let mut read = Reading::default();
        let mut fields = 0;
        for field in text.split('|') {
            let field = field.trim_matches(is_padding);
            let field = field.strip_prefix('=').unwrap_or(field);
            if field.is_empty() {
                continue;
            }
            if fields == MAX_FIELDS {
                self.ignored += 1;
                break;
            }
            fields += 1;
            let taken = match field.split_once('#') {
                Some((name, numbers)) => read.block(name, numbers),
                None => self.value(field, &mut read),
            };
            self.ignored += u64::from(taken.is_none());
        }
        self.ignored += read.read_blocks(&mut self.commas);
        self.unclear = read.unclear;
        let Reading { mut frame, eyes, .. } = read;
        if let [Some(left), Some(right)] = eyes {
            frame.face.eyes = Some([left, right].map(SourceRotation::Angles));
        }
        let known = frame.face.frame.present != 0
            || frame.face.head.is_some()
            || eyes.iter().any(Option::is_some)
            || frame.tracking_status.is_some();
        if !known {
            return Err(MocapError::NoFace { fields });
        }
        frame.face.frame.tracked = frame.tracking_status != Some(false);
        Ok(frame)
    }

    /// Takes `name-12` or `name&12`; `None` when it is neither, or was there before.
    fn value(&mut self, field: &str, read: &mut Reading) -> Option<()> {
        let (name, value) = field.split_once('&').or_else(|| field.split_once('-'))?;
        let percent = percent(value)?;
        if name == "trackingStatus" {
            // No value but 0 and 1 has been seen.
            read.frame.tracking_status.get_or_insert(percent != 0.0);
            return Some(());
        }
        let resolved = self.names.find(name, !read.is_behind)?;
        let face = &mut read.frame.face.frame;
        match resolved {
            Resolved::Shape(shape) => {
                if face.has(*shape) {
                    return None;
                }
                face.set(*shape, percent / 100.0);
                if read.frame.app.is_none() && shape.is_paired() {
                    let spelt_out = name.ends_with("Left") || name.ends_with("Right");
                    read.frame.app = Some(if spelt_out { MocapApp::Facemotion3d } else { MocapApp::IFacialMocap });
                }
            }
            Resolved::Channel(name) => {
                let known = |channel: &Channel| std::sync::Arc::ptr_eq(&channel.name, name);
                if face.channels.len() >= MAX_CHANNELS || face.channels.iter().any(known) {
                    return None;
                }
                let value = crate::frame::clamp_weight(percent / 100.0);
                face.channels.push(Channel { name: name.clone(), value });
                if name.starts_with("FM_") {
                    read.frame.app = Some(MocapApp::Facemotion3d);
                }
            }
        }
        Some(())
    }
}

/// Reads one frame of a sender that nothing is known of yet.
///
/// # Errors
/// As [`Decoder::decode`].
pub fn decode(frame: &[u8]) -> Result<MocapFrame, MocapError> {
    Decoder::new().decode(frame)
}

#[derive(Debug, Default)]
struct Reading<'a> {
    frame: MocapFrame,
    /// The numbers of the head, the left and the right eye.
    blocks: [Option<&'a str>; 3],
    /// The performer's left and right.
    eyes: [Option<[f32; 3]>; 2],
    /// Head or eyes have come: no new names are expected any more.
    is_behind: bool,
    /// Some of them have commas that are not clear.
    unclear: bool,
}

impl<'a> Reading<'a> {
    /// Takes `head#1,2,3,4,5,6` or an eye; `None` when it is neither, or was there before.
    fn block(&mut self, name: &str, numbers: &'a str) -> Option<()> {
        self.is_behind = true;
        let place = match name {
            "head" => 0,
            "leftEye" => 1,
            "rightEye" => 2,
            _ => return None,
        };
        let slot = self.blocks.get_mut(place).filter(|slot| slot.is_none())?;
        *slot = Some(numbers);
        Some(())
    }

    /// Reads head and eyes once all of them are there, for the head shows what their commas are; gives the number of those
    /// that make no sense.
    fn read_blocks(&mut self, commas: &mut bool) -> u64 {
        let [head, left, right] = self.blocks;
        let mut ignored = 0;
        if let Some(numbers) = head.map(Numbers::of) {
            let read = numbers.transform(6, commas);
            ignored += u64::from(read.is_none());
            self.unclear |= read.is_none() && numbers.is_unclear(6);
            if let Some((rotation, position)) = read {
                self.frame.face.head = Some(SourceRotation::Angles(rotation));
                self.frame.face.position = position;
            }
        }
        for (slot, numbers) in self.eyes.iter_mut().zip([left, right]) {
            let Some(numbers) = numbers.map(Numbers::of) else { continue };
            *slot = numbers.transform(3, commas).map(|(rotation, _)| rotation);
            ignored += u64::from(slot.is_none());
            self.unclear |= slot.is_none() && numbers.is_unclear(3);
        }
        ignored
    }
}

/// Most parts of a block: six numbers, each with a decimal comma.
const MAX_PARTS: usize = 12;

/// The parts of a block between its commas, or its semicolons.
struct Numbers<'a> {
    parts: [&'a str; MAX_PARTS],
    /// One more than there is room for where there are more.
    count: usize,
    semicolons: bool,
}

impl<'a> Numbers<'a> {
    fn of(text: &'a str) -> Self {
        let semicolons = text.contains(';');
        let separator = if semicolons { ';' } else { ',' };
        let text = text.trim_ascii().trim_end_matches(separator);
        let (mut parts, mut count) = ([""; MAX_PARTS], 0);
        for part in text.split(separator).take(MAX_PARTS + 1) {
            if let Some(slot) = parts.get_mut(count) {
                *slot = part.trim_ascii();
            }
            count += 1;
        }
        Self { parts, count, semicolons }
    }

    fn parts(&self) -> &[&'a str] {
        self.parts.get(..self.count).unwrap_or_default()
    }

    /// Whether these may be `expected` numbers of which some have a decimal comma.
    fn is_unclear(&self, expected: usize) -> bool {
        let whole = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let parts = self.parts();
        !self.semicolons && expected < parts.len() && parts.len() < 2 * expected && parts.iter().all(whole)
    }

    /// Three angles, and three more numbers for a position where there are so many. `expected` numbers belong here; in
    /// twice as many parts each has a decimal comma, and `commas` remembers it of the sender.
    fn transform(&self, expected: usize, commas: &mut bool) -> Option<([f32; 3], Option<[f32; 3]>)> {
        let parts = self.parts();
        let dots = parts.iter().any(|part| part.contains('.'));
        let pairs = !self.semicolons && !dots && parts.chunks_exact(2).all(is_pair);
        let mut values = [0.0; 6];
        let count = match parts.len() {
            // Three numbers in pairs, or six of them: only a sender that is known can be read.
            6 if expected == 3 && pairs && !*commas => return None,
            6 if expected == 3 && pairs => self.read_pairs(&mut values)?,
            12 if expected == 6 && pairs => {
                let count = self.read_pairs(&mut values)?;
                *commas = true;
                count
            }
            3 | 6 => {
                for (value, part) in values.iter_mut().zip(parts) {
                    *value = if self.semicolons { number(part) } else { part.parse().ok() }?;
                }
                parts.len()
            }
            _ => return None,
        };
        let [rx, ry, rz, px, py, pz] = values;
        // Leaves NaN out as well.
        let within = |values: [f32; 3], limit: f32| values.iter().all(|value| value.abs() <= limit).then_some(values);
        let rotation = within([rx, ry, rz], DEGREES_LIMIT)?;
        let position = if count == 6 { Some(within([px, py, pz], METRES_LIMIT)?) } else { None };
        Some((rotation, position))
    }

    /// Numbers of which each has a decimal comma; how many there are.
    fn read_pairs(&self, values: &mut [f32; 6]) -> Option<usize> {
        let pairs = self.parts().chunks_exact(2);
        let count = pairs.len();
        for (value, pair) in values.iter_mut().zip(pairs) {
            *value = decimal(pair.first()?, pair.get(1)?)?;
        }
        Some(count)
    }
}

/// Whether two parts may be a number with a decimal comma: `-20` and `25`, `1` and `5E-05`.
fn is_pair(pair: &[&str]) -> bool {
    matches!(pair, [whole, fraction] if decimal(whole, fraction).is_some())
}

/// A number in two parts.
fn decimal(whole: &str, fraction: &str) -> Option<f32> {
    let digits = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // Seven digits are what a float has; its exponent may follow.
    if !is_whole
        || digits.len() > 4
        || fraction.len() > 24
        || !fraction.starts_with(|first: char| first.is_ascii_digit())
    {
        return None;
    }
    let text: SmallVec<[u8; 32]> = whole.bytes().chain(*b".").chain(fraction.bytes()).collect();
    std::str::from_utf8(&text).ok()?.parse().ok()
}

/// A number with a decimal point or a decimal comma.
fn number(text: &str) -> Option<f32> {
    match text.split_once(',') {
        Some((whole, fraction)) => decimal(whole, fraction),
        None => text.parse().ok(),
    }
}

/// A percentage: an integer by the grammar, though a fraction is read too.
fn percent(text: &str) -> Option<f32> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let value = if (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let value = digits.bytes().fold(0_u16, |value, byte| value * 10 + u16::from(byte - b'0'));
        if digits.len() < text.len() { -f32::from(value) } else { f32::from(value) }
    } else {
        number(text)?
    };
    (value.abs() <= PERCENT_LIMIT).then_some(value)
}

/// How a frame is spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// iFacialMocap: `eyeBlink_L-12`, nothing below zero.
    V1,
    /// iFacialMocap: `eyeBlink_L&12`.
    V2,
    /// Facemotion3d: `eyeBlinkLeft&12`.
    Facemotion3d,
}

/// The shapes in an order that depends on `seed`.
pub(crate) fn shuffled(seed: u64) -> [Blendshape; BLENDSHAPE_COUNT] {
    let mut order = Blendshape::ALL;
    let mut state = seed;
    for last in (1..BLENDSHAPE_COUNT).rev() {
        // Knuth's MMIX generator: the high bits are good enough for an order.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(last, (state >> 33) as usize % (last + 1));
    }
    order
}

/// Writes frames as the apps do.
#[derive(Clone, Debug)]
pub struct Writer {
    dialect: Dialect,
    order: [Blendshape; BLENDSHAPE_COUNT],
    tracking_status: bool,
}

impl Writer {
    /// In the order of [`Blendshape`], with `trackingStatus` in the dialects of iFacialMocap.
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, order: Blendshape::ALL, tracking_status: dialect != Dialect::Facemotion3d }
    }

    /// In an order that depends on `seed`, as the apps change theirs with every start.
    #[must_use]
    pub fn shuffled(mut self, seed: u64) -> Self {
        self.order = shuffled(seed);
        self
    }

    /// With or without `trackingStatus`, which older apps do not send.
    #[must_use]
    pub fn with_tracking_status(mut self, sent: bool) -> Self {
        self.tracking_status = sent;
        self
    }

    /// Appends a frame to `out`. Shapes that are not given are written as 0; time and sequence have no place.
    ///
    /// # Errors
    /// [`MocapError`] when a number is not finite, or a channel's name cannot be written; `out` may then hold a part of the
    /// frame.
    pub fn write(&self, frame: &FaceFrame, profile: &SourceProfile, out: &mut Vec<u8>) -> Result<(), MocapError> {
        let source = profile.unapply(frame);
        let between = if self.dialect == Dialect::V1 { '-' } else { '&' };
        if self.tracking_status {
            put(out, format_args!("trackingStatus{between}{}|", u8::from(frame.tracked)));
        }
        for shape in self.order {
            let percent = self.percent(shape.name(), source.frame.weights[shape.index()])?;
            let name = shape.name();
            let stem = name.strip_suffix("Left").or_else(|| name.strip_suffix("Right")).filter(|_| shape.is_paired());
            match stem {
                Some(stem) if self.dialect != Dialect::Facemotion3d => {
                    let side = if name.ends_with("Left") { 'L' } else { 'R' };
                    put(out, format_args!("{stem}_{side}{between}{percent}|"));
                }
                _ => put(out, format_args!("{name}{between}{percent}|")),
            }
        }
        for channel in &source.frame.channels {
            if !is_name(&channel.name) || channel.name.contains(['|', '&', '-', '#', '=', ',']) {
                return Err(MocapError::Name(channel.name.to_string()));
            }
            let percent = self.percent(&channel.name, channel.value)?;
            put(out, format_args!("{}{between}{percent}|", channel.name));
        }
        out.push(b'=');
        if let Some(SourceRotation::Angles(angles)) = source.head {
            put(out, format_args!("head#"));
            let position = source.position.unwrap_or_default();
            numbers("head", angles.into_iter().chain(position), out)?;
        }
        if let Some([SourceRotation::Angles(left), SourceRotation::Angles(right)]) = source.eyes {
            for (name, angles) in [("rightEye", right), ("leftEye", left)] {
                put(out, format_args!("{name}#"));
                numbers(name, angles.into_iter(), out)?;
            }
        }
        Ok(())
    }

    fn percent(&self, field: &str, weight: f32) -> Result<i32, MocapError> {
        if !weight.is_finite() {
            return Err(MocapError::Value { field: field.to_owned(), value: weight });
        }
        let percent = (weight * 100.0).round() as i32;
        Ok(if self.dialect == Dialect::V1 { percent.max(0) } else { percent })
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // A vector takes everything.
    let _ = out.write_fmt(text);
}

fn numbers(field: &str, values: impl Iterator<Item = f32>, out: &mut Vec<u8>) -> Result<(), MocapError> {
    for (place, value) in values.enumerate() {
        if !value.is_finite() {
            return Err(MocapError::Value { field: field.to_owned(), value });
        }
        put(out, format_args!("{}{value}", if place == 0 { "" } else { "," }));
    }
    out.push(b'|');
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        frame::{EyeGaze, Gaze, HeadPose},
        performer::Performance,
    };

    fn face(text: &str) -> FaceFrame {
        PROFILE.apply(decode(text.as_bytes()).unwrap().face)
    }

    #[test]
    fn mocap_text_handshakes_match_apps() {
        assert_eq!(START_V1.len(), 51);
        assert_eq!(START_V2, format!("{START_V1}|sendDataVersion=v2"));
    }

    #[test]
    fn mocap_text_v1_is_read() {
        let frame = face(
            "mouthSmile_R-0|eyeLookOut_L-4|jawOpen-100|jawLeft-7|eyeBlink_L-12|browDown_L--3|hapihapi-0|=head#-1.5,\
             20.25,-3.75,0.01,-0.02,-0.45|rightEye#6.03,-3.5,0.13|leftEye#6.04,-2.5,-0.13|",
        );
        assert_eq!(frame.get(Blendshape::MouthSmileRight), Some(0.0));
        assert_eq!(frame.get(Blendshape::EyeLookOutLeft), Some(0.04));
        assert_eq!(frame.get(Blendshape::JawOpen), Some(1.0));
        assert_eq!(frame.get(Blendshape::JawLeft), Some(0.07));
        assert_eq!(frame.get(Blendshape::EyeBlinkLeft), Some(0.12));
        assert_eq!(frame.get(Blendshape::BrowDownLeft), Some(-0.03));
        assert_eq!(frame.get(Blendshape::TongueOut), None, "missing is not zero");
        assert_eq!(frame.channels.len(), 1);
        assert_eq!((&*frame.channels[0].name, frame.channels[0].value), ("hapihapi", 0.0));
        assert_eq!(frame.head.unwrap().position, Some([0.01, -0.02, -0.45]));
        let gaze = frame.gaze.unwrap();
        assert!((gaze.right.pitch.to_degrees() + 6.03).abs() < 1e-4, "positive x looks down");
        assert!((gaze.right.yaw.to_degrees() + 3.5).abs() < 1e-4, "positive y looks to the performer's left");
        assert!((gaze.left.yaw.to_degrees() + 2.5).abs() < 1e-4);
        assert!(frame.tracked && frame.sequence.is_none() && frame.capture_time.is_none());
    }

    #[test]
    fn mocap_text_decimal_commas_are_read_or_left_out() {
        let read = |text: &str| {
            let mut decoder = Decoder::new();
            let frame = decoder.decode(format!("jawOpen&40|{text}").as_bytes()).unwrap();
            let angles = |rotation| match rotation {
                SourceRotation::Angles(angles) => angles,
                SourceRotation::Quaternion(_) => panic!("{text}"),
            };
            (
                frame.face.head.map(angles),
                frame.face.position,
                frame.face.eyes.map(|eyes| eyes.map(angles)),
                decoder.ignored(),
            )
        };
        let head = Some([-1.5, 20.25, -3.75]);
        let position = Some([0.01, -0.02, -0.45]);
        let eyes = Some([[6.5, -2.25, 0.125], [6.25, -3.5, -0.5]]);
        for text in [
            "=head#-1.5,20.25,-3.75,0.01,-0.02,-0.45|leftEye#6.5,-2.25,0.125|rightEye#6.25,-3.5,-0.5|",
            "=head#-1,5,20,25,-3,75,0,01,-0,02,-0,45|leftEye#6,5,-2,25,0,125|rightEye#6,25,-3,5,-0,5|",
            // In any order, and with an exponent.
            "=leftEye#6,5,-2,25,0,125|rightEye#6,25,-3,5,-5,0E-1|head#-1,5,20,25,-3,75,1,0E-2,-0,02,-4,5E-01|",
            "=head#-1,5;20,25;-3,75;0,01;-0,02;-0,45|leftEye#6,5;-2,25;0,125|rightEye#6,25;-3,5;-0,5|",
            "=head# -1.5, 20.25, -3.75, 0.01, -0.02, -0.45,|leftEye#6.5,-2.25,0.125,|rightEye#6.25,-3.5,-0.5|",
        ] {
            assert_eq!(read(text), (head, position, eyes, 0), "{text}");
        }
        // Numbers of which some are whole: which of them, cannot be known.
        for count in [1, 2, 4, 5, 7, 8, 9, 10, 11, 13, 14, 40] {
            let text = format!("=head#{}|", vec!["20"; count].join(","));
            assert_eq!(read(&text), (None, None, None, 1), "{text}");
            let mut decoder = Decoder::new();
            let _ = decoder.decode(format!("jawOpen-5|{text}").as_bytes());
            assert_eq!(decoder.has_unclear_commas(), (7..=11).contains(&count), "{text}");
            let _ = decoder.decode(b"jawOpen-5|=head#1,2,3,4,5,6|");
            assert!(!decoder.has_unclear_commas());
        }
        for wrong in [
            // Twelve numbers, and none with a decimal comma; more than an angle or a position can be.
            "-1,-5,20,25,-3,75,0,1,0,2,0,3",
            "1.5,2,3,4,5,6,7,8,9,10,11,12",
            "400,5,20,25,-3,75,0,01,-0,02,-0,45",
            "1,2,3,4,5,600",
            "1,2,nan",
            "1;2;3;4",
        ] {
            assert_eq!(read(&format!("=head#{wrong}|")), (None, None, None, 1), "{wrong}");
        }
        // Six parts where three belong are another eye only of a sender that is known to have commas.
        assert_eq!(read("=head#1,2,3|leftEye#6,5,-2,25,0,5|rightEye#1,2,3|").2, None);
        // Percents.
        let frame = face("jawOpen&12,5|eyeBlink_L-0,25|browDown_L--3,5|mouthClose&1,2,3|cheekPuff&,5|noseSneer_L&5,|");
        assert_eq!(frame.get(Blendshape::JawOpen), Some(0.125));
        assert_eq!(frame.get(Blendshape::EyeBlinkLeft), Some(0.0025));
        assert_eq!(frame.get(Blendshape::BrowDownLeft), Some(-0.035));
        assert_eq!(frame.present.count_ones(), 3);
    }

    #[test]
    fn mocap_text_sides_and_marks_of_other_senders_are_read() {
        let frame = face("\u{feff}jaw_L&10|jaw_R&20|mouth_L&30|mouth_R&40|eyeBlink_L&50|=head#1,2,3,4,5,6|\0\0");
        for (shape, weight) in [
            (Blendshape::JawLeft, 0.1),
            (Blendshape::JawRight, 0.2),
            (Blendshape::MouthLeft, 0.3),
            (Blendshape::MouthRight, 0.4),
            (Blendshape::EyeBlinkLeft, 0.5),
        ] {
            assert_eq!(frame.get(shape), Some(weight), "{shape}");
        }
        assert!(frame.channels.is_empty() && frame.head.is_some());
        let framed = decode(format!("\u{feff}eyeBlink_L&50|{FRAME_END}\r\n").as_bytes()).unwrap();
        assert_eq!((framed.face.frame.present.count_ones(), framed.face.frame.channels.len()), (1, 0));
    }

    #[test]
    fn mocap_text_v2_is_read_and_facemotion3d_detected() {
        let frame = decode(b"trackingStatus&1|browDown_L&-5|cheekPuff&150|=|head#1,2,3|").unwrap();
        assert_eq!((frame.app, frame.tracking_status), (Some(MocapApp::IFacialMocap), Some(true)));
        assert_eq!(frame.face.frame.get(Blendshape::BrowDownLeft), Some(-0.05));
        assert_eq!(frame.face.frame.get(Blendshape::CheekPuff), Some(1.5));
        assert_eq!(frame.face.head, Some(SourceRotation::Angles([1.0, 2.0, 3.0])), "`=|head#` as well");
        assert_eq!(frame.face.position, None);

        let frame = decode(b"jawLeft&1|eyeBlinkLeft&30|FM_SAD&-20|").unwrap();
        assert_eq!(frame.app, Some(MocapApp::Facemotion3d));
        assert_eq!(frame.face.frame.get(Blendshape::EyeBlinkLeft), Some(0.3));
        assert_eq!(frame.face.frame.channels[0].value, -0.2);
        assert_eq!(decode(b"jawLeft&1|mouthRight&2|").unwrap().app, None, "both spell it so");
        assert_eq!(decode(b"jawLeft&1|FM_VF&2|").unwrap().app, Some(MocapApp::Facemotion3d));
    }

    #[test]
    fn mocap_text_lost_face_is_reported() {
        let frame = decode(b"trackingStatus-0|jawOpen-5|").unwrap();
        assert_eq!((frame.tracking_status, frame.face.frame.tracked), (Some(false), false));
        assert!(!decode(b"trackingStatus&0").unwrap().face.frame.tracked);
        assert!(decode(b"jawOpen&5").unwrap().face.frame.tracked, "older apps do not say");
    }

    #[test]
    fn mocap_text_head_axes_match_face() {
        let turned = |numbers: &str| {
            let [x, y, z, w] = face(&format!("=head#{numbers}|")).head.unwrap().rotation;
            // Where the face points, and the height of its own left side.
            ([2.0 * (x * z + w * y), 2.0 * (y * z - w * x)], 2.0 * (x * y + w * z))
        };
        assert!(turned("20,0,0,0,0,-0.4").0[1] < -0.3, "positive x nods");
        assert!(turned("0,20,0,0,0,-0.4").0[0] > 0.3, "positive y turns to the performer's left");
        assert!(turned("0,0,20,0,0,-0.4").1 > 0.3, "positive z lifts the performer's left side");
    }

    #[test]
    fn mocap_text_unreadable_fields_are_skipped_and_counted() {
        let mut decoder = Decoder::new();
        let frame = decoder
            .decode(b"jawOpen-40|=head#1,2,3,4,5,6|rightEye#1,2,3|leftEye#4,5,6|-0.67254096|||||3|jawOpen-10|Open-40|")
            .unwrap();
        assert_eq!(frame.face.frame.get(Blendshape::JawOpen), Some(0.4), "the tail of an older frame does not count");
        assert!(frame.face.frame.channels.is_empty(), "and teaches no names");
        assert_eq!(frame.face.eyes, Some([[4.0, 5.0, 6.0], [1.0, 2.0, 3.0]].map(SourceRotation::Angles)));
        assert_eq!(decoder.ignored(), 4);

        for (text, ignored) in [
            (&b"jawOpen-40|\xff\xfe|eyeBlink_L-1"[..], 1),
            (b"jawOpen-40|jawLeft-NaN|jawRight&inf|mouthClose-1001|cheekPuff-|tongueOut-x", 5),
            (b"jawOpen-40|head#1,2|rightEye#nan,0,0|leftEye#1,2,400|head#1,2,3,1e9,0,0|tail#1,2,3", 5),
            (b"jawOpen-40\0\r\n", 0),
        ] {
            let mut decoder = Decoder::new();
            let frame = decoder.decode(text).unwrap();
            let expected = SourceFace {
                frame: {
                    let mut frame = FaceFrame::default();
                    frame.set(Blendshape::JawOpen, 0.4);
                    frame
                },
                ..SourceFace::default()
            };
            assert_eq!(frame.face, expected, "{}", String::from_utf8_lossy(text));
            assert_eq!(decoder.ignored(), ignored, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn mocap_text_without_face_is_refused() {
        let refused = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        assert_eq!(refused(b""), "no shape, `head`, eye or `trackingStatus` in 0 fields");
        assert_eq!(refused(b"some&1|thing-2|"), "no shape, `head`, eye or `trackingStatus` in 2 fields");
        assert_eq!(
            refused(&[b'a'; MAX_FRAME_LEN + 1]),
            "a frame of 16385 bytes is longer than the 16384 that are read"
        );
    }

    #[test]
    fn mocap_text_learnt_names_are_bounded() {
        let mut decoder = Decoder::new();
        for start in 0..40 {
            let mut text = "jawOpen&1|".to_owned();
            for name in 0..100 {
                text.push_str(&format!("custom{}&1|", start * 100 + name));
            }
            let frame = decoder.decode(text.as_bytes()).unwrap();
            assert_eq!(frame.face.frame.get(Blendshape::JawOpen), Some(0.01));
        }
        assert_eq!(decoder.names.len(), super::super::name_table::MAX_NAMES);
        assert!(decoder.decode(b"custom3&50|eyeBlink_L&1|jawOpen&2").is_ok(), "those that are known still count");
        let many: String = (0..2000).map(|_| "jawOpen&1|").collect();
        assert!(decode(many.as_bytes()).is_err() || many.len() <= MAX_FRAME_LEN);
    }

    #[test]
    fn mocap_text_frame_of_known_names_allocates_nothing() {
        let frame = Performance::new(3).frame_at(Duration::from_secs(2));
        for dialect in [Dialect::V1, Dialect::V2, Dialect::Facemotion3d] {
            let mut text = Vec::new();
            Writer::new(dialect).shuffled(5).write(&frame, &PROFILE, &mut text).unwrap();
            text.extend_from_slice(b"hapihapi&3|");
            let mut decoder = Decoder::new();
            decoder.decode(&text).unwrap();
            let allocations = allocation_counter::measure(|| drop(decoder.decode(&text)));
            assert_eq!(allocations.count_total, 0, "{dialect:?}");
        }
    }

    #[test]
    fn mocap_text_written_text_matches_apps() {
        let mut frame = FaceFrame::neutral();
        frame.set(Blendshape::EyeBlinkLeft, 0.25);
        frame.set(Blendshape::BrowDownRight, -0.05);
        frame.head = Some(HeadPose { rotation: [0.0, 0.0, 0.0, 1.0], position: Some([0.0, 0.5, -0.25]) });
        frame.gaze = Some(Gaze { left: EyeGaze::default(), right: EyeGaze { yaw: 0.0, pitch: -1.0_f32.to_radians() } });
        let text = |dialect| {
            let mut out = Vec::new();
            Writer::new(dialect).write(&frame, &PROFILE, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let v1 = text(Dialect::V1);
        assert!(v1.starts_with("trackingStatus-1|eyeBlink_L-25|eyeLookDown_L-0|"), "{v1}");
        assert!(v1.contains("|jawLeft-0|jawRight-0|jawOpen-0|"), "{v1}");
        assert!(v1.contains("|browDown_R-0|"), "v1 knows nothing below zero: {v1}");
        let v2 = text(Dialect::V2);
        assert!(v2.starts_with("trackingStatus&1|eyeBlink_L&25|") && v2.contains("|browDown_R&-5|"), "{v2}");
        let (_, tail) = v2.split_once('=').unwrap();
        assert!(tail.starts_with("head#") && tail.contains(",0,0.5,-0.25|rightEye#1,"), "{tail}");
        let facemotion = text(Dialect::Facemotion3d);
        assert!(
            facemotion.starts_with("eyeBlinkLeft&25|") && facemotion.contains("|browDownRight&-5|"),
            "{facemotion}"
        );

        frame.weights[3] = f32::NAN;
        let error = Writer::new(Dialect::V2).write(&frame, &PROFILE, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "eyeLookOutLeft is NaN, which is no number that can be written");
        let mut frame = FaceFrame::neutral();
        frame.channels.push(Channel { name: "a|b".into(), value: 0.0 });
        assert!(matches!(Writer::new(Dialect::V2).write(&frame, &PROFILE, &mut Vec::new()), Err(MocapError::Name(_))));
    }

    #[test]
    fn mocap_text_field_order_changes_with_app_start() {
        let order = |seed| Writer::new(Dialect::V2).shuffled(seed).order;
        assert_ne!(order(1), order(2));
        let mut sorted = order(1);
        sorted.sort();
        assert_eq!(sorted, Blendshape::ALL);
    }

    proptest! {
        #[test]
        fn mocap_text_random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn mocap_text_random_fields_never_panic(text in "[a-z_LRFM&|#=,.0-9-]{0,400}") {
            if let Ok(frame) = decode(text.as_bytes()) {
                let frame = PROFILE.apply(frame.face);
                prop_assert!(frame.weights.iter().all(|weight| (-1.0..=2.0).contains(weight)));
                prop_assert!(frame.channels.iter().all(|channel| (-1.0..=2.0).contains(&channel.value)));
            }
        }

        #[test]
        fn mocap_text_broken_frame_never_panics(at in 0_usize..2000, value in any::<u8>()) {
            let mut text = Vec::new();
            let frame = Performance::new(3).frame_at(Duration::from_secs(2));
            Writer::new(Dialect::V2).write(&frame, &PROFILE, &mut text).unwrap();
            let at = at % text.len();
            let _ = decode(&text[..at]);
            text[at] = value;
            let _ = decode(&text);
        }

        #[test]
        fn mocap_text_round_trips(
            seed in any::<u64>(),
            second in 0.0_f32..60.0,
            tracked in any::<bool>(),
            version in 0_usize..3,
        ) {
            let mut frame = Performance::new(seed).frame_at(Duration::from_secs_f32(second));
            frame.tracked = tracked;
            let dialect = [Dialect::V1, Dialect::V2, Dialect::Facemotion3d][version];
            let mut text = Vec::new();
            Writer::new(dialect).shuffled(seed).write(&frame, &PROFILE, &mut text).unwrap();
            let read = decode(&text).unwrap();
            let app = if version == 2 { MocapApp::Facemotion3d } else { MocapApp::IFacialMocap };
            prop_assert_eq!(read.app, Some(app));
            prop_assert_eq!(read.tracking_status, (version < 2).then_some(tracked));
            let read = PROFILE.apply(read.face);
            prop_assert!(read.is_complete());
            for (was, is) in frame.weights.iter().zip(read.weights) {
                prop_assert!((was - is).abs() < 0.0051, "{was} {is}");
            }
            let (was, is) = (frame.head.unwrap(), read.head.unwrap());
            let same: f32 = was.rotation.iter().zip(is.rotation).map(|(a, b)| a * b).sum();
            prop_assert!(same.abs() > 1.0 - 1e-4);
            let (was, is) = (frame.gaze.unwrap(), read.gaze.unwrap());
            prop_assert!((was.left.yaw - is.left.yaw).abs() < 1e-4 && (was.right.pitch - is.right.pitch).abs() < 1e-4);
        }
    }
}
