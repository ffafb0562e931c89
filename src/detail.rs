//! How finely each avatar's face is evaluated, by its size on screen and the time that faces may cost.

use bevy::{
    camera::primitives::{Frustum, Sphere},
    camera::visibility::InheritedVisibility,
    prelude::*,
};
use facelink::time::Instant;

use crate::{avatar::FaceAvatar, binding::FaceBinding, sets::Step};

/// Height of a face with some neck, metres: what its size on screen is worked out from.
const FACE_HEIGHT: f32 = 0.3;
/// Bounding radius of a head with its hair, metres.
const RADIUS: f32 = 0.6;
/// Largest number of rendered frames from one evaluation of a visible face to the next.
const COARSEST: u8 = 6;
/// Rendered frames from one evaluation of a face off screen to the next.
const OFF_SCREEN: u8 = 15;
/// Seconds between two updates of the plan.
const PLAN_INTERVAL: f32 = 0.1;

/// How much time the engine has for faces.
#[derive(Resource, Reflect, Clone, Copy, Debug, PartialEq)]
#[reflect(Resource, Default)]
pub struct FaceBudget {
    /// Off: every avatar is evaluated in every frame.
    pub enabled: bool,
    /// Milliseconds per frame for evaluating and writing faces. Above it, all but the nearest get fewer evaluations.
    pub ms: f32,
    /// So many of the nearest avatars are evaluated in every frame, whatever the budget.
    pub nearest: usize,
    /// A face that takes at least this share of the viewport's height is evaluated in every frame; one half as high in
    /// every second, and so on.
    pub full_size: f32,
}

impl Default for FaceBudget {
    fn default() -> Self {
        Self { enabled: true, ms: 1.0, nearest: 4, full_size: 0.06 }
    }
}

/// How finely an avatar's face is evaluated. Between two evaluations it moves evenly from one to the next.
#[derive(Component, Reflect, Clone, Copy, Debug, PartialEq)]
#[reflect(Component, Default)]
pub struct FaceDetail {
    /// Fixed by you: 1 in every frame, 2 in every second, and so on. `None` leaves it to the budget.
    pub fixed: Option<u8>,
    /// In force.
    pub every: u8,
    /// Whether a camera sees it.
    pub on_screen: bool,
    /// Its height as a share of the viewport's, by the camera that shows it largest.
    pub size: f32,
}

impl Default for FaceDetail {
    fn default() -> Self {
        Self { fixed: None, every: 1, on_screen: true, size: 1.0 }
    }
}

/// What faces cost, and how they are evaluated.
#[derive(Resource, Reflect, Clone, Copy, Debug, Default, PartialEq)]
#[reflect(Resource, Default)]
pub struct FaceLoad {
    /// Milliseconds per frame, smoothed.
    pub ms: f32,
    /// Avatars.
    pub avatars: usize,
    /// Those that are evaluated in every frame.
    pub full: usize,
    /// Those off screen.
    pub off_screen: usize,
    /// Those that were evaluated in the last frame.
    pub evaluated: usize,
    /// How much coarser than their size asks for all but the nearest are: 0 not at all.
    pub pressure: u8,
}

#[derive(Resource, Debug, Default)]
pub(crate) struct Work {
    begun: Option<Instant>,
    spent: f32,
    since: f32,
    over: f32,
    under: f32,
    order: Vec<(f32, Entity)>,
}

pub(crate) struct DetailPlugin;

impl Plugin for DetailPlugin {
    fn build(&self, app: &mut App) {
        app.register_type::<FaceBudget>()
            .register_type::<FaceDetail>()
            .register_type::<FaceLoad>()
            .register_required_components::<FaceAvatar, FaceDetail>()
            .init_resource::<FaceBudget>()
            .init_resource::<FaceLoad>()
            .init_resource::<Work>()
            .add_systems(PostUpdate, (plan.in_set(Step::Plan), settle.in_set(Step::Settle)));
    }
}

type Cameras<'w, 's> =
    Query<'w, 's, (&'static Camera, &'static GlobalTransform, &'static Frustum, &'static Projection)>;

/// Rendered frames from one evaluation to the next for a face of this size.
fn by_size(size: f32, full: f32) -> u8 {
    if size >= full || full <= 0.0 { 1 } else { (full / size.max(1e-6)).ceil().min(4.0) as u8 }
}

/// Which avatars are seen, and how finely they are evaluated.
pub(crate) fn plan(
    time: Res<Time<Real>>,
    budget: Res<FaceBudget>,
    mut load: ResMut<FaceLoad>,
    mut work: ResMut<Work>,
    cameras: Cameras,
    transforms: Query<&GlobalTransform>,
    mut avatars: Query<(Entity, &mut FaceDetail, Option<&FaceBinding>, Option<&InheritedVisibility>), With<FaceAvatar>>,
) {
    let load = load.bypass_change_detection();
    work.begun = Some(Instant::now());
    let work = &mut *work;
    work.since += time.delta_secs();
    let planning = work.since >= PLAN_INTERVAL;
    let seeing = || cameras.iter().filter(|(camera, ..)| camera.is_active);
    let blind = seeing().next().is_none();
    (load.avatars, load.full, load.off_screen) = (0, 0, 0);
    work.order.clear();
    for (entity, mut detail, binding, visibility) in &mut avatars {
        let place = if blind {
            None
        } else {
            let head = binding.and_then(|binding| binding.bones.head().map(|bone| bone.entity)).unwrap_or(entity);
            transforms.get(head).or_else(|_| transforms.get(entity)).ok()
        };
        let (mut on_screen, mut size) = (place.is_none(), if place.is_none() { 1.0 } else { 0.0_f32 });
        if let Some(place) = place {
            let scale = place.scale().abs().max_element();
            let sphere = Sphere { center: place.translation_vec3a(), radius: RADIUS * scale };
            for (_, eye, frustum, projection) in seeing() {
                if !frustum.intersects_sphere(&sphere, true) {
                    continue;
                }
                on_screen = true;
                let distance = eye.translation().distance(place.translation()).max(0.01);
                // The height of a thing of 1 m in 1 m, as a share of half the viewport.
                let zoom = projection.get_clip_from_view().y_axis.y;
                let share = match projection {
                    Projection::Orthographic(_) => FACE_HEIGHT * scale * zoom / 2.0,
                    _ => FACE_HEIGHT * scale * zoom / (2.0 * distance),
                };
                size = size.max(share);
            }
        }
        on_screen &= visibility.is_none_or(|visibility| visibility.get() || blind);
        let mut new = FaceDetail { on_screen, size, ..*detail };
        new.every = match new.fixed {
            Some(fixed) => fixed.max(1),
            None if !budget.enabled => 1,
            None if !on_screen => OFF_SCREEN,
            None => {
                if planning || detail.every > COARSEST {
                    work.order.push((-size, entity));
                    by_size(size, budget.full_size)
                } else {
                    detail.every
                }
            }
        };
        load.avatars += 1;
        load.full += usize::from(new.every == 1);
        load.off_screen += usize::from(!on_screen);
        if *detail != new {
            *detail = new;
        }
    }
    if planning {
        press(work, load, &budget, &mut avatars);
        work.since = 0.0;
    }
}

/// Makes all but the nearest coarser while the budget is exceeded.
fn press(
    work: &mut Work,
    load: &mut FaceLoad,
    budget: &FaceBudget,
    avatars: &mut Query<
        (Entity, &mut FaceDetail, Option<&FaceBinding>, Option<&InheritedVisibility>),
        With<FaceAvatar>,
    >,
) {
    load.ms = work.spent;
    work.over = if work.spent > budget.ms { work.over + work.since } else { 0.0 };
    work.under = if work.spent < budget.ms * 0.6 { work.under + work.since } else { 0.0 };
    if !budget.enabled || work.order.len() <= budget.nearest {
        load.pressure = 0;
    } else if work.over > 0.3 && load.pressure + 1 < COARSEST {
        load.pressure += 1;
        work.over = 0.0;
    } else if work.under > 2.0 && load.pressure > 0 {
        load.pressure -= 1;
        work.under = 0.0;
    }
    if load.pressure == 0 || work.order.len() <= budget.nearest {
        return;
    }
    work.order.select_nth_unstable_by(budget.nearest, |a, b| a.0.total_cmp(&b.0));
    for (_, entity) in &work.order[budget.nearest..] {
        if let Ok((_, mut detail, ..)) = avatars.get_mut(*entity)
            && detail.fixed.is_none()
        {
            detail.every = (detail.every + load.pressure).min(COARSEST);
        }
    }
}

/// Records what the faces of this frame have cost.
pub(crate) fn settle(mut work: ResMut<Work>) {
    let Some(begun) = work.begun.take() else { return };
    let ms = begun.elapsed().as_secs_f32() * 1000.0;
    work.spent += (ms - work.spent) * 0.1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn face_half_as_high_is_evaluated_half_as_often() {
        assert_eq!([0.2, 0.06, 0.05, 0.03, 0.02, 0.001].map(|size| by_size(size, 0.06)), [1, 1, 2, 2, 3, 4]);
        assert_eq!(by_size(0.0, 0.0), 1);
    }
}
