//! Statistics for Bevy's `DiagnosticsStore`.

use bevy::{
    diagnostic::{Diagnostic, DiagnosticPath, Diagnostics, RegisterDiagnostic},
    prelude::*,
};
use facelink_net::{ConnectionStats, EndpointStats, SourceKind};

use crate::{
    endpoint::FaceLinkEndpoint,
    sets::FaceLinkSystems,
    subjects::{FaceSubject, LinkQuality},
};

/// Seconds between two reads of the statistics.
const STATS_INTERVAL: f32 = 0.25;

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

/// The endpoint's statistics, at most a quarter of a second old.
#[derive(Resource, Debug, Default, Clone)]
pub struct LinkStats {
    /// Of the endpoint and its subjects.
    pub endpoint: EndpointStats,
    /// Of every connection, oldest first.
    pub connections: Vec<ConnectionStats>,
}

impl LinkStats {
    /// The connections to others: all but the faces that this very game sends.
    pub fn others(&self) -> impl Iterator<Item = &ConnectionStats> {
        self.connections.iter().filter(|connection| connection.transport != SourceKind::Game)
    }
}

pub(crate) struct DiagnosticsPlugin;

impl Plugin for DiagnosticsPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<LinkStats>()
            .register_diagnostic(Diagnostic::new(FRAMES_PER_SECOND).with_suffix(" fps"))
            .register_diagnostic(Diagnostic::new(LATENCY).with_suffix(" ms"))
            .register_diagnostic(Diagnostic::new(JITTER).with_suffix(" ms"))
            .register_diagnostic(Diagnostic::new(LOSS).with_suffix(" %"))
            .register_diagnostic(Diagnostic::new(REFUSED))
            .register_diagnostic(Diagnostic::new(CONNECTIONS))
            .register_diagnostic(Diagnostic::new(AVERAGE_LATENCY).with_suffix(" ms"))
            .register_diagnostic(Diagnostic::new(MESSAGES_PER_SECOND))
            .register_diagnostic(Diagnostic::new(BUFFERED).with_suffix(" B"))
            .add_systems(PreUpdate, read_stats.after(FaceLinkSystems::Receive))
            .add_systems(PostUpdate, measure);
    }
}

/// Copies the endpoint's statistics to the subjects, four times a second.
pub(crate) fn read_stats(
    time: Res<Time<Real>>,
    mut since: Local<f32>,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    mut faces: Query<(&FaceSubject, &mut LinkQuality)>,
    mut link_stats: ResMut<LinkStats>,
) {
    *since += time.delta_secs();
    if *since < STATS_INTERVAL {
        return;
    }
    *since = 0.0;
    let Some(endpoint) = endpoint else {
        // It was stopped.
        if !(link_stats.connections.is_empty() && link_stats.endpoint.subjects.is_empty()) {
            *link_stats = LinkStats::default();
        }
        return;
    };
    let stats = endpoint.stats();
    for (subject, mut quality) in &mut faces {
        let Some(stats) = stats.subjects.iter().find(|stats| Some(stats.id) == subject.id()) else { continue };
        *quality = LinkQuality {
            transport: Some(stats.source),
            fps: stats.fps,
            target_fps: stats.target_fps,
            latency_ms: stats.latency_ms,
            jitter_ms: stats.jitter_ms,
            loss: stats.loss,
            frames: stats.frames,
            age_ms: stats.age_ms,
            queue_ms: stats.queue_ms,
            skew_ppm: stats.skew_ppm,
            redundancy: stats.redundancy,
            webcam: stats.webcam,
            address: stats.address.map(|address| address.to_string()),
        };
    }
    link_stats.endpoint = stats;
    link_stats.connections = endpoint.connections();
}

fn measure(
    mut diagnostics: Diagnostics,
    link_stats: Res<LinkStats>,
    time: Res<Time<Real>>,
    mut before: Local<Option<(f64, u64)>>,
) {
    if !link_stats.is_changed() {
        return;
    }
    let subjects = &link_stats.endpoint.subjects;
    let highest = |values: &mut dyn Iterator<Item = f32>| f64::from(values.fold(0.0, f32::max));
    diagnostics.add_measurement(&FRAMES_PER_SECOND, || subjects.iter().map(|s| f64::from(s.fps)).sum());
    diagnostics.add_measurement(&LATENCY, || highest(&mut subjects.iter().filter_map(|s| s.latency_ms)));
    diagnostics.add_measurement(&JITTER, || highest(&mut subjects.iter().map(|s| s.jitter_ms)));
    diagnostics.add_measurement(&LOSS, || 100.0 * highest(&mut subjects.iter().filter_map(|s| s.loss)));
    diagnostics.add_measurement(&REFUSED, || link_stats.endpoint.refused as f64);
    let connections = &link_stats.connections;
    diagnostics.add_measurement(&CONNECTIONS, || link_stats.others().count() as f64);
    let latencies = || connections.iter().filter_map(|connection| connection.average_latency_ms);
    if latencies().next().is_some() {
        let mean = latencies().map(f64::from).sum::<f64>() / latencies().count() as f64;
        diagnostics.add_measurement(&AVERAGE_LATENCY, || mean);
    }
    diagnostics.add_measurement(&BUFFERED, || connections.iter().map(|c| c.buffered_amount as f64).sum());
    let (now, messages) = (time.elapsed_secs_f64(), connections.iter().map(|c| c.message_count).sum::<u64>());
    // A connection that ended took its count along: then there is nothing to report.
    if let Some((then, count)) = before.replace((now, messages))
        && now > then
        && messages >= count
    {
        diagnostics.add_measurement(&MESSAGES_PER_SECOND, || (messages - count) as f64 / (now - then));
    }
}
