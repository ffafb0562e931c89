//! Plots of a subject's link and playout, and how both are set.

use std::{collections::VecDeque, time::Duration};

use bevy::{ecs::system::SystemParam, platform::collections::HashMap, prelude::*};
use bevy_egui::egui;
use egui::{Color32, FontId, Sense, Stroke, vec2};

use super::theme::{ACCENT, BAD, BELOW, DIM, GOOD, RAIL, TEXT, WARN, small, title};
use crate::{
    detail::{FaceBudget, FaceLoad},
    playout::PlayoutQuality,
    settings::{FacePlayout, FaceSettings, PlayoutFilter, PlayoutMode},
    subjects::{FaceSubject, LinkQuality},
};

/// A quarter of a second each: a minute.
const MOST: usize = 240;
const HEIGHT: f32 = 46.0;

/// What was measured of a subject, oldest first.
#[derive(Clone, Debug, Default)]
struct Track {
    frames: u64,
    points: VecDeque<Point>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Point {
    delay: f32,
    target: f32,
    jitter: f32,
    queue: f32,
    loss: f32,
    concealed: f32,
    sent: f32,
    asked: f32,
    shown: f32,
}

/// The tracks of all subjects. They go on while the panel is closed, so that what happened just now can be looked at.
#[derive(Resource, Debug, Default)]
pub(super) struct Tracks(HashMap<Entity, Track>);

/// Adds a point four times a second.
pub(super) fn follow(
    mut tracks: ResMut<Tracks>,
    time: Res<Time<Real>>,
    mut since: Local<f32>,
    subjects: Query<(Entity, &LinkQuality, &PlayoutQuality), With<FaceSubject>>,
) {
    *since += time.delta_secs();
    if *since < 0.25 {
        return;
    }
    *since = 0.0;
    tracks.0.retain(|entity, _| subjects.contains(*entity));
    for (entity, link, playout) in &subjects {
        let track = tracks.0.entry(entity).or_default();
        track.frames = link.frames;
        if track.points.len() == MOST {
            track.points.pop_front();
        }
        track.points.push_back(Point {
            delay: playout.delay_ms,
            target: playout.target_ms,
            jitter: link.jitter_ms,
            queue: link.queue_ms,
            loss: 100.0 * link.loss.unwrap_or(0.0),
            concealed: 100.0 * playout.concealed,
            sent: link.fps,
            asked: link.target_fps,
            shown: playout.shown_fps,
        });
    }
}

/// What the card reads and sets.
#[derive(SystemParam)]
pub(super) struct Timing<'w, 's> {
    tracks: Res<'w, Tracks>,
    settings: ResMut<'w, FaceSettings>,
    budget: ResMut<'w, FaceBudget>,
    load: Res<'w, FaceLoad>,
    playouts: Query<'w, 's, (&'static PlayoutQuality, &'static LinkQuality, Option<&'static FacePlayout>)>,
}

type Line = (&'static str, Color32, fn(&Point) -> f32);

/// Curves over the last minute on one scale, each with its newest value.
fn plot(ui: &mut egui::Ui, track: &Track, unit: &str, min_top: f32, lines: &[Line], about: &str) {
    let width = ui.available_width();
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        for (name, color, of) in lines {
            ui.label(small(*name, *color));
            let value = track.points.back().map_or(0.0, of);
            let text = if value.abs() < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") };
            ui.label(small(text, TEXT));
            ui.add_space(4.0);
        }
        ui.label(small(unit, DIM));
    });
    let (rect, response) = ui.allocate_exact_size(vec2(width, HEIGHT), Sense::hover());
    response.on_hover_text(about);
    let painter = ui.painter_at(rect);
    painter.rect_filled(rect, 3, Color32::from_rgb(22, 25, 32));
    let points = &track.points;
    let highest = lines.iter().flat_map(|(_, _, of)| points.iter().map(of)).fold(0.0, f32::max);
    // The scale changes in steps, so that it does not move with each point.
    let decade = 10.0_f32.powf(highest.max(min_top).max(1e-3).log10().floor());
    let top = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0]
        .map(|step| step * decade)
        .into_iter()
        .find(|top| *top >= highest.max(min_top) * 0.999);
    let top = top.unwrap_or(highest);
    for share in [0.5, 1.0] {
        let y = rect.bottom() - 2.0 - share * (rect.height() - 6.0);
        painter.hline(rect.x_range(), y, Stroke::new(0.5, RAIL));
    }
    painter.text(
        rect.right_top() + vec2(-3.0, 2.0),
        egui::Align2::RIGHT_TOP,
        format!("{top:.0}"),
        FontId::proportional(8.5),
        DIM,
    );
    let step = rect.width() / (MOST - 1) as f32;
    for (_, color, of) in lines {
        let curve: Vec<_> = points
            .iter()
            .rev()
            .enumerate()
            .map(|(i, point)| {
                let share = (of(point) / top).clamp(0.0, 1.0);
                egui::pos2(rect.right() - i as f32 * step, rect.bottom() - 2.0 - share * (rect.height() - 6.0))
            })
            .collect();
        painter.line(curve, Stroke::new(1.2, *color));
    }
}

const MODES: [(&str, &str); 4] = [
    ("Latest", "The newest frame as soon as it is there"),
    ("Smooth", "As little behind as the network allows"),
    ("Fixed", "Always this far behind"),
    ("Timecode", "Several faces, and sound, in step by the sources' clocks"),
];

fn place(mode: PlayoutMode) -> usize {
    match mode {
        PlayoutMode::Latest => 0,
        PlayoutMode::Smooth => 1,
        PlayoutMode::Fixed(_) => 2,
        PlayoutMode::Timecode => 3,
    }
}

/// How the frames of the subject that is looked at become its face.
pub(super) fn timing(ui: &mut egui::Ui, commands: &mut Commands, timing: &mut Timing, entity: Entity) {
    let Ok((playout, link, own)) = timing.playouts.get(entity) else { return };
    title(ui, "Playout");
    let before = own.copied().unwrap_or(timing.settings.playout);
    let mut new = before;
    ui.horizontal(|ui| {
        for (i, (name, about)) in MODES.into_iter().enumerate() {
            if ui.selectable_label(place(new.mode) == i, small(name, TEXT)).on_hover_text(about).clicked() {
                new.mode = match i {
                    0 => PlayoutMode::Latest,
                    1 => PlayoutMode::Smooth,
                    2 => FacePlayout::fixed((playout.delay_ms / 1000.0).clamp(0.02, 0.5)).mode,
                    _ => PlayoutMode::Timecode,
                };
            }
        }
        if let PlayoutMode::Fixed(delay) = &mut new.mode {
            let mut ms = delay.as_secs_f32() * 1000.0;
            if ui.add(egui::DragValue::new(&mut ms).range(0.0..=1000.0).max_decimals(0).suffix(" ms")).changed() {
                *delay = Duration::try_from_secs_f32(ms / 1000.0).unwrap_or_default();
            }
        }
    });
    ui.horizontal(|ui| {
        ui.label(small("filter", DIM)).on_hover_text("1\u{20ac} filter against the noise of a source such as a webcam");
        for (filter, name) in [(PlayoutFilter::Auto, "auto"), (PlayoutFilter::Off, "off"), (PlayoutFilter::On, "on")] {
            if ui.selectable_label(new.filter == filter, small(name, TEXT)).clicked() {
                new.filter = filter;
            }
        }
        if playout.filter_lag_ms > 0.0 {
            ui.label(small(format!("adds {:.0} ms", playout.filter_lag_ms), WARN));
        }
        if own.is_some() {
            if ui.small_button("as all").on_hover_text("Hand this subject back to the settings of all").clicked() {
                commands.entity(entity).try_remove::<FacePlayout>();
            }
        } else {
            ui.label(small("for this subject", DIM));
        }
    });
    if new != before {
        commands.entity(entity).try_insert(new);
    }
    if let Some(track) = timing.tracks.0.get(&entity) {
        plot(
            ui,
            track,
            "ms",
            20.0,
            &[
                ("delay", ACCENT, |point| point.delay),
                ("target", GOOD, |point| point.target),
                ("jitter", WARN, |point| point.jitter),
                ("queue", BAD, |point| point.queue),
            ],
            "How far behind the quickest frame the face is shown, and is meant to be; the jitter of arrivals; the standing \
             queue",
        );
        plot(
            ui,
            track,
            "%",
            5.0,
            &[("lost", BAD, |point| point.loss), ("concealed", BELOW, |point| point.concealed)],
            "Frames that were lost, and rendered frames that were concealed: interpolated, extrapolated or held",
        );
        plot(
            ui,
            track,
            "fps",
            60.0,
            &[
                ("asked", DIM, |point| point.asked),
                ("sent", ACCENT, |point| point.sent),
                ("shown", GOOD, |point| point.shown),
            ],
            "Frames a second that were asked for, that arrived, and rendered frames a second that show the face",
        );
    }
    ui.horizontal_wrapped(|ui| {
        let late = playout.late.to_string();
        let repeats = link.redundancy.to_string();
        let skew = format!("{:+.0} ppm", link.skew_ppm);
        for (name, value) in
            [("late", late.as_str()), ("packets repeat", repeats.as_str()), ("clock drift", skew.as_str())]
        {
            ui.label(small(name, DIM));
            ui.label(small(value, TEXT));
        }
        if playout.blinks > 0 {
            ui.label(small("blinks made up for", DIM));
            ui.label(small(playout.blinks.to_string(), TEXT));
        }
    });
}

/// What faces cost this game, and what they may.
pub(super) fn budget(ui: &mut egui::Ui, timing: &mut Timing) {
    let load = *timing.load;
    let mut new = *timing.budget;
    ui.horizontal(|ui| {
        ui.checkbox(&mut new.enabled, "face budget")
            .on_hover_text("Evaluate faces that are small, off screen or too many less often");
        ui.add_enabled_ui(new.enabled, |ui| {
            ui.add(egui::DragValue::new(&mut new.ms).range(0.05..=16.0).speed(0.05).max_decimals(2).suffix(" ms"));
        });
        let color = if load.ms > new.ms { WARN } else { TEXT };
        ui.label(small(format!("takes {:.2} ms", load.ms), color));
    });
    ui.horizontal_wrapped(|ui| {
        let coarser = load.avatars - load.full.min(load.avatars) - load.off_screen.min(load.avatars - load.full);
        for (name, count) in [("every frame", load.full), ("less often", coarser), ("off screen", load.off_screen)] {
            ui.label(small(name, DIM));
            ui.label(small(count.to_string(), TEXT));
        }
        if load.pressure > 0 {
            ui.label(small(format!("pressed by {}", load.pressure), WARN));
        }
    });
    timing.budget.set_if_neq(new);
}
