//! Takes that Live Link Face wrote on the phone, as CSV.
//!
//! The first line names the columns: `Timecode`, `BlendShapeCount` (`BlendshapeCount` in newer versions) and the 61 of
//! [`curve_name`], in an order that is not the one on the wire. They are found by name, in any
//! case and any order. A column of another name is a channel: tools that make such files add emotions and others.
//!
//! A timecode is `HH:MM:SS:FF.mmm`: hours, minutes and seconds of the day, the frame within the second, and thousandths of a
//! *frame*. Frames of the second are counted at 60 by the app, whatever it records at; where a file shows that they are
//! counted at another rate, by never reaching further over at least two whole seconds, it is that; numbers of 240 and more are
//! milliseconds. A take may go on past midnight. Rows of one timecode are spread evenly up to the next, and a timecode that
//! steps back does not take the performance back: [`Take::remarks`] reports it.
//!
//! Tools that imitate the app write other timecodes: a plain number is one of frames, at 60 a second, or of seconds where the
//! numbers are less than half apart (NVIDIA's Audio2Face-3D); and NeuroSync repeats the milliseconds of the second after the
//! frame, which are then left alone.
//!
//! Columns are named in any spelling that senders use: `JawOpen`, `jaw_L`, `blendShapes.EyeBlinkLeft`. Where fewer than
//! [`MIN_SHAPES`] are ARKit's, the columns are those of another face, such as `CTRL_expressions_jawOpen`, and its shapes are
//! read off as far as one of [`PRESETS`](crate::mapping::PRESETS) names them.
//!
//! Columns are separated by commas, semicolons or tabs; where not by commas, numbers may have a decimal comma. A last row that
//! is cut off is left out, and reported likewise.
//!
//! Weights and angles are those of the wire, in radians, by [`PLAIN_PROFILE`]: unlike on the
//! wire, `mouthLeft` and `mouthRight` are what they say. A row with a count of 0 is one in which the app saw no face; other
//! counts are not looked at.
//!
//! [`encode`] writes a take as the app does. A file of the app's that is read and written again is the same file.
//!
//! Sources are listed in `docs/sources/live-link-face-csv.md`.

mod write;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use csv::{ByteRecord, ReaderBuilder};

pub use write::{CountName, encode};

use super::{
    dialect::Dialect,
    frames::{LONGEST_STEP, Take, TakeError, TakeFrame},
    rows::{LlfRow, LlfRows, Timecode},
};
use crate::{
    frame::{Channel, FaceFrame, MAX_CHANNELS, clamp_weight},
    names::{BLENDSHAPE_COUNT, Blendshape},
    wire::{
        json::check_name,
        llf::{CURVE_COUNT, LlfError, PLAIN_PROFILE, check_curves, curve_name, frame_from_curves},
    },
};

/// Largest file that is read, bytes: about seven hours.
pub const MAX_BYTES: u64 = 1 << 30;
/// Fewest of the 52 shapes that a file must have columns for.
pub const MIN_SHAPES: usize = 26;
/// Most columns.
pub const MAX_COLUMNS: usize = 2 + CURVE_COUNT + MAX_CHANNELS;

/// What the app counts the frames of a second at.
const USUAL_RATE: u32 = 60;
/// What tools count them at.
const RATES: [u32; 13] = [10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120, 240];
/// Frame numbers from here on are milliseconds.
const MILLISECONDS: f64 = 240.0;
/// A timecode that was reached again after so many rows had stepped back for these alone.
const STRAY_ROWS: usize = 3;
/// Longest first line that is searched for separators, bytes.
const MAX_FIRST_LINE: u64 = 64 * 1024;
/// Two plain numbers this far apart count frames, not seconds.
const FRAMES_APART: f64 = 0.5;
/// Largest plain number.
const MAX_NUMBER: f64 = 1e7;
/// Frames of a second that must have been counted for their fractions to show that they are milliseconds.
const MILLISECONDS_FROM: f64 = 4.0;
/// Seconds that must have gone by before the highest frame number seen is believed to be the highest there is.
const SURE_AFTER: usize = 2;
/// How far a step may be beyond whole frames, such as 1001 thousandths of one.
const STEP_TOLERANCE: f64 = 0.01;
const ANGLES: usize = CURVE_COUNT - BLENDSHAPE_COUNT;
const DAY: f64 = 86_400.0;

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LlfCsvError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// More than [`MAX_BYTES`].
    #[error("larger than the {MAX_BYTES} bytes that are read")]
    TooLarge,
    /// It cannot be read to the end.
    #[error("line {line}: {message}")]
    Csv {
        /// Where.
        line: u64,
        /// The reason.
        message: String,
    },
    /// There is no column of this name.
    #[error("line 1: no column is called `{0}`")]
    NoColumn(&'static str),
    /// Two columns mean the same.
    #[error("line 1: there is more than one column `{0}`")]
    Twice(String),
    /// The first line has one column alone.
    #[error("line 1: one column alone; columns are separated by commas, semicolons or tabs")]
    Separator,
    /// Fewer shapes than [`MIN_SHAPES`].
    #[error("line 1: columns for {0} of the 52 shapes, at least {MIN_SHAPES} are needed")]
    TooFewShapes(usize),
    /// More columns than [`MAX_COLUMNS`].
    #[error("line 1: {0} columns, at most {MAX_COLUMNS} are read")]
    TooManyColumns(usize),
    /// A name of a column is no name.
    #[error("line 1, column {column}: {message}")]
    Name {
        /// Its place, from 1.
        column: usize,
        /// The reason.
        message: String,
    },
    /// A cell holds something else than it should.
    #[error("line {line}, column `{column}`: {message}")]
    Cell {
        /// The line, from 1.
        line: u64,
        /// Name of the column.
        column: String,
        /// The reason.
        message: String,
    },
    /// A line has too few or too many cells.
    #[error("line {line}: {found} cells under {wanted} columns")]
    Cells {
        /// The line, from 1.
        line: u64,
        /// Cells that it has.
        found: usize,
        /// Columns that there are.
        wanted: usize,
    },
    /// There are no frames.
    #[error(transparent)]
    Take(#[from] TakeError),
}

/// Reads a file.
///
/// # Errors
/// [`LlfCsvError`] names the line and the column.
pub fn read(path: &Path) -> Result<Take, LlfCsvError> {
    let unreadable = |source| LlfCsvError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.len() > MAX_BYTES {
        return Err(LlfCsvError::TooLarge);
    }
    // It may grow, or be no file at all.
    decode(BufReader::new(file.take(MAX_BYTES)))
}

/// Reads a take from its bytes, such as a `&[u8]`. A take of the app needs about as much memory as its file,
/// and of no text more than 25 times as much.
///
/// # Errors
/// [`LlfCsvError`] names the line and the column.
pub fn decode(bytes: impl Read) -> Result<Take, LlfCsvError> {
    // Lengths are checked here, for rows without a face.
    let mut bytes = BufReader::new(bytes);
    let mut first = Vec::new();
    let unreadable = |error: &io::Error| LlfCsvError::Csv { line: 1, message: error.to_string() };
    bytes.by_ref().take(MAX_FIRST_LINE).read_until(b'\n', &mut first).map_err(|error| unreadable(&error))?;
    let separator = separator(&first);
    let bytes = Cursor::new(first).chain(bytes);
    let mut reader = ReaderBuilder::new().flexible(true).delimiter(separator).from_reader(bytes);
    let columns = Columns::of(reader.byte_headers().map_err(|error| unread(&error))?, separator)?;
    let mut rows = Rows::default();
    let mut record = ByteRecord::new();
    let mut cut_off: Option<LlfCsvError> = None;
    while reader.read_byte_record(&mut record).map_err(|error| unread(&error))? {
        let line = record.position().map_or(0, csv::Position::line);
        // As other programs do with it: an empty line at the end.
        if record.iter().all(|cell| cell.trim_ascii().is_empty()) {
            continue;
        }
        if let Some(error) = cut_off {
            return Err(error);
        }
        match columns.row(&record, line) {
            Ok(row) => rows.add(row, line)?,
            // If it is the last one, the file was cut off.
            Err(error) if columns.is_cut_off(&record, &error) && !rows.frames.is_empty() => cut_off = Some(error),
            Err(error) => return Err(error),
        }
    }
    rows.remarks.extend(cut_off.map(|error| format!("{error}: the file ends there, and this line is left out")));
    rows.into_take(&columns)
}

/// What separates the columns of the first line: the one that there is most of.
fn separator(first: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    for byte in first {
        quoted ^= *byte == b'"';
        if let Some((_, count)) = counts.iter_mut().find(|(separator, _)| separator == byte).filter(|_| !quoted) {
            *count += 1;
        }
    }
    // The first of equals.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(separator, _)| separator)
}

fn unread(error: &csv::Error) -> LlfCsvError {
    LlfCsvError::Csv { line: error.position().map_or(1, csv::Position::line), message: error.to_string() }
}

/// The meaning of a column.
#[derive(Clone, Debug)]
enum Column {
    /// Of the row.
    Number,
    Timecode,
    Count,
    Curve(usize),
    Channel(Arc<str>),
}

struct Columns {
    columns: Vec<(Column, String)>,
    /// What the channels of another face are made of.
    dialect: Option<Dialect>,
    /// Shapes that have a column.
    present: u64,
    timecode: usize,
    count: Option<usize>,
    /// Numbers may have a decimal comma.
    decimal_comma: bool,
}

impl Columns {
    fn of(header: &ByteRecord, separator: u8) -> Result<Self, LlfCsvError> {
        if header.len() == 1 {
            return Err(LlfCsvError::Separator);
        }
        if header.len() > MAX_COLUMNS {
            return Err(LlfCsvError::TooManyColumns(header.len()));
        }
        let mut columns: Vec<(Column, String)> = Vec::with_capacity(header.len());
        let (mut curves, mut timecode, mut count) = (0_u64, None, None);
        for (place, name) in header.iter().enumerate() {
            let bad = |message: String| LlfCsvError::Name { column: place + 1, message };
            let name = std::str::from_utf8(name.trim_ascii()).map_err(|_| bad("the name is no UTF-8".to_owned()))?;
            // Tables of pandas have a first column of row numbers, without a name.
            if !(place == 0 && name.is_empty()) {
                check_name(name).map_err(bad)?;
            }
            let column = if name.is_empty() { Column::Number } else { Column::called(name) };
            let twice = match &column {
                Column::Number => false,
                Column::Timecode => timecode.replace(place).is_some(),
                Column::Count => count.replace(place).is_some(),
                Column::Curve(curve) => {
                    let known = curves & 1 << curve != 0;
                    curves |= 1 << curve;
                    known
                }
                Column::Channel(_) => columns.iter().any(|(_, other)| other == name),
            };
            if twice {
                return Err(LlfCsvError::Twice(name.to_owned()));
            }
            columns.push((column, name.to_owned()));
        }
        let timecode = timecode.ok_or(LlfCsvError::NoColumn("Timecode"))?;
        let mut present = curves & ((1 << BLENDSHAPE_COUNT) - 1);
        let mut dialect = None;
        if (present.count_ones() as usize) < MIN_SHAPES {
            let names: Vec<&str> = columns.iter().map(|(_, name)| name.as_str()).collect();
            dialect = if names.len() > MIN_SHAPES { Dialect::of(&names) } else { None };
            let shapes = dialect.as_ref().map_or(present, |dialect| dialect.present()).count_ones() as usize;
            if shapes < MIN_SHAPES {
                return Err(LlfCsvError::TooFewShapes(shapes));
            }
            present = (1 << BLENDSHAPE_COUNT) - 1;
        }
        Ok(Self { columns, dialect, present, timecode, count, decimal_comma: separator != b',' })
    }

    /// Whether the columns begin as those of the app.
    fn is_of_app(&self) -> bool {
        self.timecode == 0 && self.count == Some(1) && !self.decimal_comma && self.dialect.is_none()
    }

    /// Whether a row may have been refused because the file ends in it.
    fn is_cut_off(&self, record: &ByteRecord, error: &LlfCsvError) -> bool {
        let in_last = match error {
            LlfCsvError::Cell { column, .. } => self.columns.last().is_some_and(|(_, name)| name == column),
            _ => false,
        };
        record.len() < self.columns.len() || in_last
    }

    fn row(&self, record: &ByteRecord, line: u64) -> Result<Row, LlfCsvError> {
        let cell = |place: usize| record.get(place).unwrap_or_default().trim_ascii();
        let fail = |place: usize, message: String| LlfCsvError::Cell {
            line,
            column: self.columns.get(place).map(|(_, name)| name.clone()).unwrap_or_default(),
            message,
        };
        let text = |place: usize| std::str::from_utf8(cell(place)).map_err(|_| fail(place, "no UTF-8".to_owned()));
        if record.len() < self.columns.len() && record.len() <= self.timecode {
            return Err(LlfCsvError::Cells { line, found: record.len(), wanted: self.columns.len() });
        }
        let timecode = Code::parse(text(self.timecode)?).map_err(|message| fail(self.timecode, message))?;
        if self.count.is_some_and(|count| cell(count) == b"0") {
            let frame = FaceFrame { tracked: false, ..FaceFrame::default() };
            let rest = record.iter().skip(1).map(String::from_utf8_lossy).collect::<Vec<_>>().join(",");
            return Ok(Row { timecode, frame, angles: [0.0; ANGLES], lost: Some(rest) });
        }
        if record.len() != self.columns.len() {
            return Err(LlfCsvError::Cells { line, found: record.len(), wanted: self.columns.len() });
        }
        let mut curves = [0.0; CURVE_COUNT];
        let mut channels = crate::frame::Channels::new();
        let mut values = vec![0.0; if self.dialect.is_some() { self.columns.len() } else { 0 }];
        for (place, (column, _)) in self.columns.iter().enumerate() {
            let number = || -> Result<f32, LlfCsvError> {
                let text = text(place)?;
                let number = match text.parse::<f32>() {
                    Err(_) if self.decimal_comma => text.replacen(',', ".", 1).parse(),
                    number => number,
                };
                let number = number.ok().filter(|number| number.is_finite());
                number.ok_or_else(|| fail(place, format!("`{}` is no number", shortened(text))))
            };
            match column {
                Column::Timecode | Column::Count | Column::Number => {}
                Column::Channel(_) if self.dialect.is_some() => values[place] = number()?,
                Column::Curve(curve) if self.dialect.is_some() && *curve < BLENDSHAPE_COUNT => {
                    values[place] = number()?
                }
                Column::Curve(curve) => curves[*curve] = number()?,
                Column::Channel(name) => {
                    channels.push(Channel { name: name.clone(), value: clamp_weight(number()?) });
                }
            }
        }
        check_curves(&curves).map_err(|error| match error {
            LlfError::Value { field, value } => {
                let place = self.columns.iter().position(
                    |(column, _)| matches!(column, Column::Curve(curve) if curve_name(*curve) == Some(field)),
                );
                fail(place.unwrap_or_default(), format!("{value} is out of range"))
            }
            other => fail(self.timecode, other.to_string()),
        })?;
        let mut frame = frame_from_curves(&curves, &PLAIN_PROFILE);
        frame.present &= self.present;
        frame.channels = channels;
        if let Some(dialect) = &self.dialect {
            dialect.read(&values, &mut frame);
        }
        let angles = std::array::from_fn(|angle| curves[BLENDSHAPE_COUNT + angle]);
        Ok(Row { timecode, frame, angles, lost: None })
    }
}

impl Column {
    fn called(name: &str) -> Self {
        if name.eq_ignore_ascii_case("Timecode") {
            return Self::Timecode;
        }
        if name.eq_ignore_ascii_case("BlendShapeCount") {
            return Self::Count;
        }
        let angles = BLENDSHAPE_COUNT..CURVE_COUNT;
        let letters: String = name.rsplit('.').next().unwrap_or(name).chars().filter(|c| !"_- ".contains(*c)).collect();
        let is = |curve: &usize| curve_name(*curve).is_some_and(|angle| angle.eq_ignore_ascii_case(&letters));
        let angle = angles.into_iter().find(is);
        match Blendshape::from_sender_name(name).map(Blendshape::index).or(angle) {
            Some(curve) => Self::Curve(curve),
            None => Self::Channel(name.into()),
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

struct Row {
    timecode: Code,
    frame: FaceFrame,
    angles: [f32; ANGLES],
    lost: Option<String>,
}

/// What a cell of the first column says.
#[derive(Clone, Copy)]
enum Code {
    Timecode(Timecode),
    /// Frames or seconds.
    Number(f64),
}

impl Code {
    fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("`{}` is no timecode HH:MM:SS:FF.mmm", shortened(text));
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            let number = text.parse::<f64>().ok().filter(|number| *number <= MAX_NUMBER);
            return number.map(Self::Number).ok_or_else(bad);
        }
        // Drop-frame timecodes have a semicolon before the frame.
        let mut parts = text.split([':', ';']);
        let mut number = |most: u32| {
            let part = parts.next()?;
            let digits = (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<u32>().ok().filter(|number| digits && *number <= most)
        };
        let (hour, minute, second) = (number(23), number(59), number(60));
        let frame = parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
        let frame = frame.and_then(|part| part.parse::<f64>().ok()).filter(|frame| *frame < 1000.0);
        match (hour, minute, second, frame, parts.next()) {
            (Some(hour), Some(minute), Some(second), Some(frame), None) => {
                Ok(Self::Timecode(Timecode { second: (hour * 60 + minute) * 60 + second, frame }))
            }
            _ => Err(bad()),
        }
    }
}

/// Rows so far. The meaning of a frame number is known at the end.
#[derive(Default)]
struct Rows {
    /// Their times are set at the end.
    frames: Vec<TakeFrame>,
    /// What else is known of each.
    rows: Vec<LlfRow>,
    lines: Vec<u64>,
    /// Timecodes that are plain numbers, where the first is one.
    numbers: Vec<f64>,
    highest: f64,
    /// How often a second has changed.
    seconds: usize,
    remarks: Vec<String>,
}

impl Rows {
    fn add(&mut self, row: Row, line: u64) -> Result<(), LlfCsvError> {
        let timecode = match row.timecode {
            Code::Timecode(timecode) if self.numbers.is_empty() => timecode,
            Code::Number(number) if self.numbers.len() == self.frames.len() => {
                self.numbers.push(number);
                Timecode { second: 0, frame: 0.0 }
            }
            _ => {
                let message = "a number here and a timecode HH:MM:SS:FF.mmm in other rows".to_owned();
                return Err(LlfCsvError::Cell { line, column: "Timecode".to_owned(), message });
            }
        };
        if self.rows.last().is_some_and(|last| last.timecode.second != timecode.second) {
            self.seconds += 1;
        }
        self.highest = self.highest.max(timecode.frame);
        // Nearly always as in the row before.
        let last = self.rows.last().and_then(|row| row.lost.clone());
        let lost = row.lost.map(|text| last.filter(|last| **last == *text).unwrap_or_else(|| text.into()));
        self.rows.push(LlfRow { timecode, angles: row.angles, lost });
        self.lines.push(line);
        self.frames.push(TakeFrame { time: Duration::ZERO, frame: row.frame });
        Ok(())
    }

    /// What the frames of a second are counted at.
    fn rate(&self) -> f64 {
        let highest = self.highest.floor();
        if highest >= MILLISECONDS {
            return 1000.0;
        }
        let known = |rate: &u32| f64::from(*rate) > highest;
        if self.seconds < SURE_AFTER {
            let rate = RATES.into_iter().find(|rate| *rate >= USUAL_RATE && known(rate));
            return rate.map_or(highest + 1.0, f64::from);
        }
        // After the last frame of a second comes the first of the next, one step later.
        let frames = self.rows.windows(2).map(|pair| pair[1].timecode.frame - pair[0].timecode.frame);
        let mut steps: Vec<f64> = frames.collect();
        steps.retain(|step| *step > 0.0);
        let middle = steps.len() / 2;
        let step = if steps.is_empty() { 1.0 } else { *steps.select_nth_unstable_by(middle, f64::total_cmp).1 };
        let counted = highest + (step - STEP_TOLERANCE).ceil().max(1.0);
        // What is counted in larger steps may end anywhere in the last one.
        let near = |rate: &u32| known(rate) && f64::from(*rate) <= counted;
        RATES.into_iter().rfind(near).map_or(counted, f64::from)
    }

    /// Whether what follows the frame is the milliseconds of the second once more, instead of a part of the frame.
    fn repeats_milliseconds(&self, rate: f64) -> bool {
        let repeats = |row: &LlfRow| {
            let (frame, fraction) = (row.timecode.frame.floor(), row.timecode.frame.fract());
            (fraction - frame / rate).abs() < 0.0025
        };
        self.highest >= MILLISECONDS_FROM && self.rows.iter().all(repeats)
    }

    fn into_take(mut self, columns: &Columns) -> Result<Take, LlfCsvError> {
        let is_numbered = !self.numbers.is_empty();
        let (mut times, rate) = if is_numbered { self.numbered() } else { self.timed() };
        for (place, (frame, of_day)) in self.frames.iter_mut().zip(&times).enumerate() {
            frame.frame.capture_time = Duration::try_from_secs_f64(*of_day).ok();
            let number = match (self.numbers.get(place), self.rows.get(place)) {
                (Some(_), _) => *of_day * rate,
                (None, Some(row)) => f64::from(row.timecode.second) * rate + row.timecode.frame,
                (None, None) => 0.0,
            };
            frame.frame.sequence = Some((number + 1e-6).floor() as u64);
        }
        let back = go_on(&mut times, 1.0 / rate);
        if let Some((first, rows)) = back {
            let line = self.lines.get(first).copied().unwrap_or_default();
            let more = if rows > 1 { format!(", and {} more like it", rows - 1) } else { String::new() };
            let words = format!("line {line}: the timecode is earlier than on the line before{more}; the take goes on");
            self.remarks.insert(0, words);
        }
        spread(&mut times, 1.0 / rate);
        for (frame, time) in self.frames.iter_mut().zip(times) {
            frame.time = Duration::try_from_secs_f64(time).unwrap_or_default();
        }
        let rows = (columns.is_of_app() && !is_numbered).then(|| LlfRows {
            count_name: columns.columns.get(1).map(|(_, name)| name.as_str().into()).unwrap_or_default(),
            rows: self.rows,
        });
        Ok(Take::new(self.frames)?.read_from(self.remarks, rows))
    }

    /// Times of day by timecodes, and what the frames of a second are counted at.
    fn timed(&mut self) -> (Vec<f64>, f64) {
        let rate = self.rate();
        if self.repeats_milliseconds(rate) {
            for row in &mut self.rows {
                row.timecode.frame = row.timecode.frame.floor();
            }
        }
        let time = |row: &LlfRow| f64::from(row.timecode.second) + row.timecode.frame / rate;
        (self.rows.iter().map(time).collect(), rate)
    }

    /// Times by plain numbers, and what they count in a second.
    fn numbered(&self) -> (Vec<f64>, f64) {
        let mut steps: Vec<f64> = self.numbers.windows(2).map(|pair| pair[1] - pair[0]).filter(|s| *s > 0.0).collect();
        let middle = steps.len() / 2;
        let step = if steps.is_empty() { 1.0 } else { *steps.select_nth_unstable_by(middle, f64::total_cmp).1 };
        let unit = if step >= FRAMES_APART { 1.0 / f64::from(USUAL_RATE) } else { 1.0 };
        (self.numbers.iter().map(|number| number * unit).collect(), 1.0 / (step * unit))
    }
}

/// Makes times of day to times since the first, which never go back. Returns where the first goes back, and how many do.
fn go_on(times: &mut [f64], frame: f64) -> Option<(usize, usize)> {
    let first = times.first().copied().unwrap_or_default();
    let (mut offset, mut last, mut back) = (-first, 0.0, None);
    let mut before = offset;
    for place in 0..times.len() {
        let Some(of_day) = times.get(place).copied() else { break };
        let mut since = of_day + offset;
        if since < last - DAY / 2.0 {
            offset += DAY;
            before += DAY;
            since += DAY;
        }
        if since < last {
            let (first, rows) = back.unwrap_or((place, 0));
            back = Some((first, rows + 1));
            let next = times.iter().skip(place + 1).take(STRAY_ROWS);
            let returns = next.map(|next| next + offset).any(|next| next >= last && next < last + 1.0);
            if !returns {
                // The clock was set: from here on, it is read from here.
                before = offset;
                offset += last + frame - since;
                since = last + frame;
            }
        }
        // And a clock that is right again is read as before.
        let right = of_day + before;
        if since - last > LONGEST_STEP.as_secs_f64() && (last..last + LONGEST_STEP.as_secs_f64()).contains(&right) {
            (since, offset) = (right, before);
        }
        last = since.max(last);
        if let Some(time) = times.get_mut(place) {
            *time = last;
        }
    }
    back
}

/// Spreads rows of one time evenly up to the next.
fn spread(times: &mut [f64], frame: f64) {
    let mut rest = times;
    while let Some(first) = rest.first().copied() {
        let same = rest.iter().take_while(|time| **time == first).count();
        let (run, others) = rest.split_at_mut(same);
        let step = others.first().map_or(frame, |next| (next - first).min(frame * same as f64)) / same as f64;
        for (place, time) in run.iter_mut().enumerate() {
            *time += step * place as f64;
        }
        rest = others;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the app writes it, columns included that come in another order than on the wire.
    fn header(count: &str) -> String {
        let mut names: Vec<_> = (0..CURVE_COUNT).filter_map(curve_name).map(str::to_owned).collect();
        names.swap(15, 16);
        names.swap(21, 22);
        for name in &mut names {
            let (first, rest) = name.split_at(1);
            *name = first.to_ascii_uppercase() + rest;
        }
        format!("Timecode,{count},{}", names.join(","))
    }

    /// A row whose column after the count number `i` holds `i / 100`.
    fn row(timecode: &str) -> String {
        let values: Vec<_> = (0..CURVE_COUNT).map(|i| format!("{:.10}", f64::from(i as u32) / 100.0)).collect();
        format!("{timecode},61,{}", values.join(","))
    }

    fn refused(text: &str) -> String {
        decode(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn llf_csv_take_of_the_app_is_read() {
        for (count, end) in [("BlendShapeCount", "\n"), ("BlendshapeCount", "\r\n")] {
            for mark in ["", "\u{feff}"] {
                let times = ["10:00:00:58.500", "10:00:00:59.501", "10:00:01:00.502"];
                let lines: Vec<_> = std::iter::once(header(count)).chain(times.map(row)).collect();
                let take = decode(format!("{mark}{}{end}", lines.join(end)).as_bytes()).unwrap();
                assert_eq!(take.frames().len(), 3);
                let first = &take.frames()[0].frame;
                assert!(first.is_complete() && first.tracked && first.channels.is_empty());
                assert_eq!(first.get(Blendshape::EyeBlinkLeft), Some(0.0));
                assert_eq!(first.get(Blendshape::JawRight), Some(0.15), "before the left in files of the app");
                assert_eq!(first.get(Blendshape::JawLeft), Some(0.16));
                assert_eq!(first.get(Blendshape::MouthRight), Some(0.21), "not exchanged, as it is on the wire");
                assert_eq!(first.get(Blendshape::MouthLeft), Some(0.22));
                assert_eq!(first.get(Blendshape::TongueOut), Some(0.51));
                let gaze = first.gaze.unwrap();
                assert_eq!((gaze.left.yaw, gaze.left.pitch), (-0.55, -0.56), "radians, with the signs of the wire");
                let curves = std::array::from_fn(|i| i as f32 / 100.0);
                assert_eq!(first.head, frame_from_curves(&curves, &PLAIN_PROFILE).head, "as on the wire");
                assert_eq!(first.sequence, Some(36_000 * 60 + 58));
                assert_eq!(first.capture_time.unwrap().as_millis(), 36_000_975);
                let times: Vec<_> = take.frames().iter().map(|frame| frame.time.as_secs_f64()).collect();
                let step = 1.001 / 60.0;
                assert!(times[0] == 0.0 && (times[1] - step).abs() < 1e-6 && (times[2] - 2.0 * step).abs() < 1e-6);
                assert!((take.fps() - 60.0 / 1.001).abs() < 1e-3, "{}", take.fps());
            }
        }
    }

    #[test]
    fn llf_csv_columns_in_any_order_case_and_number() {
        let shapes: Vec<_> = Blendshape::ALL.iter().rev().skip(1).map(|shape| shape.name().to_uppercase()).collect();
        let text = format!(
            "Happy, {} ,timecode,\"odd, name\"\n0.5,{},00:00:00:00.0,3\n",
            shapes.join(" , "),
            vec!["0.25"; 51].join(", ")
        );
        let take = decode(text.as_bytes()).unwrap();
        let frame = &take.frames()[0].frame;
        assert_eq!(frame.get(Blendshape::TongueOut), None);
        assert_eq!((frame.present.count_ones(), frame.get(Blendshape::JawOpen)), (51, Some(0.25)));
        assert_eq!((frame.head, frame.gaze), (None, None));
        let channels: Vec<_> = frame.channels.iter().map(|channel| (&*channel.name, channel.value)).collect();
        assert_eq!(channels, [("Happy", 0.5), ("odd, name", 2.0)]);
    }

    #[test]
    fn llf_csv_frame_rate_is_inferred_from_time_codes() {
        let take = |rate: u32, count: u32| {
            let times = (0..count).map(|i| row(&format!("00:00:{:02}:{:02}.000", i / rate, i % rate)));
            let lines: Vec<_> = std::iter::once(header("BlendShapeCount")).chain(times).collect();
            decode(lines.join("\n").as_bytes()).unwrap()
        };
        for rate in [24, 25, 30, 60, 100] {
            assert!((take(rate, 3 * rate).fps() - f64::from(rate)).abs() < 0.01, "{rate}");
        }
        assert!((take(30, 20).fps() - 60.0).abs() < 0.01, "too short to show anything but the app's own format");
        assert!((take(100, 90).fps() - 100.0).abs() < 0.01, "more than 60 are shown at once");
    }

    /// Times of a take with these timecodes, milliseconds.
    fn times(timecodes: &[String]) -> (Vec<f64>, Vec<String>) {
        let lines: Vec<_> =
            std::iter::once(header("BlendShapeCount")).chain(timecodes.iter().map(|t| row(t))).collect();
        let take = decode(lines.join("\n").as_bytes()).unwrap();
        let times = take.frames().iter().map(|frame| frame.time.as_secs_f64() * 1000.0).collect();
        (times, take.remarks().to_vec())
    }

    fn assert_even(times: &[f64], step: f64, what: &str) {
        for (place, pair) in times.windows(2).enumerate() {
            let found = pair[1] - pair[0];
            assert!((found - step).abs() < 0.06 * step, "{what}: {found} ms instead of {step} after row {place}");
        }
    }

    #[test]
    fn llf_csv_steps_are_even_whatever_the_count() {
        for rate in [8, 10, 15, 18, 20, 23, 24, 29, 30, 59, 60, 90, 120] {
            let codes: Vec<_> = (0..4 * rate).map(|i| format!("00:00:{:02}:{:02}.000", i / rate, i % rate)).collect();
            assert_even(&times(&codes).0, 1000.0 / f64::from(rate), &format!("counted at {rate}"));
        }
        // The app at 30 frames a second counts in twos.
        let codes: Vec<_> = (0..120).map(|i| format!("00:00:{:02}:{:02}.867", i / 30, i % 30 * 2)).collect();
        assert_even(&times(&codes).0, 1000.0 / 30.0, "in twos");
        let codes: Vec<_> = (0..240).map(|i| format!("00:00:{:02}:{:03}", i / 60, i % 60 * 1000 / 60)).collect();
        assert_even(&times(&codes).0, 1000.0 / 60.0, "milliseconds");
        // Four rows under each timecode.
        let codes: Vec<_> = (0..240).map(|i| format!("00:00:{:02}:{:02}.000", i / 60, i % 60 / 4)).collect();
        assert_even(&times(&codes).0, 1000.0 / 60.0, "rows of one timecode");
    }

    #[test]
    fn llf_csv_step_back_does_not_take_performance_back() {
        let code = |frame: u32| format!("00:00:{:02}:{:02}.000", frame / 60, frame % 60);
        let mut codes: Vec<_> = (0..300).map(code).collect();
        codes[100] = code(90);
        let (stray, remarks) = times(&codes);
        assert!(stray.windows(2).all(|pair| (0.0..34.0).contains(&(pair[1] - pair[0]))), "{:?}", &stray[95..105]);
        assert!((stray[299] - 299.0 / 0.06).abs() < 1.0, "the rest is where it was: {}", stray[299]);
        assert_eq!(remarks, ["line 102: the timecode is earlier than on the line before; the take goes on"]);
        // A clock that is set back for good.
        let codes: Vec<_> = (0..300).map(|frame| code(if frame < 150 { frame } else { frame - 60 })).collect();
        let (set, remarks) = times(&codes);
        assert_even(&set, 1000.0 / 60.0, "set back");
        assert_eq!(remarks.len(), 1);
        // A second under a wrong name.
        let second = |i: u32| if i / 24 == 3 { 1 } else { i / 24 };
        let codes: Vec<_> = (0..24 * 8).map(|i| format!("00:00:{:02}:{:02}.000", second(i), i % 24)).collect();
        assert_even(&times(&codes).0, 1000.0 / 24.0, "a second that steps back");
    }

    #[test]
    fn llf_csv_separators_and_decimal_commas() {
        let lines = [header("BlendShapeCount"), row("00:00:00:00.000"), row("00:00:00:01.000")];
        let wanted = decode(lines.join("\n").as_bytes()).unwrap();
        let comma = |line: &String| line.replace(',', ";").replace("0.", "0,");
        let german = [lines[0].replace(',', ";"), comma(&lines[1]), comma(&lines[2])].join("\n");
        let tabs = lines.join("\n").replace(',', "\t");
        for text in [lines.join("\n").replace(',', ";"), german.replace("00,000", "00.000"), tabs] {
            assert_eq!(decode(text.as_bytes()).unwrap().frames(), wanted.frames(), "{}", &text[..30]);
        }
    }

    #[test]
    fn llf_csv_row_cut_off_is_left_out() {
        let text = [header("BlendShapeCount"), row("00:00:00:00.000"), row("00:00:00:01.000")].join("\n");
        let last = text.rfind('\n').unwrap() + 1;
        for end in [last + 1, last + 8, last + 15, last + 19, last + 200, text.len() - 12] {
            let take = decode(&text.as_bytes()[..end]).unwrap();
            assert_eq!(take.frames().len(), 1, "{end}");
            assert!(
                take.remarks()[0].starts_with("line 3") && take.remarks()[0].contains("left out"),
                "{:?}",
                take.remarks()
            );
        }
        assert!(decode(text.as_bytes()).unwrap().remarks().is_empty());
        let none = decode(&text.as_bytes()[..text.find('\n').unwrap() + 20]);
        assert_eq!(none.unwrap_err().to_string(), "line 2: 3 cells under 63 columns");
    }

    #[test]
    fn llf_csv_timecodes_of_other_tools() {
        let file = |codes: &[String]| {
            let lines: Vec<_> =
                std::iter::once(header("BlendshapeCount")).chain(codes.iter().map(|t| row(t))).collect();
            decode(lines.join("\n").as_bytes()).unwrap()
        };
        // Numbers of frames, as whole numbers or with decimals, and seconds.
        let frames: Vec<_> = (0..200).map(|i| i.to_string()).collect();
        let decimals: Vec<_> = (0..200).map(|i| format!("{i}.0")).collect();
        let seconds: Vec<_> = (0..200).map(|i| format!("{:.6}", f64::from(i) / 30.0)).collect();
        for (codes, rate) in [(frames, 60.0), (decimals, 60.0), (seconds, 30.0)] {
            let take = file(&codes);
            assert!((take.fps() - rate).abs() < 0.01, "{}", take.fps());
            let last = take.frames().last().unwrap();
            assert!((last.time.as_secs_f64() - 199.0 / rate).abs() < 1e-5, "{:?}", last.time);
            assert_eq!(last.frame.sequence, Some(199));
        }
        // The milliseconds of the second after the frame, as NeuroSync writes them.
        let repeated: Vec<_> =
            (0..240).map(|i| format!("00:00:{:02}:{:02}.{:03}", i / 60, i % 60, i % 60 * 1000 / 60)).collect();
        assert_even(&times(&repeated).0, 1000.0 / 60.0, "milliseconds after the frame");
        let mixed = [header("BlendshapeCount"), row("00:00:00:00.000"), row("1")].join("\n");
        assert!(refused(&mixed).starts_with("line 3, column `Timecode`: a number here"), "{}", refused(&mixed));
    }

    #[test]
    fn llf_csv_columns_in_spellings_of_senders() {
        let names = Blendshape::ALL.map(|shape| {
            let name = shape.name();
            let short = name.strip_suffix("Left").map(|stem| format!("{stem}_L"));
            short
                .or_else(|| name.strip_suffix("Right").map(|stem| format!("{stem}_R")))
                .unwrap_or_else(|| name.to_owned())
        });
        let values: Vec<_> = (0..BLENDSHAPE_COUNT).map(|i| format!("{:.2}", i as f32 / 100.0)).collect();
        for prefix in ["", "blendShapes."] {
            let names: Vec<_> = names.iter().map(|name| format!("{prefix}{name}")).collect();
            let text = format!(
                ",timeCode,{},head_yaw\n0,0.0,{},0.25\n1,0.033,{},0.25\n",
                names.join(","),
                values.join(","),
                values.join(",")
            );
            let take = decode(text.as_bytes()).unwrap();
            let frame = &take.frames()[1].frame;
            assert!(frame.is_complete() && frame.channels.is_empty(), "{:?}", frame.channels);
            for (index, weight) in frame.weights.iter().enumerate() {
                assert!((weight - index as f32 / 100.0).abs() < 1e-6, "{}", Blendshape::ALL[index]);
            }
            assert!(frame.head.is_some());
        }
    }

    #[test]
    fn llf_csv_columns_of_metahuman_controls() {
        let names = [
            ("CTRL_expressions_jawOpen", Blendshape::JawOpen),
            ("CTRL_expressions_eyeBlinkL", Blendshape::EyeBlinkLeft),
            ("CTRL_expressions_eyeLookRightL", Blendshape::EyeLookInLeft),
            ("CTRL_expressions_mouthCornerPullR", Blendshape::MouthSmileRight),
        ];
        let resolved = super::super::dialect::presets().iter().find(|preset| preset.id == "metahuman").unwrap();
        let mut columns: Vec<String> =
            resolved.mapping.rules.iter().flat_map(|rule| &rule.to).map(|to| to.target.clone()).collect();
        columns.retain(|name| name.starts_with("CTRL_"));
        columns.sort();
        columns.dedup();
        for (name, shape) in names {
            let values: Vec<_> = columns.iter().map(|column| if column == name { "0.5" } else { "0" }).collect();
            let text = format!("Timecode,{},HeadYaw\n00:00:00:00.000,{},0.1\n", columns.join(","), values.join(","));
            let take = decode(text.as_bytes()).unwrap();
            let frame = &take.frames()[0].frame;
            assert!(frame.get(shape).unwrap() > 0.2, "{name}: {:?}", frame.get(shape));
            assert!(frame.head.is_some() && frame.present.count_ones() >= MIN_SHAPES as u32);
        }
    }

    #[test]
    fn llf_csv_midnight_and_lost_face() {
        let lines = [
            header("BlendShapeCount"),
            row("23:59:59:30.000"),
            "23:59:59:45.000,0".to_owned(),
            row("00:00:00:15.000"),
            String::new(),
        ];
        let take = decode(lines.join("\n").as_bytes()).unwrap();
        let times: Vec<_> = take.frames().iter().map(|frame| (frame.time.as_millis(), frame.frame.tracked)).collect();
        assert_eq!(times, [(0, true), (250, false), (750, true)]);
    }

    #[test]
    fn llf_csv_error_names_line_and_column() {
        let file = |lines: &[&str]| [&[header("BlendShapeCount").as_str()][..], lines].concat().join("\n");
        let good = row("00:00:00:00.000");
        for (text, wanted) in [
            (String::new(), "line 1: no column is called `Timecode`"),
            (header("BlendShapeCount"), "a take has at least one frame"),
            ("Timecode,JawOpen\n0,0".to_owned(), "line 1: columns for 1 of the 52 shapes, at least 26 are needed"),
            (header("BlendShapeCount") + ",jawopen", "line 1: there is more than one column `jawopen`"),
            (header("BlendShapeCount") + ",a,a", "line 1: there is more than one column `a`"),
            (header("BlendShapeCount") + ",", "line 1, column 64: a name must not be empty"),
            (file(&[&good, &good.replace("0.1700000000", "wide")]), "line 3, column `JawOpen`: `wide` is no number"),
            (file(&[&good.replace("0.1700000000", "NaN")]), "line 2, column `JawOpen`: `NaN` is no number"),
            (file(&[&good.replace("0.1700000000", "11")]), "line 2, column `JawOpen`: 11 is out of range"),
            (file(&[&good.replace("0.5200000000", "-7")]), "line 2, column `HeadYaw`: -7 is out of range"),
            (file(&["", &good, "00:00:00:01.000,61,1", &good]), "line 4: 3 cells under 63 columns"),
            (
                header("BlendShapeCount").replace(',', "|"),
                "line 1: one column alone; columns are separated by commas, semicolons or tabs",
            ),
            (file(&[&good, &(good.clone() + ",1")]), "line 3: 64 cells under 63 columns"),
            (file(&[&row("soon")]), "line 2, column `Timecode`: `soon` is no timecode HH:MM:SS:FF.mmm"),
            (file(&[&row("00:00:00:1e9")]), "line 2, column `Timecode`: `00:00:00:1e9` is no timecode HH:MM:SS:FF.mmm"),
        ] {
            assert_eq!(refused(&text), wanted);
        }
        let many = (0..MAX_COLUMNS).map(|i| format!(",c{i}")).collect::<String>();
        assert!(refused(&(header("BlendShapeCount") + &many)).starts_with("line 1: 382 columns"));
        assert!(decode(&b"Timecode,\xff\n"[..]).unwrap_err().to_string().starts_with("line 1, column 2"));
        let missing = read(Path::new("/nowhere/take.csv")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /nowhere/take.csv: "), "{missing}");
    }

    #[test]
    fn llf_csv_memory_is_bounded_by_text() {
        let shapes: Vec<_> = Blendshape::ALL.iter().take(MIN_SHAPES).map(|shape| shape.name()).collect();
        let mut text = format!("Timecode,{}\n", shapes.join(","));
        for _ in 0..1000 {
            text += &format!("0:0:0:0{}\n", ",0".repeat(MIN_SHAPES));
        }
        let mut take = None;
        let info = allocation_counter::measure(|| take = decode(text.as_bytes()).ok());
        assert_eq!(take.map(|take| take.frames().len()), Some(1000));
        let bytes = text.len() as u64;
        assert!(info.bytes_max < 25 * bytes, "{} bytes for {bytes} of the shortest text there is", info.bytes_max);
        assert!(info.count_total < 200, "{} allocations", info.count_total);
    }

    proptest! {
        #[test]
        fn llf_csv_random_text_never_panics(text in "[0-9a-zA-Z,:;.\\r\\n\"-]{0,400}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(text.as_bytes());
            let _ = decode(&bytes[..]);
            let _ = decode(format!("{}\n{text}", header("BlendShapeCount")).as_bytes());
        }

        #[test]
        fn llf_csv_broken_take_never_panics(at in 0_usize..1500, byte in any::<u8>()) {
            let lines = [header("BlendShapeCount"), row("00:00:00:00.000"), row("00:00:01:00.000")];
            let mut bytes = lines.join("\n").into_bytes();
            let len = bytes.len();
            bytes[at % len] = byte;
            if let Ok(take) = decode(&bytes[..]) {
                let frames = take.frames().iter();
                prop_assert!(frames.flat_map(|frame| frame.frame.weights).all(|weight| (-1.0..=2.0).contains(&weight)));
            }
        }
    }
}
