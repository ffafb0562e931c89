//! What all ports for phones share.

use std::{net::IpAddr, sync::Arc};

use super::{
    osc_out::Subscribers,
    port_stats::PortCounters,
    profiles::LiveProfiles,
    roster::{PhoneCommand, Roster},
};
use crate::{
    address::is_private,
    hub::Hub,
    takes::{Companion, Takes},
};
use facelink::source::PhonePort;

/// Whether an address is private, or on a network of this machine: phones are nowhere else.
fn is_near(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_on_network = |interface: &if_addrs::Interface| match (&interface.addr, address) {
        (if_addrs::IfAddr::V4(own), IpAddr::V4(v4)) => {
            let mask = own.netmask.to_bits();
            mask != 0 && own.ip.to_bits() & mask == v4.to_bits() & mask
        }
        (if_addrs::IfAddr::V6(own), IpAddr::V6(v6)) => {
            let mask = own.netmask.to_bits();
            mask != 0 && own.ip.to_bits() & mask == v6.to_bits() & mask
        }
        _ => false,
    };
    is_private(address) || if_addrs::get_if_addrs().unwrap_or_default().iter().any(is_on_network)
}

/// Phones of one endpoint.
#[derive(Debug)]
pub(crate) struct Phones {
    pub hub: Arc<Hub>,
    pub profiles: LiveProfiles,
    pub roster: Roster,
    pub takes: Arc<Takes>,
    pub subscribers: Arc<Subscribers>,
    /// One for each open port.
    ports: Vec<Arc<PortCounters>>,
}

impl Phones {
    /// By the hub's settings, with the ports that are open.
    pub fn new(hub: Arc<Hub>, takes: Arc<Takes>, ports: Vec<Arc<PortCounters>>) -> Self {
        let config = &hub.config;
        Self {
            profiles: LiveProfiles::new(config.profiles.clone()),
            roster: Roster::new(&config.call, config.remember_phones.clone(), is_near),
            takes,
            subscribers: Arc::new(Subscribers::new(&config.osc_out)),
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

impl Companion for Phones {
    fn attachments(&self) -> Vec<(String, String, Vec<u8>)> {
        self.profiles.attachment().into_iter().collect()
    }

    fn recorders(&self) -> usize {
        // The commands go out from this port alone.
        self.port(PhonePort::LiveLinkFaceOsc).map_or(0, |_| self.roster.remotes())
    }

    fn record(&self, slate: &str, take: u32) {
        let take = i32::try_from(take).unwrap_or(i32::MAX);
        self.roster.command_all(&PhoneCommand::RecordStart { slate: slate.to_owned(), take });
    }

    fn stop(&self) {
        self.roster.command_all(&PhoneCommand::RecordStop);
    }

    fn is_ending(&self) -> bool {
        self.roster.is_any_ending()
    }
}
