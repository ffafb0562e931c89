//! An invitation for phones: address, token and QR code.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, EguiPrimaryContextPass, egui};
use bevy_facelink::FaceLinkEndpoint;
use qrcode::{Color as Module, QrCode, render::unicode::Dense1x2};

/// What a phone needs to connect.
#[derive(Resource)]
pub struct Invitation {
    url: String,
    token: String,
    /// Rows of modules; `true` is dark.
    modules: Vec<Vec<bool>>,
    shown: bool,
}

/// Shows the invitation in the window.
pub struct LanPlugin;

impl Plugin for LanPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(EguiPrimaryContextPass, show.run_if(resource_exists::<Invitation>));
    }
}

/// Prints the invitation to the terminal and keeps it for the window.
pub fn invite(endpoint: &FaceLinkEndpoint) -> Option<Invitation> {
    let (url, token) = (endpoint.invitation(), endpoint.token()?);
    println!("from a phone on this network: {url}");
    println!("pairing token:                {token}");
    if let Some(fingerprint) = endpoint.certificate_fingerprint() {
        println!("the browser warns of the certificate once; its SHA-256 fingerprint:\n{fingerprint}");
    }
    let mut modules = Vec::new();
    if let Ok(code) = QrCode::new(&url) {
        println!("{}", code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build());
        let dark = code.to_colors().into_iter().map(|module| module == Module::Dark).collect::<Vec<_>>();
        modules = dark.chunks(code.width()).map(<[bool]>::to_vec).collect();
    }
    Some(Invitation { url, token, modules, shown: true })
}

fn show(mut contexts: EguiContexts, mut invitation: ResMut<Invitation>) {
    let Ok(context) = contexts.ctx_mut() else { return };
    let mut open = invitation.shown;
    egui::Window::new("Connect a phone").open(&mut open).resizable(false).default_pos([16.0, 16.0]).show(
        context,
        |ui| {
            let module = 5.0;
            let side = (invitation.modules.len() as f32 + 8.0) * module;
            let (response, painter) = ui.allocate_painter(egui::vec2(side, side), egui::Sense::hover());
            painter.rect_filled(response.rect, 4.0, egui::Color32::WHITE);
            for (y, row) in invitation.modules.iter().enumerate() {
                for (x, _) in row.iter().enumerate().filter(|(_, dark)| **dark) {
                    let corner = response.rect.min + egui::vec2(x as f32 + 4.0, y as f32 + 4.0) * module;
                    painter.rect_filled(
                        egui::Rect::from_min_size(corner, egui::vec2(module, module)),
                        0.0,
                        egui::Color32::BLACK,
                    );
                }
            }
            ui.label("Scan it with the phone's camera, or open");
            if invitation.url.starts_with("https") {
                ui.weak("The browser warns of the certificate once.");
            }
            ui.monospace(&invitation.url);
            ui.horizontal(|ui| {
                ui.label("Pairing token:");
                ui.monospace(&invitation.token);
            });
        },
    );
    invitation.shown = open;
}
