//! The session's file in the panel: what has changed since, writing it, and reading it again.

use std::time::Duration;

use bevy::{asset::AssetPath, ecs::system::SystemParam, prelude::*};
use bevy_egui::egui;

use super::theme::{BAD, DIM, TEXT, WARN, card, small, title};
use crate::session::{FaceSession, SaveSession};

/// How often the set-up is compared with the file.
pub(super) const COMPARE: Duration = Duration::from_millis(500);
/// Changes that are listed; the rest is a number.
const MAX_LISTED: usize = 8;

/// What differs from the file.
#[derive(Resource, Default)]
pub(super) struct Changes(Vec<String>);

pub(super) fn compare(world: &mut World) {
    let changes = world.resource::<FaceSession>().changes(world);
    world.resource_mut::<Changes>().0 = changes;
}

#[derive(SystemParam)]
pub(super) struct Session<'w> {
    session: Option<Res<'w, FaceSession>>,
    changes: Res<'w, Changes>,
    server: Option<Res<'w, AssetServer>>,
}

impl Session<'_> {
    pub fn session(&self, ui: &mut egui::Ui, commands: &mut Commands) {
        let Some(session) = &self.session else { return };
        let Some(path) = session.path() else { return };
        card(ui, |ui| {
            ui.horizontal(|ui| {
                title(ui, "Session");
                let name = session.applied().and_then(|file| file.name.as_deref()).unwrap_or(path);
                ui.label(small(name, TEXT)).on_hover_text(path);
                ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                    if ui.small_button("save").on_hover_text("Writes the set-up as it is now to the file").clicked() {
                        commands.trigger(SaveSession::default());
                    }
                    let hint = "Reads the file again: what was changed since is as the file says";
                    if let Some(server) = &self.server
                        && ui.small_button("reload").on_hover_text(hint).clicked()
                    {
                        server.reload(AssetPath::from(path.to_owned()));
                    }
                });
            });
            if let Some(problem) = session.problem() {
                ui.add(egui::Label::new(small(problem, BAD)).wrap());
            }
            let changes = &self.changes.0;
            if changes.is_empty() && session.applied().is_some() {
                ui.label(small("as in the file", DIM));
            }
            for change in changes.iter().take(MAX_LISTED) {
                ui.add(egui::Label::new(small(change, WARN)).wrap());
            }
            if changes.len() > MAX_LISTED {
                let rest = changes.iter().skip(MAX_LISTED).map(String::as_str).collect::<Vec<_>>().join("\n");
                ui.label(small(format!("and {} more", changes.len() - MAX_LISTED), WARN)).on_hover_text(rest);
            }
        });
    }
}
