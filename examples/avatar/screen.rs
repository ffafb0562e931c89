//! Bevy with a window, or rendering to an image without one.

use std::time::Duration;

use bevy::{
    app::ScheduleRunnerPlugin,
    asset::UnapprovedPathMode,
    log::LogPlugin,
    prelude::*,
    render::RenderPlugin,
    window::{ExitCondition, WindowResolution},
    winit::WinitPlugin,
};

/// What to draw to.
pub struct Screen<'a> {
    /// Title of the window.
    pub title: &'a str,
    /// Size, pixels.
    pub size: (u32, u32),
    /// Whether there is a window.
    pub windowed: bool,
    /// Whether every frame has to be complete: then the first one waits for the shaders.
    pub complete: bool,
    /// Whether what is behind the window is seen through it, where nothing is drawn.
    pub transparent: bool,
    /// Frames a second without a window.
    pub rate: f64,
}

impl Default for Screen<'_> {
    fn default() -> Self {
        Self { title: "FaceLink", size: (1280, 800), windowed: true, complete: false, transparent: false, rate: 60.0 }
    }
}

impl Screen<'_> {
    /// Adds Bevy's plugins.
    pub fn open(&self, app: &mut App) {
        let window = self.windowed.then(|| Window {
            title: self.title.to_owned(),
            resolution: WindowResolution::new(self.size.0, self.size.1),
            transparent: self.transparent,
            ..default()
        });
        let plugins = DefaultPlugins
            .set(AssetPlugin { unapproved_path_mode: UnapprovedPathMode::Allow, ..default() })
            .set(LogPlugin {
                // The WebRTC crates warn of every candidate that leads nowhere.
                // The stage says once, and in one line, what cannot be loaded.
                filter: format!(
                    "{},rtc=error,rtc_ice=error,rtc_dtls=error,webrtc=error,bevy_asset::server=off",
                    bevy::log::DEFAULT_FILTER
                ),
                ..default()
            })
            .set(RenderPlugin { synchronous_pipeline_compilation: self.complete, ..default() })
            .set(WindowPlugin {
                primary_window: window,
                exit_condition: if self.windowed { ExitCondition::OnPrimaryClosed } else { ExitCondition::DontExit },
                ..default()
            });
        if self.windowed {
            app.add_plugins(plugins);
        } else {
            let pace = ScheduleRunnerPlugin::run_loop(Duration::from_secs_f64(1.0 / self.rate));
            app.add_plugins((plugins.disable::<WinitPlugin>(), pace));
        }
    }
}

/// Reads a size as the command line has it: `1280x800`.
pub fn size(text: &str) -> Result<(u32, u32), String> {
    let (width, height) = text.split_once('x').ok_or("write it as 1280x800")?;
    let side = |text: &str| match text.parse() {
        Ok(side @ 16..=8192) => Ok(side),
        _ => Err(format!("`{text}` is not between 16 and 8192")),
    };
    Ok((side(width)?, side(height)?))
}
