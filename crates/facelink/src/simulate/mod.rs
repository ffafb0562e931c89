//! The phone side of every app, for testing a game without a phone: handshakes, leases, lost faces, the app's own bytes.
//!
//! A [`Phone`] is given frames, datagrams and the time, and fills an [`Outbox`]: for an address that it was given, as if
//! typed into the app, or for those who call it, as the app does. `facelink_net::Simulator` runs one over sockets.

mod face_cap;
mod fmv3;
mod llf;
mod mocap;
pub mod network;
mod phone;
mod trackers;
mod udp_json;
mod vmc;
mod vtube_studio;

pub use phone::{Outbox, Phone, PhoneError, SimulatorConfig, Start, StreamEvent, StreamId};

use crate::{source::SourceKind, vrchat::VrchatWriter};

/// The phone side of `config.app`.
///
/// # Errors
/// [`PhoneError`] when there is no such app, or it needs an address.
pub fn phone(config: &SimulatorConfig, start: Start) -> Result<Box<dyn Phone>, PhoneError> {
    let to = || config.to.ok_or(PhoneError::NeedsAddress(config.app));
    Ok(match config.app {
        SourceKind::LiveLinkFace => Box::new(llf::LiveLinkFace::new(config, start)),
        SourceKind::FaceCap => Box::new(face_cap::FaceCap { to: to()? }),
        SourceKind::Trackers => {
            let writer = VrchatWriter::new("", None).map_err(|_| PhoneError::NotAnApp(config.app))?;
            Box::new(trackers::Trackers { to: to()?, writer, start: start.now })
        }
        SourceKind::Vmc => Box::new(vmc::Vmc::new(to()?, start)),
        SourceKind::VTubeStudio => Box::new(vtube_studio::VTubeStudio::new(config, start)),
        SourceKind::UdpJson => Box::new(udp_json::UdpJson::new(config, to()?, start)),
        SourceKind::IFacialMocap | SourceKind::Facemotion3d => Box::new(mocap::Mocap::new(config, start)),
        SourceKind::IFacialMocapV3 => Box::new(fmv3::Fmv3::new(config, start)),
        other @ (SourceKind::WebSocket
        | SourceKind::WebRtc
        | SourceKind::Game
        | SourceKind::Mesh
        | SourceKind::Custom) => {
            return Err(PhoneError::NotAnApp(other));
        }
    })
}
