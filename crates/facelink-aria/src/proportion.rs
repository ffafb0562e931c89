//! Last adjustment of the proportions: a shorter lower face reads as younger and friendlier.
//!
//! The sculpt is made in nearly natural proportions, where anatomy is easy to judge; everything below the eyes is then
//! drawn up a little, and what lies below the chin follows as a whole.

use crate::part::Part;
use crate::vec3::{Vec3, smoothstep, v3};

/// How far the chin, and all below it, is raised.
pub const LIFT: f64 = 8.0;
/// Above this height nothing moves.
const FROM: f64 = -28.0;
/// Below this height all moves alike.
const TO: f64 = -106.0;

/// Where a sculpted point goes.
pub fn settle(p: Vec3) -> Vec3 {
    v3(p.x, p.y + LIFT * smoothstep(FROM, TO, p.y), p.z)
}

/// Settles a whole part with its targets.
pub fn settled(mut part: Part) -> Part {
    for (_, deltas) in &mut part.deltas {
        for (d, p) in deltas.iter_mut().zip(&part.points) {
            *d = settle(*p + *d) - settle(*p);
        }
    }
    for p in &mut part.points {
        *p = settle(*p);
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proportion_keeps_order_of_heights() {
        let mut last = f64::INFINITY;
        for k in 0..200 {
            let y = settle(v3(0.0, 20.0 - k as f64, 0.0)).y;
            assert!(y < last);
            last = y;
        }
    }
}
