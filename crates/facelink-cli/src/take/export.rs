//! `facelink take export`: a take for other tools.

use std::{fs, io, path::PathBuf};

use clap::ValueEnum;
use facelink::take::{
    FrameRate, MAX_KEY_ERROR,
    gltf::{self, ExportError, GltfSettings},
    jsonl,
    llf_csv::{self, CountName},
    usda::{self, UsdaSettings},
    vrma::{self, Expressions},
};

use super::input::{self, Input};
use crate::error::Error;

/// Write a take for other tools.
///
/// FILE is recognised by its content: a take of FaceLink, CSV of Live Link Face and its like, JSON lines, Audio2Face JSON, or an
/// animation as glTF or VRMA.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The take.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What to write: llf-csv for the Live Link Face plug-ins of Blender, Maya, Unreal; glb an animated model; vrma an
    /// animation for any VRM 1.0 avatar; usda a USD SkelAnimation; jsonl one frame a line.
    #[arg(long, value_enum)]
    format: Format,
    /// Which subject, where the take has several.
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// Frames a second: 23.976, 24, 25, 29.97, 30, 50, 59.94, 60, any other number or a fraction; the recorded frames if
    /// not given.
    #[arg(long)]
    rate: Option<FrameRate>,
    /// Begin where the recording does instead of with the subject's first frame, so that all of its subjects line up.
    #[arg(long)]
    from_start: bool,
    /// The avatar to animate (glb): any glTF or VRM file; a plain head of our own if not given.
    #[arg(long, value_name = "MODEL.glb")]
    model: Option<PathBuf>,
    /// Leave out keys while no value is off by more than this (glb, vrma, usda); 0 keeps all that do not lie on a line.
    #[arg(long, value_name = "ERROR", default_value_t = MAX_KEY_ERROR, value_parser = max_error)]
    max_error: f32,
    /// Which expressions a vrma has: avatars with Perfect Sync that show both kinds want custom, those without it presets.
    #[arg(long, value_enum, default_value_t = ExpressionKinds::All)]
    expressions: ExpressionKinds,
    /// How llf-csv spells the second column: as the file that it came from, BlendshapeCount (since 2024) or
    /// BlendShapeCount.
    #[arg(long, value_enum, default_value_t = Header::Auto)]
    header: Header,
    /// Where to write it; - for the standard output.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    LlfCsv,
    Glb,
    Vrma,
    Usda,
    Jsonl,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExpressionKinds {
    All,
    Custom,
    Presets,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Header {
    Auto,
    New,
    Old,
}

fn max_error(text: &str) -> Result<f32, String> {
    let error = text.parse::<f32>().ok().filter(|error| (0.0..=1.0).contains(error));
    error.ok_or_else(|| format!("`{text}` is no number from 0 to 1"))
}

pub fn run(args: &Args) -> Result<(), Error> {
    if args.model.is_some() && args.format != Format::Glb {
        return Err(Error::Plain("--model goes with --format glb: no other format has a model in it".to_owned()));
    }
    let Input { name: subject, take, origin } = input::read(&args.file, args.subject.as_deref())?;
    let take = match origin.filter(|_| args.from_start) {
        Some(origin) => take.after(origin.first),
        None => take,
    };
    let take = match (args.rate, args.format) {
        (None, _) => take,
        // Rows are frames, one after another.
        (Some(rate), Format::LlfCsv | Format::Jsonl) => take.resampled(rate),
        // Keys have times: the end stays where it is.
        (Some(rate), Format::Glb | Format::Vrma | Format::Usda) => take.resampled_to_end(rate),
    };
    let model = args
        .model
        .as_ref()
        .map(|path| fs::read(path).map_err(|error| Error::Plain(format!("cannot read {}: {error}", path.display()))));
    let model = model.transpose()?;
    let settings = GltfSettings { name: &subject, max_error: args.max_error };
    let mut words = String::new();
    input::write(&args.out, |mut out| {
        let failed = |error: ExportError| match (error, &args.model) {
            (ExportError::Write(error), _) => Error::Output(error),
            (error, Some(model)) => Error::Plain(format!("{}: {error}", model.display())),
            (error, None) => Error::Plain(error.to_string()),
        };
        match args.format {
            Format::LlfCsv => {
                let name = match args.header {
                    Header::Auto => CountName::AsRead,
                    Header::New => CountName::New,
                    Header::Old => CountName::Old,
                };
                llf_csv::encode(&take, name, &mut out).map_err(Error::Output)
            }
            Format::Glb => {
                let report = gltf::glb(&take, model.as_deref(), &settings, &mut out).map_err(failed)?;
                let names =
                    report.preset.map_or_else(|| "no known names".to_owned(), |preset| format!("names of {preset}"));
                let moved = [report.meshes, report.bones].concat();
                words = format!("; {} of 52 shapes ({names}) on {}", report.shapes, moved.join(", "));
                Ok(())
            }
            Format::Vrma => {
                let expressions = match args.expressions {
                    ExpressionKinds::All => Expressions::All,
                    ExpressionKinds::Custom => Expressions::Custom,
                    ExpressionKinds::Presets => Expressions::Presets,
                };
                vrma::encode(&take, expressions, &settings, &mut out).map_err(failed)
            }
            Format::Usda => {
                let settings = UsdaSettings { rate: args.rate, max_error: args.max_error };
                usda::encode(&take, &settings, &mut out).map_err(Error::Output)
            }
            Format::Jsonl => jsonl::encode(&take, &mut out).map_err(|error: io::Error| Error::Output(error)),
        }
    })?;
    let last = take.frames().last().map_or(0.0, |frame| frame.time.as_secs_f64());
    eprintln!("{}: {} frames, {last:.3} s{words}", args.out.display(), take.frames().len());
    Ok(())
}
