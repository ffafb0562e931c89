//! The little vector algebra that the modeller needs, in `f64` so that rounding never shows in the `f32` output.

use std::ops::{Add, AddAssign, Mul, Neg, Sub};

/// A point or a direction. Modelling space is in millimetres: +X the character's left, +Y up, +Z forward, the eye line
/// at y = 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vec3 {
    /// Towards the character's left.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// Forward.
    pub z: f64,
}

/// Short for a [`Vec3`] of three numbers.
pub const fn v3(x: f64, y: f64, z: f64) -> Vec3 {
    Vec3 { x, y, z }
}

impl Vec3 {
    /// The origin.
    pub const ZERO: Self = v3(0.0, 0.0, 0.0);

    /// Scalar product.
    pub fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    /// Vector product.
    pub fn cross(self, other: Self) -> Self {
        v3(
            self.y * other.z - self.z * other.y,
            self.z * other.x - self.x * other.z,
            self.x * other.y - self.y * other.x,
        )
    }

    /// Euclidean length.
    pub fn length(self) -> f64 {
        self.dot(self).sqrt()
    }

    /// The unit vector of the same direction; +Y for the zero vector.
    pub fn normalized(self) -> Self {
        let length = self.length();
        if length > 1e-12 { self * (1.0 / length) } else { v3(0.0, 1.0, 0.0) }
    }

    /// Linear interpolation.
    pub fn lerp(self, to: Self, t: f64) -> Self {
        self + (to - self) * t
    }

    /// The mirror image in the face's plane of symmetry.
    pub fn mirrored(self) -> Self {
        v3(-self.x, self.y, self.z)
    }

    /// Rotation about an axis parallel to X through `pivot`; positive angles turn +Z towards -Y (nodding).
    pub fn pitched(self, pivot: Self, radians: f64) -> Self {
        let (sin, cos) = radians.sin_cos();
        let d = self - pivot;
        pivot + v3(d.x, d.y * cos - d.z * sin, d.z * cos + d.y * sin)
    }

    /// Whether every component is a number.
    #[cfg(test)]
    pub fn is_finite(self) -> bool {
        self.x.is_finite() && self.y.is_finite() && self.z.is_finite()
    }
}

impl Add for Vec3 {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        v3(self.x + o.x, self.y + o.y, self.z + o.z)
    }
}

impl AddAssign for Vec3 {
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}

impl Sub for Vec3 {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        v3(self.x - o.x, self.y - o.y, self.z - o.z)
    }
}

impl Mul<f64> for Vec3 {
    type Output = Self;
    fn mul(self, k: f64) -> Self {
        v3(self.x * k, self.y * k, self.z * k)
    }
}

impl Neg for Vec3 {
    type Output = Self;
    fn neg(self) -> Self {
        v3(-self.x, -self.y, -self.z)
    }
}

/// Linear interpolation of numbers.
pub fn lerp(a: f64, b: f64, t: f64) -> f64 {
    a + (b - a) * t
}

/// Hermite step from 0 at `from` to 1 at `to`; `from` may be the larger one.
pub fn smoothstep(from: f64, to: f64, x: f64) -> f64 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Bell curve of a scaled distance: 1 at 0, e^-1 at 1.
pub fn bell(distance: f64) -> f64 {
    (-distance * distance).exp()
}

/// Smooth curve through `(x, y)` knots with rising `x` (Catmull-Rom tangents, clamped at the ends).
pub fn curve(knots: &[(f64, f64)], x: f64) -> f64 {
    let last = knots.len() - 1;
    if x <= knots[0].0 {
        return knots[0].1;
    }
    if x >= knots[last].0 {
        return knots[last].1;
    }
    let i = knots.windows(2).position(|w| x < w[1].0).unwrap_or(last - 1);
    let slope = |k: usize| {
        let (a, b) = (k.saturating_sub(1), (k + 1).min(last));
        (knots[b].1 - knots[a].1) / (knots[b].0 - knots[a].0)
    };
    let width = knots[i + 1].0 - knots[i].0;
    let t = (x - knots[i].0) / width;
    let (t2, t3) = (t * t, t * t * t);
    (2.0 * t3 - 3.0 * t2 + 1.0) * knots[i].1
        + (t3 - 2.0 * t2 + t) * width * slope(i)
        + (3.0 * t2 - 2.0 * t3) * knots[i + 1].1
        + (t3 - t2) * width * slope(i + 1)
}
