//! The skin mesh: the cage subdivided, with its expressions, colours and joint weights.

use crate::cage::{self, Cage, LIP_BODY, LIP_BORDER, LIP_SEAM, Tag};
use crate::gltf::Target;
use crate::hair;
use crate::mesh::{self, Stencil};
use crate::names;
use crate::palette::{self, mix};
use crate::proportion::settle;
use crate::sculpt::{self, EYE, EYE_RADIUS};
use crate::targets;
use crate::vec3::{Vec3, bell, curve, lerp, smoothstep, v3};

/// The finished skin.
pub struct Face {
    /// Positions at rest.
    pub points: Vec<Vec3>,
    /// Quads.
    pub faces: Vec<Vec<usize>>,
    /// Normals at rest.
    pub normals: Vec<Vec3>,
    /// Mirror image of each vertex.
    pub mirror: Vec<usize>,
    /// Deltas of the 52 shapes.
    pub deltas: Vec<Vec<Vec3>>,
    /// Vertex colours.
    pub colours: Vec<[f32; 4]>,
    /// Weights of Chest, Neck, Head.
    pub weights: Vec<[f32; 4]>,
    /// How much each vertex belongs to the lids.
    #[cfg(test)]
    pub lid: Vec<f64>,
    /// The cage that it was made from.
    pub cage: Cage,
}

/// Share of the head joint down the neck, by lattice row.
const HEAD_ROWS: [(f64, f64); 6] = [(25.0, 1.0), (26.0, 0.95), (27.0, 0.78), (28.0, 0.45), (29.0, 0.18), (30.0, 0.0)];
/// Share of the chest joint, by lattice row.
const CHEST_ROWS: [(f64, f64); 4] = [(28.0, 0.0), (29.0, 0.15), (30.0, 0.6), (31.0, 1.0)];

fn label(cage: &Cage, of: impl Fn(Tag, usize) -> f64, stencils: &[Stencil]) -> Vec<f64> {
    let values: Vec<f64> = cage.tags.iter().enumerate().map(|(v, tag)| of(*tag, v)).collect();
    mesh::apply_scalar(stencils, &values)
}

/// For every subdivided vertex its mirror image, found through the stencils.
fn mirror_of(cage: &Cage, stencils: &[Stencil]) -> Vec<usize> {
    let key = |stencil: &Stencil, flip: bool| {
        let mut k: Vec<(usize, i64)> =
            stencil.iter().map(|&(i, w)| (if flip { cage.mirror[i] } else { i }, (w * 1e9).round() as i64)).collect();
        k.sort_unstable();
        k
    };
    let index: std::collections::HashMap<_, _> =
        stencils.iter().enumerate().map(|(v, stencil)| (key(stencil, false), v)).collect();
    stencils.iter().enumerate().map(|(v, stencil)| index.get(&key(stencil, true)).copied().unwrap_or(v)).collect()
}

/// Copies the left half of a vector field onto the right, so that rounding cannot make the halves differ.
fn symmetrise(points: &mut [Vec3], mirror: &[usize], rest: &[Vec3]) {
    for v in 0..points.len() {
        let m = mirror[v];
        if m == v {
            points[v].x = 0.0;
        } else if rest[v].x > 0.0 {
            points[m] = points[v].mirrored();
        }
    }
}

fn colour(cage_labels: &Labels, v: usize, p: Vec3, n: Vec3) -> [f32; 4] {
    let q = v3(p.x.abs(), p.y, p.z);
    let spot = |x: f64, y: f64, rx: f64, ry: f64| {
        bell((((q.x - x) / rx).powi(2) + ((q.y - y) / ry).powi(2)).sqrt()) * smoothstep(5.0, 45.0, q.z)
    };
    let mut c = palette::SKIN;
    // Light skin on what stands out, thin and cool skin under the eyes.
    c = mix(c, palette::GLOW, 0.55 * spot(0.0, 44.0, 34.0, 20.0));
    c = mix(c, palette::GLOW, 0.50 * spot(0.0, -16.0, 5.0, 22.0));
    c = mix(c, palette::GLOW, 0.45 * spot(44.0, -16.0, 14.0, 7.0));
    c = mix(c, palette::GLOW, 0.35 * spot(0.0, -86.0, 12.0, 6.0));
    c = mix(c, palette::COOL, 0.42 * spot(27.0, -21.0, 14.0, 5.0));
    c = mix(c, palette::COOL, 0.22 * spot(21.0, -70.0, 14.0, 10.0));
    // Warmth where blood is near: cheeks, nose, ears, chin, brow.
    c = mix(c, palette::BLUSH, 0.46 * spot(41.0, -33.0, 22.0, 14.0));
    c = mix(c, palette::BLUSH, 0.24 * spot(46.0, -31.0, 11.0, 8.0));
    c = mix(c, palette::BLUSH, 0.20 * spot(12.0, -22.0, 16.0, 8.0));
    c = mix(c, palette::BLUSH, 0.42 * spot(0.0, -37.0, 9.0, 7.0));
    c = mix(c, palette::BLUSH, 0.34 * spot(11.5, -41.0, 5.0, 6.0));
    c = mix(c, palette::BLUSH, 0.22 * spot(0.0, -92.0, 13.0, 8.0));
    c = mix(c, palette::BLUSH, 0.14 * spot(36.0, 14.0, 18.0, 7.0));
    c = mix(c, palette::BLUSH, 0.46 * cage_labels.ear[v]);
    c = mix(c, palette::EAR_DEEP, 0.55 * cage_labels.ear_deep[v]);
    // Soft shadow: sockets, next to the bridge, under the nose, around its wings, under the lip and the jaw, the neck.
    c = mix(c, palette::SHADE, 0.30 * spot(14.5, 8.0, 6.0, 13.0));
    c = mix(c, palette::SHADE, 0.26 * spot(35.0, 17.0, 20.0, 6.0));
    c = mix(c, palette::SHADE, 0.34 * spot(6.0, -48.0, 8.0, 3.0));
    c = mix(c, palette::SHADE, 0.30 * spot(16.5, -41.0, 2.6, 7.0));
    c = mix(c, palette::SHADE, 0.30 * spot(0.0, -79.5, 13.0, 3.4));
    c = mix(c, palette::SHADE, 0.20 * spot(25.5, -63.0, 4.0, 5.0));
    c = mix(c, palette::SHADE, 0.35 * smoothstep(58.0, 74.0, q.x) * smoothstep(-10.0, 20.0, q.z));
    let under = smoothstep(-0.1, -0.8, n.y) * smoothstep(-85.0, -100.0, q.y);
    c = mix(c, palette::SHADE, 0.45 * under);
    c = mix(c, palette::SHADE, 0.40 * smoothstep(-100.0, -118.0, q.y) * (1.0 - cage_labels.ear[v]));
    // What the face hides from the sky is darker and redder, as light that has gone through skin is.
    let hidden = sculpt::occlusion(sculpt::head, q, v3(if p.x < 0.0 { -n.x } else { n.x }, n.y, n.z));
    c = mix(c, palette::HIDDEN, 0.6 * hidden * smoothstep(-30.0, 10.0, q.z) * smoothstep(-112.0, -96.0, q.y));
    // The hair's own shade along its line.
    c = mix(c, palette::HAIR_ROOT, 0.5 * hair::shade(p) * (1.0 - cage_labels.ear[v]));
    c = mix(c, palette::LID, 0.95 * cage_labels.fold[v]);
    c = mix(c, palette::LID_EDGE, 0.9 * cage_labels.lid_edge[v]);
    c = mix(c, palette::CARUNCLE, 0.85 * cage_labels.wet[v]);
    c = mix(c, palette::LIP, cage_labels.lip[v]);
    c = mix(c, palette::LIP_LIGHT, 0.6 * cage_labels.lip_light[v]);
    c = mix(c, palette::LIP_SEAM, 0.85 * cage_labels.seam[v]);
    c = mix(c, palette::MOUTH, cage_labels.inside[v]);
    palette::opaque(c)
}

struct Labels {
    ear: Vec<f64>,
    ear_deep: Vec<f64>,
    fold: Vec<f64>,
    lid_edge: Vec<f64>,
    wet: Vec<f64>,
    lip: Vec<f64>,
    lip_light: Vec<f64>,
    seam: Vec<f64>,
    inside: Vec<f64>,
}

impl Labels {
    fn new(cage: &Cage, stencils: &[Stencil]) -> Self {
        let middle = |j: usize| (std::f64::consts::PI * cage::lid_place(j).0).sin().max(0.0);
        Self {
            ear: label(cage, |t, _| if matches!(t, Tag::Ear { .. }) { 1.0 } else { 0.0 }, stencils),
            ear_deep: label(cage, |t, _| if matches!(t, Tag::Ear { ring: 0..=2 }) { 1.0 } else { 0.0 }, stencils),
            fold: label(
                cage,
                |t, _| match t {
                    Tag::Eye { ring: 3, j } if cage::lid_place(j).1 => middle(j).sqrt(),
                    Tag::Eye { ring: 4, j } if cage::lid_place(j).1 => 0.45 * middle(j),
                    Tag::Eye { ring: 4, .. } => 0.25,
                    _ => 0.0,
                },
                stencils,
            ),
            lid_edge: label(
                cage,
                |t, _| match t {
                    Tag::Eye { ring, j } if ring >= 5 && cage::lid_place(j).1 => {
                        lerp(0.35, 1.0, smoothstep(0.0, 0.25, cage::lid_place(j).0))
                    }
                    Tag::Eye { ring: 5.., j } => 0.3 * smoothstep(0.4, 0.9, cage::lid_place(j).0),
                    _ => 0.0,
                },
                stencils,
            ),
            // The lower lid's edge is wet, and the inner corner red.
            wet: label(
                cage,
                |t, _| match t {
                    Tag::Eye { ring: 5, j } if !cage::lid_place(j).1 => 0.6,
                    Tag::Eye { ring: 6.., j } if !cage::lid_place(j).1 => 0.9,
                    Tag::Eye { ring: 5.., j: 0 | 1 } => 0.9,
                    _ => 0.0,
                },
                stencils,
            ),
            lip_light: label(
                cage,
                |t, _| match t {
                    Tag::Mouth { ring: LIP_BODY, j } if cage::lip_place(j) < 0.0 => {
                        smoothstep(0.15, 0.7, -cage::lip_place(j))
                    }
                    Tag::Mouth { ring: LIP_BODY, j } => 0.3 * smoothstep(0.2, 0.7, cage::lip_place(j)),
                    _ => 0.0,
                },
                stencils,
            ),
            lip: label(
                cage,
                |t, _| match t {
                    Tag::Mouth { ring: LIP_BORDER, .. } => 0.62,
                    Tag::Mouth { ring, .. } if ring >= LIP_BODY => 1.0,
                    _ => 0.0,
                },
                stencils,
            ),
            seam: label(cage, |t, _| if matches!(t, Tag::Mouth { ring: LIP_SEAM, .. }) { 1.0 } else { 0.0 }, stencils),
            inside: label(
                cage,
                |t, _| match t {
                    Tag::Mouth { ring: 7, .. } => 0.75,
                    Tag::Mouth { ring, .. } if ring > 7 => 1.0,
                    Tag::MouthEnd => 1.0,
                    _ => 0.0,
                },
                stencils,
            ),
        }
    }
}

/// Builds the skin.
pub fn build() -> Face {
    let cage = cage::build();
    let cage_deltas = targets::build(&cage);
    let fine = mesh::catmull_clark(cage.points.len(), &cage.faces);
    let mirror = mirror_of(&cage, &fine.stencils);
    let sculpted = mesh::apply(&fine.stencils, &cage.points);
    let mut points: Vec<Vec3> = sculpted.iter().map(|p| settle(*p)).collect();
    let lid = label(&cage, |t, _| if targets::is_lid(t) { 1.0 } else { 0.0 }, &fine.stencils);

    // Subdivision rounds the lids' edges inwards; bring them back clear of the ball.
    for (p, lid) in points.iter_mut().zip(&lid) {
        let eye = if p.x < 0.0 { EYE.mirrored() } else { EYE };
        let d = *p - eye;
        let need = EYE_RADIUS + targets::LID_CLEARANCE;
        if *lid > 0.0 && d.length() < need {
            *p = eye + d.normalized() * need;
        }
    }
    let rest = points.clone();
    symmetrise(&mut points, &mirror, &rest);
    let mut normals = mesh::normals(&points, &fine.faces);
    symmetrise(&mut normals, &mirror, &points);

    let mut deltas: Vec<Vec<Vec3>> = cage_deltas
        .iter()
        .map(|d| {
            let mut moved = mesh::apply(&fine.stencils, d);
            for (((delta, p), lid), from) in moved.iter_mut().zip(&points).zip(&lid).zip(&sculpted) {
                *delta = settle(*from + *delta) - settle(*from);
                if *lid > 0.0 && delta.length() > 1e-9 {
                    *delta = targets::clear_eyeball(*p, *delta);
                }
            }
            moved
        })
        .collect();
    for index in 0..names::COUNT {
        let partner = names::mirror(index);
        if partner == index {
            symmetrise(&mut deltas[index], &mirror, &points);
        } else if partner > index {
            deltas[partner] = (0..points.len()).map(|v| deltas[index][mirror[v]].mirrored()).collect();
        }
    }

    let labels = Labels::new(&cage, &fine.stencils);
    let colours = (0..points.len()).map(|v| colour(&labels, v, sculpted[v], normals[v])).collect();
    let row = |t: Tag| match t {
        Tag::Grid { row, .. } => row as f64,
        _ => 0.0,
    };
    let head = label(&cage, |t, _| curve(&HEAD_ROWS, row(t)), &fine.stencils);
    let chest = label(&cage, |t, _| curve(&CHEST_ROWS, row(t)), &fine.stencils);
    let weights = head
        .iter()
        .zip(&chest)
        .map(|(h, c)| {
            let head = h.clamp(0.0, 1.0) as f32;
            let chest = (c.clamp(0.0, 1.0) as f32).min(1.0 - head);
            [chest, 1.0 - head - chest, head, 0.0]
        })
        .collect();
    Face {
        points,
        faces: fine.faces,
        normals,
        mirror,
        deltas,
        colours,
        weights,
        #[cfg(test)]
        lid,
        cage,
    }
}

impl Face {
    /// Triangles of the cage, each quad split along the diagonal that is nearer to the smooth surface.
    pub fn cage_triangles(&self) -> Vec<u32> {
        let cage = self.cage.points.len();
        let middle = |a: usize, b: usize| (self.points[a] + self.points[b]) * 0.5;
        let turned = self.cage.faces.iter().enumerate().map(|(f, face)| {
            let mut face = face.clone();
            // Subdivision puts the faces' own points after those of the cage.
            let smooth = self.points[cage + f];
            let off = |a: usize, b: usize| (middle(face[a], face[b]) - smooth).length();
            if face.len() == 4 && off(1, 3) < off(0, 2) {
                face.rotate_left(1);
            }
            face
        });
        mesh::triangles(&turned.collect::<Vec<_>>())
    }

    /// The shapes as glTF targets, with the change of the normals.
    pub fn targets(&self) -> Vec<Target> {
        let mut normals: Vec<Vec<Vec3>> =
            names::ALL.iter().zip(&self.deltas).map(|(name, d)| self.normal_deltas(name, d)).collect();
        for index in 0..names::COUNT {
            let partner = names::mirror(index);
            if partner == index {
                symmetrise(&mut normals[index], &self.mirror, &self.points);
            } else if partner > index {
                normals[partner] = (0..self.points.len()).map(|v| normals[index][self.mirror[v]].mirrored()).collect();
            }
        }
        self.deltas
            .iter()
            .zip(normals)
            .zip(names::ALL)
            .map(|((positions, normals), name)| Target { name, positions: positions.clone(), normals })
            .collect()
    }

    fn normal_deltas(&self, name: &str, deltas: &[Vec3]) -> Vec<Vec3> {
        let add = |points: &[Vec3], deltas: &[Vec3]| -> Vec<Vec3> {
            points.iter().zip(deltas).map(|(p, d)| *p + *d).collect()
        };
        // mouthClose only means something on an open jaw, so its normals are what it changes there.
        let jaw_open = names::ALL.iter().position(|n| *n == "jawOpen").filter(|_| name == "mouthClose");
        let (points, rest) = match jaw_open {
            Some(jaw) => {
                let opened = add(&self.points, &self.deltas[jaw]);
                let normals = mesh::normals(&opened, &self.faces);
                (opened, normals)
            }
            None => (self.points.clone(), self.normals.clone()),
        };
        mesh::normals(&add(&points, deltas), &self.faces).iter().zip(&rest).map(|(n, rest)| *n - *rest).collect()
    }

    /// How a point that lies on the skin moves with it in shape `shape`: the mean of the nearest vertices' moves.
    pub fn carry(&self, binding: &[(usize, f64)], shape: usize) -> Vec3 {
        let mut sum = Vec3::ZERO;
        for &(v, w) in binding {
            sum += self.deltas[shape][v] * w;
        }
        sum
    }

    /// Where a ray first meets the skin from outside, if it does.
    pub fn hit(&self, origin: Vec3, direction: Vec3) -> Option<Vec3> {
        let place = self.hit_place(origin, direction)?;
        let mut p = Vec3::ZERO;
        for (v, w) in place {
            p += self.points[v] * w;
        }
        Some(p)
    }

    /// The same as the triangle's corners with their shares: a binding that rides exactly on the drawn surface.
    pub fn hit_place(&self, origin: Vec3, direction: Vec3) -> Option<[(usize, f64); 3]> {
        let direction = direction.normalized();
        let mut nearest: Option<(f64, [(usize, f64); 3])> = None;
        for face in &self.faces {
            for k in 1..face.len() - 1 {
                let a = self.points[face[0]];
                let (u, v) = (self.points[face[k]] - a, self.points[face[k + 1]] - a);
                let h = direction.cross(v);
                let det = u.dot(h);
                // Only faces that look towards the origin.
                if det < 1e-12 {
                    continue;
                }
                let s = origin - a;
                let b = s.dot(h) / det;
                let q = s.cross(u);
                let c = direction.dot(q) / det;
                let t = v.dot(q) / det;
                if b >= -1e-9 && c >= -1e-9 && b + c <= 1.0 + 1e-9 && t > 0.0 && nearest.is_none_or(|(n, _)| t < n) {
                    nearest = Some((t, [(face[0], 1.0 - b - c), (face[k], b), (face[k + 1], c)]));
                }
            }
        }
        nearest.map(|(_, place)| place)
    }

    /// Binds a point to the skin's nearest vertices.
    pub fn bind(&self, p: Vec3) -> Vec<(usize, f64)> {
        const NEAREST: usize = 6;
        let mut near: Vec<(usize, f64)> = self.points.iter().enumerate().map(|(v, q)| (v, (*q - p).length())).collect();
        let nearer = |a: &(usize, f64), b: &(usize, f64)| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0));
        near.select_nth_unstable_by(NEAREST, nearer);
        near.truncate(NEAREST);
        near.sort_by(nearer);
        let reach = near.last().map_or(1.0, |n| n.1) * 1.05 + 1e-6;
        for n in &mut near {
            n.1 = (1.0 - n.1 / reach).powi(2);
        }
        let total: f64 = near.iter().map(|n| n.1).sum();
        for n in &mut near {
            n.1 /= total;
        }
        near
    }
}
