//! Settings, states and errors of a client.

use std::net::IpAddr;

use facelink::source::SourceKind;

#[cfg(feature = "webrtc")]
use crate::ice::IceConfig;
use crate::ice::PeerConfig;
#[cfg(feature = "tls")]
use crate::trust::ServerTrust;

/// Where to send, and as whom.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Address of the endpoint, such as `ws://127.0.0.1:8765`. `http://` is taken for `ws://`, and an
    /// [invitation](crate::EndpointControl::invitation) for the address and the key in it.
    pub url: String,
    /// Name of the face; without one the endpoint chooses.
    pub subject: Option<String>,
    /// Pairing token.
    pub token: Option<String>,
    /// Key for end-to-end encrypted faces: what is sent is sealed, and nothing in the clear is sent or taken. Without one,
    /// that of the endpoint which made the client, if it has one. See `docs/sealing.md`.
    #[cfg(feature = "seal")]
    pub key: Option<facelink::seal::RoomKey>,
    #[cfg(feature = "webrtc")]
    /// Whether to move to a WebRTC data channel once it opens.
    pub webrtc: bool,
    /// What the client calls itself.
    pub client: String,
    /// Whether to send what changed since a frame that has arrived, instead of whole faces: for thin uplinks. Packets are
    /// about half as large then, headers not counted.
    pub delta: bool,
    /// Whether that is the second stream of a face, for an uplink that turns out to be thin: it takes the place of whole faces
    /// once they wait in a queue on the path, until packets have to repeat earlier frames or the connection is made anew. For
    /// one face of the connection; several share packets. On by default; sealed faces have none.
    pub simulcast: bool,
    /// Whether the endpoint's faces are wanted too. Only a client that [`Endpoint::connect`](crate::EndpointControl::connect)
    /// made has a place for them.
    pub receive: bool,
    /// Room in which to meet others: faces then go to them directly where that is possible, and by the endpoint where it
    /// is not. Needs [`Endpoint::connect`](crate::EndpointControl::connect) too.
    pub room: Option<String>,
    #[cfg(feature = "webrtc")]
    /// How WebRTC connections are made; the endpoint's own STUN and TURN servers are added.
    pub ice: IceConfig,
    /// Whom to take for the endpoint of a `wss://` address.
    #[cfg(feature = "tls")]
    pub trust: ServerTrust,
    #[cfg(feature = "webrtc")]
    /// Address that WebRTC binds; by default loopback for an endpoint on this machine, else every address.
    pub bind: Option<IpAddr>,
}

impl ClientConfig {
    /// Sends to `url` by every means, under a name that the endpoint chooses.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            subject: None,
            token: None,
            #[cfg(feature = "seal")]
            key: None,
            #[cfg(feature = "webrtc")]
            webrtc: true,
            delta: false,
            simulcast: true,
            client: concat!("facelink-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
            receive: false,
            room: None,
            #[cfg(feature = "webrtc")]
            ice: IceConfig::default(),
            #[cfg(feature = "tls")]
            trust: ServerTrust::default(),
            #[cfg(feature = "webrtc")]
            bind: None,
        }
    }

    /// Takes the key out of the address, where that is an invitation. What follows `#` is neither sent nor shown.
    pub(crate) fn take_fragment(&mut self) -> Result<(), ClientError> {
        let Some(at) = self.url.find('#') else { return Ok(()) };
        let fragment = self.url.split_off(at);
        let key = fragment[1..].split('&').find_map(|pair| pair.strip_prefix("k="));
        #[cfg(feature = "seal")]
        if let (Some(key), None) = (key, &self.key) {
            let bad = |error: facelink::seal::KeyError| ClientError::Url {
                url: self.url.clone(),
                reason: format!("`#k=`: {error}"),
            };
            self.key = Some(key.parse().map_err(bad)?);
        }
        #[cfg(not(feature = "seal"))]
        if key.is_some() {
            let reason = "`#k=`: this build seals nothing (feature `seal`)".to_owned();
            return Err(ClientError::Url { url: self.url.clone(), reason });
        }
        Ok(())
    }

    /// Whether it moves to a data channel, in a build that has them.
    pub(crate) fn uses_webrtc(&self) -> bool {
        #[cfg(feature = "webrtc")]
        return self.webrtc;
        #[cfg(not(feature = "webrtc"))]
        return false;
    }

    pub(crate) fn peer_config(&self, default_bind: IpAddr) -> PeerConfig {
        #[cfg(feature = "webrtc")]
        return PeerConfig { bind: self.bind.unwrap_or(default_bind), ice: self.ice.clone() };
        #[cfg(not(feature = "webrtc"))]
        return PeerConfig { bind: default_bind, ice: crate::ice::IceConfig::default() };
    }

    /// Sends as this subject.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }
}

/// Why a client is not connected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address cannot be read.
    #[error("`{url}` is no address of an endpoint: {reason}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing answers there, or not as an endpoint does.
    #[error("cannot connect to {url}: {reason}")]
    Connect {
        /// The address.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The endpoint carries no sealed faces, and nothing is sent in the clear.
    #[error("{url} carries no faces that are encrypted end to end: it is of an older version")]
    NotSealed {
        /// The address.
        url: String,
    },
    /// The token is missing or wrong.
    #[error("{url} wants its pairing token")]
    Unauthorised {
        /// The address.
        url: String,
    },
}

/// What a client is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientState {
    /// Connecting to the endpoint, for the first time or again.
    Connecting,
    /// Frames flow, by this transport.
    Connected(SourceKind),
    /// Stopped: the endpoint refuses this client.
    Refused(ClientError),
    /// The last attempt failed; the next one follows automatically.
    Waiting(ClientError),
}
