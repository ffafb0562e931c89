//! Which camera shows the panel.

use bevy::{
    camera::{NormalizedRenderTarget, RenderTarget},
    ecs::entity::ContainsEntity,
    prelude::*,
    window::PrimaryWindow,
};
use bevy_egui::{EguiGlobalSettings, EguiPlugin, EguiPreUpdateSet, EguiStartupSet, PrimaryEguiContext};

/// egui itself takes the camera that is spawned first, also one that draws into a texture that is not shown.
pub(super) fn build(app: &mut App) {
    if app.is_plugin_added::<EguiPlugin>() {
        // The game's own egui decides.
        return;
    }
    app.add_plugins(EguiPlugin::default());
    let mut settings = app.world_mut().get_resource_or_init::<EguiGlobalSettings>();
    // A game that has turned this off chooses by itself.
    if std::mem::take(&mut settings.auto_create_primary_context) {
        app.add_systems(PreStartup, choose.before(EguiStartupSet::InitContexts))
            .add_systems(PreUpdate, choose.before(EguiPreUpdateSet::InitContexts));
    }
}

/// Gives egui's primary context to a camera that draws on the window: to one that draws on all of it rather than to one
/// with a viewport, and of several to the one that draws last, over the others.
fn choose(
    mut commands: Commands,
    chosen: Query<(), With<PrimaryEguiContext>>,
    cameras: Query<(Entity, &Camera, &RenderTarget)>,
    primary: Query<Entity, With<PrimaryWindow>>,
) {
    if !chosen.is_empty() {
        return;
    }
    let primary = primary.single().ok();
    let on_window = cameras.iter().filter_map(|(entity, camera, target)| {
        let NormalizedRenderTarget::Window(window) = target.normalize(primary)? else { return None };
        let main = Some(window.entity()) == primary;
        camera.is_active.then_some(((main, camera.viewport.is_none(), camera.order), entity))
    });
    // Of equals the first, as the order of entities is that of spawning as a rule.
    let best = on_window.reduce(|best, other| if other.0 > best.0 { other } else { best });
    if let Some((_, camera)) = best {
        commands.entity(camera).try_insert(PrimaryEguiContext);
    }
}

#[cfg(test)]
mod tests {
    use bevy::{camera::Viewport, ecs::system::RunSystemOnce};

    use super::*;

    fn chosen(world: &mut World) -> Option<Entity> {
        world.run_system_once(choose).expect("it runs");
        world.query_filtered::<Entity, With<PrimaryEguiContext>>().iter(world).next()
    }

    fn camera(order: isize, target: RenderTarget) -> (Camera, RenderTarget) {
        (Camera { order, ..default() }, target)
    }

    #[test]
    fn panel_camera_draws_on_the_window_and_last() {
        let mut world = World::new();
        world.spawn(PrimaryWindow);
        let texture = camera(5, RenderTarget::Image(Handle::<Image>::default().into()));
        world.spawn(texture);
        assert_eq!(chosen(&mut world), None, "a texture is no place for a panel");
        let mut split = camera(9, RenderTarget::default());
        split.0.viewport = Some(Viewport::default());
        world.spawn(split);
        let mut off = camera(8, RenderTarget::default());
        off.0.is_active = false;
        world.spawn(off);
        world.spawn(camera(0, RenderTarget::default()));
        let over = world.spawn(camera(1, RenderTarget::default())).id();
        assert_eq!(chosen(&mut world), Some(over));
        world.spawn(camera(2, RenderTarget::default()));
        assert_eq!(chosen(&mut world), Some(over), "it stays where it is");
        world.despawn(over);
        assert!(chosen(&mut world).is_some_and(|camera| camera != over), "and goes on when its camera goes");
    }
}
