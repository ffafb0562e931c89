//! Whether the `eyeLook*` targets of a rig move what its eye bones move, read from the meshes: both together would turn the
//! eyes twice.

use bevy::{
    mesh::{VertexAttributeValues, skinning::SkinnedMesh},
    prelude::*,
};

/// A mesh with targets that an `eyeLook*` shape moves.
pub(crate) struct LookMesh<'a> {
    pub mesh: &'a Mesh,
    pub skin: Option<&'a SkinnedMesh>,
    /// The entity that it hangs on.
    pub entity: Entity,
    /// Indices of those targets.
    pub looks: Vec<usize>,
}

/// Mean displacement of an eyeball's vertices, as a share of its radius, from which targets count as turning it: about 5
/// degrees. What only bulges with the lids stays below.
const TURNS: f32 = 0.08;

/// Share of a vertex's weights that makes it one of the eyeball.
const OWN: f32 = 0.5;

/// Whether a full look moves the vertices of one of these eyes (each a bone and all nodes below it); `None` where no mesh
/// has vertices of an eye, or where the meshes cannot be read.
pub(crate) fn moved_by_targets(meshes: &[LookMesh<'_>], eyes: &[Vec<Entity>]) -> Option<bool> {
    let mut moved = None;
    for LookMesh { mesh, skin, entity, looks } in meshes {
        let (Ok(positions), Ok(targets)) = (
            mesh.try_attribute(Mesh::ATTRIBUTE_POSITION).map(VertexAttributeValues::as_float3),
            mesh.try_morph_targets(),
        ) else {
            continue;
        };
        let Some(positions) = positions else { continue };
        for eye in eyes {
            let own: Vec<usize> = match skin {
                Some(skin) => skinned_to(mesh, skin, eye),
                None if eye.contains(entity) => (0..positions.len()).collect(),
                None => Vec::new(),
            };
            let place = |at: &usize| positions.get(*at).copied().map_or(Vec3::ZERO, Vec3::from);
            let share = 1.0 / own.len().max(1) as f32;
            let middle = own.iter().map(place).sum::<Vec3>() * share;
            let radius = own.iter().map(|at| place(at).distance(middle)).sum::<f32>() * share;
            if radius <= 0.0 || radius.is_nan() {
                continue;
            }
            let displaced = looks.iter().map(|look| {
                let of = |at: &usize| targets.get(look * positions.len() + at).map_or(0.0, |it| it.position.length());
                own.iter().map(of).sum::<f32>() * share
            });
            let most = displaced.fold(0.0, f32::max);
            moved = Some(moved.unwrap_or(false) || most > TURNS * radius);
        }
    }
    moved
}

/// The vertices that these joints have for the greater part.
fn skinned_to(mesh: &Mesh, skin: &SkinnedMesh, joints: &[Entity]) -> Vec<usize> {
    let is_own: Vec<bool> = skin.joints.iter().map(|joint| joints.contains(joint)).collect();
    let (Ok(indices), Ok(weights)) =
        (mesh.try_attribute(Mesh::ATTRIBUTE_JOINT_INDEX), mesh.try_attribute(Mesh::ATTRIBUTE_JOINT_WEIGHT))
    else {
        return Vec::new();
    };
    let (VertexAttributeValues::Uint16x4(indices), VertexAttributeValues::Float32x4(weights)) = (indices, weights)
    else {
        return Vec::new();
    };
    let share = |(indices, weights): (&[u16; 4], &[f32; 4])| -> f32 {
        let own = |joint: &u16| is_own.get(usize::from(*joint)).copied().unwrap_or(false);
        indices.iter().zip(weights).filter(|(joint, _)| own(joint)).map(|(_, weight)| weight).sum()
    };
    indices.iter().zip(weights).map(share).enumerate().filter(|(_, share)| *share > OWN).map(|(at, _)| at).collect()
}

/// Whether a mesh is one of eyeballs, by its name alone.
pub(crate) fn is_eyeball(name: &str) -> bool {
    let name = name.to_lowercase();
    name.contains("eye")
        && !["lash", "lid", "brow", "socket", "shadow", "wear", "glass"].iter().any(|it| name.contains(it))
}

#[cfg(test)]
mod tests {
    use bevy::{
        asset::RenderAssetUsages,
        mesh::{PrimitiveTopology, morph::MorphAttributes},
    };

    use super::*;

    /// Two points of an eyeball on joint 1, two of a lid on joint 0; the one target moves each pair by so much.
    fn mesh(eyeball: f32, lid: f32) -> Mesh {
        let by = |by: f32| MorphAttributes { position: Vec3::X * by, ..default() };
        Mesh::new(PrimitiveTopology::PointList, RenderAssetUsages::default())
            .with_inserted_attribute(
                Mesh::ATTRIBUTE_POSITION,
                vec![[0.0, 0.01, 0.0], [0.0, -0.01, 0.0], [0.0, 0.02, 0.0], [0.0, -0.02, 0.0]],
            )
            .with_inserted_attribute(
                Mesh::ATTRIBUTE_JOINT_INDEX,
                VertexAttributeValues::Uint16x4(vec![[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]),
            )
            .with_inserted_attribute(Mesh::ATTRIBUTE_JOINT_WEIGHT, vec![[0.9, 0.1, 0.0, 0.0]; 4])
            .with_morph_targets(vec![by(eyeball), by(eyeball), by(lid), by(lid)])
    }

    #[test]
    fn look_targets_count_only_where_they_move_vertices_of_an_eye() {
        let mut world = World::new();
        let [head, eye, other] = [(); 3].map(|()| world.spawn_empty().id());
        let skin = SkinnedMesh { joints: vec![head, eye], ..default() };
        let eyes = [vec![eye]];
        for (eyeball, lid, moved) in [(0.004, 0.0, true), (0.0, 0.01, false), (0.0003, 0.01, false)] {
            let mesh = mesh(eyeball, lid);
            let of = |skin| LookMesh { mesh: &mesh, skin, entity: other, looks: vec![0] };
            assert_eq!(moved_by_targets(&[of(Some(&skin))], &eyes), Some(moved), "{eyeball} {lid}");
            assert_eq!(moved_by_targets(&[of(None)], &eyes), None, "a mesh that no eye moves");
        }
        // An eyeball that hangs on the bone without a skin.
        let mesh = mesh(0.004, 0.004);
        let hung = LookMesh { mesh: &mesh, skin: None, entity: eye, looks: vec![0] };
        assert_eq!(moved_by_targets(&[hung], &eyes), Some(true));
    }

    #[test]
    fn eyeballs_are_known_by_name_where_a_mesh_cannot_be_read() {
        for (name, eyeball) in
            [("EyeLeft", true), ("Wolf3D_Eyes", true), ("Eyelashes", false), ("eyebrow_L", false), ("Head", false)]
        {
            assert_eq!(is_eyeball(name), eyeball, "{name}");
        }
    }
}
