//! Plays a number of frames, saves a screenshot of the last, and ends.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Instant,
};

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
    /// Frames to play.
    pub frames: u32,
    /// Where to save it.
    pub path: PathBuf,
    /// Whether to capture the window rather than the canvas.
    pub windowed: bool,
    /// Whether the first frame is the first with a face.
    pub face: bool,
    /// Whether the picture keeps its alpha.
    pub alpha: bool,
}

/// While this resource exists, no frame counts.
#[derive(Resource)]
pub struct Hold;

#[derive(Resource)]
struct Plan {
    left: u32,
    path: PathBuf,
    windowed: bool,
    face: bool,
    alpha: bool,
    frames: u32,
    taken: bool,
    began: Option<Instant>,
    /// Largest `jawOpen` so far.
    jaw: f32,
}

impl Plugin for ScreenshotPlugin {
    fn build(&self, app: &mut App) {
        let (left, path, windowed) = (self.frames, self.path.clone(), self.windowed);
        app.insert_resource(Plan {
            left,
            path,
            windowed,
            face: self.face,
            alpha: self.alpha,
            frames: left,
            taken: false,
            began: None,
            jaw: 0.0,
        })
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
    mut cameras: Query<&mut Camera>,
) {
    if plan.taken {
        // The image is on its way, and no other frame is needed.
        for mut camera in cameras.iter_mut().filter(|_| !plan.windowed) {
            camera.is_active = false;
        }
        return;
    }
    if ready.is_none() || hold.is_some() || (plan.face && subjects.is_empty()) {
        return;
    }
    let face = avatars.iter().find_map(|(_, driven)| faces.get(driven?.0).ok());
    plan.jaw = face.map_or(plan.jaw, |(_, pose)| plan.jaw.max(pose.weights[Blendshape::JawOpen.index()]));
    let began = *plan.began.get_or_insert_with(Instant::now);
    plan.left = plan.left.saturating_sub(1);
    if plan.left > 0 {
        return;
    }
    plan.taken = true;
    let summary = avatars.iter().map(|(report, _)| report.summary()).collect::<Vec<_>>().join("; ");
    let face = face.map_or("none", |(subject, _)| subject.name.as_str());
    let received = endpoint.map_or(0, |endpoint| endpoint.stats().subjects.iter().map(|s| s.frames).sum());
    let (frames, jaw) = (plan.frames, plan.jaw);
    let drawn = if plan.windowed {
        let rate = f64::from(frames.saturating_sub(1)) / began.elapsed().as_secs_f64().max(1e-9);
        format!("{frames} frames drawn, {rate:.1} a second")
    } else {
        format!("{frames} frames, the last one drawn")
    };
    println!("{drawn}; {summary}; live face: {face}; {received} frames received; jawOpen up to {jaw:.2}");
    let (path, alpha) = (plan.path.clone(), plan.alpha);
    // Those of frames that are not drawn.
    for mut camera in &mut cameras {
        camera.is_active = true;
    }
    let screenshot = match (plan.windowed, canvas) {
        (false, Some(canvas)) => Screenshot::image(canvas.0.clone()),
        _ => Screenshot::primary_window(),
    };
    commands.spawn(screenshot).observe(move |captured: On<ScreenshotCaptured>, mut exit: MessageWriter<AppExit>| {
        let saved = captured.image.clone().try_into_dynamic().map_err(|error| error.to_string());
        let saved = saved.and_then(|image| {
            let saved = if alpha { image.to_rgba8().save(&path) } else { image.to_rgb8().save(&path) };
            saved.map_err(|error| error.to_string())
        });
        match saved {
            Ok(()) => {
                println!("wrote {}", fs::canonicalize(&path).as_ref().unwrap_or(&path).display());
                exit.write(AppExit::Success);
            }
            Err(error) => {
                eprintln!("cannot write {}: {error}", path.display());
                exit.write(AppExit::error());
            }
        }
    });
}

/// Where a picture without a name goes: `avatar.png` in the working folder for the example `avatar`.
pub fn default_path() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    Path::new(program.file_stem().unwrap_or("picture".as_ref())).with_extension("png")
}
