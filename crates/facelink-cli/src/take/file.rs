//! Takes that are named on the command line, and times within them.

use std::{
    fs::File,
    io::{BufReader, Read, Seek},
    path::Path,
    time::Duration,
};

use facelink::take::{TakeReadError, TakeReader};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{error::Error, send::subject};

/// Opens a take. One that was cut off is read whole for it, and a terminal shows that it takes long.
pub fn open(file: &Path) -> Result<TakeReader<BufReader<File>>, Error> {
    let input = File::open(file).map_err(|error| Error::Plain(format!("cannot read {}: {error}", file.display())))?;
    let bar = busy(format!("reading {}", file.display()));
    let reader = TakeReader::open(BufReader::new(input)).map_err(|error| read_error(file, &error));
    bar.finish_and_clear();
    reader
}

pub fn read_error(file: &Path, error: &TakeReadError) -> Error {
    Error::Plain(format!("{}: {error}", file.display()))
}

/// A file within a take: name, media type, bytes.
pub type Attached = (String, String, Vec<u8>);

/// The files within a take, the newest of each name.
pub fn attachments<R: Read + Seek>(reader: &mut TakeReader<R>) -> Result<Vec<Attached>, TakeReadError> {
    let names: Vec<String> = reader.attachment_names().into_iter().map(str::to_owned).collect();
    let kind_of = |reader: &TakeReader<R>, name: &str| {
        let kind = reader.attachments().iter().rev().find(|attachment| attachment.name == name);
        kind.map(|attachment| attachment.media_type.clone()).unwrap_or_default()
    };
    names.into_iter().map(|name| Ok((name.clone(), kind_of(reader, &name), reader.attachment(&name)?))).collect()
}

/// A bar of the take's time, where standard error is a terminal.
pub fn progress(length: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent}%").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length.as_millis() as u64).with_style(style)
}

/// Shows on a terminal that something takes long.
pub fn busy(words: String) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(words);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// A subject, and the name that it gets: its own without one.
pub fn named(text: &str) -> Result<(String, String), String> {
    let (name, alias) = text.split_once('=').unwrap_or((text, text));
    Ok((subject(name)?, subject(alias)?))
}

/// A number of seconds above 0.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 1e9);
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected a number of seconds above 0".to_owned())
}

/// A time of a take: seconds, `M:SS` or `H:MM:SS`.
pub fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected seconds, M:SS or H:MM:SS: got `{text}`");
    let mut total = 0.0;
    let parts: Vec<_> = text.split(':').collect();
    if parts.len() > 3 {
        return Err(wrong());
    }
    for (place, part) in parts.iter().enumerate() {
        let last = place + 1 == parts.len();
        // A whole number everywhere but in the last place, and below 60 everywhere but in the first.
        let number = part.parse::<f64>().ok().filter(|number| {
            number.is_finite() && *number >= 0.0 && (last || number.fract() == 0.0) && (place == 0 || *number < 60.0)
        });
        total = total * 60.0 + number.ok_or_else(wrong)?;
    }
    if total <= 1e9 { Ok(Duration::from_secs_f64(total)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn take_time_is_read_in_seconds_or_clock() {
        let read = |text: &str| time(text).ok().map(|time| time.as_secs_f64());
        assert_eq!(
            [read("0"), read("12.5"), read("1:30"), read("1:00:01.25")],
            [Some(0.0), Some(12.5), Some(90.0), Some(3601.25)]
        );
        assert_eq!(["", "-1", "1:60", "1.5:00", "1:2:3:4", "nan", "inf", "1e10"].map(read), [None; 8]);
        assert!(seconds("0").is_err() && seconds("nan").is_err() && seconds("2").is_ok());
    }
}
