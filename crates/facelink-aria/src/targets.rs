//! The 52 expressions as moves of cage points, in millimetres.
//!
//! Paired shapes are written once for both sides together and then split with a mask that fades over the middle and
//! sums to one, so left + right is exactly the symmetric shape and the two are mirror images.

use crate::cage::{
    self, Cage, EYE_MARGIN, LIP_BODY, LIP_BORDER, LIP_SEAM, MOUTH_CORNER, MOUTH_HALF_WIDTH, MOUTH_POINTS, MOUTH_Y, Tag,
};
use crate::names;
use crate::sculpt::{self, EYE, EYE_RADIUS};
use crate::vec3::{Vec3, bell, curve, lerp, smoothstep, v3};

/// Axis on which the jaw turns.
pub const JAW_HINGE: Vec3 = v3(0.0, -24.0, 0.0);
/// How far `jawOpen` turns it, in degrees.
pub const JAW_ANGLE: f64 = 15.5;
/// Sideways reach of `jawLeft` and `jawRight`.
pub const JAW_SIDE: f64 = 11.5;
/// Reach of `jawForward`.
pub const JAW_FORWARD: Vec3 = v3(0.0, 2.6, 12.0);
/// Half-width of the band in the middle in which left and right shapes overlap.
const SPLIT: f64 = 11.0;
/// Where between the lips of an open jaw `mouthClose` brings them together: 0 at the upper, 1 at the lower.
const MEET: f64 = 0.42;
/// Least distance of any lid point from the eyeball.
pub const LID_CLEARANCE: f64 = 0.35;

/// Where the jaw takes a point that is wholly its own.
pub fn jaw_open(p: Vec3) -> Vec3 {
    p.pitched(JAW_HINGE, JAW_ANGLE.to_radians()) - p
}

/// Share of left in a left/right split.
pub fn left_share(x: f64) -> f64 {
    smoothstep(-SPLIT, SPLIT, x)
}

/// What a shape does to one point of the left half.
struct Point<'a> {
    cage: &'a Cage,
    p: Vec3,
    tag: Tag,
    jaw: f64,
}

/// Bell around a place on the face's front, `rx` wide and `ry` high.
fn spot(p: Vec3, x: f64, y: f64, rx: f64, ry: f64) -> f64 {
    let front = smoothstep(-5.0, 35.0, p.z);
    let d2 = ((p.x - x) / rx).powi(2) + ((p.y - y) / ry).powi(2);
    front * bell(d2.sqrt())
}

/// How far the jaw carries a point, from its place on the surface: never the upper lip.
fn jaw_weight(tag: Tag, cage: &Cage, p: Vec3) -> f64 {
    let lattice = |row: usize, col: usize, p: Vec3| {
        let down = curve(
            &[
                (15.0, 0.0),
                (17.0, 0.05),
                (18.0, 0.14),
                (20.0, 0.5),
                (22.0, 0.94),
                (23.0, 1.0),
                (25.0, 0.97),
                (26.0, 0.72),
                (27.0, 0.28),
                (28.0, 0.06),
                (29.0, 0.0),
            ],
            row as f64,
        );
        let azimuth = p.x.abs().atan2(p.z).to_degrees();
        let upper_lip = if row < 20 { smoothstep(3.0, 8.0, col as f64) } else { 1.0 };
        down * upper_lip * smoothstep(108.0, 45.0, azimuth)
    };
    match tag {
        Tag::Grid { row, col } => lattice(row, col, p),
        Tag::Mouth { ring, j } => {
            // Inside, the floor goes wholly with the jaw, or the lower teeth would come through it.
            let (from, to) = if ring >= 8 { (0.12, -0.2) } else { (0.4, -0.45) };
            let along = smoothstep(from, to, cage::lip_place(j));
            let border = cage.mouth_id(0, j);
            let share = smoothstep(0.0, 4.0, ring as f64);
            match cage.tags[border] {
                Tag::Grid { row, col } => lerp(lattice(row, col, cage.points[border]), along, share),
                _ => along,
            }
        }
        Tag::MouthEnd => 0.4,
        Tag::Eye { .. } | Tag::Ear { .. } => 0.0,
    }
}

impl Point<'_> {
    /// 1 on the lips, fading over the skin around them; the inside follows, the throat does not.
    fn mouth_region(&self, reach: f64) -> f64 {
        let e = ((self.p.x / (30.0 * reach)).powi(2) + ((self.p.y - MOUTH_Y) / (20.0 * reach)).powi(2)).sqrt();
        // The nose holds still.
        let nose = match self.tag {
            Tag::Grid { .. } => {
                1.0 - 0.85 * bell(((self.p.x / 17.0).powi(2) + ((self.p.y + 42.0) / 9.0).powi(2)).sqrt())
            }
            _ => 1.0,
        };
        smoothstep(1.45, 0.55, e) * nose * self.inside_fade()
    }

    fn inside_fade(&self) -> f64 {
        match self.tag {
            Tag::Mouth { ring: 8, .. } => 0.8,
            Tag::Mouth { ring: 9, .. } => 0.3,
            Tag::Mouth { ring: 10, .. } => 0.08,
            Tag::MouthEnd | Tag::Ear { .. } => 0.0,
            _ if self.p.z < 20.0 => 0.0,
            _ => 1.0,
        }
    }

    /// +1 well above the lips' seam, -1 well below; by label on the lips, where height alone would not do.
    fn side_of_seam(&self) -> f64 {
        match self.tag {
            Tag::Mouth { ring, j } if ring >= 3 => (cage::lip_place(j) * 3.0).clamp(-1.0, 1.0),
            _ => ((self.p.y - MOUTH_Y) / 6.0).clamp(-1.0, 1.0),
        }
    }

    fn upper(&self) -> f64 {
        self.side_of_seam().max(0.0)
    }

    fn lower(&self) -> f64 {
        (-self.side_of_seam()).max(0.0)
    }

    /// Where across the lip the point is: ring number, or `None` off the lips.
    fn lip_ring(&self) -> Option<(usize, f64)> {
        match self.tag {
            Tag::Mouth { ring, j } => Some((ring, cage::lip_place(j))),
            _ => None,
        }
    }

    /// Moves the lids: `margin` gives for (place, is upper) the change of elevation, azimuth (degrees) and distance.
    fn lids(&self, margin: impl Fn(f64, bool) -> (f64, f64, f64)) -> Vec3 {
        /// Share of the margin's movement at each ring.
        const SHARE: [f64; cage::EYE_RINGS] = [0.03, 0.12, 0.36, 0.72, 0.92, 1.0, 1.0, 1.0];
        let (place, share) = match self.tag {
            Tag::Eye { ring, j } => (cage::lid_place(j), SHARE[ring]),
            _ => return Vec3::ZERO,
        };
        let (elevation, azimuth, out) = margin(place.0, place.1);
        let (az, el, r) = cage::eye_angles(self.p);
        let turned = cage::eye_direction(az + azimuth.to_radians() * share, el + elevation.to_radians() * share);
        EYE + turned * (r + out * share) - self.p
    }

    fn blink(&self) -> Vec3 {
        self.lids(|tau, upper| {
            let (_, open) = cage::lid_margin(tau, upper);
            let middle = (std::f64::consts::PI * tau).sin().max(0.0);
            let lap = if upper { -1.6 } else { 0.5 } * middle.sqrt();
            let turn = (cage::lid_seam(tau) - open).to_degrees() + lap;
            (turn, 0.0, if upper { 3.6 } else { 0.2 } * middle)
        })
    }

    fn mouth_close(&self) -> Vec3 {
        let Tag::Mouth { ring, j } = self.tag else { return Vec3::ZERO };
        // Where the two sides of the seam are on an open jaw, and the line between on which they shall meet.
        let opened = |j: usize| {
            let id = self.cage.mouth_id(LIP_SEAM, j);
            let p = self.cage.points[id];
            (p, p + jaw_delta(p, jaw_weight(self.cage.tags[id], self.cage, p)))
        };
        let upper_j = j.min(MOUTH_POINTS - 1 - j);
        let (up_rest, up) = opened(upper_j);
        let (low_rest, low) = opened(MOUTH_POINTS - 1 - upper_j);
        // The two sides come to lie as they do at rest.
        let between = (low - up) - (low_rest - up_rest);
        let to = if j <= MOUTH_CORNER { between * MEET } else { between * (MEET - 1.0) };
        let share = match ring {
            0 => 0.0,
            1 => 0.16,
            2 => 0.45,
            3 => 0.78,
            LIP_BORDER => 0.97,
            LIP_BODY | LIP_SEAM | 7 => 1.0,
            8 => 0.6,
            9 => 0.2,
            _ => 0.0,
        };
        to * share
    }

    /// The symmetric form of a shape.
    fn symmetric(&self, stem: &str) -> Vec3 {
        let p = self.p;
        let region = self.mouth_region(1.0);
        let (upper, lower) = (self.upper(), self.lower());
        // Distance from the middle as a share of the half width of the mouth.
        let across = (p.x / MOUTH_HALF_WIDTH).min(1.6);
        // Corners go back around the teeth; the middle, which lies on them, cannot.
        let back = smoothstep(0.05, 0.75, across);
        match stem {
            "eyeBlink" => self.blink(),
            "eyeLookDown" => {
                self.lids(|tau, up| {
                    let middle = (std::f64::consts::PI * tau).sin().max(0.0);
                    if up { (-13.0 * middle, 0.0, 0.6 * middle) } else { (-8.5 * middle, 0.0, 0.2 * middle) }
                }) + v3(0.0, -1.6, 0.0) * spot(p, 34.0, 21.0, 20.0, 8.0)
            }
            "eyeLookUp" => {
                self.lids(|tau, up| {
                    let middle = (std::f64::consts::PI * tau).sin().max(0.0);
                    if up { (7.5 * middle, 0.0, 0.5 * middle) } else { (4.5 * middle, 0.0, 0.2 * middle) }
                }) + v3(0.0, 1.8, 0.0) * spot(p, 34.0, 24.0, 24.0, 9.0)
            }
            // The cornea pushes the lids along: a turn of both margins with the gaze.
            "eyeLookIn" => self.lids(|tau, up| {
                let middle = (std::f64::consts::PI * tau).sin().max(0.0);
                let bulge = bell((tau - 0.32) / 0.22);
                (if up { 1.8 } else { -1.0 } * (bulge - bell((tau - 0.75) / 0.2)), -9.0 * middle, 0.9 * bulge)
            }),
            "eyeLookOut" => self.lids(|tau, up| {
                let middle = (std::f64::consts::PI * tau).sin().max(0.0);
                let bulge = bell((tau - 0.68) / 0.22);
                (if up { 1.8 } else { -1.0 } * (bulge - bell((tau - 0.25) / 0.2)), 9.0 * middle, 0.9 * bulge)
            }),
            "eyeSquint" => {
                self.lids(|tau, up| {
                    let middle = (std::f64::consts::PI * tau).sin().max(0.0);
                    if up { (-5.0 * middle, 0.0, 1.3 * middle) } else { (12.0 * middle, 0.0, 0.1 * middle) }
                }) + v3(0.3, 2.2, 0.8) * spot(p, 36.0, -22.0, 18.0, 9.0)
                    + v3(0.0, -1.2, 0.3) * spot(p, 36.0, 23.0, 18.0, 7.0)
            }
            "eyeWide" => {
                self.lids(|tau, up| {
                    let middle = (std::f64::consts::PI * tau).sin().max(0.0);
                    if up { (8.4 * middle, 0.0, 0.6 * middle) } else { (-4.0 * middle, 0.0, 0.2 * middle) }
                }) + v3(0.0, 1.8, 0.0) * spot(p, 34.0, 26.0, 24.0, 10.0)
            }
            "jawForward" => JAW_FORWARD * self.jaw,
            "jawOpen" => jaw_delta(p, self.jaw),
            "mouthClose" => self.mouth_close(),
            "mouthFunnel" => {
                let wide = self.mouth_region(1.15);
                // An upright oval.
                let open = (1.0 - across.min(1.0).powf(2.8)).max(0.0).powf(0.6);
                let mut d = v3(-p.x * 0.28, 0.0, 8.5 - 2.5 * across.min(1.0)) * wide;
                let arch = (1.0 - across.min(1.0).powi(2)).max(0.0).sqrt();
                d += v3(0.0, upper * 5.4 * arch - lower * 5.6 * open, 0.0) * region;
                // Lips roll outwards into a trumpet.
                if let Some((ring, t)) = self.lip_ring() {
                    let (flare, curl) = match ring {
                        LIP_BORDER => (1.4, 0.5),
                        LIP_BODY => (2.6, 0.9),
                        LIP_SEAM => (2.2, 0.4),
                        7 => (0.8, 0.0),
                        _ => (0.0, 0.0),
                    };
                    d += v3(0.0, curl * t.signum(), flare) * open;
                }
                // The corners come down to the middle of the opening.
                d += v3(0.0, -4.6, 1.0) * (spot(p, MOUTH_HALF_WIDTH, MOUTH_Y + 2.0, 10.0, 8.0) * self.inside_fade());
                d + v3(-1.4, 0.0, -1.6) * (spot(p, 42.0, -56.0, 12.0, 15.0) * self.inside_fade())
            }
            "mouthPucker" => {
                let wide = self.mouth_region(1.25);
                let mut d = v3(-p.x * 0.37, 0.0, 9.0 - 4.0 * across.min(1.0).powi(2)) * wide;
                if let Some((ring, t)) = self.lip_ring() {
                    let puff = if ring == LIP_BODY || ring == LIP_BORDER { 1.5 } else { 0.0 };
                    let middle = (1.0 - across).max(0.0);
                    d += v3(0.0, if t > 0.0 { 0.7 } else { 0.5 } * puff * middle, 0.6 * puff);
                }
                // The corners come level with the middle.
                d += v3(0.0, -2.6, 0.0) * (spot(p, MOUTH_HALF_WIDTH, MOUTH_Y + 1.0, 10.0, 8.0) * self.inside_fade());
                // Cheeks draw in.
                d + v3(-2.2, 0.0, -2.2) * (spot(p, 42.0, -58.0, 13.0, 15.0) * self.inside_fade())
            }
            "mouthSmile" => {
                let lips = self.pull_of_corner(27.0, 21.0);
                let cheek = spot(p, 41.0, -35.0, 16.0, 14.0) * self.inside_fade();
                let mut d = v3(10.5, 11.0, -7.0 * back) * lips;
                // The cheek bunches up before the eye, and is set off by the fold from the nose's wing to the corner.
                d += v3(1.6, 6.6, 5.6) * cheek;
                d += v3(1.0, 0.4, -1.5) * (spot(p, 29.0, -54.0, 6.0, 12.0) * self.inside_fade());
                d += v3(1.4, 1.6, 2.0) * (spot(p, 40.0, -50.0, 8.0, 11.0) * self.inside_fade());
                // The wings of the nose go along a little.
                d += v3(1.3, 1.2, -0.4) * spot(p, 12.0, -42.0, 6.0, 6.0);
                // The middle of both lips is stretched thinner and flatter.
                d += v3(0.0, -0.7 * upper + 1.5 * lower, -1.2) * (region * (1.0 - across).max(0.0));
                d + self.lids(|tau, up| {
                    let middle = (std::f64::consts::PI * tau).sin().max(0.0);
                    if up { (-0.8 * middle, 0.0, 0.2 * middle) } else { (5.4 * middle, 0.0, 0.3 * middle) }
                })
            }
            "mouthFrown" => {
                let lips = self.pull_of_corner(28.0, 19.0);
                let mut d = v3(1.2, -10.0, -2.4) * lips;
                d += v3(1.0, -2.8, 2.4) * (spot(p, 27.0, -84.0, 11.0, 9.0) * self.inside_fade());
                d += v3(0.0, 1.0, -1.6) * (spot(p, 27.0, -74.0, 5.0, 6.0) * self.inside_fade());
                d += v3(0.0, 2.2, 1.4) * (region * (1.0 - across).max(0.0) * lower);
                d += v3(0.0, 0.9, 0.4) * (region * (1.0 - across).max(0.0) * upper);
                d + v3(0.0, 2.4, 1.8) * (spot(p, 0.0, -88.0, 14.0, 8.0) * self.inside_fade())
            }
            "mouthDimple" => {
                let lips = self.pull_of_corner(23.0, 15.0);
                let mut d = v3(6.0, 2.0, -8.5 * back) * lips;
                d += v3(0.6, 0.2, -1.6) * (spot(p, 30.0, -62.0, 5.0, 8.0) * self.inside_fade());
                d += v3(2.4, 0.8, 5.0) * (spot(p, 39.0, -59.0, 8.0, 12.0) * self.inside_fade());
                d += v3(0.0, -0.6 * upper + 0.6 * lower, -0.8) * (region * across.min(1.0));
                d
            }
            "mouthStretch" => {
                let lips = self.pull_of_corner(24.0, 20.0);
                let mut d = v3(9.6, -3.4, -6.0 * back) * lips;
                d += v3(0.0, 0.3 * upper - 2.6 * lower, 0.0) * (region * (1.0 - 0.4 * across).max(0.0));
                d + v3(3.2, -3.0, 0.6) * (spot(p, 34.0, -84.0, 15.0, 16.0) * self.inside_fade())
            }
            "mouthRollLower" => match self.lip_ring() {
                Some((ring, t)) if t < 0.15 => {
                    let w = smoothstep(0.15, -0.5, t);
                    let d = match ring {
                        LIP_SEAM => v3(0.0, -0.6, -5.2),
                        LIP_BODY => v3(0.0, 3.2, -6.6),
                        LIP_BORDER => v3(0.0, 6.2, -3.8),
                        3 => v3(0.0, 4.2, -1.4),
                        2 => v3(0.0, 2.2, -0.2),
                        1 => v3(0.0, 0.8, 0.2),
                        7 => v3(0.0, -1.8, -3.2),
                        8 => v3(0.0, -0.8, -1.6),
                        _ => Vec3::ZERO,
                    };
                    d * w
                }
                _ => Vec3::ZERO,
            },
            "mouthRollUpper" => match self.lip_ring() {
                Some((ring, t)) if t > -0.15 => {
                    let w = smoothstep(-0.15, 0.5, t);
                    let d = match ring {
                        LIP_SEAM => v3(0.0, 0.5, -4.6),
                        LIP_BODY => v3(0.0, -2.4, -5.6),
                        LIP_BORDER => v3(0.0, -5.0, -3.4),
                        3 => v3(0.0, -3.6, -1.4),
                        2 => v3(0.0, -2.0, -0.3),
                        1 => v3(0.0, -0.8, 0.0),
                        7 => v3(0.0, 1.6, -2.8),
                        8 => v3(0.0, 0.6, -1.4),
                        _ => Vec3::ZERO,
                    };
                    d * w
                }
                _ => Vec3::ZERO,
            },
            "mouthShrugLower" => {
                let middle = (1.0 - 0.55 * across.powi(2)).max(0.0);
                let mut d = v3(0.0, 4.6, 1.6) * (region * middle * (0.35 + 0.65 * (0.5 - 0.5 * self.side_of_seam())));
                d += v3(0.0, 4.2, 2.6) * (spot(p, 0.0, -87.0, 17.0, 10.0) * self.inside_fade());
                // Pushed up, the lower lip pouts.
                if let Some((LIP_BODY | LIP_BORDER, t)) = self.lip_ring()
                    && t < 0.0
                {
                    d += v3(0.0, -0.4, 2.6) * middle;
                }
                d
            }
            "mouthShrugUpper" => {
                let middle = (1.0 - 0.5 * across.powi(2)).max(0.0);
                let mut d = v3(0.0, 4.8, 2.2) * (region * middle * upper);
                d += v3(0.0, 1.4, 0.6) * (spot(p, 0.0, -53.0, 16.0, 7.0) * self.inside_fade());
                if let Some((LIP_BODY | LIP_SEAM, t)) = self.lip_ring()
                    && t > 0.0
                {
                    d += v3(0.0, 0.0, 1.8) * middle;
                }
                d
            }
            "mouthPress" => {
                let side = 0.55 + 0.45 * bell((across - 0.7) / 0.4);
                let mut d = Vec3::ZERO;
                if let Some((ring, t)) = self.lip_ring() {
                    let (y, z) = match ring {
                        1 => (0.5, 0.0),
                        2 => (1.2, 0.4),
                        3 => (2.8, 1.0),
                        LIP_BORDER => (4.0, -1.4),
                        LIP_BODY => (2.2, -4.2),
                        LIP_SEAM => (0.0, -3.0),
                        7 => (0.0, -1.4),
                        _ => (0.0, 0.0),
                    };
                    let sign = (t * 4.0).clamp(-1.0, 1.0);
                    d += v3(0.0, -y * sign, z) * side;
                }
                d += v3(1.8, 0.6, -2.6) * self.pull_of_corner(20.0, 14.0);
                d += v3(0.0, 1.2, 1.2) * (spot(p, 0.0, -86.0, 16.0, 8.0) * self.inside_fade());
                d + v3(0.8, -0.4, 3.4) * (spot(p, 29.0, -72.0, 8.0, 9.0) * self.inside_fade())
            }
            "mouthLowerDown" => {
                let side = bell((across - 0.45).max(0.0) / 0.42);
                let mut d = v3(0.6, -7.8, -0.8) * (region * lower * side);
                d += v3(0.0, -1.6, 0.4) * (spot(p, 14.0, -86.0, 16.0, 9.0) * self.inside_fade());
                if let Some((LIP_SEAM | LIP_BODY, t)) = self.lip_ring()
                    && t < 0.0
                {
                    d += v3(0.0, 0.0, 1.0) * side;
                }
                d
            }
            "mouthUpperUp" => {
                let side = bell((across - 0.45).max(0.0) / 0.42);
                let mut d = v3(0.5, 6.6, 0.6) * (region * upper * side);
                d += v3(0.4, 2.2, 1.2) * (spot(p, 17.0, -49.0, 12.0, 9.0) * self.inside_fade());
                if let Some((LIP_SEAM | LIP_BODY, t)) = self.lip_ring()
                    && t > 0.0
                {
                    d += v3(0.0, 0.0, 1.0) * side;
                }
                d
            }
            "browDown" => {
                let d = v3(-3.4, -7.4, 2.6) * spot(p, 15.0, 26.0, 13.0, 11.0)
                    + v3(-1.2, -4.8, 1.2) * spot(p, 38.0, 28.0, 19.0, 12.0)
                    + v3(0.0, -0.6, -1.4) * spot(p, 2.0, 22.0, 3.5, 9.0);
                d + self.lids(|tau, up| {
                    let middle = (std::f64::consts::PI * tau).sin().max(0.0);
                    if up { (-3.0 * middle, 0.0, 0.4 * middle) } else { (0.0, 0.0, 0.0) }
                })
            }
            "browInnerUp" => {
                v3(0.6, 10.6, 0.8) * spot(p, 10.0, 30.0, 15.0, 15.0)
                    + v3(0.0, 2.0, 0.0) * spot(p, 28.0, 30.0, 16.0, 12.0)
            }
            "browOuterUp" => {
                v3(0.8, 8.2, 0.4) * spot(p, 46.0, 28.0, 17.0, 15.0)
                    + v3(0.0, 1.6, 0.0) * spot(p, 26.0, 30.0, 12.0, 11.0)
                    + self.lids(|tau, up| {
                        let outer = bell((tau - 0.65) / 0.3);
                        if up { (2.2 * outer, 0.0, 0.0) } else { (0.0, 0.0, 0.0) }
                    })
            }
            "cheekPuff" => {
                let out = sculpt::gradient(sculpt::head, p);
                let cheek = spot(p, 43.0, -51.0, 20.0, 22.0) * self.inside_fade();
                let lips = region * (0.55 + 0.45 * across.min(1.0));
                let skin = match self.tag {
                    Tag::Mouth { ring, .. } if ring > LIP_SEAM => 0.0,
                    _ => 1.0,
                };
                // Air lifts the skin over the jaw as well, and draws the corners in.
                // Not down over the jaw's edge, where it would hang.
                let out = v3(out.x + 0.25, 0.35 * out.y, out.z + 0.35);
                let d = out * (12.0 * cheek * skin);
                d + v3(-p.x * 0.16, 0.3 * upper - 0.2 * lower, 4.0) * (lips * skin)
            }
            "cheekSquint" => {
                v3(1.2, 9.4, 7.0) * (spot(p, 40.0, -31.0, 16.0, 12.0) * self.inside_fade())
                    + v3(0.0, 2.0, -1.8) * spot(p, 38.0, -15.5, 15.0, 3.5)
                    + v3(1.0, 2.2, -0.2) * (spot(p, 27.0, -48.0, 7.0, 9.0) * self.inside_fade())
                    + v3(0.8, 2.4, 0.0) * (self.pull_of_corner(16.0, 14.0))
                    + self.lids(|tau, up| {
                        let middle = (std::f64::consts::PI * tau).sin().max(0.0);
                        if up { (-1.5 * middle, 0.0, 0.3 * middle) } else { (11.0 * middle, 0.0, 0.2 * middle) }
                    })
            }
            "noseSneer" => {
                let mut d = v3(1.4, 7.6, 1.2) * spot(p, 11.5, -42.0, 8.0, 8.5);
                // Skin bunches next to the bridge; the fold next to the wing deepens.
                d += v3(0.6, 5.2, 3.8) * spot(p, 14.5, -25.0, 8.0, 10.0);
                d += v3(0.0, 1.0, -1.6) * spot(p, 10.0, -10.0, 7.0, 4.0);
                d += v3(0.6, 2.4, -1.8) * (spot(p, 22.0, -46.0, 4.5, 9.0) * self.inside_fade());
                d += v3(0.8, 3.0, 2.0) * (spot(p, 31.0, -38.0, 10.0, 12.0) * self.inside_fade());
                d += v3(0.2, 5.6, 1.0) * (region * upper * bell((across - 0.5) / 0.42));
                d += v3(-2.4, -4.6, 2.0) * spot(p, 12.0, 24.0, 11.0, 10.0);
                d + self.lids(|tau, up| {
                    let inner = bell((tau - 0.3) / 0.3);
                    if up { (-3.0 * inner, 0.0, 0.3 * inner) } else { (4.5 * inner, 0.0, 0.2 * inner) }
                })
            }
            "tongueOut" => {
                // Just enough room between the lips for the tongue, most of it taken by the lower one.
                let middle = (1.0 - 0.8 * across.powi(2)).max(0.0);
                let mut d = v3(0.0, 1.4 * upper - 6.4 * lower, 0.8) * (region * middle);
                d += v3(0.0, -2.0, 0.0) * (spot(p, 0.0, -88.0, 22.0, 12.0) * self.inside_fade());
                d
            }
            _ => Vec3::ZERO,
        }
    }

    /// The field of a pulled mouth corner: full at the corner, fading towards the middle and over the cheek.
    fn pull_of_corner(&self, rx: f64, ry: f64) -> f64 {
        let p = self.p;
        let (dx, dy) = (p.x - MOUTH_HALF_WIDTH, p.y - MOUTH_Y);
        // Outwards the skin is tauter than along the lips.
        let rx = if dx > 0.0 { rx * 0.75 } else { rx };
        let d = ((dx / rx).powi(2) + (dy / ry).powi(2)).sqrt();
        bell(d) * self.inside_fade()
    }
}

fn jaw_delta(p: Vec3, weight: f64) -> Vec3 {
    let mut d = jaw_open(p) * weight;
    // A mouth that opens grows narrower.
    let corner = bell((p.y - MOUTH_Y) / 14.0) * smoothstep(40.0, 60.0, p.z) * smoothstep(8.0, 24.0, p.x.abs());
    d.x -= 2.4 * p.x.signum() * corner * smoothstep(60.0, 26.0, p.x.abs());
    d
}

/// Cage deltas of all 52 shapes, in canonical order.
pub fn build(cage: &Cage) -> Vec<Vec<Vec3>> {
    let jaw: Vec<f64> =
        cage.points.iter().zip(&cage.tags).map(|(p, tag)| jaw_weight(*tag, cage, v3(p.x.abs(), p.y, p.z))).collect();
    let symmetric = |stem: &str| -> Vec<Vec3> {
        (0..cage.points.len())
            .map(|v| {
                let p = cage.points[v];
                let here = Point { cage, p: v3(p.x.abs(), p.y, p.z), tag: cage.tags[v], jaw: jaw[v] };
                let mut d = here.symmetric(stem);
                if p.x < 0.0 {
                    d = d.mirrored();
                } else if p.x == 0.0 {
                    d.x = 0.0;
                }
                d
            })
            .collect()
    };
    let sideways = |shape: &str| -> Vec<Vec3> {
        (0..cage.points.len())
            .map(|v| {
                let p = cage.points[v];
                let here = Point { cage, p: v3(p.x.abs(), p.y, p.z), tag: cage.tags[v], jaw: jaw[v] };
                if shape == "jaw" {
                    // The upper lip is drawn along a little, so that the lips stay together.
                    let lips = match here.lip_ring() {
                        Some((ring, t)) => {
                            lerp(0.25, 1.0, smoothstep(0.7, -0.7, t))
                                * smoothstep(0.0, 3.0, ring as f64)
                                * here.inside_fade()
                        }
                        None => 0.0,
                    };
                    let w = jaw[v].max(lips);
                    v3(JAW_SIDE, 2.4 * jaw[v] * (p.x / 20.0).clamp(-1.0, 1.0), 0.0) * w
                } else {
                    let w = here.mouth_region(1.25);
                    // The lips slide around the barrel of the teeth.
                    v3(9.5, 0.8 * (p.x / 20.0).clamp(-1.0, 1.0), -0.13 * p.x.clamp(-30.0, 30.0)) * w
                }
            })
            .collect()
    };
    let mirrored =
        |deltas: &[Vec3]| -> Vec<Vec3> { (0..deltas.len()).map(|v| deltas[cage.mirror[v]].mirrored()).collect() };
    names::ALL
        .iter()
        .map(|name| match *name {
            "jawLeft" => sideways("jaw"),
            "jawRight" => mirrored(&sideways("jaw")),
            "mouthLeft" => sideways("mouth"),
            "mouthRight" => mirrored(&sideways("mouth")),
            name => {
                if let Some(stem) = name.strip_suffix("Left") {
                    let deltas = symmetric(stem);
                    deltas.iter().zip(&cage.points).map(|(d, p)| *d * left_share(p.x)).collect()
                } else if let Some(stem) = name.strip_suffix("Right") {
                    let deltas = symmetric(stem);
                    deltas.iter().zip(&cage.points).map(|(d, p)| *d * left_share(-p.x)).collect()
                } else {
                    symmetric(name)
                }
            }
        })
        .collect()
}

/// Pushes a lid point's delta outwards until the straight path from `p` to `p + delta` clears the eyeball.
pub fn clear_eyeball(p: Vec3, delta: Vec3) -> Vec3 {
    const STEPS: usize = 20;
    let eye = if p.x < 0.0 { EYE.mirrored() } else { EYE };
    let need = EYE_RADIUS + LID_CLEARANCE;
    let mut delta = delta;
    for _ in 0..60 {
        let mut worst = 0.0_f64;
        let mut at = 0.5;
        for k in 1..=STEPS {
            let w = k as f64 / STEPS as f64;
            let short = need - (p + delta * w - eye).length();
            if short / w > worst {
                worst = short / w;
                at = w;
            }
        }
        if worst < 1e-6 {
            break;
        }
        let out = (p + delta * at - eye).normalized();
        delta += out * (worst * 1.02);
    }
    delta
}

/// Whether a tag is on the visible part of a lid.
pub fn is_lid(tag: Tag) -> bool {
    matches!(tag, Tag::Eye { ring, .. } if (2..=EYE_MARGIN + 2).contains(&ring))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_halves_sum_to_whole() {
        for x in [-20.0, -5.0, 0.0, 3.0, 11.0] {
            assert!((left_share(x) + left_share(-x) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn targets_upper_lip_does_not_follow_jaw() {
        let cage = cage::build();
        let middle = cage.mouth_id(LIP_SEAM, 0);
        assert!(jaw_weight(cage.tags[middle], &cage, cage.points[middle]).abs() < 1e-9);
        let chin = cage.mouth_id(LIP_SEAM, MOUTH_POINTS - 1);
        assert!(jaw_weight(cage.tags[chin], &cage, cage.points[chin]) > 0.99);
    }
}
