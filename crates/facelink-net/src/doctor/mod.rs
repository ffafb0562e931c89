//! What is misconfigured, in words: what listens, what a phone is to be given, what arrives, and what keeps it away.
//!
//! [`Endpoint::diagnose`](crate::EndpointControl::diagnose) makes a [`Report`], `GET /api/v1/doctor` returns the same one as
//! JSON, and `facelink doctor` prints it.

mod addresses;
mod advise;
mod clock;
mod diagnose;
mod firewall;
mod port_owner;
mod report;

pub(crate) use addresses::read as own_addresses;
pub use addresses::{Medium, OwnAddress};
pub use clock::{Clock, SenderClock};
pub(crate) use diagnose::{Doctor, Facts};
pub use port_owner::{PortOwner, port_owner};
pub use report::{Advice, Arriving, Face, Listening, Report, Setting, Severity};
