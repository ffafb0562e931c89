//! Phone apps, and other senders of faces in datagrams: ports, formats, and phones to call.
//!
//! Every UDP port takes every format that [`sniff`](facelink::wire::sniff) knows; what a port is *for* decides which
//! handshakes go out from it, and which error is shown for bytes of no known format.

mod context;
mod fmv3;
mod intake;
mod json;
mod llf;
mod osc;
mod port;
mod port_stats;
mod profiles;
mod protocol;
mod receiver;
mod remote;
mod roster;
mod serve;
mod text;
mod vmc_out;
mod vts;

pub(crate) use context::Phones;
pub use port::{PhonePort, PhonePorts, Unavailable, VmcOut};
pub(crate) use port_stats::PortCounters;
pub use port_stats::{PortStats, SenderStats};
pub use profiles::SourceProfiles;
#[cfg(test)]
pub(crate) use roster::Roster;
pub use roster::{PhoneCall, PhoneCommand, PhoneCommandError, PhoneState, PhoneStatus, remembered_phones};
pub(crate) use serve::{bind, serve};
pub(crate) use text::serve_streams;
pub(crate) use vmc_out::send_vmc;
