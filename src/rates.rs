//! How many frames a second senders are asked for: by the network's state, by what of a face is seen, or by the game.

use bevy::prelude::*;
use facelink::timing::RateSettings;

/// Which law decides what a sender is asked for.
pub use facelink::timing::RateLaw as FpsLaw;

use crate::{
    avatar::{Drives, FaceAvatar},
    detail::FaceDetail,
    endpoint::FaceLinkEndpoint,
    send::SendFace,
    sets::FaceLinkSystems,
    subjects::FaceSubject,
    virtual_subject::VirtualSubject,
};

/// Seconds between two updates of the requested rates.
const ASK_INTERVAL: f32 = 0.1;
/// A rate is lowered when less has been enough for this long, seconds; it is raised at once.
const LESS_AFTER: f32 = 1.0;

/// Rates; `defaults` unless the game has inserted [`AdaptiveFps`] itself.
pub(crate) struct RatesPlugin {
    pub defaults: AdaptiveFps,
}

impl Plugin for RatesPlugin {
    fn build(&self, app: &mut App) {
        if !app.world().contains_resource::<AdaptiveFps>() {
            app.insert_resource(self.defaults);
        }
        app.register_type::<AdaptiveFps>()
            .register_type::<RequestedFps>()
            .register_type::<SubjectAdaptiveFps>()
            .add_systems(PreUpdate, (apply_rates, ask).after(FaceLinkSystems::Receive));
    }
}

/// Asks a subject's sender for this rate, whatever the adaptive rate says. Put on a subject; removing it hands the rate
/// back.
#[derive(Component, Reflect, Clone, Copy, Debug, PartialEq)]
#[reflect(Component)]
pub struct RequestedFps(
    /// Frames a second.
    pub f32,
);

/// [`AdaptiveFps`] for one subject alone.
#[derive(Component, Reflect, Clone, Copy, Debug, Default, PartialEq)]
#[reflect(Component, Default)]
pub struct SubjectAdaptiveFps(
    /// Its settings.
    pub AdaptiveFps,
);

/// The adaptive-FPS system, of all subjects; [`SubjectAdaptiveFps`] for one of them. Inserted before
/// [`FaceLinkPlugin`](crate::FaceLinkPlugin) it is kept.
///
/// Two loops meet in what a sender is asked for, and the lower of both counts: the *network*, by how frames arrive, and the
/// *engine*, by what of a face is seen (see [`FaceBudget`](crate::FaceBudget)). [`RequestedFps`] goes before both.
#[derive(Resource, Reflect, Clone, Copy, Debug, PartialEq)]
#[reflect(Resource, Default)]
pub struct AdaptiveFps {
    /// Off: senders keep their rate. On by default.
    pub enabled: bool,
    /// How the network's loop decides; [`FpsLaw::Network`] by default.
    pub law: FpsLaw,
    /// Whether the engine's loop asks for less of subjects that are far away, off screen or without an avatar; it does by
    /// default.
    pub engine: bool,
    /// Lowest rate asked for, frames a second; 10 by default.
    pub min_fps: f32,
    /// Highest rate asked for, frames a second; 60 by default.
    pub max_fps: f32,
}

impl Default for AdaptiveFps {
    fn default() -> Self {
        RateSettings::default().into()
    }
}

impl From<RateSettings> for AdaptiveFps {
    fn from(RateSettings { enabled, law, min_fps, max_fps }: RateSettings) -> Self {
        Self { enabled, law, engine: true, min_fps, max_fps }
    }
}

impl From<AdaptiveFps> for RateSettings {
    /// The network's part.
    fn from(AdaptiveFps { enabled, law, min_fps, max_fps, engine: _ }: AdaptiveFps) -> Self {
        Self { enabled, law, min_fps, max_fps }
    }
}

/// Hands the settings on to the endpoint when they change.
pub(crate) fn apply_rates(
    endpoint: Option<Res<FaceLinkEndpoint>>,
    adaptive: Res<AdaptiveFps>,
    // A subject that comes back has a new id, and its sender has not heard.
    changed: Query<(&FaceSubject, &RequestedFps), Or<(Changed<RequestedFps>, Changed<FaceSubject>)>>,
    own: Query<(&FaceSubject, &SubjectAdaptiveFps), Or<(Changed<SubjectAdaptiveFps>, Changed<FaceSubject>)>>,
    mut removed: RemovedComponents<RequestedFps>,
    mut handed_back: RemovedComponents<SubjectAdaptiveFps>,
    faces: Query<&FaceSubject>,
) {
    let Some(endpoint) = endpoint else { return };
    if adaptive.is_changed() || endpoint.is_added() {
        endpoint.set_adaptive_fps((*adaptive).into());
    }
    for (subject, SubjectAdaptiveFps(own)) in &own {
        if let Some(id) = subject.id() {
            endpoint.set_adaptive_fps_of(id, Some((*own).into()));
        }
    }
    for entity in handed_back.read() {
        if let Some(id) = faces.get(entity).ok().and_then(|subject| subject.id()) {
            endpoint.set_adaptive_fps_of(id, None);
        }
    }
    for (subject, fps) in &changed {
        if let Some(id) = subject.id() {
            endpoint.set_rate(id, Some(fps.0));
        }
    }
    for entity in removed.read() {
        if let Some(id) = faces.get(entity).ok().and_then(|subject| subject.id()) {
            endpoint.set_rate(id, None);
        }
    }
}

/// What a subject's sender was asked for by the engine, and since when less would do.
#[derive(Component, Clone, Copy, Debug, Default)]
pub(crate) struct Demand {
    asked: Option<f32>,
    less: f32,
}

/// Frames a second that a face evaluated this coarsely can make use of; `None` for all that there are.
fn of_use(detail: &FaceDetail) -> Option<f32> {
    match detail.every {
        _ if !detail.on_screen => Some(10.0),
        0 | 1 => None,
        2 => Some(30.0),
        3 => Some(20.0),
        _ => Some(15.0),
    }
}

/// Asks senders for less whose faces are far away, off screen, or on no avatar.
pub(crate) fn ask(
    time: Res<Time<Real>>,
    mut since: Local<f32>,
    mut commands: Commands,
    adaptive: Res<AdaptiveFps>,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    avatars: Query<&FaceDetail, With<FaceAvatar>>,
    virtuals: Query<&VirtualSubject>,
    mut subjects: Query<(
        Entity,
        &FaceSubject,
        Option<&Drives>,
        Has<SendFace>,
        Option<&SubjectAdaptiveFps>,
        Option<&mut Demand>,
    )>,
) {
    *since += time.delta_secs();
    let Some(endpoint) = endpoint.filter(|_| *since >= ASK_INTERVAL) else { return };
    let seconds = std::mem::take(&mut *since);
    for (entity, subject, drives, sends, own, demand) in &mut subjects {
        let Some(id) = subject.id() else { continue };
        let settings = own.map_or(*adaptive, |own| own.0);
        let used = sends || virtuals.iter().any(|of| of.uses(&subject.name));
        // A game without avatars makes something of its own of the faces.
        let wanted = if !settings.enabled || !settings.engine || used || avatars.is_empty() {
            None
        } else {
            let shown =
                drives.iter().flat_map(|drives| drives.avatars()).filter_map(|avatar| avatars.get(*avatar).ok());
            let max = |a: Option<f32>, b: Option<f32>| a.zip(b).map(|(a, b)| a.max(b));
            shown.map(of_use).fold(Some(10.0), max)
        };
        let wanted = wanted.map(|fps| fps.max(settings.min_fps));
        let Some(mut demand) = demand else {
            commands.entity(entity).try_insert(Demand::default());
            continue;
        };
        let demand = demand.bypass_change_detection();
        let asked = demand.asked.unwrap_or(f32::INFINITY);
        let new = wanted.unwrap_or(f32::INFINITY);
        demand.less = if new < asked { demand.less + seconds } else { 0.0 };
        if new > asked || demand.less >= LESS_AFTER {
            demand.asked = wanted;
            demand.less = 0.0;
            endpoint.set_demand(id, wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn useful_rate_falls_with_detail() {
        let of = |every, on_screen| of_use(&FaceDetail { every, on_screen, ..FaceDetail::default() });
        assert_eq!([of(1, true), of(2, true), of(3, true), of(4, true)], [None, Some(30.0), Some(20.0), Some(15.0)]);
        assert_eq!(of(1, false), Some(10.0));
    }
}
