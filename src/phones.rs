//! Phone apps in the game: calling phones, and calibrating performers.

use bevy::prelude::*;
#[cfg(sockets)]
use facelink_net::PhoneStatus;

#[cfg(sockets)]
use crate::sets::FaceLinkSystems;
use crate::{endpoint::FaceLinkEndpoint, subjects::FaceSubject};

pub(crate) struct PhonesPlugin;

impl Plugin for PhonesPlugin {
    fn build(&self, app: &mut App) {
        app.add_observer(on_neutral).add_observer(on_recentre).add_observer(on_clear);
        #[cfg(sockets)]
        app.init_resource::<FacePhones>().add_systems(PreUpdate, read_phones.after(FaceLinkSystems::Receive));
    }
}

/// Seconds between two reads of the phones.
#[cfg(sockets)]
const INTERVAL: f32 = 0.25;

/// Takes the face that a subject shows now for its neutral one: every shape then runs from there to full. Triggered on a
/// subject, from code or by the panel.
///
/// ```no_run
/// # use bevy::prelude::*;
/// # use bevy_facelink::{phones::CaptureNeutral, FaceSubjects};
/// fn on_key(mut commands: Commands, subjects: Res<FaceSubjects>) {
///     if let Some(entity) = subjects.first() {
///         commands.trigger(CaptureNeutral { entity });
///     }
/// }
/// ```
#[derive(EntityEvent, Reflect, Clone, Copy, Debug)]
pub struct CaptureNeutral {
    /// The subject.
    pub entity: Entity,
}

/// Takes the current head rotation of a subject for looking straight ahead.
#[derive(EntityEvent, Reflect, Clone, Copy, Debug)]
pub struct RecentreHead {
    /// The subject.
    pub entity: Entity,
}

/// Undoes [`CaptureNeutral`], [`RecentreHead`] and [`EndRangeOfMotion`].
#[derive(EntityEvent, Reflect, Clone, Copy, Debug)]
pub struct ClearCalibration {
    /// The subject.
    pub entity: Entity,
}

/// Begins to follow a performer who now makes every face as far as it goes: wide smile, wide eyes, jaw open, and so on.
#[derive(EntityEvent, Reflect, Clone, Copy, Debug)]
pub struct BeginRangeOfMotion {
    /// The subject.
    pub entity: Entity,
}

/// Ends what [`BeginRangeOfMotion`] began: what each shape reached counts as 1 from now on.
#[derive(EntityEvent, Reflect, Clone, Copy, Debug)]
pub struct EndRangeOfMotion {
    /// The subject.
    pub entity: Entity,
    /// Whether it is taken; without, nothing changes.
    pub keep: bool,
}

/// Keeps a performer's calibration as an asset ([`FacePerformers`](crate::FacePerformers)), so that it is taken up again
/// whenever a subject of this name appears.
#[derive(EntityEvent, Reflect, Clone, Copy, Debug)]
pub struct SaveCalibration {
    /// The subject.
    pub entity: Entity,
}

/// Every phone that is called, and its status; at most a quarter of a second old.
///
/// To call one, or to send commands to Live Link Face, use [`FaceLinkEndpoint`]:
/// [`call_phone`](facelink_net::EndpointControl::call_phone), [`command_phone`](facelink_net::EndpointControl::command_phone).
#[cfg(sockets)]
#[derive(Resource, Clone, Debug, Default)]
pub struct FacePhones {
    /// In the order in which they were added.
    pub phones: Vec<PhoneStatus>,
}

#[cfg(sockets)]
fn read_phones(
    time: Res<Time<Real>>,
    mut since: Local<f32>,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    mut phones: ResMut<FacePhones>,
) {
    *since += time.delta_secs();
    if *since < INTERVAL {
        return;
    }
    *since = 0.0;
    let now = endpoint.map_or_else(Vec::new, |endpoint| endpoint.phones());
    // No phone to call is the usual case, and then nothing changes.
    if !(now.is_empty() && phones.phones.is_empty()) {
        phones.phones = now;
    }
}

fn with_subject(
    entity: Entity,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    subjects: &Query<&FaceSubject>,
    what: &str,
    act: impl FnOnce(&FaceLinkEndpoint, &str) -> bool,
) {
    let Ok(subject) = subjects.get(entity) else {
        return warn!("{what}: {entity} is no subject");
    };
    let done = endpoint.is_some_and(|endpoint| act(&endpoint, &subject.name));
    if done {
        info!("{what}: \"{}\"", subject.name);
    } else {
        warn!("{what}: \"{}\" sends nothing to take it from", subject.name);
    }
}

fn on_neutral(event: On<CaptureNeutral>, endpoint: Option<Res<FaceLinkEndpoint>>, faces: Query<&FaceSubject>) {
    with_subject(event.entity, endpoint, &faces, "neutral face", |endpoint, name| endpoint.calibrate_neutral(name));
}

fn on_recentre(event: On<RecentreHead>, endpoint: Option<Res<FaceLinkEndpoint>>, faces: Query<&FaceSubject>) {
    with_subject(event.entity, endpoint, &faces, "head recentred", |endpoint, name| endpoint.recentre_head(name));
}

fn on_clear(event: On<ClearCalibration>, endpoint: Option<Res<FaceLinkEndpoint>>, faces: Query<&FaceSubject>) {
    with_subject(event.entity, endpoint, &faces, "calibration cleared", |endpoint, name| {
        endpoint.set_calibration(name, default())
    });
}
