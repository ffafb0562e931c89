//! One subject: its merged face, what was measured of its frames, and what its sender is asked for.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use facelink::{
    calibration::{Calibration, RangeCapture},
    event::{Speech, SubjectFrame, SubjectId},
    frame::FaceFrame,
    gesture::{GestureEvent, GestureRecognizer},
    source::SourceKind,
    subject::{GOODBYE_GRACE, SILENT_AFTER, Sent, SubjectState, Taken},
    time::Instant,
    timing::{
        Average, DelayMeter, Disbelieved, JitterMeter, LinkReport, LoadMeter, RateMeter, RateSettings, SourceClock,
        Stamp, micros,
    },
    wire::{
        json::VisemeMessage,
        message::{ClientMessage, Report, ServerMessage, ViewerReport},
    },
};
use smallvec::SmallVec;

use super::{
    connections::{Connection, ConnectionKey},
    rate::Pacing,
};
use crate::{auth::AuthLevel, clock::unix_ms, roles::TokenId, stats::SubjectStats};

/// A new sender's first measurements describe its start, not its link.
const RATE_WARM_UP: Duration = Duration::from_millis(500);
/// Share of frames that a playout delay has to cover, for the statistics: see [`facelink::timing::PlayoutSettings`].
const IN_TIME: f32 = 0.95;

/// What a connection hands in for one subject.
pub(crate) struct Update<'a> {
    pub key: ConnectionKey,
    pub kind: SourceKind,
    pub subject: &'a str,
    pub frame: Option<&'a FaceFrame>,
    pub unix_ms: Option<f64>,
    pub latency_ms: Option<f32>,
    pub viseme: Option<VisemeMessage>,
    /// The frame came again in a later packet, because its own was lost or slow.
    pub repeated: bool,
    /// Its number can be relied on: the format is our own.
    pub exact: bool,
    /// Numbers before the frame's that a relay has left out.
    pub left_out: u64,
}

impl<'a> Update<'a> {
    /// Without a frame or anything that is known of one.
    pub fn new(key: ConnectionKey, kind: SourceKind, subject: &'a str) -> Self {
        Self {
            key,
            kind,
            subject,
            frame: None,
            unix_ms: None,
            latency_ms: None,
            viseme: None,
            repeated: false,
            exact: false,
            left_out: 0,
        }
    }
}

/// Measurements of the frames of one sender.
#[derive(Debug)]
struct Measured {
    rate: RateMeter,
    jitter: JitterMeter,
    latency: Average,
    /// Our clock less the sender's, milliseconds, including the transit time.
    clock: Average,
    /// Its clock on ours, and how late its frames are.
    source_clock: SourceClock,
    delay: DelayMeter,
    load: LoadMeter,
}

impl Measured {
    fn new(origin: Instant) -> Self {
        Self {
            rate: RateMeter::default(),
            jitter: JitterMeter::default(),
            latency: Average::default(),
            clock: Average::default(),
            source_clock: SourceClock::new(origin),
            delay: DelayMeter::default(),
            load: LoadMeter::default(),
        }
    }

    /// The new sender has its own sequence numbers and clock.
    fn restart(&mut self) {
        self.clock = Average::default();
        self.jitter = JitterMeter::default();
        self.source_clock.restart();
        self.delay.restart();
        self.load.restart();
    }

    /// A frame of the sender's time `sent` has come, in order or not. `anew`: its count or its clock began again.
    fn record(
        &mut self,
        sent: Option<Duration>,
        sequence: Option<u64>,
        repeated: bool,
        anew: bool,
        now: Instant,
    ) -> Stamp {
        let clock = &mut self.source_clock;
        let stamp = if anew { clock.record_anew(sent, now) } else { clock.record(sent, now) };
        if !repeated {
            self.delay.record(&stamp);
        }
        let target_us = self.delay.quantile_us(IN_TIME) + stamp.interval_us / 2;
        self.load.record(&stamp, sequence, repeated, target_us);
        stamp
    }

    /// It is the newest frame.
    fn record_newest(&mut self, sent: Option<Duration>, update: &Update<'_>, now: Instant) {
        if !update.repeated {
            self.jitter.record(now, sent);
        }
        if let Some(latency) = update.latency_ms {
            self.latency.record(latency);
        }
        if let Some(sent) = update.unix_ms {
            self.clock.record((unix_ms() - sent) as f32);
        }
    }
}

/// Gestures that started and ended with one frame: most often none.
pub(crate) type Gestures = SmallVec<[GestureEvent; 2]>;

/// What became of an update.
#[derive(Debug)]
pub(crate) enum Ingested {
    /// The subject's face as of now.
    Newest(SubjectFrame),
    /// It belongs before the newest frame; it is a face of then, if it could be put together.
    Late(Option<SubjectFrame>),
    /// A newer frame was there before.
    Stale,
}

#[derive(Debug)]
pub(crate) struct Subject {
    pub id: SubjectId,
    pub name: Arc<str>,
    /// The name by which its owner sends it.
    pub source_name: Arc<str>,
    /// Otherwise its frames are counted, and go nowhere.
    pub enabled: bool,
    /// The engine knows of it.
    pub announced: bool,
    pub owner: ConnectionKey,
    /// By what its owner was let in, also when it has gone.
    pub level: AuthLevel,
    /// The token with roles that its owner has shown.
    pub token: Option<TokenId>,
    pub owner_gone: Option<Instant>,
    /// How long it is kept without a sender.
    grace: Duration,
    /// Our own: it goes out to subscribers, and not to our engine.
    pub local: bool,
    /// It came sealed so far: subscribers are sent it, and the engine does not know of it.
    pub sealed: bool,
    pub calibration: Calibration,
    /// While the performer shows their range of motion.
    pub range: Option<Box<RangeCapture>>,
    pub kind: SourceKind,
    pub address: Option<SocketAddr>,
    connection_id: Arc<str>,
    pub state: SubjectState,
    /// When its present sender took it up.
    since: Instant,
    pub last: Instant,
    webcam: bool,
    /// Its sender takes reports.
    takes_reports: bool,
    measured: Measured,
    pub pacing: Pacing,
    gestures: Option<Box<GestureRecognizer>>,
}

/// What is sent to a subject's sender.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// Another frame rate than it was asked for last.
    pub rate: Option<f32>,
    /// What its frames went through.
    pub report: Option<String>,
}

impl Requests {
    pub fn is_empty(&self) -> bool {
        self.rate.is_none() && self.report.is_none()
    }
}

impl Subject {
    pub fn new(
        id: SubjectId,
        (name, source_name): (Arc<str>, Arc<str>),
        (owner, connection): (ConnectionKey, &Connection),
        local: bool,
        calibration: Calibration,
        adaptive: RateSettings,
        (origin, now): (Instant, Instant),
    ) -> Self {
        Self {
            id,
            name,
            source_name,
            enabled: true,
            announced: false,
            owner,
            level: connection.level.unwrap_or(AuthLevel::Open),
            token: connection.token,
            owner_gone: None,
            grace: GOODBYE_GRACE,
            local,
            sealed: false,
            calibration,
            range: None,
            kind: connection.kind,
            address: connection.address,
            connection_id: connection.id.clone(),
            state: SubjectState::default(),
            since: now,
            last: now,
            webcam: false,
            takes_reports: false,
            measured: Measured::new(origin),
            pacing: Pacing::new(adaptive),
            gestures: None,
        }
    }

    /// Follows its face by these rules from now on. Faces of our own are not followed: the engine knows them.
    pub fn set_gestures(&mut self, recognizer: Option<&GestureRecognizer>) {
        self.gestures = recognizer.filter(|_| !self.local).cloned().map(Box::new);
    }

    /// What starts and ends with a face of its own, without what is said on it.
    pub fn recognise(&mut self, newest: &SubjectFrame, origin: Instant, now: Instant) -> Gestures {
        let mut events = Gestures::new();
        let Some(gestures) = &mut self.gestures else { return events };
        // By the source's clock: frames that wait for each other on the network do not prolong or shorten a gesture.
        let at = newest.stamp.map_or_else(|| micros(now, origin), |stamp| stamp.capture_us + stamp.base_us);
        let at = Duration::from_micros(at.try_into().unwrap_or_default());
        let report = |event| events.push(event);
        match newest.speech {
            None => gestures.update_frame(&newest.frame, at, report),
            Some(speech) => {
                let frame = FaceFrame { weights: speech.weights, ..newest.frame.clone() };
                gestures.update_frame(&frame, at, report);
            }
        }
        events
    }

    /// What ends because its source sends nothing any more.
    pub fn tick_gestures(&mut self, origin: Instant, now: Instant) -> Gestures {
        if self.is_live(now) && self.owner_gone.is_none() { Gestures::new() } else { self.end_gestures(origin, now) }
    }

    /// What ends because another source follows, or none.
    pub fn end_gestures(&mut self, origin: Instant, now: Instant) -> Gestures {
        let mut events = Gestures::new();
        if let Some(gestures) = &mut self.gestures {
            gestures.end(now.saturating_duration_since(origin), |event| events.push(event));
        }
        events
    }

    /// Another connection sends it from now on.
    pub fn change_owner(&mut self, owner: ConnectionKey, connection: &Connection, now: Instant) {
        self.owner = owner;
        (self.level, self.token) = (connection.level.unwrap_or(AuthLevel::Open), connection.token);
        self.address = connection.address;
        self.connection_id = connection.id.clone();
        self.since = now;
        self.state.restart_count();
        self.measured.restart();
        self.pacing.restart();
    }

    /// Nothing sends it any more; it is kept for `grace`.
    pub fn lose_owner(&mut self, grace: Duration, now: Instant) {
        self.owner_gone.get_or_insert(now);
        self.grace = grace;
    }

    /// Whether its sender has been gone for as long as it is kept.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.owner_gone.is_some_and(|gone| now.saturating_duration_since(gone) >= self.grace)
    }

    pub fn is_silent_for(&self, limit: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= limit
    }

    fn is_live(&self, now: Instant) -> bool {
        !self.is_silent_for(SILENT_AFTER, now)
    }

    fn tracked(&self, now: Instant) -> bool {
        self.state.tracked() && self.owner_gone.is_none() && self.is_live(now)
    }

    /// Takes a frame, a viseme or both of its present owner.
    pub fn ingest(&mut self, update: &Update<'_>, now: Instant) -> Ingested {
        self.owner_gone = None;
        self.kind = update.kind;
        if let Some(viseme) = update.viseme {
            self.state.speak(viseme, now);
        }
        let mut stamp = None;
        if let Some(frame) = update.frame {
            let believed = self.state.disbelieved();
            let taken =
                self.state.apply(frame, Sent::at(update.unix_ms).exact(update.exact).left_out(update.left_out), now);
            self.report_disbelieved(believed);
            if taken == Taken::Stale {
                return Ingested::Stale;
            }
            let by_clock = || update.unix_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
            let sent = frame.capture_time.or_else(by_clock).filter(|_| self.state.disbelieved().is_none());
            let sequence = frame.sequence.filter(|_| self.state.numbers_hold());
            let sequence = sequence.map(|sequence| sequence.saturating_sub(update.left_out));
            let recorded = self.measured.record(sent, sequence, update.repeated, self.state.began_anew(), now);
            if taken == Taken::Late {
                return Ingested::Late(self.late_frame(frame, recorded, update.repeated));
            }
            self.measured.record_newest(sent, update, now);
            stamp = Some(recorded);
        } else {
            self.state.touch();
        }
        self.last = now;
        self.measured.rate.record(now);
        if let Some(range) = &mut self.range {
            range.observe(self.state.merged(), &self.calibration);
        }
        Ingested::Newest(SubjectFrame { stamp, repeated: update.repeated, ..self.frame() })
    }

    /// A sealed packet of its present owner has passed.
    pub fn pass_sealed(&mut self, kind: SourceKind, now: Instant) {
        (self.owner_gone, self.kind, self.last) = (None, kind, now);
        self.sealed |= self.state.frames() == 0;
        self.measured.rate.record(now);
    }

    /// A line in the log when the sender's numbers or clock are not believed any more.
    fn report_disbelieved(&self, before: Option<Disbelieved>) {
        let Some(what) = self.state.disbelieved().filter(|what| Some(*what) != before) else { return };
        let (subject, source) = (&*self.name, self.kind.as_str());
        match what {
            Disbelieved::Numbers => {
                tracing::warn!(subject, source, "frame numbers do not follow the frames; shown as they arrive");
            }
            Disbelieved::Pace => {
                tracing::warn!(subject, source, "the sender's clock does not run with time; shown as they arrive");
            }
        }
    }

    fn late_frame(&self, frame: &FaceFrame, stamp: Stamp, repeated: bool) -> Option<SubjectFrame> {
        let mut face = self.state.late_face(frame)?;
        self.calibration.apply(&mut face);
        Some(SubjectFrame { frame: face, stamp: Some(stamp), late: true, repeated, ..self.frame() })
    }

    /// Its face as of now.
    pub fn frame(&self) -> SubjectFrame {
        let mut frame = self.state.merged().clone();
        // What is said is no part of the performer's face.
        self.calibration.apply(&mut frame);
        let speech = self.state.viseme().map(|(viseme, weight)| Speech { viseme, weight, weights: frame.weights });
        self.state.add_viseme(&mut frame);
        SubjectFrame {
            id: self.id,
            name: self.name.clone(),
            source: self.kind,
            frame,
            speech,
            received: self.last,
            stamp: None,
            late: false,
            repeated: false,
        }
    }

    /// Decides the rate, and what its sender is sent now. `owner` is the connection that sends it, if there is one.
    pub fn tick(&mut self, owner: Option<&Connection>, endpoint: RateSettings, now_us: i64, now: Instant) -> Requests {
        let live = self.is_live(now);
        let link = owner.and_then(|owner| owner.link.as_ref());
        // A sender that cannot be asked sends as it does.
        if link.is_some_and(|link| !link.takes_viewer_reports())
            && self.pacing.is_adaptive(endpoint)
            && live
            && now.saturating_duration_since(self.since) >= RATE_WARM_UP
        {
            let report = self.link_report(now_us);
            self.pacing.update(&report, now);
        }
        let mut requests = Requests::default();
        let is_due = live && self.pacing.take_report(now);
        if is_due {
            self.webcam = link.is_some_and(|link| link.is_webcam());
            self.takes_reports = link.is_some_and(|link| link.wants_reports());
            if link.is_some_and(|link| link.takes_viewer_reports()) {
                return Requests { rate: self.pacing.take_request(), report: Some(self.viewer_report_json(now_us)) };
            }
        }
        if is_due && self.takes_reports {
            let name = link.map_or_else(|| self.source_name.clone(), |link| link.public_name(&self.source_name));
            let own = link.and_then(|link| link.subject());
            requests.report = Some(self.report_json(own.is_none_or(|own| own != name).then_some(&*name), now_us));
        }
        requests.rate = self.pacing.take_request();
        requests
    }

    fn link_report(&self, now_us: i64) -> LinkReport {
        let mut report = LinkReport::of_delay(self.measured.load.report(now_us));
        report.latency_ms = self.measured.latency.get();
        report.loss = self.state.loss();
        report.jitter_ms = self.measured.jitter.jitter_ms();
        report
    }

    /// A message for the sender: what its frames went through, and what to send from now on.
    fn report_json(&self, subject: Option<&str>, now_us: i64) -> String {
        let delay = self.measured.load.report(now_us);
        let tenth = |value: f32| (f64::from(value) * 10.0).round() / 10.0;
        let share = |value: f32| (f64::from(value) * 1000.0).round() / 1000.0;
        ServerMessage::Report(Report {
            subject: subject.map(Into::into),
            fps: self.pacing.target_fps(),
            redundancy: self.pacing.redundancy(),
            ack: self.state.merged().sequence.map(|sequence| sequence as u32),
            queue_ms: Some(tenth(delay.standing_ms)),
            queue_high_ms: Some(tenth(delay.high_ms)),
            slope: Some(tenth(delay.slope)),
            loss: delay.loss.map(share),
            late: Some(share(delay.late)),
        })
        .to_json()
    }

    /// A message for an endpoint that passes the subject on: what its frames went through.
    fn viewer_report_json(&self, now_us: i64) -> String {
        let delay = self.measured.load.report(now_us);
        let tenth = |value: f32| Some((f64::from(value) * 10.0).round() / 10.0);
        ClientMessage::Report(ViewerReport {
            queue_ms: tenth(delay.standing_ms),
            queue_high_ms: tenth(delay.high_ms),
            slope: tenth(delay.slope),
            loss: delay.loss.map(|loss| (f64::from(loss) * 1000.0).round() / 1000.0),
        })
        .to_json()
    }

    pub fn stats(&self, now: Instant) -> SubjectStats {
        let measured = &self.measured;
        SubjectStats {
            id: self.id,
            name: self.name.clone(),
            source_name: self.source_name.clone(),
            enabled: self.enabled,
            source: self.kind,
            connection_id: self.connection_id.clone(),
            address: self.address,
            tracked: self.tracked(now),
            fps: measured.rate.fps(now),
            target_fps: self.pacing.target_fps(),
            latency_ms: measured.latency.get(),
            clock_ms: measured.clock.get(),
            jitter_ms: measured.jitter.jitter_ms(),
            loss: self.state.loss(),
            disbelieved: self.state.disbelieved(),
            queue_ms: measured.load.report(micros(now, measured.source_clock.origin())).standing_ms,
            delay_ms: measured.delay.quantile_us(IN_TIME) as f32 / 1000.0,
            skew_ppm: measured.source_clock.skew_ppm(),
            redundancy: if self.takes_reports { self.pacing.redundancy() } else { 0 },
            webcam: self.webcam,
            frames: self.state.frames(),
            age_ms: now.saturating_duration_since(self.last).as_secs_f32() * 1000.0,
        }
    }
}
