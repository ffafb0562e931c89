//! What subjects are called at the endpoint, and which are shown.

use bevy_egui::egui;
use facelink_net::SubjectStats;

use super::theme::{BAD, DIM, TEXT, card, small, title};
use crate::{diagnostics::LinkStats, endpoint::FaceLinkEndpoint, subjects::FaceSubject};

/// What is typed for which subject, and why it was refused.
#[derive(Default)]
pub(super) struct Edit {
    subject: String,
    name: String,
    problem: Option<String>,
}

/// The switch and the name of the subject that is looked at, and the switches of those that are disabled.
pub(super) fn names(
    ui: &mut egui::Ui,
    endpoint: &FaceLinkEndpoint,
    stats: &LinkStats,
    looked_at: Option<&FaceSubject>,
    edit: &mut Edit,
) {
    let subjects = &stats.endpoint.subjects;
    // Those of takes, of the game and of virtual subjects are not the endpoint's.
    let looked_at = looked_at.and_then(|subject| subjects.iter().find(|stats| Some(stats.id) == subject.id()));
    let disabled: Vec<_> = subjects.iter().filter(|subject| !subject.enabled).collect();
    if looked_at.is_none() && disabled.is_empty() {
        return;
    }
    card(ui, |ui| {
        title(ui, "Name");
        if let Some(subject) = looked_at.filter(|subject| subject.enabled) {
            rename(ui, endpoint, subject, edit);
        }
        for subject in disabled {
            ui.horizontal(|ui| {
                switch(ui, endpoint, subject, edit);
                ui.label(small(format!("disabled, {:.0} fps arrive", subject.fps), DIM));
            });
        }
        if let Some(problem) = &edit.problem {
            ui.add(egui::Label::new(small(problem, BAD)).wrap());
        }
    });
}

fn switch(ui: &mut egui::Ui, endpoint: &FaceLinkEndpoint, subject: &SubjectStats, edit: &mut Edit) {
    let mut enabled = subject.enabled;
    let hint = "Off: it is not shown, recorded or sent on. Its frames are counted, and it can be switched on again";
    if ui.checkbox(&mut enabled, subject.name.to_string()).on_hover_text(hint).changed() {
        edit.problem = endpoint.enable_subject(&subject.name, enabled).err().map(|error| error.to_string());
    }
}

fn rename(ui: &mut egui::Ui, endpoint: &FaceLinkEndpoint, subject: &SubjectStats, edit: &mut Edit) {
    if edit.subject != *subject.name {
        *edit = Edit { subject: subject.name.to_string(), name: subject.name.to_string(), problem: None };
    }
    ui.horizontal(|ui| {
        switch(ui, endpoint, subject, edit);
        if subject.source_name != subject.name {
            ui.add(egui::Label::new(small(format!("sent as {}", subject.source_name), DIM)).truncate());
        }
    });
    ui.horizontal(|ui| {
        let field = egui::TextEdit::singleline(&mut edit.name).hint_text("name").char_limit(64).desired_width(110.0);
        let typed = ui.add(field);
        let entered = typed.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
        let name = edit.name.trim();
        let is_new = !name.is_empty() && *name != *subject.name;
        let mut button = |text: &str, enabled: bool, hint: &str| {
            ui.add_enabled(enabled, egui::Button::new(small(text, TEXT)).small()).on_hover_text(hint).clicked()
        };
        let renames =
            button("rename", is_new, "Avatars, takes and everyone beyond call it so; its sender does not notice");
        let joins =
            button("join", is_new, "Shares the name of another subject: whichever connected last and is live shows");
        let is_renamed = subject.source_name != subject.name;
        let restores = is_renamed && button("own name", true, "As its sender calls it");
        let done = if restores {
            endpoint.rename_subject(&subject.name, None)
        } else if joins {
            endpoint.alias_subject(&subject.name, name)
        } else if renames || (entered && is_new) {
            endpoint.rename_subject(&subject.name, Some(name))
        } else {
            return;
        };
        edit.problem = done.err().map(|error| error.to_string());
    });
}
