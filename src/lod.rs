//! Levels of detail of models (`MSFT_lod`): one level of each group is shown, by its size on screen.

use bevy::{
    camera::visibility::VisibilitySystems,
    gltf::gltf,
    math::{Affine3A, Vec3A},
    platform::collections::HashMap,
    prelude::*,
};
use facelink::model::{LOD_EXTENSION, MAX_LOWER_LEVELS, default_coverage, screen_coverage};

use crate::sets::Step;

/// A finer level is shown again once the model is larger by this than where it went away.
const HYSTERESIS: f32 = 1.05;

/// How fine models with levels of detail are shown, for all of them.
#[derive(Resource, Reflect, Clone, Copy, Debug, PartialEq)]
#[reflect(Resource, Default)]
pub struct LodSettings {
    /// Factor on the size on screen: 2 keeps finer levels to twice the distance, 0.5 to half of it. 1 by default: as the files say.
    pub bias: f32,
    /// The finest level that is shown; 0 by default, the full model. A part with fewer levels is shown at its lowest.
    pub finest: u8,
}

impl Default for LodSettings {
    fn default() -> Self {
        Self { bias: 1.0, finest: 0 }
    }
}

/// The levels of detail of a part of a model, on the node that is level 0. Made where a glTF file has `MSFT_lod`, also for
/// models without a face; a [`LodGroup::new`] on an entity of your own works alike.
///
/// One of the levels is shown, by the size on screen of the sphere around level 0: the larger of all active cameras. The others get
/// `Visibility::Hidden`, and once they are shown again the `Visibility` that they had. To hide a part, hide an entity above its
/// levels, or each of them.
#[derive(Component, Reflect, Clone, Debug, PartialEq)]
#[reflect(Component)]
pub struct LodGroup {
    /// Levels 1 and on, each coarser than the one before it.
    #[entities]
    pub lower: Vec<Entity>,
    /// Level `i` is shown where the sphere's diameter is at least value `i` of the viewport's height, and nothing below the last
    /// value: one more than there are lower levels, falling.
    pub coverage: Vec<f32>,
    /// Shown at any size; `None` by default.
    pub fixed: Option<u8>,
    /// The level that is shown; as many as there are levels where it is too small to be shown. Written by the plugin.
    pub shown: u8,
    /// Middle of the sphere around level 0, metres from its entity.
    pub center: Vec3,
    /// Its radius, metres.
    pub radius: f32,
    /// Visibility of each level before it was hidden.
    own: Vec<Visibility>,
}

impl LodGroup {
    /// Levels below the entity that it is inserted on, which change by default where the sphere takes a quarter of the viewport's
    /// height, an eighth, and so on.
    pub fn new(lower: Vec<Entity>, center: Vec3, radius: f32) -> Self {
        let coverage = default_coverage(lower.len());
        Self { lower, coverage, fixed: None, shown: 0, center, radius, own: Vec::new() }
    }

    fn lowest(&self) -> u8 {
        self.lower.len().min(usize::from(u8::MAX) - 1) as u8
    }

    /// The level for this size on screen, as a share of the viewport's height.
    fn level(&self, size: f32, finest: u8) -> u8 {
        let lowest = self.lowest();
        if let Some(fixed) = self.fixed {
            return fixed.min(lowest);
        }
        let from = |level: usize, at: f32| if level < usize::from(self.shown) { at * HYSTERESIS } else { at };
        let fits = self.coverage.iter().enumerate().position(|(level, at)| size >= from(level, *at));
        let fits = fits.map_or(lowest + 1, |level| (level as u8).min(lowest));
        if fits > lowest { fits } else { fits.max(finest.min(lowest)) }
    }

    /// The entity of a level; `group` is that of level 0.
    fn entity(&self, group: Entity, level: u8) -> Option<Entity> {
        match usize::from(level).checked_sub(1) {
            None => Some(group),
            Some(lower) => self.lower.get(lower).copied(),
        }
    }
}

pub(crate) struct LodPlugin;

impl Plugin for LodPlugin {
    fn build(&self, app: &mut App) {
        app.register_type::<LodSettings>()
            .register_type::<LodGroup>()
            .init_resource::<LodSettings>()
            .add_systems(PostUpdate, choose.in_set(Step::Plan).before(VisibilitySystems::VisibilityPropagate));
    }
}

/// A camera that draws.
struct Eye {
    at: Vec3A,
    /// Height of a thing of 1 m, in 1 m with perspective, as a share of half the viewport's.
    zoom: f32,
    perspective: bool,
}

/// Shows one level of each group.
fn choose(
    settings: Res<LodSettings>,
    cameras: Query<(&Camera, &GlobalTransform, &Projection)>,
    mut groups: Query<(Entity, &mut LodGroup, &GlobalTransform)>,
    mut visibilities: Query<&mut Visibility>,
    mut eyes: Local<Vec<Eye>>,
) {
    if groups.is_empty() {
        return;
    }
    eyes.clear();
    eyes.extend(cameras.iter().filter(|(camera, ..)| camera.is_active).map(|(_, place, projection)| Eye {
        at: place.translation_vec3a(),
        zoom: projection.get_clip_from_view().y_axis.y,
        perspective: !matches!(projection, Projection::Orthographic(_)),
    }));
    for (entity, mut group, place) in &mut groups {
        // Nothing is drawn without a camera: the size is unknown, and a screenshot may be next.
        let size = if eyes.is_empty() { f32::INFINITY } else { size_on_screen(&group, place, &eyes) * settings.bias };
        let level = group.level(size, settings.finest);
        let first = group.own.is_empty();
        if level == group.shown && !first {
            continue;
        }
        let group = &mut *group;
        group.own.resize(group.lower.len() + 1, Visibility::Inherited);
        for index in 0..=group.lowest() {
            let was_shown = !first && index == group.shown;
            let Some(mut visibility) = group.entity(entity, index).and_then(|it| visibilities.get_mut(it).ok()) else {
                continue;
            };
            let own = &mut group.own[usize::from(index)];
            if index == level {
                if *visibility == Visibility::Hidden {
                    *visibility = *own;
                }
            } else if was_shown || (first && index == 0) {
                *own = *visibility;
                *visibility = Visibility::Hidden;
            } else if first {
                *visibility = Visibility::Hidden;
            }
        }
        group.shown = level;
    }
}

/// Diameter of the sphere around level 0, as a share of the viewport's height.
fn size_on_screen(group: &LodGroup, place: &GlobalTransform, eyes: &[Eye]) -> f32 {
    let center = Vec3A::from(place.transform_point(group.center));
    let radius = group.radius * place.affine().matrix3.x_axis.length().max(place.affine().matrix3.y_axis.length());
    let share = |eye: &Eye| {
        let distance = if eye.perspective { eye.at.distance(center).max(0.01) } else { 1.0 };
        radius * eye.zoom / distance
    };
    eyes.iter().map(share).fold(0.0, f32::max)
}

/// Makes the groups of a scene that was loaded; `entities`: of its nodes, by their indices.
pub(crate) fn add_groups(scene: &gltf::Scene<'_>, entities: &HashMap<usize, Entity>, world: &mut World) {
    let mut next: Vec<_> = scene.nodes().collect();
    while let Some(node) = next.pop() {
        next.extend(node.children());
        let Some(&entity) = entities.get(&node.index()) else { continue };
        let parent = |entity: Entity| world.get::<ChildOf>(entity).map(ChildOf::parent);
        // Levels that could not be placed are not there.
        let Some(lower) = node.extension_value(LOD_EXTENSION).and_then(|levels| lower_levels(levels, entities)) else {
            continue;
        };
        if lower.iter().any(|level| parent(*level) != parent(entity)) {
            continue;
        }
        // The box of what is at the node and below it, in its own axes; morph targets move little beyond.
        let (mut low, mut high) = (Vec3A::INFINITY, Vec3A::NEG_INFINITY);
        let mut parts = vec![(node.clone(), Affine3A::IDENTITY)];
        while let Some((part, place)) = parts.pop() {
            for primitive in part.mesh().into_iter().flat_map(|mesh| mesh.primitives()) {
                let positions = primitive.attributes().find(|(semantic, _)| semantic.to_string() == "POSITION");
                let bounds = positions.and_then(|(_, values)| Some((corner(values.min()?)?, corner(values.max()?)?)));
                let Some((min, max)) = bounds else { continue };
                for corner in 0..8 {
                    let pick = |axis: usize| if corner >> axis & 1 == 0 { min[axis] } else { max[axis] };
                    let point = place.transform_point3a(Vec3A::new(pick(0), pick(1), pick(2)));
                    (low, high) = (low.min(point), high.max(point));
                }
            }
            parts.extend(part.children().map(|child| {
                let own = Affine3A::from_mat4(Mat4::from_cols_array_2d(&child.transform().matrix()));
                (child, place * own)
            }));
        }
        if !low.is_finite() || !high.is_finite() {
            continue;
        }
        let extras = node.extras().as_ref().and_then(|extras| serde_json::from_str(extras.get()).ok());
        let mut group = LodGroup::new(lower, ((low + high) / 2.0).into(), low.distance(high) / 2.0);
        if let Ok(coverage) = screen_coverage(extras.as_ref(), group.lower.len()) {
            group.coverage = coverage;
        }
        // Until a level is chosen, it is the full one.
        for level in &group.lower {
            if let Some(mut visibility) = world.get_mut::<Visibility>(*level) {
                *visibility = Visibility::Hidden;
            }
        }
        world.entity_mut(entity).insert(group);
    }
}

/// Three numbers of an accessor.
fn corner(value: serde_json::Value) -> Option<[f32; 3]> {
    serde_json::from_value(value).ok()
}

/// The entities that the extension of a node names.
fn lower_levels(extension: &serde_json::Value, entities: &HashMap<usize, Entity>) -> Option<Vec<Entity>> {
    let entity = |id: &serde_json::Value| entities.get(&usize::try_from(id.as_u64()?).ok()?).copied();
    extension.get("ids")?.as_array()?.iter().take(MAX_LOWER_LEVELS).map(entity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(coverage: &[f32]) -> LodGroup {
        let lower = vec![Entity::PLACEHOLDER; coverage.len() - 1];
        LodGroup { coverage: coverage.to_vec(), ..LodGroup::new(lower, Vec3::ZERO, 1.0) }
    }

    #[test]
    fn level_falls_with_size() {
        let group = group(&[0.5, 0.2, 0.01]);
        assert_eq!([1.0, 0.5, 0.49, 0.2, 0.1, 0.01, 0.009].map(|size| group.level(size, 0)), [0, 0, 1, 1, 2, 2, 3]);
        // The finest is no finer, and what is too small stays away.
        assert_eq!([1.0, 0.1, 0.009].map(|size| group.level(size, 1)), [1, 2, 3]);
        assert_eq!([1.0, 0.1].map(|size| group.level(size, 200)), [2, 2]);
        let fixed = LodGroup { fixed: Some(9), ..group };
        assert_eq!([1.0, 0.001].map(|size| fixed.level(size, 0)), [2, 2]);
    }

    #[test]
    fn finer_level_comes_back_later_than_it_went() {
        let group = LodGroup { shown: 1, ..group(&[0.5, 0.0]) };
        assert_eq!([0.51, 0.53].map(|size| group.level(size, 0)), [1, 0]);
    }

    #[test]
    fn size_that_is_no_number_hides_nothing_for_good() {
        let group = group(&[0.5, 0.0]);
        assert_eq!(group.level(f32::INFINITY, 0), 0);
        assert_eq!(group.level(0.0, 0), 1);
    }
}
