//! Sources: where faces come from, and where ours go.

use bevy::prelude::*;
#[cfg(sockets)]
use facelink_net::ServerTrust;
use facelink_net::{Client, ClientConfig, ClientState, ConnectionState, ConnectionStats, LinkEvent, SourceKind};

use crate::{
    diagnostics::{LinkStats, read_stats},
    endpoint::FaceLinkEndpoint,
    input::LinkMessage,
    lifecycle::{self, ComponentRemoved},
    sets::{FaceLinkSystems, Step},
};

pub(crate) struct SourcesPlugin;

impl Plugin for SourcesPlugin {
    fn build(&self, app: &mut App) {
        app.register_type::<FaceSource>()
            .register_type::<SourceQuality>()
            .register_type::<FaceDial>()
            .add_observer(on_dial_removed)
            .add_systems(
                PreUpdate,
                (
                    come_and_go.in_set(Step::React),
                    read_sources.after(read_stats),
                    (dial, watch_dials).chain().after(FaceLinkSystems::Receive),
                ),
            );
    }
}

/// A connection, a phone that sends datagrams, or an endpoint that we dialled.
#[derive(Component, Reflect, Clone, Debug, Default, PartialEq, Eq)]
#[reflect(Component, Default)]
#[require(SourceQuality)]
pub struct FaceSource {
    /// Its id in the statistics; empty until it has one.
    pub connection_id: String,
    /// What carries its frames now.
    pub kind: Option<SourceKind>,
    /// Where it comes from, or where we dialled.
    pub address: Option<String>,
    /// What it is doing.
    pub state: SourceState,
}

/// What a source is doing.
#[derive(Reflect, Clone, Debug, Default, PartialEq, Eq)]
#[reflect(Default)]
pub enum SourceState {
    /// Connecting, for the first time or again.
    #[default]
    Connecting,
    /// It answers.
    Connected,
    /// Nothing was heard of it for two seconds.
    Stalled,
    /// The last attempt failed; the next one follows after the backoff.
    Waiting {
        /// Why, in words.
        reason: String,
    },
    /// Given up.
    Refused {
        /// Why, in words.
        reason: String,
    },
}

/// Live statistics of a source, by the names of the migration guide; at most a quarter of a second old.
#[derive(Component, Reflect, Clone, Debug, Default, PartialEq)]
#[reflect(Component, Default)]
pub struct SourceQuality {
    /// `in` for a client or a phone, `out` for an endpoint that we dialled, `peer` for a room peer.
    pub direction: String,
    /// Face that it sent last.
    pub subject: Option<String>,
    /// What it calls itself.
    pub client: Option<String>,
    /// Capture (or send) to arrival, milliseconds, where it can be known.
    pub average_latency_ms: Option<f32>,
    /// Round trip, milliseconds.
    pub rtt_ms: Option<f32>,
    /// Messages and datagrams received.
    pub message_count: u64,
    /// `none`, `connecting`, `open` or `closed`.
    pub data_channel_state: String,
    /// Bytes that wait in the data channel.
    pub buffered_amount: u64,
    /// Share of frames lost, `0..=1`, where they are numbered.
    pub loss: Option<f32>,
    /// RFC 3550 interarrival jitter, milliseconds.
    pub jitter_ms: Option<f32>,
    /// Route of its WebRTC packets, such as `udp host-prflx` or `udp relay-host`.
    pub route: Option<String>,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
}

impl SourceQuality {
    fn of(stats: &ConnectionStats) -> Self {
        Self {
            direction: stats.direction.to_owned(),
            subject: stats.subject.as_deref().map(Into::into),
            client: stats.client.as_deref().map(Into::into),
            average_latency_ms: stats.average_latency_ms,
            rtt_ms: stats.rtt_ms,
            message_count: stats.message_count,
            data_channel_state: stats.data_channel_state.to_owned(),
            buffered_amount: stats.buffered_amount,
            loss: stats.loss,
            jitter_ms: stats.jitter_ms,
            route: stats.route.clone(),
            bytes_received: stats.bytes_received,
            bytes_sent: stats.bytes_sent,
        }
    }
}

impl FaceSource {
    /// Dials another FaceLink endpoint, or a signalling server: spawn what this gives.
    ///
    /// ```no_run
    /// # use bevy::prelude::*;
    /// # use bevy_facelink::FaceSource;
    /// fn dial(mut commands: Commands) {
    ///     commands.spawn(FaceSource::connect("wss://show.example:8765").subject("Ann"));
    /// }
    /// ```
    ///
    /// The faces of that endpoint appear here like any others, and faces with [`SendFace`](crate::SendFace) go there.
    /// The connection keeps itself alive; [`FaceSource::state`] says how it fares. Despawning the entity, or removing
    /// [`FaceDial`], closes it.
    pub fn connect(url: impl Into<String>) -> FaceDial {
        FaceDial {
            url: url.into(),
            subject: None,
            token: None,
            room: None,
            fingerprint: None,
            receive: true,
            send: true,
            webrtc: true,
        }
    }
}

/// Where to dial, and as whom. Made by [`FaceSource::connect`]; changing it dials anew.
#[derive(Component, Reflect, Clone, Debug, PartialEq, Eq)]
#[component(on_remove = lifecycle::removed::<Self>)]
#[reflect(Component)]
#[require(FaceSource)]
pub struct FaceDial {
    /// Address such as `wss://192.0.2.7:8765`; `https://` and `host:port` are taken too.
    pub url: String,
    /// Name of the connection's own face.
    pub subject: Option<String>,
    /// Pairing token.
    pub token: Option<String>,
    /// Room in which to meet others, to exchange faces with them directly.
    pub room: Option<String>,
    /// SHA-256 of the certificate that the endpoint shows, if it made its own; see
    /// [`Endpoint::certificate_fingerprint`](facelink_net::EndpointControl::certificate_fingerprint). A browser checks certificates
    /// itself: there a source with one is refused.
    pub fingerprint: Option<String>,
    /// Whether its faces are wanted here.
    pub receive: bool,
    /// Whether faces with [`SendFace`](crate::SendFace) go there.
    pub send: bool,
    /// Whether to move to a WebRTC data channel.
    pub webrtc: bool,
}

impl FaceDial {
    /// Names the connection's own face.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Shows this pairing token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Meets others in this room of the endpoint.
    #[must_use]
    pub fn room(mut self, room: impl Into<String>) -> Self {
        self.room = Some(room.into());
        self
    }

    /// Takes the certificate with this SHA-256 fingerprint and no other.
    #[must_use]
    pub fn fingerprint(mut self, fingerprint: impl Into<String>) -> Self {
        self.fingerprint = Some(fingerprint.into());
        self
    }

    /// Whether its faces are wanted here; they are by default.
    #[must_use]
    pub fn receive(mut self, receive: bool) -> Self {
        self.receive = receive;
        self
    }

    /// Whether ours go there; they do by default.
    #[must_use]
    pub fn send(mut self, send: bool) -> Self {
        self.send = send;
        self
    }

    /// Whether to move to WebRTC; it does by default.
    #[must_use]
    pub fn webrtc(mut self, webrtc: bool) -> Self {
        self.webrtc = webrtc;
        self
    }

    fn config(&self, endpoint: &FaceLinkEndpoint) -> ClientConfig {
        ClientConfig {
            subject: self.subject.clone(),
            token: self.token.clone(),
            webrtc: self.webrtc,
            client: concat!("bevy_facelink/", env!("CARGO_PKG_VERSION")).to_owned(),
            receive: self.receive,
            room: self.room.clone(),
            ice: endpoint.config().ice.clone(),
            #[cfg(sockets)]
            trust: self.fingerprint.clone().map_or(ServerTrust::Public, ServerTrust::Fingerprint),
            ..ClientConfig::new(&self.url)
        }
    }
}

/// The connection of a [`FaceDial`]. Dropping it closes it.
#[derive(Component, Debug)]
pub(crate) struct Dialled {
    pub client: Client,
}

fn on_dial_removed(removed: On<ComponentRemoved<FaceDial>>, mut commands: Commands) {
    // Without a source, the end of the connection does not take an entity of the game's along.
    commands.entity(removed.entity).try_remove::<(Dialled, FaceSource, SourceQuality)>();
}

/// Connections that others have made.
fn come_and_go(
    mut commands: Commands,
    mut messages: MessageReader<LinkMessage>,
    sources: Query<(Entity, &FaceSource), Without<FaceDial>>,
) {
    let mut connected: Vec<(&str, Entity)> = Vec::new();
    for LinkMessage(event) in messages.read() {
        match event {
            LinkEvent::Connected { connection_id, source, address } => {
                let source = FaceSource {
                    connection_id: connection_id.to_string(),
                    kind: Some(*source),
                    address: address.map(|address| address.to_string()),
                    state: SourceState::Connected,
                };
                connected.push((connection_id, commands.spawn(source).id()));
            }
            LinkEvent::Disconnected { connection_id, .. } => {
                let known = sources.iter().filter(|(_, source)| *source.connection_id == **connection_id);
                let new = connected.iter().filter(|(id, _)| *id == &**connection_id).map(|(_, entity)| *entity);
                for entity in known.map(|(entity, _)| entity).chain(new) {
                    commands.entity(entity).try_despawn();
                }
            }
            _ => {}
        }
    }
}

/// Dials what is new or has changed.
fn dial(
    mut commands: Commands,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    mut dials: Query<(Entity, Ref<FaceDial>, &mut FaceSource, Has<Dialled>)>,
) {
    for (entity, dial, mut source, dialled) in &mut dials {
        let Some(endpoint) = &endpoint else {
            if dialled {
                commands.entity(entity).try_remove::<Dialled>();
            }
            let reason = "FaceLink has no sockets here, so nothing can be dialled".to_owned();
            let state = SourceState::Waiting { reason };
            if source.state != state {
                warn!("{}: FaceLink has no sockets here, so nothing can be dialled", dial.url);
                source.state = state;
            }
            continue;
        };
        // After the endpoint was exchanged for another one, its runtime is another one too.
        if dialled && !dial.is_changed() && !endpoint.is_added() {
            continue;
        }
        *source = FaceSource {
            kind: Some(SourceKind::WebSocket),
            address: Some(dial.url.clone()),
            connection_id: String::new(),
            state: SourceState::Connecting,
        };
        if cfg!(not(sockets)) && dial.fingerprint.is_some() {
            let reason = "a browser checks certificates itself and takes no fingerprint".to_owned();
            error!("{}: {reason}", dial.url);
            source.state = SourceState::Refused { reason };
            continue;
        }
        match endpoint.connect(dial.config(endpoint)) {
            Some(client) => commands.entity(entity).try_insert(Dialled { client }),
            None => commands.entity(entity).try_remove::<Dialled>(),
        };
    }
}

/// What outgoing connections are doing.
fn watch_dials(mut dialled: Query<(&Dialled, &FaceDial, &mut FaceSource)>) {
    for (dialled, dial, mut source) in &mut dialled {
        let (state, kind) = match dialled.client.state() {
            ClientState::Connecting => (SourceState::Connecting, None),
            ClientState::Connected(kind) => (SourceState::Connected, Some(kind)),
            ClientState::Waiting(error) => (SourceState::Waiting { reason: error.to_string() }, None),
            ClientState::Refused(error) => (SourceState::Refused { reason: error.to_string() }, None),
            _ => continue,
        };
        if source.state != state {
            match &state {
                SourceState::Connected => info!("connected to {}", dial.url),
                SourceState::Waiting { reason } => warn!("{reason}; trying again"),
                SourceState::Refused { reason } => error!("{reason}"),
                _ => {}
            }
            source.state = state;
        }
        if kind.is_some() && kind != source.kind {
            source.kind = kind;
        }
    }
}

/// Copies the statistics of every connection, with those of the endpoint.
fn read_sources(
    link_stats: Res<LinkStats>,
    mut sources: Query<(&mut FaceSource, &mut SourceQuality, Option<&Dialled>)>,
) {
    if !link_stats.is_changed() {
        return;
    }
    for (mut source, mut quality, dialled) in &mut sources {
        if let Some(id) = dialled.and_then(|dialled| dialled.client.stats().link_id)
            && source.connection_id != *id
        {
            source.connection_id = id.to_string();
        }
        let mut connections = link_stats.connections.iter();
        let Some(stats) = connections.find(|stats| *stats.connection_id == *source.connection_id) else { continue };
        *quality = SourceQuality::of(stats);
        if dialled.is_some() {
            continue;
        }
        let state = match stats.state {
            ConnectionState::Connected => SourceState::Connected,
            ConnectionState::Stalled => SourceState::Stalled,
            _ => SourceState::Connecting,
        };
        let (kind, address) = (Some(stats.transport), stats.address.map(|address| address.to_string()));
        if source.state != state || source.kind != kind || source.address != address {
            (source.state, source.kind, source.address) = (state, kind, address);
        }
    }
}
