//! `facelink take info`: what a take is and has.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use facelink::take::{ObsRecording, RecordedSubject};
use indicatif::DecimalBytes;
use serde::Serialize;

use super::file::{busy, open, read_error};
use crate::{
    error::Error,
    table::{printable, take_name},
};

/// What a take is: its slate, length, subjects, and whether it was cut.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The take.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write one JSON object, for other programs.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Info<'a> {
    file: String,
    bytes: u64,
    duration_s: f64,
    complete: bool,
    slate: &'a str,
    take: u32,
    /// Seconds since the Unix epoch.
    started: f64,
    timecode: Option<&'a str>,
    timecode_rate: Option<&'a str>,
    recorder: &'a str,
    dropped: Option<u64>,
    damaged: u64,
    subjects: Vec<Subject<'a>>,
    /// Subjects with a performer's picture, and with their sound.
    pictures: Vec<&'a str>,
    sounds: Vec<&'a str>,
    attachments: Vec<&'a str>,
    /// What OBS recorded in step.
    #[serde(skip_serializing_if = "Option::is_none")]
    obs: Option<Obs<'a>>,
}

#[derive(Serialize)]
struct Obs<'a> {
    files: &'a [String],
    /// When its video begins, seconds after the first frame of a face; negative before it.
    offset_s: Option<f64>,
    /// By how much that may be off.
    within_s: Option<f64>,
    problem: Option<&'a str>,
}

impl<'a> Obs<'a> {
    fn of(obs: &'a ObsRecording, subjects: &[RecordedSubject]) -> Self {
        let first = subjects.iter().map(|subject| subject.first_s).reduce(f64::min).unwrap_or(0.0);
        Self {
            files: &obs.files,
            offset_s: obs.offset_ns.map(|offset| offset as f64 / 1e9 - first),
            within_s: obs.within_ns.map(|within| within as f64 / 1e9),
            problem: obs.problem.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct Subject<'a> {
    name: &'a str,
    source: &'a str,
    frames: u64,
    lost: u64,
    late: u64,
    fps: f64,
    first_s: f64,
    last_s: f64,
}

impl<'a> Subject<'a> {
    fn of(subject: &'a RecordedSubject) -> Self {
        Self {
            name: &subject.name,
            source: subject.source.as_str(),
            frames: subject.frames,
            lost: subject.lost,
            late: subject.late,
            fps: subject.fps,
            first_s: subject.first_s,
            last_s: subject.last_s,
        }
    }
}

pub fn run(args: &Args) -> Result<(), Error> {
    let mut reader = open(&args.file)?;
    let bar = busy(format!("reading {}", args.file.display()));
    let info = reader.info().map_err(|error| read_error(&args.file, &error))?;
    bar.finish_and_clear();
    let bytes = fs::metadata(&args.file).map_or(0, |metadata| metadata.len());
    let about = &info.about;
    let info = Info {
        file: args.file.display().to_string(),
        bytes,
        duration_s: info.duration.as_secs_f64(),
        complete: info.complete,
        slate: &about.slate,
        take: about.take,
        started: about.started.as_secs_f64(),
        timecode: about.timecode.as_deref(),
        timecode_rate: about.timecode_rate.as_deref(),
        recorder: &about.recorder,
        dropped: info.dropped,
        damaged: info.damaged,
        subjects: info.subjects.iter().map(Subject::of).collect(),
        pictures: info.pictures.iter().map(AsRef::as_ref).collect(),
        sounds: info.sounds.iter().map(AsRef::as_ref).collect(),
        attachments: reader.attachment_names(),
        obs: info.obs.as_ref().map(|obs| Obs::of(obs, &info.subjects)),
    };
    let mut out = io::stdout().lock();
    let written = if args.json { json(&info, &mut out) } else { words(&info, &mut out) };
    written.map_err(Error::Output)
}

fn json(info: &Info<'_>, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, info)?;
    writeln!(out)
}

fn words(info: &Info<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}, {:.1} s, {}", take_name(info.slate, info.take), info.duration_s, DecimalBytes(info.bytes))?;
    if !info.complete {
        writeln!(out, "It was cut: its last moment is missing.")?;
    }
    if let Some(timecode) = info.timecode {
        writeln!(out, "Timecode {timecode} at {} frames a second", info.timecode_rate.unwrap_or("?"))?;
    }
    if let Some(dropped) = info.dropped.filter(|dropped| *dropped > 0) {
        writeln!(out, "{dropped} frames and events were not recorded, because writing was too slow.")?;
    }
    if info.damaged > 0 {
        writeln!(out, "{} entries are damaged.", info.damaged)?;
    }
    if let Some(Obs { files, offset_s, within_s, problem }) = &info.obs {
        let files = if files.is_empty() { "no file".to_owned() } else { files.join(", ") };
        let offset = offset_s.map(|offset| {
            format!(", begins {:.3} s {} the first face", offset.abs(), if offset < 0.0 { "before" } else { "after" })
        });
        let within = within_s.map(|within| format!(" (within {:.1} ms)", within * 1000.0));
        let problem = problem.map(|problem| format!(": {problem}"));
        let [offset, within, problem] = [offset, within, problem].map(Option::unwrap_or_default);
        writeln!(out, "OBS: {}{offset}{within}{problem}", printable(&files))?;
    }
    for subject in &info.subjects {
        let name = printable(subject.name);
        let Subject { source, frames, lost, late, fps, first_s, last_s, .. } = subject;
        writeln!(
            out,
            "{name}: {source}, {frames} frames at {fps:.1} fps, {lost} lost, {late} late, from {first_s:.1} to {last_s:.1} s"
        )?;
    }
    for (what, names) in [("Picture", &info.pictures), ("Sound", &info.sounds)] {
        if !names.is_empty() {
            writeln!(out, "{what} of {}", printable(&names.join(", ")))?;
        }
    }
    Ok(())
}
