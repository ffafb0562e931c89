//! The timeline of a take: each subject's lane with what it does, what is missing, marks, and the place that is played.

use std::time::Duration;

use bevy_egui::egui;
use egui::{Color32, Key, Rect, Sense, Stroke, pos2, vec2};
use facelink::take::{TakeLane, TakePart, TakeTimeline};

use super::theme::{ACCENT, BAD, DIM, GROUND, RAIL, TEXT, TINY, WARN, fitted, percent, small};

/// Most parts of a timeline, each a little less than a pixel.
const MAX_PARTS: f64 = 320.0;
/// Parts of a second at most: each has frames, also of a slow source.
const PARTS_A_SECOND: f64 = 15.0;
const LANE: f32 = 18.0;
const MARKS: f32 = 8.0;
/// Lanes that are seen without scrolling.
const LANES: f32 = 6.0;

/// In how many parts a take of this length is drawn.
pub(super) fn parts(duration: Duration) -> usize {
    (duration.as_secs_f64() * PARTS_A_SECOND).clamp(1.0, MAX_PARTS) as usize
}

/// What is asked of the player.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Asked {
    Seek(Duration),
    Step(i32),
    Toggle,
}

/// What is played of the take.
pub(super) struct Range {
    pub position: Duration,
    pub duration: Duration,
    pub from: Duration,
    pub until: Option<Duration>,
}

/// Draws the lanes, and returns what was done with them: a click or a drag seeks; with the focus, the arrows step and the
/// space bar plays or pauses.
pub(super) fn timeline(ui: &mut egui::Ui, glance: Option<&Read>, range: &Range) -> Option<Asked> {
    let timeline = glance.map(|glance| &glance.timeline);
    let lanes = timeline.map_or(&[][..], |timeline| &timeline.lanes);
    let mut asked = None;
    let height = LANE * LANES + MARKS;
    egui::ScrollArea::vertical().max_height(height).auto_shrink([false, true]).show(ui, |ui| {
        let size = vec2(ui.available_width(), MARKS + LANE * lanes.len().max(1) as f32);
        let (rect, response) = ui.allocate_exact_size(size, Sense::click_and_drag());
        let response = response.on_hover_cursor(egui::CursorIcon::ResizeHorizontal);
        let seconds = range.duration.as_secs_f64().max(1e-3);
        let x = |time: Duration| rect.left() + (time.as_secs_f64() / seconds).clamp(0.0, 1.0) as f32 * rect.width();
        let time =
            |x: f32| Duration::from_secs_f64(f64::from(((x - rect.left()) / rect.width()).clamp(0.0, 1.0)) * seconds);
        let painter = ui.painter_at(rect);
        painter.rect_filled(rect, 3.0, GROUND);

        for (place, lane) in lanes.iter().enumerate() {
            let top = rect.top() + MARKS + LANE * place as f32;
            let area = Rect::from_min_size(pos2(rect.left(), top), vec2(rect.width(), LANE - 1.0));
            draw_lane(&painter, area, lane, glance.map_or(1.0, |glance| glance.scale));
            let name = fitted(ui, &lane.name, TINY, TEXT, rect.width() * 0.4);
            painter.galley(pos2(rect.left() + 3.0, top + 1.0), name, TEXT);
        }
        let dark = Color32::from_black_alpha(150);
        let out = range.until.map_or(rect.right(), x);
        painter.rect_filled(Rect::from_min_max(rect.min, pos2(x(range.from), rect.bottom())), 0.0, dark);
        painter.rect_filled(Rect::from_min_max(pos2(out, rect.top()), rect.max), 0.0, dark);
        let marks = timeline.map_or(&[][..], |timeline| &timeline.marks);
        for (at, _) in marks {
            let x = x(*at);
            painter.line_segment(
                [pos2(x, rect.top()), pos2(x, rect.bottom())],
                Stroke::new(1.0, WARN.gamma_multiply(0.5)),
            );
            painter.circle_filled(pos2(x, rect.top() + 4.0), 2.5, WARN);
        }
        let playhead = x(range.position);
        painter.line_segment([pos2(playhead, rect.top()), pos2(playhead, rect.bottom())], Stroke::new(1.5, TEXT));
        let head =
            [pos2(playhead - 4.0, rect.top()), pos2(playhead + 4.0, rect.top()), pos2(playhead, rect.top() + 6.0)];
        painter.add(egui::Shape::convex_polygon(head.to_vec(), TEXT, Stroke::NONE));
        if response.has_focus() {
            painter.rect_stroke(rect, 3.0, Stroke::new(1.0, ACCENT), egui::StrokeKind::Inside);
        }

        if response.clicked() || response.drag_started() {
            response.request_focus();
        }
        if (response.clicked() || response.dragged())
            && let Some(at) = response.interact_pointer_pos()
        {
            asked = Some(Asked::Seek(time(at.x)));
        } else if response.has_focus() {
            ui.memory_mut(|memory| {
                let filter = egui::EventFilter { horizontal_arrows: true, ..egui::EventFilter::default() };
                memory.set_focus_lock_filter(response.id, filter);
            });
            asked = ui.input(|input| {
                [(Key::ArrowLeft, Asked::Step(-1)), (Key::ArrowRight, Asked::Step(1)), (Key::Space, Asked::Toggle)]
                    .into_iter()
                    .find_map(|(key, asked)| input.key_pressed(key).then_some(asked))
            });
        }
        if let Some(at) = response.hover_pos()
            && !response.dragged()
        {
            let lane = usize::try_from(((at.y - rect.top() - MARKS) / LANE).floor() as i64).ok();
            let lane = lane.and_then(|place| lanes.get(place));
            let mark = marks.iter().find(|(time, _)| (x(*time) - at.x).abs() < 4.0).map(|(_, text)| text.as_str());
            response.on_hover_ui_at_pointer(|ui| told(ui, time(at.x), lane, mark, (at.x - rect.left()) / rect.width()));
        }
    });
    asked
}

fn draw_lane(painter: &egui::Painter, area: Rect, lane: &TakeLane, scale: f32) {
    painter.rect_filled(area, 2.0, RAIL.gamma_multiply(0.55));
    let width = area.width() / lane.parts.len().max(1) as f32;
    for (place, part) in lane.parts.iter().enumerate() {
        let left = area.left() + width * place as f32;
        let column = |top: f32, bottom: f32| Rect::from_min_max(pos2(left, top), pos2(left + width.max(1.0), bottom));
        if part.frames == 0 {
            painter.rect_filled(column(area.top(), area.bottom()), 0.0, GROUND);
            continue;
        }
        let untracked = part.untracked * 2 > part.frames;
        let share = (part.movement / scale).clamp(0.06, 1.0);
        let color = if untracked { DIM.gamma_multiply(0.5) } else { ACCENT.gamma_multiply(0.8) };
        painter.rect_filled(column(area.bottom() - (area.height() - 4.0) * share, area.bottom()), 0.0, color);
        for (count, color) in [(part.late, WARN), (part.lost, BAD)] {
            if count > 0 {
                painter.rect_filled(column(area.top(), area.top() + 3.0), 0.0, color);
            }
        }
    }
}

fn told(ui: &mut egui::Ui, time: Duration, lane: Option<&TakeLane>, mark: Option<&str>, share: f32) {
    ui.label(small(format!("{:.2} s", time.as_secs_f64()), TEXT));
    if let Some(mark) = mark {
        ui.label(small(mark, WARN));
    }
    let Some(lane) = lane else { return };
    let sum = |of: fn(&TakePart) -> u32| lane.parts.iter().map(|part| u64::from(of(part))).sum::<u64>();
    let (frames, lost, late) = (sum(|part| part.frames), sum(|part| part.lost), sum(|part| part.late));
    let share_of = |count: u64| percent(count as f32 / (frames + lost).max(1) as f32);
    ui.label(small(format!("{}, {}", lane.name, lane.source), TEXT));
    ui.label(small(
        format!("{frames} frames, {lost} lost ({}), {late} late ({})", share_of(lost), share_of(late)),
        DIM,
    ));
    let place = (share * lane.parts.len() as f32).max(0.0) as usize;
    if let Some(part) = lane.parts.get(place)
        && part.lost + part.late + part.untracked > 0
    {
        let words = [("lost", part.lost), ("late", part.late), ("without a face", part.untracked)];
        let words = words.iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!("{count} {word}"));
        ui.label(small(format!("here {}", words.collect::<Vec<_>>().join(", ")), WARN));
    }
}

/// A timeline that is read in the background.
pub(super) enum Glance {
    Reading(bevy::tasks::Task<Read>),
    Read(Read),
}

/// A timeline to be drawn.
pub(super) struct Read {
    timeline: TakeTimeline,
    /// The movement that fills a lane's height: one for all lanes, so that they can be compared. Single jumps do not flatten
    /// the rest.
    scale: f32,
}

impl Read {
    pub fn new(timeline: TakeTimeline) -> Self {
        let parts = timeline.lanes.iter().flat_map(|lane| &lane.parts);
        let mut moves: Vec<f32> = parts.map(|part| part.movement).collect();
        moves.sort_unstable_by(f32::total_cmp);
        let scale = moves.get(moves.len() * 19 / 20).copied().unwrap_or(0.0).max(0.01);
        Self { timeline, scale }
    }
}

impl Glance {
    /// What is known by now.
    pub fn read(&mut self) -> Option<&Read> {
        if let Self::Reading(task) = self
            && let Some(read) = bevy::tasks::futures::check_ready(task)
        {
            *self = Self::Read(read);
        }
        match self {
            Self::Reading(_) => None,
            Self::Read(read) => Some(read),
        }
    }
}
