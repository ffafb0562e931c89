//! Draws a number of frames, saves a screenshot, and ends.

use std::path::PathBuf;

use bevy::{
    prelude::*,
    render::view::screenshot::{Screenshot, ScreenshotCaptured},
};
use bevy_facelink::{
    BindReport, DrivenBy, FaceLinkEndpoint, FacePose, FaceSubject, FaceSubjects, facelink::Blendshape,
};

use crate::stage::{Canvas, Ready};

/// Counts frames from the moment that a face can be seen, then saves a screenshot.
pub struct ScreenshotPlugin {
    /// Frames to wait.
    pub frames: u32,
    /// Where to save it.
    pub path: Option<PathBuf>,
    /// Whether to capture the window rather than the canvas.
    pub windowed: bool,
    /// Whether the first frame is the first with a face.
    pub face: bool,
}

/// While this resource exists, no frame counts.
#[derive(Resource)]
pub struct Hold;

#[derive(Resource)]
struct Plan {
    left: u32,
    path: Option<PathBuf>,
    windowed: bool,
    face: bool,
    frames: u32,
    taken: bool,
    /// Largest `jawOpen` so far.
    jaw: f32,
}

impl Plugin for ScreenshotPlugin {
    fn build(&self, app: &mut App) {
        let (left, path, windowed) = (self.frames, self.path.clone(), self.windowed);
        app.insert_resource(Plan { left, path, windowed, face: self.face, frames: left, taken: false, jaw: 0.0 })
            .add_systems(Update, count);
    }
}

fn count(
    mut commands: Commands,
    mut plan: ResMut<Plan>,
    ready: Option<Res<Ready>>,
    hold: Option<Res<Hold>>,
    subjects: Res<FaceSubjects>,
    canvas: Option<Res<Canvas>>,
    avatars: Query<(&BindReport, Option<&DrivenBy>)>,
    faces: Query<(&FaceSubject, &FacePose)>,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    mut exit: MessageWriter<AppExit>,
) {
    if plan.taken || ready.is_none() || hold.is_some() || (plan.face && subjects.is_empty()) {
        return;
    }
    let face = avatars.iter().find_map(|(_, driven)| faces.get(driven?.0).ok());
    plan.jaw = face.map_or(plan.jaw, |(_, pose)| plan.jaw.max(pose.weights[Blendshape::JawOpen.index()]));
    plan.left = plan.left.saturating_sub(1);
    if plan.left > 0 {
        return;
    }
    plan.taken = true;
    let summary = avatars.iter().map(|(report, _)| report.summary()).collect::<Vec<_>>().join("; ");
    let face = face.map_or("none", |(subject, _)| subject.name.as_str());
    let received = endpoint.map_or(0, |endpoint| endpoint.stats().subjects.iter().map(|s| s.frames).sum());
    println!(
        "{} frames drawn; {summary}; live face: {face}; {received} frames received; jawOpen up to {:.2}",
        plan.frames, plan.jaw
    );
    let Some(path) = plan.path.clone() else {
        exit.write(AppExit::Success);
        return;
    };
    let screenshot = match (plan.windowed, canvas) {
        (false, Some(canvas)) => Screenshot::image(canvas.0.clone()),
        _ => Screenshot::primary_window(),
    };
    commands.spawn(screenshot).observe(move |captured: On<ScreenshotCaptured>, mut exit: MessageWriter<AppExit>| {
        let saved = captured.image.clone().try_into_dynamic().map_err(|error| error.to_string());
        // Without alpha: the window is opaque.
        match saved.and_then(|image| image.to_rgb8().save(&path).map_err(|error| error.to_string())) {
            Ok(()) => {
                println!("wrote {}", path.display());
                exit.write(AppExit::Success);
            }
            Err(error) => {
                eprintln!("cannot write {}: {error}", path.display());
                exit.write(AppExit::error());
            }
        }
    });
}
