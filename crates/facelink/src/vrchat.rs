//! Faces as parameters of a VRChat avatar, over OSC.
//!
//! VRChat listens on UDP port 9000 and sets the parameters that its avatar has; it ignores others. The names are those of
//! Unified Expressions, as [VRCFaceTracking](https://docs.vrcft.io/docs/tutorial-avatars/tutorial-avatars-extras/parameters)
//! sends them: `/avatar/parameters/v2/JawOpen`, with a prefix `/avatar/parameters/FT/v2/JawOpen`. Which shapes make up which
//! parameter is a [`Mapping`] whose targets are the names of parameters.

use std::time::Duration;

use rosc::OscType;

use crate::{
    frame::FaceFrame,
    mapping::{Compiled, Face, Mapping, PRESETS, ResolveError, Scratch},
    wire::{
        osc::{message, write_bundles},
        profile::head_angles,
    },
};

/// Port that VRChat listens on.
pub const VRCHAT_PORT: u16 = 9000;
/// Largest datagram that is written, so that none is sent in pieces.
const MAX_DATAGRAM_LEN: usize = 1400;
/// A value that changed by less is not sent again: half a step of VRChat's own eight bits.
const STEP: f32 = 1.0 / 255.0;
/// All values are sent again after this long: datagrams are lost, and avatars are changed.
const REFRESH: Duration = Duration::from_secs(1);
/// Longest prefix, bytes.
const MAX_PREFIX: usize = 64;
/// Parameters that say whether a face is tracked, without prefix or version.
const ACTIVE: [&str; 3] = ["EyeTrackingActive", "LipTrackingActive", "ExpressionTrackingActive"];

/// The usual parameters, as a mapping in RON.
pub const PARAMETERS: &str = include_str!("../presets/out/vrchat_parameters.face.ron");

/// Faces cannot be written as parameters by these settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VrchatError {
    /// A prefix that cannot be a part of an address.
    #[error("field `prefix`: `{0}` cannot stand in an OSC address; one is `FT/`")]
    Prefix(String),
    /// The mapping cannot be resolved.
    #[error(transparent)]
    Mapping(#[from] ResolveError),
}

/// Writes the faces of one subject.
#[derive(Clone, Debug)]
pub struct VrchatWriter {
    compiled: Compiled,
    scratch: Scratch,
    /// Address of each target, and its value as it was sent last.
    parameters: Vec<(String, Option<f32>)>,
    tracked: Option<bool>,
    refreshed: Option<Duration>,
}

impl VrchatWriter {
    /// With a prefix before `v2/` (empty for none; `FT/` is usual), by a mapping whose targets are names of parameters; `None` is
    /// [`PARAMETERS`].
    ///
    /// # Errors
    /// When the prefix cannot stand in an address, or the mapping includes what is not there.
    pub fn new(prefix: &str, mapping: Option<&Mapping>) -> Result<Self, VrchatError> {
        let is_part = |c: char| c.is_ascii_graphic() && !matches!(c, '#' | '*' | ',' | '?' | '[' | ']' | '{' | '}');
        if prefix.len() > MAX_PREFIX || prefix.starts_with('/') || !prefix.chars().all(is_part) {
            return Err(VrchatError::Prefix(prefix.chars().take(MAX_PREFIX).collect()));
        }
        let slash = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "/" };
        let usual;
        let mapping = match mapping {
            Some(mapping) => mapping,
            None => {
                usual = PARAMETERS.parse::<Mapping>().unwrap_or_default();
                &usual
            }
        };
        let resolved = mapping.resolve(|id| {
            let found = PRESETS.iter().find(|(preset, _)| *preset == id);
            let text = found.map(|(_, text)| *text).or((id == "vrchat_parameters").then_some(PARAMETERS));
            text.ok_or_else(|| "there is no such preset".to_owned())?.parse().map_err(|error| format!("{error}"))
        })?;
        let mut names: Vec<String> = Vec::new();
        for output in resolved.rules.iter().filter(|rule| !rule.fallback).flat_map(|rule| &rule.to) {
            if !names.contains(&output.target) {
                names.push(output.target.clone());
            }
        }
        let (compiled, _) = resolved.compile(&[names.clone()]);
        let address = |name: String| (format!("/avatar/parameters/{prefix}{slash}v2/{name}"), None);
        Ok(Self {
            compiled,
            scratch: Scratch::default(),
            parameters: names.into_iter().map(address).collect(),
            tracked: None,
            refreshed: None,
        })
    }

    /// Writes what has changed since the last face, and everything once a second, in bundles; `now` is a time on any one clock.
    /// A face that is not tracked is neutral.
    pub fn write(&mut self, frame: &FaceFrame, now: Duration, datagram: impl FnMut(&[u8])) {
        let is_due = self.refreshed.is_none_or(|last| now < last || now - last >= REFRESH);
        if is_due {
            self.refreshed = Some(now);
        }
        let face = if frame.tracked {
            Face { weights: &frame.weights, channels: &frame.channels, head: head_angles(frame) }
        } else {
            Face::default()
        };
        self.compiled.evaluate(&face, &mut self.scratch);
        let mut packets = Vec::new();
        if is_due || self.tracked != Some(frame.tracked) {
            self.tracked = Some(frame.tracked);
            let active =
                |name: &&str| message(&format!("/avatar/parameters/{name}"), vec![OscType::Bool(frame.tracked)]);
            packets.extend(ACTIVE.iter().map(active));
        }
        for (target, value) in self.compiled.mesh(0, &self.scratch) {
            let Some((address, last)) = self.parameters.get_mut(target) else { continue };
            let is_end = value == 0.0 || value.abs() == 1.0;
            let changed = last.is_none_or(|last| (value - last).abs() >= STEP || is_end && value != last);
            if is_due || changed {
                *last = Some(value);
                packets.push(message(address, vec![OscType::Float(value)]));
            }
        }
        write_bundles(packets, MAX_DATAGRAM_LEN, datagram);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Instant;

    use super::*;
    use crate::{
        Blendshape,
        performer::Performance,
        wire::{osc, trackers},
    };

    /// Addresses and values of one face.
    fn sent(writer: &mut VrchatWriter, frame: &FaceFrame, now: Duration) -> BTreeMap<String, f32> {
        let mut sent = BTreeMap::new();
        writer.write(frame, now, |datagram| {
            assert!(datagram.len() <= MAX_DATAGRAM_LEN);
            let reading = osc::read(datagram, |message| {
                let value = osc::number(message.args.first()).unwrap();
                assert!(sent.insert(message.addr.clone(), value).is_none(), "{} is sent once", message.addr);
            });
            assert_eq!(reading.refused, 0);
        });
        sent
    }

    #[test]
    fn vrchat_parameters_have_the_names_and_ranges_of_unified_expressions() {
        let mut writer = VrchatWriter::new("", None).unwrap();
        let mut frame = FaceFrame::neutral();
        let neutral = sent(&mut writer, &frame, Duration::ZERO);
        let value = |sent: &BTreeMap<String, f32>, name: &str| sent[&format!("/avatar/parameters/v2/{name}")];
        assert_eq!(
            (value(&neutral, "JawOpen"), value(&neutral, "EyeLidLeft"), value(&neutral, "EyeOpenRight")),
            (0.0, 0.75, 1.0)
        );
        assert_eq!(neutral["/avatar/parameters/EyeTrackingActive"], 1.0);
        assert!(neutral.len() > 100, "{} parameters", neutral.len());
        use Blendshape::*;
        for (shape, weight) in [
            (JawOpen, 0.5),
            (JawLeft, 0.25),
            (EyeBlinkLeft, 1.0),
            (EyeWideRight, 1.0),
            (EyeLookOutLeft, 0.5),
            (EyeLookUpRight, 0.5),
            (MouthSmileLeft, 1.0),
            (MouthFrownRight, 0.5),
            (CheekPuff, 0.75),
        ] {
            frame.set(shape, weight);
        }
        let changed = sent(&mut writer, &frame, Duration::from_millis(16));
        for (name, wanted) in [
            ("JawOpen", 0.5),
            ("JawX", -0.25),
            ("EyeLidLeft", 0.0),
            ("EyeLidRight", 1.0),
            ("EyeLeftX", -0.5),
            ("EyeRightY", 0.5),
            ("MouthCornerPullLeft", 1.0),
            ("SmileFrownLeft", 1.0),
            ("SmileFrownRight", -0.5),
            ("CheekPuffLeft", 0.75),
            ("CheekPuffSuck", 0.75),
        ] {
            assert!((value(&changed, name) - wanted).abs() < 1e-5, "{name}: {}", value(&changed, name));
        }
        assert!(!changed.contains_key("/avatar/parameters/v2/TongueOut"), "what stays is not sent again");
        assert_eq!(sent(&mut writer, &frame, Duration::from_millis(32)).len(), 0);
        let refreshed = sent(&mut writer, &frame, Duration::from_millis(1000));
        assert_eq!(refreshed.len(), neutral.len(), "all of them once a second");
        let lost = sent(&mut writer, &FaceFrame { tracked: false, ..frame.clone() }, Duration::from_millis(1016));
        assert_eq!((value(&lost, "JawOpen"), lost["/avatar/parameters/LipTrackingActive"]), (0.0, 0.0));
    }

    #[test]
    fn vrchat_prefix_stands_before_the_version() {
        for prefix in ["FT/", "FT"] {
            let mut writer = VrchatWriter::new(prefix, None).unwrap();
            let sent = sent(&mut writer, &FaceFrame::neutral(), Duration::ZERO);
            assert!(sent.contains_key("/avatar/parameters/FT/v2/JawOpen"));
        }
        for wrong in ["/FT", "F T", "F#", "ö", &"x".repeat(65)] {
            assert!(VrchatWriter::new(wrong, None).unwrap_err().to_string().contains("field `prefix`"), "{wrong}");
        }
    }

    #[test]
    fn vrchat_mapping_of_the_user_names_the_parameters() {
        let own: Mapping = r#"(rules: [(from: "jawOpen", gain: 2.0, max: 1.0, to: "Beak")])"#.parse().unwrap();
        let mut writer = VrchatWriter::new("", Some(&own)).unwrap();
        let mut frame = FaceFrame::neutral();
        frame.set(Blendshape::JawOpen, 0.25);
        let sent = sent(&mut writer, &frame, Duration::ZERO);
        assert_eq!((sent.len(), sent["/avatar/parameters/v2/Beak"]), (4, 0.5));
        let missing: Mapping = r#"(include: ["nothing"])"#.parse().unwrap();
        assert!(VrchatWriter::new("", Some(&missing)).is_err());
    }

    #[test]
    fn vrchat_parameters_are_read_back_by_the_trackers_decoder() {
        let (mut writer, mut decoder) = (VrchatWriter::new("FT/", None).unwrap(), trackers::Decoder::new());
        let (start, program) = (Instant::now(), ([127, 0, 0, 1], 9).into());
        let performance = Performance::new(5);
        let (mut worst, mut read) = (0.0_f32, None);
        for step in 0..300_u32 {
            let at = Duration::from_millis(20) * step;
            let frame = performance.frame_at(at);
            writer.write(&frame, at, |datagram| {
                let _ = osc::read(datagram, |message| {
                    decoder.take(message, program, start + at).unwrap();
                });
            });
            // Nothing is sent of a face that stands still.
            read = decoder.on_timeout(start + at + Duration::from_millis(15)).or(read);
            let read = &read.as_ref().unwrap().frame;
            for shape in Blendshape::ALL {
                worst = worst.max((read.get(shape).unwrap() - frame.get(shape).unwrap()).abs());
            }
        }
        // A lid that squints shuts further than its blink: the preset adds their product, 0.289 at most here.
        assert!(worst < 0.3, "{worst}");
    }
}
