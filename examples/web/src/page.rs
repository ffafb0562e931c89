//! The page around the game; on the desktop, its window and arguments.

use bevy::{app::PluginGroupBuilder, asset::AssetMetaCheck, prelude::*};

/// Bevy's plugins, on the page's canvas.
pub fn plugins() -> PluginGroupBuilder {
    let window = Window {
        title: "FaceLink".to_owned(),
        canvas: Some("#game".to_owned()),
        fit_canvas_to_parent: true,
        ..default()
    };
    DefaultPlugins
        .set(WindowPlugin { primary_window: Some(window), ..default() })
        // Web servers have no `.meta` files, and some answer for them with a page.
        .set(AssetPlugin { meta_check: AssetMetaCheck::Never, ..default() })
}

/// Where faces come from.
pub struct Endpoint {
    /// Its address.
    pub url: String,
    /// Its pairing token, if it wants one.
    pub token: Option<String>,
    /// Whether to move to a data channel.
    pub webrtc: bool,
}

const USUAL: &str = "ws://127.0.0.1:8765";

/// As the page's address has it.
#[cfg(target_arch = "wasm32")]
pub fn endpoint() -> Endpoint {
    let query = web_sys::window().and_then(|window| window.location().search().ok());
    let values = query.and_then(|query| web_sys::UrlSearchParams::new_with_str(&query).ok());
    let value = |name| values.as_ref().and_then(|values| values.get(name));
    Endpoint {
        url: value("endpoint").unwrap_or_else(|| USUAL.to_owned()),
        token: value("token"),
        webrtc: value("webrtc").as_deref() != Some("off"),
    }
}

/// As the arguments have it.
#[cfg(not(target_arch = "wasm32"))]
pub fn endpoint() -> Endpoint {
    let mut arguments = std::env::args().skip(1);
    Endpoint { url: arguments.next().unwrap_or_else(|| USUAL.to_owned()), token: arguments.next(), webrtc: true }
}

/// Shows a text next to the picture.
#[cfg(target_arch = "wasm32")]
pub fn show(text: &str) {
    let document = web_sys::window().and_then(|window| window.document());
    if let Some(status) = document.and_then(|document| document.get_element_by_id("status")) {
        status.set_text_content(Some(text));
    }
}

/// Shows a text next to the picture.
#[cfg(not(target_arch = "wasm32"))]
pub fn show(text: &str) {
    debug!("{text}");
}
