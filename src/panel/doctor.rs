//! The report of `facelink doctor` in the panel: what to type into a phone, what arrives, and which sockets conflict.

use std::time::Duration;

use facelink::time::Instant;

use bevy_egui::egui;
use facelink_net::doctor::{Report, Severity};

use super::theme::{BAD, DIM, GOOD, TEXT, WARN, small, title};
use crate::endpoint::FaceLinkEndpoint;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// The last report, and when it was made.
#[derive(Default)]
pub(super) struct Kept(Option<(Instant, Report)>);

impl Kept {
    fn report(&mut self, endpoint: &FaceLinkEndpoint) -> Option<&Report> {
        let now = Instant::now();
        if self.0.as_ref().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= EVERY) {
            self.0 = endpoint.diagnose().map(|report| (now, report));
        }
        self.0.as_ref().map(|(_, report)| report)
    }
}

pub(super) fn doctor(ui: &mut egui::Ui, endpoint: &FaceLinkEndpoint, kept: &mut Kept) {
    egui::CollapsingHeader::new(small("Doctor: phones, ports and conflicts", TEXT)).id_salt("facelink_doctor").show(
        ui,
        |ui| {
            if let Some(report) = kept.report(endpoint) {
                show(ui, report);
            }
        },
    );
}

fn show(ui: &mut egui::Ui, report: &Report) {
    for advice in &report.advice {
        let (sign, color) = match advice.severity {
            Severity::Error => ("\u{2717}", BAD),
            Severity::Warning => ("!", WARN),
            Severity::Hint => ("\u{b7}", DIM),
            Severity::Ok => ("\u{2713}", GOOD),
        };
        line(ui, sign, &advice.text, color);
    }
    if !report.settings.is_empty() {
        title(ui, "Type into the phone");
        for setting in &report.settings {
            pair(ui, &setting.app, &setting.what);
        }
        pair(ui, "its browser", &report.page);
    }
    title(ui, "Arriving now");
    if report.arriving.is_empty() {
        ui.label(small("nothing", DIM));
    }
    for sender in &report.arriving {
        let from = format!("{} from {}, {:.0} a second", sender.port, sender.from, sender.rate);
        match &sender.error {
            Some(error) => line(ui, "\u{2717}", &format!("{}: {from}: {error}", sender.what), WARN),
            None => line(ui, "\u{2713}", &format!("{}: {from}", sender.what), GOOD),
        }
    }
    if !report.phones.is_empty() {
        title(ui, "Phones that are called");
        for phone in &report.phones {
            ui.add(egui::Label::new(small(phone, TEXT)).wrap());
        }
    }
    if !report.firewall.is_empty() {
        title(ui, "Firewall");
        for text in &report.firewall {
            ui.add(egui::Label::new(small(text, DIM)).wrap());
        }
    }
    title(ui, "Clock");
    ui.add(egui::Label::new(small(&report.clock.note, DIM)).wrap());
}

fn line(ui: &mut egui::Ui, sign: &str, text: &str, color: egui::Color32) {
    ui.horizontal_top(|ui| {
        ui.label(small(sign, color));
        ui.add(egui::Label::new(small(text, TEXT)).wrap());
    });
}

fn pair(ui: &mut egui::Ui, name: &str, value: &str) {
    ui.horizontal_top(|ui| {
        ui.label(small(name, DIM));
        ui.add(egui::Label::new(small(value, TEXT)).wrap());
    });
}
