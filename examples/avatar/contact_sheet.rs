//! Every shape of a model: neutral, the 52, expressions that mix them, and the seven emotions, on sheets of 1920 by 1080.

use std::path::PathBuf;

use bevy::{
    prelude::*,
    render::view::screenshot::{Screenshot, ScreenshotCaptured},
};
use bevy_facelink::{
    FaceInbox, FaceInjector, FaceLinkSystems, FaceSettings,
    facelink::{Blendshape, EyeGaze, FaceFrame, Gaze, HeadPose, layers::Expression},
};
use image::{Rgb, RgbImage, imageops};

use crate::stage::{Canvas, Ready};

const TILE: (u32, u32) = (320, 270);
/// What a pose is drawn on: twice a tile.
pub const CANVAS: (u32, u32) = (2 * TILE.0, 2 * TILE.1);
const COLUMNS: u32 = 6;
/// Rows of a sheet.
const ROWS: u32 = 4;
/// Height of a label, pixels.
const STRIP: u32 = 26;
/// Frames before the first image, for shaders and textures to load.
const WARM_UP: u32 = 8;

/// Takes the images, writes the sheets, and ends.
pub struct ContactSheetPlugin {
    /// Where to save them: `name.png` becomes `name-1.png` and so on.
    pub path: PathBuf,
}

#[derive(Resource)]
struct Sheet {
    path: PathBuf,
    poses: Vec<(String, FaceFrame)>,
    pages: Vec<RgbImage>,
    /// Frames before the next pose.
    wait: u32,
    /// Poses that were rendered.
    shown: usize,
    /// Images that were read back.
    taken: usize,
}

impl Plugin for ContactSheetPlugin {
    fn build(&self, app: &mut App) {
        let (inbox, injector) = FaceInbox::bounded(8);
        let poses = poses();
        let page = RgbImage::from_pixel(COLUMNS * TILE.0, ROWS * TILE.1, Rgb([27, 32, 41]));
        let pages = vec![page; poses.len().div_ceil((COLUMNS * ROWS) as usize)];
        app.insert_resource(inbox)
            .insert_resource(injector)
            .insert_resource(FaceSettings { hold: 1e9, ease_out: 0.0, ease_in: 0.0, switch: 0.0, ..default() })
            .insert_resource(Sheet { path: self.path.clone(), poses, pages, wait: WARM_UP, shown: 0, taken: 0 })
            // What is sent before the link is read is drawn in the same frame.
            .add_systems(PreUpdate, pose.before(FaceLinkSystems::Receive));
    }
}

fn poses() -> Vec<(String, FaceFrame)> {
    use Blendshape::*;
    let of = |name: &str, shapes: &[(Blendshape, f32)]| {
        let mut frame = FaceFrame::neutral();
        for (shape, weight) in shapes {
            frame.set(*shape, *weight);
        }
        (name.to_owned(), frame)
    };
    let mut poses = vec![of("neutral", &[])];
    poses.extend(Blendshape::ALL.map(|shape| of(shape.name(), &[(shape, 1.0)])));
    poses.extend([
        of("jawOpen+mouthClose", &[(JawOpen, 1.0), (MouthClose, 1.0)]),
        of(
            "laugh",
            &[
                (JawOpen, 0.55),
                (MouthSmileLeft, 0.9),
                (MouthSmileRight, 0.9),
                (CheekSquintLeft, 0.8),
                (CheekSquintRight, 0.8),
                (EyeSquintLeft, 0.6),
                (EyeSquintRight, 0.6),
                (MouthUpperUpLeft, 0.4),
                (MouthUpperUpRight, 0.4),
                (BrowInnerUp, 0.3),
            ],
        ),
        of(
            "anger",
            &[
                (BrowDownLeft, 1.0),
                (BrowDownRight, 1.0),
                (NoseSneerLeft, 0.7),
                (NoseSneerRight, 0.7),
                (EyeSquintLeft, 0.5),
                (EyeSquintRight, 0.5),
                (MouthFrownLeft, 0.5),
                (MouthFrownRight, 0.5),
                (MouthPressLeft, 0.6),
                (MouthPressRight, 0.6),
            ],
        ),
        of(
            "sadness",
            &[
                (BrowInnerUp, 1.0),
                (MouthFrownLeft, 0.9),
                (MouthFrownRight, 0.9),
                (MouthShrugLower, 0.5),
                (EyeLookDownLeft, 0.4),
                (EyeLookDownRight, 0.4),
                (EyeBlinkLeft, 0.2),
                (EyeBlinkRight, 0.2),
            ],
        ),
        of(
            "surprise",
            &[
                (JawOpen, 0.7),
                (EyeWideLeft, 1.0),
                (EyeWideRight, 1.0),
                (BrowInnerUp, 1.0),
                (BrowOuterUpLeft, 1.0),
                (BrowOuterUpRight, 1.0),
                (MouthFunnel, 0.4),
            ],
        ),
        of("kiss", &[(MouthPucker, 1.0), (MouthFunnel, 0.2), (EyeBlinkLeft, 0.5), (EyeBlinkRight, 0.5)]),
        of("tongueOut+jawOpen", &[(TongueOut, 1.0), (JawOpen, 0.6)]),
        of("half blink", &[(EyeBlinkLeft, 0.5), (EyeBlinkRight, 0.5)]),
        of(
            "blink + look down",
            &[(EyeBlinkLeft, 1.0), (EyeBlinkRight, 1.0), (EyeLookDownLeft, 1.0), (EyeLookDownRight, 1.0)],
        ),
    ]);
    let mut aside = of("look left, turned", &[(EyeLookOutLeft, 0.7), (EyeLookInRight, 0.7), (MouthSmileLeft, 0.4)]);
    let eye = EyeGaze { yaw: 0.4, pitch: 0.0 };
    aside.1.gaze = Some(Gaze { left: eye, right: eye });
    aside.1.head = Some(HeadPose { rotation: Quat::from_rotation_y(0.45).to_array(), position: None });
    poses.push(aside);
    for expression in Expression::built_in().into_iter().filter(|expression| expression.shapes().count() > 0) {
        poses.push(of(&expression.name, &expression.shapes().collect::<Vec<_>>()));
    }
    poses
}

/// Shows a pose in each frame, and asks for that frame's image.
fn pose(
    mut commands: Commands,
    mut sheet: ResMut<Sheet>,
    ready: Option<Res<Ready>>,
    faces: Res<FaceInjector>,
    canvas: Option<Res<Canvas>>,
) {
    let Some(canvas) = canvas.filter(|_| ready.is_some()) else { return };
    let place = sheet.shown;
    let Some((_, frame)) = sheet.poses.get(place) else { return };
    faces.send(1, "Sheet", frame.clone());
    if sheet.wait > 0 {
        sheet.wait -= 1;
        return;
    }
    sheet.shown += 1;
    commands.spawn(Screenshot::image(canvas.0.clone())).observe(
        move |captured: On<ScreenshotCaptured>, mut sheet: ResMut<Sheet>, exit: MessageWriter<AppExit>| {
            keep(&captured.image, place, &mut sheet, exit);
        },
    );
}

/// Copies an image into its tile; the last one completes the sheet.
fn keep(image: &Image, place: usize, sheet: &mut Sheet, mut exit: MessageWriter<AppExit>) {
    if let Ok(image) = image.clone().try_into_dynamic() {
        let tile = imageops::resize(&image.to_rgb8(), TILE.0, TILE.1, imageops::FilterType::Triangle);
        let label = sheet.poses.get(place).map_or_else(String::new, |(name, _)| name.clone());
        let place = place as u32;
        let (page, place) = (place / (COLUMNS * ROWS), place % (COLUMNS * ROWS));
        let (x, y) = (place % COLUMNS * TILE.0, place / COLUMNS * TILE.1);
        let Some(page) = sheet.pages.get_mut(page as usize) else { return };
        imageops::replace(page, &tile, i64::from(x), i64::from(y));
        // On a darker strip below the chin, where nothing of the face is lost.
        for (dx, dy) in (0..TILE.0 * STRIP).map(|dot| (dot % TILE.0, dot / TILE.0)) {
            let pixel = page.get_pixel_mut(x + dx, y + TILE.1 - STRIP + dy);
            pixel.0 = pixel.0.map(|part| part / 3);
        }
        letters::write(page, x + 6, y + TILE.1 - STRIP + 5, &label);
    }
    sheet.taken += 1;
    if sheet.taken < sheet.poses.len() {
        return;
    }
    for (number, page) in (1..).zip(&sheet.pages) {
        let name = sheet.path.file_stem().unwrap_or_default().to_string_lossy();
        let path = sheet.path.with_file_name(format!("{name}-{number}.png"));
        if let Err(error) = page.save(&path) {
            eprintln!("cannot write {}: {error}", path.display());
            exit.write(AppExit::error());
            return;
        }
        println!("wrote {}", path.display());
    }
    println!("{} poses", sheet.poses.len());
    exit.write(AppExit::Success);
}

/// Letters of five by seven dots: as many as the labels need.
pub mod letters {
    use image::{Rgb, RgbImage};

    const INK: Rgb<u8> = Rgb([235, 238, 245]);
    const SIZE: u32 = 2;

    /// Seven rows of five dots, the leftmost in the highest bit.
    fn dots(letter: char) -> [u8; 7] {
        match letter {
            'a' => [0, 0, 14, 1, 15, 17, 15],
            'b' => [16, 16, 30, 17, 17, 17, 30],
            'c' => [0, 0, 14, 16, 16, 17, 14],
            'd' => [1, 1, 15, 17, 17, 17, 15],
            'e' => [0, 0, 14, 17, 31, 16, 14],
            'f' => [6, 8, 28, 8, 8, 8, 8],
            'g' => [15, 17, 17, 17, 15, 1, 14],
            'h' => [16, 16, 30, 17, 17, 17, 17],
            'i' => [4, 0, 12, 4, 4, 4, 14],
            'j' => [2, 0, 6, 2, 2, 18, 12],
            'k' => [16, 16, 18, 20, 24, 20, 18],
            'l' => [12, 4, 4, 4, 4, 4, 14],
            'm' => [0, 0, 26, 21, 21, 21, 21],
            'n' => [0, 0, 30, 17, 17, 17, 17],
            'o' => [0, 0, 14, 17, 17, 17, 14],
            'p' => [30, 17, 17, 17, 30, 16, 16],
            'q' => [15, 17, 17, 17, 15, 1, 1],
            'r' => [0, 0, 22, 25, 16, 16, 16],
            's' => [0, 0, 15, 16, 14, 1, 30],
            't' => [8, 8, 28, 8, 8, 9, 6],
            'u' => [0, 0, 17, 17, 17, 17, 15],
            'v' => [0, 0, 17, 17, 17, 10, 4],
            'w' => [0, 0, 17, 17, 21, 21, 10],
            'x' => [0, 0, 17, 10, 4, 10, 17],
            'y' => [17, 17, 17, 17, 15, 1, 14],
            'z' => [0, 0, 31, 2, 4, 8, 31],
            'A' => [14, 17, 17, 31, 17, 17, 17],
            'B' => [30, 17, 17, 30, 17, 17, 30],
            'C' => [14, 17, 16, 16, 16, 17, 14],
            'D' => [30, 17, 17, 17, 17, 17, 30],
            'E' => [31, 16, 16, 30, 16, 16, 31],
            'F' => [31, 16, 16, 30, 16, 16, 16],
            'H' => [17, 17, 17, 31, 17, 17, 17],
            'I' => [14, 4, 4, 4, 4, 4, 14],
            'L' => [16, 16, 16, 16, 16, 16, 31],
            'O' => [14, 17, 17, 17, 17, 17, 14],
            'P' => [30, 17, 17, 30, 16, 16, 16],
            'R' => [30, 17, 17, 30, 20, 18, 17],
            'S' => [15, 16, 16, 14, 1, 1, 30],
            'U' => [17, 17, 17, 17, 17, 17, 14],
            'W' => [17, 17, 17, 21, 21, 21, 10],
            '+' => [0, 4, 4, 31, 4, 4, 0],
            ',' => [0, 0, 0, 0, 4, 4, 8],
            _ => [0; 7],
        }
    }

    /// Writes a line, each dot a square of [`SIZE`] pixels.
    pub fn write(image: &mut RgbImage, x: u32, y: u32, text: &str) {
        for (place, letter) in (0_u32..).zip(text.chars()) {
            // These reach below the line.
            let drop = if matches!(letter, 'g' | 'p' | 'q' | 'y') { 2 } else { 0 };
            for (row, bits) in (drop..).zip(dots(letter)) {
                for column in (0..5_u32).filter(|column| bits >> (4 - column) & 1 == 1) {
                    let (left, top) = (x + (place * 6 + column) * SIZE, y + row * SIZE);
                    for (dx, dy) in (0..SIZE * SIZE).map(|dot| (dot % SIZE, dot / SIZE)) {
                        if let Some(pixel) = image.get_pixel_mut_checked(left + dx, top + dy) {
                            *pixel = INK;
                        }
                    }
                }
            }
        }
    }
}
