//! Takes with OBS itself, of Debian's package, on a virtual display.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{LIMIT, Process, have, noisy};

/// A folder of settings as OBS keeps them: its WebSocket on, a small picture, no hardware.
fn settings(home: &Path, port: u16) -> PathBuf {
    let (config, videos) = (home.join(".config/obs-studio"), home.join("videos"));
    let profile = config.join("basic/profiles/Untitled");
    for folder in [&profile, &config.join("basic/scenes"), &videos] {
        fs::create_dir_all(folder).expect("a folder");
    }
    let global = format!(
        "[General]\nFirstRun=true\nEnableAutoUpdates=false\nLastVersion=486539266\n\n[Basic]\nProfile=Untitled\nProfileDir=Untitled\n\
         SceneCollection=Untitled\nSceneCollectionFile=Untitled\n\n[OBSWebSocket]\nFirstLoad=false\nServerEnabled=true\n\
         ServerPort={port}\nAlertsEnabled=false\nAuthRequired=true\nServerPassword=correct horse\n"
    );
    fs::write(config.join("global.ini"), global).expect("a file");
    let basic = format!(
        "[General]\nName=Untitled\n\n[Video]\nBaseCX=160\nBaseCY=120\nOutputCX=160\nOutputCY=120\nFPSType=0\nFPSCommon=30\n\n\
         [SimpleOutput]\nFilePath={}\nRecFormat=mkv\nRecQuality=Small\nRecEncoder=x264\nVBitrate=300\n\n[Output]\nMode=Simple\n\
         FilenameFormatting=own %hh-%mm-%ss\n",
        videos.display()
    );
    fs::write(profile.join("basic.ini"), basic).expect("a file");
    videos
}

/// OBS on a free port; `None` where it is not installed.
fn obs(home: &Path) -> Option<([Process; 2], u16, PathBuf)> {
    if !have("obs", &["--version"], "obs-studio") || !have("Xvfb", &["-help"], "xvfb") {
        return None;
    }
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("bound").port();
    let videos = settings(home, port);
    let mut display = Command::new("Xvfb");
    display.args(["-displayfd", "1", "-screen", "0", "320x240x24", "-nolisten", "tcp"]);
    let display = Process::start(display, "Xvfb");
    let number: u32 = display.find(|line| line.trim().parse().ok());
    let mut command = Command::new("obs");
    command.args(["--minimize-to-tray", "--multi"]).env("DISPLAY", format!(":{number}"));
    command.env("HOME", home).env("XDG_CONFIG_HOME", home.join(".config")).env("LIBGL_ALWAYS_SOFTWARE", "1");
    Some(([Process::start(command, "OBS"), display], port, videos))
}

fn facelink(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_facelink"));
    command.args(arguments).env("OBS_PASSWORD", "correct horse");
    command
}

/// On free ports, without a phone.
fn listening(command: &str, more: &[&str]) -> Command {
    let ports = [command, "--json", "--port", "0", "--live-link-face", "off", "--udp-json", "0"];
    facelink(&[ports.as_slice(), more].concat())
}

#[test]
fn obs_itself_records_with_a_take() {
    let _noisy = noisy();
    let home = tempfile::tempdir().expect("a folder");
    let Some((running, port, videos)) = obs(home.path()) else { return };
    let end = Instant::now() + 2 * LIMIT;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "OBS does not listen: {}", running[0].said());
        std::thread::sleep(Duration::from_millis(100));
    }
    let (url, take) = (format!("ws://127.0.0.1:{port}"), home.path().join("a.mcap"));
    let take = take.to_str().expect("a path");
    for number in ["3", "4"] {
        let record = listening(
            "record",
            &[
                "--seconds",
                "3",
                "--slate",
                "scene 7",
                "--take",
                number,
                "--out",
                take,
                "--obs",
                &url,
                "--obs-password-env",
                "OBS_PASSWORD",
            ],
        )
        .output()
        .expect("runs");
        let said = String::from_utf8_lossy(&record.stdout).into_owned() + &String::from_utf8_lossy(&record.stderr);
        assert!(record.status.success(), "{said}");
        let info = facelink(&["take", "info", "--json", take]).output().expect("runs");
        let info: Value = serde_json::from_slice(&info.stdout).expect("JSON");
        let video = videos.join(format!("scene 7_00{number}.mkv"));
        assert_eq!(info["obs"]["files"], serde_json::json!([video]), "{info}\n{said}");
        assert!(info["obs"]["problem"].is_null(), "{info}");
        let offset = info["obs"]["offset_s"].as_f64().expect("an offset");
        println!("OBS began {:.1} ms after the take, within {} s", 1000.0 * offset, info["obs"]["within_s"]);
        assert!((0.0..3.0).contains(&offset), "{info}");
        assert!(fs::metadata(&video).is_ok_and(|file| file.len() > 0), "{}", video.display());
    }
    let wrong = listening("listen", &["--obs", &url, "--obs-password-env", "HOME"]);
    let wrong = Process::start(wrong, "a wrong password");
    assert!(wrong.says_within(LIMIT, |line| line.contains("\"obs\"") && line.contains("refuses the password")));
    drop(wrong);
    // Its own pattern of names is back, as far as a recording by hand shows.
    let basic =
        fs::read_to_string(home.path().join(".config/obs-studio/basic/profiles/Untitled/basic.ini")).expect("a file");
    assert!(basic.contains("FilenameFormatting=own %hh-%mm-%ss"), "{basic}");
    drop(running);
}
