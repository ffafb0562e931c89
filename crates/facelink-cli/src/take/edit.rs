//! `facelink take edit` and `facelink take align`: new takes out of takes.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use facelink::{
    calibration::Performer,
    mapping::Format,
    take::{
        self, FrameRate, Take, jsonl,
        llf_csv::{self, CountName},
    },
};

use super::{file::time, input};
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
    /// Where to write it: a .csv or .jsonl file.
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
    let mut takes = args.files.iter().map(|file| input::read(file, args.subject.as_deref()).map(|(_, take)| take));
    let mut take = takes.next().ok_or_else(|| Error::Plain("no take".to_owned()))??;
    for next in takes {
        take = take.joined(&next?);
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
    write(&args.out, &take)
}

pub fn align(args: &AlignArgs) -> Result<(), Error> {
    let takes: Vec<Take> =
        args.files.iter().map(|file| input::read(file, None).map(|(_, take)| take)).collect::<Result<_, _>>()?;
    let aligned = take::align(&takes).map_err(|error| Error::Plain(error.to_string()))?;
    fs::create_dir_all(&args.out)
        .map_err(|error| Error::Plain(format!("cannot make {}: {error}", args.out.display())))?;
    for (file, take) in args.files.iter().zip(&aligned) {
        let name = file.file_name().unwrap_or_default();
        let out = args.out.join(name);
        let same = |path: &Path| path.canonicalize().ok();
        if same(&out).is_some() && same(&out) == same(file) {
            return Err(Error::Plain(format!("{} would be overwritten: --out names its own folder", file.display())));
        }
        write(&out, take)?;
    }
    Ok(())
}

fn write(out: &Path, take: &Take) -> Result<(), Error> {
    let is = |extension: &str| out.extension().is_some_and(|name| name.eq_ignore_ascii_case(extension));
    input::write(out, |mut file| {
        if is("jsonl") {
            jsonl::encode(take, &mut file).map_err(Error::Output)
        } else if is("csv") {
            llf_csv::encode(take, CountName::AsRead, &mut file).map_err(Error::Output)
        } else {
            Err(Error::Plain(format!("{}: the name of a take ends in .csv or .jsonl", out.display())))
        }
    })?;
    let last = take.frames().last().map_or(0.0, |frame| frame.time.as_secs_f64());
    eprintln!("{}: {} frames, {last:.3} s", out.display(), take.frames().len());
    Ok(())
}
