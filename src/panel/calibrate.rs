//! A performer's rest, and what an app's numbers mean: the part of the panel that changes how a face is read.

use bevy::prelude::*;
use bevy_egui::egui;
use facelink::wire::profile::{EulerOrder, RotationProfile, SourceProfile};
use facelink_net::{SourceKind, SourceProfiles};

use super::theme::{DIM, TEXT, WARN, small, title};
use crate::{
    endpoint::FaceLinkEndpoint,
    phones::{BeginRangeOfMotion, CaptureNeutral, ClearCalibration, EndRangeOfMotion, RecentreHead, SaveCalibration},
    subjects::{FaceSubject, LinkQuality},
};

/// Buttons for the rest of a subject, and its source's profile if it has one.
pub(super) fn calibrate(
    ui: &mut egui::Ui,
    commands: &mut Commands,
    endpoint: &FaceLinkEndpoint,
    entity: Entity,
    subject: &FaceSubject,
    quality: &LinkQuality,
) {
    let calibrated = endpoint.calibration(&subject.name).is_some_and(|calibration| !calibration.is_none());
    ui.horizontal(|ui| {
        title(ui, "Calibrate");
        if ui.small_button("neutral face").on_hover_text("The face of now is the neutral one").clicked() {
            commands.trigger(CaptureNeutral { entity });
        }
        if ui.small_button("recentre head").on_hover_text("The head looks straight ahead now").clicked() {
            commands.trigger(RecentreHead { entity });
        }
        if ui.add_enabled(calibrated, egui::Button::new("clear").small()).clicked() {
            commands.trigger(ClearCalibration { entity });
        }
    });
    ui.horizontal(|ui| match endpoint.range_of_motion(&subject.name) {
        Some(range) => {
            let made = range.reached().count();
            ui.label(small(format!("make every face as far as it goes: {made} of 52"), WARN));
            if ui.small_button("done").clicked() {
                commands.trigger(EndRangeOfMotion { entity, keep: true });
            }
            if ui.small_button("cancel").clicked() {
                commands.trigger(EndRangeOfMotion { entity, keep: false });
            }
        }
        None => {
            if ui.small_button("range of motion").on_hover_text("What this performer reaches becomes 1").clicked() {
                commands.trigger(BeginRangeOfMotion { entity });
            }
            let keep = ui.add_enabled(calibrated, egui::Button::new("keep").small());
            if keep.on_hover_text("For the next time this performer appears").clicked() {
                commands.trigger(SaveCalibration { entity });
            }
        }
    });
    if let Some(kind) = quality.transport.filter(|kind| SourceKind::PHONES.contains(kind)) {
        profile(ui, endpoint, kind, &subject.name);
    }
}

fn profile(ui: &mut egui::Ui, endpoint: &FaceLinkEndpoint, kind: SourceKind, subject: &str) {
    let own = endpoint.subject_profile(subject);
    let before = own.unwrap_or_else(|| endpoint.profile(kind));
    let mut profile = before;
    let changed = if before == SourceProfiles::usual(kind) { "" } else { ", changed" };
    egui::CollapsingHeader::new(small(format!("how {} is read{changed}", kind.title()), TEXT))
        .id_salt("facelink_profile")
        .show(ui, |ui| {
            let mut alone = own.is_some();
            ui.horizontal(|ui| {
                ui.label(small("for", DIM));
                if ui.selectable_label(!alone, small("every face of this app", TEXT)).clicked() {
                    alone = false;
                }
                if ui.selectable_label(alone, small("this face alone", TEXT)).clicked() {
                    alone = true;
                }
            });
            ui.horizontal_wrapped(|ui| {
                ui.checkbox(&mut profile.mirror, "mirror");
                ui.checkbox(&mut profile.landscape, "landscape").on_hover_text("The phone lies on its side");
                ui.checkbox(&mut profile.swap_mouth_left_right, "swap mouth")
                    .on_hover_text("Exchange mouthLeft and mouthRight");
            });
            rotation(ui, "head", &mut profile.head);
            rotation(ui, "eyes", &mut profile.eyes);
            ui.horizontal(|ui| {
                ui.label(small("metres a unit", DIM));
                let drag = egui::DragValue::new(&mut profile.metres_per_unit).speed(0.001).range(0.0001..=100.0);
                ui.add(drag.max_decimals(4));
                for (axis, name) in ["x", "y", "z"].into_iter().enumerate() {
                    ui.checkbox(&mut profile.flip_position[axis], format!("\u{2212}{name}"));
                }
            });
            if ui.small_button("as the app is known to be").clicked() {
                profile = SourceProfiles::usual(kind);
            }
            store(endpoint, kind, subject, (own, before), (alone, profile));
        });
}

fn store(
    endpoint: &FaceLinkEndpoint,
    kind: SourceKind,
    subject: &str,
    (own, before): (Option<SourceProfile>, SourceProfile),
    (alone, profile): (bool, SourceProfile),
) {
    match (own.is_some(), alone) {
        (true, false) => endpoint.set_subject_profile(subject, None),
        (false, true) => endpoint.set_subject_profile(subject, Some(profile)),
        (true, true) if profile != before => endpoint.set_subject_profile(subject, Some(profile)),
        (false, false) if profile != before => endpoint.set_profile(kind, profile),
        _ => {}
    }
}

fn rotation(ui: &mut egui::Ui, name: &str, rotation: &mut RotationProfile) {
    ui.horizontal_wrapped(|ui| {
        ui.label(small(format!("{name}: flip"), DIM));
        ui.checkbox(&mut rotation.flip.yaw, "yaw");
        ui.checkbox(&mut rotation.flip.pitch, "pitch");
        ui.checkbox(&mut rotation.flip.roll, "roll");
        ui.checkbox(&mut rotation.swap_yaw_pitch, "x\u{21c4}y")
            .on_hover_text("The source's x is yaw and its y is pitch");
    });
    ui.horizontal(|ui| {
        ui.label(small("gain", DIM));
        ui.add(egui::DragValue::new(&mut rotation.gain).speed(0.01).range(0.1..=5.0).max_decimals(2));
        ui.label(small("order", DIM));
        egui::ComboBox::from_id_salt(("facelink_order", name))
            .selected_text(format!("{:?}", rotation.order))
            .width(52.0)
            .show_ui(ui, |ui| {
                for order in EulerOrder::ALL {
                    ui.selectable_value(&mut rotation.order, order, format!("{order:?}"));
                }
            });
    });
}
