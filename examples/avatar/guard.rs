//! Reports what this machine lacks, instead of a panic deep inside the engine.

use std::{
    env,
    panic::{self, PanicHookInfo},
    process,
    sync::atomic::{AtomicBool, Ordering},
};

use bevy::prelude::*;

const ADVICE: &str = "\
On Debian or Ubuntu:
  apt-get install mesa-vulkan-drivers libxkbcommon-x11-0 libxcursor1 libxi6 libxrandr2
Without a display, draw to a file:
  cargo run --example avatar -- --headless --frames 300 --screenshot out.png";

/// Until the first frame, a panic means that the machine lacks something.
static STARTING: AtomicBool = AtomicBool::new(false);

/// Whether there is a display to open a window on.
pub fn display() -> Result<(), String> {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    if cfg!(target_os = "linux") && !set("DISPLAY") && !set("WAYLAND_DISPLAY") {
        return Err(format!("There is no display to open a window on.\n{ADVICE}"));
    }
    Ok(())
}

/// Turns a panic during the start into advice and exit code 2.
pub fn watch_start() {
    STARTING.store(true, Ordering::Relaxed);
    let others = panic::take_hook();
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if !STARTING.load(Ordering::Relaxed) {
            return others(info);
        }
        let text = info.payload_as_str().unwrap_or("unknown");
        if text.contains("GPU") || text.contains("adapter") {
            eprintln!("There is no graphics driver that Vulkan or OpenGL could use.");
        } else if text.contains("event loop") || text.contains("XOpenDisplay") {
            eprintln!("The display cannot be opened, or a library that windows need is missing.");
        } else {
            eprintln!("The avatar could not start: {}", text.lines().next().unwrap_or_default());
        }
        eprintln!("{ADVICE}");
        process::exit(2);
    }));
}

/// The first frame has come: from here on a panic is a panic.
pub fn started(mut frames: Local<u32>) {
    *frames += 1;
    if *frames == 2 {
        STARTING.store(false, Ordering::Relaxed);
    }
}
