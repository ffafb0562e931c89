//! Standard output by a thread of its own: a pipe without a reader does not keep the process from ending.

use std::{
    io::{self, IsTerminal, Write},
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, select_biased};

/// How long the end of the process waits for what was written.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);

/// Standard output, until the process is asked to end. Then a write that cannot go on fails as if the reader had closed the
/// pipe.
pub struct Output {
    /// `None` once it is being dropped.
    chunks: Option<Sender<Vec<u8>>>,
    stop: Receiver<()>,
    /// How the thread ended.
    end: Receiver<io::Error>,
}

impl Output {
    pub fn new(stop: Receiver<()>) -> io::Result<Self> {
        // Without room: who writes is held up by a slow reader, and takes the newest frame next.
        let (chunks, queue) = crossbeam_channel::bounded::<Vec<u8>>(0);
        let (failed, end) = crossbeam_channel::bounded(1);
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            let mut out = io::stdout();
            for chunk in queue {
                if let Err(error) = out.write_all(&chunk).and_then(|()| out.flush()) {
                    let _ = failed.send(error);
                    return;
                }
            }
        })?;
        Ok(Self { chunks: Some(chunks), stop, end })
    }

    pub fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(chunks) = &self.chunks else { return Err(io::ErrorKind::BrokenPipe.into()) };
        select_biased! {
            send(chunks, bytes.to_vec()) -> sent => match sent {
                Ok(()) => Ok(bytes.len()),
                Err(_) => Err(self.end.recv().unwrap_or_else(|_| io::ErrorKind::BrokenPipe.into())),
            },
            recv(self.stop) -> _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.chunks = None;
        let _ = self.end.recv_timeout(FLUSH_LIMIT);
    }
}
