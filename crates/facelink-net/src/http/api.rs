//! Health, statistics and subjects.

use std::{fmt::Write, time::Instant};

use axum::{
    Json,
    extract::{Extension, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;

use facelink::{
    relay::Layer,
    wire::json::{Weights, WrittenHead},
};

use super::state::{Secure, Server};
use crate::stats::{ConnectionState, ConnectionStats, SubjectStats};

pub(super) async fn health(State(server): State<Server>, Extension(secure): Extension<Secure>) -> Response {
    Json(json!({
        "status": "healthy",
        "https": server.https,
        "secure": secure.0,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": server.hub.started.elapsed().as_secs_f64(),
    }))
    .into_response()
}

pub(super) async fn stats(State(server): State<Server>) -> Response {
    let now = Instant::now();
    let connections = server.hub.connection_stats(now);
    let totals = server.hub.stats(now);
    Json(json!({
        "connections": connections,
        "subjects": totals.subjects.len(),
        "refused": totals.refused,
        "ignored": totals.ignored,
        "overrun": totals.overrun,
        "sealed": totals.sealed,
        "relay": totals.relay,
        "mesh": totals.mesh,
        "obs": totals.obs,
        "timecode": totals.timecode,
        "take": server.takes.status(),
        "uptime_seconds": server.hub.started.elapsed().as_secs_f64(),
    }))
    .into_response()
}

/// The newest frame of a subject, as `/api/v1/subjects` gives it.
#[derive(Serialize)]
struct Newest<'a> {
    name: &'a str,
    source_name: &'a str,
    enabled: bool,
    source: &'a str,
    tracked: bool,
    fps: f32,
    target_fps: f32,
    frame: Option<u64>,
    blendshapes: Weights<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<WrittenHead<'a>>,
}

pub(super) async fn subjects(State(server): State<Server>) -> Response {
    let newest = server.hub.faces(Instant::now());
    let subjects: Vec<_> = newest
        .iter()
        .map(|(frame, stats)| Newest {
            name: &frame.name,
            source_name: &stats.source_name,
            enabled: stats.enabled,
            source: frame.source.as_str(),
            tracked: stats.tracked,
            fps: stats.fps,
            target_fps: stats.target_fps,
            frame: frame.frame.sequence,
            blendshapes: Weights::of(&frame.frame),
            head: frame.frame.head.as_ref().map(WrittenHead::of),
        })
        .collect();
    Json(json!({"subjects": subjects, "rules": server.hub.subjects().rules()})).into_response()
}

/// A label's value by the rules of the text format.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn labels(connection: &ConnectionStats) -> String {
    format!(
        "connection=\"{}\",transport=\"{}\",direction=\"{}\",subject=\"{}\"",
        label(&connection.connection_id),
        connection.transport,
        connection.direction,
        label(connection.subject.as_deref().unwrap_or_default())
    )
}

fn seconds(ms: f32) -> f64 {
    f64::from(ms) / 1000.0
}

/// What comes before the values of a figure. OpenMetrics names a counter without its `_total`.
fn announce(text: &mut String, open_metrics: bool, name: &str, kind: &str, help: &str) {
    let family = if open_metrics { name.strip_suffix("_total").unwrap_or(name) } else { name };
    let _ = writeln!(text, "# HELP facelink_{family} {help}\n# TYPE facelink_{family} {kind}");
}

pub(super) async fn metrics(State(server): State<Server>, headers: HeaderMap) -> Response {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let open_metrics = accepts.flat_map(|value| value.split(',')).any(|kind| {
        let mut parts = kind.split(';').map(str::trim);
        parts.next() == Some("application/openmetrics-text") && parts.all(|part| part != "q=0")
    });
    let stats = server.hub.stats(Instant::now());
    let mut text = String::new();
    let mut single = |name: &str, kind: &str, help: &str, value: f64| {
        announce(&mut text, open_metrics, name, kind, help);
        let _ = writeln!(text, "facelink_{name} {value}");
    };
    single("connections", "gauge", "Open connections and live UDP sources.", stats.connections as f64);
    single("subjects", "gauge", "Live subjects.", stats.subjects.len() as f64);
    single("refused_total", "counter", "Messages, datagrams and connections refused.", stats.refused as f64);
    single("ignored_total", "counter", "Unknown message types and fields.", stats.ignored as f64);
    single("overrun_total", "counter", "Frames replaced before the engine fetched them.", stats.overrun as f64);
    single(
        "uptime_seconds",
        "gauge",
        "Seconds since the endpoint started.",
        server.hub.started.elapsed().as_secs_f64(),
    );
    let relay = &stats.relay;
    single("relay_viewers", "gauge", "Connections that subscribed to something.", relay.viewers as f64);
    single("relay_publishers", "gauge", "Connections that publish faces for viewers.", relay.publishers as f64);
    single("relay_subscriptions", "gauge", "Faces times the viewers that are sent them.", relay.subscriptions as f64);
    single(
        "relay_received_frames_total",
        "counter",
        "Frames that came while there were viewers.",
        relay.frames_in as f64,
    );
    single("relay_sent_packets_total", "counter", "Packets sent to viewers.", relay.sent.packets as f64);
    single("relay_sent_bytes_total", "counter", "Bytes in them.", relay.sent.bytes as f64);
    single("relay_sent_frames_total", "counter", "Frames in them.", relay.sent.frames as f64);
    if let Some(mesh) = &stats.mesh {
        for (name, kind, help, value) in [
            ("links", "gauge", "Relays that it has a link to.", mesh.links as u64),
            ("relays", "gauge", "Other relays that are reached.", mesh.relays as u64),
            ("faces_out", "gauge", "Faces that it publishes to others.", mesh.faces_out as u64),
            ("faces_in", "gauge", "Faces of others that it watches.", mesh.faces_in as u64),
            ("faces", "gauge", "Faces of others that there are.", mesh.faces as u64),
            ("sent_frames_total", "counter", "Frames published.", mesh.frames_out),
            ("sent_bytes_total", "counter", "Bytes in them.", mesh.bytes_out),
            ("received_frames_total", "counter", "Frames of others received.", mesh.frames_in),
            ("received_bytes_total", "counter", "Bytes in them.", mesh.bytes_in),
            ("dropped_total", "counter", "Frames replaced before they were published.", mesh.dropped),
            ("missing_total", "counter", "Frames of others that did not come.", mesh.missing),
            ("duplicates_total", "counter", "Frames of others that came again.", mesh.duplicates),
        ] {
            single(&format!("mesh_{name}"), kind, help, value as f64);
        }
        announce(
            &mut text,
            open_metrics,
            "mesh_refused_total",
            "counter",
            "What was not taken of others, by the reason.",
        );
        for (reason, count) in mesh.refused.each() {
            let _ = writeln!(text, "facelink_mesh_refused_total{{reason=\"{reason}\"}} {count}");
        }
    }
    announce(&mut text, open_metrics, "relay_layer_subscriptions", "gauge", "Subscriptions by the layer in force.");
    for layer in Layer::EVERY {
        let count = relay.layers.get(&layer).copied().unwrap_or(0);
        let _ = writeln!(text, "facelink_relay_layer_subscriptions{{layer=\"{layer}\"}} {count}");
    }
    announce(&mut text, open_metrics, "relay_thinned_frames_total", "counter", "Frames left out, by the reason.");
    let thinned = &relay.sent.thinned;
    for (reason, count) in [("asked", thinned.asked), ("path", thinned.path), ("replaced", thinned.replaced)] {
        let _ = writeln!(text, "facelink_relay_thinned_frames_total{{reason=\"{reason}\"}} {count}");
    }
    type Figure = fn(&SubjectStats) -> Option<f64>;
    let per_subject: [(&str, &str, &str, Figure); 8] = [
        ("frames_total", "counter", "Frames received.", |s| Some(s.frames as f64)),
        ("fps", "gauge", "Frames a second that arrive.", |s| Some(s.fps.into())),
        ("target_fps", "gauge", "Frames a second that the sender is asked for.", |s| Some(s.target_fps.into())),
        ("latency_seconds", "gauge", "Send to arrival.", |s| s.latency_ms.map(|ms| f64::from(ms) / 1000.0)),
        ("jitter_seconds", "gauge", "RFC 3550 interarrival jitter.", |s| Some(f64::from(s.jitter_ms) / 1000.0)),
        ("loss_ratio", "gauge", "Share of frames lost.", |s| s.loss.map(f64::from)),
        ("tracked", "gauge", "1 while a face is tracked.", |s| Some(f64::from(u8::from(s.tracked)))),
        ("enabled", "gauge", "0 while it is disabled.", |s| Some(f64::from(u8::from(s.enabled)))),
    ];
    for (name, kind, help, figure) in per_subject {
        announce(&mut text, open_metrics, &format!("subject_{name}"), kind, help);
        for subject in &stats.subjects {
            if let Some(value) = figure(subject) {
                let label = label(&subject.name);
                let source = subject.source;
                let _ = writeln!(text, "facelink_subject_{name}{{subject=\"{label}\",source=\"{source}\"}} {value}");
            }
        }
    }
    type ConnectionMetric = fn(&ConnectionStats) -> Option<f64>;
    let per_connection: [(&str, &str, &str, ConnectionMetric); 13] = [
        ("up", "gauge", "1 while it answers.", |c| Some(f64::from(u8::from(c.state == ConnectionState::Connected)))),
        ("latency_seconds", "gauge", "Average of send to arrival.", |c| c.average_latency_ms.map(seconds)),
        ("rtt_seconds", "gauge", "Average round trip.", |c| c.rtt_ms.map(seconds)),
        ("messages_total", "counter", "Messages received.", |c| Some(c.message_count as f64)),
        ("data_channel_open", "gauge", "1 while its data channel is open.", |c| {
            Some(f64::from(u8::from(c.data_channel_state == "open")))
        }),
        ("buffered_bytes", "gauge", "Bytes that wait in its data channel.", |c| Some(c.buffered_amount as f64)),
        ("loss_ratio", "gauge", "Share of frames lost.", |c| c.loss.map(f64::from)),
        ("jitter_seconds", "gauge", "RFC 3550 interarrival jitter.", |c| c.jitter_ms.map(seconds)),
        ("received_bytes_total", "counter", "Bytes received.", |c| Some(c.bytes_received as f64)),
        ("sent_bytes_total", "counter", "Bytes sent.", |c| Some(c.bytes_sent as f64)),
        ("refused_total", "counter", "Messages refused.", |c| Some(c.refused as f64)),
        ("dropped_total", "counter", "Messages and frames outwards that found no room.", |c| Some(c.dropped as f64)),
        ("deltas_total", "counter", "Frames that came as what changed, for a thin uplink.", |c| Some(c.deltas as f64)),
    ];
    let connections = server.hub.connection_stats(Instant::now());
    for (name, kind, help, figure) in per_connection {
        announce(&mut text, open_metrics, &format!("connection_{name}"), kind, help);
        for connection in &connections {
            if let Some(value) = figure(connection) {
                let _ = writeln!(text, "facelink_connection_{name}{{{}}} {value}", labels(connection));
            }
        }
    }
    announce(&mut text, open_metrics, "connection_state", "gauge", "1 for the state that it is in, 0 for the others.");
    for connection in &connections {
        for state in [ConnectionState::Connecting, ConnectionState::Connected, ConnectionState::Stalled] {
            let (labels, name, value) = (labels(connection), state.as_str(), u8::from(connection.state == state));
            let _ = writeln!(text, "facelink_connection_state{{{labels},state=\"{name}\"}} {value}");
        }
    }
    let kind = if open_metrics {
        text.push_str("# EOF\n");
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        "text/plain; version=0.0.4; charset=utf-8"
    };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_labels_are_escaped() {
        assert_eq!(label("plain"), "plain");
        assert_eq!(label("a\\b\"c\nd"), r#"a\\b\"c\nd"#);
        assert_eq!(label("\\n"), r"\\n", "a backslash and an n are no line break");
    }
}
