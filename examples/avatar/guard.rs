//! Reports what this machine lacks, instead of a panic deep inside the engine.

use std::{
    env,
    panic::{self, PanicHookInfo},
    process::{self, Command},
    sync::atomic::{AtomicBool, Ordering},
};

use bevy::prelude::*;

const ADVICE: &str = "\
On Debian or Ubuntu:
  apt-get install mesa-vulkan-drivers libxkbcommon-x11-0 libxcursor1 libxi6 libxrandr2
Without a display, draw a picture:
  cargo run --example avatar -- --headless --screenshot out.png";

/// Until the first frame, a panic means that the machine lacks something.
static STARTING: AtomicBool = AtomicBool::new(false);

/// Whether there is a display to open a window on.
pub fn display() -> Result<(), String> {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    if cfg!(target_os = "linux") && !set("DISPLAY") && !set("WAYLAND_DISPLAY") {
        return Err("There is no display to open a window on.".to_owned());
    }
    Ok(())
}

/// Whether to open a window: not without a display, which is said.
#[allow(dead_code, reason = "not every example draws without a window")]
pub fn windowed(headless: bool) -> bool {
    let display = display();
    if let (false, Err(missing)) = (headless, &display) {
        eprintln!("{missing}\nOne picture is drawn instead, as with --headless.");
    }
    !headless && display.is_ok()
}

/// Turns a panic during the start into advice and exit code 2. With `or_headless`, a program that cannot open its window
/// runs again with `--headless`.
pub fn watch_start(or_headless: bool) {
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
            if or_headless && let Some(code) = run_headless() {
                process::exit(code);
            }
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

/// Exit code of the program, run again without a window.
fn run_headless() -> Option<i32> {
    eprintln!("One picture is drawn instead, as with --headless.");
    let program = env::current_exe().ok()?;
    Command::new(program).args(env::args_os().skip(1)).arg("--headless").status().ok()?.code()
}
