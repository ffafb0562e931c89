//! Visemes from sound: a microphone or a recording moves a mouth, without a service or a model file. Feature `speech`.
//!
//! The method is that of common lip-sync plug-ins: mel-frequency cepstral coefficients (MFCC) of short windows, compared with the
//! mean of each sound. [`SpeechAnalyzer`] takes samples as they come, mono or interleaved, 8 to 192 kHz, and returns a
//! [`SpeechFrame`] every [`HOP`]: the viseme, its weight and a score for each of the 15. A [`VoiceProfile`] has the means;
//! a short [`Calibration`] fits it to a voice. `docs/speech.md` has what was measured.
//!
//! A viseme is decided [`LATENCY`] after its sound at the latest: a window, a hop and the hop that is waited for.
//!
//! ```
//! use facelink::{speech::{SpeechAnalyzer, VoiceProfile}, wire::viseme::Viseme};
//!
//! let mut analyzer = SpeechAnalyzer::new(16_000, 1, &VoiceProfile::builtin(16_000))?;
//! let silence = vec![0.0; 16_000];
//! analyzer.push(&silence, |frame| assert_eq!((frame.viseme, frame.weight), (Viseme::Sil, 0.0)))?;
//! // Each frame goes into `layers::LiveSpeech::say`, `Client::say`, or a face of your own.
//! # Ok::<(), facelink::speech::SpeechError>(())
//! ```

mod analyzer;
mod calibrate;
mod changes;
mod decide;
mod features;
mod noise;
mod profile;
mod spectrum;

pub use analyzer::{MAX_SAMPLES, SpeechAnalyzer, SpeechError, SpeechFrame};
pub use calibrate::{Calibration, CalibrationError};
pub use changes::VisemeChanges;
pub use features::{FEATURES, LATENCY};
pub use profile::{ProfileError, VOWELS, VoiceProfile};
pub use spectrum::{HOP, MAX_CHANNELS, MAX_RATE, MIN_RATE, WINDOW};
