//! Speech that is known beforehand: a line of dialogue and its visemes.

use serde::Deserialize;

use super::speech::{ARTICULATORS, articulator, closure};
use crate::{
    names::{BLENDSHAPE_COUNT, Blendshape},
    wire::viseme::Viseme,
};

/// Seconds about a segment within which an articulator approaches it, or still leaves it.
const REACH: [f64; ARTICULATORS] = [0.055, 0.038, 0.085, 0.06, 0.045];
/// Beyond this distance nothing of a segment is left.
const FARTHEST: f64 = 0.3;

/// A line of dialogue cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, field `{field}`: {message}")]
pub struct TrackError {
    /// From 1; for JSON, the cue's number.
    pub line: usize,
    /// Which field.
    pub field: &'static str,
    /// The reason.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Segment {
    start: f64,
    end: f64,
    viseme: Viseme,
    weight: f32,
}

/// Visemes with their times, seconds. The mouth at any moment is a blend of the segments around it, each with the
/// influence that it has on each articulator (dominance functions after Cohen and Massaro, 1993): lips move
/// before a sound, rounding long before, and closures are reached.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VisemeTrack {
    segments: Vec<Segment>,
}

#[derive(Deserialize)]
struct Rhubarb {
    #[serde(rename = "mouthCues")]
    cues: Vec<Cue>,
}

#[derive(Deserialize)]
struct Cue {
    start: f64,
    end: f64,
    value: String,
}

fn rhubarb(letter: &str, line: usize) -> Result<Viseme, TrackError> {
    Viseme::from_rhubarb_letter(letter).ok_or_else(|| TrackError {
        line,
        field: "value",
        message: format!("`{letter}` is none of Rhubarb's mouths A to H and X"),
    })
}

fn seconds(text: Option<&str>, line: usize, field: &'static str) -> Result<f64, TrackError> {
    let text = text.unwrap_or_default();
    let time = text.trim().parse::<f64>().ok().filter(|time| time.is_finite() && *time >= 0.0);
    time.ok_or_else(|| TrackError { line, field, message: format!("`{text}` is no time in seconds") })
}

impl VisemeTrack {
    /// From starts, ends and visemes with their weights, in any order; what lies between is silence.
    ///
    /// # Errors
    /// When a time or weight is no finite number, or a segment ends before it starts.
    pub fn new(segments: impl IntoIterator<Item = (f64, f64, Viseme, f32)>) -> Result<Self, TrackError> {
        let mut sorted = Vec::new();
        for (index, (start, end, viseme, weight)) in segments.into_iter().enumerate() {
            let error = |field, message: &str| TrackError { line: index + 1, field, message: message.to_owned() };
            if !start.is_finite() || start < 0.0 {
                return Err(error("start", "must be a time in seconds"));
            }
            if !(end.is_finite() && end >= start) {
                return Err(error("end", "must be a time in seconds, not before the start"));
            }
            if !weight.is_finite() {
                return Err(error("weight", "must be a finite number"));
            }
            sorted.push(Segment { start, end, viseme, weight: weight.clamp(0.0, 1.0) });
        }
        sorted.sort_by(|a, b| a.start.total_cmp(&b.start));
        let mut segments: Vec<Segment> = Vec::with_capacity(2 * sorted.len() + 2);
        let mut until = 0.0;
        let silence = |start, end| Segment { start, end, viseme: Viseme::Sil, weight: 1.0 };
        for segment in sorted {
            if segment.start > until {
                segments.push(silence(until, segment.start));
            }
            // The later one has the time that two want.
            if let Some(before) = segments.last_mut() {
                before.end = before.end.min(segment.start);
            }
            until = segment.end;
            segments.push(segment);
        }
        segments.push(silence(until, until + 1e6));
        Ok(Self { segments })
    }

    /// Reads what `rhubarb -f tsv` writes: lines of a time and a letter
    /// ([Rhubarb Lip Sync](https://github.com/DanielSWolf/rhubarb-lip-sync)).
    ///
    /// # Errors
    /// Names line and field.
    pub fn from_rhubarb_tsv(text: &str) -> Result<Self, TrackError> {
        let mut cues: Vec<(f64, Viseme)> = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let mut fields = line.split_whitespace();
            let start = seconds(fields.next(), index + 1, "start")?;
            cues.push((start, rhubarb(fields.next().unwrap_or_default(), index + 1)?));
        }
        let ends = cues.iter().skip(1).map(|(start, _)| *start).chain(cues.last().map(|(start, _)| *start));
        Self::new(cues.iter().zip(ends).map(|((start, viseme), end)| (*start, end.max(*start), *viseme, 1.0)))
    }

    /// Reads what `rhubarb -f json` writes: `mouthCues` with `start`, `end` and `value`.
    ///
    /// # Errors
    /// Names the cue and the field.
    pub fn from_rhubarb_json(text: &str) -> Result<Self, TrackError> {
        let Rhubarb { cues } = serde_json::from_str(text).map_err(|error| TrackError {
            line: error.line().max(1),
            field: "mouthCues",
            message: error.to_string(),
        })?;
        let mut segments = Vec::new();
        for (index, cue) in cues.iter().enumerate() {
            segments.push((cue.start, cue.end, rhubarb(&cue.value, index + 1)?, 1.0));
        }
        Self::new(segments)
    }

    /// Reads lines of a start, an end and an ARPAbet phoneme, as forced aligners write them: `0.21 0.29 AH0`.
    ///
    /// # Errors
    /// Names line and field.
    pub fn from_phonemes(text: &str) -> Result<Self, TrackError> {
        let mut segments = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let mut fields = line.split_whitespace();
            let start = seconds(fields.next(), index + 1, "start")?;
            let end = seconds(fields.next(), index + 1, "end")?;
            let phoneme = fields.next().unwrap_or_default();
            let viseme = Viseme::from_phoneme(phoneme).ok_or_else(|| TrackError {
                line: index + 1,
                field: "phoneme",
                message: format!("`{phoneme}` is no ARPAbet phoneme"),
            })?;
            if end < start {
                return Err(TrackError { line: index + 1, field: "end", message: "is before the start".to_owned() });
            }
            segments.push((start, end, viseme, 1.0));
        }
        Self::new(segments)
    }

    /// Seconds until the last sound has ended.
    pub fn duration(&self) -> f64 {
        self.segments.last().map_or(0.0, |silence| silence.start)
    }

    /// The viseme at a time, seconds from the start.
    pub fn viseme_at(&self, t: f64) -> Option<(Viseme, f32)> {
        let after = self.segments.partition_point(|segment| segment.start <= t);
        let segment = self.segments.get(after.checked_sub(1)?).filter(|segment| t < segment.end)?;
        Some((segment.viseme, segment.weight))
    }

    /// The mouth at a moment, seconds from the start: weights by [`Blendshape::index`].
    pub fn sample(&self, t: f64, shapes: &mut [f32; BLENDSHAPE_COUNT]) {
        *shapes = [0.0; BLENDSHAPE_COUNT];
        // Segments do not overlap, so their ends are in order too.
        let first = self.segments.partition_point(|segment| segment.end < t - FARTHEST);
        let mut all = [0.0_f32; ARTICULATORS];
        let mut sealed = 0.0_f32;
        for segment in self.segments[first..].iter().take_while(|segment| segment.start <= t + FARTHEST) {
            let away = (segment.start - t).max(t - segment.end).max(0.0);
            let closure = closure(segment.viseme) * segment.weight;
            let mut influence = [0.0_f32; ARTICULATORS];
            for (influence, reach) in influence.iter_mut().zip(REACH) {
                // A closure does not wait for its neighbours; for it all articulators are quick.
                let (strength, reach) = if closure > 0.0 { (1.0 + 7.0 * closure, REACH[1]) } else { (1.0, reach) };
                *influence = strength * (-(away / reach).powi(2)).exp() as f32;
            }
            for (all, influence) in all.iter_mut().zip(influence) {
                *all += influence;
            }
            sealed += closure * influence[1];
            for (shape, share) in segment.viseme.shapes() {
                shapes[shape.index()] += share * segment.weight * influence[articulator(*shape) as usize];
            }
        }
        for (shape, weight) in Blendshape::ALL.into_iter().zip(shapes.iter_mut()) {
            *weight /= all[articulator(shape) as usize].max(1e-6);
        }
        let jaw = shapes[Blendshape::JawOpen.index()];
        let close = &mut shapes[Blendshape::MouthClose.index()];
        *close = close.max(jaw * (sealed / all[1].max(1e-6)).min(1.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(track: &VisemeTrack, t: f64) -> [f32; BLENDSHAPE_COUNT] {
        let mut shapes = [0.0; BLENDSHAPE_COUNT];
        track.sample(t, &mut shapes);
        shapes
    }

    #[test]
    fn track_formats_give_the_same_cues() {
        let tsv = VisemeTrack::from_rhubarb_tsv("0.00\tX\n0.20\tA\n0.30\tD\n0.50\tE\n0.70\tX\n").unwrap();
        let json = VisemeTrack::from_rhubarb_json(
            r#"{"metadata":{},"mouthCues":[{"start":0.0,"end":0.2,"value":"X"},{"start":0.2,"end":0.3,"value":"A"},
                {"start":0.3,"end":0.5,"value":"D"},{"start":0.5,"end":0.7,"value":"E"}]}"#,
        )
        .unwrap();
        let phonemes = VisemeTrack::from_phonemes("0.2 0.3 B\n0.3 0.5 AA1\n0.5 0.7 OW0\n").unwrap();
        for t in [0.1, 0.25, 0.4, 0.6] {
            assert_eq!(tsv.viseme_at(t), json.viseme_at(t));
            assert_eq!(phonemes.viseme_at(t), json.viseme_at(t), "{t}");
        }
        assert_eq!(json.viseme_at(0.6), Some((Viseme::Oh, 1.0)), "Rhubarb's E is rounded");
        assert!((phonemes.duration() - 0.7).abs() < 1e-9);
    }

    #[test]
    fn track_error_names_its_line() {
        let error = VisemeTrack::from_rhubarb_tsv("0.0 X\nlater A\n").unwrap_err();
        assert_eq!((error.line, error.field), (2, "start"));
        let error = VisemeTrack::from_rhubarb_tsv("0.0 X\n0.2 Q\n").unwrap_err();
        assert_eq!((error.line, error.field), (2, "value"));
        assert_eq!(VisemeTrack::from_phonemes("0 0.1 AA\n0.1 0.2 QQ").unwrap_err().field, "phoneme");
        assert_eq!(VisemeTrack::from_phonemes("0.5 0.1 AA").unwrap_err().field, "end");
        assert!(VisemeTrack::from_rhubarb_json("{}").is_err());
    }

    #[test]
    fn track_lips_lead_sound_and_reach_closures() {
        let track = VisemeTrack::from_phonemes("0.3 0.5 AA\n0.5 0.56 B\n0.56 0.8 UW\n").unwrap();
        let round = Blendshape::MouthPucker.index();
        let press = Blendshape::MouthPressLeft.index();
        let (jaw, close) = (Blendshape::JawOpen.index(), Blendshape::MouthClose.index());
        assert!(sampled(&track, 0.52)[round] > 0.05, "rounding comes before its vowel");
        let b = sampled(&track, 0.53);
        assert!(b[press] > 0.85 * 0.45, "{}", b[press]);
        assert!(b[jaw] - b[close] < 0.05, "open by {}", b[jaw] - b[close]);
        assert!(sampled(&track, 0.4)[jaw] > 0.5);
        assert!(sampled(&track, 0.27)[jaw] > 0.05, "the jaw starts before the vowel");
        assert_eq!(sampled(&track, 3.0), [0.0; BLENDSHAPE_COUNT]);
    }

    #[test]
    fn track_is_smooth_without_allocation() {
        let text: String = (0..40)
            .map(|i| {
                format!(
                    "{:.2} {:.2} {}\n",
                    0.3 + 0.08 * i as f32,
                    0.3 + 0.08 * (i + 1) as f32,
                    ["AA", "P", "S", "UW", "F", "EH", "TH"][i % 7]
                )
            })
            .collect();
        let track = VisemeTrack::from_phonemes(&text).unwrap();
        let mut last = [0.0; BLENDSHAPE_COUNT];
        let mut largest = 0.0_f32;
        let mut shapes = [0.0; BLENDSHAPE_COUNT];
        let counted = allocation_counter::measure(|| {
            for i in 0..1000 {
                track.sample(f64::from(i) * 0.004, &mut shapes);
                for (now, last) in shapes.iter().zip(&mut last) {
                    largest = largest.max((now - *last).abs());
                    *last = *now;
                }
            }
        });
        assert!(largest < 0.06, "{largest} in 4 ms");
        assert_eq!(counted.count_total, 0);
    }
}
