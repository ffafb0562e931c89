//! Phone apps, and other senders of faces in datagrams: ports, formats, and phones to call.
//!
//! Every UDP port takes every format that [`sniff`](facelink::wire::sniff) knows; what a port is *for* decides which
//! handshakes go out from it, and which error is shown for bytes of no known format.

mod context;
mod control;
mod fmv3;
mod intake;
mod json;
mod listen;
mod llf;
mod osc;
mod osc_out;
mod port_stats;
mod profiles;
mod protocol;
mod receiver;
mod remote;
#[cfg(test)]
mod replay;
mod roster;
mod sender_ports;
mod serve;
mod text;
mod vts;

pub(crate) use context::Phones;
pub(crate) use listen::Listening;
pub use listen::Unavailable;
pub use port_stats::{PortStats, SenderStats};
#[cfg(test)]
pub(crate) use roster::Roster;
pub use roster::{PhoneCommand, PhoneCommandError, PhoneState, PhoneStatus};
