//! Puts Aria together: joints, materials, meshes.

use std::error::Error;

use crate::clothes::{self, FLOOR};
use crate::detail::Detail;
use crate::gltf::{Coarser, Material, Mesh, Writer};
use crate::part::Part;
use crate::proportion::{LIFT, settled};
use crate::sculpt::EYE;
use crate::vec3::{Vec3, v3};
use crate::{eyes, face, hair, mesh, mouth, trims};

/// Joints, in modelling space.
const CHEST: Vec3 = v3(0.0, -228.0 + LIFT, -34.0);
const NECK: Vec3 = v3(0.0, -150.0 + LIFT, -33.0);
pub const HEAD: Vec3 = v3(0.0, -74.0, -16.0);

/// Materials, in the file's order.
mod material {
    /// Skin.
    pub const SKIN: usize = 0;
    /// Eyeballs.
    pub const EYE: usize = 1;
    /// Catch-lights.
    pub const LIGHT: usize = 2;
    /// Hair and brows.
    pub const HAIR: usize = 3;
    /// Lashes.
    pub const LASH: usize = 4;
    /// The tongue.
    pub const MOUTH: usize = 5;
    /// Clothes.
    pub const CLOTH: usize = 6;
    /// Teeth.
    pub const TEETH: usize = 7;
}

const fn paint(name: &'static str, roughness: f32, double_sided: bool) -> Material {
    Material { name, colour: [1.0; 3], roughness, emissive: [0.0; 3], double_sided }
}

/// All materials; colours come from the vertices.
const MATERIALS: [Material; 8] = [
    paint("Skin", 0.5, false),
    paint("Eye", 0.09, false),
    Material { name: "CatchLight", colour: [1.0; 3], roughness: 1.0, emissive: [1.0; 3], double_sided: false },
    paint("Hair", 0.62, false),
    paint("Lash", 0.7, true),
    paint("Mouth", 0.3, true),
    paint("Cloth", 0.85, true),
    // A little light of their own: lips shade teeth more than light scattered in a real mouth would let them.
    Material { name: "Teeth", colour: [1.0; 3], roughness: 0.22, emissive: [0.15, 0.14, 0.125], double_sided: true },
];

/// Every mesh with the joint that it hangs from.
pub struct Model {
    /// The skin as it was built, for the tests.
    #[cfg(test)]
    pub face: face::Face,
    /// All meshes.
    pub meshes: Vec<(Mesh, Joint)>,
    /// Level 1 of some, by the name of level 0.
    pub lower: Vec<(&'static str, Lower)>,
}

/// A lower level of detail of a mesh.
pub enum Lower {
    /// A mesh of its own.
    Mesh(Mesh),
    /// The first vertices of level 0.
    First(Coarser),
}

/// Height of the head that level 1 is made for, as a share of the viewport's height: larger ones are shown at level 0.
const LOW_BELOW: f64 = 0.2;
/// Height of the head, in modelling units.
const HEAD_HEIGHT: f64 = 250.0;

/// What a mesh hangs from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Joint {
    /// Nothing: a skinned mesh, in model space.
    Model,
    /// The chest.
    Chest,
    /// The head.
    Head,
    /// The left eyeball.
    EyeLeft,
    /// The right eyeball.
    EyeRight,
}

/// Builds all meshes.
pub fn model() -> Model {
    let face = face::build();
    let at_head = |part: Part, name, material| (part.into_mesh(name, material, HEAD), Joint::Head);
    let at_eye = |part: Part, name, material, joint| (part.into_mesh(name, material, Vec3::ZERO), joint);
    let skin = Mesh {
        name: "Face",
        material: material::SKIN,
        positions: face.points.iter().map(|p| *p - floor()).collect(),
        normals: face.normals.clone(),
        colours: face.colours.clone(),
        indices: mesh::triangles(&face.faces),
        weights: Some(face.weights.clone()),
        targets: face.targets(),
    };
    let meshes = vec![
        (skin, Joint::Model),
        at_head(trims::brows(&face, Detail::Full), "Brows", material::HAIR),
        at_head(trims::lashes(&face), "Lashes", material::LASH),
        at_head(trims::nostrils(&face), "Nostrils", material::SKIN),
        at_head(settled(mouth::upper_teeth()), "TeethUpper", material::TEETH),
        at_head(settled(mouth::lower_teeth()), "TeethLower", material::TEETH),
        at_head(settled(mouth::tongue()), "Tongue", material::MOUTH),
        at_head(settled(hair::build(Detail::Full)), "Hair", material::HAIR),
        at_eye(eyes::ball(Detail::Full), "EyeballLeft", material::EYE, Joint::EyeLeft),
        at_eye(eyes::lights(), "CatchLightLeft", material::LIGHT, Joint::EyeLeft),
        at_eye(eyes::ball(Detail::Full), "EyeballRight", material::EYE, Joint::EyeRight),
        at_eye(eyes::lights(), "CatchLightRight", material::LIGHT, Joint::EyeRight),
        (settled(clothes::build(Detail::Full)).into_mesh("Clothes", material::CLOTH, CHEST), Joint::Chest),
    ];
    // The cage's own points are the first of the subdivided ones.
    let cage = Coarser { name: "Face_LOD1", vertices: face.cage.points.len(), indices: face.cage_triangles() };
    let low = |part: Part, name, material, origin| Lower::Mesh(part.into_mesh(name, material, origin));
    let lower = vec![
        ("Face", Lower::First(cage)),
        ("Brows", low(trims::brows(&face, Detail::Low), "Brows_LOD1", material::HAIR, HEAD)),
        ("Hair", low(settled(hair::build(Detail::Low)), "Hair_LOD1", material::HAIR, HEAD)),
        ("EyeballLeft", low(eyes::ball(Detail::Low), "EyeballLeft_LOD1", material::EYE, Vec3::ZERO)),
        ("EyeballRight", low(eyes::ball(Detail::Low), "EyeballRight_LOD1", material::EYE, Vec3::ZERO)),
        ("Clothes", low(settled(clothes::build(Detail::Low)), "Clothes_LOD1", material::CLOTH, CHEST)),
    ];
    Model {
        #[cfg(test)]
        face,
        meshes,
        lower,
    }
}

/// The model's origin: on the floor under the middle of the head.
fn floor() -> Vec3 {
    v3(0.0, FLOOR + LIFT, 0.0)
}

/// The whole file.
pub fn glb(model: &Model) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut w = Writer::default();
    for material in &MATERIALS {
        w.material(material);
    }
    let root = w.node("Aria", Vec3::ZERO);
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
    let mut nodes = Vec::new();
    for (mesh, joint) in &model.meshes {
        let node = w.mesh(mesh);
        nodes.push((node, mesh));
        match joint {
            Joint::Model => of_root.push(node),
            Joint::Chest => of_chest.push(node),
            Joint::Head => of_head.push(node),
            Joint::EyeLeft => of_left.push(node),
            Joint::EyeRight => of_right.push(node),
        }
    }
    for (node, mesh) in nodes {
        let Some((_, lower)) = model.lower.iter().find(|(of, _)| *of == mesh.name) else { continue };
        let lower = match lower {
            Lower::Mesh(lower) => w.mesh(lower),
            Lower::First(lower) => w.coarser(node, mesh, lower),
        };
        // All of them switch at one distance.
        w.lower(node, lower, LOW_BELOW * 2.0 * mesh.radius() / HEAD_HEIGHT);
    }
    w.children(root, &of_root);
    w.children(chest, &of_chest);
    w.children(neck, &[head]);
    w.children(head, &of_head);
    w.children(eye_left, &of_left);
    w.children(eye_right, &of_right);
    w.finish(root)
}
