//! The picture to another program: an avatar on a transparent ground is drawn to no window, and each frame goes as raw RGBA to
//! the standard input of a program, such as ffmpeg, or GStreamer for PipeWire and NDI.
//!
//! ```text
//! cargo run --example picture_out -- --size 1280x720 --fps 30 -- \
//!   ffmpeg -y -f rawvideo -pixel_format rgba -video_size 1280x720 -framerate 30 -i - -c:v qtrle aria.mov
//! cargo run --example picture_out -- --size 1280x720 -- \
//!   gst-launch-1.0 fdsrc ! rawvideoparse width=1280 height=720 format=rgba framerate=30/1 ! videoconvert ! pipewiresink
//! cargo run --example picture_out -- --green -- \
//!   ffmpeg -f rawvideo -pixel_format rgba -video_size 1280x720 -framerate 30 -i - -pix_fmt yuv420p -f v4l2 /dev/video9
//! ```
//!
//! Colours are multiplied by their alpha. The program gets frames at an even rate: the newest one that is there, and the last one
//! once more where drawing is slower. What it does not take in time is left out.

#[path = "avatar/casting.rs"]
mod casting;
#[path = "avatar/guard.rs"]
mod guard;
#[allow(dead_code, reason = "not every example needs all of it")]
#[path = "avatar/performer.rs"]
mod performer;
#[path = "avatar/screen.rs"]
mod screen;
#[path = "avatar/stage.rs"]
mod stage;

use std::{
    io::{self, Write},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bevy::{
    prelude::*,
    render::gpu_readback::{Readback, ReadbackComplete},
};
use bevy_facelink::{EndpointState, prelude::*};
use clap::Parser;
use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use stage::{Canvas, Ground, Ready, quality::QualityArg};

/// An avatar as raw RGBA to another program.
#[derive(Parser, Debug)]
#[command(name = "picture_out")]
struct Args {
    /// Size of the picture, pixels.
    #[arg(long, value_name = "WxH", default_value = "1280x720", value_parser = screen::size)]
    size: (u32, u32),
    /// Frames a second.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=240))]
    fps: u32,
    /// End after so many frames.
    #[arg(long)]
    frames: Option<u64>,
    /// A green ground instead of a transparent one.
    #[arg(long)]
    green: bool,
    /// How finely to draw.
    #[arg(long, value_enum, default_value_t)]
    quality: QualityArg,
    /// Port of HTTP, WebSocket and signalling; 0 picks a free one.
    #[arg(long, default_value_t = 8765)]
    port: u16,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

/// Where frames go, newest first: one waits at most.
#[derive(Resource)]
struct Out {
    frames: Sender<Vec<u8>>,
    /// To take a frame back for which a newer one is there.
    waiting: Receiver<Vec<u8>>,
    size: (u32, u32),
}

/// The thread that feeds the program.
#[derive(Resource)]
struct Feeder(Option<JoinHandle<io::Result<ExitStatus>>>);

fn main() -> ExitCode {
    let args = Args::parse();
    let started = args.program.split_first().map(|(program, rest)| {
        let started = Command::new(program).args(rest).stdin(Stdio::piped()).spawn();
        started.map_err(|error| format!("cannot start {program}: {error}"))
    });
    let child = match started {
        Some(Ok(child)) => child,
        Some(Err(error)) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
        None => return ExitCode::from(2),
    };
    guard::watch_start(false);
    let mut app = App::new();
    let rate = f64::from(args.fps);
    screen::Screen { size: args.size, windowed: false, complete: true, rate, ..default() }.open(&mut app);
    let plugin = FaceLinkPlugin::default().port(args.port).live_link_face(Some(0)).udp_json(Some(0));
    app.add_plugins((
        stage::StagePlugin {
            roles: vec![stage::Role::default()],
            size: args.size,
            windowed: false,
            panel: false,
            close: false,
            quality: args.quality,
            draw: true,
            ground: if args.green { Ground::Green } else { Ground::Transparent },
        },
        plugin,
        casting::CastingPlugin,
    ));
    if let Some(error) = app.world().get_resource::<EndpointState>().and_then(EndpointState::error) {
        eprintln!("{error}");
        return ExitCode::from(1);
    }
    let (frames, waiting) = crossbeam_channel::bounded(1);
    let (rate, count, newest) = (Duration::from_secs_f64(1.0 / rate), args.frames, waiting.clone());
    let feeder = thread::spawn(move || feed(child, &newest, rate, count));
    app.insert_resource(Out { frames, waiting, size: args.size })
        .insert_resource(Feeder(Some(feeder)))
        .add_systems(Update, (guard::started, read_back.run_if(resource_added::<Ready>), end));
    match app.run() {
        AppExit::Success => ExitCode::SUCCESS,
        AppExit::Error(code) => ExitCode::from(code.get()),
    }
}

/// From the moment that the avatar stands, every drawn frame is read back.
fn read_back(mut commands: Commands, canvas: Res<Canvas>) {
    commands.spawn(Readback::texture(canvas.0.clone())).observe(|read: On<ReadbackComplete>, out: Res<Out>| {
        out.send(rows(&read.data, out.size));
    });
}

/// The pixels without what the graphics card puts behind each row.
fn rows(data: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    let (row, height) = (4 * width as usize, height as usize);
    let padded = data.len() / height.max(1);
    data.chunks_exact(padded.max(1)).take(height).flat_map(|line| line.get(..row).unwrap_or(line)).copied().collect()
}

impl Out {
    /// The newest frame wins.
    fn send(&self, frame: Vec<u8>) {
        let mut frame = frame;
        while let Err(TrySendError::Full(back)) = self.frames.try_send(frame) {
            let _ = self.waiting.try_recv();
            frame = back;
        }
    }
}

/// Writes the newest frame at an even rate, until enough are written or the program has gone.
fn feed(mut child: Child, frames: &Receiver<Vec<u8>>, rate: Duration, count: Option<u64>) -> io::Result<ExitStatus> {
    let Some(mut input) = child.stdin.take() else { return child.wait() };
    let Ok(mut frame) = frames.recv() else { return child.wait() };
    let (mut next, mut written) = (Instant::now(), 0);
    while count.is_none_or(|count| written < count) {
        match input.write_all(&frame) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            done => done?,
        }
        written += 1;
        // A program that was away is not fed what it missed.
        next = (next + rate).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
        match frames.try_recv() {
            Ok(newer) => frame = newer,
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => break,
        }
    }
    drop(input);
    println!("{written} frames written");
    child.wait()
}

/// Ends with the program that is fed, and by its success.
fn end(mut feeder: ResMut<Feeder>, mut exit: MessageWriter<AppExit>) {
    if !feeder.0.as_ref().is_some_and(JoinHandle::is_finished) {
        return;
    }
    match feeder.0.take().map(JoinHandle::join) {
        Some(Ok(Ok(status))) if status.success() => exit.write(AppExit::Success),
        Some(Ok(Ok(status))) => {
            eprintln!("the program ended with {status}");
            exit.write(AppExit::from_code(1))
        }
        Some(Ok(Err(error))) => {
            eprintln!("cannot write to the program: {error}");
            exit.write(AppExit::from_code(1))
        }
        Some(Err(_)) | None => exit.write(AppExit::from_code(1)),
    };
}
