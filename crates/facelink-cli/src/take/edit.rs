//! `facelink take edit` and `facelink take align`: new takes out of takes.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use facelink::{
    calibration::Performer,
    event::{SubjectFrame, SubjectId},
    mapping::Format,
    source::SourceKind,
    take::{
        self, FrameRate, Take, TakeAbout, TakeFrame, TakeWriteError, TakeWriter, jsonl,
        llf_csv::{self, CountName},
    },
};

use super::{
    file::time,
    input::{self, Input, Origin},
};
use crate::error::Error;

/// Make a new take of one or several: cut, joined, at another rate, smoothed, mirrored, without a neutral face.
///
/// What is asked for is done in this order: joining, cutting, neutral face, mirroring, smoothing, rate. FILE stays as it
/// is.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The takes, joined one behind the other.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Which subject, where a take has several.
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// In point: seconds, M:SS or H:MM:SS.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Duration>,
    /// Out point.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Duration>,
    /// Take off the face at this time after the in point as the neutral one.
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "performer")]
    neutral_at: Option<Duration>,
    /// Take off the rest and range of a performer's file (Ann.performer.ron, or JSON).
    #[arg(long, value_name = "FILE")]
    performer: Option<PathBuf>,
    /// Exchange left and right.
    #[arg(long)]
    mirror: bool,
    /// Filter what trembles: 1 as for a webcam, more for calmer and later.
    #[arg(long, value_name = "STRENGTH")]
    smooth: Option<f32>,
    /// Frames a second, with blinks that would fall between two frames kept.
    #[arg(long)]
    rate: Option<FrameRate>,
    /// The subject's name in a .mcap; as it was if not given.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where to write it: a .mcap, .csv or .jsonl file.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
}

/// Cut several takes to the time that all of them have, by the timecodes of their frames.
#[derive(Debug, clap::Args)]
pub struct AlignArgs {
    /// The takes, at least two.
    #[arg(required = true, num_args = 2.., value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The folder for the new files, which have the names of the old ones.
    #[arg(long, short, value_name = "FOLDER")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<(), Error> {
    let mut takes = args.files.iter().map(|file| input::read(file, args.subject.as_deref()));
    let Input { name: own, mut take, origin } = takes.next().ok_or_else(|| Error::Plain("no take".to_owned()))??;
    for next in takes {
        take = take.joined(&next?.take);
    }
    if args.from.is_some() || args.until.is_some() {
        let (from, until) = (args.from.unwrap_or_default(), args.until.unwrap_or(Duration::MAX));
        take = take.cut(from, until).map_err(|_| {
            Error::Plain(format!(
                "no frame lies from {from:?} on until {until:?}; the take ends after {:?}",
                take.duration()
            ))
        })?;
    }
    if let Some(time) = args.neutral_at {
        take = take.without_neutral(time);
    }
    if let Some(path) = &args.performer {
        let fail = |reason: String| Error::Plain(format!("{}: {reason}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let format = if path.extension().is_some_and(|name| name == "json") { Format::Json } else { Format::Ron };
        let performer = Performer::read(&text, format).map_err(|error| fail(error.to_string()))?;
        take = take.calibrated(&performer.calibration);
    }
    if args.mirror {
        take = take.mirrored();
    }
    if let Some(strength) = args.smooth {
        take = take.smoothed(strength);
    }
    if let Some(rate) = args.rate {
        take = take.at_rate_with_peaks(rate);
    }
    let origin = origin.map(|mut origin| {
        origin.about.started += origin.first + args.from.unwrap_or_default();
        let files: Vec<_> = args.files.iter().map(|file| file.display().to_string()).collect();
        origin.about.notes.insert("edit_of".to_owned(), files.join(", "));
        origin
    });
    write(&args.out, args.name.as_deref().unwrap_or(&own), &take, origin.as_ref())
}

pub fn align(args: &AlignArgs) -> Result<(), Error> {
    let inputs = args.files.iter().map(|file| input::read(file, None)).collect::<Result<Vec<_>, _>>()?;
    let takes: Vec<Take> = inputs.iter().map(|input| input.take.clone()).collect();
    let aligned = take::align(&takes).map_err(|error| Error::Plain(error.to_string()))?;
    fs::create_dir_all(&args.out)
        .map_err(|error| Error::Plain(format!("cannot make {}: {error}", args.out.display())))?;
    for ((file, input), take) in args.files.iter().zip(inputs).zip(&aligned) {
        let out = args.out.join(file.file_name().unwrap_or_default());
        let same = |path: &Path| path.canonicalize().ok();
        if same(&out).is_some() && same(&out) == same(file) {
            return Err(Error::Plain(format!("{} would be overwritten: --out names its own folder", file.display())));
        }
        let capture = |take: &Take| take.frames().first().and_then(|first| first.frame.capture_time);
        let later = capture(take).zip(capture(&input.take)).and_then(|(now, before)| now.checked_sub(before));
        let origin = input.origin.map(|mut origin| {
            origin.about.started += origin.first + later.unwrap_or_default();
            origin
        });
        write(&out, &input.name, take, origin.as_ref())?;
    }
    Ok(())
}

fn write(out: &Path, name: &str, take: &Take, origin: Option<&Origin>) -> Result<(), Error> {
    let is = |extension: &str| out.extension().is_some_and(|name| name.eq_ignore_ascii_case(extension));
    input::write(out, |mut file| {
        if is("mcap") {
            mcap(name, take, origin, file).map_err(|error| Error::Plain(format!("{}: {error}", out.display())))
        } else if is("jsonl") {
            jsonl::encode(take, &mut file).map_err(Error::Output)
        } else if is("csv") {
            llf_csv::encode(take, CountName::AsRead, &mut file).map_err(Error::Output)
        } else {
            Err(Error::Plain(format!("{}: the name of a take ends in .mcap, .csv or .jsonl", out.display())))
        }
    })?;
    let last = take.frames().last().map_or(0.0, |frame| frame.time.as_secs_f64());
    eprintln!("{}: {} frames, {last:.3} s", out.display(), take.frames().len());
    Ok(())
}

/// A take file of one subject, with what the recording had that it is made of: slate, number, attachments.
fn mcap(name: &str, take: &Take, origin: Option<&Origin>, out: &mut dyn Write) -> Result<(), TakeWriteError> {
    let start = Instant::now();
    let name: Arc<str> = name.into();
    let about = origin.map_or_else(|| TakeAbout::new(&*name, 1, Duration::ZERO), |origin| origin.about.clone());
    let mut writer = TakeWriter::new(out, &about, start)?;
    for (name, kind, data) in origin.iter().flat_map(|origin| &origin.attachments) {
        writer.attach(name, kind, data)?;
    }
    for TakeFrame { time, frame } in take.frames() {
        writer.frame(&SubjectFrame {
            id: SubjectId(1),
            name: name.clone(),
            source: origin.map_or(SourceKind::Custom, |origin| origin.source),
            frame: frame.clone(),
            speech: None,
            received: start + *time,
            stamp: None,
            late: false,
            repeated: false,
        })?;
    }
    writer.finish(start + take.duration())?;
    Ok(())
}
