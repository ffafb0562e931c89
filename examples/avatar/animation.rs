//! An animation as numbered PNG files: the weights that arrive on the left, the avatar that follows them on the right.
//! `docs/images/animate` makes the animated image of the README from it.

use std::{fs, path::PathBuf, time::Duration};

use bevy::{
    prelude::*,
    render::view::screenshot::{Screenshot, ScreenshotCaptured},
};
use bevy_facelink::{
    FaceInbox, FaceInjector, FaceLinkSystems, FaceSettings,
    facelink::{Blendshape, EyeGaze, FaceFrame, Gaze, HeadPose, performer::Performance},
};
use image::{Rgb, RgbImage, imageops};

use crate::{
    contact_sheet::letters,
    stage::{Canvas, Ready},
};

/// Pixels of the avatar's part of an image.
pub const FACE: (u32, u32) = (360, 360);
/// Width of the chart of weights, pixels.
const CHART: u32 = 200;
/// Images a second.
const FPS: u32 = 15;
/// Images at the end that blend into the first one, so that the animation repeats without a jump.
const BLEND: u32 = 9;
/// Frames before the first image: shaders and textures come first.
const WARM_UP: u32 = 8;
/// Seed of the performance, and the second at which the animation begins.
const SEED: u64 = 2;
const START: f64 = 28.0;

/// Shapes of the chart.
const SHAPES: [Blendshape; 9] = [
    Blendshape::EyeBlinkLeft,
    Blendshape::EyeLookInLeft,
    Blendshape::BrowInnerUp,
    Blendshape::BrowOuterUpLeft,
    Blendshape::JawOpen,
    Blendshape::MouthFunnel,
    Blendshape::MouthSmileLeft,
    Blendshape::MouthPucker,
    Blendshape::TongueOut,
];

const BACKGROUND: Rgb<u8> = Rgb([13, 17, 23]);
const TRACK: Rgb<u8> = Rgb([38, 46, 58]);
const BAR: Rgb<u8> = Rgb([86, 182, 255]);

/// Draws the images, writes them, and ends.
pub struct AnimationPlugin {
    /// Folder for the images.
    pub folder: PathBuf,
    /// Number of images.
    pub frames: u32,
}

#[derive(Resource)]
struct Recording {
    folder: PathBuf,
    frames: Vec<FaceFrame>,
    /// Frames before the next image.
    wait: u32,
    shown: usize,
    written: usize,
}

impl Plugin for AnimationPlugin {
    fn build(&self, app: &mut App) {
        let (inbox, injector) = FaceInbox::bounded(8);
        app.insert_resource(inbox)
            .insert_resource(injector)
            .insert_resource(FaceSettings { hold: 1e9, ease_out: 0.0, ease_in: 0.0, switch: 0.0, ..default() })
            .insert_resource(Recording {
                folder: self.folder.clone(),
                frames: performance(self.frames),
                wait: WARM_UP,
                shown: 0,
                written: 0,
            })
            // A frame that is sent before `Receive` is drawn in the same update.
            .add_systems(PreUpdate, show.before(FaceLinkSystems::Receive));
    }
}

/// A loop of the performance: its end blends into what came before its start.
fn performance(count: u32) -> Vec<FaceFrame> {
    let performance = Performance::new(SEED);
    let at =
        |image: i64| performance.frame_at(Duration::from_secs_f64((START + image as f64 / f64::from(FPS)).max(0.0)));
    let count = i64::from(count);
    let blend = i64::from(BLEND).min(count);
    (0..count)
        .map(|image| {
            let left = count - image;
            if left > blend {
                return at(image);
            }
            let share = 1.0 - left as f32 / (blend + 1) as f32;
            mix(&at(image), &at(image - count), share * share * (3.0 - 2.0 * share))
        })
        .collect()
}

fn mix(from: &FaceFrame, to: &FaceFrame, share: f32) -> FaceFrame {
    let mut frame = from.clone();
    for (weight, to) in frame.weights.iter_mut().zip(&to.weights) {
        *weight += (to - *weight) * share;
    }
    if let (Some(from), Some(to)) = (from.head, to.head) {
        let rotation = Quat::from_array(from.rotation).slerp(Quat::from_array(to.rotation), share);
        frame.head = Some(HeadPose { rotation: rotation.to_array(), position: None });
    }
    if let (Some(from), Some(to)) = (from.gaze, to.gaze) {
        let eye = |from: EyeGaze, to: EyeGaze| EyeGaze {
            yaw: from.yaw + (to.yaw - from.yaw) * share,
            pitch: from.pitch + (to.pitch - from.pitch) * share,
        };
        frame.gaze = Some(Gaze { left: eye(from.left, to.left), right: eye(from.right, to.right) });
    }
    frame
}

/// Sends a frame in each update, and asks for the image of that update.
fn show(
    mut commands: Commands,
    mut recording: ResMut<Recording>,
    ready: Option<Res<Ready>>,
    faces: Res<FaceInjector>,
    canvas: Option<Res<Canvas>>,
) {
    let Some(canvas) = canvas.filter(|_| ready.is_some()) else { return };
    let number = recording.shown;
    let Some(frame) = recording.frames.get(number) else { return };
    faces.send(1, "Performer", frame.clone());
    if recording.wait > 0 {
        recording.wait -= 1;
        return;
    }
    recording.shown += 1;
    commands.spawn(Screenshot::image(canvas.0.clone())).observe(
        move |captured: On<ScreenshotCaptured>, mut recording: ResMut<Recording>, mut exit: MessageWriter<AppExit>| {
            match write(&captured.image, number, &recording) {
                Ok(()) => recording.written += 1,
                Err(error) => {
                    eprintln!("cannot write image {number}: {error}");
                    exit.write(AppExit::error());
                    return;
                }
            }
            if recording.written == recording.frames.len() {
                println!("wrote {} images to {}", recording.written, recording.folder.display());
                exit.write(AppExit::Success);
            }
        },
    );
}

fn write(captured: &Image, number: usize, recording: &Recording) -> Result<(), String> {
    let image = captured.clone().try_into_dynamic().map_err(|error| error.to_string())?;
    let mut canvas = RgbImage::from_pixel(CHART + FACE.0, FACE.1, BACKGROUND);
    imageops::replace(&mut canvas, &image.to_rgb8(), i64::from(CHART), 0);
    if let Some(frame) = recording.frames.get(number) {
        chart(&mut canvas, frame);
    }
    fs::create_dir_all(&recording.folder).map_err(|error| error.to_string())?;
    canvas.save(recording.folder.join(format!("{number:03}.png"))).map_err(|error| error.to_string())
}

/// A bar for each of [`SHAPES`].
fn chart(canvas: &mut RgbImage, frame: &FaceFrame) {
    let (left, width, row) = (14, CHART - 30, FACE.1 / SHAPES.len() as u32);
    for (place, shape) in (0_u32..).zip(SHAPES) {
        let top = place * row + 8;
        letters::write(canvas, left, top, shape.name());
        let weight = frame.get(shape).unwrap_or(0.0).clamp(0.0, 1.0);
        let filled = (weight * width as f32).round() as u32;
        for (x, y) in (0..width).flat_map(|x| (0..7).map(move |y| (x, y))) {
            let color = if x < filled { BAR } else { TRACK };
            canvas.put_pixel(left + x, top + 20 + y, color);
        }
    }
}
