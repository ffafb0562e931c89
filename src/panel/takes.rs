//! Takes in the panel: recording one, and those that are played.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    time::Duration,
};

use bevy::{ecs::system::SystemParam, prelude::*, tasks::AsyncComputeTaskPool};
use bevy_egui::egui;
use facelink::take::SPEEDS;
#[cfg(sockets)]
use facelink_net::TakeOptions;

#[cfg(sockets)]
use super::theme::WARN;
use super::{
    theme::{BAD, DIM, GOOD, TEXT, card, small, title},
    timeline::{Asked, Glance, Range, Read, parts, timeline},
};
#[cfg(sockets)]
use crate::recording::FaceRecorder;
use crate::takes::{FaceTake, TakePlayback, TakePlayer, TakeState};

#[derive(SystemParam)]
pub(super) struct Takes<'w, 's> {
    #[cfg(sockets)]
    recorder: FaceRecorder<'w>,
    #[cfg(sockets)]
    slate: Local<'s, String>,
    #[cfg(sockets)]
    refused: Local<'s, Option<String>>,
    takes: Option<Res<'w, Assets<FaceTake>>>,
    glances: Local<'s, HashMap<AssetId<FaceTake>, (FaceTake, Glance)>>,
    players: Query<'w, 's, (Entity, Option<&'static Name>, &'static mut TakePlayer, &'static mut TakePlayback)>,
}

impl Takes<'_, '_> {
    pub fn takes(&mut self, ui: &mut egui::Ui) {
        #[cfg(sockets)]
        let records = self.recorder.is_available();
        #[cfg(not(sockets))]
        let records = false;
        if !records && self.players.is_empty() {
            return;
        }
        card(ui, |ui| {
            title(ui, "Takes");
            #[cfg(sockets)]
            self.record(ui);
            self.look();
            for (entity, name, player, playback) in &mut self.players {
                let label = name.map_or_else(|| entity.to_string(), |name| name.as_str().to_owned());
                let glance = self.glances.get_mut(&player.take.id()).and_then(|(_, glance)| glance.read());
                ui.push_id(entity, |ui| play(ui, &label, glance, player, playback));
            }
        });
    }

    /// Begins to read the timelines of takes that are new, and forgets those of takes that are not played any more.
    fn look(&mut self) {
        let Some(takes) = &self.takes else { return };
        let played: HashSet<_> = self.players.iter().map(|(_, _, player, _)| player.take.id()).collect();
        self.glances
            .retain(|id, (read, _)| played.contains(id) && takes.get(*id).is_some_and(|take| take.is_same(read)));
        for id in played {
            if let (Entry::Vacant(slot), Some(take)) = (self.glances.entry(id), takes.get(id)) {
                let take = take.clone();
                let read = take.clone();
                let task = AsyncComputeTaskPool::get()
                    .spawn(async move { Read::new(read.timeline(parts(read.info().duration)).unwrap_or_default()) });
                slot.insert((take, Glance::Reading(task)));
            }
        }
    }

    /// Slate and button, and what the take is so far.
    #[cfg(sockets)]
    fn record(&mut self, ui: &mut egui::Ui) {
        if !self.recorder.is_available() {
            return;
        }
        let status = self.recorder.status();
        let recording = status.as_ref().is_some_and(|take| take.recording);
        ui.horizontal(|ui| {
            let (sign, word) = if recording { ("\u{23f9}", "Stop") } else { ("\u{23fa}", "Record") };
            let button = ui.button(small(format!("{sign} {word}"), if recording { TEXT } else { BAD }));
            if button.clicked() {
                let slate = Some(self.slate.trim().to_owned()).filter(|slate| !slate.is_empty());
                let options = TakeOptions { slate, ..TakeOptions::default() };
                let done = if recording { self.recorder.stop() } else { self.recorder.start(options).map(drop) };
                *self.refused = done.err().map(|error| error.to_string());
            }
            let slate = egui::TextEdit::singleline(&mut *self.slate).hint_text("slate").desired_width(f32::INFINITY);
            ui.add_enabled(!recording, slate);
        });
        if let Some(take) = &status {
            let megabytes = take.bytes as f64 / 1e6;
            let text = format!("{}, take {}: {:.1} s, {megabytes:.2} MB", take.slate, take.take, take.seconds);
            let color = if recording { GOOD } else { DIM };
            ui.add(egui::Label::new(small(text, color)).truncate()).on_hover_text(&take.file);
            if take.dropped > 0 {
                ui.label(small(format!("{} not recorded: writing is too slow", take.dropped), WARN));
            }
        }
        let error = self.refused.as_ref().or(status.as_ref().and_then(|take| take.error.as_ref()));
        if let Some(error) = error {
            ui.add(egui::Label::new(small(error, BAD)).wrap());
        }
    }
}

/// A take that is played: its place, to be moved, and how it runs.
fn play(
    ui: &mut egui::Ui,
    label: &str,
    glance: Option<&Read>,
    mut player: Mut<TakePlayer>,
    mut playback: Mut<TakePlayback>,
) {
    let (state, color) = match playback.state() {
        TakeState::Loading => ("loading", DIM),
        TakeState::Playing => ("plays", GOOD),
        TakeState::Paused => ("paused", TEXT),
        TakeState::Finished => ("at its end", DIM),
        TakeState::Failed(error) => (error.as_str(), BAD),
    };
    ui.horizontal(|ui| {
        ui.add(egui::Label::new(small(label, TEXT)).truncate());
        ui.add(egui::Label::new(small(state, color)).truncate());
    });
    if matches!(playback.state(), TakeState::Loading | TakeState::Failed(_)) {
        return;
    }
    ui.horizontal(|ui| {
        let sign = if player.playing { "\u{23f8}" } else { "\u{25b6}" };
        if ui.small_button(sign).on_hover_text("Play or pause").clicked() {
            toggle(&mut player, &mut playback);
        }
        for (sign, frames, hint) in [("\u{23ea}", -1, "One frame back"), ("\u{23e9}", 1, "One frame on")] {
            if ui.small_button(sign).on_hover_text(hint).clicked() {
                player.playing = false;
                playback.step(frames);
            }
        }
        let mut looped = player.looped;
        if ui.checkbox(&mut looped, small("loop", TEXT)).changed() {
            player.looped = looped;
        }
        let mut speed = player.speed;
        if ui.add(egui::DragValue::new(&mut speed).range(SPEEDS).speed(0.02).max_decimals(2).suffix("\u{d7}")).changed()
        {
            player.speed = speed;
        }
    });
    let range =
        Range { position: playback.position(), duration: playback.duration(), from: player.from, until: player.until };
    match timeline(ui, glance, &range) {
        Some(Asked::Seek(time)) => playback.seek(time),
        Some(Asked::Step(frames)) => {
            player.playing = false;
            playback.step(frames);
        }
        Some(Asked::Toggle) => toggle(&mut player, &mut playback),
        None => {}
    }
    ui.horizontal(|ui| {
        let (position, duration) = (range.position.as_secs_f64(), range.duration.as_secs_f64());
        ui.label(small(format!("{position:.2} / {duration:.2} s"), DIM));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let has_range = range.from > Duration::ZERO || range.until.is_some();
            if has_range && ui.small_button("all").on_hover_text("Play all of it again").clicked() {
                (player.from, player.until) = (Duration::ZERO, None);
            }
            if ui.small_button("out").on_hover_text("Ends here").clicked() && range.position > range.from {
                player.until = Some(range.position);
            }
            let ends = range.until.unwrap_or(range.duration);
            if ui.small_button("in").on_hover_text("Begins here").clicked() && range.position < ends {
                player.from = range.position;
            }
        });
    });
}

fn toggle(player: &mut TakePlayer, playback: &mut TakePlayback) {
    player.playing = !player.playing;
    if *playback.state() == TakeState::Finished {
        player.playing = true;
        playback.seek(player.from);
    }
}
