//! `facelink take cut`: a part of a take as a new one.

use std::{
    collections::HashMap,
    fs::File,
    io::BufWriter,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::file::{attachments, named, open, progress, read_error, time};
use crate::error::Error;
use facelink::{
    event::LinkEvent,
    take::{TakeContent, TakeWriteError, TakeWriter},
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
    let failed = |error| read_error(&args.file, &error);
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
    let wrong = |error: TakeWriteError| Error::Plain(format!("{}: {error}", args.out.display()));
    let file = File::create(&args.out)
        .map_err(|error| Error::Plain(format!("cannot write {}: {error}", args.out.display())))?;
    let start = Instant::now();
    let mut writer = TakeWriter::new(BufWriter::new(file), &about, start).map_err(wrong)?;
    for (name, kind, data) in attachments(&mut reader).map_err(failed)? {
        writer.attach(&name, &kind, &data).map_err(wrong)?;
    }
    let there = if args.subjects.is_empty() { Vec::new() } else { reader.info().map_err(failed)?.subjects };
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

    let bar = progress(until.min(whole).saturating_sub(from));
    reader.seek(from).map_err(failed)?;
    let mut frames = 0;
    while let Some(entry) = reader.next_entry().map_err(failed)? {
        // The end of the take belongs to it, when all of the rest is wanted.
        if entry.time >= until && args.until.is_some() {
            break;
        }
        let at = start + entry.time.saturating_sub(from);
        bar.set_position(entry.time.saturating_sub(from).as_millis() as u64);
        match entry.content {
            TakeContent::Frame(mut frame) => {
                let Some(name) = kept(&frame.name) else { continue };
                frame.name = name;
                frames += 1;
                writer.frame(&frame.at(at)).map_err(wrong)?;
            }
            TakeContent::Event(mut event) => {
                if let LinkEvent::SubjectAppeared { name, .. }
                | LinkEvent::SubjectLost { name, .. }
                | LinkEvent::Emotion { name, .. } = &mut event
                {
                    let Some(new) = kept(name) else { continue };
                    *name = new;
                }
                writer.event(&event, at).map_err(wrong)?;
            }
            TakeContent::Phone(recording) => writer.phone(&recording, at).map_err(wrong)?,
            TakeContent::Mark(text) => writer.mark(&text, at).map_err(wrong)?,
            TakeContent::Packet(packet) => writer.packet(&packet, at).map_err(wrong)?,
            TakeContent::Stats(text) => {
                let stats: &serde_json::value::RawValue = match serde_json::from_str(&text) {
                    Ok(stats) => stats,
                    Err(_) => continue,
                };
                writer.stats(&stats, at).map_err(wrong)?;
            }
            _ => {}
        }
    }
    writer.finish(start + until.min(whole).saturating_sub(from)).map_err(wrong)?;
    bar.finish_and_clear();
    println!("{}: {:.3} s, {frames} frames", args.out.display(), until.min(whole).saturating_sub(from).as_secs_f64());
    Ok(())
}
