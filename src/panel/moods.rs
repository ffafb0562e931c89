//! Expressions over an avatar's face, by sliders.

use std::time::Duration;

use bevy::prelude::*;
use bevy_egui::egui;

use super::theme::{DIM, TEXT, small};
use crate::layers::{FaceExpressionLibrary, FaceExpressions};

/// So short that a slider feels direct, and long enough that nothing pops.
const FADE: Duration = Duration::from_millis(80);

/// A slider for each expression of the library.
pub(super) fn moods(
    ui: &mut egui::Ui,
    commands: &mut Commands,
    avatar: Entity,
    library: &FaceExpressionLibrary,
    worn: Option<Mut<FaceExpressions>>,
) {
    let count = worn.as_ref().map_or(0, |worn| worn.iter().count());
    let title = if count == 0 { "expressions".to_owned() } else { format!("expressions: {count} on") };
    egui::CollapsingHeader::new(small(title, TEXT)).id_salt("facelink_moods").show(ui, |ui| {
        let Some(mut worn) = worn else {
            // Only while the section is open, so that no avatar gets what it does not need.
            commands.entity(avatar).try_insert_if_new(FaceExpressions::default());
            return;
        };
        let mut changed = None;
        egui::Grid::new("facelink_moods_grid").num_columns(2).show(ui, |ui| {
            for name in library.names() {
                let now = worn.iter().find(|(other, _)| *other == name).map_or(0.0, |(_, shown)| shown);
                let mut wanted = now;
                ui.label(small(name, if now > 0.0 { TEXT } else { DIM }));
                if ui.add(egui::Slider::new(&mut wanted, 0.0..=1.0).max_decimals(2)).changed() {
                    changed = Some((name.to_owned(), wanted));
                }
                ui.end_row();
            }
        });
        if let Some((name, wanted)) = changed {
            worn.fade_to(name, wanted, FADE);
        }
        if ui.small_button("none").clicked() {
            worn.clear_all(Duration::from_millis(300));
        }
    });
}
