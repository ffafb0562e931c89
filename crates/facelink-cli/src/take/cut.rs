//! `facelink take cut`: a part of a take as a new one.

use std::{
    collections::HashMap,
    io::{Read, Seek, Write},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    file::{attachments, named, open, progress, read_error, time},
    input::write_whole,
};
use crate::error::Error;
use facelink::{
    event::LinkEvent,
    take::{TakeAbout, TakeContent, TakeReadError, TakeReader, TakeWriteError, TakeWriter},
};

/// Cut a take to what lies between two times, or to some of its subjects, as a new file. Frames stay as they are, bit for bit.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The take.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The first moment to keep: seconds, or H:MM:SS [default: the start].
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Duration>,
    /// The moment to end before [default: the end].
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Duration>,
    /// Keep this subject, under another name if one is given; may be repeated [default: all, under their own].
    #[arg(long = "subject", value_name = "NAME[=NEW]", value_parser = named)]
    subjects: Vec<(String, String)>,
    /// The new file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<(), Error> {
    let mut reader = open(&args.file)?;
    let from = args.from.unwrap_or_default();
    let whole = reader.duration();
    let until = args.until.unwrap_or(whole);
    if from >= until || from >= whole {
        return Err(Error::Plain(format!(
            "nothing of the take lies between {:.3} s and {:.3} s; it is {:.3} s long",
            from.as_secs_f64(),
            until.as_secs_f64(),
            whole.as_secs_f64()
        )));
    }
    let same = |file: &PathBuf| file.canonicalize().ok();
    if same(&args.out).is_some_and(|out| Some(out) == same(&args.file)) {
        return Err(Error::Plain("--out is the take itself; a cut is a new file".to_owned()));
    }

    let mut about = reader.about().clone();
    about.started += from;
    about.notes.insert("cut_from_s".to_owned(), from.as_secs_f64().to_string());
    about.notes.insert("cut_of".to_owned(), args.file.display().to_string());
    let there = if args.subjects.is_empty() {
        Vec::new()
    } else {
        reader.info().map_err(|error| read_error(&args.file, &error))?.subjects
    };
    if let Some((missing, _)) =
        args.subjects.iter().find(|(name, _)| !there.iter().any(|subject| *subject.name == **name))
    {
        let there: Vec<_> = there.iter().map(|subject| &*subject.name).collect();
        return Err(Error::Plain(format!(
            "{}: no subject `{missing}`; there are: {}",
            args.file.display(),
            there.join(", ")
        )));
    }
    let subjects: HashMap<&str, Arc<str>> =
        args.subjects.iter().map(|(name, new)| (name.as_str(), new.as_str().into())).collect();
    // The name that a subject is kept under.
    let kept = |name: &Arc<str>| if subjects.is_empty() { Some(name.clone()) } else { subjects.get(&**name).cloned() };

    let part = Part { about, from, until: args.until, length: until.min(whole).saturating_sub(from) };
    let mut frames = 0;
    write_whole(&args.out, |file| {
        frames = copy(&mut reader, &part, kept, file).map_err(|error| match error {
            CopyError::Read(error) => read_error(&args.file, &error),
            CopyError::Write(error) => Error::Plain(format!("{}: {error}", args.out.display())),
        })?;
        Ok(())
    })?;
    // Next to a take that goes to the standard output, it would be a part of it.
    eprintln!("{}: {:.3} s, {frames} frames", args.out.display(), part.length.as_secs_f64());
    Ok(())
}

/// What is kept of a take.
struct Part {
    about: TakeAbout,
    from: Duration,
    /// Without it, the end of the take is the end.
    until: Option<Duration>,
    length: Duration,
}

#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error(transparent)]
    Read(#[from] TakeReadError),
    #[error(transparent)]
    Write(#[from] TakeWriteError),
}

/// Copies what lies within, of the subjects for which `kept` has a name. Returns the number of frames.
fn copy<R: Read + Seek>(
    reader: &mut TakeReader<R>,
    part: &Part,
    kept: impl Fn(&Arc<str>) -> Option<Arc<str>>,
    out: &mut dyn Write,
) -> Result<u64, CopyError> {
    let start = Instant::now();
    let mut writer = TakeWriter::new(out, &part.about, start)?;
    for (name, kind, data) in attachments(reader)? {
        writer.attach(&name, &kind, &data)?;
    }
    let bar = progress(part.length);
    reader.seek(part.from)?;
    let mut frames = 0;
    while let Some(entry) = reader.next_entry()? {
        if part.until.is_some_and(|until| entry.time >= until) {
            break;
        }
        let since = entry.time.saturating_sub(part.from);
        let at = start + since;
        bar.set_position(since.as_millis() as u64);
        match entry.content {
            TakeContent::Frame(mut frame) => {
                let Some(name) = kept(&frame.name) else { continue };
                frame.name = name;
                frames += 1;
                writer.frame(&frame.at(at))?;
            }
            TakeContent::Event(mut event) => {
                if let LinkEvent::SubjectAppeared { name, .. }
                | LinkEvent::SubjectLost { name, .. }
                | LinkEvent::Emotion { name, .. }
                | LinkEvent::Gesture { name, .. }
                | LinkEvent::Cut { name, .. } = &mut event
                {
                    let Some(new) = kept(name) else { continue };
                    *name = new;
                }
                writer.event(&event, at)?;
            }
            TakeContent::Phone(recording) => writer.phone(&recording, at)?,
            TakeContent::Obs(mut recording) => {
                let from = i64::try_from(part.from.as_nanos()).unwrap_or(i64::MAX);
                recording.offset_ns = recording.offset_ns.map(|offset| offset.saturating_sub(from));
                writer.obs(&recording, at)?;
            }
            TakeContent::Mark(text) => writer.mark(&text, at)?,
            TakeContent::Packet(packet) => writer.packet(&packet, at)?,
            TakeContent::Picture(mut picture) => {
                let Some(new) = kept(&picture.subject) else { continue };
                picture.subject = new;
                writer.picture(&picture, at)?;
            }
            TakeContent::Sound(mut sound) => {
                let Some(new) = kept(&sound.subject) else { continue };
                sound.subject = new;
                writer.sound(&sound, at)?;
            }
            TakeContent::Stats(text) => {
                if let Ok(stats) = serde_json::from_str::<&serde_json::value::RawValue>(&text) {
                    writer.stats(&stats, at)?;
                }
            }
            _ => {}
        }
    }
    writer.finish(start + part.length)?;
    bar.finish_and_clear();
    Ok(frames)
}
