//! VMC protocol ([specification](https://protocol.vmc.info/english)), OSC over UDP: faces and heads of VTubing programs.
//!
//! Of the protocol's many messages these are read:
//!
//! | address `/VMC/Ext/...` | arguments | what |
//! |---|---|---|
//! | `OK` | loaded, calibration state, mode, tracking status | the last one 0 while the face is lost |
//! | `T` | time | begins a frame, for senders that never commit one |
//! | `VRM` | path, title, hash | the model; another one ends the values of the one before |
//! | `Blend/Val` | name, weight | a blendshape; also as `Blend/Val/<name>` with the weight alone |
//! | `Blend/Apply` | | commits the blendshapes |
//! | `Bone/Pos` | name, position, quaternion x y z w | `Head`, `Neck`, `LeftEye` and `RightEye` are used, their rotations alone: many senders leave the positions at 0 |
//! | `Set/Eye` | enabled, x, y, z | where the eyes look, from the head; used where no eye bones come |
//!
//! A value lasts until it changes. Bones and blendshapes have rates of their own: a face is given for each commit and for
//! each set of bones. What is not committed ends where its messages pause, at the latest after 50 ms.
//!
//! A head's rotation is that of the neck and the head together. Names of blendshapes are matched whatever their case:
//! Perfect Sync (`EyeBlinkLeft`) and other spellings of ARKit's; from senders without those, the presets of VRM 0 and VRM 1
//! (`A`, `aa`, `Blink_L`, `Joy`, `happy`) move the shapes that come closest. Every name that is no ARKit shape is a channel of
//! its own, too.
//!
//! # Axes
//! Unity's: left-handed, +Y up, +Z forward, so +X is to the right of a head that looks along +Z. Mirroring X gives ours: a
//! quaternion (x, y, z, w) is (x, -y, -z, w) here.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use rosc::{OscMessage, OscType};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{
    name_table::{NameTable, Resolved},
    osc::{message, number, numbers, text, write_bundles},
    profile::{AxisFlip, IDENTITY, RotationProfile, SourceFace, SourceProfile, SourceRotation, normalized, product},
    viseme::Viseme,
};
use crate::{
    frame::{Channel, FACE_HOLD, FaceFrame, MAX_CHANNELS, clamp_weight},
    names::{BLENDSHAPE_COUNT, Blendshape},
    time::Instant,
};

/// Port of a renderer (Marionette).
pub const MARIONETTE_PORT: u16 = 39539;
/// Port of a performer that takes assistants.
pub const PERFORMER_PORT: u16 = 39540;
/// Largest datagram that is written, so that none is sent in pieces.
pub const MAX_DATAGRAM_LEN: usize = 1400;
/// Largest number that a position or a weight may be.
const LIMIT: f32 = 10_000.0;
/// A sender that names this many ARKit shapes of late has Perfect Sync, and its presets are for others.
const PERFECT_SYNC: usize = 8;
/// A shape that was sent within this time was sent of late.
const FRESH: Duration = Duration::from_millis(300);
/// A channel that was not sent for this long gives its place to another.
const CHANNEL_UNUSED: Duration = Duration::from_secs(5);
/// What nothing ends is shown this long after its first message.
pub const UNCOMMITTED: Duration = Duration::from_millis(50);
/// The messages of a frame follow each other; a pause of this length ends it.
const PAUSE: Duration = Duration::from_millis(5);
/// A face whose sender is heard and sends no values is given again after this long.
const STILL_EVERY: Duration = Duration::from_millis(100);
/// Until this long after a silence a sender counts as one that speaks rarely,
const RARE_FOR: Duration = Duration::from_secs(5);
/// whose face stands still for twice that silence, and no longer than this.
const MAX_STILL: Duration = Duration::from_secs(3);

const ROTATION: RotationProfile =
    RotationProfile { flip: AxisFlip { yaw: true, pitch: true, roll: true }, ..RotationProfile::DEFAULT };

/// The conventions of the protocol.
pub const PROFILE: SourceProfile = SourceProfile { head: ROTATION, eyes: ROTATION, ..SourceProfile::PLAIN };

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VmcError {
    /// Too few arguments, or of other types, or numbers that cannot be.
    #[error("{address}: expected {expected}")]
    Arguments {
        /// The message.
        address: &'static str,
        /// The expected arguments.
        expected: &'static str,
    },
    /// A name that is none, or one too many.
    #[error("/VMC/Ext/Blend/Val: name: {0}")]
    Name(String),
}

use Blendshape as B;

/// The presets of VRM 0 and VRM 1, under all of their names, in lower case without separators, and the shapes that come
/// closest.
const PRESETS: [(&[&str], &[(Blendshape, f32)]); PRESET_COUNT] = [
    (&["blink"], &[(B::EyeBlinkLeft, 1.0), (B::EyeBlinkRight, 1.0)]),
    (&["blinkl", "blinkleft"], &[(B::EyeBlinkLeft, 1.0)]),
    (&["blinkr", "blinkright"], &[(B::EyeBlinkRight, 1.0)]),
    (&["lookup"], &[(B::EyeLookUpLeft, 1.0), (B::EyeLookUpRight, 1.0)]),
    (&["lookdown"], &[(B::EyeLookDownLeft, 1.0), (B::EyeLookDownRight, 1.0)]),
    (&["lookleft"], &[(B::EyeLookOutLeft, 1.0), (B::EyeLookInRight, 1.0)]),
    (&["lookright"], &[(B::EyeLookInLeft, 1.0), (B::EyeLookOutRight, 1.0)]),
    (
        &["joy", "happy"],
        &[(B::MouthSmileLeft, 0.9), (B::MouthSmileRight, 0.9), (B::CheekSquintLeft, 0.5), (B::CheekSquintRight, 0.5)],
    ),
    (&["angry"], &[(B::BrowDownLeft, 0.9), (B::BrowDownRight, 0.9), (B::NoseSneerLeft, 0.3), (B::NoseSneerRight, 0.3)]),
    (&["sorrow", "sad"], &[(B::MouthFrownLeft, 0.7), (B::MouthFrownRight, 0.7), (B::BrowInnerUp, 0.8)]),
    (&["fun", "relaxed"], &[(B::MouthSmileLeft, 0.5), (B::MouthSmileRight, 0.5)]),
    (
        &["surprised"],
        &[
            (B::EyeWideLeft, 0.8),
            (B::EyeWideRight, 0.8),
            (B::BrowInnerUp, 0.7),
            (B::BrowOuterUpLeft, 0.6),
            (B::BrowOuterUpRight, 0.6),
        ],
    ),
    (&["neutral"], &[]),
    (&["a", "aa"], Viseme::Aa.shapes()),
    (&["i", "ih"], Viseme::Ih.shapes()),
    (&["u", "ou"], Viseme::Ou.shapes()),
    (&["e", "ee"], Viseme::E.shapes()),
    (&["o", "oh"], Viseme::Oh.shapes()),
];
const PRESET_COUNT: usize = 18;

/// Place in [`PRESETS`] of a preset of VRM 0 or VRM 1.
fn preset(name: &str) -> Option<usize> {
    let mut letters = [0_u8; 12];
    let mut len = 0;
    for byte in name.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b' ')) {
        *letters.get_mut(len)? = byte.to_ascii_lowercase();
        len += 1;
    }
    PRESETS.iter().position(|(names, _)| names.iter().any(|name| name.as_bytes() == &letters[..len]))
}

/// Values that last until they change, as in the reference receiver.
#[derive(Debug, Default)]
struct Held {
    /// ARKit shapes and channels as they came.
    frame: FaceFrame,
    /// When each shape was last sent.
    shapes_sent: Option<[Instant; BLENDSHAPE_COUNT]>,
    /// When each channel was last sent.
    channels_sent: SmallVec<[Instant; 8]>,
    /// Last value of each preset, under whichever of its names.
    presets: [Option<f32>; PRESET_COUNT],
}

impl Held {
    fn set_shape(&mut self, shape: Blendshape, weight: f32, now: Instant) {
        self.frame.set(shape, weight);
        self.shapes_sent.get_or_insert([now; BLENDSHAPE_COUNT])[shape.index()] = now;
    }

    fn set_channel(&mut self, name: &Arc<str>, weight: f32, now: Instant) {
        let value = clamp_weight(weight);
        let channels = &mut self.frame.channels;
        let place = match channels.iter().position(|channel| channel.name == *name) {
            Some(place) => place,
            None if channels.len() < MAX_CHANNELS => {
                channels.push(Channel { name: name.clone(), value });
                self.channels_sent.push(now);
                return;
            }
            // The one that was not sent for longest, such as that of a model which is no longer loaded.
            None => {
                let sent = self.channels_sent.iter().enumerate().min_by_key(|(_, sent)| **sent);
                match sent.filter(|(_, sent)| now.saturating_duration_since(**sent) > CHANNEL_UNUSED) {
                    Some((place, _)) => place,
                    None => return,
                }
            }
        };
        if let (Some(channel), Some(sent)) = (channels.get_mut(place), self.channels_sent.get_mut(place)) {
            if channel.name != *name {
                channel.name = name.clone();
            }
            (channel.value, *sent) = (value, now);
        }
    }

    /// The shape was sent of late.
    fn is_fresh(&self, shape: Blendshape, now: Instant) -> bool {
        let sent = self.shapes_sent.as_ref().map(|sent| sent[shape.index()]);
        self.frame.has(shape) && sent.is_some_and(|sent| now.saturating_duration_since(sent) <= FRESH)
    }

    /// The face with what its presets add.
    fn face(&self, now: Instant) -> FaceFrame {
        let mut face = self.frame.clone();
        let fresh = Blendshape::ALL.into_iter().filter(|shape| self.is_fresh(*shape, now)).count();
        if fresh >= PERFECT_SYNC {
            return face;
        }
        let mut sums = [None; BLENDSHAPE_COUNT];
        for (value, (_, shapes)) in self.presets.iter().zip(PRESETS) {
            let Some(value) = value else { continue };
            for (shape, share) in shapes {
                *sums[shape.index()].get_or_insert(0.0) += share * value;
            }
        }
        for (shape, sum) in Blendshape::ALL.into_iter().zip(sums) {
            let Some(sum) = sum.map(|sum: f32| sum.clamp(0.0, 1.0)) else { continue };
            match face.get(shape) {
                Some(_) if self.is_fresh(shape, now) => {}
                Some(held) => face.set(shape, held.max(sum)),
                None => face.set(shape, sum),
            }
        }
        face
    }
}

/// Puts the messages of one sender together. It has no clock: times are given to it.
///
/// Values last until they change, until another model is loaded (`VRM`), or none (`OK`). Bones and blendshapes come at
/// rates of their own: a face is given for each, with the newest of the other.
#[derive(Debug, Default)]
pub struct Decoder {
    names: NameTable,
    held: Held,
    /// The face as it was last committed.
    shown: FaceFrame,
    head: Option<[f32; 4]>,
    neck: Option<[f32; 4]>,
    eyes: [Option<[f32; 4]>; 2],
    look: Option<[f32; 3]>,
    lost: bool,
    model: Option<u64>,
    /// It commits its blendshapes.
    commits: bool,
    /// Its bones follow its commits.
    bones_follow: bool,
    /// Since when there are blendshapes that are not committed.
    uncommitted: Option<Instant>,
    /// Since when there are bones or committed blendshapes that were not given.
    unshown: Option<Instant>,
    heard: Option<Instant>,
    /// The last silence that was longer than a face is held, and its end.
    silence: Option<(Duration, Instant)>,
    applied: Option<Instant>,
    moved: Option<Instant>,
    given: Option<Instant>,
}

impl Decoder {
    /// A decoder that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// When to call [`on_timeout`](Self::on_timeout), unless a message comes before.
    pub fn deadline(&self) -> Option<Instant> {
        [self.commit_deadline(), self.show_deadline(), self.still_deadline()].into_iter().flatten().min()
    }

    /// Where a frame ends that nothing else ends: where its messages pause, at the latest 50 ms after its first one.
    fn end_of_frame(&self, first: Instant) -> Instant {
        self.heard.map_or(first, |heard| heard + PAUSE).min(first + UNCOMMITTED)
    }

    /// When blendshapes are shown that are not committed.
    fn commit_deadline(&self) -> Option<Instant> {
        let first = self.uncommitted?;
        Some(if self.commits { first + UNCOMMITTED } else { self.end_of_frame(first) })
    }

    /// When bones are shown.
    fn show_deadline(&self) -> Option<Instant> {
        self.unshown.map(|first| self.end_of_frame(first))
    }

    /// When the face of a sender that speaks rarely, such as one that sends what has changed, is given again.
    fn still_deadline(&self) -> Option<Instant> {
        let ((silence, end), given, heard) = (self.silence?, self.given?, self.heard?);
        let next = given + STILL_EVERY;
        let is_rare = heard.saturating_duration_since(end) < RARE_FOR;
        let until = heard + (2 * silence).min(MAX_STILL);
        (self.is_idle() && is_rare && next <= until).then_some(next)
    }

    /// When a message came last.
    pub fn heard(&self) -> Option<Instant> {
        self.heard
    }

    /// Gives what its sender has not ended in time.
    pub fn on_timeout(&mut self, now: Instant) -> Option<SourceFace> {
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let (commit, show) = (is_over(self.commit_deadline()), is_over(self.show_deadline()));
        if commit {
            self.commits = false;
            self.commit(now);
        }
        if show && self.bones_follow && self.moved < self.applied {
            self.bones_follow = false;
        }
        if commit || show || is_over(self.still_deadline()) { self.face(now) } else { None }
    }

    /// Takes a message; gives a face where it ends a frame. Messages that are not known are left out.
    ///
    /// # Errors
    /// [`VmcError`] names the message, which then changes nothing.
    pub fn take(&mut self, message: &OscMessage, now: Instant) -> Result<Option<SourceFace>, VmcError> {
        let args = &message.args;
        let error = |address, expected| VmcError::Arguments { address, expected };
        let Some(address) = message.addr.strip_prefix("/VMC/Ext/") else { return Ok(None) };
        let silence = self.heard.replace(now).map_or(Duration::ZERO, |heard| now.saturating_duration_since(heard));
        if silence >= FACE_HOLD {
            self.silence = Some((silence, now));
        }
        match address {
            "OK" => {
                let loaded = number(args.first()).ok_or(error("/VMC/Ext/OK", "whether it is loaded"))?;
                let tracked = number(args.get(3)).is_none_or(|status| status != 0.0);
                let before = self.begin(now);
                if loaded == 0.0 {
                    self.clear();
                }
                let was_lost = std::mem::replace(&mut self.lost, loaded == 0.0 || !tracked);
                if was_lost && !self.lost {
                    self.unshown.get_or_insert(now);
                }
                // Without blendshapes to commit, only the lost face is reported.
                Ok(if self.lost && !was_lost { self.face(now) } else { before })
            }
            "T" => Ok(self.begin(now)),
            "VRM" => {
                let mut hasher = DefaultHasher::new();
                for arg in args.iter().take(3) {
                    text(Some(arg)).hash(&mut hasher);
                }
                let model = hasher.finish();
                if self.model.replace(model).is_some_and(|before| before != model) {
                    self.clear();
                }
                Ok(None)
            }
            "Blend/Apply" => {
                self.commits = true;
                self.applied = Some(now);
                let is_new = self.uncommitted.is_some();
                self.commit(now);
                if self.unshown.is_some() {
                    self.bones_follow = false;
                } else if is_new && self.bones_follow && !self.lost {
                    self.unshown = Some(now);
                    return Ok(None);
                }
                Ok(if is_new || self.unshown.is_some() || self.lost { self.face(now) } else { self.still(now) })
            }
            "Blend/Val" => {
                let expected = error("/VMC/Ext/Blend/Val", "a name and a weight");
                let (Some(name), Some(weight)) = (text(args.first()), number(args.get(1))) else {
                    return Err(expected);
                };
                self.weight(name, weight, now).map(|()| None)
            }
            "Bone/Pos" => {
                let expected = error("/VMC/Ext/Bone/Pos", "a name, a position and a quaternion");
                let Some(name) = text(args.first()) else { return Err(expected) };
                let slot = match name {
                    _ if name.eq_ignore_ascii_case("Head") => &mut self.head,
                    _ if name.eq_ignore_ascii_case("Neck") => &mut self.neck,
                    _ if name.eq_ignore_ascii_case("LeftEye") => &mut self.eyes[0],
                    _ if name.eq_ignore_ascii_case("RightEye") => &mut self.eyes[1],
                    _ => return Ok(None),
                };
                let turn = numbers::<4>(args, 4).filter(|turn| turn.iter().all(|part| part.abs() <= LIMIT));
                *slot = Some(turn.and_then(normalized).ok_or(expected)?);
                self.has_moved(now);
                Ok(None)
            }
            "Set/Eye" => {
                let expected = error("/VMC/Ext/Set/Eye", "whether it is on, and a point");
                let on = number(args.first()).ok_or(expected.clone())?;
                let point = numbers::<3>(args, 1).filter(|point| point.iter().all(|part| part.abs() <= LIMIT));
                self.look = if on == 0.0 { None } else { Some(point.ok_or(expected)?) };
                self.has_moved(now);
                Ok(None)
            }
            _ => match address.strip_prefix("Blend/Val/") {
                Some(name) => {
                    let weight = number(args.first()).ok_or(error("/VMC/Ext/Blend/Val/<name>", "a weight"))?;
                    self.weight(name, weight, now).map(|()| None)
                }
                None => Ok(None),
            },
        }
    }

    /// `OK` or `T`: ends the frame before it, of senders that do not commit.
    fn begin(&mut self, now: Instant) -> Option<SourceFace> {
        let is_new = self.uncommitted.is_some() || self.unshown.is_some();
        if self.commits || !is_new {
            return self.still(now);
        }
        self.commit(now);
        self.face(now)
    }

    /// The face again, of a sender that is heard and has nothing new to say.
    fn still(&mut self, now: Instant) -> Option<SourceFace> {
        let is_due = self.given.is_some_and(|given| now.saturating_duration_since(given) >= STILL_EVERY);
        if is_due && self.is_idle() { self.face(now) } else { None }
    }

    /// Nothing waits to be given.
    fn is_idle(&self) -> bool {
        self.uncommitted.is_none() && self.unshown.is_none() && !self.lost
    }

    fn has_moved(&mut self, now: Instant) {
        let just_applied = self.applied.is_some_and(|at| now.saturating_duration_since(at) <= PAUSE);
        if self.unshown.is_none() && just_applied && self.uncommitted.is_none() {
            self.bones_follow = true;
        }
        self.unshown.get_or_insert(now);
        self.moved = Some(now);
    }

    fn weight(&mut self, name: &str, weight: f32, now: Instant) -> Result<(), VmcError> {
        if weight.abs() > LIMIT {
            return Err(VmcError::Arguments { address: "/VMC/Ext/Blend/Val", expected: "a name and a weight" });
        }
        // Models come and go, each with names of its own.
        if self.names.is_full() {
            self.names = NameTable::default();
        }
        match self.names.resolve(name).map_err(VmcError::Name)? {
            Resolved::Shape(shape) => self.held.set_shape(*shape, weight, now),
            Resolved::Channel(name) => {
                self.held.set_channel(name, weight, now);
                if let Some(slot) = preset(name).and_then(|place| self.held.presets.get_mut(place)) {
                    *slot = Some(weight);
                }
            }
        }
        self.uncommitted.get_or_insert(now);
        Ok(())
    }

    /// Another model, or none: what was said of the one before does not last.
    fn clear(&mut self) {
        (self.held, self.shown) = (Held::default(), FaceFrame::default());
        (self.head, self.neck, self.eyes, self.look) = (None, None, [None; 2], None);
        (self.uncommitted, self.unshown) = (None, None);
    }

    fn commit(&mut self, now: Instant) {
        if self.uncommitted.take().is_some() {
            self.shown = self.held.face(now);
        }
    }

    /// The face as it is now: the blendshapes that were committed, and the newest bones.
    fn face(&mut self, now: Instant) -> Option<SourceFace> {
        self.unshown = None;
        self.given = Some(now);
        if self.lost {
            let frame = FaceFrame { tracked: false, ..FaceFrame::default() };
            return Some(SourceFace { frame, ..SourceFace::default() });
        }
        let head = match (self.neck, self.head) {
            (None, None) => None,
            (neck, head) => Some(product(neck.unwrap_or(IDENTITY), head.unwrap_or(IDENTITY))),
        };
        let eyes = match (self.eyes, self.look) {
            ([Some(left), Some(right)], _) => Some([left, right]),
            (_, Some(point)) => towards(point).map(|eye| [eye, eye]),
            _ => None,
        };
        let face = SourceFace {
            frame: self.shown.clone(),
            head: head.map(SourceRotation::Quaternion),
            position: None,
            eyes: eyes.map(|eyes| eyes.map(SourceRotation::Quaternion)),
        };
        (!face.frame.is_empty() || face.head.is_some() || face.eyes.is_some()).then_some(face)
    }
}

/// The rotation, in Unity's axes, of an eye that looks at a point from the head.
fn towards([x, y, z]: [f32; 3]) -> Option<[f32; 4]> {
    let across = x.hypot(z);
    let far_enough = across.hypot(y) > 1e-4;
    if !far_enough {
        return None;
    }
    let (yaw, pitch) = (x.atan2(z), -y.atan2(across));
    let ((sy, cy), (sx, cx)) = ((0.5 * yaw).sin_cos(), (0.5 * pitch).sin_cos());
    normalized(product([0.0, sy, 0.0, cy], [sx, 0.0, 0.0, cx]))
}

/// Names by which a face is written. Which of them a model has is not known to its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BlendshapeNames {
    /// The 52 shapes (`EyeBlinkLeft`), for models with Perfect Sync alone.
    PerfectSync,
    /// The presets of VRM 0 (`A`, `I`, `U`, `E`, `O`, `Blink`, `Blink_L`, `Blink_R`, `Joy`, `Angry`, `Sorrow`), which every
    /// VRM model has, and which receivers for VRM 1 map to theirs.
    Presets,
    /// Both, for any model. A model that has both shows both: it closes its eyes twice.
    #[default]
    Both,
}

/// Faces that go out by VMC protocol, for VSeeFace, VMagicMirror, Warudo and others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmcOut {
    /// Where to: port 39539 of a renderer, 39540 of a performer that takes assistants.
    pub to: SocketAddr,
    /// Name of the subject that goes out; without one, the subject that appeared first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The names of the blendshapes; by default both those of Perfect Sync and the presets, so that any model moves.
    #[serde(default)]
    pub names: BlendshapeNames,
}

impl VmcOut {
    /// The subject that appears first, by both kinds of names.
    pub fn new(to: SocketAddr) -> Self {
        Self { to, subject: None, names: BlendshapeNames::default() }
    }

    /// One subject alone.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// By these names.
    #[must_use]
    pub fn names(mut self, names: BlendshapeNames) -> Self {
        self.names = names;
        self
    }
}

/// The presets of VRM 0 that come closest to a face, and their weights, `0..=1`.
///
/// The lids' common part is `Blink`, the rest of either lid `Blink_L` or `Blink_R`: together they are the lids. Likewise an
/// open mouth is shared between `A`, `E` and `O` by how wide and how round it is, and what is wide or round without being
/// open is `I` or `U`. A resting face is not quite neutral, so that `Joy`, `Sorrow` and `Angry` begin at a quarter of
/// their shapes.
pub fn presets(frame: &FaceFrame) -> [(&'static str, f32); 11] {
    let one = |shape: Blendshape| frame.get(shape).unwrap_or(0.0).clamp(0.0, 1.0);
    let both = |left, right| 0.5 * (one(left) + one(right));
    let (left, right) = (one(B::EyeBlinkLeft), one(B::EyeBlinkRight));
    let blink = left.min(right);
    // As far open as `A` opens it.
    let open = ((one(B::JawOpen) - one(B::MouthClose)) / 0.6).clamp(0.0, 1.0);
    let round = one(B::MouthPucker).max(one(B::MouthFunnel));
    let wide = both(B::MouthStretchLeft, B::MouthStretchRight).max(both(B::MouthDimpleLeft, B::MouthDimpleRight));
    let wide = wide.min(1.0 - round);
    let (o, e) = (open.min(round), open.min(wide));
    let e = e.min(open - o);
    let mood = |weight: f32| ((weight - 0.25) / 0.75).clamp(0.0, 1.0);
    [
        ("A", open - o - e),
        ("I", wide - e),
        ("U", round - o),
        ("E", e),
        ("O", o),
        ("Blink", blink),
        ("Blink_L", left - blink),
        ("Blink_R", right - blink),
        ("Joy", mood(both(B::MouthSmileLeft, B::MouthSmileRight))),
        ("Angry", mood(both(B::BrowDownLeft, B::BrowDownRight))),
        ("Sorrow", mood(both(B::MouthFrownLeft, B::MouthFrownRight))),
    ]
}

/// Hands on the datagrams of a frame, as a performer sends it: `OK`, `T`, the bones `Neck`, `Head`, `LeftEye` and
/// `RightEye`, the blendshapes by these names, further channels under their own, and `Blend/Apply`. `time` is in seconds.
pub fn encode(frame: &FaceFrame, time: f32, profile: &SourceProfile, names: BlendshapeNames, next: impl FnMut(&[u8])) {
    let int = OscType::Int;
    let mut packets = Vec::with_capacity(64 + frame.channels.len());
    packets.push(message("/VMC/Ext/OK", vec![int(1), int(3), int(0), int(i32::from(frame.tracked))]));
    packets.push(message("/VMC/Ext/T", vec![OscType::Float(time)]));
    let mut mirrored = frame.clone();
    if profile.mirror {
        super::profile::mirror(&mut mirrored);
    }
    let mut bone = |name: &str, [x, y, z, w]: [f32; 4]| {
        let mut args = vec![OscType::String(name.to_owned())];
        args.extend([0.0, 0.0, 0.0, x, y, z, w].map(OscType::Float));
        packets.push(message("/VMC/Ext/Bone/Pos", args));
    };
    if let Some(head) = mirrored.head {
        bone("Neck", IDENTITY);
        bone("Head", profile.head.quaternion(head.rotation));
    }
    if let Some(gaze) = mirrored.gaze {
        for (name, eye) in [("LeftEye", gaze.left), ("RightEye", gaze.right)] {
            let turn = super::profile::from_angles([-eye.pitch, eye.yaw, 0.0], super::profile::EulerOrder::Yxz);
            bone(name, profile.eyes.quaternion(turn));
        }
    }
    if frame.tracked {
        let mut weight = |name: String, weight: f32| {
            packets.push(message("/VMC/Ext/Blend/Val", vec![OscType::String(name), OscType::Float(weight)]));
        };
        if names != BlendshapeNames::Presets {
            for shape in Blendshape::ALL {
                let (first, rest) = shape.name().split_at(1);
                weight(first.to_ascii_uppercase() + rest, mirrored.get(shape).unwrap_or(0.0));
            }
        }
        for channel in &mirrored.channels {
            weight(channel.name.to_string(), channel.value);
        }
        if names != BlendshapeNames::PerfectSync {
            for (name, value) in presets(&mirrored) {
                // The performer's own, where there is one, as from another VMC sender.
                if !mirrored.channels.iter().any(|channel| channel.name.eq_ignore_ascii_case(name)) {
                    weight(name.to_owned(), value);
                }
            }
        }
    }
    packets.push(message("/VMC/Ext/Blend/Apply", Vec::new()));
    write_bundles(packets, MAX_DATAGRAM_LEN, next);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{EyeGaze, Gaze, HeadPose},
        wire::{osc, profile::rotation_from_euler},
    };

    fn hex(text: &str) -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn take(decoder: &mut Decoder, datagram: &[u8]) -> Vec<SourceFace> {
        let (mut faces, now) = (Vec::new(), Instant::now());
        let reading = osc::read(datagram, |message| faces.extend(decoder.take(message, now).unwrap()));
        assert_eq!(reading.error, None);
        faces
    }

    fn val(name: &str, weight: f32) -> OscMessage {
        let args = vec![OscType::String(name.to_owned()), OscType::Float(weight)];
        OscMessage { addr: "/VMC/Ext/Blend/Val".to_owned(), args }
    }

    fn plain(address: &str, args: Vec<OscType>) -> OscMessage {
        OscMessage { addr: address.to_owned(), args }
    }

    #[test]
    fn vmc_messages_of_other_implementations_are_read() {
        let mut decoder = Decoder::new();
        let ok = "2f564d432f4578742f4f4b002c69000000000001";
        let jaw = "2f564d432f4578742f426c656e642f56616c00002c7366004a61774f70656e003f000000";
        let apply = "2f564d432f4578742f426c656e642f4170706c79000000002c000000";
        assert!(take(&mut decoder, &hex(ok)).is_empty() && take(&mut decoder, &hex(jaw)).is_empty());
        let mut faces = take(&mut decoder, &hex(apply));
        assert_eq!(faces.len(), 1);
        let frame = PROFILE.apply(faces.remove(0));
        assert!(frame.tracked && frame.head.is_none());
        assert_eq!(frame.get(Blendshape::JawOpen), Some(0.5));
        assert!(take(&mut decoder, &hex(apply)).is_empty(), "there is nothing to commit");
    }

    /// A sender in virtual time.
    struct Sender {
        decoder: Decoder,
        start: Instant,
        ms: u64,
        /// Faces, and when they were given.
        faces: Vec<(u64, FaceFrame)>,
    }

    impl Sender {
        fn new() -> Self {
            Self { decoder: Decoder::new(), start: Instant::now(), ms: 0, faces: Vec::new() }
        }

        /// Goes on to this time, and gives what is due before.
        fn until(&mut self, ms: u64) {
            while let Some(due) = self.decoder.deadline().filter(|due| *due <= self.start + Duration::from_millis(ms)) {
                let at = due.saturating_duration_since(self.start).as_millis() as u64;
                let face = self.decoder.on_timeout(due);
                self.faces.extend(face.map(|face| (at, PROFILE.apply(face))));
                assert!(self.decoder.deadline() != Some(due), "due again at once");
            }
            self.ms = ms;
        }

        fn send(&mut self, message: &OscMessage) -> &mut Self {
            let now = self.start + Duration::from_millis(self.ms);
            let face = self.decoder.take(message, now).unwrap();
            self.faces.extend(face.map(|face| (self.ms, PROFILE.apply(face))));
            self
        }

        fn val(&mut self, name: &str, weight: f32) -> &mut Self {
            self.send(&val(name, weight))
        }

        fn apply(&mut self) -> &mut Self {
            self.send(&plain("/VMC/Ext/Blend/Apply", Vec::new()))
        }

        fn head(&mut self, yaw: f32) -> &mut Self {
            let [x, y, z, w] = PROFILE.head.quaternion(rotation_from_euler(yaw, 0.0, 0.0));
            let args = [0.0, 0.0, 0.0, x, y, z, w].map(OscType::Float);
            self.send(&plain("/VMC/Ext/Bone/Pos", [vec![OscType::String("Head".to_owned())], args.to_vec()].concat()))
        }

        fn time(&mut self) -> &mut Self {
            self.send(&plain("/VMC/Ext/T", vec![OscType::Float(self.ms as f32 / 1000.0)]))
        }

        fn ok(&mut self) -> &mut Self {
            self.send(&plain("/VMC/Ext/OK", vec![OscType::Int(1)]))
        }

        fn last(&self) -> &FaceFrame {
            &self.faces.last().unwrap().1
        }

        fn shape(&self, shape: Blendshape) -> Option<f32> {
            self.last().get(shape)
        }

        /// Distinct rotations of the head that were given.
        fn turns(&self) -> usize {
            let mut turns: Vec<_> =
                self.faces.iter().filter_map(|(_, face)| face.head.map(|head| head.rotation)).collect();
            turns.dedup();
            turns.len()
        }
    }

    /// Each of `count` frames at `fps` frames a second.
    fn stream(sender: &mut Sender, count: u64, fps: u64, mut frame: impl FnMut(&mut Sender, u64)) {
        let start = sender.ms;
        for index in 0..count {
            sender.until(start + index * 1000 / fps);
            frame(sender, index);
        }
        sender.until(start + count * 1000 / fps);
    }

    #[test]
    fn vmc_sender_without_commit_is_shown_within_50_ms() {
        type Frame = fn(&mut Sender, u64);
        let frames: [(&str, Frame); 5] = [
            ("values and head", |sender, index| {
                sender.val("JawOpen", index as f32 / 100.0).head(index as f32 / 100.0);
            }),
            ("T first", |sender, index| {
                sender.time().val("JawOpen", index as f32 / 100.0).head(index as f32 / 100.0);
            }),
            ("bones and OK", |sender, index| {
                sender.head(index as f32 / 100.0).ok();
            }),
            ("T, OK and bones", |sender, index| {
                sender.time().ok().head(index as f32 / 100.0);
            }),
            ("bones alone", |sender, index| {
                sender.head(index as f32 / 100.0);
            }),
        ];
        for (what, frame) in frames {
            for fps in [10, 30, 60, 90] {
                let mut sender = Sender::new();
                stream(&mut sender, 60, fps, frame);
                assert_eq!((sender.turns(), sender.faces.len()), (60, 60), "{what} at {fps}");
                let period = 1000 / fps;
                let late = sender.faces.iter().zip(0..).map(|((at, _), index)| at - index * 1000 / fps).max().unwrap();
                assert!(late <= 50.min(period + 1), "{what} at {fps}: {late} ms");
            }
        }
        // Messages one by one, without a pause between frames.
        let mut sender = Sender::new();
        stream(&mut sender, 300, 300, |sender, index| {
            let name = ["JawOpen", "TongueOut", "CheekPuff"][index as usize % 3];
            sender.val(name, index as f32 / 300.0);
        });
        let gaps = sender.faces.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
        assert!(gaps <= 54 && sender.faces.len() >= 18, "{gaps} ms, {} faces", sender.faces.len());
    }

    #[test]
    fn vmc_bones_and_blendshapes_keep_their_rates() {
        for commits in [true, false] {
            let mut sender = Sender::new();
            stream(&mut sender, 120, 60, |sender, index| {
                sender.head(index as f32 / 200.0);
                if index % 10 == 0 {
                    sender.val("JawOpen", 0.25 + index as f32 / 200.0).val("MouthSmileLeft", 0.5);
                    if commits {
                        sender.apply();
                    }
                }
            });
            assert_eq!(sender.turns(), 120, "{commits}");
            assert!(sender.faces.len() <= 132, "{}", sender.faces.len());
            let weights: Vec<_> = sender.faces.iter().filter_map(|(_, face)| face.get(Blendshape::JawOpen)).collect();
            assert!(weights.len() >= 119, "a face of bones holds the blendshapes too");
            let mut changes = weights;
            changes.dedup();
            assert_eq!(changes.len(), 12, "{commits}: the weights' own rate");
            assert_eq!(sender.shape(Blendshape::MouthSmileLeft), Some(0.5));
        }
    }

    #[test]
    fn vmc_bones_around_the_commit_are_one_face_a_frame() {
        for bones_first in [true, false] {
            let mut sender = Sender::new();
            stream(&mut sender, 60, 60, |sender, index| {
                sender.ok().time();
                if bones_first {
                    sender.head(index as f32 / 100.0);
                }
                sender.val("JawOpen", index as f32 / 100.0).apply();
                if !bones_first {
                    sender.head(index as f32 / 100.0);
                }
            });
            assert!(sender.faces.len() <= 61, "{bones_first}: {}", sender.faces.len());
            assert_eq!(sender.turns(), 60);
            let last = sender.last().clone();
            assert_eq!(last.get(Blendshape::JawOpen), Some(0.59));
        }
        // Where the bones stop, commits are shown at once again.
        let mut sender = Sender::new();
        stream(&mut sender, 30, 60, |sender, index| {
            sender.val("JawOpen", index as f32 / 100.0).apply();
            if index < 10 {
                sender.head(0.1);
            }
        });
        let late = sender.faces.iter().rev().take(10).map(|(at, _)| at % 50).collect::<Vec<_>>();
        assert!(late.iter().all(|at| [0, 16, 33].contains(at)), "{late:?}");
    }

    #[test]
    fn vmc_values_last_until_they_change() {
        let mut sender = Sender::new();
        sender.val("Joy", 1.0).val("TongueOut", 0.25).apply();
        stream(&mut sender, 120, 60, |sender, _| {
            sender.val("A", 0.3).apply();
        });
        assert_eq!(sender.shape(Blendshape::MouthSmileLeft), Some(0.9));
        assert_eq!(sender.shape(Blendshape::TongueOut), Some(0.25));
        assert_eq!(sender.shape(Blendshape::JawOpen), Some(0.6 * 0.3));
        // With bones alone, and with nothing but signs of life.
        stream(&mut sender, 120, 60, |sender, index| {
            sender.head(index as f32 / 200.0);
        });
        assert_eq!(sender.shape(Blendshape::MouthSmileRight), Some(0.9));
        let before = sender.faces.len();
        stream(&mut sender, 10, 1, |sender, _| {
            sender.ok();
        });
        let gaps = sender.faces[before + 1..].windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
        assert!(gaps <= 100, "a face that stands still is given again: {gaps} ms");
        assert_eq!(sender.shape(Blendshape::MouthSmileRight), Some(0.9));
        let end = sender.ms;
        sender.until(end + 60_000);
        assert!(sender.faces.last().unwrap().0 <= end + 3000, "a sender that is silent for good is gone");
        sender.val("Joy", 0.0).apply();
        assert_eq!(sender.shape(Blendshape::MouthSmileLeft), Some(0.0));

        // A sender that streams, and stops.
        let mut sender = Sender::new();
        stream(&mut sender, 120, 60, |sender, _| {
            sender.val("A", 0.3).apply();
        });
        let end = sender.ms;
        sender.until(end + 60_000);
        assert!(sender.faces.last().unwrap().0 <= end);
    }

    #[test]
    fn vmc_values_end_with_their_model() {
        let model =
            |title: &str| plain("/VMC/Ext/VRM", ["a.vrm", title].map(|text| OscType::String(text.to_owned())).to_vec());
        for change in
            [vec![model("Ann"), model("Bob")], vec![plain("/VMC/Ext/OK", vec![OscType::Int(0)]), model("Ann")]]
        {
            let mut sender = Sender::new();
            sender.send(&model("Ann")).val("Joy", 1.0).val("JawOpen", 0.5).apply();
            sender.until(2000);
            sender.send(&model("Ann")).val("TongueOut", 0.5).apply();
            assert_eq!(sender.shape(Blendshape::JawOpen), Some(0.5), "the same model, said again");
            for message in &change {
                sender.send(message);
            }
            sender.ok().val("TongueOut", 0.25).apply();
            let face = sender.last();
            assert_eq!((face.present.count_ones(), face.get(Blendshape::TongueOut)), (1, Some(0.25)), "{face:?}");
        }
    }

    #[test]
    fn vmc_presets_move_closest_shapes_without_perfect_sync() {
        let mut sender = Sender::new();
        sender.val("Blink_L", 0.5).val("A", 1.0).val("Joy", 1.0).val("Custom", 0.3).apply();
        let face = sender.last();
        assert_eq!(face.get(Blendshape::EyeBlinkLeft), Some(0.5));
        assert_eq!(face.get(Blendshape::EyeBlinkRight), None);
        assert!(face.get(Blendshape::JawOpen).unwrap() > 0.4 && face.get(Blendshape::MouthSmileRight).unwrap() > 0.5);
        let names: Vec<&str> = face.channels.iter().map(|channel| &*channel.name).collect();
        assert_eq!(names, ["Blink_L", "A", "Joy", "Custom"]);

        for shape in Blendshape::ALL {
            sender.val(shape.name(), 0.125);
        }
        sender.val("Blink", 1.0).apply();
        let face = sender.last();
        assert!(Blendshape::ALL.into_iter().all(|shape| face.get(shape) == Some(0.125)));
    }

    #[test]
    fn vmc_preset_takes_its_last_value() {
        let jaw = |values: &[(&str, f32)]| {
            let mut sender = Sender::new();
            for (name, weight) in values {
                sender.val(name, *weight);
            }
            sender.apply();
            sender.shape(Blendshape::JawOpen).unwrap()
        };
        assert_eq!(jaw(&[("A", 0.4), ("A", 0.4)]), 0.6 * 0.4);
        assert_eq!(jaw(&[("A", 0.1), ("Aa", 0.9), ("A", 0.4)]), 0.6 * 0.4, "both names are one preset");
        // Commits that were lost.
        let mut sender = Sender::new();
        stream(&mut sender, 60, 60, |sender, index| {
            sender.val("A", 0.5 + index as f32 / 1000.0);
            if index % 5 == 0 {
                sender.apply();
            }
        });
        assert!((sender.shape(Blendshape::JawOpen).unwrap() - 0.6 * 0.555).abs() < 0.01);
        let highest = sender.faces.iter().filter_map(|(_, face)| face.get(Blendshape::JawOpen)).fold(0.0, f32::max);
        assert!(highest < 0.6 * 0.56, "{highest}");
        // What is said of one lid and of both is added up to a lid that is shut.
        let mut sender = Sender::new();
        sender.val("Blink", 0.75).val("Blink_L", 0.75).apply();
        assert_eq!(sender.shape(Blendshape::EyeBlinkLeft), Some(1.0));
        assert_eq!(sender.shape(Blendshape::EyeBlinkRight), Some(0.75));
    }

    #[test]
    fn vmc_presets_return_when_perfect_sync_ends() {
        let mut sender = Sender::new();
        stream(&mut sender, 60, 60, |sender, _| {
            for shape in Blendshape::ALL {
                sender.val(shape.name(), 0.0625);
            }
            sender.val("A", 1.0).apply();
        });
        assert_eq!(sender.shape(Blendshape::JawOpen), Some(0.0625));
        stream(&mut sender, 30, 60, |sender, _| {
            sender.val("A", 1.0).val("Blink", 0.5).apply();
        });
        assert_eq!(sender.shape(Blendshape::JawOpen), Some(0.6));
        assert_eq!(sender.shape(Blendshape::EyeBlinkRight), Some(0.5));
    }

    #[test]
    fn vmc_channels_of_another_model_take_unused_places() {
        let mut sender = Sender::new();
        let names = |prefix: &str| (0..MAX_CHANNELS + 9).map(|index| format!("{prefix}{index}")).collect::<Vec<_>>();
        for (start, prefix) in [(0, "old"), (60_000, "new")] {
            sender.until(start);
            for name in names(prefix) {
                sender.val(&name, 0.5);
            }
            sender.apply();
            let channels = &sender.last().channels;
            assert_eq!(channels.len(), MAX_CHANNELS);
            assert!(channels.iter().all(|channel| channel.name.starts_with(prefix)), "{channels:?}");
        }
        // Names without end.
        for index in 0..2000 {
            sender.val(&format!("n{index}"), 0.5);
        }
        sender.val("JawOpen", 0.5).apply();
        assert_eq!(sender.shape(Blendshape::JawOpen), Some(0.5));
    }

    #[test]
    fn vmc_lost_face_is_reported_and_returns() {
        let ok = |tracked| plain("/VMC/Ext/OK", [1, 3, 0, tracked].map(OscType::Int).to_vec());
        let mut sender = Sender::new();
        sender.val("Joy", 1.0).apply().send(&ok(1));
        assert_eq!(sender.faces.len(), 1);
        sender.send(&ok(0));
        assert!(!sender.last().tracked && sender.last().is_empty());
        sender.apply();
        assert!(!sender.last().tracked);
        sender.send(&ok(1)).until(10);
        assert!(sender.last().tracked);
        assert_eq!(sender.shape(Blendshape::MouthSmileLeft), Some(0.9), "as it was");
        sender.val("JawOpen", 0.5).apply();
        assert_eq!(sender.shape(Blendshape::JawOpen), Some(0.5));

        // Of a sender that does not commit, too.
        let mut sender = Sender::new();
        sender.val("JawOpen", 0.5).send(&ok(0));
        assert!(!sender.last().tracked);
    }

    #[test]
    fn vmc_look_at_point_is_a_gaze() {
        // A metre ahead, to the right of the head and above it.
        let args = [0.5, 0.3, 1.0].map(OscType::Float);
        let look = plain("/VMC/Ext/Set/Eye", [vec![OscType::Int(1)], args.to_vec()].concat());
        let mut sender = Sender::new();
        sender.send(&look).until(100);
        let gaze = sender.last().gaze.unwrap();
        assert!((gaze.left.yaw + 0.5_f32.atan2(1.0)).abs() < 1e-4, "{gaze:?}");
        assert!((gaze.right.pitch - 0.3_f32.atan2(1.0_f32.hypot(0.5))).abs() < 1e-4, "{gaze:?}");
    }

    #[test]
    fn vmc_error_names_message() {
        let mut decoder = Decoder::new();
        let now = Instant::now();
        let nan = plain(
            "/VMC/Ext/Bone/Pos",
            [vec![OscType::String("Head".to_owned())], [f32::NAN; 7].map(OscType::Float).to_vec()].concat(),
        );
        for (wrong, part) in [
            (plain("/VMC/Ext/Blend/Val", vec![OscType::Float(1.0)]), "Blend/Val"),
            (val("JawOpen", 1e9), "Blend/Val"),
            (val("", 0.5), "name"),
            (plain("/VMC/Ext/OK", Vec::new()), "OK"),
            (nan, "Bone/Pos"),
            (plain("/VMC/Ext/Set/Eye", vec![OscType::Int(1)]), "Set/Eye"),
        ] {
            let error = decoder.take(&wrong, now).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(decoder.take(&plain("/VMC/Ext/Cam", Vec::new()), now), Ok(None));
        assert_eq!(decoder.deadline(), None);
    }

    #[test]
    fn vmc_presets_of_a_face_are_those_that_come_closest() {
        let presets_of = |shapes: &[(Blendshape, f32)]| {
            let mut frame = FaceFrame::neutral();
            for (shape, weight) in shapes {
                frame.set(*shape, *weight);
            }
            presets(&frame).into_iter().filter(|(_, weight)| *weight > 0.001).collect::<Vec<_>>()
        };
        assert_eq!(presets_of(&[]), []);
        assert_eq!(presets_of(&[(B::JawOpen, 0.6)]), [("A", 1.0)]);
        assert_eq!(presets_of(&[(B::JawOpen, 0.6), (B::MouthClose, 0.6)]), []);
        assert_eq!(presets_of(&[(B::MouthPucker, 0.75)]), [("U", 0.75)]);
        assert_eq!(presets_of(&[(B::JawOpen, 0.3), (B::MouthFunnel, 1.0)]), [("U", 0.5), ("O", 0.5)]);
        assert_eq!(presets_of(&[(B::MouthStretchLeft, 0.5), (B::MouthStretchRight, 0.5)]), [("I", 0.5)]);
        assert_eq!(
            presets_of(&[(B::EyeBlinkLeft, 1.0), (B::EyeBlinkRight, 0.25)]),
            [("Blink", 0.25), ("Blink_L", 0.75)]
        );
        assert_eq!(presets_of(&[(B::MouthSmileLeft, 1.0), (B::MouthSmileRight, 1.0)]), [("Joy", 1.0)]);
        // Whatever the face, weights are weights.
        for shape in Blendshape::ALL {
            for other in Blendshape::ALL {
                let weights = presets_of(&[(shape, 2.0), (other, -1.0), (B::JawOpen, 0.9)]);
                assert!(weights.iter().all(|(_, weight)| (0.0..=1.0).contains(weight)), "{weights:?}");
            }
        }
    }

    #[test]
    fn vmc_frame_is_written_by_the_names_that_are_asked_for() {
        let mut frame = FaceFrame::neutral();
        frame.set(B::JawOpen, 0.6);
        frame.channels.push(Channel { name: "joy".into(), value: 0.5 });
        let names = |names| {
            let mut found = Vec::new();
            encode(&frame, 0.0, &PROFILE, names, |datagram| {
                let reading = osc::read(datagram, |message| {
                    if message.addr.ends_with("Val") {
                        found.push(text(message.args.first()).unwrap().to_owned());
                    }
                });
                assert_eq!(reading.error, None);
            });
            found
        };
        assert_eq!(names(BlendshapeNames::PerfectSync).len(), 53);
        let presets = names(BlendshapeNames::Presets);
        assert_eq!(presets, ["joy", "A", "I", "U", "E", "O", "Blink", "Blink_L", "Blink_R", "Angry", "Sorrow"]);
        assert_eq!(names(BlendshapeNames::Both).len(), 52 + presets.len());
    }

    #[test]
    fn vmc_round_trips() {
        let mut frame = FaceFrame::neutral();
        for (index, shape) in Blendshape::ALL.into_iter().enumerate() {
            frame.set(shape, index as f32 / 64.0);
        }
        frame.channels.push(Channel { name: "viseme_aa".into(), value: 0.5 });
        let rotation = rotation_from_euler(0.4, -0.2, 0.1);
        frame.head = Some(HeadPose { rotation, position: None });
        frame.gaze = Some(Gaze { left: EyeGaze { yaw: 0.1, pitch: 0.2 }, right: EyeGaze { yaw: -0.1, pitch: 0.2 } });
        let (mut decoder, mut faces, mut datagrams) = (Decoder::new(), Vec::new(), 0);
        encode(&frame, 1.5, &PROFILE, BlendshapeNames::PerfectSync, |datagram| {
            assert!(datagram.len() <= MAX_DATAGRAM_LEN);
            datagrams += 1;
            faces.extend(take(&mut decoder, datagram));
        });
        assert_eq!((faces.len(), datagrams), (1, 3));
        let back = PROFILE.apply(faces.remove(0));
        assert_eq!((back.weights, &back.channels), (frame.weights, &frame.channels));
        let dot: f32 = back.head.unwrap().rotation.iter().zip(&rotation).map(|(a, b)| a * b).sum();
        assert!(dot.abs() > 0.99999);
        let gaze = back.gaze.unwrap();
        assert!((gaze.left.yaw - 0.1).abs() < 1e-4 && (gaze.right.pitch - 0.2).abs() < 1e-4, "{gaze:?}");
    }
}
