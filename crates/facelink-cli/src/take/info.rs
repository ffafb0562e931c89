//! `facelink take info`: what a take is and has.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use facelink::take::RecordedSubject;
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
    attachments: Vec<&'a str>,
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
        attachments: reader.attachment_names(),
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
    for subject in &info.subjects {
        let name = printable(subject.name);
        let Subject { source, frames, lost, late, fps, first_s, last_s, .. } = subject;
        writeln!(
            out,
            "{name}: {source}, {frames} frames at {fps:.1} fps, {lost} lost, {late} late, from {first_s:.1} to {last_s:.1} s"
        )?;
    }
    Ok(())
}
