//! Curves from a channel's value to a target's.

use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// The curve from a channel's value to a target's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Curve {
    /// As it comes.
    #[default]
    Linear,
    /// `3x² - 2x³` between 0 and 1: slow at both ends.
    Smooth,
    /// `x^p`, keeping the sign; above 1 small movements get smaller, below 1 larger. `p` is above 0.
    Power(#[serde(deserialize_with = "positive")] f32),
    /// Straight lines through these points, by rising `x`; flat before the first and after the last.
    Points(#[serde(deserialize_with = "points")] Vec<(f32, f32)>),
}

impl Curve {
    /// Whether it changes nothing.
    pub fn is_linear(&self) -> bool {
        matches!(self, Self::Linear)
    }

    /// The value at `x`.
    pub fn at(&self, x: f32) -> f32 {
        match self {
            Self::Linear => x,
            Self::Smooth => {
                let x = x.clamp(0.0, 1.0);
                x * x * (3.0 - 2.0 * x)
            }
            Self::Power(power) => x.abs().powf(*power).copysign(x),
            Self::Points(points) => {
                let after = points.partition_point(|(at, _)| *at <= x);
                match (after.checked_sub(1).and_then(|before| points.get(before)), points.get(after)) {
                    (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
                    (Some((_, y)), None) | (None, Some((_, y))) => *y,
                    (None, None) => x,
                }
            }
        }
    }
}

fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    let power = f32::deserialize(from)?;
    if power.is_finite() && power > 0.0 { Ok(power) } else { Err(D::Error::custom("a power must be above 0")) }
}

fn points<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(f32, f32)>, D::Error> {
    let points = Vec::<(f32, f32)>::deserialize(from)?;
    if points.len() < 2 {
        return Err(D::Error::custom("a curve needs two points or more"));
    }
    if points.iter().any(|(x, y)| !x.is_finite() || !y.is_finite()) {
        return Err(D::Error::custom("a point of a curve must be two finite numbers"));
    }
    if points.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        return Err(D::Error::custom("the points of a curve must be in order of rising x"));
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curve_form_passes_through_its_points() {
        let points = Curve::Points(vec![(0.0, 0.0), (0.5, 0.8), (1.0, 1.0)]);
        for (curve, x, y) in [
            (&Curve::Linear, 0.3, 0.3),
            (&Curve::Smooth, 0.5, 0.5),
            (&Curve::Smooth, 2.0, 1.0),
            (&Curve::Power(2.0), 0.5, 0.25),
            (&Curve::Power(2.0), -0.5, -0.25),
            (&points, 0.25, 0.4),
            (&points, 0.5, 0.8),
            (&points, 0.75, 0.9),
            (&points, -1.0, 0.0),
            (&points, 7.0, 1.0),
        ] {
            assert!((curve.at(x) - y).abs() < 1e-6, "{curve:?} at {x}: {}", curve.at(x));
        }
    }
}
