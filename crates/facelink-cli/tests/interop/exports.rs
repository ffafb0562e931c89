//! Exported takes, read back by libraries of other makers: pygltflib and OpenUSD from PyPI, three.js and three-vrm from npm.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use facelink::{
    event::{SubjectFrame, SubjectId},
    performer::Performance,
    source::SourceKind,
    take::{
        FrameRate, Take, TakeAbout, TakeFrame, TakeWriter,
        llf_csv::{self, CountName},
    },
    timing::SourceClock,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{file, have, missing, noisy, take_readers};

/// What no weight may be off by.
const BAR: f64 = 1.0 / 510.0;
/// And no turn, radians: a quarter of a degree.
const TURN: f64 = 0.0044;
const RATES: [&str; 8] = ["23.976", "24", "25", "29.97", "30", "50", "59.94", "60"];

/// A take of a performance of nearly eight seconds, as a CSV file, and its length in seconds.
fn take(folder: &Path) -> (PathBuf, f64) {
    let performance = Performance::new(21);
    let frame = |i| {
        let time = FrameRate::SIXTY.time_of(i);
        TakeFrame { time, frame: performance.frame_at(time) }
    };
    let take = Take::new((0..471).map(frame).collect()).expect("frames");
    let path = folder.join("Ann.csv");
    llf_csv::encode(&take, CountName::New, &mut File::create(&path).expect("a file")).expect("written");
    (path, FrameRate::SIXTY.time_of(470).as_secs_f64())
}

/// A recording of two faces: one that is lost in the middle, by its tracker and then by its link, and one that comes late.
/// Its file, and of each subject the name, when its first frame came and how long it is there.
fn recording(folder: &Path) -> (PathBuf, [(&'static str, f64, f64); 2]) {
    let start = Instant::now();
    let path = folder.join("Szene Ä.mcap");
    let about = TakeAbout::new("Szene Ä", 1, Duration::from_secs(1_790_000_000));
    let mut writer = TakeWriter::new(File::create(&path).expect("a file"), &about, start).expect("begun");
    let mut clocks = [SourceClock::new(start), SourceClock::new(start)];
    let names = ["Zoë 顔", "Bob"];
    for number in 0..301_u32 {
        let captured = Duration::from_micros(16_683) * number;
        for place in 0..2 {
            let is_there = if place == 0 { !(150..200).contains(&number) } else { number >= 97 };
            if !is_there {
                continue;
            }
            let received = start + captured + Duration::from_millis(3);
            let mut frame = Performance::new(place as u64 + 5).frame_at(captured);
            frame.tracked = place == 1 || !(90..120).contains(&number);
            frame.capture_time = Some(captured);
            let stamp = clocks[place].record(Some(captured), received);
            writer
                .frame(&SubjectFrame {
                    id: SubjectId(1 + place as u64),
                    name: names[place].into(),
                    source: SourceKind::LiveLinkFace,
                    frame,
                    speech: None,
                    received,
                    stamp: Some(stamp),
                    late: false,
                    repeated: false,
                })
                .expect("written");
        }
    }
    writer.finish(start + Duration::from_secs(6)).expect("ended");
    let at = |number: u32| f64::from(number) * 0.016_683;
    (path, [(names[0], 0.003, at(300)), (names[1], at(97) + 0.003, at(300 - 97))])
}

/// `facelink take export`: the file that it wrote.
fn export(take: &Path, format: &str, rate: Option<&str>, more: &[&str]) -> PathBuf {
    let name = rate.unwrap_or("recorded");
    let out = take.with_file_name(format!("{name}.{}", if format == "llf-csv" { "csv" } else { format }));
    let mut command = Command::new(env!("CARGO_BIN_EXE_facelink"));
    command.args(["take", "export"]).arg(take).args(["--format", format, "--out"]).arg(&out).args(more);
    if let Some(rate) = rate {
        command.args(["--rate", rate]);
    }
    let done = command.output().expect("facelink runs");
    assert!(done.status.success(), "{format} at {name}: {}", String::from_utf8_lossy(&done.stderr));
    out
}

/// What a reader prints, a line of JSON for each file.
fn read(mut command: Command) -> Vec<Value> {
    let done = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{command:?}: {said}");
    let text = String::from_utf8(done.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

fn assert_good(found: &Value, length: f64, shapes: u64) {
    let number = |name: &str| found[name].as_f64().unwrap_or_else(|| panic!("{name} of {found}"));
    eprintln!("{found}");
    assert!(number("error") <= BAR, "{found}");
    assert!(number("turn") <= TURN, "{found}");
    assert!((number("duration") - length).abs() < 0.001, "{length} s: {found}");
    assert_eq!(found["shapes"].as_u64(), Some(shapes), "{found}");
}

/// Each of these formats at every rate, with the JSON lines of the frames of that rate.
fn exports(take: &Path, formats: &[&str], more: &[&str]) -> Vec<(PathBuf, Vec<PathBuf>)> {
    let rates = std::iter::once(None).chain(RATES.map(Some));
    rates
        .map(|rate| {
            let expected = export(take, "jsonl", rate, &[]);
            (expected, formats.iter().map(|format| export(take, format, rate, more)).collect())
        })
        .collect()
}

#[test]
fn exports_are_read_by_pygltflib_and_openusd() {
    let Some(command) = take_readers("pygltflib, pxr.UsdSkel") else { return };
    let _noisy = noisy();
    let folder = TempDir::new().expect("a folder");
    let (take, length) = take(folder.path());
    for (expected, files) in exports(&take, &["glb", "vrma", "usda"], &[]) {
        let mut reader = command();
        reader.arg(file("tests/peers/read_takes.py")).arg(&expected).args(&files);
        let found = read(reader);
        assert_eq!(found.len(), 3);
        for found in &found {
            assert_good(found, length, 52);
            assert!(found["turns"].as_u64().is_some_and(|turns| turns > 0), "{found}");
        }
    }
}

#[test]
fn exports_of_faces_with_gaps_last_as_long() {
    let Some(command) = take_readers("pygltflib, pxr.UsdSkel") else { return };
    let _noisy = noisy();
    let folder = TempDir::new().expect("a folder");
    let (path, subjects) = recording(folder.path());
    for (name, first, length) in subjects {
        // As the subject is there, and as the recording goes.
        for (more, length) in
            [(&["--subject", name][..], length), (&["--subject", name, "--from-start"], first + length)]
        {
            for rate in [None, Some("23.976"), Some("30"), Some("59.94")] {
                let expected = export(&path, "jsonl", rate, more);
                let rows = fs::read_to_string(&expected).expect("lines").lines().count();
                let fps: f64 = rate.map_or(59.94, |rate| rate.parse().expect("a number"));
                if rate.is_some() {
                    assert!((rows as f64 - 1.0 - (length * fps).floor()).abs() <= 1.0, "{rows} rows in {length} s");
                }
                let files = ["glb", "vrma", "usda"].map(|format| export(&path, format, rate, more));
                let mut reader = command();
                reader.arg(file("tests/peers/read_takes.py")).arg(&expected).args(&files);
                for found in read(reader) {
                    assert_good(&found, length, 52);
                }
            }
        }
    }
    let mut refused = Command::new(env!("CARGO_BIN_EXE_facelink"));
    refused.args(["take", "export"]).arg(&path).args(["--format", "glb", "--out", "-"]);
    let said = refused.output().expect("facelink runs");
    assert!(!said.status.success() && String::from_utf8_lossy(&said.stderr).contains("Bob, Zoë 顔"), "{said:?}");
}

#[test]
fn exports_are_played_by_three_and_three_vrm() {
    let usual = || std::env::home_dir().map(|home| home.join(".cache/facelink/npm"));
    let Some(packages) = std::env::var_os("FACELINK_NODE_PACKAGES").map(PathBuf::from).or_else(usual) else { return };
    if !have("node", &["--version"], "nodejs") {
        return;
    }
    if !packages.join("node_modules/@pixiv/three-vrm-animation").is_dir() {
        missing(&format!("{} lacks the packages of tests/peers/package.json (npm ci there)", packages.display()));
        return;
    }
    let _noisy = noisy();
    let folder = TempDir::new().expect("a folder");
    let (take, length) = take(folder.path());
    let reader = |expected: &Path, files: &[PathBuf]| {
        let mut command = Command::new("node");
        command.arg(file("tests/peers/read_takes.mjs")).arg(&packages).arg(expected).args(files);
        read(command)
    };
    for (expected, files) in exports(&take, &["glb", "vrma"], &[]) {
        for found in reader(&expected, &files) {
            assert_good(&found, length, 52);
        }
    }
    // And an avatar with several meshes.
    let aria = file("assets/avatars/aria.glb");
    let expected = export(&take, "jsonl", None, &[]);
    let animated = export(&take, "glb", None, &["--model", aria.to_str().expect("UTF-8")]);
    let found = reader(&expected, &[animated]);
    assert_good(&found[0], length, 52);
}

#[test]
fn exported_csv_is_the_file_that_it_came_from() {
    let _noisy = noisy();
    let folder = TempDir::new().expect("a folder");
    let (take, length) = take(folder.path());
    let same = export(&take, "llf-csv", None, &[]);
    assert_eq!(fs::read(&same).expect("written"), fs::read(&take).expect("there"));
    let old = export(&take, "llf-csv", None, &["--header", "old"]);
    assert!(fs::read_to_string(&old).expect("written").starts_with("Timecode,BlendShapeCount,EyeBlinkLeft,"));
    for rate in RATES {
        let read = llf_csv::read(&export(&take, "llf-csv", Some(rate), &[])).expect("a take");
        let wanted: FrameRate = rate.parse().expect("a rate");
        assert!((read.fps() - wanted.as_f64()).abs() < 0.01, "{rate}: {}", read.fps());
        let last = read.frames().last().expect("frames").time;
        let missing = Duration::from_secs_f64(length).saturating_sub(last);
        assert!(missing < wanted.time_of(1), "{rate}: {missing:?}");
    }
}

#[test]
fn edited_takes_are_exported_again() {
    let _noisy = noisy();
    let folder = TempDir::new().expect("a folder");
    let (take, _) = take(folder.path());
    let facelink = |args: &[&str], input: &Path, out: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_facelink"));
        command.args(["take", "edit"]).arg(input).args(args).arg("--out").arg(out);
        let done = command.output().expect("facelink runs");
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let frames = |path: &Path| -> Vec<Value> {
        let lines = fs::read_to_string(export(path, "jsonl", None, &[])).expect("written");
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    // Mirrored as a take file, and back as another: what it was, at the times that it had.
    let (mirrored, back) = (folder.path().join("mirrored.mcap"), folder.path().join("back.mcap"));
    facelink(&["--mirror", "--name", "Ann II"], &take, &mirrored);
    facelink(&["--mirror", "--from", "1", "--until", "2"], &mirrored, &back);
    let (was, is) = (frames(&take), frames(&back));
    assert_eq!(is.len(), 61);
    for (place, frame) in is.iter().enumerate() {
        assert_eq!(frame["blendshapes"], was[60 + place]["blendshapes"], "frame {place}");
        let time = |frame: &Value| frame["time"].as_f64().expect("a time");
        assert!((time(frame) - (time(&was[60 + place]) - time(&was[60]))).abs() < 1e-6, "frame {place}");
    }
    let mut wrong = Command::new(env!("CARGO_BIN_EXE_facelink"));
    wrong.args(["take", "export", "--format", "vrma", "--subject", "Bob", "--out", "-"]).arg(&mirrored);
    let done = wrong.output().expect("facelink runs");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success() && said.contains("there are: Ann II"), "{said}");
}
