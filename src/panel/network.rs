//! The network's part of the panel: what listens, who is connected, rates, calibration and diagnosis.

use bevy::{ecs::system::SystemParam, prelude::*};
use bevy_egui::egui;
use egui::{Align2, FontId, Sense, vec2};
use facelink::source::SourceKind;

use super::{
    calibrate, doctor, names, sealing,
    theme::{ACCENT, BAD, DIM, GOOD, SMALL, TEXT, TINY, WARN, badge, card, fitted, judged, percent, small},
};
use crate::{
    diagnostics::LinkStats,
    endpoint::{EndpointState, FaceLinkEndpoint},
    rates::{AdaptiveFps, FpsLaw, RequestedFps},
    sources::{FaceDial, FaceSource, SourceQuality, SourceState},
    subjects::{FaceSubject, LinkQuality},
};

/// Ports that could not be had, a line each; more of them fold.
const MAX_LINES: usize = 2;

type SourceParts = (Entity, &'static FaceSource, &'static SourceQuality, Has<FaceDial>);

/// What is shown of the network.
#[derive(SystemParam)]
pub(super) struct Network<'w, 's> {
    endpoint: Option<Res<'w, FaceLinkEndpoint>>,
    state: Option<Res<'w, EndpointState>>,
    link_stats: Option<Res<'w, LinkStats>>,
    adaptive: Option<ResMut<'w, AdaptiveFps>>,
    sources: Query<'w, 's, SourceParts>,
    requested: Query<'w, 's, &'static RequestedFps>,
    diagnosis: Local<'s, doctor::Kept>,
    name: Local<'s, names::Edit>,
}

impl Network<'_, '_> {
    /// How many connections there are.
    pub fn connections(&self, ui: &mut egui::Ui) {
        if let Some(link_stats) = &self.link_stats {
            let connections = link_stats.others().count();
            ui.label(small(format!("{connections} connection{}", if connections == 1 { "" } else { "s" }), DIM));
        }
    }

    /// What listens, and what was refused.
    pub fn link(&self, ui: &mut egui::Ui) {
        link(ui, self.endpoint.as_deref(), self.state.as_deref(), self.link_stats.as_deref());
    }

    /// What the subject that is looked at is called, and which are disabled.
    pub fn names(&mut self, ui: &mut egui::Ui, looked_at: Option<&FaceSubject>) {
        if let (Some(endpoint), Some(stats)) = (&self.endpoint, &self.link_stats) {
            names::names(ui, endpoint, stats, looked_at, &mut self.name);
        }
    }

    pub fn sources(&self, ui: &mut egui::Ui) {
        if !self.sources.is_empty() {
            card(ui, |ui| source_list(ui, &self.sources));
        }
    }

    pub fn rates(&mut self, ui: &mut egui::Ui, commands: &mut Commands, shown: Option<(Entity, &LinkQuality)>) {
        if let Some((entity, quality)) = shown {
            manual_rate(ui, commands, entity, quality, self.requested.get(entity).ok());
        }
        if let Some(adaptive) = &mut self.adaptive {
            adaptive_rate(ui, adaptive);
        }
    }

    /// The cards of calibration, encryption and diagnosis.
    pub fn endpoint(
        &mut self,
        ui: &mut egui::Ui,
        commands: &mut Commands,
        shown: Option<(Entity, &FaceSubject, &LinkQuality)>,
    ) {
        let Some(endpoint) = self.endpoint.as_deref() else { return };
        if let Some((entity, subject, quality)) = shown {
            card(ui, |ui| calibrate::calibrate(ui, commands, endpoint, entity, subject, quality));
        }
        if let Some(link_stats) = &self.link_stats {
            card(ui, |ui| sealing::sealing(ui, endpoint, &link_stats.endpoint.sealed));
        }
        card(ui, |ui| doctor::doctor(ui, endpoint, &mut self.diagnosis));
    }
}

fn link(
    ui: &mut egui::Ui,
    endpoint: Option<&FaceLinkEndpoint>,
    state: Option<&EndpointState>,
    link_stats: Option<&LinkStats>,
) {
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
    if let Some(link_stats) = link_stats {
        let stats = &link_stats.endpoint;
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
        // Dialled connections are marked apart from accepted ones.
        let unnamed = if source.kind == Some(SourceKind::Game) { "this game" } else { "unnamed peer" };
        let address = source.address.as_deref().or(quality.client.as_deref()).unwrap_or(unnamed);
        let text = if ours { format!("to {address}") } else { address.to_owned() };
        let name = fitted(ui, &text, SMALL, TEXT, width - 13.0 - 150.0);
        let top = middle - 0.5 * name.size().y;
        ui.painter().galley(egui::pos2(rect.left() + 13.0, top), name, TEXT);
        let (text, color) = badge(source.kind);
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
            let kind = source.kind.map_or("", SourceKind::title);
            ui.label(format!("{kind} {}", source.connection_id));
            ui.label(format!("data channel {}", quality.data_channel_state));
            if let Some(route) = &quality.route {
                ui.label(format!("route: {route}{}", if route.contains("relay") { " (relayed)" } else { "" }));
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
        add("room peer".to_owned());
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
        ui.checkbox(&mut new.enabled, "adaptive rate").on_hover_text(
            "Ask senders for fewer frames while their link is congested, or while no camera sees the face",
        );
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
                (FpsLaw::Network, "queue", "Down the ladder 60, 30, 20, 15, 10 while a standing queue builds up"),
                (FpsLaw::Guide, "latency", "The migration guide's law: 5 fewer above 50 ms, 5 more below 10 ms"),
            ] {
                if ui.selectable_label(new.law == law, small(name, TEXT)).on_hover_text(about).clicked() {
                    new.law = law;
                }
            }
            ui.checkbox(&mut new.engine, "and by what is seen")
                .on_hover_text("Ask for less of faces that are far away, off screen or on no avatar");
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
