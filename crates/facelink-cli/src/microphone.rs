//! A microphone of this machine, by cpal. Feature `microphone`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cpal::{
    BufferSize, FromSample, Sample, SampleFormat, SizedSample, Stream, StreamConfig,
    traits::{DeviceTrait, HostTrait, StreamTrait},
};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::error::Error;

/// Pieces of sound that wait to be read, at most; newer ones are dropped then.
const WAITING: usize = 64;
/// Pieces a second that are asked for.
const PIECES: u32 = 100;
/// A stream that gives nothing for so long has ended: ALSA's file device does so.
const SILENT_LIMIT: Duration = Duration::from_secs(2);

/// A stream of samples.
pub struct Microphone {
    samples: Receiver<Result<Vec<f32>, String>>,
    dropped: Arc<AtomicU64>,
    /// Records while it is there.
    _stream: Stream,
    name: String,
    pub rate: u32,
    pub channels: u16,
}

fn refused(what: &str, error: &cpal::Error) -> Error {
    Error::Plain(format!("{what}: {error}"))
}

impl Microphone {
    /// Opens the system's usual microphone, or the first whose name or identifier is or contains this.
    pub fn open(wanted: Option<&str>) -> Result<Self, Error> {
        let host = cpal::default_host();
        let device = match wanted {
            None => {
                host.default_input_device().ok_or_else(|| Error::Plain("this system has no microphone".to_owned()))?
            }
            Some(wanted) => {
                let devices = host.input_devices().map_err(|error| refused("cannot list microphones", &error))?;
                let mut named: Vec<_> = devices.map(|device| (names(&device), device)).collect();
                let place = named
                    .iter()
                    .position(|(names, _)| names.iter().any(|name| name == wanted))
                    .or_else(|| named.iter().position(|(names, _)| names.iter().any(|name| name.contains(wanted))));
                let Some(place) = place else {
                    let known: Vec<&str> =
                        named.iter().filter_map(|(names, _)| names.first().map(|name| &**name)).collect();
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    return Err(Error::Plain(format!("no microphone is called {wanted}; there are: {known}")));
                };
                named.swap_remove(place).1
            }
        };
        let name = names(&device).into_iter().next().unwrap_or_else(|| "microphone".to_owned());
        let usual = device.default_input_config().map_err(|error| refused(&name, &error))?;
        let (rate, channels, format) = (usual.sample_rate(), usual.channels(), usual.sample_format());
        let short = StreamConfig { channels, sample_rate: rate, buffer_size: BufferSize::Fixed(rate / PIECES) };
        let dropped = Arc::new(AtomicU64::new(0));
        let (sender, samples) = bounded(WAITING);
        // Not every device has buffers of 10 ms.
        let stream = open(&device, format, short, sender.clone(), dropped.clone())
            .or_else(|_| open(&device, format, usual.into(), sender, dropped.clone()))
            .map_err(|error| refused(&name, &error))?;
        stream.play().map_err(|error| refused(&name, &error))?;
        Ok(Self { samples, dropped, _stream: stream, name, rate, channels })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Pieces of sound that were not read in time.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The next samples, interleaved; none when the process is asked to stop.
    pub fn read(&self, stop: &Receiver<()>) -> Result<Option<Vec<f32>>, Error> {
        crossbeam_channel::select! {
            recv(stop) -> _ => Ok(None),
            recv(self.samples) -> piece => match piece {
                Ok(Ok(piece)) => Ok(Some(piece)),
                Ok(Err(error)) => Err(Error::Plain(format!("{}: {error}", self.name))),
                Err(_) => Err(Error::Plain(format!("{}: the stream has ended", self.name))),
            },
            default(SILENT_LIMIT) => Err(Error::Plain(format!("{}: no sound comes any more", self.name))),
        }
    }
}

/// What a device is called, best first.
fn names(device: &cpal::Device) -> Vec<String> {
    let identifier = device.id().ok().map(|id| id.id().to_owned());
    let description = device.description().ok().map(|description| description.name().to_owned());
    [identifier, description].into_iter().flatten().collect()
}

fn open(
    device: &cpal::Device,
    format: SampleFormat,
    config: StreamConfig,
    sender: Sender<Result<Vec<f32>, String>>,
    dropped: Arc<AtomicU64>,
) -> Result<Stream, cpal::Error> {
    match format {
        SampleFormat::I8 => stream::<i8>(device, config, sender, dropped),
        SampleFormat::I16 => stream::<i16>(device, config, sender, dropped),
        SampleFormat::I32 => stream::<i32>(device, config, sender, dropped),
        SampleFormat::U8 => stream::<u8>(device, config, sender, dropped),
        SampleFormat::U16 => stream::<u16>(device, config, sender, dropped),
        SampleFormat::F32 => stream::<f32>(device, config, sender, dropped),
        SampleFormat::F64 => stream::<f64>(device, config, sender, dropped),
        _ => Err(cpal::ErrorKind::UnsupportedConfig.into()),
    }
}

fn stream<T: SizedSample>(
    device: &cpal::Device,
    config: StreamConfig,
    sender: Sender<Result<Vec<f32>, String>>,
    dropped: Arc<AtomicU64>,
) -> Result<Stream, cpal::Error>
where
    f32: FromSample<T>,
{
    let errors = sender.clone();
    device.build_input_stream(
        config,
        move |samples: &[T], _: &cpal::InputCallbackInfo| {
            let piece = samples.iter().map(|sample| f32::from_sample(*sample)).collect();
            if let Err(TrySendError::Full(_)) = sender.try_send(Ok(piece)) {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        },
        move |error: cpal::Error| match error.kind() {
            // The stream goes on.
            cpal::ErrorKind::DeviceChanged | cpal::ErrorKind::Xrun | cpal::ErrorKind::RealtimeDenied => {}
            _ => {
                let _ = errors.try_send(Err(error.to_string()));
            }
        },
        None,
    )
}
