//! Figures for Bevy's `DiagnosticsStore`.

use bevy::{
    diagnostic::{Diagnostic, DiagnosticPath, Diagnostics, RegisterDiagnostic},
    prelude::*,
};
use facelink_net::{ConnectionStats, EndpointStats, SourceKind};

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
/// Open connections and live UDP sources, those that we dialled among them.
pub const CONNECTIONS: DiagnosticPath = DiagnosticPath::const_new("facelink/connections");
/// Mean of the connections' average latencies, milliseconds.
pub const AVERAGE_LATENCY: DiagnosticPath = DiagnosticPath::const_new("facelink/average_latency");
/// Messages and datagrams a second, of all connections together.
pub const MESSAGES_PER_SECOND: DiagnosticPath = DiagnosticPath::const_new("facelink/messages_per_second");
/// Bytes that wait in data channels, of all connections together.
pub const BUFFERED: DiagnosticPath = DiagnosticPath::const_new("facelink/buffered");

/// The endpoint's figures, a quarter of a second old at most.
#[derive(Resource, Debug, Default, Clone)]
pub struct LinkFigures {
    /// Of the endpoint and its subjects.
    pub endpoint: EndpointStats,
    /// Of every connection, oldest first.
    pub connections: Vec<ConnectionStats>,
}

impl LinkFigures {
    /// The connections to others: all but the faces that this very game sends.
    pub fn others(&self) -> impl Iterator<Item = &ConnectionStats> {
        self.connections.iter().filter(|connection| connection.transport != SourceKind::Game)
    }
}

pub(crate) fn register(app: &mut App) {
    app.register_diagnostic(Diagnostic::new(FRAMES_PER_SECOND).with_suffix(" fps"))
        .register_diagnostic(Diagnostic::new(LATENCY).with_suffix(" ms"))
        .register_diagnostic(Diagnostic::new(JITTER).with_suffix(" ms"))
        .register_diagnostic(Diagnostic::new(LOSS).with_suffix(" %"))
        .register_diagnostic(Diagnostic::new(REFUSED))
        .register_diagnostic(Diagnostic::new(CONNECTIONS))
        .register_diagnostic(Diagnostic::new(AVERAGE_LATENCY).with_suffix(" ms"))
        .register_diagnostic(Diagnostic::new(MESSAGES_PER_SECOND))
        .register_diagnostic(Diagnostic::new(BUFFERED).with_suffix(" B"))
        .add_systems(PostUpdate, measure);
}

fn measure(
    mut diagnostics: Diagnostics,
    figures: Res<LinkFigures>,
    time: Res<Time<Real>>,
    mut before: Local<Option<(f64, u64)>>,
) {
    if !figures.is_changed() {
        return;
    }
    let subjects = &figures.endpoint.subjects;
    let highest = |values: &mut dyn Iterator<Item = f32>| f64::from(values.fold(0.0, f32::max));
    diagnostics.add_measurement(&FRAMES_PER_SECOND, || subjects.iter().map(|s| f64::from(s.fps)).sum());
    diagnostics.add_measurement(&LATENCY, || highest(&mut subjects.iter().filter_map(|s| s.latency_ms)));
    diagnostics.add_measurement(&JITTER, || highest(&mut subjects.iter().map(|s| s.jitter_ms)));
    diagnostics.add_measurement(&LOSS, || 100.0 * highest(&mut subjects.iter().filter_map(|s| s.loss)));
    diagnostics.add_measurement(&REFUSED, || figures.endpoint.refused as f64);
    let connections = &figures.connections;
    diagnostics.add_measurement(&CONNECTIONS, || figures.others().count() as f64);
    let latencies = || connections.iter().filter_map(|connection| connection.average_latency_ms);
    if latencies().next().is_some() {
        let mean = latencies().map(f64::from).sum::<f64>() / latencies().count() as f64;
        diagnostics.add_measurement(&AVERAGE_LATENCY, || mean);
    }
    diagnostics.add_measurement(&BUFFERED, || connections.iter().map(|c| c.buffered_amount as f64).sum());
    let (now, messages) = (time.elapsed_secs_f64(), connections.iter().map(|c| c.message_count).sum::<u64>());
    // A connection that ended took its count along: then there is nothing to tell.
    if let Some((then, count)) = before.replace((now, messages))
        && now > then
        && messages >= count
    {
        diagnostics.add_measurement(&MESSAGES_PER_SECOND, || (messages - count) as f64 / (now - then));
    }
}
