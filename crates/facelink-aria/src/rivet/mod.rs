//! Rivet, FaceLink's second avatar: a robot whose soft mouth, shutters and brows act. Its shapes carry the names of
//! VRChat's Unified Expressions, so that an app must translate; with `--arkit-names` they are summed to the 52 of ARKit.
//!
//! Modelling is in millimetres with the eye line at y = 0, as Aria's. [`form`] is the head's surface; [`panel`] cuts
//! plates from it; [`shell`], [`eyes`], [`mouth`] and [`body`] are the parts; [`jaw`] moves what is the jaw's;
//! [`shapes`] knows the names. In the file the eyes' centres, and the joints `EyeLeft` and `EyeRight`, are at
//! (+-0.036, 0.256, 0.054), the crown at about 0.39, the antenna's lamp above it. Joints: `Rivet` > `Chest` > `Neck` >
//! `Head` > `EyeLeft`, `EyeRight`, all with identity rotation. The bellows `Neck` are skinned to Chest, Neck and Head;
//! everything else hangs rigidly below its joint.

mod body;
mod eyes;
mod form;
mod jaw;
mod mouth;
mod paint;
mod panel;
mod shapes;
mod shell;
mod solid;
#[cfg(test)]
mod tests;

use std::error::Error;

use crate::gltf::{Material, Mesh, Target, Writer};
use crate::mesh;
use crate::part::Part;
use crate::vec3::{Vec3, smoothstep, v3};

use body::FLOOR;
use form::EYE;

/// Joints, in modelling space.
const CHEST: Vec3 = v3(0.0, -220.0, -24.0);
const NECK: Vec3 = v3(0.0, -146.0, -21.0);
const HEAD: Vec3 = v3(0.0, -78.0, -16.0);

/// Whose names the shapes carry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// VRChat's Unified Expressions.
    Unified,
    /// The 52 of ARKit.
    ArKit,
}

/// What a mesh hangs from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joint {
    Model,
    Chest,
    Head,
    EyeLeft,
    EyeRight,
}

mod material {
    pub const ENAMEL: usize = 0;
    pub const STEEL: usize = 1;
    pub const RUBBER: usize = 2;
    pub const LIPS: usize = 3;
    pub const EYE: usize = 4;
    pub const GLOW: usize = 5;
    pub const LIGHT: usize = 6;
    pub const LAMP: usize = 7;
    pub const TEETH: usize = 8;
}

/// All materials with their metalness; colours come from the vertices.
const MATERIALS: [(Material, f32); 9] = [
    (paint("Enamel", 0.34, [0.0; 3], false), 0.12),
    (paint("Steel", 0.36, [0.0; 3], false), 0.45),
    (paint("Rubber", 0.8, [0.0; 3], true), 0.0),
    (paint("SoftRubber", 0.48, [0.0; 3], false), 0.0),
    (paint("Eye", 0.1, [0.0; 3], false), 0.0),
    (paint("IrisGlow", 0.6, [0.10, 0.62, 0.60], true), 0.0),
    (paint("CatchLight", 1.0, [1.0; 3], false), 0.0),
    (paint("Lamp", 0.3, [0.85, 0.42, 0.10], false), 0.0),
    (paint("Teeth", 0.3, [0.0; 3], false), 0.0),
];

const fn paint(name: &'static str, roughness: f32, emissive: [f32; 3], double_sided: bool) -> Material {
    Material { name, colour: [1.0; 3], roughness, emissive, double_sided }
}

/// Every mesh with the joint that it hangs from.
pub struct Model {
    meshes: Vec<(Mesh, Joint)>,
}

impl Model {
    /// The meshes.
    pub fn meshes(&self) -> impl Iterator<Item = &Mesh> {
        self.meshes.iter().map(|(mesh, _)| mesh)
    }
}

/// A mesh from a part. The turn of a normal is the turn of the faces' mean normal, wherever the normal itself is from.
fn finished(mut part: Part, name: &'static str, material: usize, origin: Vec3, dialect: Dialect) -> Mesh {
    if dialect == Dialect::ArKit {
        shapes::to_arkit(&mut part);
    }
    let rest = mesh::normals(&part.points, &part.faces);
    let normals = if part.normals.is_empty() { rest.clone() } else { part.normals };
    let targets = part
        .deltas
        .into_iter()
        .map(|(name, positions)| {
            let moved: Vec<Vec3> = part.points.iter().zip(&positions).map(|(p, d)| *p + *d).collect();
            let turned = mesh::normals(&moved, &part.faces);
            let normals = turned.iter().zip(&rest).map(|(n, r)| *n - *r).collect();
            Target { name, positions, normals }
        })
        .collect();
    Mesh {
        name,
        material,
        indices: mesh::triangles(&part.faces),
        positions: part.points.iter().map(|p| *p - origin).collect(),
        normals,
        colours: part.colours,
        weights: None,
        targets,
    }
}

/// Builds all meshes.
pub fn model(dialect: Dialect) -> Model {
    let at_head = |part, name, material| (finished(part, name, material, HEAD, dialect), Joint::Head);
    let at_chest = |part, name, material| (finished(part, name, material, CHEST, dialect), Joint::Chest);
    let at_eye = |part, name, material, joint| (finished(part, name, material, Vec3::ZERO, dialect), joint);
    let (neck, down) = body::neck();
    let mut neck = finished(neck, "Bellows", material::RUBBER, floor(), dialect);
    neck.weights = Some(
        down.iter()
            .map(|t| {
                let head = smoothstep(0.55, 0.05, *t) as f32;
                let chest = smoothstep(0.5, 0.95, *t) as f32;
                [chest, 1.0 - chest - head, head, 0.0]
            })
            .collect(),
    );
    let meshes = vec![
        at_head(mouth::soft(), "Mouth", material::LIPS),
        at_head(eyes::lids(), "Lids", material::ENAMEL),
        at_head(eyes::brows(), "Brows", material::ENAMEL),
        at_head(shell::features(), "Cheeks", material::ENAMEL),
        at_head(shell::jaw_shell(), "Jaw", material::ENAMEL),
        at_head(shell::gusset(), "Gusset", material::RUBBER),
        at_head(mouth::upper_teeth(), "TeethUpper", material::TEETH),
        at_head(mouth::lower_teeth(), "TeethLower", material::TEETH),
        at_head(mouth::tongue(), "Tongue", material::LIPS),
        at_head(shell::fixed(), "Shell", material::ENAMEL),
        at_head(shell::steel(), "Steel", material::STEEL),
        at_head(eyes::bezels(), "Bezels", material::STEEL),
        at_head(shell::core(), "Core", material::RUBBER),
        at_head(shell::lamp(), "Lamp", material::LAMP),
        at_eye(eyes::ball(), "EyeballLeft", material::EYE, Joint::EyeLeft),
        at_eye(eyes::glow(), "IrisGlowLeft", material::GLOW, Joint::EyeLeft),
        at_eye(eyes::lights(), "CatchLightLeft", material::LIGHT, Joint::EyeLeft),
        at_eye(eyes::ball(), "EyeballRight", material::EYE, Joint::EyeRight),
        at_eye(eyes::glow(), "IrisGlowRight", material::GLOW, Joint::EyeRight),
        at_eye(eyes::lights(), "CatchLightRight", material::LIGHT, Joint::EyeRight),
        (neck, Joint::Model),
        at_chest(body::shoulders(), "Shoulders", material::ENAMEL),
        at_chest(body::badge(), "Badge", material::GLOW),
    ];
    Model { meshes }
}

/// The model's origin: on the floor under the middle of the head.
fn floor() -> Vec3 {
    v3(0.0, FLOOR, 0.0)
}

/// The whole file.
pub fn glb(model: &Model) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut w = Writer::default();
    for (material, metallic) in &MATERIALS {
        w.metal(material, *metallic);
    }
    let root = w.node("Rivet", Vec3::ZERO);
    let chest = w.node("Chest", CHEST - floor());
    let neck = w.node("Neck", NECK - CHEST);
    let head = w.node("Head", HEAD - NECK);
    let eye_left = w.node("EyeLeft", EYE - HEAD);
    let eye_right = w.node("EyeRight", EYE.mirrored() - HEAD);
    w.skin(chest, &[chest, neck, head], &[CHEST - floor(), NECK - floor(), HEAD - floor()]);

    let mut of_root = vec![chest];
    let mut of_chest = vec![neck];
    let mut of_head = vec![eye_left, eye_right];
    let (mut of_left, mut of_right) = (Vec::new(), Vec::new());
    for (mesh, joint) in &model.meshes {
        let node = w.mesh(mesh);
        match joint {
            Joint::Model => of_root.push(node),
            Joint::Chest => of_chest.push(node),
            Joint::Head => of_head.push(node),
            Joint::EyeLeft => of_left.push(node),
            Joint::EyeRight => of_right.push(node),
        }
    }
    w.children(root, &of_root);
    w.children(chest, &of_chest);
    w.children(neck, &[head]);
    w.children(head, &of_head);
    w.children(eye_left, &of_left);
    w.children(eye_right, &of_right);
    w.finish_as("Rivet", root)
}
