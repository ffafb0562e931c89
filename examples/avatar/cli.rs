//! The command line.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use bevy_facelink::{
    FaceLinkPlugin,
    net::{PhoneCall, TlsConfig, VmcOut, new_token},
};
use clap::Parser;

use crate::stage::{Ground, quality::QualityArg};

/// A face on an avatar, live.
#[derive(Parser, Debug)]
#[command(name = "avatar")]
pub struct Args {
    /// Model to drive, a .glb or .gltf; Aria without one.
    model: Option<PathBuf>,
    /// Open no window: play `--frames` frames, draw the last one, and end. The default without a display.
    #[arg(long)]
    pub headless: bool,
    /// Frames to play before the screenshot, counted once a face is on the avatar.
    #[arg(long, default_value_t = 60)]
    pub frames: u32,
    /// Save a screenshot as PNG, and end. Without a window, `avatar.png` by default.
    #[arg(long, value_name = "PNG")]
    pub screenshot: Option<PathBuf>,
    /// Save an image of every shape as PNG, and end.
    #[arg(long, value_name = "PNG")]
    pub contact_sheet: Option<PathBuf>,
    /// Save `--frames` images of the built-in performance as numbered PNG files, and end.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["contact_sheet", "screenshot"])]
    pub animation: Option<PathBuf>,
    /// Size of the rendered frame, pixels.
    #[arg(long, value_name = "WxH", default_value = "1280x800", value_parser = crate::screen::size)]
    pub size: (u32, u32),
    /// How finely to draw.
    #[arg(long, value_enum, default_value_t)]
    pub quality: QualityArg,
    /// Nothing behind the avatar: the desktop is seen through the window where the system can, and screenshots have alpha. The panel is
    /// closed; F1 brings it.
    #[arg(long, conflicts_with = "green")]
    transparent: bool,
    /// A green ground for a chroma key (#00B140). The panel is closed; F1 brings it.
    #[arg(long)]
    green: bool,
    /// Open it to the local network, and show a QR code for the phone.
    #[arg(long)]
    lan: bool,
    /// With --lan: plain HTTP alone. Phones then let no page use their camera.
    #[arg(long, requires = "lan")]
    no_tls: bool,
    /// Port of HTTP, WebSocket and signalling; 0 picks a free one.
    #[arg(long, default_value_t = 8765)]
    port: u16,
    /// Port of Live Link Face (UDP); 0 picks a free one.
    #[arg(long, default_value_t = 11111)]
    live_link_face: u16,
    /// Port of the old system's UDP JSON; 0 picks a free one.
    #[arg(long, default_value_t = 5005)]
    udp_json: u16,
    /// Listen for every phone app, on the ports that they send to by default; --lan does so too.
    #[arg(long)]
    phones: bool,
    /// With --lan: no phone apps other than Live Link Face and UDP JSON.
    #[arg(long, requires = "lan", conflicts_with = "phones")]
    no_phones: bool,
    /// Call the phone at this address, whatever app it runs. Repeatable.
    #[arg(long, value_name = "ADDR")]
    call: Vec<IpAddr>,
    /// Send the face out by VMC protocol, to a renderer such as VSeeFace. Repeatable.
    #[arg(long, value_name = "HOST:PORT")]
    vmc_out: Vec<SocketAddr>,
    /// Leave the stage to real sources.
    #[arg(long)]
    pub no_performer: bool,
    /// Open the window without the panel; F1 brings it.
    #[arg(long)]
    pub no_panel: bool,
}

impl Args {
    /// The model as Bevy's asset server takes it.
    pub fn model(&self) -> Result<String, String> {
        let Some(path) = &self.model else { return Ok("avatars/aria.glb".to_owned()) };
        let full = path.canonicalize().map_err(|error| format!("cannot open {}: {error}", path.display()))?;
        if !full.is_file() {
            return Err(format!("{} is not a file", path.display()));
        }
        Ok(full.display().to_string())
    }

    /// What is behind the avatar.
    pub fn ground(&self) -> Ground {
        match (self.transparent, self.green) {
            (true, _) => Ground::Transparent,
            (_, true) => Ground::Green,
            _ => Ground::Studio,
        }
    }

    /// The plugin with these ports.
    pub fn plugin(&self) -> FaceLinkPlugin {
        let mut plugin = FaceLinkPlugin::default()
            .port(self.port)
            .live_link_face(Some(self.live_link_face))
            .udp_json(Some(self.udp_json));
        if self.phones || (self.lan && !self.no_phones) || !self.call.is_empty() {
            plugin = plugin.with_phones();
        }
        for address in &self.call {
            plugin = plugin.call(PhoneCall::any(*address));
        }
        for to in &self.vmc_out {
            plugin = plugin.vmc_out(VmcOut::new(*to));
        }
        match (self.lan, self.no_tls) {
            (true, true) => plugin.lan(new_token()).https(TlsConfig::Off),
            (true, false) => plugin.lan(new_token()),
            (false, _) => plugin,
        }
    }
}
