//! Face trackers of VR headsets over OSC: VRCFaceTracking, Project Babble and Baballonia, EyeTrackVR, and what imitates them.
//!
//! Each value is a message of its own with one argument, and lasts until it changes. Several programs make up one face:
//! one tracks the mouth, another the eyes. Of these addresses the last part is the name, in any case:
//!
//! | Address | From | Range |
//! |---|---|---|
//! | `/avatar/parameters/v2/JawOpen`, also with a prefix (`/avatar/parameters/FT/v2/JawOpen`) | [Unified Expressions](https://docs.vrcft.io/docs/tutorial-avatars/tutorial-avatars-extras/parameters), VRCFaceTracking 5 | 0 to 1, or -1 to 1 for those that join two (`JawX`, `SmileFrownLeft`) |
//! | the same with `1`, `2`, `4`, `8` ... and `Negative` behind the name | its binary parameters: one bit each, as a boolean | |
//! | `/avatar/parameters/LeftEyeX`, `LeftEyeLidExpandedSqueeze`, `EyesY` ... | its older eye parameters; EyeTrackVR | gaze -1 to 1, lids see below |
//! | `/tracking/eye/EyesClosedAmount`, `LeftRightPitchYaw`, `LeftRightVec`, `CenterPitchYaw`, `CenterVec` | VRChat's own eye tracking | 0 to 1, degrees (down and right are positive), directions (x right, y up, z ahead) |
//! | `/jawOpen`, `/cheekPuffLeft`, `/mouthSmileLeft` ... | Project Babble | 0 to 1 |
//! | `/LeftEyeX`, `/LeftEyeLid` ... | Baballonia | as the eye parameters |
//! | any address that ends in the name of an ARKit shape, such as `/face/eyeBlink_L` | programs that take the place of a phone | 0 to 1 |
//!
//! Lids: `EyeLidLeft` is 0 closed, 0.75 open, 1 wide. `LeftEyeLidExpanded` and `...Squeeze` are 0 closed, 0.8 open, 1 wide, and
//! below 0 squeezed. `LeftEyeLid` and `EyeOpenLeft` are 0 closed, 1 open. Gaze: positive is right and up; 1 is
//! [`EYE_LOOK_RANGE`].
//!
//! Where a shape has several parameters, those of the finest kind count: `MouthCornerPullLeft` before `SmileFrown`.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use rosc::{OscMessage, OscType};
use smallvec::SmallVec;

use super::{
    osc::{number, numbers},
    profile::{SourceFace, SourceProfile},
};
use crate::{
    frame::{Channel, EYE_LOOK_RANGE, FaceFrame, clamp_weight},
    names::{BLENDSHAPE_COUNT, Blendshape},
    time::Instant,
};

/// Port that Project Babble sends to by default; VRChat's own is 9000.
pub const BABBLE_PORT: u16 = 8888;
/// Largest number that a value may be.
const LIMIT: f32 = 10_000.0;
/// Programs that make up one face at most.
const MAX_PROGRAMS: usize = 8;
/// The messages of a frame follow each other; a pause of this length ends it,
const PAUSE: Duration = Duration::from_millis(4);
/// and so does the time since its first.
const LONGEST: Duration = Duration::from_millis(15);
/// A face whose programs are heard and change nothing is given again after this long.
const STILL_EVERY: Duration = Duration::from_millis(100);
/// A program that was silent for this long has ended, and its values with it.
const SILENT: Duration = Duration::from_secs(2);

/// The conventions of these programs.
pub const PROFILE: SourceProfile = SourceProfile::PLAIN;

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrackerError {
    /// No argument, or one of another type, or a number that cannot be.
    #[error("{address}: expected {expected}")]
    Arguments {
        /// The message.
        address: String,
        /// The expected arguments.
        expected: &'static str,
    },
}

use Blendshape as B;

/// One eye or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
    Both,
}

impl Side {
    /// Places of the sides, left first.
    fn places(self) -> std::ops::Range<usize> {
        match self {
            Self::Left => 0..1,
            Self::Right => 1..2,
            Self::Both => 0..2,
        }
    }
}

/// What a parameter's value is.
#[derive(Clone, Copy, Debug)]
enum Meaning {
    /// Shapes, each with its share among the parameters of the same rank.
    Shapes(&'static [(Blendshape, f32)]),
    /// One movement above 0, another below.
    Signed(&'static [Blendshape], &'static [Blendshape]),
    /// A lid that is open at this value and wide at 1; squeezed below 0.
    Lid(Side, f32),
    /// 1 is closed, not open.
    Closed(Side),
    /// To the right, upwards.
    GazeX(Side),
    GazeY(Side),
    /// A channel under this name.
    Own,
}

/// How fine a parameter is: the finest that is sent counts.
type Rank = usize;
const RANKS: usize = 3;

/// One row: name in lower case, rank, meaning.
type Row = (&'static str, Rank, Meaning);

use Meaning::{Closed, GazeX, GazeY, Lid, Own, Shapes, Signed};
use Side::{Both, Left, Right};

/// The parameters that are not an ARKit shape under its own name.
const ROWS: &[Row] = &[
    // Eyes.
    ("eyelidleft", 1, Lid(Left, 0.75)),
    ("eyelidright", 1, Lid(Right, 0.75)),
    ("eyelid", 2, Lid(Both, 0.75)),
    ("eyelids", 2, Lid(Both, 0.75)),
    ("lefteyelidexpanded", 1, Lid(Left, 0.8)),
    ("righteyelidexpanded", 1, Lid(Right, 0.8)),
    ("eyelidexpanded", 2, Lid(Both, 0.8)),
    ("combinedeyelidexpanded", 2, Lid(Both, 0.8)),
    ("lefteyelidexpandedsqueeze", 1, Lid(Left, 0.8)),
    ("righteyelidexpandedsqueeze", 1, Lid(Right, 0.8)),
    ("eyelidexpandedsqueeze", 2, Lid(Both, 0.8)),
    ("combinedeyelidexpandedsqueeze", 2, Lid(Both, 0.8)),
    ("lefteyelid", 1, Lid(Left, 1.0)),
    ("righteyelid", 1, Lid(Right, 1.0)),
    ("combinedeyelid", 2, Lid(Both, 1.0)),
    ("eyeopenleft", 1, Lid(Left, 1.0)),
    ("eyeopenright", 1, Lid(Right, 1.0)),
    ("eyeopen", 2, Lid(Both, 1.0)),
    ("eyesopen", 2, Lid(Both, 1.0)),
    ("eyeclosedleft", 0, Closed(Left)),
    ("eyeclosedright", 0, Closed(Right)),
    ("eyeclosed", 2, Closed(Both)),
    ("eyesclosedamount", 2, Closed(Both)),
    ("eyeleftx", 0, GazeX(Left)),
    ("eyelefty", 0, GazeY(Left)),
    ("eyerightx", 0, GazeX(Right)),
    ("eyerighty", 0, GazeY(Right)),
    ("lefteyex", 0, GazeX(Left)),
    ("lefteyey", 0, GazeY(Left)),
    ("righteyex", 0, GazeX(Right)),
    ("righteyey", 0, GazeY(Right)),
    ("eyex", 1, GazeX(Both)),
    ("eyey", 1, GazeY(Both)),
    ("eyesx", 1, GazeX(Both)),
    ("eyesy", 1, GazeY(Both)),
    ("lefteyewiden", 0, Shapes(&[(B::EyeWideLeft, 1.0)])),
    ("righteyewiden", 0, Shapes(&[(B::EyeWideRight, 1.0)])),
    ("eyewiden", 2, Shapes(&[(B::EyeWideLeft, 1.0), (B::EyeWideRight, 1.0)])),
    ("eyeswiden", 2, Shapes(&[(B::EyeWideLeft, 1.0), (B::EyeWideRight, 1.0)])),
    ("eyewide", 2, Shapes(&[(B::EyeWideLeft, 1.0), (B::EyeWideRight, 1.0)])),
    ("lefteyesqueeze", 0, Shapes(&[(B::EyeSquintLeft, 1.0)])),
    ("righteyesqueeze", 0, Shapes(&[(B::EyeSquintRight, 1.0)])),
    ("eyessqueeze", 2, Shapes(&[(B::EyeSquintLeft, 1.0), (B::EyeSquintRight, 1.0)])),
    ("eyesquint", 2, Shapes(&[(B::EyeSquintLeft, 1.0), (B::EyeSquintRight, 1.0)])),
    ("eyessquint", 2, Shapes(&[(B::EyeSquintLeft, 1.0), (B::EyeSquintRight, 1.0)])),
    // Brows.
    ("browlowererleft", 0, Shapes(&[(B::BrowDownLeft, 0.75)])),
    ("browlowererright", 0, Shapes(&[(B::BrowDownRight, 0.75)])),
    ("browpinchleft", 0, Shapes(&[(B::BrowDownLeft, 0.25)])),
    ("browpinchright", 0, Shapes(&[(B::BrowDownRight, 0.25)])),
    ("browinnerupleft", 0, Shapes(&[(B::BrowInnerUp, 1.0)])),
    ("browinnerupright", 0, Shapes(&[(B::BrowInnerUp, 1.0)])),
    ("browdown", 1, Shapes(&[(B::BrowDownLeft, 1.0), (B::BrowDownRight, 1.0)])),
    ("browsdown", 1, Shapes(&[(B::BrowDownLeft, 1.0), (B::BrowDownRight, 1.0)])),
    ("browsinnerup", 1, Shapes(&[(B::BrowInnerUp, 1.0)])),
    ("browouterup", 1, Shapes(&[(B::BrowOuterUpLeft, 1.0), (B::BrowOuterUpRight, 1.0)])),
    ("browsouterup", 1, Shapes(&[(B::BrowOuterUpLeft, 1.0), (B::BrowOuterUpRight, 1.0)])),
    ("browupleft", 1, Shapes(&[(B::BrowInnerUp, 1.0), (B::BrowOuterUpLeft, 1.0)])),
    ("browupright", 1, Shapes(&[(B::BrowInnerUp, 1.0), (B::BrowOuterUpRight, 1.0)])),
    ("browup", 2, Shapes(&[(B::BrowInnerUp, 1.0), (B::BrowOuterUpLeft, 1.0), (B::BrowOuterUpRight, 1.0)])),
    ("browexpressionleft", 1, Signed(&[B::BrowInnerUp, B::BrowOuterUpLeft], &[B::BrowDownLeft])),
    ("browexpressionright", 1, Signed(&[B::BrowInnerUp, B::BrowOuterUpRight], &[B::BrowDownRight])),
    (
        "browexpression",
        2,
        Signed(&[B::BrowInnerUp, B::BrowOuterUpLeft, B::BrowOuterUpRight], &[B::BrowDownLeft, B::BrowDownRight]),
    ),
    // Cheeks and nose.
    ("cheekpuffleft", 0, Shapes(&[(B::CheekPuff, 1.0)])),
    ("cheekpuffright", 0, Shapes(&[(B::CheekPuff, 1.0)])),
    ("cheekpuffsuckleft", 1, Signed(&[B::CheekPuff], &[])),
    ("cheekpuffsuckright", 1, Signed(&[B::CheekPuff], &[])),
    ("cheekleftpuffsuck", 1, Signed(&[B::CheekPuff], &[])),
    ("cheekrightpuffsuck", 1, Signed(&[B::CheekPuff], &[])),
    ("cheekpuffsuck", 2, Signed(&[B::CheekPuff], &[])),
    ("cheeksquint", 1, Shapes(&[(B::CheekSquintLeft, 1.0), (B::CheekSquintRight, 1.0)])),
    ("cheekssquint", 1, Shapes(&[(B::CheekSquintLeft, 1.0), (B::CheekSquintRight, 1.0)])),
    ("nosesneer", 1, Shapes(&[(B::NoseSneerLeft, 1.0), (B::NoseSneerRight, 1.0)])),
    // Jaw.
    ("jawx", 1, Signed(&[B::JawRight], &[B::JawLeft])),
    ("jawz", 1, Signed(&[B::JawForward], &[])),
    // Mouth.
    ("mouthclosed", 0, Shapes(&[(B::MouthClose, 1.0)])),
    ("mouthapeshape", 1, Shapes(&[(B::MouthClose, 1.0)])),
    ("mouthupperleft", 0, Shapes(&[(B::MouthLeft, 1.0)])),
    ("mouthlowerleft", 0, Shapes(&[(B::MouthLeft, 1.0)])),
    ("mouthupperright", 0, Shapes(&[(B::MouthRight, 1.0)])),
    ("mouthlowerright", 0, Shapes(&[(B::MouthRight, 1.0)])),
    ("mouthupperx", 1, Signed(&[B::MouthRight], &[B::MouthLeft])),
    ("mouthlowerx", 1, Signed(&[B::MouthRight], &[B::MouthLeft])),
    ("mouthx", 2, Signed(&[B::MouthRight], &[B::MouthLeft])),
    ("mouthcornerpullleft", 0, Shapes(&[(B::MouthSmileLeft, 0.8)])),
    ("mouthcornerpullright", 0, Shapes(&[(B::MouthSmileRight, 0.8)])),
    ("mouthcornerslantleft", 0, Shapes(&[(B::MouthSmileLeft, 0.2)])),
    ("mouthcornerslantright", 0, Shapes(&[(B::MouthSmileRight, 0.2)])),
    ("mouthsmile", 1, Shapes(&[(B::MouthSmileLeft, 1.0), (B::MouthSmileRight, 1.0)])),
    ("mouthsadleft", 1, Shapes(&[(B::MouthFrownLeft, 1.0)])),
    ("mouthsadright", 1, Shapes(&[(B::MouthFrownRight, 1.0)])),
    ("mouthsad", 2, Shapes(&[(B::MouthFrownLeft, 1.0), (B::MouthFrownRight, 1.0)])),
    ("smilefrownleft", 1, Signed(&[B::MouthSmileLeft], &[B::MouthFrownLeft])),
    ("smilefrownright", 1, Signed(&[B::MouthSmileRight], &[B::MouthFrownRight])),
    ("smilesadleft", 1, Signed(&[B::MouthSmileLeft], &[B::MouthFrownLeft])),
    ("smilesadright", 1, Signed(&[B::MouthSmileRight], &[B::MouthFrownRight])),
    ("smilefrown", 2, Signed(&[B::MouthSmileLeft, B::MouthSmileRight], &[B::MouthFrownLeft, B::MouthFrownRight])),
    ("smilesad", 2, Signed(&[B::MouthSmileLeft, B::MouthSmileRight], &[B::MouthFrownLeft, B::MouthFrownRight])),
    ("lipfunnelupperleft", 0, Shapes(&[(B::MouthFunnel, 1.0)])),
    ("lipfunnelupperright", 0, Shapes(&[(B::MouthFunnel, 1.0)])),
    ("lipfunnellowerleft", 0, Shapes(&[(B::MouthFunnel, 1.0)])),
    ("lipfunnellowerright", 0, Shapes(&[(B::MouthFunnel, 1.0)])),
    ("lipfunnelupper", 1, Shapes(&[(B::MouthFunnel, 1.0)])),
    ("lipfunnellower", 1, Shapes(&[(B::MouthFunnel, 1.0)])),
    ("lipfunnel", 2, Shapes(&[(B::MouthFunnel, 1.0)])),
    ("lippuckerupperleft", 0, Shapes(&[(B::MouthPucker, 1.0)])),
    ("lippuckerupperright", 0, Shapes(&[(B::MouthPucker, 1.0)])),
    ("lippuckerlowerleft", 0, Shapes(&[(B::MouthPucker, 1.0)])),
    ("lippuckerlowerright", 0, Shapes(&[(B::MouthPucker, 1.0)])),
    ("lippuckerupper", 1, Shapes(&[(B::MouthPucker, 1.0)])),
    ("lippuckerlower", 1, Shapes(&[(B::MouthPucker, 1.0)])),
    ("lippuckerleft", 1, Shapes(&[(B::MouthPucker, 1.0)])),
    ("lippuckerright", 1, Shapes(&[(B::MouthPucker, 1.0)])),
    ("lippucker", 2, Shapes(&[(B::MouthPucker, 1.0)])),
    ("mouthpout", 2, Shapes(&[(B::MouthPucker, 1.0)])),
    ("lipsuckupperleft", 0, Shapes(&[(B::MouthRollUpper, 1.0)])),
    ("lipsuckupperright", 0, Shapes(&[(B::MouthRollUpper, 1.0)])),
    ("lipsucklowerleft", 0, Shapes(&[(B::MouthRollLower, 1.0)])),
    ("lipsucklowerright", 0, Shapes(&[(B::MouthRollLower, 1.0)])),
    ("lipsuckupper", 1, Shapes(&[(B::MouthRollUpper, 1.0)])),
    ("lipsucklower", 1, Shapes(&[(B::MouthRollLower, 1.0)])),
    ("lipsuck", 2, Shapes(&[(B::MouthRollUpper, 1.0), (B::MouthRollLower, 1.0)])),
    ("lipsuckfunnelupper", 1, Signed(&[B::MouthRollUpper], &[B::MouthFunnel])),
    ("lipsuckfunnellower", 1, Signed(&[B::MouthRollLower], &[B::MouthFunnel])),
    ("lipsuckfunnelupperleft", 0, Signed(&[B::MouthRollUpper], &[B::MouthFunnel])),
    ("lipsuckfunnelupperright", 0, Signed(&[B::MouthRollUpper], &[B::MouthFunnel])),
    ("lipsuckfunnellowerleft", 0, Signed(&[B::MouthRollLower], &[B::MouthFunnel])),
    ("lipsuckfunnellowerright", 0, Signed(&[B::MouthRollLower], &[B::MouthFunnel])),
    ("mouthraiserupper", 0, Shapes(&[(B::MouthShrugUpper, 1.0)])),
    ("mouthraiserlower", 0, Shapes(&[(B::MouthShrugLower, 1.0)])),
    ("mouthupperup", 1, Shapes(&[(B::MouthUpperUpLeft, 1.0), (B::MouthUpperUpRight, 1.0)])),
    ("mouthlowerdown", 1, Shapes(&[(B::MouthLowerDownLeft, 1.0), (B::MouthLowerDownRight, 1.0)])),
    (
        "mouthopen",
        2,
        Shapes(&[
            (B::MouthUpperUpLeft, 1.0),
            (B::MouthUpperUpRight, 1.0),
            (B::MouthLowerDownLeft, 1.0),
            (B::MouthLowerDownRight, 1.0),
        ]),
    ),
    ("mouthstretch", 1, Shapes(&[(B::MouthStretchLeft, 1.0), (B::MouthStretchRight, 1.0)])),
    ("mouthdimple", 1, Shapes(&[(B::MouthDimpleLeft, 1.0), (B::MouthDimpleRight, 1.0)])),
    ("mouthpress", 1, Shapes(&[(B::MouthPressLeft, 1.0), (B::MouthPressRight, 1.0)])),
    ("tonguelongstep1", 1, Shapes(&[(B::TongueOut, 1.0)])),
    ("tonguelongstep2", 1, Shapes(&[(B::TongueOut, 1.0)])),
    // What ARKit does not have.
    ("cheeksuckleft", 0, Own),
    ("cheeksuckright", 0, Own),
    ("jawbackward", 0, Own),
    ("jawclench", 0, Own),
    ("mouthtightenerleft", 0, Own),
    ("mouthtightenerright", 0, Own),
    ("tongueup", 0, Own),
    ("tonguedown", 0, Own),
    ("tongueleft", 0, Own),
    ("tongueright", 0, Own),
    ("tongueroll", 0, Own),
    ("tonguebenddown", 0, Own),
    ("tonguecurlup", 0, Own),
    ("tonguesquish", 0, Own),
    ("tongueflat", 0, Own),
    ("tonguetwistleft", 0, Own),
    ("tonguetwistright", 0, Own),
];

/// Values that are kept: those of the rows, then the 52 shapes under their own names.
const SLOTS: usize = ROWS.len() + BLENDSHAPE_COUNT;

/// Rows by their names.
static BY_NAME: LazyLock<HashMap<&'static str, usize>> =
    LazyLock::new(|| ROWS.iter().enumerate().map(|(place, (name, ..))| (*name, place)).collect());

/// The rows that are sent on as channels, under the names of the standard.
static OWN_NAMES: LazyLock<Vec<Arc<str>>> = LazyLock::new(|| {
    let written = [
        "CheekSuckLeft",
        "CheekSuckRight",
        "JawBackward",
        "JawClench",
        "MouthTightenerLeft",
        "MouthTightenerRight",
        "TongueUp",
        "TongueDown",
        "TongueLeft",
        "TongueRight",
        "TongueRoll",
        "TongueBendDown",
        "TongueCurlUp",
        "TongueSquish",
        "TongueFlat",
        "TongueTwistLeft",
        "TongueTwistRight",
    ];
    let own = |row: &Row| written.into_iter().find(|name| name.eq_ignore_ascii_case(row.0)).unwrap_or(row.0).into();
    ROWS.iter().map(own).collect()
});

/// The slot of a name in any case.
fn slot(name: &str) -> Option<usize> {
    let mut letters = [0_u8; 48];
    let lower = letters.get_mut(..name.len())?;
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    let lower = std::str::from_utf8(lower).ok()?;
    if let Some(place) = BY_NAME.get(lower) {
        return Some(*place);
    }
    // A dot would take a prefix off.
    let shape = Blendshape::from_any_name(name).filter(|_| !name.contains('.'))?;
    Some(ROWS.len() + shape.index())
}

/// A part of a binary parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bit {
    /// Which one, from the lowest.
    Place(u8),
    Negative,
}

/// The slot of a binary parameter: `JawOpen4`, `JawXNegative`.
fn binary(name: &str) -> Option<(usize, Bit)> {
    if let Some(stem) = name.strip_suffix("Negative") {
        return Some((slot(stem)?, Bit::Negative));
    }
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let place = match &name[stem.len()..] {
        "1" => 0,
        "2" => 1,
        "4" => 2,
        "8" => 3,
        "16" => 4,
        "32" => 5,
        "64" => 6,
        "128" => 7,
        _ => return None,
    };
    Some((slot(stem)?, Bit::Place(place)))
}

/// VRChat's own eye tracking.
const NATIVE: &str = "/tracking/eye/";
/// Parameters of an avatar.
const PARAMETERS: &str = "/avatar/parameters/";

fn name_of(address: &str) -> &str {
    address.rsplit_once('/').map_or(address, |(_, name)| name)
}

/// Whether a message is one of such a program.
pub fn is_one(address: &str) -> bool {
    address.starts_with(PARAMETERS) || address.starts_with(NATIVE) || slot(name_of(address)).is_some()
}

/// The value of one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Held {
    value: f32,
    /// Who sent it: place among the programs.
    program: u8,
    /// Bits that were seen, and those that are set, of one that is binary.
    bits: (u8, u8),
    negative: bool,
}

/// Puts the messages of the programs of one machine together. It has no clock: times are given to it.
#[derive(Debug)]
pub struct Decoder {
    held: Vec<Option<Held>>,
    programs: SmallVec<[(SocketAddr, Instant); 2]>,
    /// The first and the last message since a face was given.
    pending: Option<(Instant, Instant)>,
    given: Option<Instant>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { held: vec![None; SLOTS], programs: SmallVec::new(), pending: None, given: None }
    }
}

impl Decoder {
    /// A decoder that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a message of a program. `false`: one that says nothing about a face, such as a parameter of the avatar's clothes.
    ///
    /// # Errors
    /// When it has other arguments than it needs; it changes nothing then.
    pub fn take(&mut self, message: &OscMessage, program: SocketAddr, now: Instant) -> Result<bool, TrackerError> {
        let address = message.addr.as_str();
        let wrong = |expected| TrackerError::Arguments { address: address.to_owned(), expected };
        if let Some(name) = address.strip_prefix(NATIVE) {
            return self.take_native(name, &message.args, program, now).map_err(wrong);
        }
        let name = name_of(address);
        let arg = message.args.first();
        let Some(slot) = slot(name) else {
            let Some((slot, bit)) = binary(name) else { return Ok(false) };
            let on = number(arg).ok_or_else(|| wrong("a boolean"))? > 0.5;
            self.set_bit(slot, bit, on, program, now);
            return Ok(true);
        };
        if let Some(OscType::Bool(_)) = arg {
            // Whether it exceeds a threshold: less than its value.
            return Ok(false);
        }
        let value = number(arg).filter(|value| value.abs() <= LIMIT).ok_or_else(|| wrong("a number"))?;
        self.set(slot, value, program, now);
        Ok(true)
    }

    fn take_native(
        &mut self,
        name: &str,
        args: &[OscType],
        program: SocketAddr,
        now: Instant,
    ) -> Result<bool, &'static str> {
        let full = EYE_LOOK_RANGE;
        // Yaw and pitch to the right and up, of full shapes.
        let angles = |[pitch, yaw]: [f32; 2]| [yaw.to_radians() / full, -pitch.to_radians() / full];
        let vector = |[x, y, z]: [f32; 3]| [x.atan2(z) / full, y.atan2(x.hypot(z)) / full];
        let (left, right) = match name {
            "EyesClosedAmount" => {
                let value = number(args.first()).ok_or("a number")?;
                self.set_named("eyesclosedamount", value, program, now);
                return Ok(true);
            }
            "CenterPitchYaw" => {
                let both = angles(numbers(args, 0).ok_or("2 numbers")?);
                (both, both)
            }
            "LeftRightPitchYaw" => {
                let [a, b, c, d] = numbers(args, 0).ok_or("4 numbers")?;
                (angles([a, b]), angles([c, d]))
            }
            "CenterVec" | "CenterVecFull" => {
                let both = vector(numbers(args, 0).ok_or("3 numbers")?);
                (both, both)
            }
            "LeftRightVec" => {
                let [a, b, c, d, e, f] = numbers(args, 0).ok_or("6 numbers")?;
                (vector([a, b, c]), vector([d, e, f]))
            }
            _ => return Ok(false),
        };
        for (name, value) in
            [("eyeleftx", left[0]), ("eyelefty", left[1]), ("eyerightx", right[0]), ("eyerighty", right[1])]
        {
            self.set_named(name, value, program, now);
        }
        Ok(true)
    }

    fn set_named(&mut self, name: &str, value: f32, program: SocketAddr, now: Instant) {
        if let Some(slot) = BY_NAME.get(name) {
            self.set(*slot, value, program, now);
        }
    }

    fn set(&mut self, slot: usize, value: f32, program: SocketAddr, now: Instant) {
        let program = self.heard(program, now);
        let value = clamp_weight(value);
        if let Some(held) = self.held.get_mut(slot) {
            *held = Some(Held { value, program, bits: (0, 0), negative: false });
        }
    }

    fn set_bit(&mut self, slot: usize, bit: Bit, on: bool, program: SocketAddr, now: Instant) {
        let program = self.heard(program, now);
        let Some(held) = self.held.get_mut(slot) else { return };
        let held = held.get_or_insert(Held { value: 0.0, program, bits: (0, 0), negative: false });
        held.program = program;
        match bit {
            Bit::Negative => held.negative = on,
            Bit::Place(place) => {
                let mask = 1_u8 << place;
                held.bits.0 |= mask;
                if on {
                    held.bits.1 |= mask;
                } else {
                    held.bits.1 &= !mask;
                }
            }
        }
        let (seen, set) = held.bits;
        // As many bits as the highest that was seen.
        let full = (1_u16 << (8 - seen.max(1).leading_zeros())) - 1;
        let value = f32::from(set) / f32::from(full);
        held.value = if held.negative { -value } else { value };
    }

    /// A program is heard; gives its place.
    fn heard(&mut self, program: SocketAddr, now: Instant) -> u8 {
        let place = self.programs.iter().position(|(address, _)| *address == program).unwrap_or_else(|| {
            if self.programs.len() < MAX_PROGRAMS {
                self.programs.push((program, now));
                return self.programs.len() - 1;
            }
            let oldest = self.programs.iter().enumerate().min_by_key(|(_, (_, last))| *last);
            let place = oldest.map_or(0, |(place, _)| place);
            self.forget(place);
            place
        });
        if let Some(slot) = self.programs.get_mut(place) {
            *slot = (program, now);
        }
        self.pending = Some((self.pending.map_or(now, |(first, _)| first), now));
        place as u8
    }

    /// Drops the values of a program.
    fn forget(&mut self, place: usize) {
        for held in &mut self.held {
            if held.is_some_and(|held| usize::from(held.program) == place) {
                *held = None;
            }
        }
    }

    /// When the last program was heard.
    pub fn last_heard(&self) -> Option<Instant> {
        self.programs.iter().map(|(_, last)| *last).max()
    }

    /// When [`on_timeout`](Self::on_timeout) is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        if let Some((first, last)) = self.pending {
            return Some((last + PAUSE).min(first + LONGEST));
        }
        let last = self.last_heard()?;
        self.given.map(|given| given + STILL_EVERY).filter(|next| *next < last + SILENT)
    }

    /// The face, when a frame has ended or it stands still.
    pub fn on_timeout(&mut self, now: Instant) -> Option<SourceFace> {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return None;
        }
        (self.pending, self.given) = (None, Some(now));
        for place in 0..self.programs.len() {
            let is_silent =
                self.programs.get(place).is_some_and(|(_, last)| now.saturating_duration_since(*last) >= SILENT);
            if is_silent {
                self.forget(place);
            }
        }
        self.face()
    }

    fn face(&self) -> Option<SourceFace> {
        let mut sums = [[(0.0_f32, 0.0_f32); RANKS]; BLENDSHAPE_COUNT];
        let mut add = |shape: Blendshape, rank: Rank, value: f32, gain: f32| {
            let (sum, gains) = &mut sums[shape.index()][rank.min(RANKS - 1)];
            *sum += gain * value;
            *gains += gain;
        };
        let mut frame = FaceFrame { tracked: true, ..FaceFrame::default() };
        for (slot, held) in self.held.iter().enumerate() {
            let Some(Held { value, .. }) = *held else { continue };
            let Some((_, rank, meaning)) = ROWS.get(slot) else {
                if let Some(shape) = Blendshape::from_index(slot - ROWS.len()) {
                    add(shape, 0, value, 1.0);
                }
                continue;
            };
            let rank = *rank;
            match meaning {
                Shapes(shapes) => shapes.iter().for_each(|(shape, gain)| add(*shape, rank, value, *gain)),
                Signed(above, below) => {
                    above.iter().for_each(|shape| add(*shape, rank, value.max(0.0), 1.0));
                    below.iter().for_each(|shape| add(*shape, rank, (-value).max(0.0), 1.0));
                }
                Lid(side, open) => {
                    for place in side.places() {
                        add(BLINK[place], rank, 1.0 - (value / open).clamp(0.0, 1.0), 1.0);
                        if *open < 1.0 {
                            add(WIDE[place], rank, ((value - open) / (1.0 - open)).clamp(0.0, 1.0), 1.0);
                        }
                        if value < 0.0 {
                            add(SQUINT[place], rank, -value, 1.0);
                        }
                    }
                }
                Closed(side) => side.places().for_each(|place| add(BLINK[place], rank, value, 1.0)),
                GazeX(side) => {
                    for place in side.places() {
                        let (to_right, to_left) = SIDEWAYS[place];
                        add(to_right, rank, value.max(0.0), 1.0);
                        add(to_left, rank, (-value).max(0.0), 1.0);
                    }
                }
                GazeY(side) => {
                    for place in side.places() {
                        let (up, down) = UPWARDS[place];
                        add(up, rank, value.max(0.0), 1.0);
                        add(down, rank, (-value).max(0.0), 1.0);
                    }
                }
                Own => {
                    let name = OWN_NAMES.get(slot).cloned();
                    frame.channels.extend(name.map(|name| Channel { name, value }));
                }
            }
        }
        for (shape, ranks) in Blendshape::ALL.into_iter().zip(&sums) {
            if let Some((sum, gains)) = ranks.iter().find(|(_, gains)| *gains > 0.0) {
                frame.set(shape, sum / gains);
            }
        }
        (!frame.is_empty()).then(|| frame.into())
    }
}

const BLINK: [Blendshape; 2] = [B::EyeBlinkLeft, B::EyeBlinkRight];
const WIDE: [Blendshape; 2] = [B::EyeWideLeft, B::EyeWideRight];
const SQUINT: [Blendshape; 2] = [B::EyeSquintLeft, B::EyeSquintRight];
/// Right is towards the nose for the left eye.
const SIDEWAYS: [(Blendshape, Blendshape); 2] =
    [(B::EyeLookInLeft, B::EyeLookOutLeft), (B::EyeLookOutRight, B::EyeLookInRight)];
const UPWARDS: [(Blendshape, Blendshape); 2] =
    [(B::EyeLookUpLeft, B::EyeLookDownLeft), (B::EyeLookUpRight, B::EyeLookDownRight)];

#[cfg(test)]
mod tests {
    use super::*;

    fn from(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn float(address: &str, value: f32) -> OscMessage {
        OscMessage { addr: address.to_owned(), args: vec![OscType::Float(value)] }
    }

    fn bit(address: &str, on: bool) -> OscMessage {
        OscMessage { addr: address.to_owned(), args: vec![OscType::Bool(on)] }
    }

    /// The face after these messages of one program.
    fn face(messages: &[OscMessage]) -> FaceFrame {
        let start = Instant::now();
        let mut decoder = Decoder::new();
        for message in messages {
            assert!(is_one(&message.addr), "{}", message.addr);
            assert_eq!(decoder.take(message, from(1), start), Ok(true), "{}", message.addr);
        }
        decoder.on_timeout(start + PAUSE).expect("a face").frame
    }

    fn shown(messages: &[OscMessage]) -> Vec<(Blendshape, f32)> {
        let face = face(messages);
        let rounded = |value: f32| (value * 1000.0).round() / 1000.0;
        let weights = Blendshape::ALL.into_iter().filter_map(|shape| Some((shape, rounded(face.get(shape)?))));
        weights.filter(|(_, weight)| *weight != 0.0).collect()
    }

    #[test]
    fn trackers_parameters_become_shapes() {
        for (messages, shapes) in [
            (vec![float("/avatar/parameters/v2/JawOpen", 0.5)], vec![(B::JawOpen, 0.5)]),
            (vec![float("/avatar/parameters/FT/v2/JawOpen", 0.5)], vec![(B::JawOpen, 0.5)]),
            (vec![float("/jawOpen", 0.25)], vec![(B::JawOpen, 0.25)]),
            (vec![float("/face/eyeBlink_L", 0.25)], vec![(B::EyeBlinkLeft, 0.25)]),
            (vec![float("/cheekPuffLeft", 1.0), float("/cheekPuffRight", 0.5)], vec![(B::CheekPuff, 0.75)]),
            (vec![float("/avatar/parameters/v2/JawX", -0.5)], vec![(B::JawLeft, 0.5)]),
            (vec![float("/avatar/parameters/v2/SmileFrownLeft", -0.4)], vec![(B::MouthFrownLeft, 0.4)]),
            (
                vec![
                    float("/avatar/parameters/v2/SmileFrown", 0.4),
                    float("/avatar/parameters/v2/MouthCornerPullLeft", 0.8),
                ],
                vec![(B::MouthSmileLeft, 0.8), (B::MouthSmileRight, 0.4)],
            ),
            (
                vec![
                    float("/avatar/parameters/v2/LipFunnelUpperLeft", 1.0),
                    float("/avatar/parameters/v2/LipFunnelLowerRight", 0.5),
                ],
                vec![(B::MouthFunnel, 0.75)],
            ),
            // Lids.
            (vec![float("/avatar/parameters/v2/EyeLidLeft", 0.75)], vec![]),
            (vec![float("/avatar/parameters/v2/EyeLidLeft", 0.3)], vec![(B::EyeBlinkLeft, 0.6)]),
            (vec![float("/avatar/parameters/v2/EyeLidRight", 1.0)], vec![(B::EyeWideRight, 1.0)]),
            (vec![float("/avatar/parameters/LeftEyeLidExpandedSqueeze", 0.4)], vec![(B::EyeBlinkLeft, 0.5)]),
            (
                vec![float("/avatar/parameters/LeftEyeLidExpandedSqueeze", -0.3)],
                vec![(B::EyeBlinkLeft, 1.0), (B::EyeSquintLeft, 0.3)],
            ),
            (vec![float("/LeftEyeLid", 0.0)], vec![(B::EyeBlinkLeft, 1.0)]),
            (vec![float("/tracking/eye/EyesClosedAmount", 0.5)], vec![(B::EyeBlinkLeft, 0.5), (B::EyeBlinkRight, 0.5)]),
            // Gaze: positive is right and up.
            (
                vec![float("/avatar/parameters/LeftEyeX", 0.5), float("/avatar/parameters/RightEyeX", 0.5)],
                vec![(B::EyeLookInLeft, 0.5), (B::EyeLookOutRight, 0.5)],
            ),
            (
                vec![float("/avatar/parameters/EyesY", -0.5)],
                vec![(B::EyeLookDownLeft, 0.5), (B::EyeLookDownRight, 0.5)],
            ),
        ] {
            assert_eq!(shown(&messages), shapes, "{messages:?}");
        }
        let native = |name: &str, args: &[f32]| OscMessage {
            addr: format!("/tracking/eye/{name}"),
            args: args.iter().map(|value| OscType::Float(*value)).collect(),
        };
        let half = EYE_LOOK_RANGE.to_degrees() / 2.0;
        let down_left =
            [(B::EyeLookDownLeft, 0.5), (B::EyeLookOutLeft, 0.5), (B::EyeLookDownRight, 0.5), (B::EyeLookInRight, 0.5)];
        assert_eq!(shown(&[native("LeftRightPitchYaw", &[half, -half, half, -half])]), down_left);
        assert_eq!(shown(&[native("CenterPitchYaw", &[half, -half])]), down_left);
        let right = (EYE_LOOK_RANGE / 2.0).tan();
        let vectors = native("LeftRightVec", &[right, 0.0, 1.0, 0.0, right, 1.0]);
        assert_eq!(shown(&[vectors]), [(B::EyeLookInLeft, 0.5), (B::EyeLookUpRight, 0.5)]);
    }

    #[test]
    fn trackers_binary_parameters_are_put_together() {
        let name = |suffix: &str| format!("/avatar/parameters/v2/JawX{suffix}");
        let bits = [bit(&name("1"), true), bit(&name("2"), false), bit(&name("4"), true), bit(&name("Negative"), true)];
        assert_eq!(shown(&bits), [(B::JawLeft, 0.714)]);
        let all = [bit(&name("1"), true), bit(&name("2"), true), bit(&name("Negative"), false)];
        assert_eq!(shown(&all), [(B::JawRight, 1.0)]);
        let eight: Vec<_> = (0..8).map(|place| bit(&name(&(1 << place).to_string()), place == 7)).collect();
        assert_eq!(shown(&eight), [(B::JawRight, 0.502)]);
        let mut decoder = Decoder::new();
        for other in ["JawX3", "JawX256", "Hat1", "HatNegative", "Hat"] {
            let message = bit(&format!("/avatar/parameters/{other}"), true);
            assert_eq!(decoder.take(&message, from(1), Instant::now()), Ok(false), "{other}");
        }
        // Whether it is above a threshold of the avatar's.
        assert_eq!(decoder.take(&bit("/avatar/parameters/v2/JawOpen", true), from(1), Instant::now()), Ok(false));
        assert_eq!(decoder.deadline(), None);
    }

    #[test]
    fn trackers_other_channels_keep_their_names() {
        let face = face(&[float("/tongueUp", 0.5), float("/avatar/parameters/v2/CheekSuckLeft", 0.25)]);
        let channels: Vec<_> = face.channels.iter().map(|channel| (&*channel.name, channel.value)).collect();
        assert_eq!(channels, [("CheekSuckLeft", 0.25), ("TongueUp", 0.5)]);
    }

    #[test]
    fn trackers_two_programs_are_one_face_until_one_is_silent() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut decoder = Decoder::new();
        let (mouth, eyes) = (from(1), from(2));
        decoder.take(&float("/jawOpen", 0.5), mouth, start).unwrap();
        let mut shown = None;
        for step in 1..400 {
            let now = start + ms(10 * step);
            decoder.take(&float("/avatar/parameters/v2/EyeLidLeft", 0.0), eyes, now).unwrap();
            shown = decoder.on_timeout(now + PAUSE).or(shown);
            let face = &shown.as_ref().unwrap().frame;
            assert_eq!(face.get(B::EyeBlinkLeft), Some(1.0));
            let is_silent = 10 * step + 4 >= 2000;
            assert_eq!(face.get(B::JawOpen), (!is_silent).then_some(0.5), "{step}");
        }
    }

    #[test]
    fn trackers_frame_ends_with_a_pause_and_a_still_face_is_given_again() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut decoder = Decoder::new();
        assert_eq!(decoder.deadline(), None);
        decoder.take(&float("/jawOpen", 0.5), from(1), start).unwrap();
        decoder.take(&float("/jawLeft", 0.5), from(1), start + ms(3)).unwrap();
        assert_eq!(decoder.deadline(), Some(start + ms(7)));
        assert_eq!(decoder.on_timeout(start + ms(6)), None);
        assert!(decoder.on_timeout(start + ms(7)).is_some());
        let mut times = Vec::new();
        while let Some(next) = decoder.deadline() {
            assert!(decoder.on_timeout(next).is_some());
            times.push((next - start).as_millis());
        }
        assert_eq!((times.len(), times[0], *times.last().unwrap()), (19, 107, 1907), "and no longer than that");
        // A sender that never pauses.
        for step in 0..10 {
            decoder.take(&float("/jawOpen", 0.5), from(1), start + ms(3000 + 3 * step)).unwrap();
        }
        assert_eq!(decoder.deadline(), Some(start + ms(3015)));
    }

    #[test]
    fn trackers_refused_messages_change_nothing() {
        let mut decoder = Decoder::new();
        let now = Instant::now();
        for (args, address) in [
            (vec![], "/jawOpen"),
            (vec![OscType::String("wide".into())], "/jawOpen"),
            (vec![OscType::Float(f32::NAN)], "/avatar/parameters/v2/JawOpen"),
            (vec![OscType::Float(1e9)], "/avatar/parameters/v2/JawOpen"),
            (vec![], "/avatar/parameters/v2/JawOpen4"),
            (vec![OscType::Float(0.0)], "/tracking/eye/LeftRightVec"),
        ] {
            let error = decoder.take(&OscMessage { addr: address.into(), args }, from(1), now).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{address}: expected ")), "{error}");
        }
        assert_eq!(decoder.deadline(), None);
        // More programs than one face has: the oldest goes.
        for port in 1..40 {
            decoder.take(&float("/jawOpen", f32::from(port) / 100.0), from(port), now).unwrap();
        }
        assert_eq!(decoder.programs.len(), MAX_PROGRAMS);
        let face = decoder.on_timeout(now + LONGEST).unwrap().frame;
        assert_eq!(face.get(B::JawOpen), Some(0.39));
    }

    #[test]
    fn trackers_rows_are_found_by_their_names() {
        for (place, (name, rank, _)) in ROWS.iter().enumerate() {
            assert_eq!(slot(name), Some(place), "{name} stands there once");
            assert!(*rank < RANKS && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
        }
        assert_eq!(slot("JawOpen"), Some(ROWS.len() + B::JawOpen.index()));
        for none in ["", "W", "Val", "RecordStart", "hat", "x.jawOpen", &"x".repeat(300)] {
            assert_eq!(slot(none), None, "{none}");
        }
    }
}
