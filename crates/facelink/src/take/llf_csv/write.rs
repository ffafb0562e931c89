//! Writes takes as the app does.

use std::{
    collections::HashSet,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use super::{
    super::{
        frames::Take,
        rows::{LlfRows, Timecode},
    },
    Column,
};
use crate::{
    frame::{FaceFrame, MAX_CHANNELS},
    names::BLENDSHAPE_COUNT,
    wire::llf::{CURVE_COUNT, PLAIN_PROFILE, curve_name, curves_from_frame},
};

const DAY_NANOS: u128 = 86_400 * 1_000_000_000;
/// The app counts the frames of a second at 60, and writes thousandths of a frame.
const THOUSANDTHS: u128 = 60_000;
/// Capture times that go on by this much more or less than the take are those of another clock.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(1);

/// How the app spells the name of the second column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CountName {
    /// As the file spells it that the take was read from; else as [`New`](Self::New).
    #[default]
    AsRead,
    /// `BlendshapeCount`, since 2024.
    New,
    /// `BlendShapeCount`, before.
    Old,
}

/// Writes a take as the app writes one: 61 columns in the order of its files, LF line ends, ten decimals, timecodes that count
/// 60 frames a second whatever the rate of the take is.
///
/// A take that was read from a file of the app, and at most cut since, gives the rows of that file again, byte for byte.
/// Others have as timecode the capture time of their frames where that runs as the take does, else the time since the start.
/// Shapes, head and gaze that a frame does not give are 0, and a row without a face ends after its count of 0. Channels
/// follow behind the 61 columns, as tools write them that add emotions; the head's position has no place in the format.
///
/// # Errors
/// When `out` fails.
pub fn encode(take: &Take, name: CountName, out: &mut impl Write) -> io::Result<()> {
    let rows = take.rows();
    let count_name = match (name, rows) {
        (CountName::AsRead, Some(rows)) => &*rows.count_name,
        (CountName::Old, _) => "BlendShapeCount",
        _ => "BlendshapeCount",
    };
    let channels = channels(take);
    write!(out, "Timecode,{count_name}")?;
    for name in order().filter_map(curve_name) {
        let (first, rest) = name.split_at(1);
        write!(out, ",{}{rest}", first.to_ascii_uppercase())?;
    }
    for name in &channels {
        write!(out, ",{}", quoted(name))?;
    }
    writeln!(out)?;
    let clock = Clock::of(take);
    for (place, frame) in take.frames().iter().enumerate() {
        let row = rows.and_then(|LlfRows { rows, .. }| rows.get(place));
        match row {
            Some(row) => write_timecode(row.timecode, out)?,
            None => write_timecode(timecode(clock.time(frame.time, &frame.frame)), out)?,
        }
        let frame = &frame.frame;
        if !frame.tracked {
            writeln!(out, ",{}", row.and_then(|row| row.lost.as_deref()).unwrap_or("0"))?;
            continue;
        }
        let mut curves = curves_from_frame(frame, &PLAIN_PROFILE);
        if let Some(row) = row {
            curves[BLENDSHAPE_COUNT..].copy_from_slice(&row.angles);
        }
        write!(out, ",{}", CURVE_COUNT + channels.len())?;
        for curve in order() {
            write!(out, ",{:.10}", curves[curve])?;
        }
        for (place, name) in channels.iter().enumerate() {
            let same = |channel: &&crate::frame::Channel| channel.name == *name;
            let channel = frame.channels.get(place).filter(same).or_else(|| frame.channels.iter().find(same));
            write!(out, ",{:.10}", channel.map_or(0.0, |channel| channel.value))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The curves in the order of the app's files: to the right before to the left, for jaw and mouth.
fn order() -> impl Iterator<Item = usize> {
    (0..CURVE_COUNT).map(|curve| match curve {
        15 | 21 => curve + 1,
        16 | 22 => curve - 1,
        _ => curve,
    })
}

/// Every channel of the take, the first ones first, but for those that a reader would take for a curve.
fn channels(take: &Take) -> Vec<Arc<str>> {
    let mut known: HashSet<&str> = HashSet::new();
    let mut names = Vec::new();
    for channel in take.frames().iter().flat_map(|frame| &frame.frame.channels) {
        if known.contains(&*channel.name) {
            continue;
        }
        known.insert(&channel.name);
        if matches!(Column::called(&channel.name), Column::Channel(_)) && names.len() < MAX_CHANNELS {
            names.push(channel.name.clone());
        }
    }
    names
}

fn quoted(name: &str) -> String {
    if name.contains([',', '"', ';', '\t', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

/// Where the times of day of a take come from.
enum Clock {
    Capture,
    /// The time of day of the take's start.
    Since(Duration),
}

impl Clock {
    fn of(take: &Take) -> Self {
        let frames = take.frames();
        let captured: Option<Vec<Duration>> = frames.iter().map(|frame| frame.frame.capture_time).collect();
        let Some(captured) = captured else { return Self::Since(Duration::ZERO) };
        let (first, last) =
            (captured.first().copied().unwrap_or_default(), captured.last().copied().unwrap_or_default());
        let length = frames.last().map_or(Duration::ZERO, |frame| frame.time);
        let runs = captured.windows(2).all(|pair| pair[0] < pair[1])
            && last.saturating_sub(first).abs_diff(length) < CLOCK_TOLERANCE;
        if runs { Self::Capture } else { Self::Since(first) }
    }

    fn time(&self, time: Duration, frame: &FaceFrame) -> Duration {
        match self {
            Self::Capture => frame.capture_time.unwrap_or(time),
            Self::Since(start) => start.saturating_add(time),
        }
    }
}

fn timecode(time: Duration) -> Timecode {
    let thousandths = (time.as_nanos() * THOUSANDTHS + 500_000_000) / 1_000_000_000;
    let thousandths = thousandths % (DAY_NANOS / 1_000_000_000 * THOUSANDTHS);
    Timecode { second: (thousandths / THOUSANDTHS) as u32, frame: (thousandths % THOUSANDTHS) as f64 / 1000.0 }
}

fn write_timecode(timecode: Timecode, out: &mut impl Write) -> io::Result<()> {
    let Timecode { second, frame } = timecode;
    write!(out, "{:02}:{:02}:{:02}:{frame:06.3}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::{super::decode, *};
    use crate::{
        names::Blendshape,
        performer::Performance,
        take::{FrameRate, TakeFrame},
    };

    fn text(take: &Take, name: CountName) -> String {
        let mut out = Vec::new();
        encode(take, name, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn header(count: &str) -> String {
        let take = Take::new(vec![TakeFrame { time: Duration::ZERO, frame: FaceFrame::neutral() }]).unwrap();
        text(&take, CountName::Old).lines().next().unwrap().replace("BlendShapeCount", count)
    }

    /// Numbers as they come out of the app, eye rolls and a head that is turned included.
    fn row(timecode: &str, seed: u32) -> String {
        let mut random = fastrand::Rng::with_seed(u64::from(seed));
        let mut row = format!("{timecode},61");
        for curve in 0..CURVE_COUNT {
            let value = if random.u32(0..6) == 0 { 0.0 } else { random.f32() };
            let value = if curve < BLENDSHAPE_COUNT { value.powi(3) } else { value - 0.5 };
            let _ = write!(row, ",{value:.10}");
        }
        row
    }

    #[test]
    fn llf_csv_of_the_app_comes_out_as_it_went_in() {
        let lost = format!("10:00:00:02.503,0{}", ",".repeat(CURVE_COUNT));
        let zeros = format!("10:00:00:03.504,0{}", ",0.0000000000".repeat(CURVE_COUNT));
        for count in ["BlendShapeCount", "BlendshapeCount"] {
            let rows = [
                row("23:59:59:59.501", 1),
                row("00:00:00:00.502", 2),
                "00:00:00:01.503,0".to_owned(),
                lost.clone(),
                zeros.clone(),
                row("10:00:00:04.505", 3),
                // The clock steps back, and two rows have one timecode.
                row("10:00:00:04.005", 4),
                row("10:00:00:04.005", 5),
                row("10:00:00:59.999", 6),
            ];
            let file = format!("{}\n{}\n", header(count), rows.join("\n"));
            let take = decode(file.as_bytes()).unwrap();
            assert_eq!(text(&take, CountName::AsRead), file);
            // And cut, the rest of it.
            let times: Vec<_> = take.frames().iter().map(|frame| frame.time).collect();
            let cut = take.cut(times[5], times[7]).unwrap();
            assert_eq!(text(&cut, CountName::AsRead), format!("{}\n{}\n", header(count), rows[5..8].join("\n")));
            let other = text(&take, CountName::New);
            assert!(other.starts_with("Timecode,BlendshapeCount,EyeBlinkLeft,"));
        }
        let columns = header("BlendshapeCount");
        assert!(
            columns.contains(",JawForward,JawRight,JawLeft,JawOpen,")
                && columns.contains(",MouthPucker,MouthRight,MouthLeft,MouthSmileLeft,")
        );
    }

    #[test]
    fn llf_csv_at_30_frames_comes_out_as_it_went_in() {
        let rows: Vec<_> = (0..150).map(|i| row(&format!("13:13:{:02}:{:02}.652", i / 30, i % 30 * 2), i)).collect();
        let file = format!("{}\n{}\n", header("BlendShapeCount"), rows.join("\n"));
        let take = decode(file.as_bytes()).unwrap();
        assert!((take.fps() - 30.0).abs() < 0.1);
        assert_eq!(text(&take, CountName::AsRead), file);
    }

    #[test]
    fn llf_csv_of_any_take_is_read_again_at_every_rate() {
        let performance = Performance::new(7);
        let start = Duration::from_secs(86_399);
        let frames = (0..600_u64).map(|i| {
            let time = FrameRate::SIXTY.time_of(i);
            let mut frame = performance.frame_at(time);
            frame.capture_time = Some(start + time);
            frame.channels.push(crate::frame::Channel { name: "Happy, \"very\"".into(), value: i as f32 / 600.0 });
            TakeFrame { time, frame }
        });
        let take = Take::new(frames.collect()).unwrap();
        for rate in FrameRate::STANDARD {
            let resampled = take.resampled(rate);
            let text = text(&resampled, CountName::AsRead);
            assert!(text.lines().nth(1).unwrap().starts_with("23:59:59:00.000,62,"), "{rate}");
            let back = decode(text.as_bytes()).unwrap();
            assert_eq!(back.frames().len(), resampled.frames().len());
            assert!((back.fps() - rate.as_f64()).abs() < 0.01, "{rate}: {}", back.fps());
            for (a, b) in back.frames().iter().zip(resampled.frames()) {
                assert!(a.time.abs_diff(b.time) < Duration::from_micros(20), "{rate}: {:?} {:?}", a.time, b.time);
                assert!(a.frame.weights.iter().zip(b.frame.weights).all(|(a, b)| (a - b).abs() < 1e-9));
                assert_eq!(&*a.frame.channels[0].name, "Happy, \"very\"");
                let turns = a.frame.head.zip(b.frame.head).unwrap();
                let dot: f32 = turns.0.rotation.iter().zip(turns.1.rotation).map(|(a, b)| a * b).sum();
                assert!(dot.abs() > 0.999_999);
                let gaze = a.frame.gaze.zip(b.frame.gaze).unwrap();
                assert!((gaze.0.left.yaw - gaze.1.left.yaw).abs() < 1e-6);
            }
        }
        assert_eq!(
            take.frames()[0].frame.get(Blendshape::JawOpen),
            take.resampled(FrameRate::STANDARD[0]).frames()[0].frame.get(Blendshape::JawOpen)
        );
    }
}
