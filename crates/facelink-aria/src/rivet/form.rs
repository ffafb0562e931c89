//! The form of Rivet's head: a rounded box, flat around the eyes, with a chin.

use crate::vec3::{Vec3, bell, lerp, smoothstep, v3};

/// Centre of the left eyeball.
pub const EYE: Vec3 = v3(38.5, 0.0, 58.0);
/// Radius of the eyeballs.
pub const EYE_RADIUS: f64 = 25.0;
/// Radius of the round holes in the face plate.
pub const SOCKET: f64 = 31.0;
/// Slope of the plane in which a socket lies.
const SOCKET_SLOPE: f64 = -0.16;
/// Height of that plane at the eye's centre.
const SOCKET_Z: f64 = 69.5;
/// The middle of the head, from which its surface is seen.
pub const MIDDLE: Vec3 = v3(0.0, 14.0, -6.0);

/// Below zero inside the plain form.
fn field(p: Vec3) -> f64 {
    let d = p - MIDDLE;
    let wide = 91.0 * (1.0 - 0.07 * smoothstep(-10.0, -105.0, d.y)) * (1.0 - 0.03 * smoothstep(30.0, 120.0, d.y));
    let (tall, power) = if d.y > 0.0 { (114.0, 2.75) } else { (115.0, 3.0) };
    let flat = (d.x.abs() / wide).powf(3.2) + (d.z.abs() / 88.0).powf(3.2);
    flat.powf(power / 3.2) + (d.y.abs() / tall).powf(power) - 1.0
}

/// The plane of the left socket.
pub fn socket_z(x: f64) -> f64 {
    SOCKET_Z + SOCKET_SLOPE * (x - EYE.x)
}

/// The direction in which a socket faces.
pub fn socket_normal() -> Vec3 {
    v3(-SOCKET_SLOPE, 0.0, 1.0).normalized()
}

/// Direction of a point as seen from the middle.
pub fn towards(p: Vec3) -> Vec3 {
    (p - MIDDLE).normalized()
}

/// The plain form in a direction.
pub fn plain(direction: Vec3) -> Vec3 {
    let (mut low, mut high) = (0.0, 200.0);
    for _ in 0..44 {
        let mid = 0.5 * (low + high);
        if field(MIDDLE + direction * mid) < 0.0 {
            low = mid;
        } else {
            high = mid;
        }
    }
    MIDDLE + direction * high
}

/// Shapes the plain form: sockets, chin.
fn shaped(p: Vec3) -> Vec3 {
    let front = smoothstep(0.0, 40.0, p.z);
    // Both eyes' dishes run into each other without a crease.
    let to = |x: f64| ((p.x - x).powi(2) + p.y.powi(2)).sqrt();
    let near = -4.0 * ((-to(EYE.x) / 4.0).exp() + (-to(-EYE.x) / 4.0).exp()).ln();
    let dish = smoothstep(54.0, 31.0, near) * front;
    let mut z = lerp(p.z, socket_z((p.x * p.x + 36.0).sqrt()), dish);
    let chin = bell(((p.x / 40.0).powi(2) + ((p.y + 90.0) / 22.0).powi(2)).sqrt());
    z += 11.0 * chin * smoothstep(-10.0, 50.0, p.z);
    v3(p.x, p.y, z)
}

/// The surface of the head in a direction.
pub fn skin(direction: Vec3) -> Vec3 {
    shaped(plain(direction))
}

/// The surface's normal in a direction.
pub fn normal(direction: Vec3) -> Vec3 {
    const STEP: f64 = 4e-3;
    let side = if direction.y.abs() < 0.9 { v3(0.0, 1.0, 0.0) } else { v3(0.0, 0.0, 1.0) };
    let a = side.cross(direction).normalized();
    let b = direction.cross(a).normalized();
    let along = |t: Vec3| skin((direction + t * STEP).normalized()) - skin((direction - t * STEP).normalized());
    along(a).cross(along(b)).normalized()
}

/// The direction of the point that lies at `(x, y)` in the front view.
pub fn front(x: f64, y: f64) -> Vec3 {
    let (mut low, mut high) = (MIDDLE.z, 150.0);
    for _ in 0..44 {
        let mid = 0.5 * (low + high);
        if field(v3(x, y, mid)) < 0.0 {
            low = mid;
        } else {
            high = mid;
        }
    }
    towards(v3(x, y, high))
}

/// The surface at `(x, y)` in the front view.
pub fn face(x: f64, y: f64) -> Vec3 {
    skin(front(x, y))
}
