//! The egui panel: sources, link quality, the avatars that show them, and the 52 values.

mod calibrate;
mod camera;
mod doctor;
mod moods;
mod theme;
mod timing;
mod tune;

use bevy::{input::InputSystems, prelude::*, world_serialization::WorldAssetRoot};
use bevy_egui::{EguiContexts, EguiPrimaryContextPass, egui};
use egui::{Align2, Color32, CornerRadius, FontId, RichText, Sense, Stroke, vec2};
use facelink::Blendshape;

use crate::{
    avatar::{BindReport, DrivenBy, FaceAvatar},
    diagnostics::LinkFigures,
    endpoint::{EndpointState, FaceLinkEndpoint},
    pose::FacePose,
    rates::{AdaptiveFps, FpsLaw, RequestedFps},
    sets::FaceLinkSystems,
    sources::{FaceDial, FaceSource, SourceQuality, SourceState},
    subjects::{FaceSubject, FaceSubjects, LinkQuality},
};
use theme::{ACCENT, BAD, BELOW, DIM, GOOD, GROUND, RAIL, SMALL, TEXT, TINY, WARN, card, dress, fitted, small, title};

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
            .add_systems(EguiPrimaryContextPass, draw.run_if(|panel: Res<FaceLinkPanel>| panel.open));
    }
}

type SubjectParts =
    (Entity, &'static FaceSubject, &'static FacePose, &'static LinkQuality, Option<&'static RequestedFps>);
type AvatarParts = (
    Entity,
    &'static FaceAvatar,
    Option<&'static Name>,
    Option<&'static WorldAssetRoot>,
    Option<&'static BindReport>,
    Option<&'static DrivenBy>,
);

type SourceParts = (Entity, &'static FaceSource, &'static SourceQuality, Has<FaceDial>);

const WIDTH: f32 = 320.0;
/// Ports that could not be had, a line each; more of them fold.
const MAX_LINES: usize = 2;

fn draw(
    mut contexts: EguiContexts,
    mut commands: Commands,
    mut panel: ResMut<FaceLinkPanel>,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    state: Option<Res<EndpointState>>,
    figures: Option<Res<LinkFigures>>,
    adaptive: Option<ResMut<AdaptiveFps>>,
    order: Option<Res<FaceSubjects>>,
    subjects: Query<SubjectParts>,
    avatars: Query<AvatarParts>,
    sources: Query<SourceParts>,
    mut diagnosis: Local<doctor::Kept>,
    mut tuner: tune::Tuner,
    mut timed: timing::Timing,
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
    let selected = panel
        .subject
        .filter(|entity| subjects.contains(*entity))
        .or_else(|| order.as_ref().and_then(|order| order.iter().next()).map(|(_, entity)| entity));
    egui::Panel::right("facelink_panel")
        .resizable(true)
        .default_size(WIDTH)
        .size_range(280.0..=520.0)
        .frame(frame)
        .show(&mut root, |ui| {
            egui::ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
                if header(ui, endpoint.as_deref(), state.as_deref(), figures.as_deref()) {
                    panel.open = false;
                }
                card(ui, |ui| {
                    let entities = order.iter().flat_map(|order| order.iter()).map(|(_, entity)| entity);
                    if let Some(clicked) = subject_table(ui, entities, &subjects, selected) {
                        panel.subject = Some(clicked);
                    }
                });
                if !sources.is_empty() {
                    card(ui, |ui| source_list(ui, &sources));
                }
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
                    if let Some((entity, _, _, quality, requested)) = shown {
                        manual_rate(ui, &mut commands, entity, quality, requested);
                    }
                    if let Some(mut adaptive) = adaptive {
                        adaptive_rate(ui, &mut adaptive);
                    }
                    timing::budget(ui, &mut timed);
                });
                if let Some((entity, ..)) = shown {
                    card(ui, |ui| timing::timing(ui, &mut commands, &mut timed, entity));
                }
                if let (Some((entity, subject, _, quality, _)), Some(endpoint)) = (shown, endpoint.as_deref()) {
                    card(ui, |ui| calibrate::calibrate(ui, &mut commands, endpoint, entity, subject, quality));
                }
                if let Some(endpoint) = endpoint.as_deref() {
                    card(ui, |ui| doctor::doctor(ui, endpoint, &mut diagnosis));
                }
                if let Some((_, subject, pose, ..)) = shown {
                    card(ui, |ui| values(ui, subject, pose));
                }
            });
        });
}

/// Says whether the panel shall close.
fn header(
    ui: &mut egui::Ui,
    endpoint: Option<&FaceLinkEndpoint>,
    state: Option<&EndpointState>,
    figures: Option<&LinkFigures>,
) -> bool {
    let mut close = false;
    ui.horizontal(|ui| {
        ui.label(RichText::new("FaceLink").size(16.0).strong());
        if let Some(figures) = figures {
            let connections = figures.others().count();
            ui.label(small(format!("{connections} connection{}", if connections == 1 { "" } else { "s" }), DIM));
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            close = ui.small_button("\u{d7}").on_hover_text("Close the panel").clicked();
        });
    });
    match endpoint {
        Some(endpoint) => {
            ui.horizontal_wrapped(|ui| match endpoint.http() {
                Some(http) => {
                    ui.label(small("listening on", DIM));
                    ui.label(small(format!("http://{http}"), TEXT));
                }
                None => {
                    ui.label(small("dials out and does not listen", DIM));
                }
            });
            let ports = endpoint.phone_ports();
            if !ports.is_empty() {
                ui.horizontal_wrapped(|ui| {
                    for (port, address) in ports {
                        ui.label(small(port.title(), DIM));
                        let kind = if port.is_tcp() { "TCP" } else { "UDP" };
                        ui.label(small(address.port().to_string(), TEXT)).on_hover_text(format!("{address}, {kind}"));
                    }
                });
            }
            let missing = endpoint.unavailable();
            let each = |ui: &mut egui::Ui| {
                for unavailable in missing {
                    ui.label(small(&unavailable.message, WARN));
                }
            };
            if missing.len() > MAX_LINES {
                let text = format!("{} ports are held by other programs", missing.len());
                egui::CollapsingHeader::new(small(text, WARN)).id_salt("facelink_missing").show(ui, each);
            } else {
                each(ui);
            }
        }
        None => match state {
            None | Some(EndpointState::Stopped) => {
                ui.label(small("no endpoint: the game brings the frames", DIM));
            }
            Some(EndpointState::Failed(error)) => {
                ui.label(small(error.to_string(), BAD));
            }
            Some(state) => {
                ui.label(small(format!("the endpoint is {state}"), DIM));
            }
        },
    }
    if let Some(figures) = figures {
        let stats = &figures.endpoint;
        ui.horizontal_wrapped(|ui| {
            for (name, count, about) in [
                ("refused", stats.refused, "Messages and datagrams refused since the start"),
                ("ignored", stats.ignored, "Unknown message types and fields since the start"),
                ("overrun", stats.overrun, "Frames that newer ones replaced before the game fetched them"),
            ] {
                ui.label(small(name, DIM)).on_hover_text(about);
                ui.label(small(count.to_string(), if count > 0 { WARN } else { TEXT }));
            }
        });
    }
    close
}

fn badge(transport: &str) -> (&'static str, Color32) {
    match transport {
        "webrtc" => ("RTC", ACCENT),
        "websocket" => ("WS", Color32::from_rgb(104, 162, 240)),
        "live_link_face" => ("LLF", Color32::from_rgb(214, 150, 226)),
        "udp_json" => ("UDP", Color32::from_rgb(214, 180, 110)),
        "ifacialmocap" => ("iFM", Color32::from_rgb(228, 140, 160)),
        "ifacialmocap_v3" => ("iF3", Color32::from_rgb(228, 140, 160)),
        "facemotion3d" => ("FM3", Color32::from_rgb(228, 140, 160)),
        "face_cap" => ("CAP", Color32::from_rgb(150, 200, 120)),
        "vmc" => ("VMC", Color32::from_rgb(150, 170, 235)),
        "vtube_studio" => ("VTS", Color32::from_rgb(240, 150, 110)),
        _ => ("\u{2013}", DIM),
    }
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
    for (entity, subject, pose, quality, _) in entities.filter_map(|entity| subjects.get(entity).ok()) {
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
        let (text, color) = badge(&quality.transport);
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
            if !quality.transport.is_empty() {
                ui.label(format!("{} {}", quality.transport, quality.address.as_deref().unwrap_or_default()));
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

/// Right edges of the columns round trip, buffered bytes and messages, counted from the right edge of the row.
const SOURCE_COLUMNS: [(&str, f32); 3] = [("rtt", 84.0), ("waiting", 46.0), ("messages", 0.0)];

fn source_list(ui: &mut egui::Ui, sources: &Query<SourceParts>) {
    let width = ui.available_width();
    let (rect, response) = ui.allocate_exact_size(vec2(width, 14.0), Sense::hover());
    response.on_hover_text(
        "Round trip in milliseconds, bytes that wait in the data channel, messages received; below, latency and jitter",
    );
    let heading = fitted(ui, "Connections", SMALL, ACCENT, width);
    ui.painter().galley(rect.left_top(), heading, ACCENT);
    for (name, from_right) in SOURCE_COLUMNS {
        let at = egui::pos2(rect.right() - from_right, rect.center().y);
        ui.painter().text(at, Align2::RIGHT_CENTER, name, FontId::proportional(9.0), DIM);
    }
    let mut rows: Vec<_> = sources.iter().collect();
    rows.sort_unstable_by_key(|(entity, ..)| *entity);
    for (_, source, quality, ours) in rows {
        let (rect, response) = ui.allocate_exact_size(vec2(width, 16.0), Sense::hover());
        let middle = rect.center().y;
        let (color, words, ink) = match &source.state {
            SourceState::Connected => (GOOD, "connected", DIM),
            SourceState::Connecting => (WARN, "connecting", DIM),
            SourceState::Stalled => (WARN, "silent", WARN),
            SourceState::Waiting { reason } => (WARN, reason.as_str(), WARN),
            SourceState::Refused { reason } => (BAD, reason.as_str(), BAD),
        };
        ui.painter().circle_filled(egui::pos2(rect.left() + 4.0, middle), 3.0, color);
        // Those that we dialled are told from those who came.
        let nobody = if source.kind == "game" { "this game" } else { "somebody" };
        let address = source.address.as_deref().or(quality.client.as_deref()).unwrap_or(nobody);
        let text = if ours { format!("to {address}") } else { address.to_owned() };
        let name = fitted(ui, &text, SMALL, TEXT, width - 13.0 - 150.0);
        let top = middle - 0.5 * name.size().y;
        ui.painter().galley(egui::pos2(rect.left() + 13.0, top), name, TEXT);
        let (text, color) = badge(&source.kind);
        let place = egui::Rect::from_min_size(egui::pos2(rect.right() - 146.0, middle - 7.0), vec2(28.0, 14.0));
        ui.painter().rect_filled(place, 3, color.gamma_multiply(0.25));
        ui.painter().text(place.center(), Align2::CENTER_CENTER, text, FontId::proportional(9.5), color);
        let rtt =
            quality.rtt_ms.map_or(("\u{2013}".to_owned(), DIM), |ms| (format!("{ms:.1}"), judged(ms, 160.0, 400.0)));
        let waiting = quality.buffered_amount;
        let cells = [
            rtt,
            (waiting.to_string(), judged(waiting as f32, 4096.0, 16384.0)),
            (quality.message_count.to_string(), TEXT),
        ];
        for ((text, color), (_, from_right)) in cells.into_iter().zip(SOURCE_COLUMNS) {
            let at = egui::pos2(rect.right() - from_right, middle);
            ui.painter().text(at, Align2::RIGHT_CENTER, text, FontId::proportional(SMALL), color);
        }
        let (line, more) = ui.allocate_exact_size(vec2(width, 13.0), Sense::hover());
        let text = fitted(ui, &source_line(words, quality), TINY, ink, width - 13.0);
        ui.painter().galley(egui::pos2(line.left() + 13.0, line.top()), text, ink);
        response.union(more).on_hover_ui(|ui| {
            ui.label(words);
            if let Some(client) = &quality.client {
                ui.label(client);
            }
            ui.label(format!("{} {}", source.kind, source.connection_id));
            ui.label(format!("data channel {}", quality.data_channel_state));
            if let Some(route) = &quality.route {
                ui.label(format!("way: {route}{}", if route.contains("relay") { " (relayed)" } else { "" }));
            }
            ui.label(format!("{} B received, {} B sent", quality.bytes_received, quality.bytes_sent));
        });
    }
}

/// What a connection does and how well, in one line.
fn source_line(words: &str, quality: &SourceQuality) -> String {
    let mut line = words.to_owned();
    if words != "connected" {
        return line;
    }
    let mut add = |text: String| {
        line.push_str(" \u{b7} ");
        line.push_str(&text);
    };
    if quality.direction == "peer" {
        add("room mate".to_owned());
    }
    if let Some(route) = &quality.route {
        add(if route.contains("relay") { "relayed" } else { "direct" }.to_owned());
    }
    if let Some(subject) = &quality.subject {
        add(subject.clone());
    }
    match (quality.average_latency_ms, quality.jitter_ms) {
        (Some(latency), Some(jitter)) => add(format!("{latency:.0} \u{b1} {jitter:.1} ms")),
        (Some(latency), None) => add(format!("{latency:.0} ms")),
        (None, Some(jitter)) => add(format!("\u{b1} {jitter:.1} ms")),
        (None, None) => {}
    }
    if let Some(loss) = quality.loss {
        add(format!("loss {}", percent(loss)));
    }
    line
}

fn percent(share: f32) -> String {
    let percent = 100.0 * share;
    if percent < 9.95 { format!("{percent:.1}%") } else { format!("{percent:.0}%") }
}

fn judged(value: f32, warn: f32, bad: f32) -> Color32 {
    if value >= bad {
        BAD
    } else if value >= warn {
        WARN
    } else {
        TEXT
    }
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

fn manual_rate(
    ui: &mut egui::Ui,
    commands: &mut Commands,
    entity: Entity,
    quality: &LinkQuality,
    requested: Option<&RequestedFps>,
) {
    ui.horizontal(|ui| {
        ui.label(small("ask for fps", DIM));
        let mut auto = requested.is_none();
        let asked = if quality.target_fps >= 1.0 { quality.target_fps } else { 60.0 };
        let mut fps = requested.map_or(asked, |requested| requested.0).round();
        if ui.checkbox(&mut auto, "auto").on_hover_text("Leave the rate to the link").changed() {
            if auto {
                commands.entity(entity).try_remove::<RequestedFps>();
            } else {
                commands.entity(entity).try_insert(RequestedFps(fps));
            }
        }
        ui.spacing_mut().slider_width = (ui.available_width() - 48.0).max(40.0);
        let slider = egui::Slider::new(&mut fps, 1.0..=120.0).integer();
        if ui.add_enabled(!auto, slider).changed() {
            commands.entity(entity).try_insert(RequestedFps(fps));
        }
    });
}

fn adaptive_rate(ui: &mut egui::Ui, adaptive: &mut ResMut<AdaptiveFps>) {
    let mut new = **adaptive;
    ui.horizontal(|ui| {
        ui.checkbox(&mut new.enabled, "adaptive rate")
            .on_hover_text("Ask senders for fewer frames while their link is full, or nobody looks");
        ui.add_enabled_ui(new.enabled, |ui| {
            ui.label(small("from", DIM));
            ui.add(egui::DragValue::new(&mut new.min_fps).range(1.0..=120.0).max_decimals(0));
            ui.label(small("to", DIM));
            ui.add(egui::DragValue::new(&mut new.max_fps).range(1.0..=120.0).max_decimals(0));
            ui.label(small("fps", DIM));
        });
    });
    ui.horizontal(|ui| {
        ui.add_enabled_ui(new.enabled, |ui| {
            ui.label(small("by", DIM));
            for (law, name, about) in [
                (FpsLaw::Network, "queue", "Down the ladder 60, 30, 20, 15, 10 when frames queue on the way"),
                (FpsLaw::Guide, "latency", "The migration guide's law: 5 fewer above 50 ms, 5 more below 10 ms"),
            ] {
                if ui.selectable_label(new.law == law, small(name, TEXT)).on_hover_text(about).clicked() {
                    new.law = law;
                }
            }
            ui.checkbox(&mut new.engine, "and by what is seen")
                .on_hover_text("Ask for less of faces that are far away, off screen or shown by nobody");
        });
    });
    // The end that is dragged pushes the other.
    if new.min_fps != adaptive.min_fps {
        new.max_fps = new.max_fps.max(new.min_fps);
    } else {
        new.min_fps = new.min_fps.min(new.max_fps);
    }
    adaptive.set_if_neq(new);
}

/// One row of bars: a shape alone, or the performer's left and right beside each other.
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
