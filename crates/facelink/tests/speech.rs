//! Visemes of synthetic voices, with the synthesizer's own times as the truth, and of sounds made here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    f32::consts::TAU,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use facelink::{
    Blendshape,
    layers::LiveSpeech,
    speech::{
        Calibration, HOP, LATENCY, MAX_SAMPLES, SpeechAnalyzer, SpeechError, SpeechFrame, VOWELS, VisemeChanges,
        VoiceProfile,
    },
    wire::viseme::Viseme,
};

/// Formants of vowels, Hz, of the men of Peterson and Barney (1952).
const FORMANTS: [(Viseme, [f32; 3]); 5] = [
    (Viseme::Aa, [730.0, 1090.0, 2440.0]),
    (Viseme::E, [530.0, 1840.0, 2480.0]),
    (Viseme::Ih, [270.0, 2290.0, 3010.0]),
    (Viseme::Oh, [570.0, 840.0, 2410.0]),
    (Viseme::Ou, [300.0, 870.0, 2240.0]),
];

/// A throat: pulses through three resonators.
struct Throat {
    rate: u32,
    sample: usize,
    state: [[f32; 2]; 3],
}

impl Throat {
    fn new(rate: u32) -> Self {
        Self { rate, sample: 0, state: [[0.0; 2]; 3] }
    }

    fn say(&mut self, formants: [f32; 3], duration: Duration) -> Vec<f32> {
        let rate = self.rate as f32;
        let count = (duration.as_secs_f32() * rate).round() as usize;
        let samples = (0..count).map(|_| {
            let period = (rate / 120.0) as usize;
            self.sample += 1;
            // Falls by 12 dB an octave or so, as a glottis does.
            let place = (self.sample % period) as f32 / period as f32;
            let mut x = if place < 0.4 { (TAU * 0.5 * place / 0.4).sin() } else { 0.0 };
            for (state, f) in self.state.iter_mut().zip(formants) {
                let radius = (-std::f32::consts::PI * (60.0 + 0.04 * f) / rate).exp();
                let (a, b) = (2.0 * radius * (TAU * f / rate).cos(), -radius * radius);
                let y = (1.0 - a - b) * x + a * state[0] + b * state[1];
                *state = [y, state[0]];
                x = y;
            }
            x * 0.3
        });
        samples.collect()
    }
}

/// Five vowels with pauses.
fn vowels(rate: u32) -> Vec<f32> {
    let mut samples = silence(rate, 0.4);
    for (_, formants) in FORMANTS {
        samples.extend(Throat::new(rate).say(formants, Duration::from_millis(600)));
        samples.extend(silence(rate, 0.4));
    }
    samples
}

/// For this throat, which is like no voice.
fn calibrated(rate: u32) -> VoiceProfile {
    let mut calibration = Calibration::new(VoiceProfile::builtin(rate));
    calibration.add_in_order(rate, 1, &vowels(rate)).expect("five vowels");
    calibration.finish().expect("a profile")
}

fn noise(count: usize, size: f32, seed: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    // Of twelve, nearly normal.
    (0..count).map(|_| ((0..12).map(|_| random.f32()).sum::<f32>() - 6.0) * size).collect()
}

fn frames(rate: u32, samples: &[f32], profile: &VoiceProfile) -> Vec<SpeechFrame> {
    let mut analyzer = SpeechAnalyzer::new(rate, 1, profile).expect("a rate");
    let mut frames = Vec::new();
    for piece in samples.chunks(997) {
        analyzer.push(piece, |frame| frames.push(*frame)).expect("samples");
    }
    frames
}

fn silence(rate: u32, seconds: f32) -> Vec<f32> {
    vec![0.0; (rate as f32 * seconds) as usize]
}

#[test]
fn speech_frames_every_hop_at_every_rate() {
    for rate in [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000] {
        let found = frames(rate, &silence(rate, 2.0), &VoiceProfile::builtin(rate));
        assert!((196..=198).contains(&found.len()), "{} frames at {rate}", found.len());
        for (place, frame) in found.iter().enumerate() {
            let wanted = HOP * place as u32 + found[0].known;
            assert!(frame.known.abs_diff(wanted) < Duration::from_micros(200), "{rate}: {:?}", frame.known);
            assert_eq!((frame.viseme, frame.weight), (Viseme::Sil, 0.0));
        }
    }
}

#[test]
fn speech_calibration_fits_voice_at_every_rate() {
    for rate in [8_000, 16_000, 44_100, 48_000, 96_000] {
        let (profile, mut right) = (calibrated(rate), 0);
        for (viseme, formants) in FORMANTS {
            let mut samples = silence(rate, 0.3);
            samples.extend(Throat::new(rate).say(formants, Duration::from_millis(500)));
            let found = frames(rate, &samples, &profile);
            let spoken = &found[found.len() - 30..];
            right += spoken.iter().filter(|frame| frame.viseme == viseme).count();
        }
        assert!(right >= 145, "{rate}: {right} of 150 frames");
    }
}

#[test]
fn speech_channels_are_mixed() {
    let samples = Throat::new(48_000).say(FORMANTS[0].1, Duration::from_millis(500));
    let stereo: Vec<f32> = samples.iter().flat_map(|sample| [*sample, *sample]).collect();
    let profile = VoiceProfile::builtin(48_000);
    let mut analyzer = SpeechAnalyzer::new(48_000, 2, &profile).unwrap();
    let mut found = Vec::new();
    analyzer.push(&stereo, |frame| found.push(*frame)).unwrap();
    assert_eq!(found, frames(48_000, &samples, &profile));
}

#[test]
fn speech_input_refused_with_field_and_nothing_changes() {
    let profile = VoiceProfile::builtin(16_000);
    for rate in [0, 1, 7_999, 192_001, u32::MAX] {
        assert_eq!(SpeechAnalyzer::new(rate, 1, &profile).err(), Some(SpeechError::Rate(rate)));
    }
    assert_eq!(SpeechAnalyzer::new(16_000, 0, &profile).err(), Some(SpeechError::Channels(0)));
    assert_eq!(SpeechAnalyzer::new(16_000, 33, &profile).err(), Some(SpeechError::Channels(33)));

    let sound = Throat::new(16_000).say(FORMANTS[0].1, Duration::from_millis(300));
    let mut analyzer = SpeechAnalyzer::new(16_000, 1, &profile).unwrap();
    let mut found = Vec::new();
    for (place, piece) in sound.chunks(160).enumerate() {
        analyzer.push(piece, |frame| found.push(*frame)).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut piece = piece.to_vec();
            piece[place] = bad;
            let refused = analyzer.push(&piece, |_| panic!("a frame"));
            assert_eq!(refused, Err(SpeechError::NotFinite(place)));
        }
    }
    assert_eq!(found, frames(16_000, &sound, &profile));
    let refused = analyzer.push(&vec![0.0; MAX_SAMPLES + 1], |_| panic!("a frame"));
    assert_eq!(refused, Err(SpeechError::TooMany(MAX_SAMPLES + 1)));
    let mut stereo = SpeechAnalyzer::new(16_000, 2, &profile).unwrap();
    assert_eq!(stereo.push(&[0.0; 3], |_| {}), Err(SpeechError::Uneven { samples: 3, channels: 2 }));
    assert_eq!(stereo.push(&[], |_| panic!("a frame")), Ok(()));
}

#[test]
fn speech_frames_finite_for_extreme_samples() {
    let mut random = fastrand::Rng::with_seed(3);
    for rate in [8_000, 48_000] {
        for size in [f32::MIN_POSITIVE, 1e-30, 1e-6, 1.0, 1e9, f32::MAX] {
            let samples: Vec<f32> = (0..rate).map(|_| size * f32::from(random.i8(-1..=1))).collect();
            for frame in frames(rate, &samples, &VoiceProfile::builtin(rate)) {
                assert!((0.0..=1.0).contains(&frame.weight), "{size}: {}", frame.weight);
                let numbers = frame.scores.iter().chain(&frame.features).chain([&frame.level, &frame.excess]);
                assert!(numbers.into_iter().all(|x| x.is_finite()), "{size}: {frame:?}");
                assert!((frame.scores.iter().sum::<f32>() - 1.0).abs() < 1e-3);
            }
        }
    }
}

#[test]
fn speech_profile_without_closing_sounds_is_used() {
    let mut value = serde_json::to_value(VoiceProfile::builtin(16_000)).unwrap();
    value["closing"] = serde_json::json!([]);
    let profile = VoiceProfile::from_json(&value.to_string()).unwrap();
    let mut samples = Throat::new(16_000).say(FORMANTS[0].1, Duration::from_millis(400));
    samples.extend(silence(16_000, 0.4));
    for frame in frames(16_000, &samples, &profile) {
        assert!((frame.scores.iter().sum::<f32>() - 1.0).abs() < 1e-3, "{:?}", frame.scores);
    }
}

#[test]
fn speech_silence_and_steady_noise_keep_mouth_still() {
    for (name, size) in [("digital silence", 0.0), ("-80 dB", 1e-4), ("-50 dB", 3e-3), ("-30 dB", 3e-2)] {
        for rate in [16_000, 48_000] {
            let samples = noise(rate as usize * 10, size, 7);
            let found = frames(rate, &samples, &VoiceProfile::builtin(rate));
            let moved = found.iter().filter(|frame| frame.viseme != Viseme::Sil).count();
            assert_eq!(moved, 0, "{name} at {rate}: {moved} of {} frames move the mouth", found.len());
        }
    }
}

#[test]
fn speech_background_that_begins_is_learnt() {
    let rate = 16_000;
    let mut samples = silence(rate, 1.0);
    samples.extend(noise(rate as usize * 9, 0.02, 1));
    let found = frames(rate, &samples, &VoiceProfile::builtin(rate));
    let last = found.iter().rev().find(|frame| frame.viseme != Viseme::Sil);
    let last = last.map_or(Duration::ZERO, |frame| frame.at);
    assert!(last < Duration::from_secs(4), "a fan that is switched on moves the mouth until {last:?}");
}

#[test]
fn speech_held_vowel_is_no_background() {
    let rate = 16_000;
    let mut samples = silence(rate, 0.5);
    samples.extend(Throat::new(rate).say(FORMANTS[0].1, Duration::from_secs(6)));
    let found = frames(rate, &samples, &VoiceProfile::builtin(rate));
    let sung = &found[60..];
    let said = sung.iter().filter(|frame| frame.viseme != Viseme::Sil).count();
    assert!(said * 100 >= sung.len() * 99, "{said} of {} frames", sung.len());
}

/// Time from a change of the sound until the viseme is known, and until the mouth has gone 63 % of the way.
fn delays(from: Option<[f32; 3]>, to: (Viseme, [f32; 3])) -> (Duration, Duration) {
    let rate = 48_000;
    let profile = calibrated(rate);
    let (mut known, mut shown) = (Duration::ZERO, Duration::ZERO);
    // At every millisecond of a hop.
    for offset in 0..10_u64 {
        let change = Duration::from_millis(500 + offset);
        let mut throat = Throat::new(rate);
        let mut samples = match from {
            Some(formants) => throat.say(formants, change),
            None => silence(rate, change.as_secs_f32()),
        };
        samples.extend(throat.say(to.1, Duration::from_millis(300)));
        let found = frames(rate, &samples, &profile);
        let first = found.iter().find(|frame| frame.known > change && frame.viseme == to.0);
        let first = first.unwrap_or_else(|| {
            panic!("{from:?}: {:?}", found.iter().map(|frame| (frame.known, frame.viseme)).collect::<Vec<_>>())
        });
        known = known.max(first.known - change);
        let (mut mouth, mut now, mut next) = (LiveSpeech::default(), Duration::ZERO, found.iter().peekable());
        let goal = to.0.shapes().iter().find(|(shape, _)| *shape == Blendshape::JawOpen).expect("a jaw").1;
        loop {
            while let Some(frame) = next.next_if(|frame| frame.known <= now) {
                mouth.say(frame.viseme, if frame.viseme == Viseme::Sil { 0.0 } else { 1.0 });
            }
            mouth.step(0.001);
            now += Duration::from_millis(1);
            if now > change && mouth.shapes()[Blendshape::JawOpen.index()] >= 0.63 * goal {
                shown = shown.max(now - change);
                break;
            }
            assert!(now < Duration::from_secs(1), "the jaw opens");
        }
    }
    (known, shown)
}

#[test]
fn speech_viseme_known_within_60_ms() {
    let (from_silence, shown) = delays(None, FORMANTS[0]);
    let (from_ou, _) = delays(Some(FORMANTS[4].1), FORMANTS[0]);
    let (from_ih, _) = delays(Some(FORMANTS[2].1), FORMANTS[0]);
    println!(
        "window + hops: {LATENCY:?}; silence to aa: {from_silence:?}, ou to aa: {from_ou:?}, ih to aa: {from_ih:?}"
    );
    println!("silence to aa, jaw at 63 %: {shown:?}");
    assert!(LATENCY <= Duration::from_millis(60));
    for delay in [from_silence, from_ou, from_ih] {
        assert!(delay <= Duration::from_millis(60), "{delay:?}");
    }
}

#[test]
fn speech_changes_are_few_and_repeat_what_holds() {
    let rate = 16_000;
    let mut throat = Throat::new(rate);
    let mut samples = silence(rate, 1.0);
    samples.extend(throat.say(FORMANTS[0].1, Duration::from_secs(2)));
    samples.extend(silence(rate, 2.0));
    let mut changes = VisemeChanges::default();
    let found = frames(rate, &samples, &VoiceProfile::builtin(rate));
    let sent: Vec<_> = found.iter().filter_map(|frame| Some((frame.known, changes.next(frame)?))).collect();
    assert!((16..60).contains(&sent.len()), "{} messages: {sent:?}", sent.len());
    assert_eq!(sent.last().map(|(_, said)| said.0), Some(Viseme::Sil), "the end is said");
    assert!(sent.windows(2).all(|pair| pair[1].0 - pair[0].0 < VisemeChanges::HOLD), "{sent:?}");
}

#[test]
fn speech_analyzer_costs_little() {
    let rate = 48_000;
    let samples = Throat::new(rate).say(FORMANTS[0].1, Duration::from_secs(10));
    let mut analyzer = SpeechAnalyzer::new(rate, 1, &VoiceProfile::builtin(rate)).unwrap();
    let start = Instant::now();
    analyzer.push(&samples, |_| {}).unwrap();
    // Shown and not held to, since machines differ.
    println!("{:.2} % of one core, at 48 kHz", start.elapsed().as_secs_f64() * 10.0);
}

#[test]
fn speech_analyzer_allocates_nothing_once_made() {
    let samples = Throat::new(48_000).say(FORMANTS[0].1, Duration::from_secs(1));
    let mut analyzer = SpeechAnalyzer::new(48_000, 1, &VoiceProfile::builtin(48_000)).unwrap();
    let counted = allocation_counter::measure(|| {
        for piece in samples.chunks(480) {
            analyzer.push(piece, |_| {}).unwrap();
        }
    });
    assert_eq!(counted.count_total, 0);
}

/// A sentence, or a vowel, of a voice.
struct Spoken {
    voice: String,
    number: String,
    rate: u32,
    samples: Vec<f32>,
    segments: Vec<(f64, f64, String, String)>,
}

fn spoken(folder: &Path) -> Vec<Spoken> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).expect("a folder").map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wav"));
    files.sort();
    let read = |file: PathBuf| {
        let mut wav = hound::WavReader::open(&file).expect("a WAV file");
        let samples = wav.samples::<i16>().map(|sample| f32::from(sample.unwrap()) / 32768.0).collect();
        let segments = fs::read_to_string(file.with_extension("txt")).expect("the truth");
        let segments = segments.lines().map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            (columns[0].parse().unwrap(), columns[1].parse().unwrap(), columns[2].to_owned(), columns[3].to_owned())
        });
        let (voice, number) = file.file_stem().unwrap().to_str().unwrap().rsplit_once('_').unwrap();
        Spoken {
            voice: voice.to_owned(),
            number: number.to_owned(),
            rate: wav.spec().sample_rate,
            samples,
            segments: segments.collect(),
        }
    };
    files.into_iter().map(read).collect()
}

/// The sentences of each voice as one stream, with half a second between them.
fn joined(sentences: Vec<Spoken>) -> Vec<Spoken> {
    let mut voices: Vec<Spoken> = Vec::new();
    for sentence in sentences {
        match voices.last_mut().filter(|voice| voice.voice == sentence.voice) {
            None => voices.push(sentence),
            Some(voice) => {
                voice.samples.extend(silence(voice.rate, 0.5));
                let start = voice.samples.len() as f64 / f64::from(voice.rate);
                voice.samples.extend(sentence.samples);
                let segments = sentence.segments.into_iter();
                voice.segments.extend(segments.map(|(a, b, viseme, sound)| (a + start, b + start, viseme, sound)));
            }
        }
    }
    voices
}

/// What was counted of a voice.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Frames in vowels, and right ones.
    frames: [usize; 2],
    /// Vowels, and those whose most frequent viseme is right.
    vowels: [usize; 2],
    /// p, b and m, and those with closed lips.
    lips: [usize; 2],
    /// Other consonants and vowels, and those with closed lips.
    others: [usize; 2],
    /// s, z, sh, ch and their like, and those with a frame of SS or CH.
    hiss: [usize; 2],
    /// Frames a quarter of a second after speech or more, and those that move the mouth.
    pauses: [usize; 2],
}

impl Counts {
    fn add(&mut self, other: &Self) {
        for (a, b) in [
            (&mut self.frames, other.frames),
            (&mut self.vowels, other.vowels),
            (&mut self.lips, other.lips),
            (&mut self.others, other.others),
            (&mut self.hiss, other.hiss),
            (&mut self.pauses, other.pauses),
        ] {
            a[0] += b[0];
            a[1] += b[1];
        }
    }
}

fn percent(of: [usize; 2]) -> f64 {
    100.0 * of[1] as f64 / of[0].max(1) as f64
}

fn count(sentence: &Spoken, profile: &VoiceProfile, snr: Option<f32>, seed: u64) -> Counts {
    let rate = sentence.rate;
    let lead = 1.0;
    let mut samples = silence(rate, lead as f32);
    samples.extend(&sentence.samples);
    samples.extend(silence(rate, 1.5));
    if let Some(snr) = snr {
        let loud: Vec<f32> = sentence.samples.iter().copied().filter(|x| x.abs() > 0.01).collect();
        let power = loud.iter().map(|x| x * x).sum::<f32>() / loud.len() as f32;
        let size = (power / 10_f32.powf(snr / 10.0)).sqrt();
        let background = noise(samples.len(), size, seed);
        samples.iter_mut().zip(background).for_each(|(x, n)| *x += n);
    }
    let found = frames(rate, &samples, profile);
    let mut counts = Counts::default();
    let between = |start: f64, end: f64| {
        found.iter().filter(move |frame| (start..end).contains(&(frame.at.as_secs_f64() - lead)))
    };
    for (start, end, viseme, _) in &sentence.segments {
        let vowel = VOWELS.iter().find(|vowel| vowel.name() == viseme);
        if let Some(vowel) = vowel {
            let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
            for frame in between(*start, *end) {
                *seen.entry(frame.viseme.name()).or_default() += 1;
            }
            let right = seen.get(vowel.name()).copied().unwrap_or_default();
            counts.frames[0] += seen.values().sum::<usize>();
            counts.frames[1] += right;
            counts.vowels[0] += 1;
            counts.vowels[1] += usize::from(seen.values().all(|other| *other <= right) && right > 0);
        }
        let lips = between(start - 0.01, end + 0.01).filter(|frame| frame.viseme == Viseme::Pp).count() >= 2;
        // Where neither neighbour closes them, so that its closure is not counted here.
        let beside = sentence
            .segments
            .iter()
            .any(|(a, b, viseme, _)| viseme == "PP" && ((a - end).abs() < 0.03 || (start - b).abs() < 0.03));
        match &**viseme {
            "PP" => {
                counts.lips[0] += 1;
                counts.lips[1] += usize::from(lips);
            }
            "sil" | "other" | "glide" => {}
            _ if !beside => {
                counts.others[0] += 1;
                counts.others[1] += usize::from(lips);
            }
            _ => {}
        }
        if ["SS", "CH"].contains(&&**viseme) {
            let hiss = between(*start, *end).filter(|frame| [Viseme::Ss, Viseme::Ch].contains(&frame.viseme)).count();
            counts.hiss[0] += 1;
            counts.hiss[1] += usize::from(hiss >= 2);
        }
    }
    let end =
        sentence.segments.iter().filter(|segment| segment.2 != "sil").map(|segment| segment.1).fold(0.0, f64::max);
    // A stop closes the mouth for a seventh of a second at most.
    for frame in between(-lead, -0.05).chain(between(end + 0.25, 1e9)) {
        counts.pauses[0] += 1;
        counts.pauses[1] += usize::from(frame.viseme != Viseme::Sil);
    }
    counts
}

#[test]
fn speech_vowels_and_closures_of_synthetic_voices() {
    let corpus = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/speech-corpus");
    let made = Command::new("python3").arg(&script).arg(corpus.path()).output();
    if !made.as_ref().is_ok_and(|made| made.status.success()) {
        let why =
            made.map_or_else(|error| error.to_string(), |made| String::from_utf8_lossy(&made.stderr).into_owned());
        assert!(std::env::var_os("CI").is_none(), "{}: {why}", script.display());
        println!("skipped: needs python3 and libespeak-ng ({})", why.lines().last().unwrap_or_default());
        return;
    }
    let sentences = joined(spoken(&corpus.path().join("test")));
    let vowels = spoken(&corpus.path().join("vowels"));
    let mut calibrated = BTreeMap::new();
    for vowel in &vowels {
        let calibration = calibrated
            .entry(vowel.voice.clone())
            .or_insert_with(|| Calibration::new(VoiceProfile::builtin(vowel.rate)));
        let viseme = VOWELS.into_iter().find(|viseme| viseme.name() == vowel.number).expect("a vowel");
        let mut samples = silence(vowel.rate, 0.3);
        samples.extend(&vowel.samples);
        calibration.add(viseme, vowel.rate, 1, &samples).unwrap_or_else(|error| {
            panic!("{} {}: {error}", vowel.voice, vowel.number);
        });
    }
    let calibrated: BTreeMap<_, _> =
        calibrated.into_iter().map(|(voice, calibration)| (voice, calibration.finish().expect("vowels"))).collect();
    let mut total: BTreeMap<(bool, bool, bool), Counts> = BTreeMap::new();
    for snr in [None, Some(10.0)] {
        for own in [true, false] {
            let mut by_voice: BTreeMap<&str, Counts> = BTreeMap::new();
            for (seed, sentence) in sentences.iter().enumerate() {
                let usual = VoiceProfile::builtin(sentence.rate);
                let profile = if own { &calibrated[&sentence.voice] } else { &usual };
                by_voice.entry(&sentence.voice).or_default().add(&count(sentence, profile, snr, seed as u64));
            }
            let name = format!(
                "{}, {}",
                if own { "calibrated" } else { "not calibrated" },
                if snr.is_some() { "noise 10 dB below" } else { "quiet" }
            );
            println!(
                "\n| {name} | vowels | frames of vowels | lips on p b m | lips elsewhere | hiss | moved in pauses |"
            );
            println!("|---|---|---|---|---|---|---|");
            let row = |name: &str, c: &Counts| {
                let [v, f, l, o, h, p] = [c.vowels, c.frames, c.lips, c.others, c.hiss, c.pauses].map(percent);
                println!("| {name} | {v:.0} % | {f:.0} % | {l:.0} % | {o:.0} % | {h:.0} % | {p:.1} % |");
            };
            for (voice, counts) in &by_voice {
                row(voice, counts);
                total.entry((snr.is_some(), own, voice.starts_with("flite"))).or_default().add(counts);
            }
            row("all of espeak-ng", &total[&(snr.is_some(), own, false)]);
        }
    }
    let of = |noisy, own| total[&(noisy, own, false)];
    // With room for other versions of the voices.
    assert!(percent(of(false, true).vowels) >= 80.0, "vowels of calibrated voices");
    assert!(percent(of(false, false).vowels) >= 75.0, "vowels of voices that are not");
    assert!(percent(of(true, true).vowels) >= 72.0, "vowels in noise");
    for own in [true, false] {
        let quiet = of(false, own);
        assert!(percent(quiet.lips) >= 72.0, "lips meet on p, b and m");
        assert!(percent(quiet.others) <= 20.0, "and seldom on others");
        assert!(percent(quiet.hiss) >= 90.0, "s, z, sh and ch");
        assert_eq!(quiet.pauses[1], 0, "silence is silence");
        assert!(percent(of(true, own).pauses) <= 1.0, "noise is silence");
    }
}
