//! `facelink speech`: visemes of sound files, and profiles of voices.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use facelink::{
    speech::{Calibration, SpeechAnalyzer, SpeechFrame, VOWELS, VoiceProfile},
    wire::viseme::Viseme,
};
use serde_json::json;

use crate::{audio::WavFile, error::Error};

/// Subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    #[command(args_override_self = true)]
    Visemes(VisemesArgs),
    #[command(args_override_self = true)]
    Calibrate(CalibrateArgs),
}

/// Print the visemes of a WAV file.
///
/// A line for each change: seconds, viseme, weight. With --json, an object for each hundredth of a second.
#[derive(Debug, clap::Args)]
pub struct VisemesArgs {
    /// The sound: PCM or float, 8 to 192 kHz.
    #[arg(value_name = "FILE.wav")]
    file: PathBuf,
    /// The voice, as `facelink speech calibrate` wrote it [default: no voice in particular].
    #[arg(long, value_name = "FILE.json")]
    profile: Option<PathBuf>,
    /// One JSON object a line, with the score of each viseme.
    #[arg(long)]
    json: bool,
    /// In it, the numbers that decide: for profiles of your own.
    #[arg(long, requires = "json")]
    features: bool,
}

/// Fit a profile to a voice that says "aa, eh, ee, oh, oo".
///
/// Either one recording with the five vowels in this order, held for half a second or more each with pauses between them,
/// or a folder with aa.wav, E.wav, ih.wav, oh.wav and ou.wav, of which some may be missing.
#[derive(Debug, clap::Args)]
pub struct CalibrateArgs {
    /// The recording, or the folder.
    #[arg(value_name = "FILE.wav|FOLDER")]
    from: PathBuf,
    /// The profile to write.
    #[arg(long, short, value_name = "FILE.json")]
    output: PathBuf,
    /// Its name [default: that of the recording].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Visemes(args) => visemes(&args),
        Command::Calibrate(args) => calibrate(&args),
    }
}

/// The profile in a file, or the built-in one for the rate.
pub fn profile(file: Option<&Path>, rate: u32) -> Result<VoiceProfile, Error> {
    let Some(file) = file else { return Ok(VoiceProfile::builtin(rate)) };
    let text = fs::read_to_string(file).map_err(|error| Error::Plain(format!("{}: {error}", file.display())))?;
    VoiceProfile::from_json(&text).map_err(|error| Error::Plain(format!("{}: {error}", file.display())))
}

fn visemes(args: &VisemesArgs) -> Result<(), Error> {
    let name = args.file.display();
    let refused = |error| Error::Plain(format!("{name}: {error}"));
    let mut file = WavFile::open(&args.file)?;
    let profile = profile(args.profile.as_deref(), file.rate())?;
    let mut analyzer = SpeechAnalyzer::new(file.rate(), file.channels(), &profile).map_err(refused)?;
    let mut output = BufWriter::new(io::stdout().lock());
    let mut last = None;
    loop {
        let samples = file.read(1 << 14)?;
        if samples.is_empty() {
            break;
        }
        let mut written = Ok(());
        let mut each = |frame: &SpeechFrame| {
            let seconds = frame.at.as_secs_f64();
            if args.json {
                written = writeln!(output, "{}", line(frame, args.features));
            } else if last.replace(frame.viseme) != Some(frame.viseme) {
                written = writeln!(output, "{seconds:.3}\t{}\t{:.2}", frame.viseme.name(), frame.weight);
            }
        };
        let pushed = analyzer.push(&samples, |frame| each(frame));
        pushed.map_err(refused)?;
        written.map_err(Error::Output)?;
    }
    output.flush().map_err(Error::Output)
}

fn line(frame: &SpeechFrame, features: bool) -> serde_json::Value {
    let round = |x: f32| (f64::from(x) * 1e4).round() / 1e4;
    let scores: serde_json::Map<_, _> = Viseme::ALL
        .into_iter()
        .zip(frame.scores)
        .filter(|(_, score)| *score >= 0.005)
        .map(|(viseme, score)| (viseme.name().to_owned(), round(score).into()))
        .collect();
    let mut line = json!({
        "at": (frame.at.as_secs_f64() * 1e4).round() / 1e4,
        "viseme": frame.viseme.name(),
        "weight": round(frame.weight),
        "level": round(frame.level),
        "excess": round(frame.excess),
        "voicing": round(frame.voicing),
        "scores": scores,
    });
    if features {
        line["features"] = frame.features.map(round).to_vec().into();
    }
    line
}

fn calibrate(args: &CalibrateArgs) -> Result<(), Error> {
    let name = args.from.display();
    let mut calibration: Option<Calibration> = None;
    if args.from.is_dir() {
        for vowel in VOWELS {
            let path = args.from.join(vowel.name()).with_extension("wav");
            if !path.is_file() {
                continue;
            }
            let mut file = WavFile::open(&path)?;
            let (rate, channels, samples) = (file.rate(), file.channels(), file.read_all()?);
            let started = calibration.get_or_insert_with(|| Calibration::new(VoiceProfile::builtin(rate)));
            let voice = started
                .add(vowel, rate, channels, &samples)
                .map_err(|error| Error::Plain(format!("{}: {error}", path.display())))?;
            eprintln!("{}: {voice} ms of voice", vowel.name());
        }
    } else {
        let mut file = WavFile::open(&args.from)?;
        let (rate, channels, samples) = (file.rate(), file.channels(), file.read_all()?);
        let started = calibration.insert(Calibration::new(VoiceProfile::builtin(rate)));
        let added = started.add_in_order(rate, channels, &samples);
        added.map_err(|error| Error::Plain(format!("{name}: {error}")))?;
    }
    let calibration = calibration
        .ok_or_else(|| Error::Plain(format!("{name}: has none of aa.wav, E.wav, ih.wav, oh.wav, ou.wav")))?;
    let profile = calibration.finish().map_err(|error| Error::Plain(format!("{name}: {error}")))?;
    let stem = args.from.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let profile = profile.named(args.name.as_deref().unwrap_or(&stem));
    let text = serde_json::to_string(&profile).map_err(|error| Error::Plain(error.to_string()))?;
    fs::write(&args.output, text).map_err(|error| Error::Plain(format!("{}: {error}", args.output.display())))?;
    writeln!(io::stdout(), "Wrote {}", args.output.display()).map_err(Error::Output)
}
