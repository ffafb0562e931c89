//! Virtual subjects, edited by hand: which groups of which subject, and in which order.

use bevy::{ecs::system::SystemParam, prelude::*};
use bevy_egui::egui;
use facelink::layers::{ChannelGroup, GroupSet};

use super::theme::{BAD, DIM, TEXT, card, small, title};
use crate::{
    subjects::FaceSubject,
    virtual_subject::{FacePart, VirtualSubject},
};

#[derive(SystemParam)]
pub(super) struct Virtuals<'w, 's> {
    virtuals: Query<'w, 's, (Entity, &'static mut VirtualSubject)>,
    name: Local<'s, String>,
}

impl Virtuals<'_, '_> {
    /// Where there are two faces to combine, or a virtual subject is there already.
    pub fn virtuals(&mut self, ui: &mut egui::Ui, commands: &mut Commands, subjects: &[&FaceSubject]) {
        let is_virtual = |name: &str| self.virtuals.iter().any(|(_, it)| it.name == name);
        let faces: Vec<_> = subjects.iter().copied().filter(|subject| !is_virtual(&subject.name)).collect();
        if self.virtuals.is_empty() && faces.len() < 2 {
            return;
        }
        card(ui, |ui| {
            ui.horizontal(|ui| {
                title(ui, "Virtual subjects");
                ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                    let name = self.name.trim();
                    let wanted = !name.is_empty() && subjects.iter().all(|subject| subject.name != name);
                    if ui.add_enabled(wanted, egui::Button::new("add").small()).clicked() {
                        commands.spawn(VirtualSubject::new(std::mem::take(&mut *self.name).trim()));
                    }
                    let field = egui::TextEdit::singleline(&mut *self.name).hint_text("name").char_limit(64);
                    ui.add(field.desired_width(90.0));
                });
            });
            for (entity, subject) in self.virtuals.iter_mut().sort::<Entity>() {
                ui.push_id(entity, |ui| edit(ui, commands, entity, subject, &faces));
            }
        });
    }
}

fn edit(
    ui: &mut egui::Ui,
    commands: &mut Commands,
    entity: Entity,
    mut subject: Mut<VirtualSubject>,
    faces: &[&FaceSubject],
) {
    ui.horizontal(|ui| {
        ui.add(egui::Label::new(small(&subject.name, TEXT)).truncate());
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if ui.small_button("\u{d7}").on_hover_text("Remove this virtual subject").clicked() {
                commands.entity(entity).try_despawn();
            }
            ui.menu_button(small("add part", TEXT), |ui| {
                for face in faces {
                    if ui.button(small(&face.name, TEXT)).clicked() {
                        let top = subject.parts().last().map_or(0, |part| part.priority.saturating_add(1));
                        let groups = if subject.parts().is_empty() { GroupSet::ALL } else { GroupSet::NONE };
                        subject.add(FacePart { subject: face.name.clone(), groups, priority: top });
                        ui.close();
                    }
                }
            });
        });
    });
    if subject.parts().is_empty() {
        ui.label(small("no parts yet", DIM));
    }
    let mut change = None;
    // The higher one has a group, so it stands first.
    for (index, part) in subject.parts().iter().enumerate().rev() {
        ui.horizontal(|ui| {
            let there = faces.iter().any(|face| face.name == part.subject && !face.leaving);
            let left = egui::Layout::left_to_right(egui::Align::Center);
            ui.allocate_ui_with_layout(egui::vec2(78.0, 16.0), left, |ui| {
                ui.set_width(78.0);
                let name = egui::Label::new(small(&part.subject, if there { TEXT } else { DIM })).truncate();
                ui.add(name).on_hover_text(if there { "live" } else { "not there: the next lower part shows" });
            });
            ui.spacing_mut().item_spacing.x = 2.0;
            for group in ChannelGroup::ALL {
                let has = part.groups.contains(group);
                let short = group.name().chars().take(2).collect::<String>();
                let button = egui::Button::selectable(has, small(short, if has { TEXT } else { DIM })).small();
                if ui.add(button).on_hover_text(group.name()).clicked() {
                    let groups = if has { part.groups.without(group) } else { part.groups.with(group) };
                    change = Some(Change::Replace(index, FacePart { groups, ..part.clone() }));
                }
            }
            let mut priority = part.priority;
            let drag = egui::DragValue::new(&mut priority).range(-99..=99).speed(0.1);
            if ui.add(drag).on_hover_text("Priority: the higher part has a group while it is live").changed() {
                change = Some(Change::Replace(index, FacePart { priority, ..part.clone() }));
            }
            if ui.add(egui::Button::new(small("\u{d7}", BAD)).small()).on_hover_text("Take this part away").clicked() {
                change = Some(Change::Remove(index));
            }
        });
    }
    if let Some(change) = change {
        *subject = changed(&subject, &change);
    }
}

enum Change {
    Replace(usize, FacePart),
    Remove(usize),
}

fn changed(subject: &VirtualSubject, change: &Change) -> VirtualSubject {
    let mut made = VirtualSubject::new(&subject.name);
    for (index, part) in subject.parts().iter().enumerate() {
        match change {
            Change::Replace(at, part) if *at == index => made.add(part.clone()),
            Change::Remove(at) if *at == index => {}
            _ => made.add(part.clone()),
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_subject_parts_change_one_at_a_time() {
        let jaw = GroupSet::from([ChannelGroup::Jaw]);
        let subject = VirtualSubject::new("Hero").with("Phone", GroupSet::ALL, 0).with("Audio", jaw, 1);
        let raised = FacePart { subject: "Phone".to_owned(), groups: GroupSet::ALL, priority: 2 };
        let swapped = changed(&subject, &Change::Replace(0, raised));
        assert_eq!(swapped, VirtualSubject::new("Hero").with("Audio", jaw, 1).with("Phone", GroupSet::ALL, 2));
        let alone = changed(&swapped, &Change::Remove(1));
        assert_eq!(alone, VirtualSubject::new("Hero").with("Audio", jaw, 1));
    }
}
