//! The time of day, ticks and tasks, by the page's own timers. A page in the background is woken once a second at best; what
//! arrives there still runs at once.

use std::{
    cell::Cell,
    future::{Future, pending},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use facelink::time::Instant;
use wasm_bindgen::{JsCast, closure::Closure};

/// Longest time that a timer of a page takes, milliseconds; a longer one would fire at once.
const MAX_TIMEOUT: f64 = i32::MAX as f64;

/// Time of day, Unix milliseconds.
pub(crate) fn unix_ms() -> f64 {
    js_sys::Date::now()
}

/// Runs a task on the page's own thread, which is the game's.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    wasm_bindgen_futures::spawn_local(task);
}

/// Where a runtime would let others have their turn: the faces of one game are too few for it.
pub(crate) async fn yield_now() {}

/// Waits until then; for ever without a time.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep(at.saturating_duration_since(Instant::now())).await,
        None => pending().await,
    }
}

/// A page has no finer timers.
pub(crate) use sleep_until as sleep_exactly_until;

/// Waits for so long.
pub(crate) async fn sleep(time: Duration) {
    match Timer::start(time) {
        Some(timer) => timer.await,
        None => pending().await,
    }
}

#[derive(Default)]
struct Fired {
    done: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// One timer of the page. Dropping it clears it.
struct Timer {
    id: i32,
    fired: Rc<Fired>,
    _callback: Closure<dyn FnMut()>,
}

impl Timer {
    /// `None` where there is no page, or it has no timers left.
    fn start(time: Duration) -> Option<Self> {
        let fired = Rc::<Fired>::default();
        let callback = Closure::<dyn FnMut()>::new({
            let fired = fired.clone();
            move || {
                fired.done.set(true);
                if let Some(waker) = fired.waker.take() {
                    waker.wake();
                }
            }
        });
        // Rounded up: one that fires early would be set again.
        let ms = (time.as_secs_f64() * 1000.0).ceil().min(MAX_TIMEOUT) as i32;
        let set = web_sys::window()?
            .set_timeout_with_callback_and_timeout_and_arguments_0(callback.as_ref().unchecked_ref(), ms);
        Some(Self { id: set.ok()?, fired, _callback: callback })
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.fired.done.get() {
            return Poll::Ready(());
        }
        self.fired.waker.set(Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(window) = web_sys::window() {
            window.clear_timeout_with_handle(self.id);
        }
    }
}

/// Ticks of one period.
pub(crate) struct Ticks {
    period: Duration,
    next: Instant,
}

pub(crate) fn ticks(period: Duration) -> Ticks {
    Ticks { period, next: Instant::now() + period }
}

impl Ticks {
    /// Waits for the next one. Those that were missed are left out.
    pub async fn tick(&mut self) {
        sleep_until(Some(self.next)).await;
        self.next = (self.next + self.period).max(Instant::now());
    }
}
