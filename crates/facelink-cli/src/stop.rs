//! Ctrl-C and a polite kill, as a channel.

use std::{io, thread};

use crossbeam_channel::Receiver;
use tokio::runtime::Builder;

use crate::error::Error;

/// A channel that gets one message when the process is asked to end. From the return of this function on, a signal no
/// longer ends the process by itself.
pub fn stop_signal() -> Result<Receiver<()>, Error> {
    let runtime = Builder::new_current_thread().enable_io().build().map_err(Error::Signals)?;
    let asked = {
        let _runtime = runtime.enter();
        asked_to_stop().map_err(Error::Signals)?
    };
    let (sender, receiver) = crossbeam_channel::bounded(1);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(asked);
            let _ = sender.send(());
        })
        .map_err(Error::Signals)?;
    Ok(receiver)
}

#[cfg(unix)]
fn asked_to_stop() -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn asked_to_stop() -> io::Result<impl Future<Output = ()> + Send> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
