//! Files that hold takes.

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Read, Write},
    path::Path,
    time::Duration,
};

use facelink::{
    source::SourceKind,
    take::{Take, TakeAbout, TakeReadError, TakeReader, import, llf_csv::MAX_BYTES},
};

use super::file::{Attached, attachments, busy};
use crate::error::Error;

/// A take that was read.
pub struct Input {
    /// The subject.
    pub name: String,
    pub take: Take,
    /// The recording that it is a part of.
    pub origin: Option<Origin>,
}

/// A recording, without its frames.
pub struct Origin {
    pub about: TakeAbout,
    /// When the subject's first frame came, since its start.
    pub first: Duration,
    pub source: SourceKind,
    pub attachments: Vec<Attached>,
}

/// Reads the take of a subject, or of the only one that there is.
pub fn read(path: &Path, subject: Option<&str>) -> Result<Input, Error> {
    let bar = busy(format!("reading {}", path.display()));
    let fail = |reason: String| Error::Plain(format!("{}: {reason}", path.display()));
    let file = File::open(path).map_err(|error| fail(error.to_string()))?;
    let found = match TakeReader::open(BufReader::new(&file)) {
        Ok(mut reader) => {
            let info = reader.info().map_err(|error| fail(error.to_string()))?;
            let names: Vec<String> = info.subjects.iter().map(|subject| subject.name.to_string()).collect();
            let name = match (subject, names.as_slice()) {
                (None, [only]) => only.clone(),
                (_, []) => return Err(fail("it holds no face".to_owned())),
                (None, names) => {
                    return Err(fail(format!(
                        "it has several subjects, and --subject chooses one: {}",
                        names.join(", ")
                    )));
                }
                (Some(wanted), names) if names.iter().any(|name| name == wanted) => wanted.to_owned(),
                (Some(wanted), names) => {
                    return Err(fail(format!("no subject is called `{wanted}`; there are: {}", names.join(", "))));
                }
            };
            let (take, first) = reader.take(&name).map_err(|error| fail(error.to_string()))?;
            let of = info.subjects.iter().find(|subject| *subject.name == *name);
            let source = of.map_or(SourceKind::Custom, |subject| subject.source);
            let attachments = attachments(&mut reader).map_err(|error| fail(error.to_string()))?;
            Input { name, take, origin: Some(Origin { about: info.about, first, source, attachments }) }
        }
        Err(TakeReadError::NotMcap) => {
            // Such a file has one face and no name for it.
            let own = path.file_stem().map_or_else(|| "take".to_owned(), |name| name.to_string_lossy().into_owned());
            let own = subject.map_or(own, str::to_owned);
            let mut bytes = Vec::new();
            let file = File::open(path).map_err(|error| fail(error.to_string()))?;
            file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| fail(error.to_string()))?;
            if bytes.len() as u64 > MAX_BYTES {
                return Err(fail(format!("larger than the {MAX_BYTES} bytes that are read")));
            }
            let take = import::read(&bytes).map_err(|error| fail(error.to_string()))?;
            Input { name: own, take, origin: None }
        }
        Err(error) => return Err(fail(error.to_string())),
    };
    bar.finish_and_clear();
    for remark in found.take.remarks() {
        eprintln!("{}: {remark}", path.display());
    }
    Ok(found)
}

/// Writes a file: whole or not at all. `-` is the standard output.
pub fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<(), Error>) -> Result<(), Error> {
    if path == Path::new("-") {
        let mut out = BufWriter::new(std::io::stdout().lock());
        write(&mut out)?;
        return out.flush().map_err(Error::Output);
    }
    let bar = busy(format!("writing {}", path.display()));
    let done = write_whole(path, write);
    bar.finish_and_clear();
    done
}

/// The same for a file alone, without saying so.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<(), Error>) -> Result<(), Error> {
    let fail = |error: std::io::Error| Error::Plain(format!("cannot write {}: {error}", path.display()));
    // Next to its place, so that it can be put there in one step.
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = Path::new(&part);
    let done = File::create(part).map_err(fail).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.into_inner().map_err(|error| fail(error.into_error()))?.sync_all().map_err(fail)?;
        fs::rename(part, path).map_err(fail)
    });
    if done.is_err() {
        let _ = fs::remove_file(part);
    }
    done
}
