//! Polygon meshes, Catmull-Clark subdivision as reusable stencils, and vertex normals.

use std::collections::HashMap;

use crate::vec3::Vec3;

/// A weighted sum of old vertices that makes one new vertex. Being linear, the same stencil serves positions, morph
/// targets, colours and joint weights.
pub type Stencil = Vec<(usize, f64)>;

/// Faces of one subdivision step and the stencils of its vertices.
pub struct Subdivided {
    /// Quads, counter-clockwise from outside.
    pub faces: Vec<Vec<usize>>,
    /// One stencil per new vertex; the first ones belong to the old vertices, in order.
    pub stencils: Vec<Stencil>,
}

fn merge(parts: &[(&Stencil, f64)]) -> Stencil {
    let mut out: Stencil = Vec::new();
    for (part, k) in parts {
        for (index, weight) in part.iter() {
            match out.iter_mut().find(|(i, _)| i == index) {
                Some((_, w)) => *w += weight * k,
                None => out.push((*index, weight * k)),
            }
        }
    }
    out
}

/// One Catmull-Clark step over any polygon mesh; borders follow the cubic B-spline of the border alone.
pub fn catmull_clark(vertex_count: usize, faces: &[Vec<usize>]) -> Subdivided {
    let face_points: Vec<Stencil> =
        faces.iter().map(|face| face.iter().map(|&v| (v, 1.0 / face.len() as f64)).collect()).collect();

    // Edges in order of first appearance, so that the result never depends on hashing.
    let mut edge_ids: HashMap<(usize, usize), usize> = HashMap::new();
    let mut edges: Vec<(usize, usize, Vec<usize>)> = Vec::new();
    let mut vertex_faces: Vec<Vec<usize>> = vec![Vec::new(); vertex_count];
    let mut vertex_edges: Vec<Vec<usize>> = vec![Vec::new(); vertex_count];
    for (f, face) in faces.iter().enumerate() {
        for (k, &a) in face.iter().enumerate() {
            let b = face[(k + 1) % face.len()];
            let id = *edge_ids.entry((a.min(b), a.max(b))).or_insert_with(|| {
                edges.push((a.min(b), a.max(b), Vec::new()));
                vertex_edges[a].push(edges.len() - 1);
                vertex_edges[b].push(edges.len() - 1);
                edges.len() - 1
            });
            edges[id].2.push(f);
            vertex_faces[a].push(f);
        }
    }

    let mut stencils: Vec<Stencil> = Vec::with_capacity(vertex_count + faces.len() + edges.len());
    for v in 0..vertex_count {
        let border: Vec<usize> = vertex_edges[v].iter().copied().filter(|&e| edges[e].2.len() == 1).collect();
        let own: Stencil = vec![(v, 1.0)];
        if border.len() == 2 {
            let mut parts = vec![(&own, 0.75)];
            let ends: Vec<Stencil> =
                border.iter().map(|&e| vec![(if edges[e].0 == v { edges[e].1 } else { edges[e].0 }, 1.0)]).collect();
            parts.extend(ends.iter().map(|end| (end, 0.125)));
            stencils.push(merge(&parts));
        } else {
            let n = vertex_faces[v].len().max(1) as f64;
            let mids: Vec<Stencil> =
                vertex_edges[v].iter().map(|&e| vec![(edges[e].0, 0.5), (edges[e].1, 0.5)]).collect();
            let mut parts = vec![(&own, (n - 3.0) / n)];
            parts.extend(vertex_faces[v].iter().map(|&f| (&face_points[f], 1.0 / (n * n))));
            parts.extend(mids.iter().map(|mid| (mid, 2.0 / (n * mids.len() as f64))));
            stencils.push(merge(&parts));
        }
    }
    let face_base = stencils.len();
    stencils.extend(face_points.iter().cloned());
    let edge_base = stencils.len();
    for (a, b, around) in &edges {
        let ends: Stencil = vec![(*a, 0.5), (*b, 0.5)];
        if around.len() == 2 {
            stencils.push(merge(&[(&ends, 0.5), (&face_points[around[0]], 0.25), (&face_points[around[1]], 0.25)]));
        } else {
            stencils.push(ends);
        }
    }

    let mut quads = Vec::new();
    for (f, face) in faces.iter().enumerate() {
        let n = face.len();
        for k in 0..n {
            let (prev, v, next) = (face[(k + n - 1) % n], face[k], face[(k + 1) % n]);
            let into = edge_ids[&(prev.min(v), prev.max(v))];
            let out = edge_ids[&(v.min(next), v.max(next))];
            quads.push(vec![v, edge_base + out, face_base + f, edge_base + into]);
        }
    }
    Subdivided { faces: quads, stencils }
}

/// Applies stencils to points.
pub fn apply(stencils: &[Stencil], points: &[Vec3]) -> Vec<Vec3> {
    stencils
        .iter()
        .map(|stencil| {
            let mut sum = Vec3::ZERO;
            for &(i, w) in stencil {
                sum += points[i] * w;
            }
            sum
        })
        .collect()
}

/// Applies stencils to a scalar per vertex.
pub fn apply_scalar(stencils: &[Stencil], values: &[f64]) -> Vec<f64> {
    stencils.iter().map(|stencil| stencil.iter().map(|&(i, w)| values[i] * w).sum()).collect()
}

/// Area-weighted vertex normals.
pub fn normals(points: &[Vec3], faces: &[Vec<usize>]) -> Vec<Vec3> {
    let mut sums = vec![Vec3::ZERO; points.len()];
    for face in faces {
        let n = face.len();
        // Newell's sum over the corners is twice the vector area of any polygon, flat or not.
        let mut area = Vec3::ZERO;
        for k in 0..n {
            area += points[face[k]].cross(points[face[(k + 1) % n]]);
        }
        for &v in face {
            sums[v] += area;
        }
    }
    sums.into_iter().map(Vec3::normalized).collect()
}

/// Fan triangles of polygons.
pub fn triangles(faces: &[Vec<usize>]) -> Vec<u32> {
    let mut out = Vec::new();
    for face in faces {
        for k in 1..face.len() - 1 {
            out.extend([face[0] as u32, face[k] as u32, face[k + 1] as u32]);
        }
    }
    out
}

/// Quads of a `rows` x `columns` lattice of vertices that starts at `base`; counter-clockwise where rows go down and
/// columns go right. `wrap` closes each row.
pub fn lattice(base: usize, rows: usize, columns: usize, wrap: bool) -> Vec<Vec<usize>> {
    let spans = if wrap { columns } else { columns - 1 };
    let mut faces = Vec::new();
    for r in 0..rows - 1 {
        for c in 0..spans {
            let d = (c + 1) % columns;
            faces.push(vec![
                base + r * columns + c,
                base + (r + 1) * columns + c,
                base + (r + 1) * columns + d,
                base + r * columns + d,
            ]);
        }
    }
    faces
}
