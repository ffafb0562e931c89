//! Figures for Bevy's `DiagnosticsStore`.

use bevy::{
    diagnostic::{Diagnostic, DiagnosticPath, Diagnostics, RegisterDiagnostic},
    prelude::*,
};
use facelink::link::EndpointStats;

/// Frames a second that arrive, of all subjects together.
pub const FRAMES_PER_SECOND: DiagnosticPath = DiagnosticPath::const_new("facelink/frames_per_second");
/// Highest latency of all subjects, milliseconds.
pub const LATENCY: DiagnosticPath = DiagnosticPath::const_new("facelink/latency");
/// Highest jitter of all subjects, milliseconds.
pub const JITTER: DiagnosticPath = DiagnosticPath::const_new("facelink/jitter");
/// Highest loss of all subjects, percent.
pub const LOSS: DiagnosticPath = DiagnosticPath::const_new("facelink/loss");
/// Messages and datagrams refused since the start.
pub const REFUSED: DiagnosticPath = DiagnosticPath::const_new("facelink/refused");

/// The endpoint's figures, a quarter of a second old at most.
#[derive(Resource, Debug, Default, Clone)]
pub struct LinkFigures(pub EndpointStats);

pub(crate) fn register(app: &mut App) {
    app.register_diagnostic(Diagnostic::new(FRAMES_PER_SECOND).with_suffix(" fps"))
        .register_diagnostic(Diagnostic::new(LATENCY).with_suffix(" ms"))
        .register_diagnostic(Diagnostic::new(JITTER).with_suffix(" ms"))
        .register_diagnostic(Diagnostic::new(LOSS).with_suffix(" %"))
        .register_diagnostic(Diagnostic::new(REFUSED))
        .add_systems(PostUpdate, measure);
}

fn measure(mut diagnostics: Diagnostics, figures: Res<LinkFigures>) {
    if !figures.is_changed() {
        return;
    }
    let subjects = &figures.0.subjects;
    let highest = |values: &mut dyn Iterator<Item = f32>| f64::from(values.fold(0.0, f32::max));
    diagnostics.add_measurement(&FRAMES_PER_SECOND, || subjects.iter().map(|s| f64::from(s.fps)).sum());
    diagnostics.add_measurement(&LATENCY, || highest(&mut subjects.iter().filter_map(|s| s.latency_ms)));
    diagnostics.add_measurement(&JITTER, || highest(&mut subjects.iter().map(|s| s.jitter_ms)));
    diagnostics.add_measurement(&LOSS, || 100.0 * highest(&mut subjects.iter().filter_map(|s| s.loss)));
    diagnostics.add_measurement(&REFUSED, || figures.0.refused as f64);
}
