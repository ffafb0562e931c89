//! Sound inputs that ALSA's file plug-in plays: no sound card is needed.

#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use std::{
    f32::consts::TAU,
    fs,
    io::{BufRead, BufReader, Write},
    net::UdpSocket,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// The plug-in's file in the format that the command asks for: stereo floats at 48 kHz.
fn record(file: &Path) {
    let sample = |place: u32| {
        let time = place as f32 / 48_000.0;
        let harmonic = |number: u32| {
            let hz = 120.0 * number as f32;
            let near: f32 =
                [730.0, 1090.0, 2440.0].map(|formant| 1.0 / (1.0 + ((hz - formant) / 80.0_f32).powi(2))).iter().sum();
            near / number as f32 * (TAU * hz * time).sin()
        };
        if place < 9_600 { 0.0 } else { 0.4 * (1..30).map(harmonic).sum::<f32>() }
    };
    let samples: Vec<u8> = (0..48_000).map(sample).flat_map(|x| [x, x]).flat_map(f32::to_le_bytes).collect();
    fs::write(file, samples).unwrap();
}

fn facelink(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_facelink"));
    command.env("HOME", home).env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Makes a file the system's microphone.
fn play(home: &Path, sound: &Path) {
    let config = format!(
        "pcm.!default {{ type plug slave.pcm \"wavein\" }}\npcm.wavein {{ type file slave.pcm \"null\" file \"/dev/null\" \
         infile \"{}\" format \"raw\" }}\n",
        sound.display()
    );
    fs::write(home.join(".asoundrc"), config).unwrap();
}

/// An endpoint, what it says first, and what follows.
fn listen(home: &Path, more: &[&str]) -> (Running, Value, impl IntoIterator<Item = Value>) {
    let args = ["listen", "--json", "--port", "0", "--live-link-face", "0", "--udp-json", "0"];
    let mut listener = Running(facelink(home).args(args).args(more).spawn().unwrap());
    let lines = BufReader::new(listener.0.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let listening = lines.next().unwrap();
    (listener, listening, lines)
}

#[test]
fn listen_takes_timecode_of_an_audio_input() {
    let home = tempfile::tempdir().unwrap();
    let wav = home.path().join("ltc.wav");
    let written = facelink(home.path()).args(["ltc", "write", "--from", "10:00:00:00"]).arg(&wav).status().unwrap();
    assert!(written.success());
    let samples: Vec<f32> =
        hound::WavReader::open(&wav).unwrap().samples::<i16>().map(|x| f32::from(x.unwrap()) / 32768.0).collect();
    let pipe = home.path().join("sound.raw");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    play(home.path(), &pipe);
    // An input is as fast as its clock; it is opened once to be asked what it can, and again to be heard.
    thread::spawn(move || {
        let start = Instant::now();
        while let Ok(mut out) = fs::OpenOptions::new().write(true).open(&pipe) {
            let begin = (start.elapsed().as_millis() / 10) as usize;
            for (place, piece) in samples.chunks(480).enumerate().skip(begin) {
                let due = start + Duration::from_millis(10) * place as u32;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let stereo: Vec<u8> = piece.iter().flat_map(|x| [*x, *x]).flat_map(f32::to_le_bytes).collect();
                if out.write_all(&stereo).is_err() {
                    break;
                }
            }
        }
    });

    let (_listener, listening, lines) = listen(home.path(), &["--timecode", "ltc", "--timecode-rate", "25"]);
    let to = listening["udp_json"].as_str().unwrap().to_owned();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    thread::spawn(move || {
        while sender.send_to(br#"{"subject":"Ann","blendshapes":{"jawOpen":0.5}}"#, &to).is_ok() {
            thread::sleep(Duration::from_millis(16));
        }
    });
    // Seconds since midnight by the timecode; before it is there, frames have none.
    let times = lines.into_iter().filter_map(|line| line["captureTime"].as_f64());
    let times: Vec<f64> = times.filter(|time| *time >= 36_000.0).take(60).collect();
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]), "{times:?}");
    assert!(times.iter().all(|time| *time < 36_060.0), "{times:?}");
    let pace = (times[59] - times[0]) / 59.0;
    assert!((0.008..0.1).contains(&pace), "a frame each {pace} s");
}

#[test]
fn send_microphone_moves_mouth() {
    let home = tempfile::tempdir().unwrap();
    let sound = home.path().join("sound.raw");
    record(&sound);
    play(home.path(), &sound);
    let (_listener, listening, lines) = listen(home.path(), &[]);
    let to = format!("ws://{}", listening["http"].as_str().unwrap());

    let args = ["send", "--via", "websocket", "--to", &to, "--subject", "Ann", "--microphone"];
    let _sender = Running(facelink(home.path()).args(args).spawn().unwrap());
    let says = |line: &Value| {
        let shapes = line["blendshapes"].as_object();
        line["event"] == "frame" && shapes.is_some_and(|shapes| shapes.keys().any(|name| name.starts_with("viseme_")))
    };
    let said = lines.into_iter().find(says);
    assert_eq!(said.unwrap()["subject"], "Ann");

    let unknown = facelink(home.path()).args(["send", "--microphone", "no such device"]).output().unwrap();
    let error = String::from_utf8(unknown.stderr).unwrap();
    assert!(
        error.contains("no microphone is called no such device; there are: ") && error.contains("wavein"),
        "{error}"
    );
    assert_eq!(unknown.status.code(), Some(1));
}
