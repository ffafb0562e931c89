//! End-to-end encryption in the panel: the key's fingerprint, a new key, and what was refused.

use bevy::log::error;
use bevy_egui::egui;
use facelink_net::SealStats;

use super::theme::{DIM, GOOD, TEXT, WARN, small, title};
use crate::endpoint::FaceLinkEndpoint;

pub(super) fn sealing(ui: &mut egui::Ui, endpoint: &FaceLinkEndpoint, stats: &SealStats) {
    let key = endpoint.key();
    ui.horizontal(|ui| {
        title(ui, "Encryption");
        match &key {
            Some(key) => ui.label(small(format!("key {}", key.fingerprint()), GOOD)).on_hover_text(
                "Faces leave here encrypted end to end. Every member of the room sees the same fingerprint",
            ),
            None => ui.label(small("off", DIM)).on_hover_text("A relay or endpoint in between can read the faces"),
        };
        let copy = |ui: &egui::Ui| ui.ctx().copy_text(endpoint.invitation());
        let hint = if key.is_some() {
            "Only who gets the new invitation reads faces from now on. It is copied"
        } else {
            "Encrypts faces end to end: only who gets the invitation reads them. It is copied"
        };
        if ui.small_button("new key").on_hover_text(hint).clicked() {
            match endpoint.new_key() {
                Ok(_) => copy(ui),
                Err(error) => error!("no new key: {error}"),
            }
        }
        if key.is_some() && ui.small_button("invitation").on_hover_text("Copies the address with the key").clicked() {
            copy(ui);
        }
    });
    let refused = [
        ("without a key here", stats.no_key),
        ("of another key", stats.other_key),
        ("forged", stats.forged),
        ("too old", stats.old),
        ("malformed", stats.malformed),
        ("not encrypted", stats.not_sealed),
    ];
    let refused: Vec<String> =
        refused.iter().filter(|(_, count)| *count > 0).map(|(why, count)| format!("{count} {why}")).collect();
    if !refused.is_empty() {
        ui.add(egui::Label::new(small(format!("refused: {}", refused.join(", ")), WARN)).wrap());
    } else if stats.opened > 0 {
        ui.label(small(format!("{} packets opened", stats.opened), TEXT));
    }
}
