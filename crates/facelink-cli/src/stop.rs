//! Ctrl-C, a polite kill and a closed console window, as a channel.

use std::{io, process, thread, time::Duration};

use crossbeam_channel::Receiver;
use tokio::runtime::Builder;

use crate::error::Error;

/// A process that has not ended by then, such as one that writes to a terminal that is paused, ends at once. So does one that is
/// asked again.
const END_LIMIT: Duration = Duration::from_secs(3);

/// A channel that is disconnected when the process is asked to end, and gets no message. From the return of this function on, a
/// signal no longer ends the process by itself.
pub fn stop_signal() -> Result<Receiver<()>, Error> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build().map_err(Error::Signals)?;
    let mut signals = {
        let _runtime = runtime.enter();
        Signals::new().map_err(Error::Signals)?
    };
    let (sender, receiver) = crossbeam_channel::bounded(0);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(signals.next());
            drop(sender);
            let _ = runtime.block_on(async { tokio::time::timeout(END_LIMIT, signals.next()).await });
            process::exit(1);
        })
        .map_err(Error::Signals)?;
    Ok(receiver)
}

#[cfg(unix)]
struct Signals([tokio::signal::unix::Signal; 2]);

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Signals {
    ctrl_c: tokio::signal::windows::CtrlC,
    ctrl_break: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};
        Ok(Self { ctrl_c: ctrl_c()?, ctrl_break: ctrl_break()?, close: ctrl_close()?, shutdown: ctrl_shutdown()? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.ctrl_c.recv() => {}
            _ = self.ctrl_break.recv() => {}
            _ = self.close.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}
