//! `facelink send --microphone` with a microphone that ALSA's file plug-in plays: no sound card is needed.

#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use std::{
    f32::consts::TAU,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
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

#[test]
fn send_microphone_moves_mouth() {
    let home = tempfile::tempdir().unwrap();
    let sound = home.path().join("sound.raw");
    record(&sound);
    let config = format!(
        "pcm.!default {{ type plug slave.pcm \"wavein\" }}\npcm.wavein {{ type file slave.pcm \"null\" file \"/dev/null\" \
         infile \"{}\" format \"raw\" }}\n",
        sound.display()
    );
    fs::write(home.path().join(".asoundrc"), config).unwrap();
    let args = ["listen", "--json", "--port", "0", "--live-link-face", "0", "--udp-json", "0"];
    let mut listener = Running(facelink(home.path()).args(args).spawn().unwrap());
    let mut lines = BufReader::new(listener.0.stdout.take().unwrap()).lines();
    let listening: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let to = format!("ws://{}", listening["http"].as_str().unwrap());

    let args = ["send", "--via", "websocket", "--to", &to, "--subject", "Ann", "--microphone"];
    let _sender = Running(facelink(home.path()).args(args).spawn().unwrap());
    let says = |line: &Value| {
        let shapes = line["blendshapes"].as_object();
        line["event"] == "frame" && shapes.is_some_and(|shapes| shapes.keys().any(|name| name.starts_with("viseme_")))
    };
    let said = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()).find(says);
    assert_eq!(said.unwrap()["subject"], "Ann");

    let unknown = facelink(home.path()).args(["send", "--microphone", "no such device"]).output().unwrap();
    let error = String::from_utf8(unknown.stderr).unwrap();
    assert!(
        error.contains("no microphone is called no such device; there are: ") && error.contains("wavein"),
        "{error}"
    );
    assert_eq!(unknown.status.code(), Some(1));
}
