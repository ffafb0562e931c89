//! Colours, sizes and the small pieces of the panel.

use bevy_egui::egui;
use egui::{Color32, FontId, RichText, Stroke, vec2};
use facelink::source::SourceKind;

pub(super) const GROUND: Color32 = Color32::from_rgb(19, 22, 28);
pub(super) const CARD: Color32 = Color32::from_rgb(28, 32, 40);
pub(super) const RAIL: Color32 = Color32::from_rgb(43, 49, 60);
pub(super) const TEXT: Color32 = Color32::from_rgb(222, 227, 235);
pub(super) const DIM: Color32 = Color32::from_rgb(142, 152, 168);
pub(super) const ACCENT: Color32 = Color32::from_rgb(64, 190, 186);
pub(super) const GOOD: Color32 = Color32::from_rgb(88, 205, 122);
pub(super) const WARN: Color32 = Color32::from_rgb(245, 177, 76);
pub(super) const BAD: Color32 = Color32::from_rgb(242, 105, 100);
/// Values below 0.
pub(super) const BELOW: Color32 = Color32::from_rgb(176, 128, 246);

pub(super) const SMALL: f32 = 11.0;
pub(super) const TINY: f32 = 10.0;

pub(super) fn dress(style: &mut egui::Style) {
    style.visuals = egui::Visuals::dark();
    let visuals = &mut style.visuals;
    visuals.override_text_color = Some(TEXT);
    visuals.panel_fill = GROUND;
    visuals.selection.bg_fill = ACCENT.gamma_multiply(0.6);
    visuals.slider_trailing_fill = true;
    visuals.widgets.noninteractive.bg_stroke = Stroke::new(1.0, RAIL);
    visuals.widgets.inactive.bg_fill = RAIL;
    visuals.widgets.inactive.weak_bg_fill = RAIL;
    for font in style.text_styles.values_mut() {
        font.size = SMALL;
    }
    style.spacing.item_spacing = vec2(6.0, 3.0);
    style.spacing.interact_size.y = 16.0;
    style.spacing.button_padding = vec2(4.0, 1.0);
    style.spacing.icon_width = 13.0;
    style.spacing.icon_width_inner = 7.0;
    style.spacing.scroll = egui::style::ScrollStyle::thin();
}

pub(super) fn card(ui: &mut egui::Ui, contents: impl FnOnce(&mut egui::Ui)) {
    egui::Frame::new().fill(CARD).corner_radius(6).inner_margin(egui::Margin::symmetric(8, 5)).show(ui, |ui| {
        ui.set_width(ui.available_width());
        contents(ui);
    });
}

pub(super) fn title(ui: &mut egui::Ui, text: &str) {
    ui.label(RichText::new(text).color(ACCENT).size(SMALL).strong());
}

pub(super) fn small(text: impl Into<String>, color: Color32) -> RichText {
    RichText::new(text).color(color).size(SMALL)
}

/// `text` in one line no wider than `width`, with an ellipsis where it was cut.
pub(super) fn fitted(ui: &egui::Ui, text: &str, size: f32, color: Color32, width: f32) -> std::sync::Arc<egui::Galley> {
    let mut job = egui::text::LayoutJob::simple_singleline(text.to_owned(), FontId::proportional(size), color);
    job.wrap = egui::text::TextWrapping::truncate_at_width(width.max(8.0));
    ui.painter().layout_job(job)
}

pub(super) fn badge(transport: Option<SourceKind>) -> (&'static str, Color32) {
    let rgb = Color32::from_rgb;
    match transport {
        Some(SourceKind::WebRtc) => ("RTC", ACCENT),
        Some(SourceKind::WebSocket) => ("WS", rgb(104, 162, 240)),
        Some(SourceKind::LiveLinkFace) => ("LLF", rgb(214, 150, 226)),
        Some(SourceKind::UdpJson) => ("UDP", rgb(214, 180, 110)),
        Some(SourceKind::IFacialMocap) => ("iFM", rgb(228, 140, 160)),
        Some(SourceKind::IFacialMocapV3) => ("iF3", rgb(228, 140, 160)),
        Some(SourceKind::Facemotion3d) => ("FM3", rgb(228, 140, 160)),
        Some(SourceKind::FaceCap) => ("CAP", rgb(150, 200, 120)),
        Some(SourceKind::Trackers) => ("VR", rgb(120, 190, 210)),
        Some(SourceKind::Vmc) => ("VMC", rgb(150, 170, 235)),
        Some(SourceKind::VTubeStudio) => ("VTS", rgb(240, 150, 110)),
        Some(SourceKind::Mesh) => ("MSH", rgb(104, 162, 240)),
        Some(SourceKind::Custom) => ("OWN", rgb(150, 200, 190)),
        _ => ("\u{2013}", DIM),
    }
}

pub(super) fn percent(share: f32) -> String {
    let percent = 100.0 * share;
    if percent < 9.95 { format!("{percent:.1}%") } else { format!("{percent:.0}%") }
}

pub(super) fn judged(value: f32, warn: f32, bad: f32) -> Color32 {
    if value >= bad {
        BAD
    } else if value >= warn {
        WARN
    } else {
        TEXT
    }
}
