//! Gestures of subjects: what the performer's face does, as events.

use std::time::Duration;

use bevy::prelude::*;
use facelink::{
    gesture::{GestureError, GestureRecognizer, GestureSet},
    mapping::Face,
};

use crate::{
    bones::angles,
    pose::FacePose,
    sets::{FaceLinkSystems, Step},
    subjects::FaceSubject,
    virtual_subject::VirtualSubject,
};

pub(crate) struct GesturesPlugin;

impl Plugin for GesturesPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<FaceGestures>()
            .register_required_components::<FaceSubject, Followed>()
            // The performer's own face: before expressions and speech are put over it.
            .add_systems(
                PreUpdate,
                recognise.in_set(FaceLinkSystems::Evaluate).after(Step::Playout).before(Step::Layers),
            );
    }
}

/// The gestures that are recognised on every subject with a face of its own, as before expressions and speech are put over it (a
/// [`VirtualSubject`]'s are those of its parts); none by default. [`SubjectGestures`] takes its place on one of them.
/// Changed at any time: what is active ends, and the new rules count from the next frame on.
///
/// ```
/// use bevy::prelude::*;
/// use bevy_facelink::prelude::*;
///
/// fn greet(gesture: On<FaceGesture>) {
///     if gesture.active && gesture.gesture == "wink_left" {
///         info!("a wink");
///     }
/// }
///
/// let mut app = App::new();
/// app.add_plugins((MinimalPlugins, AssetPlugin::default(), FaceLinkPlugin::without_sockets()))
///     .insert_resource(FaceGestures::built_in())
///     .add_observer(greet);
/// app.update();
/// ```
#[derive(Resource, Clone, Debug, Default)]
pub struct FaceGestures {
    set: Option<GestureSet>,
    /// Made of the set, and copied for each subject.
    recognizer: Option<GestureRecognizer>,
}

impl FaceGestures {
    /// Winks, a kiss, the tongue out, surprise, a smile, nods and shakes of the head.
    pub fn built_in() -> Self {
        Self::new(GestureSet::default()).unwrap_or_default()
    }

    /// The gestures of a set, such as one that was read from a file: `text.parse::<GestureSet>()`.
    ///
    /// # Errors
    /// Names the field of the set that cannot be used.
    pub fn new(set: GestureSet) -> Result<Self, GestureError> {
        let recognizer = Some(GestureRecognizer::new(&set)?);
        Ok(Self { set: Some(set), recognizer })
    }

    /// The rules, if there are any.
    pub fn set(&self) -> Option<&GestureSet> {
        self.set.as_ref()
    }
}

/// The gestures that are recognised on this subject, in place of those of all.
#[derive(Component, Clone, Debug, Default)]
pub struct SubjectGestures(pub FaceGestures);

/// A gesture of a subject started or ended.
#[derive(EntityEvent, Reflect, Clone, Debug)]
pub struct FaceGesture {
    /// The subject.
    pub entity: Entity,
    /// Which gesture, such as `wink_left`.
    pub gesture: String,
    /// `true` when it started, `false` when it ended.
    pub active: bool,
    /// For how long it was active; zero when it starts.
    pub lasted: Duration,
}

/// Follows the face of a subject.
#[derive(Component, Debug, Default)]
struct Followed {
    recognizer: Option<Box<GestureRecognizer>>,
    /// By rules of its own.
    own: bool,
}

/// Poses of this frame, by real time, as faces are shown.
fn recognise(
    mut commands: Commands,
    time: Res<Time<Real>>,
    all: Res<FaceGestures>,
    mut subjects: Query<(Entity, &FacePose, &mut Followed, Option<Ref<SubjectGestures>>), Without<VirtualSubject>>,
) {
    let now = time.elapsed();
    let all_changed = all.is_changed();
    for (entity, pose, mut followed, own) in &mut subjects {
        let mut report = |event: facelink::gesture::GestureEvent| {
            let (gesture, active, lasted) = (event.name.to_string(), event.active, event.lasted);
            commands.trigger(FaceGesture { entity, gesture, active, lasted });
        };
        let is_new = followed.is_added();
        let changed = match &own {
            Some(own) => own.is_changed() || !followed.own,
            None => all_changed || followed.own,
        };
        if is_new || changed {
            if let Some(recognizer) = &mut followed.recognizer {
                recognizer.end(now, &mut report);
            }
            let rules = own.as_ref().map_or(&*all, |own| &own.0);
            let recognizer = rules.recognizer.clone().map(Box::new);
            *followed = Followed { recognizer, own: own.is_some() };
        }
        let Some(recognizer) = followed.bypass_change_detection().recognizer.as_mut() else { continue };
        if pose.tracked {
            let face = Face { weights: &pose.weights, channels: &pose.channels, head: angles(pose.head).to_array() };
            recognizer.update(&face, now, report);
        } else {
            recognizer.update_lost(now, report);
        }
    }
}

#[cfg(test)]
mod tests {
    use facelink::{Blendshape, FaceFrame};

    use super::*;
    use crate::{FaceInput, FaceLinkPlugin};

    #[derive(Resource, Default)]
    struct Seen(Vec<(String, bool)>);

    fn watch(gesture: On<FaceGesture>, mut seen: ResMut<Seen>) {
        seen.0.push((gesture.gesture.clone(), gesture.active));
    }

    #[test]
    fn gesture_events_follow_the_rules_that_are_set() {
        let rules = |name: &str| {
            let text = format!(
                "(built_in: false, gestures: [(name: \"{name}\", when: [(from: \"jawOpen\", above: 0.5)], hold: 0, release: 0)])"
            );
            FaceGestures::new(text.parse().expect("rules")).expect("usable")
        };
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, AssetPlugin::default(), FaceLinkPlugin::without_sockets()))
            .init_resource::<Seen>()
            .add_observer(watch);
        let until = |app: &mut App, jaw: f32, wanted: &[(&str, bool)]| {
            let mut frame = FaceFrame::neutral();
            frame.set(Blendshape::JawOpen, jaw);
            let start = std::time::Instant::now();
            loop {
                app.world().resource::<FaceInput>().send("Ann", frame.clone()).expect("finite numbers");
                app.update();
                let seen = &app.world().resource::<Seen>().0;
                if seen.iter().map(|(name, active)| (name.as_str(), *active)).eq(wanted.iter().copied()) {
                    return;
                }
                assert!(start.elapsed().as_secs() < 10, "{seen:?} is not {wanted:?}");
            }
        };
        // None by default, though the jaw is open.
        for _ in 0..20 {
            until(&mut app, 0.9, &[]);
        }
        app.insert_resource(rules("jaw"));
        until(&mut app, 0.9, &[("jaw", true)]);
        until(&mut app, 0.0, &[("jaw", true), ("jaw", false)]);
        until(&mut app, 0.9, &[("jaw", true), ("jaw", false), ("jaw", true)]);
        // Other rules end what is active.
        app.insert_resource(rules("mouth"));
        let all = [("jaw", true), ("jaw", false), ("jaw", true), ("jaw", false), ("mouth", true)];
        until(&mut app, 0.9, &all);
    }
}
