//! Expressions over a face, and their fades.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{BlendRules, smooth};
use crate::names::{BLENDSHAPE_COUNT, Blendshape};

/// An expression: some of the 52 shapes, and how they meet the face below.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    /// Its name.
    pub name: Arc<str>,
    /// Weights by [`Blendshape::index`] at full intensity.
    pub weights: [f32; BLENDSHAPE_COUNT],
    /// How it meets the face in each group.
    pub rules: BlendRules,
}

/// An expression cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// There is no expression of this name.
    #[error("field `emotion`: there is no expression \"{name}\"; there are {known}")]
    Unknown {
        /// The name that was requested.
        name: String,
        /// The known names.
        known: String,
    },
    /// The intensity is no number.
    #[error("field `intensity`: must be a finite number")]
    Intensity,
    /// A shape that ARKit does not have.
    #[error("expression \"{expression}\": there is no shape `{shape}`")]
    Shape {
        /// The expression.
        expression: String,
        /// The shape.
        shape: String,
    },
}

/// As files have it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    shapes: std::collections::BTreeMap<String, f32>,
    #[serde(default)]
    rules: BlendRules,
}

impl Serialize for Expression {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let shapes = self.shapes().map(|(shape, weight)| (shape.name().to_owned(), weight)).collect();
        Written { name: self.name.to_string(), shapes, rules: self.rules }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let written = Written::deserialize(from)?;
        let shapes = written.shapes.iter().map(|(shape, weight)| (shape.as_str(), *weight));
        Ok(Self { rules: written.rules, ..Self::from_names(written.name, shapes).map_err(D::Error::custom)? })
    }
}

/// The expressions that are always there, by the action units of EMFACS (Friesen and Ekman, 1983) in ARKit's shapes.
const BUILT_IN: [(&str, &[(Blendshape, f32)]); 8] = {
    use Blendshape::*;
    [
        ("neutral", &[]),
        // AU 6, 12, with a hint of 25.
        (
            "happy",
            &[
                (MouthSmileLeft, 0.75),
                (MouthSmileRight, 0.75),
                (CheekSquintLeft, 0.6),
                (CheekSquintRight, 0.6),
                (EyeSquintLeft, 0.35),
                (EyeSquintRight, 0.35),
                (MouthUpperUpLeft, 0.15),
                (MouthUpperUpRight, 0.15),
                (BrowOuterUpLeft, 0.12),
                (BrowOuterUpRight, 0.12),
            ],
        ),
        // AU 1, 4, 15, 17; the lids hang.
        (
            "sad",
            &[
                (BrowInnerUp, 0.8),
                (BrowDownLeft, 0.15),
                (BrowDownRight, 0.15),
                (MouthFrownLeft, 0.65),
                (MouthFrownRight, 0.65),
                (MouthShrugLower, 0.35),
                (EyeBlinkLeft, 0.18),
                (EyeBlinkRight, 0.18),
                (EyeSquintLeft, 0.15),
                (EyeSquintRight, 0.15),
                (MouthRollLower, 0.1),
            ],
        ),
        // AU 4, 5, 7, 23.
        (
            "angry",
            &[
                (BrowDownLeft, 0.9),
                (BrowDownRight, 0.9),
                (EyeSquintLeft, 0.45),
                (EyeSquintRight, 0.45),
                (EyeWideLeft, 0.2),
                (EyeWideRight, 0.2),
                (NoseSneerLeft, 0.35),
                (NoseSneerRight, 0.35),
                (MouthPressLeft, 0.5),
                (MouthPressRight, 0.5),
                (MouthFrownLeft, 0.3),
                (MouthFrownRight, 0.3),
                (JawForward, 0.2),
            ],
        ),
        // AU 1, 2, 5, 26.
        (
            "surprised",
            &[
                (BrowInnerUp, 0.8),
                (BrowOuterUpLeft, 0.85),
                (BrowOuterUpRight, 0.85),
                (EyeWideLeft, 0.75),
                (EyeWideRight, 0.75),
                (JawOpen, 0.4),
                (MouthFunnel, 0.15),
            ],
        ),
        // AU 1, 2, 4, 5, 7, 20, 26.
        (
            "afraid",
            &[
                (BrowInnerUp, 0.9),
                (BrowOuterUpLeft, 0.3),
                (BrowOuterUpRight, 0.3),
                (BrowDownLeft, 0.25),
                (BrowDownRight, 0.25),
                (EyeWideLeft, 0.8),
                (EyeWideRight, 0.8),
                (EyeSquintLeft, 0.15),
                (EyeSquintRight, 0.15),
                (MouthStretchLeft, 0.6),
                (MouthStretchRight, 0.6),
                (JawOpen, 0.18),
                (MouthLowerDownLeft, 0.25),
                (MouthLowerDownRight, 0.25),
            ],
        ),
        // AU 9, 10, 15, 17.
        (
            "disgusted",
            &[
                (NoseSneerLeft, 0.85),
                (NoseSneerRight, 0.85),
                (MouthUpperUpLeft, 0.55),
                (MouthUpperUpRight, 0.55),
                (BrowDownLeft, 0.4),
                (BrowDownRight, 0.4),
                (CheekSquintLeft, 0.4),
                (CheekSquintRight, 0.4),
                (EyeSquintLeft, 0.35),
                (EyeSquintRight, 0.35),
                (MouthFrownLeft, 0.35),
                (MouthFrownRight, 0.35),
                (MouthShrugLower, 0.3),
            ],
        ),
        // AU 12 and 14 on one side.
        (
            "contempt",
            &[
                (MouthSmileLeft, 0.35),
                (MouthDimpleLeft, 0.8),
                (MouthPressLeft, 0.3),
                (MouthPressRight, 0.15),
                (CheekSquintLeft, 0.25),
                (EyeSquintLeft, 0.2),
                (EyeBlinkLeft, 0.1),
                (EyeBlinkRight, 0.12),
                (BrowOuterUpRight, 0.25),
            ],
        ),
    ]
};

/// Aliases of them, as used by VRM, chat programs and text-to-speech.
const ALIASES: [(&str, &str); 20] = [
    ("joy", "happy"),
    ("happiness", "happy"),
    ("fun", "happy"),
    ("smile", "happy"),
    ("sadness", "sad"),
    ("sorrow", "sad"),
    ("anger", "angry"),
    ("mad", "angry"),
    ("surprise", "surprised"),
    ("astonished", "surprised"),
    ("fear", "afraid"),
    ("scared", "afraid"),
    ("fearful", "afraid"),
    ("disgust", "disgusted"),
    ("contemptuous", "contempt"),
    ("smug", "contempt"),
    ("none", "neutral"),
    ("calm", "neutral"),
    ("relaxed", "neutral"),
    ("default", "neutral"),
];

impl Expression {
    /// An expression of these shapes, combined with a live face by [`BlendRules::EXPRESSION`].
    pub fn new(name: impl Into<Arc<str>>, shapes: impl IntoIterator<Item = (Blendshape, f32)>) -> Self {
        let mut weights = [0.0; BLENDSHAPE_COUNT];
        for (shape, weight) in shapes {
            weights[shape.index()] = weight;
        }
        Self { name: name.into(), weights, rules: BlendRules::EXPRESSION }
    }

    /// An expression of shapes by their ARKit names, in any spelling.
    ///
    /// # Errors
    /// When a shape is not known, or its weight is no number.
    pub fn from_names<'a>(
        name: impl Into<Arc<str>>,
        shapes: impl IntoIterator<Item = (&'a str, f32)>,
    ) -> Result<Self, ExpressionError> {
        let mut expression = Self::new(name, []);
        for (shape, weight) in shapes {
            let known = Blendshape::from_any_name(shape).filter(|_| weight.is_finite());
            let known = known.ok_or_else(|| ExpressionError::Shape {
                expression: expression.name.to_string(),
                shape: shape.to_owned(),
            })?;
            expression.weights[known.index()] = weight;
        }
        Ok(expression)
    }

    /// The built-in expressions: neutral, happy, sad, angry, surprised, afraid, disgusted, contempt.
    pub fn built_in() -> Vec<Self> {
        BUILT_IN.iter().map(|(name, shapes)| Self::new(*name, shapes.iter().copied())).collect()
    }

    /// The usual word for an emotion: `joy` is `happy`. Other words are returned in lower case.
    pub fn usual_name(name: &str) -> String {
        let name = name.trim().to_ascii_lowercase();
        ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, usual)| (*usual).to_owned())
    }

    /// The built-in expression of this name, or of another word for it.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = Self::usual_name(name);
        let (name, shapes) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some(Self::new(*name, shapes.iter().copied()))
    }

    /// The shapes it moves.
    pub fn shapes(&self) -> impl Iterator<Item = (Blendshape, f32)> + '_ {
        Blendshape::ALL.into_iter().zip(self.weights).filter(|(_, weight)| *weight != 0.0)
    }
}

/// One expression that fades.
#[derive(Clone, Debug)]
struct Running {
    expression: Arc<Expression>,
    from: f32,
    to: f32,
    /// Seconds since the fade began, and its length.
    at: f32,
    fade: f32,
    /// Seconds for which it is held after the fade in; then it fades out over the same time.
    hold: Option<f32>,
}

impl Running {
    fn shown(&self) -> f32 {
        if self.at >= self.fade { self.to } else { self.from + (self.to - self.from) * smooth(self.at / self.fade) }
    }

    fn go_to(&mut self, to: f32, fade: Duration, hold: Option<Duration>) {
        self.from = self.shown();
        self.to = to;
        self.at = 0.0;
        self.fade = fade.as_secs_f32();
        self.hold = hold.map(|hold| hold.as_secs_f32());
    }
}

/// The active expressions of a face, each at its own intensity, fading in and out.
#[derive(Clone, Debug, Default)]
pub struct ExpressionMix {
    running: Vec<Running>,
}

/// How long a fade takes by default.
pub const USUAL_FADE: Duration = Duration::from_millis(250);

impl ExpressionMix {
    /// Brings an expression to an intensity, `0..=1`, within `fade`; the others stay. One that is active already fades
    /// from its present intensity.
    ///
    /// # Errors
    /// When the intensity is no number.
    pub fn set(&mut self, expression: &Arc<Expression>, intensity: f32, fade: Duration) -> Result<(), ExpressionError> {
        self.put(expression, intensity, fade, None)
    }

    fn put(
        &mut self,
        expression: &Arc<Expression>,
        intensity: f32,
        fade: Duration,
        hold: Option<Duration>,
    ) -> Result<(), ExpressionError> {
        if !intensity.is_finite() {
            return Err(ExpressionError::Intensity);
        }
        let intensity = intensity.clamp(0.0, 1.0);
        match self.running.iter_mut().find(|running| running.expression.name == expression.name) {
            Some(running) => {
                running.expression = expression.clone();
                running.go_to(intensity, fade, hold);
            }
            None => {
                let mut running =
                    Running { expression: expression.clone(), from: 0.0, to: 0.0, at: 0.0, fade: 0.0, hold: None };
                running.go_to(intensity, fade, hold);
                self.running.push(running);
            }
        }
        Ok(())
    }

    /// This expression in and all others out, within `fade`. With `hold` it fades out after that time.
    ///
    /// # Errors
    /// When the intensity is no number.
    pub fn set_emotion(
        &mut self,
        expression: &Arc<Expression>,
        intensity: f32,
        fade: Duration,
        hold: Option<Duration>,
    ) -> Result<(), ExpressionError> {
        self.put(expression, intensity, fade, hold)?;
        for running in self.running.iter_mut().filter(|running| running.expression.name != expression.name) {
            if running.to != 0.0 {
                running.go_to(0.0, fade, None);
            }
        }
        Ok(())
    }

    /// Takes an expression off within `fade`.
    pub fn clear(&mut self, name: &str, fade: Duration) {
        for running in self.running.iter_mut().filter(|running| &*running.expression.name == name) {
            running.go_to(0.0, fade, None);
        }
    }

    /// Takes all of them off within `fade`.
    pub fn clear_all(&mut self, fade: Duration) {
        for running in &mut self.running {
            running.go_to(0.0, fade, None);
        }
    }

    /// Lets `dt` seconds pass.
    pub fn step(&mut self, dt: f32) {
        if self.running.is_empty() || dt.is_nan() || dt <= 0.0 {
            return;
        }
        for running in &mut self.running {
            let there = running.at + dt - running.fade;
            running.at += dt;
            if there > 0.0
                && let Some(hold) = &mut running.hold
            {
                *hold -= there.min(dt);
                if *hold <= 0.0 {
                    let fade = Duration::from_secs_f32(running.fade.max(0.0));
                    running.go_to(0.0, fade, None);
                }
            }
        }
        self.running.retain(|running| running.to != 0.0 || running.at < running.fade);
    }

    /// Puts them on a face, one after the other.
    pub fn apply(&self, weights: &mut [f32; BLENDSHAPE_COUNT]) {
        for running in &self.running {
            running.expression.rules.apply(weights, &running.expression.weights, running.shown());
        }
    }

    /// Whether none is on.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Names and the intensities of now.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f32)> {
        self.running.iter().map(|running| (&*running.expression.name, running.shown()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happy() -> Arc<Expression> {
        Arc::new(Expression::from_name("happy").unwrap())
    }

    fn intensity(mix: &ExpressionMix, name: &str) -> f32 {
        mix.iter().find(|(other, _)| *other == name).map_or(0.0, |(_, shown)| shown)
    }

    #[test]
    fn expression_built_ins_are_distinct() {
        let all = Expression::built_in();
        for (i, a) in all.iter().enumerate() {
            assert_eq!(a.shapes().count() == 0, &*a.name == "neutral");
            assert!(a.weights.iter().all(|weight| (0.0..=1.0).contains(weight)), "{}", a.name);
            for b in &all[i + 1..] {
                let apart: f32 = a.weights.iter().zip(&b.weights).map(|(a, b)| (a - b).abs()).sum();
                assert!(apart > 1.0, "{} and {} look alike", a.name, b.name);
            }
        }
        for (alias, usual) in ALIASES {
            assert_eq!(&*Expression::from_name(alias).unwrap().name, usual);
        }
        assert_eq!(Expression::from_name("bored"), None);
    }

    #[test]
    fn expression_fade_is_smooth_when_reversed() {
        let mut mix = ExpressionMix::default();
        mix.set(&happy(), 1.0, Duration::from_millis(400)).unwrap();
        let mut last = 0.0;
        let mut largest = 0.0_f32;
        for i in 0..200 {
            if i == 20 {
                mix.clear("happy", Duration::from_millis(300));
            }
            if i == 30 {
                mix.set(&happy(), 0.5, Duration::from_millis(300)).unwrap();
            }
            mix.step(0.01);
            let now = intensity(&mix, "happy");
            largest = largest.max((now - last).abs());
            last = now;
        }
        assert!(largest < 0.05, "a step of {largest}");
        assert!((last - 0.5).abs() < 1e-6);
        mix.clear_all(Duration::ZERO);
        mix.step(0.01);
        assert!(mix.is_idle());
    }

    #[test]
    fn expression_emotion_replaces_last_and_ends_after_hold() {
        let mut mix = ExpressionMix::default();
        let sad = Arc::new(Expression::from_name("sorrow").unwrap());
        let fade = Duration::from_millis(200);
        mix.set_emotion(&happy(), 0.8, fade, None).unwrap();
        mix.step(1.0);
        mix.set_emotion(&sad, 1.0, fade, Some(Duration::from_secs(1))).unwrap();
        mix.step(0.1);
        assert!((intensity(&mix, "happy") - 0.4).abs() < 1e-5 && (intensity(&mix, "sad") - 0.5).abs() < 1e-5);
        mix.step(0.2);
        assert_eq!((intensity(&mix, "happy"), intensity(&mix, "sad")), (0.0, 1.0));
        for _ in 0..95 {
            mix.step(0.01);
        }
        assert!(intensity(&mix, "sad") < 1.0, "it goes after its second");
        mix.step(0.5);
        assert!(mix.is_idle());
        assert_eq!(mix.set(&sad, f32::NAN, fade), Err(ExpressionError::Intensity));
    }

    #[test]
    fn expression_smile_keeps_speech_visible() {
        let mut mix = ExpressionMix::default();
        mix.set(&happy(), 1.0, Duration::ZERO).unwrap();
        mix.step(0.01);
        let at = |jaw: f32| {
            let mut weights = [0.0; BLENDSHAPE_COUNT];
            weights[Blendshape::JawOpen.index()] = jaw;
            weights[Blendshape::MouthSmileLeft.index()] = 0.5;
            mix.apply(&mut weights);
            weights
        };
        assert_eq!(at(0.6)[Blendshape::JawOpen.index()], 0.6);
        let smile = at(0.0)[Blendshape::MouthSmileLeft.index()];
        assert!((smile - 0.875).abs() < 1e-6, "{smile}");
    }

    #[test]
    fn expression_round_trips_as_name() {
        let text = serde_json::to_string(&*happy()).unwrap();
        assert_eq!(serde_json::from_str::<Expression>(&text).unwrap(), *happy());
        let error = serde_json::from_str::<Expression>(r#"{"name":"x","shapes":{"nose":1}}"#).unwrap_err();
        assert!(error.to_string().contains("`nose`"), "{error}");
    }
}
