//! Faces in a page, without an engine: dials the endpoint that the page's address names, `?endpoint=ws://127.0.0.1:8765`, with
//! `&token=...` and `&webrtc=off`, and says what arrives. For `wasm32-unknown-unknown`: `.ci/web-page client` builds it.

#[cfg(target_arch = "wasm32")]
fn main() {
    page::run();
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    eprintln!("this example is for wasm32-unknown-unknown: .ci/web-page client");
}

#[cfg(target_arch = "wasm32")]
mod page {
    use std::collections::BTreeMap;

    use facelink::Blendshape;
    use facelink_net::{Client, ClientConfig, ClientState, Endpoint, EndpointConfig, LinkEvent};
    use wasm_bindgen::{JsCast, closure::Closure};

    const INTERVAL_MS: i32 = 50;

    pub fn run() {
        let page = web_sys::window().and_then(|window| Some((window.location().search().ok()?, window)));
        let Some((query, window)) = page else { return };
        let values = web_sys::UrlSearchParams::new_with_str(&query).ok();
        let value = |name| values.as_ref().and_then(|values| values.get(name));
        let endpoint = match Endpoint::start(EndpointConfig::dial_only()) {
            Ok(endpoint) => endpoint,
            Err(error) => return show(&error.to_string()),
        };
        let url = value("endpoint").unwrap_or_else(|| "ws://127.0.0.1:8765".to_owned());
        let client = endpoint.connect(ClientConfig {
            token: value("token"),
            webrtc: value("webrtc").as_deref() != Some("off"),
            receive: true,
            ..ClientConfig::new(url)
        });
        let Some(client) = client else { return };
        let mut jaws = BTreeMap::new();
        let report = Closure::<dyn FnMut()>::new(move || report(&endpoint, &client, &mut jaws));
        let set =
            window.set_interval_with_callback_and_timeout_and_arguments_0(report.as_ref().unchecked_ref(), INTERVAL_MS);
        if set.is_ok() {
            // For as long as the page is there.
            report.forget();
        }
    }

    fn report(endpoint: &Endpoint, client: &Client, jaws: &mut BTreeMap<String, f32>) {
        for frame in endpoint.frames().try_iter() {
            jaws.insert(frame.name.to_string(), frame.frame.get(Blendshape::JawOpen).unwrap_or_default());
        }
        for event in endpoint.events().try_iter() {
            if let LinkEvent::SubjectLost { name, .. } = event {
                jaws.remove(&*name);
            }
        }
        let mut lines = vec![match client.state() {
            ClientState::Connected(kind) => format!("connected by {kind}"),
            ClientState::Waiting(error) => format!("waiting: {error}"),
            ClientState::Refused(error) => format!("refused: {error}"),
            _ => "connecting".to_owned(),
        }];
        let stats = endpoint.stats();
        for (name, jaw) in &*jaws {
            let fps = stats.subjects.iter().find(|subject| *subject.name == **name).map_or(0.0, |subject| subject.fps);
            lines.push(format!("{name}: {fps:.0} frames/s, jaw {jaw:.2}"));
        }
        show(&lines.join("\n"));
    }

    fn show(text: &str) {
        let document = web_sys::window().and_then(|window| window.document());
        if let Some(status) = document.and_then(|document| document.get_element_by_id("status")) {
            status.set_text_content(Some(text));
        }
    }
}
