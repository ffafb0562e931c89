//! `facelink ltc`: linear timecode in sound files, to look at and to make.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use facelink::{
    ltc::{LtcDecoder, LtcEncoder, LtcFrame, Timecode},
    take::FrameRate,
};
use hound::{SampleFormat, WavSpec, WavWriter};
use serde_json::json;

use crate::{audio::WavFile, error::Error, take::seconds};

/// Subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    #[command(args_override_self = true)]
    Read(ReadArgs),
    #[command(args_override_self = true)]
    Write(WriteArgs),
}

/// Print the timecode of a WAV file: a line for each run without a gap.
#[derive(Debug, clap::Args)]
pub struct ReadArgs {
    /// The sound: PCM or float.
    #[arg(value_name = "FILE.wav")]
    file: PathBuf,
    /// Which channel, from 1.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    channel: u16,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Write timecode as a WAV file, to test what follows it.
#[derive(Debug, clap::Args)]
pub struct WriteArgs {
    /// The file; it is overwritten.
    #[arg(value_name = "FILE.wav")]
    file: PathBuf,
    /// Frames a second: 23.976, 24, 25, 29.97 or 30.
    #[arg(long, value_name = "FPS", default_value = "25")]
    rate: FrameRate,
    /// The first timecode; with `;` before the frames it drops frames.
    #[arg(long, value_name = "TIMECODE", default_value = "10:00:00:00")]
    from: Timecode,
    /// How long.
    #[arg(long, default_value = "60", value_parser = seconds)]
    seconds: Duration,
    /// Samples a second.
    #[arg(long, value_name = "RATE", default_value_t = 48_000, value_parser = clap::value_parser!(u32).range(16_000..=192_000))]
    sample_rate: u32,
}

pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Read(args) => read(&args),
        Command::Write(args) => write(&args),
    }
}

/// Frames one after the other.
struct Run {
    first: LtcFrame,
    last: LtcFrame,
    frames: u32,
}

impl Run {
    fn print(&self, sample_rate: f64, json: bool, out: &mut impl Write) -> io::Result<()> {
        let (first, last) = (self.first, self.last);
        let span = (last.start - first.start).abs();
        let fps =
            if self.frames > 1 { f64::from(self.frames - 1) * sample_rate / span } else { sample_rate / first.length };
        let (at, until) = (first.start / sample_rate, (last.start + last.length) / sample_rate);
        let backwards = first.reversed;
        if json {
            let line = json!({
                "from_s": at, "until_s": until, "first": first.timecode.to_string(), "last": last.timecode.to_string(),
                "frames": self.frames, "fps": fps, "drop_frame": first.timecode.drop_frame, "backwards": backwards,
            });
            return writeln!(out, "{line}");
        }
        let backwards = if backwards { ", backwards" } else { "" };
        let (first, last, frames) = (first.timecode, last.timecode, self.frames);
        writeln!(out, "{at:9.3} to {until:9.3} s  {first} to {last}, {frames} frames at {fps:.3} a second{backwards}")
    }
}

fn read(args: &ReadArgs) -> Result<(), Error> {
    let mut file = WavFile::open(&args.file)?;
    let (channels, channel) = (usize::from(file.channels()).max(1), usize::from(args.channel) - 1);
    if channel >= channels {
        return Err(Error::Plain(format!("{} has {channels} channels", args.file.display())));
    }
    let sample_rate = f64::from(file.rate());
    let mut decoder = LtcDecoder::new(sample_rate);
    let mut runs: Vec<Run> = Vec::new();
    loop {
        let samples = file.read(1 << 14)?;
        if samples.is_empty() {
            break;
        }
        let mono: Vec<f32> = samples.iter().skip(channel).step_by(channels).copied().collect();
        decoder.push(&mono, |frame| match runs.last_mut() {
            // Its first frame follows where the one before ended.
            Some(run)
                if (frame.start - run.last.start).abs() < 1.5 * frame.length && frame.reversed == run.last.reversed =>
            {
                run.last = frame;
                run.frames += 1;
            }
            _ => runs.push(Run { first: frame, last: frame, frames: 1 }),
        });
    }
    if runs.is_empty() {
        return Err(Error::Plain(format!("{}: no timecode in channel {}", args.file.display(), args.channel)));
    }
    let mut out = io::stdout().lock();
    runs.iter().try_for_each(|run| run.print(sample_rate, args.json, &mut out)).map_err(Error::Output)
}

fn write(args: &WriteArgs) -> Result<(), Error> {
    let fps = args.rate.nominal();
    let refused = |reason: &str| Err(Error::Plain(format!("--rate {}: {reason}", args.rate)));
    if ![24, 25, 30].contains(&fps) {
        return refused("linear timecode has 23.976, 24, 25, 29.97 or 30 frames a second");
    }
    if args.from.drop_frame && fps != 30 {
        return refused("frames are dropped at 29.97 alone");
    }
    if u32::from(args.from.frames) >= fps {
        return Err(Error::Plain(format!("--from {}: there are {fps} frames in a second", args.from)));
    }
    let bad = |error: hound::Error| Error::Plain(format!("{}: {error}", args.file.display()));
    let spec =
        WavSpec { channels: 1, sample_rate: args.sample_rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut file = WavWriter::create(&args.file, spec).map_err(bad)?;
    let mut encoder = LtcEncoder::new(args.rate, f64::from(args.sample_rate));
    let (mut timecode, mut samples) = (args.from, Vec::new());
    let frames = (args.seconds.as_secs_f64() * args.rate.as_f64()).ceil() as u64;
    // One more, whose beginning is the end of the last.
    for _ in 0..=frames {
        encoder.encode(timecode, &mut samples);
        for sample in samples.drain(..) {
            file.write_sample((sample * f32::from(i16::MAX)) as i16).map_err(bad)?;
        }
        timecode = timecode.next(fps);
    }
    file.finalize().map_err(bad)
}
