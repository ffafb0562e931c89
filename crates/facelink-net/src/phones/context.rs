//! What all ports for phones share.

use std::sync::Arc;

use super::{port_stats::PortCounters, profiles::LiveProfiles, roster::Roster};
use crate::hub::Hub;
use facelink::source::PhonePort;

/// Phones of one endpoint.
#[derive(Debug)]
pub(crate) struct Phones {
    pub hub: Arc<Hub>,
    pub profiles: LiveProfiles,
    pub roster: Roster,
    /// One for each open port.
    ports: Vec<Arc<PortCounters>>,
}

impl Phones {
    /// By the hub's settings, with the ports that are open.
    pub fn new(hub: Arc<Hub>, ports: Vec<Arc<PortCounters>>) -> Self {
        let config = &hub.config;
        Self {
            profiles: LiveProfiles::new(config.profiles.clone()),
            roster: Roster::new(&config.call, config.remember_phones.clone()),
            ports,
            hub,
        }
    }

    /// Every open port.
    pub fn ports(&self) -> &[Arc<PortCounters>] {
        &self.ports
    }

    /// The open port for one purpose.
    pub fn port(&self, port: PhonePort) -> Option<Arc<PortCounters>> {
        self.ports.iter().find(|open| open.port == port).cloned()
    }
}
