//! What happened, newest first.

use std::{collections::VecDeque, time::Duration};

use bevy::{ecs::system::SystemParam, prelude::*};
use bevy_egui::egui;

use super::theme::{ACCENT, BAD, DIM, TEXT, card, small, title};
use crate::{gestures::FaceGesture, input::LinkMessage, subjects::FaceSubject};
use facelink::event::LinkEvent;

/// Lines that are kept, and those that are seen while the list is not unfolded.
const MAX_LINES: usize = 200;
const GLANCE: usize = 3;
/// Characters of a line that are kept: names and reasons come from outside.
const MAX_LENGTH: usize = 200;

/// The last events of the link and the gestures of subjects. They are kept while the panel is closed, too.
#[derive(Resource, Default)]
pub(super) struct EventLog {
    lines: VecDeque<Line>,
}

struct Line {
    at: Duration,
    text: String,
    color: egui::Color32,
}

impl EventLog {
    fn add(&mut self, at: Duration, text: &str, color: egui::Color32) {
        if self.lines.len() == MAX_LINES {
            self.lines.pop_back();
        }
        let text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_LENGTH).collect();
        self.lines.push_front(Line { at, text, color });
    }
}

pub(super) fn follow(time: Res<Time<Real>>, mut messages: MessageReader<LinkMessage>, mut log: ResMut<EventLog>) {
    for LinkMessage(event) in messages.read() {
        let color = match event {
            LinkEvent::SubjectLost { .. } | LinkEvent::Disconnected { .. } => BAD,
            LinkEvent::SubjectAppeared { .. } | LinkEvent::Connected { .. } => TEXT,
            _ => ACCENT,
        };
        log.add(time.elapsed(), &event.to_string(), color);
    }
}

/// Gestures that the game's own rules recognise.
pub(super) fn on_gesture(
    gesture: On<FaceGesture>,
    time: Res<Time<Real>>,
    subjects: Query<&FaceSubject>,
    mut log: ResMut<EventLog>,
) {
    if !gesture.active {
        return;
    }
    let name = subjects.get(gesture.entity).map_or("?", |subject| &subject.name);
    log.add(time.elapsed(), &format!("{name}: {}", gesture.gesture), ACCENT);
}

#[derive(SystemParam)]
pub(super) struct Events<'w> {
    log: ResMut<'w, EventLog>,
    time: Res<'w, Time<Real>>,
}

impl Events<'_> {
    pub fn events(&mut self, ui: &mut egui::Ui) {
        if !self.log.lines.is_empty() {
            card(ui, |ui| list(ui, &mut self.log, self.time.elapsed()));
        }
    }
}

fn list(ui: &mut egui::Ui, log: &mut EventLog, now: Duration) {
    let id = egui::Id::new("facelink_events");
    let mut open = ui.data_mut(|data| data.get_temp::<bool>(id)).unwrap_or_default();
    ui.horizontal(|ui| {
        title(ui, "Events");
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if ui.small_button("clear").clicked() {
                log.lines.clear();
            }
            if log.lines.len() > GLANCE && ui.small_button(if open { "less" } else { "more" }).clicked() {
                open = !open;
                ui.data_mut(|data| data.insert_temp(id, open));
            }
        });
    });
    let line = |ui: &mut egui::Ui, line: &Line| {
        ui.horizontal(|ui| {
            ui.label(small(ago(now.saturating_sub(line.at)), DIM));
            ui.add(egui::Label::new(small(&line.text, line.color)).truncate()).on_hover_text(&line.text);
        });
    };
    if open {
        egui::ScrollArea::vertical().id_salt(id).max_height(160.0).show(ui, |ui| {
            log.lines.iter().for_each(|it| line(ui, it));
        });
    } else {
        log.lines.iter().take(GLANCE).for_each(|it| line(ui, it));
    }
}

/// As short as it can be read.
fn ago(past: Duration) -> String {
    match past.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_log_keeps_the_newest_and_no_control_characters() {
        let mut log = EventLog::default();
        for i in 0..MAX_LINES as u64 + 5 {
            log.add(Duration::from_secs(i), &format!("{i}\n{}", "x".repeat(1000)), TEXT);
        }
        assert_eq!(log.lines.len(), MAX_LINES);
        let newest = &log.lines[0].text;
        assert!(
            newest.starts_with(&format!("{} xx", MAX_LINES + 4)) && newest.chars().count() == MAX_LENGTH,
            "{newest}"
        );
    }

    #[test]
    fn event_age_is_short() {
        let ages = [0, 59, 60, 3599, 3600, 90_000].map(|seconds| ago(Duration::from_secs(seconds)));
        assert_eq!(ages, ["0 s", "59 s", "1 min", "59 min", "1 h", "25 h"]);
    }
}
