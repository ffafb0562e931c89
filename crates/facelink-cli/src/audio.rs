//! Sound, from files and microphones, in real time.

use std::{
    fs::File,
    io::BufReader,
    path::Path,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use hound::{SampleFormat, WavReader};

use crate::error::Error;
#[cfg(feature = "microphone")]
use crate::microphone::Microphone;

/// Pieces a second in which a file is played.
const PIECES: u32 = 100;

/// A WAV file, read in pieces.
pub struct WavFile {
    reader: WavReader<BufReader<File>>,
    name: String,
    scale: f32,
}

impl WavFile {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let reader = WavReader::open(path).map_err(|error| Error::Plain(format!("{name}: {error}")))?;
        let bits = reader.spec().bits_per_sample.clamp(1, 32);
        Ok(Self { reader, name, scale: 1.0 / (1_u32 << (bits - 1)) as f32 })
    }

    /// Samples a second of each channel.
    pub fn rate(&self) -> u32 {
        self.reader.spec().sample_rate
    }

    pub fn channels(&self) -> u16 {
        self.reader.spec().channels
    }

    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.reader.duration()) / f64::from(self.rate().max(1)))
    }

    /// The next samples, interleaved, at most so many of each channel; none at the end.
    pub fn read(&mut self, frames: usize) -> Result<Vec<f32>, Error> {
        let count = frames * usize::from(self.channels());
        let samples: Result<Vec<f32>, hound::Error> = match self.reader.spec().sample_format {
            SampleFormat::Float => self.reader.samples::<f32>().take(count).collect(),
            SampleFormat::Int => {
                self.reader.samples::<i32>().take(count).map(|sample| Ok(sample? as f32 * self.scale)).collect()
            }
        };
        samples.map_err(|error| Error::Plain(format!("{}: {error}", self.name)))
    }

    /// All that is left.
    pub fn read_all(&mut self) -> Result<Vec<f32>, Error> {
        let mut all = Vec::new();
        loop {
            let next = self.read(1 << 16)?;
            if next.is_empty() {
                return Ok(all);
            }
            all.extend(next);
        }
    }
}

/// Sound as it happens.
pub enum Sound {
    /// A file, played at its own speed, perhaps again and again.
    File { file: WavFile, path: std::path::PathBuf, looped: bool, start: Instant, pieces: u32 },
    #[cfg(feature = "microphone")]
    Microphone(Microphone),
}

impl Sound {
    pub fn file(path: &Path, looped: bool) -> Result<Self, Error> {
        let file = WavFile::open(path)?;
        if file.duration().is_zero() {
            return Err(Error::Plain(format!("{}: has no sound", path.display())));
        }
        Ok(Self::File { file, path: path.to_owned(), looped, start: Instant::now(), pieces: 0 })
    }

    pub fn rate(&self) -> u32 {
        match self {
            Self::File { file, .. } => file.rate(),
            #[cfg(feature = "microphone")]
            Self::Microphone(microphone) => microphone.rate,
        }
    }

    pub fn channels(&self) -> u16 {
        match self {
            Self::File { file, .. } => file.channels(),
            #[cfg(feature = "microphone")]
            Self::Microphone(microphone) => microphone.channels,
        }
    }

    pub fn describe(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            #[cfg(feature = "microphone")]
            Self::Microphone(microphone) => microphone.name().to_owned(),
        }
    }

    /// Starts the clock of a file.
    pub fn start(&mut self) {
        match self {
            Self::File { start, .. } => *start = Instant::now(),
            #[cfg(feature = "microphone")]
            Self::Microphone(_) => {}
        }
    }

    /// The next samples, when they have been heard; none at the end, or when asked to stop.
    pub fn next(&mut self, stop: &Receiver<()>) -> Result<Option<Vec<f32>>, Error> {
        match self {
            Self::File { file, path, looped, start, pieces } => {
                let frames = (file.rate() / PIECES).max(1) as usize;
                let mut samples = file.read(frames)?;
                if samples.is_empty() && *looped {
                    *file = WavFile::open(path)?;
                    samples = file.read(frames)?;
                }
                if samples.is_empty() {
                    return Ok(None);
                }
                *pieces += 1;
                let heard = Duration::from_secs(1) * *pieces / PIECES;
                // After a stall, continues from now instead of catching up.
                let late = start.elapsed().saturating_sub(heard);
                if late > Duration::from_millis(250) {
                    *start += late;
                }
                match stop.recv_deadline(*start + heard) {
                    Err(RecvTimeoutError::Timeout) => Ok(Some(samples)),
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(None),
                }
            }
            #[cfg(feature = "microphone")]
            Self::Microphone(microphone) => microphone.read(stop),
        }
    }
}
