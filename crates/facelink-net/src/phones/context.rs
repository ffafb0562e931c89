//! What all ports for phones share.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{port::PhonePort, port_stats::PortCounters, profiles::LiveProfiles, roster::Roster};
use crate::hub::Hub;

/// Phones of one endpoint.
#[derive(Debug)]
pub(crate) struct Phones {
    pub hub: Arc<Hub>,
    pub profiles: LiveProfiles,
    pub roster: Roster,
    /// One for each open port.
    ports: Mutex<Vec<Arc<PortCounters>>>,
}

impl Phones {
    /// By the hub's settings.
    pub fn new(hub: Arc<Hub>) -> Self {
        let config = &hub.config;
        Self {
            profiles: LiveProfiles::new(config.profiles.clone()),
            roster: Roster::new(&config.call, config.remember_phones.clone()),
            ports: Mutex::default(),
            hub,
        }
    }

    /// Ports that are open from now on.
    pub fn set_ports(&self, ports: Vec<Arc<PortCounters>>) {
        *self.ports.lock() = ports;
    }

    /// Every open port.
    pub fn ports(&self) -> Vec<Arc<PortCounters>> {
        self.ports.lock().clone()
    }

    /// The open port for one purpose.
    pub fn port(&self, port: PhonePort) -> Option<Arc<PortCounters>> {
        self.ports.lock().iter().find(|open| open.port == port).cloned()
    }
}
