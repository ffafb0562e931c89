//! The live table of `facelink listen`.

use std::{collections::HashMap, fmt::Write, io, time::Duration};

use facelink::Blendshape;
use facelink_net::{EndpointStats, SubjectFrame, SubjectId};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Subjects shown at most; the rest is counted.
const ROWS: usize = 24;

/// What of a face the table shows.
#[derive(Clone, Copy, Default)]
struct Face {
    jaw: f32,
    blink: f32,
    smile: f32,
}

pub struct Table {
    screen: MultiProgress,
    bar: ProgressBar,
    faces: HashMap<SubjectId, Face>,
}

impl Table {
    pub fn new() -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(15));
        let bar = screen.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { screen, bar, faces: HashMap::new() }
    }

    /// Prints a line above the table.
    pub fn say(&self, line: &str) -> io::Result<()> {
        self.screen.println(line)
    }

    /// Keeps what the next drawing shows of a face.
    pub fn take(&mut self, frame: &SubjectFrame) {
        let weight = |shape: Blendshape| frame.frame.get(shape).unwrap_or(0.0);
        self.faces.insert(
            frame.id,
            Face {
                jaw: weight(Blendshape::JawOpen),
                blink: weight(Blendshape::EyeBlinkLeft).max(weight(Blendshape::EyeBlinkRight)),
                smile: 0.5 * (weight(Blendshape::MouthSmileLeft) + weight(Blendshape::MouthSmileRight)),
            },
        );
    }

    pub fn draw(&mut self, stats: &EndpointStats) {
        self.faces.retain(|id, _| stats.subjects.iter().any(|subject| subject.id == *id));
        self.bar.set_message(self.text(stats));
    }

    fn text(&self, stats: &EndpointStats) -> String {
        if stats.subjects.is_empty() {
            return format!("Waiting for a face.{}", refused(stats));
        }
        let mut text = format!(
            "{:<20} {:<14} {:<5} {:>5} {:>8} {:>8} {:>6}  {:<8} {:<8} {:<8}",
            "SUBJECT", "SOURCE", "FACE", "FPS", "LATENCY", "JITTER", "LOSS", "JAW", "BLINK", "SMILE"
        );
        for subject in stats.subjects.iter().take(ROWS) {
            let face = self.faces.get(&subject.id).copied().unwrap_or_default();
            let latency = subject.latency_ms.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
            let loss = subject.loss.map_or("-".to_owned(), |loss| format!("{:.1} %", 100.0 * loss));
            let jitter = format!("{:.1} ms", subject.jitter_ms);
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n{:<20} {:<14} {:<5} {:>5.1} {latency:>8} {jitter:>8} {loss:>6}  {:<8} {:<8} {:<8}",
                shortened(&subject.name, 20),
                subject.source.as_str(),
                match (subject.enabled, subject.tracked) {
                    (false, _) => "off",
                    (true, true) => "yes",
                    (true, false) => "lost",
                },
                subject.fps,
                gauge(face.jaw),
                gauge(face.blink),
                gauge(face.smile),
            );
        }
        if stats.subjects.len() > ROWS {
            let _ = write!(text, "\n... and {} more", stats.subjects.len() - ROWS);
        }
        let _ = write!(text, "\n{} connections{}", stats.connections, refused(stats));
        text
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.bar.abandon();
    }
}

fn refused(stats: &EndpointStats) -> String {
    match stats.refused {
        0 => String::new(),
        count => format!("  {count} messages refused (RUST_LOG=facelink=debug says why)"),
    }
}

/// A bar of eight cells for `0..=1`.
fn gauge(weight: f32) -> String {
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (weight.clamp(0.0, 1.0) * 64.0).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    bar.extend(PARTS.get(eighths % 8).filter(|part| **part != ' '));
    bar
}

fn shortened(name: &str, width: usize) -> String {
    let name = printable(name);
    if name.chars().count() <= width {
        return name;
    }
    name.chars().take(width - 1).chain(['…']).collect()
}

/// Slate and number of a take; the number alone where the slate is the usual one.
pub fn take_name(slate: &str, take: u32) -> String {
    if slate == "take" { format!("take {take}") } else { format!("{} take {take}", printable(slate)) }
}

/// A name from the network without what could move a terminal's cursor.
pub fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_gauges_are_drawn() {
        assert_eq!(gauge(0.0), "");
        assert_eq!(gauge(0.5), "████");
        assert_eq!(gauge(f32::NAN), "");
        assert_eq!(gauge(2.0), "████████");
        assert_eq!(gauge(0.55), "████▍");
    }

    #[test]
    fn table_names_are_stripped_of_control_characters() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
        assert_eq!(shortened("Ann", 5), "Ann");
        assert_eq!(shortened("Annabelle", 5), "Anna…");
    }
}
