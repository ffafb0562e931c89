//! The egui panel: sources, link quality, the avatars that show them, and the 52 values.

#[cfg(sockets)]
mod calibrate;
mod camera;
#[cfg(sockets)]
mod doctor;
mod log;
mod merge;
mod moods;
#[cfg(sockets)]
mod names;
#[cfg(sockets)]
mod network;
#[cfg(sockets)]
mod sealing;
mod session;
#[cfg(feature = "takes")]
mod takes;
mod theme;
#[cfg(feature = "takes")]
mod timeline;
mod timing;
mod tune;

use bevy::{input::InputSystems, prelude::*, time::common_conditions::on_timer, world_serialization::WorldAssetRoot};
use bevy_egui::{EguiContexts, EguiPrimaryContextPass, egui};
use egui::{Align2, Color32, CornerRadius, FontId, RichText, Sense, Stroke, vec2};
use facelink::Blendshape;

use crate::{
    avatar::{DrivenBy, FaceAvatar},
    input::FaceInput,
    pose::FacePose,
    report::{BindReport, NO_HEAD},
    sets::FaceLinkSystems,
    subjects::{FaceSubject, FaceSubjects, LinkQuality},
};
use theme::{
    ACCENT, BAD, BELOW, DIM, GOOD, GROUND, RAIL, SMALL, TEXT, TINY, WARN, badge, card, dress, fitted, judged, percent,
    small, title,
};

/// Shows the panel at the right-hand side of the window.
///
/// It wants a window and a renderer, so add it after `DefaultPlugins`. [`EguiPlugin`](bevy_egui::EguiPlugin) comes with
/// it, and is shown by the camera that draws last on the primary window, never by one that draws into a texture. A game
/// that adds `EguiPlugin` itself does so before this plugin and chooses the camera: egui takes the first that is spawned,
/// or the one with [`PrimaryEguiContext`](bevy_egui::PrimaryEguiContext). [`FaceLinkPanel`] opens and closes it from code.
#[derive(Clone, Debug)]
pub struct FaceLinkPanelPlugin {
    /// Whether the panel is open at the start.
    pub open: bool,
    /// Opens and closes the panel.
    pub key: KeyCode,
}

impl Default for FaceLinkPanelPlugin {
    fn default() -> Self {
        Self { open: true, key: KeyCode::F1 }
    }
}

/// The panel's state. While it is closed, nothing is drawn and nothing is computed.
#[derive(Resource, Reflect, Clone, Debug, Default, PartialEq, Eq)]
#[reflect(Resource, Default)]
pub struct FaceLinkPanel {
    /// Whether it is seen.
    pub open: bool,
    /// The subject whose values are shown; the first that there is while this is `None` or gone.
    pub subject: Option<Entity>,
    /// Whether the mapping's shapes are unfolded when the panel is first drawn.
    pub tuning: bool,
}

impl Plugin for FaceLinkPanelPlugin {
    fn build(&self, app: &mut App) {
        camera::build(app);
        let key = self.key;
        app.register_type::<FaceLinkPanel>()
            .insert_resource(FaceLinkPanel { open: self.open, ..default() })
            .init_resource::<timing::Tracks>()
            .add_systems(PreUpdate, timing::follow.after(FaceLinkSystems::Receive))
            .add_systems(
                PreUpdate,
                (move |keys: Option<Res<ButtonInput<KeyCode>>>, mut panel: ResMut<FaceLinkPanel>| {
                    if keys.is_some_and(|keys| keys.just_pressed(key)) {
                        panel.open = !panel.open;
                    }
                })
                .after(InputSystems),
            )
            .init_resource::<log::EventLog>()
            .add_systems(PreUpdate, log::follow.after(FaceLinkSystems::Receive))
            .add_observer(log::on_gesture)
            .init_resource::<session::Changes>()
            .add_systems(Update, session::compare.run_if(is_open).run_if(on_timer(session::COMPARE)))
            .add_systems(EguiPrimaryContextPass, draw.run_if(is_open));
    }
}

fn is_open(panel: Res<FaceLinkPanel>) -> bool {
    panel.open
}

type SubjectParts = (Entity, &'static FaceSubject, &'static FacePose, &'static LinkQuality);
type AvatarParts = (
    Entity,
    &'static FaceAvatar,
    Option<&'static Name>,
    Option<&'static WorldAssetRoot>,
    Option<&'static BindReport>,
    Option<&'static DrivenBy>,
);

const WIDTH: f32 = 320.0;

fn draw(
    mut contexts: EguiContexts,
    mut commands: Commands,
    mut panel: ResMut<FaceLinkPanel>,
    input: Option<Res<FaceInput>>,
    #[cfg(sockets)] mut network: network::Network,
    order: Option<Res<FaceSubjects>>,
    subjects: Query<SubjectParts>,
    avatars: Query<AvatarParts>,
    mut tuner: tune::Tuner,
    mut timed: timing::Timing,
    session: session::Session,
    mut virtuals: merge::Virtuals,
    mut events: log::Events,
    #[cfg(feature = "takes")] mut takes: takes::Takes,
) {
    // No camera yet, so there is nothing to draw on.
    let Ok(context) = contexts.ctx_mut() else { return };
    let context = context.clone();
    let mut root = egui::Ui::new(
        context.clone(),
        egui::Id::new("facelink_panel_root"),
        egui::UiBuilder::new().layer_id(egui::LayerId::background()).max_rect(context.viewport_rect()),
    );
    // The game's own egui windows keep their looks.
    dress(root.style_mut());
    let frame = egui::Frame::new().fill(GROUND).inner_margin(egui::Margin::symmetric(8, 8));
    let entities: Vec<Entity> = order.iter().flat_map(|order| order.iter()).map(|(_, entity)| entity).collect();
    let selected = panel.subject.filter(|entity| subjects.contains(*entity)).or_else(|| entities.first().copied());
    egui::Panel::right("facelink_panel")
        .resizable(true)
        .default_size(WIDTH)
        .size_range(280.0..=520.0)
        .frame(frame)
        .show(&mut root, |ui| {
            egui::ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
                ui.horizontal(|ui| {
                    ui.label(RichText::new("FaceLink").size(16.0).strong());
                    #[cfg(sockets)]
                    network.connections(ui);
                    ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                        if ui.small_button("\u{d7}").on_hover_text("Close the panel").clicked() {
                            panel.open = false;
                        }
                    });
                });
                #[cfg(sockets)]
                network.link(ui);
                if let Some(input) = &input {
                    own_frames(ui, input);
                }
                card(ui, |ui| {
                    if let Some(clicked) = subject_table(ui, entities.iter().copied(), &subjects, selected) {
                        panel.subject = Some(clicked);
                    }
                });
                #[cfg(sockets)]
                network.names(ui, selected.and_then(|entity| Some(subjects.get(entity).ok()?.1)));
                let faces: Vec<_> = entities.iter().filter_map(|entity| Some(subjects.get(*entity).ok()?.1)).collect();
                virtuals.virtuals(ui, &mut commands, &faces);
                session.session(ui, &mut commands);
                #[cfg(sockets)]
                network.sources(ui);
                #[cfg(feature = "takes")]
                takes.takes(ui);
                events.events(ui);
                card(ui, |ui| avatar_list(ui, &avatars, &subjects));
                let shown = selected.and_then(|entity| subjects.get(entity).ok());
                // The avatar that shows the face that is looked at, or the only one there is.
                let drives = |driven: Option<&DrivenBy>| driven.map(|driven| driven.0) == selected;
                let tuned = avatars.iter().sort::<Entity>().find(|parts| drives(parts.5));
                if let Some((entity, _, name, scene, Some(report), _)) = tuned.or_else(|| avatars.single().ok()) {
                    let label = avatar_label(entity, name, scene);
                    let pose = shown.map(|(_, _, pose, ..)| pose);
                    let unfolded = panel.tuning;
                    card(ui, |ui| {
                        tune::tune(ui, &mut commands, &mut tuner, entity, &label, report, pose, unfolded);
                    });
                }
                card(ui, |ui| {
                    #[cfg(sockets)]
                    network.rates(ui, &mut commands, shown.map(|(entity, _, _, quality)| (entity, quality)));
                    timing::budget(ui, &mut timed);
                });
                if let Some((entity, ..)) = shown {
                    card(ui, |ui| timing::timing(ui, &mut commands, &mut timed, entity));
                }
                #[cfg(sockets)]
                {
                    let looked_at = shown.map(|(entity, subject, _, quality)| (entity, subject, quality));
                    network.endpoint(ui, &mut commands, looked_at);
                }
                if let Some((_, subject, pose, ..)) = shown {
                    card(ui, |ui| values(ui, subject, pose));
                }
            });
        });
}

/// What was wrong with frames of the game's own sources, if anything was.
fn own_frames(ui: &mut egui::Ui, input: &FaceInput) {
    let stats = input.stats();
    if stats.refused + stats.clamped == 0 {
        return;
    }
    ui.horizontal_wrapped(|ui| {
        for (name, count) in [("own frames refused", stats.refused), ("clamped", stats.clamped)] {
            ui.label(small(name, DIM));
            let count = ui.label(small(count.to_string(), if count > 0 { WARN } else { TEXT }));
            if let Some(error) = &stats.last_error {
                count.on_hover_text(error);
            }
        }
    });
}

/// Right edges of the columns fps, latency, jitter and loss, counted from the right edge of the row.
const COLUMNS: [(&str, f32); 4] = [("fps (asked)", 96.0), ("latency", 58.0), ("jitter", 29.0), ("loss", 0.0)];
const BADGE_LEFT: f32 = 186.0;

fn subject_table(
    ui: &mut egui::Ui,
    entities: impl Iterator<Item = Entity>,
    subjects: &Query<SubjectParts>,
    selected: Option<Entity>,
) -> Option<Entity> {
    let width = ui.available_width();
    let (rect, response) = ui.allocate_exact_size(vec2(width, 14.0), Sense::hover());
    response.on_hover_text("Latency and jitter in milliseconds");
    let heading = fitted(ui, "Subjects", SMALL, ACCENT, width);
    ui.painter().galley(rect.left_top(), heading, ACCENT);
    for (name, from_right) in COLUMNS {
        let at = egui::pos2(rect.right() - from_right, rect.center().y);
        ui.painter().text(at, Align2::RIGHT_CENTER, name, FontId::proportional(9.0), DIM);
    }
    let mut clicked = None;
    let mut any = false;
    for (entity, subject, pose, quality) in entities.filter_map(|entity| subjects.get(entity).ok()) {
        any = true;
        let (rect, response) = ui.allocate_exact_size(vec2(width, 18.0), Sense::click());
        let back = rect.expand2(vec2(4.0, 0.0));
        if selected == Some(entity) {
            ui.painter().rect_filled(back, 4, ACCENT.gamma_multiply(0.22));
        } else if response.hovered() {
            ui.painter().rect_filled(back, 4, RAIL);
        }
        let middle = rect.center().y;
        let dot = if pose.tracked { GOOD } else { Color32::from_gray(110) };
        ui.painter().circle_filled(egui::pos2(rect.left() + 4.0, middle), 4.0, dot);
        let name = fitted(ui, &subject.name, 12.0, if subject.leaving { DIM } else { TEXT }, width - BADGE_LEFT - 18.0);
        let top = middle - 0.5 * name.size().y;
        ui.painter().galley(egui::pos2(rect.left() + 13.0, top), name, TEXT);
        let (text, color) = badge(quality.transport);
        let place = egui::Rect::from_min_size(egui::pos2(rect.right() - BADGE_LEFT, middle - 7.0), vec2(28.0, 14.0));
        ui.painter().rect_filled(place, 3, color.gamma_multiply(0.25));
        ui.painter().text(place.center(), Align2::CENTER_CENTER, text, FontId::proportional(9.5), color);
        let cells = [
            (format!("{:.0} ({:.0})", quality.fps, quality.target_fps), TEXT),
            quality.latency_ms.map_or(("\u{2013}".to_owned(), DIM), |ms| (format!("{ms:.0}"), judged(ms, 80.0, 200.0))),
            (format!("{:.1}", quality.jitter_ms), judged(quality.jitter_ms, 15.0, 40.0)),
            quality.loss.map_or(("\u{2013}".to_owned(), DIM), |loss| (percent(loss), judged(100.0 * loss, 1.0, 5.0))),
        ];
        for ((text, color), (_, from_right)) in cells.into_iter().zip(COLUMNS) {
            let at = egui::pos2(rect.right() - from_right, middle);
            ui.painter().text(at, Align2::RIGHT_CENTER, text, FontId::proportional(SMALL), color);
        }
        let response = response.on_hover_ui(|ui| {
            ui.label(&subject.name);
            ui.label(if subject.leaving {
                "has gone"
            } else if pose.tracked {
                "tracked"
            } else {
                "not tracked"
            });
            if let Some(transport) = quality.transport {
                ui.label(format!("{} {}", transport.title(), quality.address.as_deref().unwrap_or_default()));
            }
            ui.label(format!("{} frames, the newest {:.0} ms old", quality.frames, quality.age_ms));
        });
        if response.clicked() {
            clicked = Some(entity);
        }
    }
    if !any {
        ui.label(small("no face yet: open the address in a browser, or point a phone at it", DIM));
    }
    clicked
}

fn avatar_list(ui: &mut egui::Ui, avatars: &Query<AvatarParts>, subjects: &Query<SubjectParts>) {
    title(ui, "Avatars");
    if avatars.is_empty() {
        ui.label(small("none: give an entity FaceAvatar", DIM));
    }
    // Changes of components would shuffle them otherwise.
    for (entity, avatar, name, scene, report, driven) in avatars.iter().sort::<Entity>() {
        let label = avatar_label(entity, name, scene);
        let id = egui::Id::new(("facelink_avatar", entity));
        let state = egui::collapsing_header::CollapsingState::load_with_default_open(ui.ctx(), id, false);
        let open = state.is_open();
        state
            .show_header(ui, |ui| {
                ui.add(egui::Label::new(RichText::new(label).color(TEXT).size(12.0)).truncate());
                let (text, color) = match (driven.and_then(|driven| subjects.get(driven.0).ok()), &avatar.subject) {
                    (Some((_, subject, ..)), _) => (format!("shows {}", subject.name), GOOD),
                    (None, Some(wanted)) => (format!("waits for {wanted}"), WARN),
                    (None, None) => ("waits for a face".to_owned(), DIM),
                };
                ui.add(egui::Label::new(small(text, color)).truncate());
            })
            .body(|ui| match report {
                Some(report) => details(ui, report),
                None => drop(ui.label(small("its scene is loading", DIM))),
            });
        if let Some(report) = report.filter(|_| !open) {
            let color = if report.matched.is_empty() || !report.refused.is_empty() {
                BAD
            } else if report.missing.is_empty() {
                DIM
            } else {
                WARN
            };
            ui.add(egui::Label::new(small(report.summary(), color)).truncate());
        }
    }
}

fn avatar_label(entity: Entity, name: Option<&Name>, scene: Option<&WorldAssetRoot>) -> String {
    name.map(|name| name.as_str().to_owned())
        .or_else(|| scene.and_then(|scene| scene.0.path()).map(ToString::to_string))
        .unwrap_or_else(|| entity.to_string())
}

fn details(ui: &mut egui::Ui, report: &BindReport) {
    let bones = if report.bones.is_empty() { "none".to_owned() } else { report.bones.join(", ") };
    let line = |ui: &mut egui::Ui, name: &str, text: &str, color: Color32| {
        ui.horizontal_wrapped(|ui| {
            ui.label(small(name, DIM));
            ui.label(small(text, color));
        });
    };
    line(ui, "dialect", if report.dialect.is_empty() { "unknown" } else { &report.dialect }, TEXT);
    line(ui, "matched", &format!("{} of {}", report.matched.len(), Blendshape::ALL.len()), TEXT);
    line(ui, "meshes driven", &report.meshes.to_string(), TEXT);
    line(ui, "bones", &bones, TEXT);
    if report.no_head {
        line(ui, "no head", NO_HEAD, WARN);
    }
    if !report.eyes.is_empty() {
        line(ui, "eyes turned by", &report.eyes, TEXT);
    }
    if !report.missing.is_empty() {
        line(ui, "missing", &report.missing.join(", "), WARN);
    }
    if !report.unused.is_empty() {
        line(ui, "unused targets", &report.unused.join(", "), TEXT);
    }
    if !report.aside.is_empty() {
        line(ui, "left aside", &report.aside.join(", "), DIM);
    }
    if !report.absent.is_empty() {
        line(ui, "not on this rig", &report.absent.join(", "), WARN);
    }
    for refused in &report.refused {
        line(ui, "left alone", refused, BAD);
    }
}

/// One row of bars: a shape alone, or the performer's left and right next to each other.
enum Row {
    One(&'static str, Blendshape),
    Two(&'static str, Blendshape, Blendshape),
}

const ROWS: [(&str, &[Row]); 6] = {
    use Blendshape::*;
    use Row::{One, Two};
    [
        (
            "Eyes",
            &[
                Two("blink", EyeBlinkLeft, EyeBlinkRight),
                Two("wide", EyeWideLeft, EyeWideRight),
                Two("squint", EyeSquintLeft, EyeSquintRight),
                Two("look up", EyeLookUpLeft, EyeLookUpRight),
                Two("look down", EyeLookDownLeft, EyeLookDownRight),
                Two("look in", EyeLookInLeft, EyeLookInRight),
                Two("look out", EyeLookOutLeft, EyeLookOutRight),
            ],
        ),
        (
            "Brows",
            &[
                One("inner up", BrowInnerUp),
                Two("outer up", BrowOuterUpLeft, BrowOuterUpRight),
                Two("down", BrowDownLeft, BrowDownRight),
            ],
        ),
        ("Jaw", &[One("open", JawOpen), One("forward", JawForward), Two("sideways", JawLeft, JawRight)]),
        (
            "Mouth",
            &[
                One("close", MouthClose),
                One("funnel", MouthFunnel),
                One("pucker", MouthPucker),
                Two("sideways", MouthLeft, MouthRight),
                Two("smile", MouthSmileLeft, MouthSmileRight),
                Two("frown", MouthFrownLeft, MouthFrownRight),
                Two("dimple", MouthDimpleLeft, MouthDimpleRight),
                Two("stretch", MouthStretchLeft, MouthStretchRight),
                Two("press", MouthPressLeft, MouthPressRight),
                Two("upper up", MouthUpperUpLeft, MouthUpperUpRight),
                Two("lower down", MouthLowerDownLeft, MouthLowerDownRight),
                One("roll upper", MouthRollUpper),
                One("roll lower", MouthRollLower),
                One("shrug upper", MouthShrugUpper),
                One("shrug lower", MouthShrugLower),
            ],
        ),
        (
            "Cheeks & nose",
            &[
                One("puff", CheekPuff),
                Two("squint", CheekSquintLeft, CheekSquintRight),
                Two("sneer", NoseSneerLeft, NoseSneerRight),
            ],
        ),
        ("Tongue", &[One("out", TongueOut)]),
    ]
};

const NAME_WIDTH: f32 = 66.0;
const ROW_HEIGHT: f32 = 13.0;

fn values(ui: &mut egui::Ui, subject: &FaceSubject, pose: &FacePose) {
    let state = if subject.leaving {
        ("has gone", DIM)
    } else if pose.tracked {
        ("tracked", GOOD)
    } else {
        ("not tracked", WARN)
    };
    ui.horizontal(|ui| {
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.label(small(format!("{:.0}% shown", 100.0 * pose.presence), DIM));
            ui.label(small(state.0, state.1));
            ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                ui.add(egui::Label::new(small(&subject.name, ACCENT)).truncate());
            });
        });
    });
    let (roll, yaw, turn) = pose.head.to_euler(EulerRot::ZYX);
    ui.columns(3, |columns| {
        for (ui, (name, angle, about)) in columns.iter_mut().zip([
            ("yaw", yaw, "Head, positive to the performer's left"),
            ("pitch", -turn, "Head, positive up"),
            ("roll", roll, "Head, about the axis out of the face"),
        ]) {
            gauge(ui, name, angle.to_degrees(), about);
        }
    });
    ui.spacing_mut().item_spacing.y = 1.0;
    for (index, (group, rows)) in ROWS.into_iter().enumerate() {
        let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 14.0), Sense::hover());
        let middle = rect.center().y + 1.0;
        let font = FontId::proportional(TINY);
        ui.painter().text(egui::pos2(rect.left(), middle), Align2::LEFT_CENTER, group, font.clone(), ACCENT);
        if index == 0 {
            let [left, right] = halves(rect);
            for (place, text) in [(left, "left"), (right, "right")] {
                let at = egui::pos2(place.left(), middle);
                ui.painter().text(at, Align2::LEFT_CENTER, text, font.clone(), DIM);
            }
        }
        for row in rows {
            match *row {
                Row::One(name, shape) => {
                    let (rect, response) = bar_row(ui, name);
                    bar(ui, rect.with_min_x(rect.left() + NAME_WIDTH), pose.weight(shape));
                    response.on_hover_text(shape.name());
                }
                Row::Two(name, left, right) => {
                    let (rect, response) = bar_row(ui, name);
                    for (place, shape) in halves(rect).into_iter().zip([left, right]) {
                        bar(ui, place, pose.weight(shape));
                    }
                    response.on_hover_ui(|ui| {
                        ui.label(format!("{}, {} (the performer's own)", left.name(), right.name()));
                    });
                }
            }
        }
    }
    if !pose.channels.is_empty() {
        ui.label(RichText::new("Other channels").color(ACCENT).size(TINY));
        for channel in &pose.channels {
            let (rect, response) = bar_row(ui, &channel.name);
            bar(ui, rect.with_min_x(rect.left() + NAME_WIDTH), channel.value);
            response.on_hover_text(&*channel.name);
        }
    }
}

/// Where the bars for left and right go.
fn halves(row: egui::Rect) -> [egui::Rect; 2] {
    let bars = row.with_min_x(row.left() + NAME_WIDTH);
    let middle = bars.center().x;
    [bars.with_max_x(middle - 3.0), bars.with_min_x(middle + 3.0)]
}

fn bar_row(ui: &mut egui::Ui, name: &str) -> (egui::Rect, egui::Response) {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW_HEIGHT), Sense::hover());
    if ui.is_rect_visible(rect) {
        let text = fitted(ui, name, TINY, DIM, NAME_WIDTH - 4.0);
        let top = rect.center().y - 0.5 * text.size().y;
        ui.painter().galley(egui::pos2(rect.left() + 4.0, top), text, DIM);
    }
    (rect, response)
}

/// A weight: its bar and its number. Outside `0..=1` both change colour, and a mark at the end shows on which side.
fn bar(ui: &egui::Ui, place: egui::Rect, value: f32) {
    if !ui.is_rect_visible(place) {
        return;
    }
    let painter = ui.painter();
    let rail = egui::Rect::from_min_max(
        egui::pos2(place.left(), place.center().y - 3.0),
        egui::pos2(place.right() - 30.0, place.center().y + 3.0),
    );
    painter.rect_filled(rail, 2, RAIL);
    let color = if value < -0.005 {
        BELOW
    } else if value > 1.005 {
        WARN
    } else {
        ACCENT
    };
    let filled = rail.width() * value.abs().min(1.0);
    if filled > 0.25 {
        // What is negative grows from the far end.
        let fill =
            if value < 0.0 { rail.with_min_x(rail.right() - filled) } else { rail.with_max_x(rail.left() + filled) };
        painter.rect_filled(fill, CornerRadius::same(2), color);
    }
    if value > 1.005 {
        let over = rail.width() * (value - 1.0).min(1.0);
        painter.rect_filled(rail.with_min_x(rail.right() - over), 2, BAD);
    }
    let quiet = value.abs() < 0.005;
    // A rounded "-0.00" would say nothing.
    let text = if quiet { "0.00".to_owned() } else { format!("{value:.2}") };
    let at = egui::pos2(place.right(), place.center().y);
    let ink = if quiet {
        DIM.gamma_multiply(0.6)
    } else if color == ACCENT {
        TEXT
    } else {
        color
    };
    painter.text(at, Align2::RIGHT_CENTER, text, FontId::proportional(TINY), ink);
}

/// An angle about a zero in the middle; 60° to either side.
fn gauge(ui: &mut egui::Ui, name: &str, degrees: f32, about: &str) {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 22.0), Sense::hover());
    // To a tenth, and never "-0.0".
    let degrees = (degrees * 10.0).round() / 10.0 + 0.0;
    let painter = ui.painter();
    let font = FontId::proportional(TINY);
    painter.text(rect.left_top(), Align2::LEFT_TOP, name, font.clone(), DIM);
    painter.text(rect.right_top(), Align2::RIGHT_TOP, format!("{degrees:+.1}\u{b0}"), font, TEXT);
    let rail = rect.with_min_y(rect.bottom() - 5.0);
    painter.rect_filled(rail, 2, RAIL);
    let zero = rail.center().x;
    let end = zero + 0.5 * rail.width() * (degrees / 60.0).clamp(-1.0, 1.0);
    painter.rect_filled(rail.with_min_x(zero.min(end)).with_max_x(zero.max(end)), 0, ACCENT);
    painter.vline(zero, rail.y_range(), Stroke::new(1.0, DIM));
    response.on_hover_text(about);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panel_has_one_bar_per_shape() {
        let mut shapes: Vec<_> = ROWS
            .iter()
            .flat_map(|(_, rows)| *rows)
            .flat_map(|row| match *row {
                Row::One(_, shape) => vec![shape],
                Row::Two(_, left, right) => vec![left, right],
            })
            .collect();
        shapes.sort_unstable();
        assert_eq!(shapes, Blendshape::ALL);
    }
}
