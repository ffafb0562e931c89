//! Metal panels that lie on the head: cut by an outline and holes, with rounded edges and walls.
//!
//! The inside of a panel is triangulated (Delaunay) in a conformal chart of the directions around the panel's axis; its
//! normals come from the head's form, so that the triangles never show. Panels are made for the left half and mirrored:
//! those that cross the middle are welded there.

use super::form;
use crate::part::Part;
use crate::vec3::{Vec3, smoothstep, v3};

/// Radius of the chart's sphere, which makes its units about millimetres.
const CHART: f64 = 88.0;
/// Turns of the rounded edge, in degrees.
const ROUND: [f64; 3] = [0.0, 48.0, 90.0];

/// What a panel is made of.
pub struct Spec {
    /// Middle of the chart; in the plane of symmetry for a panel that crosses it.
    pub axis: Vec3,
    /// Outline as directions. Of a panel that crosses the middle, its left half: from the middle to the middle.
    pub outline: Vec<Vec3>,
    /// Whether the panel crosses the middle.
    pub crosses: bool,
    /// Holes, as closed loops of directions.
    pub holes: Vec<Vec<Vec3>>,
    /// Height over the head's form.
    pub lift: f64,
    /// Radius of the edges.
    pub edge: f64,
    /// Height of the wall under the edge.
    pub wall: f64,
    /// Distance between the inner points.
    pub spacing: f64,
}

/// Where a vertex lies on its panel.
pub struct Spot {
    /// The point.
    pub p: Vec3,
    /// Distance from the edge, in the chart; 0 on the rounding.
    pub inside: f64,
    /// How far over the edge: 0 on the plate, 1 at the wall's top, 2 at its foot.
    pub over: f64,
}

/// Points along a smooth curve through `knots` (Catmull-Rom), about `step` apart.
pub fn smooth(knots: &[Vec3], step: f64, closed: bool) -> Vec<Vec3> {
    let n = knots.len();
    let at = |i: isize| -> Vec3 {
        if closed {
            knots[i.rem_euclid(n as isize) as usize]
        } else if i < 0 {
            knots[0] * 2.0 - knots[1]
        } else if i as usize >= n {
            knots[n - 1] * 2.0 - knots[n - 2]
        } else {
            knots[i as usize]
        }
    };
    let mut fine = Vec::new();
    let spans = if closed { n } else { n - 1 };
    for i in 0..spans {
        let i = i as isize;
        let (a, b, c, d) = (at(i - 1), at(i), at(i + 1), at(i + 2));
        for k in 0..24 {
            let t = f64::from(k) / 24.0;
            let (t2, t3) = (t * t, t * t * t);
            fine.push(
                (b * 2.0 + (c - a) * t + (a * 2.0 - b * 5.0 + c * 4.0 - d) * t2 + (b * 3.0 - a - c * 3.0 + d) * t3)
                    * 0.5,
            );
        }
    }
    fine.push(if closed { knots[0] } else { knots[n - 1] });
    even(&fine, step, closed)
}

/// Points about `step` apart along a chain; without the last one of a closed chain.
fn even(chain: &[Vec3], step: f64, closed: bool) -> Vec<Vec3> {
    let mut lengths = vec![0.0];
    for w in chain.windows(2) {
        lengths.push(lengths[lengths.len() - 1] + (w[1] - w[0]).length());
    }
    let total = lengths[lengths.len() - 1];
    let count = (total / step).round().max(3.0) as usize;
    let mut out = Vec::new();
    let mut k = 0;
    for i in 0..=count {
        if closed && i == count {
            break;
        }
        let want = total * i as f64 / count as f64;
        while k + 2 < chain.len() && lengths[k + 1] < want {
            k += 1;
        }
        let span = lengths[k + 1] - lengths[k];
        let t = if span > 0.0 { ((want - lengths[k]) / span).clamp(0.0, 1.0) } else { 0.0 };
        out.push(chain[k].lerp(chain[k + 1], t));
    }
    out
}

/// A stereographic chart of directions.
struct Chart {
    axis: Vec3,
    right: Vec3,
    up: Vec3,
}

type Flat = (f64, f64);

impl Chart {
    fn new(axis: Vec3, crosses: bool) -> Self {
        let axis = axis.normalized();
        // In a panel that crosses the middle, the left half is the right one of the chart.
        let right = if crosses { v3(1.0, 0.0, 0.0) } else { v3(0.0, 1.0, 0.0).cross(axis).normalized() };
        Self { axis, right, up: axis.cross(right) }
    }

    fn flat(&self, direction: Vec3) -> Flat {
        let k = 2.0 * CHART / (1.0 + direction.dot(self.axis));
        (direction.dot(self.right) * k, direction.dot(self.up) * k)
    }

    fn direction(&self, (u, v): Flat) -> Vec3 {
        let (u, v) = (u / (2.0 * CHART), v / (2.0 * CHART));
        let r2 = u * u + v * v;
        (self.right * (2.0 * u) + self.up * (2.0 * v) + self.axis * (1.0 - r2)) * (1.0 / (1.0 + r2))
    }
}

fn area(points: &[Flat]) -> f64 {
    let n = points.len();
    (0..n).map(|i| points[i].0 * points[(i + 1) % n].1 - points[(i + 1) % n].0 * points[i].1).sum()
}

fn inside(polygon: &[Flat], (x, y): Flat) -> bool {
    let n = polygon.len();
    let mut odd = false;
    for i in 0..n {
        let (a, b) = (polygon[i], polygon[(i + 1) % n]);
        if (a.1 > y) != (b.1 > y) && x < a.0 + (y - a.1) / (b.1 - a.1) * (b.0 - a.0) {
            odd = !odd;
        }
    }
    odd
}

/// Distance from a point to a chain of segments.
fn distance(chain: &[Flat], closed: bool, (x, y): Flat) -> f64 {
    let n = chain.len();
    let spans = if closed { n } else { n - 1 };
    let mut best = f64::INFINITY;
    for i in 0..spans {
        let (a, b) = (chain[i], chain[(i + 1) % n]);
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let t = (((x - a.0) * dx + (y - a.1) * dy) / (dx * dx + dy * dy).max(1e-12)).clamp(0.0, 1.0);
        best = best.min(((x - a.0 - t * dx).powi(2) + (y - a.1 - t * dy).powi(2)).sqrt());
    }
    best
}

/// Delaunay triangles, counter-clockwise, by adding point after point.
fn delaunay(points: &[Flat]) -> Vec<[usize; 3]> {
    const FAR: f64 = 1e5;
    let n = points.len();
    let mut all = points.to_vec();
    all.extend([(-FAR, -FAR), (FAR, -FAR), (0.0, FAR)]);
    let circle = |all: &[Flat], t: [usize; 3]| {
        let (a, b, c) = (all[t[0]], all[t[1]], all[t[2]]);
        let d = 2.0 * (a.0 * (b.1 - c.1) + b.0 * (c.1 - a.1) + c.0 * (a.1 - b.1));
        let (a2, b2, c2) = (a.0 * a.0 + a.1 * a.1, b.0 * b.0 + b.1 * b.1, c.0 * c.0 + c.1 * c.1);
        let x = (a2 * (b.1 - c.1) + b2 * (c.1 - a.1) + c2 * (a.1 - b.1)) / d;
        let y = (a2 * (c.0 - b.0) + b2 * (a.0 - c.0) + c2 * (b.0 - a.0)) / d;
        (x, y, (a.0 - x).powi(2) + (a.1 - y).powi(2))
    };
    let first = [n, n + 1, n + 2];
    let mut triangles = vec![(first, circle(&all, first))];
    for i in 0..n {
        let p = all[i];
        let mut edges: Vec<(usize, usize)> = Vec::new();
        triangles.retain(|(t, (x, y, r2))| {
            let hit = (p.0 - x).powi(2) + (p.1 - y).powi(2) < *r2;
            if hit {
                edges.extend([(t[0], t[1]), (t[1], t[2]), (t[2], t[0])]);
            }
            !hit
        });
        for &(a, b) in &edges {
            if edges.contains(&(b, a)) {
                continue;
            }
            let turn = (all[b].0 - all[a].0) * (p.1 - all[a].1) - (all[b].1 - all[a].1) * (p.0 - all[a].0);
            if turn > 1e-9 {
                let t = [a, b, i];
                triangles.push((t, circle(&all, t)));
            }
        }
    }
    triangles.into_iter().map(|(t, _)| t).filter(|t| t.iter().all(|&v| v < n)).collect()
}

/// A small fixed scatter, so that no four inner points share a circle.
fn scatter(k: usize) -> f64 {
    let h = (k as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    (h % 4096) as f64 / 4096.0 - 0.5
}

/// A loop of the panel's border.
struct Border {
    directions: Vec<Vec3>,
    open: bool,
    /// Chart places of the edge of the flat part.
    flat: Vec<Flat>,
}

/// Builds a panel; one that does not cross the middle is only the left one of two.
pub fn build(spec: &Spec, paint: impl Fn(&Spot) -> [f32; 4]) -> Part {
    let chart = Chart::new(spec.axis, spec.crosses);
    let mut part = Part::default();
    let mut spots: Vec<(f64, f64)> = Vec::new();
    let mut borders = Vec::new();
    let loops =
        std::iter::once((&spec.outline, spec.crosses, true)).chain(spec.holes.iter().map(|h| (h, false, false)));
    for (directions, open, outer) in loops {
        let mut directions = directions.clone();
        let flat: Vec<Flat> = directions.iter().map(|d| chart.flat(*d)).collect();
        if (area(&flat) > 0.0) != outer {
            directions.reverse();
        }
        borders.push(Border { directions, open, flat: Vec::new() });
    }
    // Vertices of the flat part come first: the borders', then the inner ones.
    let mut frames = Vec::new();
    for border in &mut borders {
        let d = &border.directions;
        let n = d.len();
        for i in 0..n {
            let before = if i > 0 {
                d[i - 1]
            } else if border.open {
                d[1].mirrored()
            } else {
                d[n - 1]
            };
            let after = if i + 1 < n {
                d[i + 1]
            } else if border.open {
                d[n - 2].mirrored()
            } else {
                d[0]
            };
            let on_middle = border.open && (i == 0 || i == n - 1);
            let here = form::plain(d[i]);
            let mut up = form::normal(d[i]);
            let along = (form::skin(after) - form::skin(before)).normalized();
            let mut inward = up.cross(along).normalized();
            if on_middle {
                up = v3(0.0, up.y, up.z).normalized();
                inward = v3(0.0, inward.y, inward.z).normalized();
            }
            let inner = form::towards(here + inward * spec.edge);
            border.flat.push(chart.flat(inner));
            let (mut a, mut b) = (form::skin(inner) + up * spec.lift, form::skin(d[i]) + up * spec.lift);
            if on_middle {
                a.x = 0.0;
                b.x = 0.0;
            }
            frames.push((a, b, up, inward));
            part.points.push(a);
            part.normals.push(up);
            spots.push((0.0, 0.0));
        }
    }
    let polygons: Vec<&[Flat]> = borders.iter().map(|b| b.flat.as_slice()).collect();
    let within = |p: Flat| polygons.iter().filter(|polygon| inside(polygon, p)).count() % 2 == 1;
    let clear = |p: Flat| borders.iter().map(|b| distance(&b.flat, !b.open, p)).fold(f64::INFINITY, f64::min);
    let mut places: Vec<Flat> = borders.iter().flat_map(|b| b.flat.clone()).collect();
    if spec.crosses {
        for place in &mut places {
            if place.0.abs() < 1e-9 {
                place.0 = 0.0;
            }
        }
    }
    let (mut low, mut high) = ((f64::INFINITY, f64::INFINITY), (f64::NEG_INFINITY, f64::NEG_INFINITY));
    for p in &places {
        low = (low.0.min(p.0), low.1.min(p.1));
        high = (high.0.max(p.0), high.1.max(p.1));
    }
    let row_height = spec.spacing * 0.866;
    let rows = ((high.1 - low.1) / row_height) as usize + 1;
    let start = if spec.crosses { 0.0 } else { low.0 };
    let columns = ((high.0 - start) / spec.spacing) as usize + 2;
    let mut inner = Vec::new();
    for r in 0..rows {
        for c in 0..columns {
            // On the middle, every row has a point.
            let shift = if r % 2 == 1 && !(spec.crosses && c == 0) { 0.5 } else { 0.0 };
            let mut p = (start + (c as f64 + shift) * spec.spacing, low.1 + (r as f64 + 0.5) * row_height);
            let k = r * 512 + c;
            if !(spec.crosses && c == 0) {
                p.0 += 0.06 * spec.spacing * scatter(2 * k);
            }
            p.1 += 0.06 * spec.spacing * scatter(2 * k + 1);
            let on_middle = spec.crosses && c == 0;
            let probe = if on_middle { (1e-6, p.1) } else { p };
            let gap = clear(p);
            if within(probe) && gap > 0.62 * spec.spacing {
                inner.push((p, gap, on_middle));
            }
        }
    }
    for (p, gap, on_middle) in inner {
        let direction = chart.direction(p);
        let mut up = form::normal(direction);
        let mut at = form::skin(direction);
        if on_middle {
            up = v3(0.0, up.y, up.z).normalized();
            at.x = 0.0;
        }
        places.push(p);
        part.points.push(at + up * spec.lift);
        part.normals.push(up);
        spots.push((gap, 0.0));
    }
    for t in delaunay(&places) {
        let middle = t.iter().fold((0.0, 0.0), |s, &v| (s.0 + places[v].0 / 3.0, s.1 + places[v].1 / 3.0));
        if within(middle) {
            part.faces.push(t.to_vec());
        }
    }
    // Rounded edges and walls.
    let mut first = 0;
    for border in &borders {
        let n = border.directions.len();
        let mut ring: Vec<usize> = (first..first + n).collect();
        for (k, turn) in ROUND.iter().skip(1).map(|t| t.to_radians()).chain([f64::NAN]).enumerate() {
            let base = part.points.len();
            for (a, b, up, inward) in &frames[first..first + n] {
                let wall = turn.is_nan();
                let (sin, cos) = if wall { (1.0, 0.0) } else { turn.sin_cos() };
                let down = spec.edge * (1.0 - cos) + if wall { spec.wall } else { 0.0 };
                part.points.push(*a + (*b - *a) * sin - *up * down);
                part.normals.push((*up * cos - *inward * sin).normalized());
                spots.push((0.0, if wall { 2.0 } else { (k + 1) as f64 / 2.0 }));
            }
            let next: Vec<usize> = (base..base + n).collect();
            let spans = if border.open { n - 1 } else { n };
            for i in 0..spans {
                let j = (i + 1) % n;
                part.faces.push(vec![ring[i], next[i], next[j], ring[j]]);
            }
            ring = next;
        }
        first += n;
    }
    part.colours = (0..part.points.len())
        .map(|v| paint(&Spot { p: part.points[v], inside: spots[v].0, over: spots[v].1 }))
        .collect();
    if spec.crosses { welded(part) } else { part }
}

/// Both halves of a left half that meets the middle.
pub fn welded(left: Part) -> Part {
    let mut part = left;
    let count = part.points.len();
    let mut twin = Vec::with_capacity(count);
    for v in 0..count {
        if part.points[v].x == 0.0 {
            twin.push(v);
        } else {
            twin.push(part.points.len());
            part.points.push(part.points[v].mirrored());
            part.colours.push(part.colours[v]);
            if !part.normals.is_empty() {
                part.normals.push(part.normals[v].mirrored());
            }
        }
    }
    let mirrored: Vec<Vec<usize>> =
        part.faces.iter().map(|face| face.iter().rev().map(|&v| twin[v]).collect()).collect();
    part.faces.extend(mirrored);
    part
}

/// A wear mark's strength at a place of an edge: mostly none, some long scratches.
pub fn wear(p: Vec3) -> f64 {
    let wave = |a: f64, b: f64, c: f64| (p.x.abs() * a + p.y * b + p.z * c).sin();
    let sum = wave(0.21, 0.13, 0.08) + wave(0.37, -0.29, 0.31) + 0.7 * wave(0.9, 0.8, -0.7);
    smoothstep(0.2, 1.5, sum)
}
