//! The page that the game runs in.

use wasm_bindgen::{JsCast, JsValue};

/// What a browser says of an error.
pub(crate) fn reason(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => error.message().into(),
        None => error.as_string().unwrap_or_else(|| format!("{error:?}")),
    }
}

/// Whether it came by HTTPS: then it may dial `wss://` alone, this machine apart.
pub(crate) fn is_secure() -> bool {
    web_sys::window().and_then(|window| window.location().protocol().ok()).is_some_and(|scheme| scheme == "https:")
}

/// Whether there is a network, as far as the browser knows.
pub(crate) fn is_online() -> bool {
    web_sys::window().is_none_or(|window| window.navigator().on_line())
}

/// Fills it with random bytes; `false` where the page has no source of them.
#[cfg(feature = "seal")]
pub(crate) fn fill_random(bytes: &mut [u8]) -> bool {
    let crypto = web_sys::window().and_then(|window| window.crypto().ok());
    crypto.is_some_and(|crypto| crypto.get_random_values_with_u8_array(bytes).is_ok())
}
