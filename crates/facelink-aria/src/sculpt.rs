//! The sculpted surfaces as signed distance fields: smooth unions of simple bodies, in millimetres.
//!
//! The fields give the form; the cage's points are thrown onto them, so form and edge flow can be tuned apart.

use crate::vec3::{Vec3, lerp, v3};

/// Centre of the left eyeball.
pub const EYE: Vec3 = v3(34.0, 0.0, 54.5);
/// Radius of the eyeball.
pub const EYE_RADIUS: f64 = 25.0;
/// Raises the whole torso, for the length of the neck.
pub const TORSO_LIFT: f64 = 12.0;

fn smooth_min(a: f64, b: f64, k: f64) -> f64 {
    let h = (k - (a - b).abs()).max(0.0) / k;
    a.min(b) - h * h * k * 0.25
}

fn smooth_max(a: f64, b: f64, k: f64) -> f64 {
    -smooth_min(-a, -b, k)
}

fn sphere(p: Vec3, centre: Vec3, radius: f64) -> f64 {
    (p - centre).length() - radius
}

fn ellipsoid(p: Vec3, centre: Vec3, radii: Vec3) -> f64 {
    let d = p - centre;
    let k0 = v3(d.x / radii.x, d.y / radii.y, d.z / radii.z).length();
    let k1 = v3(d.x / (radii.x * radii.x), d.y / (radii.y * radii.y), d.z / (radii.z * radii.z)).length();
    if k1 < 1e-9 { -radii.x.min(radii.y).min(radii.z) } else { k0 * (k0 - 1.0) / k1 }
}

fn cone(p: Vec3, a: Vec3, b: Vec3, ra: f64, rb: f64) -> f64 {
    let (pa, ba) = (p - a, b - a);
    let h = (pa.dot(ba) / ba.dot(ba)).clamp(0.0, 1.0);
    (pa - ba * h).length() - lerp(ra, rb, h)
}

/// Head, neck and the slope of the shoulders.
pub fn head(p: Vec3) -> f64 {
    // The half-space trick: everything paired is written once, for +X. The rounded modulus keeps the middle smooth.
    let p = v3((p.x * p.x + 0.6).sqrt(), p.y, p.z);
    let mut d = ellipsoid(p, v3(0.0, 36.0, -9.0), v3(76.0, 88.0, 91.0));
    d = smooth_min(d, ellipsoid(p, v3(0.0, -14.0, 20.0), v3(61.5, 80.0, 62.0)), 22.0);
    // Jaw and chin: a soft heart shape.
    d = smooth_min(d, cone(p, v3(42.0, -46.0, 0.0), v3(7.0, -88.5, 63.5), 14.0, 12.5), 22.0);
    d = smooth_min(d, sphere(p, v3(0.0, -89.5, 74.6), 13.4), 17.0);
    // Between cheek and jaw: a full, young face.
    d = smooth_min(d, cone(p, v3(31.0, -44.0, 42.0), v3(11.0, -77.0, 56.5), 21.5, 15.5), 16.0);
    // Apple of the cheek.
    d = smooth_min(d, sphere(p, v3(36.5, -31.0, 53.0), 26.0), 24.0);
    d = smooth_min(d, cone(p, v3(38.0, -27.0, 22.0), v3(20.0, -66.0, 38.0), 24.5, 16.0), 24.0);
    // Muzzle under the lips.
    d = smooth_min(d, ellipsoid(p, v3(0.0, -66.0, 57.0), v3(29.0, 22.0, 28.0)), 16.0);
    d = smooth_min(d, sphere(p, v3(0.0, -54.0, 73.5), 12.5), 10.0);
    // Brow ridge, hardly there.
    d = smooth_min(d, cone(p, v3(10.0, 22.0, 76.0), v3(46.0, 24.0, 60.0), 8.0, 8.0), 18.0);
    // Sockets, then the bulge of the closed lids within them.
    d = smooth_max(d, -ellipsoid(p, v3(35.5, -1.0, 93.0), v3(25.0, 19.0, 17.0)), 14.0);
    d = smooth_min(d, sphere(p, EYE, EYE_RADIUS + 2.4), 6.0);
    // Between the eye's inner corner and the nose.
    d = smooth_min(d, sphere(p, v3(11.5, -2.0, 69.5), 8.0), 7.0);
    // Nose: a slim bridge, a small round tip, soft wings.
    d = smooth_min(d, cone(p, v3(0.0, 10.0, 77.0), v3(0.0, -33.5, 94.5), 4.2, 5.4), 9.0);
    // Its core: without it the smooth union leaves a hollow between tip and face.
    d = smooth_min(d, cone(p, v3(0.0, -16.0, 82.0), v3(0.0, -40.0, 87.0), 6.0, 8.6), 7.0);
    d = smooth_min(d, sphere(p, v3(0.0, -35.5, 97.2), 7.4), 6.0);
    d = smooth_min(d, ellipsoid(p, v3(10.2, -39.8, 88.4), v3(4.6, 5.4, 7.4)), 2.6);
    // Neck, running out into the shoulders.
    d = smooth_min(d, cone(p, v3(0.0, -60.0, -20.0), v3(0.0, -170.0, -34.0), 33.5, 33.0), 18.0);
    d = smooth_min(d, cone(p, v3(0.0, -214.0, -36.0), v3(110.0, -236.0, -36.0), 38.0, 34.0), 26.0);
    d
}

/// The hair's own body: the skull, let down vertically from its widest line.
pub fn hair_body(p: Vec3) -> f64 {
    let skull = ellipsoid(p, v3(0.0, 38.0, -10.0), v3(79.0, 91.0, 94.0));
    let fall = ellipsoid(p, v3(0.0, -20.0, -12.0), v3(78.0, 150.0, 90.0));
    let below = p.y - 20.0;
    smooth_min(skull, smooth_max(fall, below, 30.0), 20.0)
}

/// Chest and shoulders under the clothes.
pub fn torso(p: Vec3) -> f64 {
    let p = v3((p.x * p.x + 4.0).sqrt(), p.y - TORSO_LIFT, p.z);
    let mut d = ellipsoid(p, v3(0.0, -275.0, -28.0), v3(108.0, 92.0, 70.0));
    d = smooth_min(d, cone(p, v3(20.0, -212.0, -36.0), v3(106.0, -238.0, -36.0), 40.0, 37.0), 40.0);
    d = smooth_min(d, cone(p, v3(108.0, -240.0, -36.0), v3(122.0, -330.0, -30.0), 37.0, 35.0), 20.0);
    d = smooth_min(d, cone(p, v3(0.0, -150.0, -33.0), v3(0.0, -230.0, -34.0), 35.0, 44.0), 34.0);
    d
}

/// Outward unit normal of a field.
pub fn gradient(field: fn(Vec3) -> f64, p: Vec3) -> Vec3 {
    const H: f64 = 0.05;
    let d = |v: Vec3| field(p + v) - field(p - v);
    v3(d(v3(H, 0.0, 0.0)), d(v3(0.0, H, 0.0)), d(v3(0.0, 0.0, H))).normalized()
}

/// How much of the sky over a surface point its own body hides, 0 to 1: how far the field lags behind the distance
/// gone along the normal.
pub fn occlusion(field: fn(Vec3) -> f64, p: Vec3, normal: Vec3) -> f64 {
    const STEPS: [(f64, f64); 5] = [(2.5, 0.20), (5.0, 0.22), (10.0, 0.24), (20.0, 0.20), (36.0, 0.14)];
    let start = field(p);
    STEPS.iter().map(|&(step, weight)| weight * (1.0 - (field(p + normal * step) - start) / step).clamp(0.0, 1.0)).sum()
}

/// Where a ray from inside first leaves the body.
pub fn cast(field: fn(Vec3) -> f64, origin: Vec3, direction: Vec3) -> Vec3 {
    const STEP: f64 = 1.0;
    const REACH: f64 = 400.0;
    let direction = direction.normalized();
    let mut t = 0.0;
    while field(origin + direction * t) < 0.0 && t < REACH {
        t += STEP;
    }
    let (mut inside, mut outside) = (t - STEP, t);
    for _ in 0..40 {
        let mid = 0.5 * (inside + outside);
        if field(origin + direction * mid) < 0.0 { inside = mid } else { outside = mid }
    }
    origin + direction * outside
}

/// Pulls a point near the surface onto it.
pub fn project(field: fn(Vec3) -> f64, mut p: Vec3) -> Vec3 {
    for _ in 0..6 {
        let d = field(p);
        if d.abs() < 1e-6 {
            break;
        }
        p = p - gradient(field, p) * d;
    }
    p
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sculpt_cast_and_project_end_on_surface() {
        let hit = cast(head, v3(0.0, 0.0, 0.0), v3(0.2, 0.1, 1.0));
        assert!(head(hit).abs() < 1e-3);
        assert!(head(project(head, hit + v3(1.0, 1.0, 1.0))).abs() < 1e-2);
    }

    #[test]
    fn sculpt_eyeballs_do_not_touch() {
        const { assert!(EYE.x > EYE_RADIUS) };
    }
}
