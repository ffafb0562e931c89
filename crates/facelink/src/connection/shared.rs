//! The state that both sides of a connection share: two transports, and the queues of actions and events.

use std::{collections::VecDeque, time::Duration};

use crate::time::Instant;

use super::{
    channel::Channel,
    socket::Socket,
    types::{Action, Config, Event, Lane, PeerId, SocketId},
};

/// A data channel that answers nothing for this long carries nothing.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(2);
/// The lifecycle of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    /// The goodbye was sent; closed at this time at the latest.
    Closing(Instant),
    Over,
}

/// What both sides have: two transports, and what comes out.
#[derive(Debug)]
pub(super) struct Core {
    pub config: Config,
    pub epoch: Instant,
    pub socket: Option<Socket>,
    pub channel: Option<Channel>,
    /// The data channel counts once it has answered a ping.
    must_answer: bool,
    pub lane: Option<Lane>,
    /// The last lane that there was.
    last_lane: Option<Lane>,
    pub received_by: Option<Lane>,
    pub rate: Option<f32>,
    pub redundancy: u8,
    pub life: Life,
    pub seen: Instant,
    pub actions: VecDeque<Action>,
    pub events: VecDeque<Event>,
}

impl Core {
    pub fn new(config: Config, must_answer: bool, now: Instant) -> Self {
        Self {
            config,
            epoch: now,
            socket: None,
            channel: None,
            must_answer,
            lane: None,
            last_lane: None,
            received_by: None,
            rate: None,
            redundancy: 0,
            life: Life::Running,
            seen: now,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    pub fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub fn emit(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// The time of the last input.
    pub fn seen(&self) -> Instant {
        self.seen
    }

    pub fn end(&mut self) {
        self.life = Life::Over;
    }

    /// The WebSocket of this number, unless it was replaced.
    pub fn socket(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.socket.as_mut().filter(|socket| socket.id == id)
    }

    /// The peer connection of this number, unless it was replaced.
    pub fn channel(&mut self, id: PeerId) -> Option<&mut Channel> {
        self.channel.as_mut().filter(|channel| channel.id == id)
    }

    pub fn is_ready(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| socket.ready)
    }

    fn clock(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX)
    }

    /// Pings a lane, now.
    pub fn ping(&mut self, lane: Lane, now: Instant) {
        let link = match lane {
            Lane::WebSocket => self.socket.as_mut().map(|socket| &mut socket.link),
            Lane::DataChannel => self.channel.as_mut().map(|channel| &mut channel.link),
        };
        if let Some(link) = link {
            link.beat.sent(now);
            let clock = self.clock(now);
            self.act(Action::Ping(lane, clock));
        }
    }

    pub fn usable(&self) -> Option<&Channel> {
        self.channel.as_ref().filter(|channel| channel.is_usable(self.must_answer))
    }

    /// The lane that carries frames.
    fn carrier(&self, now: Instant) -> Option<Lane> {
        match self.usable() {
            Some(channel) if !channel.is_doubtful(now) => Some(Lane::DataChannel),
            _ if self.is_ready() => Some(Lane::WebSocket),
            // Suspect, and the only one there is; but a dead one is none.
            Some(channel) if channel.broken.is_none() && channel.link.beat.silence(now) < DEAD_AFTER => {
                Some(Lane::DataChannel)
            }
            _ => None,
        }
    }

    /// Reports what has changed since the last input.
    pub fn settle(&mut self, now: Instant) {
        let must_answer = self.must_answer;
        if let Some(channel) = self.channel.as_mut().filter(|channel| channel.is_usable(must_answer)) {
            let doubtful = channel.is_doubtful(now);
            if doubtful != channel.suspected {
                channel.suspected = doubtful;
                self.events.push_back(if doubtful { Event::Suspected } else { Event::Trusted });
            }
        }
        self.lane = self.carrier(now);
        if let Some(lane) = self.lane
            && self.last_lane != Some(lane)
        {
            let from = self.last_lane.replace(lane);
            self.emit(Event::Moved { from, to: lane });
        }
    }

    pub fn settle_at(&self, now: Instant) -> Option<Instant> {
        let channel = self.usable().filter(|channel| channel.link.beat.has_answered())?;
        let suspect = channel.link.beat.suspect_at().filter(|_| !channel.suspected);
        let dead = channel.link.beat.silent_since().map(|since| since + DEAD_AFTER);
        let dead = dead.filter(|_| channel.suspected && self.lane == Some(Lane::DataChannel));
        earliest([suspect, dead]).map(|at| at.max(now))
    }
}

/// The earliest of some deadlines.
pub(super) fn earliest<const N: usize>(deadlines: [Option<Instant>; N]) -> Option<Instant> {
    deadlines.into_iter().flatten().min()
}
