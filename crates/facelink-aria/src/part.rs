//! A piece of the character before it becomes a glTF mesh.

use crate::gltf::{Mesh, Target};
use crate::mesh;
use crate::vec3::Vec3;

/// Geometry with colours and, where it moves, morph targets.
#[derive(Default)]
pub struct Part {
    /// Positions in modelling space.
    pub points: Vec<Vec3>,
    /// Polygons, counter-clockwise from outside.
    pub faces: Vec<Vec<usize>>,
    /// Normals; worked out from the faces where left empty.
    pub normals: Vec<Vec3>,
    /// Vertex colours.
    pub colours: Vec<[f32; 4]>,
    /// Moves by shape.
    pub deltas: Vec<(&'static str, Vec<Vec3>)>,
}

impl Part {
    /// Adds another part's geometry (without targets).
    pub fn append(&mut self, other: Self) {
        let base = self.points.len();
        self.points.extend(other.points);
        self.colours.extend(other.colours);
        self.faces.extend(other.faces.into_iter().map(|face| face.into_iter().map(|v| v + base).collect()));
    }

    /// Turns the faces of a closed part around if they look inwards.
    pub fn face_outwards(&mut self) {
        let Some(&origin) = self.points.first() else { return };
        // Their signed volume is negative then.
        let mut volume = 0.0;
        for face in &self.faces {
            for k in 1..face.len() - 1 {
                let corner = |v: usize| self.points[face[v]] - origin;
                volume += corner(0).dot(corner(k).cross(corner(k + 1)));
            }
        }
        if volume < 0.0 {
            for face in &mut self.faces {
                face.reverse();
            }
        }
    }

    /// The mirror image.
    pub fn mirrored(&self) -> Self {
        Self {
            points: self.points.iter().map(|p| p.mirrored()).collect(),
            faces: self.faces.iter().map(|face| face.iter().rev().copied().collect()).collect(),
            normals: self.normals.iter().map(|n| n.mirrored()).collect(),
            colours: self.colours.clone(),
            deltas: Vec::new(),
        }
    }

    /// The glTF mesh, moved by `-origin` to hang below a node there.
    pub fn into_mesh(self, name: &'static str, material: usize, origin: Vec3) -> Mesh {
        let flat = mesh::normals(&self.points, &self.faces);
        let normals = if self.normals.is_empty() { flat.clone() } else { self.normals };
        let targets = self
            .deltas
            .into_iter()
            .map(|(name, positions)| {
                let moved: Vec<Vec3> = self.points.iter().zip(&positions).map(|(p, d)| *p + *d).collect();
                let turned = mesh::normals(&moved, &self.faces);
                // Normals of a part's own turn as those of its faces do.
                let normals = turned.iter().zip(&flat).map(|(n, rest)| *n - *rest).collect();
                Target { name, positions, normals }
            })
            .collect();
        Mesh {
            name,
            material,
            indices: mesh::triangles(&self.faces),
            positions: self.points.iter().map(|p| *p - origin).collect(),
            normals,
            colours: self.colours,
            weights: None,
            targets,
        }
    }
}
