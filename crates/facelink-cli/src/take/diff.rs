//! `facelink take diff`: what two takes do not have in common.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write},
    path::{Path, PathBuf},
};

use facelink::{Blendshape, FaceFrame, take::TakeContent};
use serde::Serialize;

use super::file::{open, progress, read_error};
use crate::{error::Error, table::printable};

/// Compare two takes: the largest difference of each channel, and frames that only one of them has. Ends with 1 where
/// there is any, and with 2 where one of them cannot be read.
///
/// Frames are compared by subject and by the number that their source gave them, or in their order where it gave none.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A take.
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another one.
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Write one JSON object, for other programs.
    #[arg(long)]
    json: bool,
}

/// Which frame: its number, and how often that was there before.
type Key = (Option<u64>, u64);

/// The frames of each subject.
type Frames = BTreeMap<String, HashMap<Key, FaceFrame>>;

fn read(file: &Path) -> Result<Frames, Error> {
    let failed = |error| read_error(file, &error);
    let mut reader = open(file)?;
    let bar = progress(reader.duration());
    let mut counts: HashMap<(String, Option<u64>), u64> = HashMap::new();
    let mut frames = Frames::new();
    while let Some(entry) = reader.next_entry().map_err(failed)? {
        bar.set_position(entry.time.as_millis() as u64);
        if let TakeContent::Frame(frame) = entry.content {
            let count = counts.entry((frame.name.to_string(), frame.frame.sequence)).or_default();
            let key = (frame.frame.sequence, *count);
            *count += 1;
            frames.entry(frame.name.to_string()).or_default().insert(key, frame.frame);
        }
    }
    bar.finish_and_clear();
    Ok(frames)
}

/// What is different of one subject.
#[derive(Debug, Default, Serialize, PartialEq)]
struct Subject {
    /// Frames that both have.
    frames: usize,
    only_a: usize,
    only_b: usize,
    /// Largest difference of each channel that has one.
    channels: BTreeMap<String, f64>,
    /// Frames that have a value that the other has not, or are tracked in one alone.
    unlike: usize,
}

impl Subject {
    fn differs(&self) -> bool {
        self.only_a + self.only_b + self.unlike > 0 || !self.channels.is_empty()
    }

    fn note(&mut self, channel: &str, a: f32, b: f32) {
        if a.to_bits() == b.to_bits() {
            return;
        }
        let difference = f64::from(a) - f64::from(b);
        let largest = self.channels.entry(channel.to_owned()).or_default();
        *largest = largest.max(difference.abs());
    }

    fn compare(&mut self, a: &FaceFrame, b: &FaceFrame) {
        for shape in Blendshape::ALL {
            self.note(shape.name(), a.weights[shape.index()], b.weights[shape.index()]);
        }
        let mut unlike = a.present != b.present || a.tracked != b.tracked;
        for channel in &a.channels {
            match b.channels.iter().find(|other| other.name == channel.name) {
                Some(other) => self.note(&channel.name, channel.value, other.value),
                None => unlike = true,
            }
        }
        unlike |= b.channels.iter().any(|channel| a.channels.iter().all(|other| other.name != channel.name));
        match (a.head, b.head) {
            (Some(a), Some(b)) => {
                for (axis, (a, b)) in ["x", "y", "z", "w"].iter().zip(a.rotation.iter().zip(b.rotation)) {
                    self.note(&format!("head.rotation.{axis}"), *a, b);
                }
                match (a.position, b.position) {
                    (Some(a), Some(b)) => {
                        for (axis, (a, b)) in ["x", "y", "z"].iter().zip(a.iter().zip(b)) {
                            self.note(&format!("head.position.{axis}"), *a, b);
                        }
                    }
                    (a, b) => unlike |= a.is_some() != b.is_some(),
                }
            }
            (a, b) => unlike |= a.is_some() != b.is_some(),
        }
        match (a.gaze, b.gaze) {
            (Some(a), Some(b)) => {
                for (name, a, b) in [
                    ("gaze.left.yaw", a.left.yaw, b.left.yaw),
                    ("gaze.left.pitch", a.left.pitch, b.left.pitch),
                    ("gaze.right.yaw", a.right.yaw, b.right.yaw),
                    ("gaze.right.pitch", a.right.pitch, b.right.pitch),
                ] {
                    self.note(name, a, b);
                }
            }
            (a, b) => unlike |= a.is_some() != b.is_some(),
        }
        self.unlike += usize::from(unlike);
    }
}

fn compare(a: &Frames, b: &Frames) -> BTreeMap<String, Subject> {
    let none = HashMap::new();
    let mut subjects = BTreeMap::new();
    for name in a.keys().chain(b.keys()) {
        let (a, b) = (a.get(name).unwrap_or(&none), b.get(name).unwrap_or(&none));
        let mut subject = Subject::default();
        for (key, frame) in a {
            match b.get(key) {
                Some(other) => {
                    subject.frames += 1;
                    subject.compare(frame, other);
                }
                None => subject.only_a += 1,
            }
        }
        subject.only_b = b.len() - subject.frames;
        subjects.insert(name.clone(), subject);
    }
    subjects
}

pub fn run(args: &Args) -> Result<(), Error> {
    let read = |file| read(file).map_err(|error| Error::Incomparable(error.to_string()));
    let subjects = compare(&read(&args.a)?, &read(&args.b)?);
    let differs = subjects.values().any(Subject::differs);
    let mut out = io::stdout().lock();
    let written = if args.json { json(&subjects, differs, &mut out) } else { words(&subjects, differs, &mut out) };
    written.map_err(Error::Output)?;
    if differs { Err(Error::Different) } else { Ok(()) }
}

fn json(subjects: &BTreeMap<String, Subject>, differs: bool, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &serde_json::json!({"equal": !differs, "subjects": subjects}))?;
    writeln!(out)
}

fn words(subjects: &BTreeMap<String, Subject>, differs: bool, out: &mut impl Write) -> io::Result<()> {
    for (name, subject) in subjects {
        let Subject { frames, only_a, only_b, unlike, channels } = subject;
        writeln!(
            out,
            "{}: {frames} frames in both, {only_a} in the first alone, {only_b} in the second alone",
            printable(name)
        )?;
        if *unlike > 0 {
            writeln!(out, "  {unlike} frames have a value in one alone")?;
        }
        for (channel, largest) in channels {
            writeln!(out, "  {:<24} {largest:.9}", printable(channel))?;
        }
    }
    writeln!(out, "{}", if differs { "The takes differ." } else { "The faces are the same, bit for bit." })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn take_diff_names_channels_and_frames() {
        let frame = |number: u64, jaw: f32| {
            let mut frame = FaceFrame { sequence: Some(number), ..FaceFrame::neutral() };
            frame.set(Blendshape::JawOpen, jaw);
            ((Some(number), 0), frame)
        };
        let a = Frames::from([("Ann".to_owned(), HashMap::from([frame(0, 0.5), frame(1, 0.25), frame(2, 0.0)]))]);
        let b = Frames::from([
            ("Ann".to_owned(), HashMap::from([frame(1, 0.5), frame(2, -0.0)])),
            ("Bob".to_owned(), HashMap::from([frame(0, 0.0)])),
        ]);
        let subjects = compare(&a, &b);
        let ann = &subjects["Ann"];
        assert_eq!((ann.frames, ann.only_a, ann.only_b, ann.unlike), (2, 1, 0, 0));
        assert_eq!(ann.channels, BTreeMap::from([("jawOpen".to_owned(), 0.25)]));
        assert_eq!(subjects["Bob"], Subject { only_b: 1, ..Subject::default() });
        assert!(!compare(&a, &a).values().any(Subject::differs));
    }
}
