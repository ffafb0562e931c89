//! What was shown, next to what the face really was.

use std::{fmt::Display, time::Duration};

use facelink::BLENDSHAPE_COUNT;

use crate::face::PERFORMANCE;

/// So long after the first face, clocks and jitter buffer are settled.
pub(crate) const SETTLED: Duration = Duration::from_millis(1500);
/// The truth is evaluated so often, and lags are tried in such steps.
const GRID: Duration = Duration::from_millis(5);
const MAX_LAG: usize = 80;
/// A change of a weight in one rendered frame that is seen.
const POP: f32 = 0.03;

type Weights = [f32; BLENDSHAPE_COUNT];

/// All that was shown of a face, and what came for it.
#[derive(Default)]
pub(crate) struct Samples {
    shown: Vec<(Duration, Weights)>,
    arrived: usize,
    bytes: usize,
    pub refused: usize,
}

/// The result for one client.
pub(crate) struct Outcome {
    /// Mean size of what came for the face.
    pub bytes_each: f32,
    /// Of all weights in all rendered frames, against the true face so much earlier as fits best.
    pub rms: f32,
    /// 99 % of the rendered frames have no weight that is further off.
    pub worst: f32,
    /// Rendered frames a minute in which a weight changes by more than the true face's does anywhere around.
    pub pops: f32,
    /// By how much that is earlier.
    pub age: Duration,
    /// What a face that stands still would get for `rms`.
    pub rms_of_still: f32,
}

impl Samples {
    pub fn arrived(&mut self, bytes: usize) {
        self.arrived += 1;
        self.bytes += bytes;
    }

    pub fn refused(&mut self, error: &dyn Display) {
        self.refused += 1;
        eprintln!("a payload was refused: {error}");
    }

    pub fn show(&mut self, at: Duration, weights: Weights) {
        self.shown.push((at, weights));
    }

    /// Since the start of the trial.
    pub fn first(&self) -> Option<Duration> {
        self.shown.first().map(|(at, _)| *at)
    }

    /// `None` where nothing was shown for long enough.
    pub fn judge(&self) -> Option<Outcome> {
        let settled = self.first()? + SETTLED;
        let shown: Vec<_> = self.shown.iter().filter(|(at, _)| *at >= settled).collect();
        let end = self.shown.last()?.0;
        let truth: Vec<Weights> = (0..=(end.as_millis() / GRID.as_millis()) as u32 + 1)
            .map(|i| PERFORMANCE.frame_at(GRID * i).weights)
            .collect();
        let true_at = |at: Duration| -> Weights {
            let place = at.as_secs_f64() / GRID.as_secs_f64();
            let (a, b) =
                (truth[(place as usize).min(truth.len() - 2)], truth[(place as usize + 1).min(truth.len() - 1)]);
            let into = place.fract() as f32;
            std::array::from_fn(|shape| a[shape] + (b[shape] - a[shape]) * into)
        };
        let rms = |truth: &dyn Fn(Duration) -> Weights| {
            let squares: f64 = shown
                .iter()
                .flat_map(|(at, weights)| truth(*at).into_iter().zip(weights))
                .map(|(truth, shown)| f64::from(truth - shown).powi(2))
                .sum();
            (squares / (shown.len() * BLENDSHAPE_COUNT) as f64).sqrt() as f32
        };
        let (age, best) = (0..MAX_LAG)
            .map(|lag| GRID * lag as u32)
            .map(|lag| (lag, rms(&|at| true_at(at.saturating_sub(lag)))))
            .min_by(|a, b| a.1.total_cmp(&b.1))?;
        let mut worst: Vec<f32> = shown
            .iter()
            .map(|(at, weights)| {
                let truth = true_at(at.saturating_sub(age));
                weights.iter().zip(truth).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
            })
            .collect();
        worst.sort_by(f32::total_cmp);
        let pops = shown.windows(2).filter(|pair| {
            let (since, step) = (pair[0].0, pair[1].0 - pair[0].0);
            // A tenth of a second before and after, at 60 rendered frames a second.
            let around: Vec<_> = (0..13).map(|k| true_at((since + step * k).saturating_sub(age + step * 6))).collect();
            (0..BLENDSHAPE_COUNT).any(|shape| {
                let most = around.windows(2).map(|two| (two[1][shape] - two[0][shape]).abs()).fold(0.0, f32::max);
                (pair[1].1[shape] - pair[0].1[shape]).abs() > most + POP
            })
        });
        Some(Outcome {
            pops: pops.count() as f32 / (end - settled).as_secs_f32() * 60.0,
            bytes_each: self.bytes as f32 / self.arrived as f32,
            rms: best,
            worst: *worst.get(worst.len() * 99 / 100)?,
            age,
            rms_of_still: rms_of_still(&truth),
        })
    }
}

fn rms_of_still(truth: &[Weights]) -> f32 {
    let squares: f64 = (0..BLENDSHAPE_COUNT)
        .map(|shape| {
            let mean = truth.iter().map(|weights| f64::from(weights[shape])).sum::<f64>() / truth.len() as f64;
            truth.iter().map(|weights| (f64::from(weights[shape]) - mean).powi(2)).sum::<f64>()
        })
        .sum();
    (squares / (truth.len() * BLENDSHAPE_COUNT) as f64).sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(face: impl Fn(Duration) -> Weights) -> Samples {
        let mut samples = Samples::default();
        for frame in 60..600_u32 {
            let at = Duration::from_millis(16) * frame;
            samples.arrived(30);
            samples.show(at, face(at));
        }
        samples
    }

    #[test]
    fn true_face_has_its_age_and_no_error() {
        let late = Duration::from_millis(120);
        let outcome = shown(|at| PERFORMANCE.frame_at(at - late).weights).judge().expect("long enough");
        assert_eq!(outcome.age, late);
        assert!(outcome.rms < 0.001, "{}", outcome.rms);
        assert_eq!(outcome.pops, 0.0);
        assert_eq!(outcome.bytes_each, 30.0);
    }

    #[test]
    fn held_face_pops() {
        let step = |at: Duration| Duration::from_millis(at.as_millis() as u64 / 100 * 100);
        let outcome = shown(|at| PERFORMANCE.frame_at(step(at)).weights).judge().expect("long enough");
        assert!(outcome.pops > 100.0, "{}", outcome.pops);
    }

    #[test]
    fn other_face_is_told_from_the_true_one() {
        let other = facelink::performer::Performance::new(12);
        let outcome = shown(|at| other.frame_at(at).weights).judge().expect("long enough");
        assert!(outcome.rms > 0.8 * outcome.rms_of_still, "{} {}", outcome.rms, outcome.rms_of_still);
        assert!(Samples::default().judge().is_none());
    }
}
