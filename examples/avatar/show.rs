//! What the small examples have in common: their command line, a stage, and a screenshot of it.

use std::{path::PathBuf, process::ExitCode};

use bevy::prelude::*;
use bevy_facelink::{EndpointState, panel::FaceLinkPanelPlugin, prelude::*};
use clap::Args;

use crate::{guard, screen, screenshot, stage};

/// Where to draw, and for how long.
#[derive(Args, Debug)]
pub struct Show {
    /// Open no window: play `--frames` frames, draw the last one, and end. The default without a display.
    #[arg(long)]
    headless: bool,
    /// Frames to play before the screenshot.
    #[arg(long, default_value_t = 60)]
    frames: u32,
    /// Save a screenshot as PNG, and end. Without a window, by default `duet.png` for the example `duet`.
    #[arg(long, value_name = "PNG")]
    screenshot: Option<PathBuf>,
    /// Size of the rendered frame, pixels.
    #[arg(long, value_name = "WxH", default_value = "1280x800", value_parser = screen::size)]
    size: (u32, u32),
    /// How finely to draw.
    #[arg(long, value_enum, default_value_t)]
    quality: stage::quality::QualityArg,
    /// Open the window without the panel; F1 brings it.
    #[arg(long)]
    no_panel: bool,
    /// Port of HTTP, WebSocket and signalling; 0 picks a free one.
    #[arg(long, default_value_t = 8765)]
    port: u16,
}

impl Show {
    /// A game with these characters, or the exit code. With `face`, a screenshot waits for the first face.
    pub fn open(&self, title: &str, roles: Vec<stage::Role>, face: bool) -> Result<App, ExitCode> {
        // Two of them may run at once, so the phone ports are any free ones.
        let plugin = FaceLinkPlugin::default().port(self.port).live_link_face(Some(0)).udp_json(Some(0));
        self.open_with(title, roles, face, plugin)
    }

    /// The same with this plugin.
    pub fn open_with(
        &self,
        title: &str,
        roles: Vec<stage::Role>,
        face: bool,
        plugin: FaceLinkPlugin,
    ) -> Result<App, ExitCode> {
        let windowed = guard::windowed(self.headless);
        guard::watch_start(windowed);
        let mut app = App::new();
        let complete = !windowed || self.screenshot.is_some();
        screen::Screen { title, size: self.size, windowed, complete, ..default() }.open(&mut app);
        let panel = windowed && !self.no_panel;
        app.add_plugins(stage::StagePlugin {
            roles,
            size: self.size,
            windowed,
            panel,
            close: false,
            quality: self.quality,
            draw: windowed,
            ground: stage::Ground::Studio,
        });
        app.add_plugins(plugin);
        if let Some(error) = app.world().get_resource::<EndpointState>().and_then(EndpointState::error) {
            eprintln!("{error}");
            return Err(ExitCode::from(1));
        }
        app.add_systems(Update, guard::started);
        if windowed {
            app.add_plugins(FaceLinkPanelPlugin { open: panel, ..default() });
        }
        if !windowed || self.screenshot.is_some() {
            let frames = self.frames;
            let path = self.screenshot.clone().unwrap_or_else(screenshot::default_path);
            app.add_plugins(screenshot::ScreenshotPlugin { frames, path, windowed, face, alpha: false });
        }
        Ok(app)
    }
}

/// Plays it to its end.
pub fn run(mut app: App) -> ExitCode {
    match app.run() {
        AppExit::Success => ExitCode::SUCCESS,
        AppExit::Error(code) => ExitCode::from(code.get()),
    }
}
